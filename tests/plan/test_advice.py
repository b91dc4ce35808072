"""Every rule of the advice: when it speaks, what it says, and when it is silent."""

from collections.abc import Mapping
from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

COMMIT = "1605565b47bb9346c5515c34102e054115b4f98b"
QUIET = {
    "spec.model": {
        "name": "meta-llama/Llama-3.1-70B-Instruct",
        "revision": COMMIT,
        "quantization": "fp8_per_tensor",
    },
    "spec.speculation.draft": {
        "name": "meta-llama/Llama-3.1-8B-Instruct",
        "revision": COMMIT,
        "quantization": "fp8_per_tensor",
    },
    "spec.speculation.maxBatchSize": 32,
    "spec.guard": {"latency": {"tpotP99": "50ms"}},
    "spec.cache": {"claimName": "models"},
}
NOT_SPECULATING = QUIET | {
    "spec.speculation": ABSENT,
    "spec.speculation.draft": ABSENT,
    "spec.speculation.maxBatchSize": ABSENT,
}
BF16 = {
    "spec.model": {"name": "meta-llama/Llama-3.1-70B-Instruct"},
    "spec.speculation.draft": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "spec.speculation.fallbacks": [],
}
NGRAM = {"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4}}
EAGLE = {
    "method": "eagle",
    "numSpeculativeTokens": 3,
    "maxBatchSize": 8,
    "draft": {"name": "yuhuili/EAGLE-LLaMA3-Instruct-70B"},
}
EAGLE_ON = {"spec.speculation": EAGLE, "spec.model": {"name": "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic"}}
FACTS = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 128256,
    "parameters": 8_000_000_000,
}


CONTROL = {"spec.guard": {"baseline": {"controlReplicas": 1}}}
FP8_OF_V0 = {
    "spec.model.quantization": "fp8",
    "spec.speculation.draft.quantization": "fp8",
    "spec.speculation.fallbacks": [],
}
HEAD = {"facts": FACTS | {"architecture": "EagleLlamaForCausalLM", "numHiddenLayers": 1, "parameters": 250_000_000}}


def draft(name: str, **more: Any) -> dict[str, Any]:
    return {"spec.speculation.draft": {"name": name} | more, "spec.speculation.fallbacks": []}


def advice(**overrides: Any) -> dict[str, str]:
    plan = make_plan(resource(**overrides))
    assert isinstance(plan, Plan), str(plan)
    reasons = [said.reason for said in plan.advice]
    assert len(reasons) == len(set(reasons))
    return {said.reason: said.message for said in plan.advice}


def test_a_good_spec_is_told_little() -> None:
    assert set(advice(**QUIET)) == {"DraftTakesKvCache", "MeasureAtProductionTemperature"}


def test_plain_vllm_is_told_less() -> None:
    body = {key: value for key, value in NOT_SPECULATING.items() if not key.startswith("spec.speculation.")}
    assert not advice(**body)


ONE_QWEN = {
    "spec.model": {"name": "Qwen/Qwen3-8B"},
    "spec.accelerator.count": 1,
    "spec.speculation": ABSENT,
    "spec.engine.maxNumBatchedTokens": 4096,
}

SPEAKS = [
    pytest.param(BF16, "NotServable", "156 GB of weights leave 4 GB of 160 GB", id="does not fit"),
    pytest.param(
        BF16
        | {"spec.engine.gpuMemoryUtilization": "0.98", "spec.engine.maxModelLen": 1024, "spec.engine.maxNumSeqs": 1}
        | {"spec.engine.enforceEager": True, "spec.engine.maxNumBatchedTokens": 256},
        "NotServable",
        "hardly servable",
        id="fits on paper and leaves nothing",
    ),
    pytest.param(
        {"spec.model": {"name": "meta-llama/Llama-3.1-405B-Instruct"}, "spec.accelerator.count": 16}
        | {"spec.accelerator.memory": "24Gi"},
        "NotServable",
        "per GPU for one request",
        id="does not fit and nothing would help",
    ),
    pytest.param(
        {"spec.model": {"name": "Qwen/Qwen3-8B"}, "spec.accelerator.count": 1, "spec.speculation": ABSENT}
        | {"spec.accelerator.memory": "18950Mi", "spec.engine.maxNumSeqs": 8, "spec.engine.maxModelLen": 2048},
        "TightMemory",
        "the engine may refuse to start",
        id="fits by less than the plan's spread",
    ),
    pytest.param(
        {"spec.accelerator.memory": "49Gi", "spec.engine.maxModelLen": 4096},
        "FallbackDoesNotFit",
        "Draft (short by",
        id="the unquantised draft does not fit",
    ),
    pytest.param(
        {"spec.model.quantization": ABSENT, **draft("meta-llama/Llama-3.2-1B-Instruct")},
        "TargetWeightsOver70Percent",
        "83% of each GPU",
        id="a large target",
    ),
    pytest.param(
        {"spec.accelerator": {"product": "NVIDIA-H100-80GB-HBM3", "count": 1}}
        | {"spec.model": {"name": "meta-llama/Llama-3.1-8B-Instruct"}, **draft("meta-llama/Llama-3.1-8B-Instruct")},
        "DraftOver15Percent",
        "19% of each GPU",
        id="a large draft",
    ),
    pytest.param(
        draft("meta-llama/Llama-3.2-1B-Instruct"), "DraftRatioTooSmall", "1:57 of the target", id="70B and 1B"
    ),
    pytest.param(
        draft("meta-llama/Llama-3.1-8B-Instruct")
        | {"spec.model": {"name": "meta-llama/Llama-3.1-8B-Instruct"}, "spec.accelerator.count": 1},
        "DraftRatioTooLarge",
        "1:1.0 of the target",
        id="a draft as large as the target",
    ),
    pytest.param(
        draft("me/other", facts=FACTS | {"family": "other"}),
        "FamilyMismatch",
        "other and the target of llama-3",
        id="a draft of another family",
    ),
    pytest.param(
        {**BF16, **draft("me/other", facts=FACTS | {"family": "other"})},
        "QuantizeDraftFirst",
        "speculation.draft.quantization fp8_per_tensor",
        id="an unquantised draft of another family",
    ),
    pytest.param(BF16, "QuantizeDraftFirst", "before relaxing its family", id="an unquantised draft that does not fit"),
    pytest.param({}, "DraftTakesKvCache", "147296 tokens instead of 241088", id="what the draft costs"),
    pytest.param(
        ONE_QWEN | {"spec.accelerator.product": "NVIDIA-GeForce-RTX-4090", "spec.engine.gpuMemoryUtilization": "0.98"},
        "TightCard",
        "may run out of memory after its KV cache is allocated",
        id="little is left beside the budget",
    ),
    pytest.param(
        ONE_QWEN | {"spec.engine.extraArgs": [{"name": "enable-lora"}]},
        "ArgumentNotCounted",
        "enable-lora",
        id="an argument that takes memory of its own",
    ),
    pytest.param(
        ONE_QWEN | {"spec.model": {"name": "mistralai/Mistral-Small-3.2-24B-Instruct-2506"}},
        "EncoderNotCounted",
        "also loads and profiles an encoder",
        id="a model that sees",
    ),
    pytest.param(
        {"spec.engine.image": "vllm/vllm-openai:v0.9.2"} | FP8_OF_V0,
        "AcceptanceReactsSlowly",
        "means over the life of the engine",
        id="a draft model in the first generation",
    ),
    pytest.param(ONE_QWEN, "WarmStartHasMoreKv", "0.9 GiB more KV cache per GPU", id="a kept compile cache"),
    pytest.param({"spec.speculation.fallbacks": []}, "NgramForSummaries", "list NGram", id="no n-gram on the ladder"),
    pytest.param(
        {"spec.accelerator": {"product": "NVIDIA-A100-SXM4-80GB", "count": 2}},
        "Fp8WithoutHardware",
        "has no FP8 arithmetic",
        id="FP8 on A100",
    ),
    pytest.param({}, "MaxBatchSizeMissing", "up to 64 requests", id="many requests and no limit"),
    pytest.param(
        EAGLE_ON | {"spec.engine.image": "vllm/vllm-openai:v0.20.0"},
        "MaxBatchSizeUnsupported",
        "maxBatchSize 8 has no effect",
        id="no key for the batch limit",
    ),
    pytest.param(
        {"spec.guard": {"latency": {"ttftP99": "1s"}}}, "TtftNotImproved", "ttftP99 1s", id="only the first token"
    ),
    pytest.param({}, "LimitUnsetNoLatencyGuard", "set guard.latency.tpotP99", id="no limit at all"),
    pytest.param(
        {"spec.guard": {"latency": {"tpotP99": "40ms"}}},
        "LimitNotOnBucketEdge",
        "lies between 25 ms and 50 ms and is judged as exceeded only beyond 50 ms",
        id="a limit inside a bucket",
    ),
    pytest.param(
        {"spec.guard": {"latency": {"tpotP99": "5ms"}}},
        "LimitNotOnBucketEdge",
        "below the first edge (10 ms)",
        id="a limit that cannot be seen",
    ),
    pytest.param(
        {"spec.guard": {"latency": {"ttftP99": "1h"}}},
        "LimitNotOnBucketEdge",
        "above the last edge (2560 s)",
        id="a limit that is never exceeded",
    ),
    pytest.param({}, "MeasureAtProductionTemperature", "not at temperature 0", id="always, with speculation"),
    pytest.param(
        {"spec.guard": {"baseline": {"controlReplicas": 1}}, "spec.replicas": 1},
        "ControlNeedsTwoReplicas",
        "set spec.replicas to 2 or more",
        id="a control replica would be the only one",
    ),
    pytest.param(
        {"spec.guard": {"baseline": {"controlReplicas": 1}}, "spec.speculation": ABSENT},
        "ControlNeedsSpeculation",
        "nothing to compare",
        id="a control replica beside nothing that speculates",
    ),
    pytest.param(
        {"spec.guard": {"qualify": True}, "spec.speculation": ABSENT},
        "QualifyHasNoEffect",
        "asks for no quantised draft",
        id="nothing to qualify",
    ),
    pytest.param(
        {"spec.guard": {"qualify": True}, "spec.speculation.fallbacks": []},
        "QualifyHasNoEffect",
        "add Draft to them",
        id="the unquantised draft is no fallback",
    ),
    pytest.param(
        {
            "spec.guard": {"qualify": True},
            "spec.engine.gpuMemoryUtilization": "0.55",
            "spec.engine.maxModelLen": 2048,
        },
        "QualifyHasNoEffect",
        "does not fit, short by",
        id="the unquantised draft does not fit",
    ),
    pytest.param(
        {"spec.engine.image": "vllm/vllm-openai:v0.40.0"},
        "EngineVersionUnknown",
        "newest known one (0.33.0)",
        id="a version from the future",
    ),
    pytest.param(
        EAGLE_ON | {"spec.engine.image": "vllm/vllm-openai:v0.17.1"},
        "TrustRemoteCodeCve",
        "CVE-2026-27893",
        id="an engine that runs foreign code",
    ),
    pytest.param(
        {"spec.engine.image": "vllm/vllm-openai:v0.9.2", "spec.speculation.typicalAcceptance": {}} | FP8_OF_V0,
        "TypicalAcceptanceIsLossy",
        "answers change",
        id="typical acceptance",
    ),
    pytest.param(
        {"spec.engine.image": "vllm/vllm-openai:v0.8.1", "spec.speculation.draft.revision": COMMIT} | FP8_OF_V0,
        "DraftRevisionNotPassed",
        "no argument for the draft's revision",
        id="the draft's revision before 0.8.3",
    ),
    pytest.param(
        EAGLE_ON
        | {
            "spec.engine.image": "vllm/vllm-openai:v0.8.1",
            "spec.speculation": EAGLE | {"draft": {"name": "me/head"} | HEAD},
        },
        "EagleHeadNotRecognised",
        "takes any other for a draft model: check me/head",
        id="an EAGLE head with another name before 0.8.5",
    ),
    pytest.param(
        EAGLE_ON | {"spec.engine.image": "vllm/vllm-openai:v0.9.2"},
        "MaxBatchSizeUnsupported",
        "read and ignored",
        id="a key that the second generation ignores",
    ),
    pytest.param(
        EAGLE_ON | {"spec.engine.image": "vllm/vllm-openai:v0.9.2", "spec.engine.pinKvCache": True},
        "PinKvCacheUnsupported",
        "no --kv-cache-memory-bytes",
        id="pinning before 0.10.2",
    ),
    pytest.param({}, "RevisionNotPinned", "model.revision and speculation.draft.revision", id="no revision"),
    pytest.param(
        {"spec.speculation": ABSENT, "spec.model.revision": "main"},
        "RevisionNotPinned",
        "commit: model.revision.",
        id="a branch is no commit",
    ),
    pytest.param({}, "CacheClaimMissing", "every pod downloads 157 GB", id="no cache"),
    pytest.param(
        {"spec.speculation": {"method": "suffix", "numSpeculativeTokens": 4}},
        "SuffixNeedsPackage",
        "arctic-inference",
        id="suffix decoding",
    ),
    pytest.param(EAGLE_ON, "DraftContextShorter", "made for 2048 tokens and maxModelLen is 8192", id="a short head"),
]


@pytest.mark.parametrize(("overrides", "reason", "sentence"), SPEAKS)
def test_advice_that_is_given(overrides: Mapping[str, Any], reason: str, sentence: str) -> None:
    said = advice(**overrides)
    assert reason in said, sorted(said)
    assert sentence in said[reason]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        pytest.param(QUIET, "TightMemory", id="plenty of memory"),
        pytest.param(BF16, "TightMemory", id="what does not fit is not tight"),
        pytest.param(
            ONE_QWEN | {"spec.accelerator.memory": "16Gi"},
            "WarmStartHasMoreKv",
            id="what does not fit has no first start",
        ),
        pytest.param(ONE_QWEN | {"spec.engine.enforceEager": True}, "WarmStartHasMoreKv", id="eager compiles nothing"),
        pytest.param(
            ONE_QWEN | {"spec.engine.pinKvCache": True}, "WarmStartHasMoreKv", id="a pinned cache is not profiled"
        ),
        pytest.param({"spec.engine.pinKvCache": True}, "PinKvCacheUnsupported", id="pinning is known"),
        pytest.param(NGRAM, "DraftTakesKvCache", id="n-gram takes nothing"),
        pytest.param(NGRAM, "NgramForSummaries", id="n-gram is asked for"),
        pytest.param({}, "NgramForSummaries", id="n-gram is a fallback"),
        pytest.param(QUIET, "Fp8WithoutHardware", id="H100 has FP8"),
        pytest.param(
            EAGLE_ON | {"spec.accelerator": {"product": "NVIDIA-A100-SXM4-80GB", "count": 2}},
            "Fp8WithoutHardware",
            id="no FP8 is asked for",
        ),
        pytest.param({"spec.engine.maxNumSeqs": 32}, "MaxBatchSizeMissing", id="few requests"),
        pytest.param(QUIET, "MaxBatchSizeMissing", id="a limit is set"),
        pytest.param(
            {"spec.guard": {"latency": {"ttftP99": "1s", "tpotP99": "50ms"}}}, "TtftNotImproved", id="both limits"
        ),
        pytest.param(QUIET, "LimitNotOnBucketEdge", id="50 ms is an edge"),
        pytest.param(CONTROL, "ControlNeedsTwoReplicas", id="one of two replicas is the control"),
        pytest.param({"spec.guard": {"qualify": True}}, "QualifyHasNoEffect", id="the unquantised draft fits"),
        pytest.param(
            CONTROL | {"spec.replicas": ABSENT}, "ControlNeedsTwoReplicas", id="the control comes on top of a scaler's"
        ),
        pytest.param(
            {"spec.model.name": "/models/own", "spec.cache": {"claimName": "m"}, "spec.speculation": ABSENT}
            | {"spec.model.facts": FACTS},
            "RevisionNotPinned",
            id="a path has no revision",
        ),
        pytest.param(draft("me/own", facts=FACTS), "FamilyMismatch", id="an unknown family is no mismatch"),
        pytest.param(QUIET, "QuantizeDraftFirst", id="the draft is quantised"),
        pytest.param(
            {"spec.speculation": {"method": "mtp", "numSpeculativeTokens": 1}},
            "QuantizeDraftFirst",
            id="a head inside the checkpoint is quantised with it",
        ),
        pytest.param(
            {"spec.model": {"name": "meta-llama/Llama-3.1-70B-Instruct"}, "spec.accelerator.count": 1},
            "DraftTakesKvCache",
            id="without the draft nothing fits either",
        ),
    ],
)
def test_advice_that_is_not_given(overrides: Mapping[str, Any], reason: str) -> None:
    assert reason not in advice(**overrides)
