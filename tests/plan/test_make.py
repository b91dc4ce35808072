"""Spec in, plan out: the published cases, the ladder, what fits and what is refused."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.api.resource import Rejection
from specdecode.api.vocabulary import Mode
from specdecode.plan.make import make_plan
from specdecode.plan.published import published_budget
from specdecode.plan.types import LedgerLine, ModePlan, Plan

BF16 = {
    "spec.model": {"name": "meta-llama/Llama-3.1-70B-Instruct"},
    "spec.speculation.draft": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "spec.speculation.fallbacks": [],
}
INT8 = BF16 | {"spec.model": {"name": "RedHatAI/Meta-Llama-3.1-70B-Instruct-quantized.w8a8"}}
H200 = BF16 | {"spec.accelerator.product": "NVIDIA-H200"}
FACTS = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 128256,
    "parameters": 8_030_261_248,
}


def planned(**overrides: Any) -> Plan:
    plan = make_plan(resource(**overrides))
    assert isinstance(plan, Plan), str(plan)
    return plan


def refused(**overrides: Any) -> Rejection:
    rejection = make_plan(resource(**overrides))
    assert isinstance(rejection, Rejection)
    return rejection


def line(mode: ModePlan, name: str) -> LedgerLine:
    return next(line for line in mode.ledger if line.name == name)


@pytest.mark.parametrize(
    ("overrides", "weights_gb", "left_gb", "fits"),
    [
        pytest.param(INT8, 86, 74, True, id="INT8 target and BF16 draft on two H100: 74 GB left"),
        pytest.param(BF16, 156, 4, False, id="both in BF16 on two H100: 4 GB left, not servable"),
        pytest.param(H200, 156, 126, True, id="both in BF16 on two H200: 126 GB left"),
    ],
)
def test_the_published_budgets(overrides: Mapping[str, Any], weights_gb: int, left_gb: int, *, fits: bool) -> None:
    plan = planned(**overrides)
    budget = published_budget(plan, plan.requested)
    assert (budget.weights_bytes, budget.left_bytes) == (weights_gb * 1000**3, left_gb * 1000**3)
    assert plan.requested.fits is fits


def test_what_does_not_fit_stays_in_the_plan_with_what_is_missing() -> None:
    requested = planned(**BF16).requested
    assert not requested.fits
    assert requested.short_bytes > 0
    assert (requested.kv_cache_tokens, requested.requests_at_max_model_len) == (0, 0.0)
    assert requested.kv_cache_bytes_per_gpu < 0
    assert requested.remedies == (
        "model.quantization fp8_per_tensor",
        "speculation.method ngram, which loads no draft",
        "accelerator.count 4",
    )


@pytest.mark.parametrize("overrides", [INT8, BF16, H200, {}], ids=["int8", "bf16", "h200", "fp8"])
def test_every_sum_of_every_ledger_closes(overrides: Mapping[str, Any]) -> None:
    plan = planned(**overrides)
    for mode in plan.ladder:
        names = [entry.name for entry in mode.ledger]
        sizes = [entry.bytes for entry in mode.ledger]
        budget, cache, total = names.index("budget"), names.index("kvCache"), names.index("total")
        assert names[:3] == ["memory", "quotedWeights", "left"]
        assert names[total:] == ["total", "budgetTaken", "outsideBudget", "spare"]
        assert sizes[0] + sizes[1] == sizes[2]
        assert sum(sizes[budget:cache]) == sizes[cache] == mode.kv_cache_bytes_per_gpu
        assert sum(sizes[total:-1]) == sizes[-1]
        assert -sizes[total + 1] == sizes[budget]
        for entry in mode.ledger:
            assert entry.low_bytes <= entry.bytes <= entry.high_bytes, entry.name
            assert entry.source


@pytest.mark.parametrize(
    ("overrides", "modes"),
    [
        pytest.param({}, ["QuantizedDraft", "Draft", "NGram", "Off"], id="the whole ladder"),
        pytest.param(
            {"spec.speculation.fallbacks": ["NGram", "Draft"]},
            ["QuantizedDraft", "NGram", "Draft", "Off"],
            id="fallbacks keep their order",
        ),
        pytest.param({"spec.speculation.fallbacks": []}, ["QuantizedDraft", "Off"], id="Off is never written"),
        pytest.param({"spec.speculation": ABSENT}, ["Off"], id="plain vLLM has one rung"),
        pytest.param(
            {"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4}}, ["NGram", "Off"], id="n-gram"
        ),
        pytest.param(
            {"spec.speculation": {"method": "suffix", "numSpeculativeTokens": 4}},
            ["Draft", "Off"],
            id="other methods read as requested",
        ),
    ],
)
def test_the_ladder(overrides: Mapping[str, Any], modes: list[str]) -> None:
    plan = planned(**overrides)
    assert [rung.mode for rung in plan.ladder] == modes
    assert plan.requested_mode is plan.ladder[0].mode


def test_each_rung_has_its_own_flags() -> None:
    plan = planned()
    configs = [
        next((argument for argument in rung.arguments if argument.startswith("--speculative-config")), "")
        for rung in plan.ladder
    ]
    quantized, draft, ngram, off = configs
    assert '"quantization":"fp8_per_tensor"' in quantized
    assert '"method":"draft_model"' in draft
    assert '"quantization"' not in draft
    assert '"method":"ngram"' in ngram
    assert '"model"' not in ngram
    assert off == ""


def test_the_draft_takes_nothing_from_ngram_and_off() -> None:
    plan = planned()
    for mode in (Mode.NGRAM, Mode.OFF):
        rung = plan.mode(mode)
        assert rung is not None
        assert "draftWeights" not in [entry.name for entry in rung.ledger]
        assert rung.bytes_per_token == 163_840
    assert plan.requested.bytes_per_token == 163_840 + 65_536


def test_a_checkpoint_quantised_while_loading_is_read_in_16_bit() -> None:
    plan = planned()
    assert plan.requested.load_bytes == 2 * (70_553_706_496 + 8_030_261_248)
    assert planned(**INT8).requested.load_bytes < 1.5 * 70_553_706_496


def test_a_head_of_another_vocabulary_is_refused() -> None:
    body = {
        "spec.model": {"name": "Qwen/Qwen3-8B"},
        "spec.speculation": {
            "method": "eagle3",
            "numSpeculativeTokens": 3,
            "draft": {"name": "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"},
        },
    }
    rejection = make_plan(resource(**body))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "VocabularyMismatch"
    assert "is a head for a vocabulary of 128256 and the target has 151936" in str(rejection)


def test_a_pinned_cache_keeps_the_whole_spread_back() -> None:
    free, pinned = planned().requested, planned(**{"spec.engine.pinKvCache": True}).requested
    assert f"--kv-cache-memory-bytes={pinned.kv_cache_bytes_per_gpu}" in pinned.arguments
    kept, warm = -line(pinned, "safety").bytes, line(free, "kvCache").high_bytes
    assert kept > 150 * 1024**2
    assert pinned.kv_cache_bytes_per_gpu < warm - kept
    assert line(pinned, "kvCache").low_bytes == line(pinned, "kvCache").high_bytes
    refused_mode = planned(**BF16, **{"spec.engine.pinKvCache": True}).requested
    assert not [argument for argument in refused_mode.arguments if "kv-cache-memory" in argument]


@pytest.mark.parametrize(
    ("overrides", "source"),
    [
        pytest.param({"spec.engine.enforceEager": True}, "enforceEager", id="eager: no graphs"),
        pytest.param({"spec.engine.image": "vllm/vllm-openai:v0.16.0"} | INT8, "outside its budget", id="not counted"),
    ],
)
def test_graphs_that_take_nothing_say_why(overrides: Mapping[str, Any], source: str) -> None:
    graphs = line(planned(**overrides).requested, "cudaGraphs")
    assert graphs.bytes == 0
    assert source in graphs.source


@pytest.mark.parametrize(
    ("speculation", "draft_layers"),
    [
        pytest.param(
            {"method": "eagle3", "draft": {"name": "yuhuili/EAGLE3-LLaMA3.3-Instruct-70B"}}, 1, id="an EAGLE-3 head"
        ),
        pytest.param({"method": "mtp"}, 1, id="a head inside the checkpoint: one layer of the target"),
        pytest.param(
            {"method": "medusa", "draft": {"name": "me/medusa", "facts": FACTS}}, 0, id="medusa heads keep no cache"
        ),
    ],
)
def test_heads_and_their_cache(speculation: dict[str, Any], draft_layers: int) -> None:
    plan = planned(**{"spec.speculation": {"numSpeculativeTokens": 3} | speculation})
    assert plan.requested_mode is Mode.DRAFT
    assert line(plan.requested, "draftWeights").bytes < 0
    assert plan.requested.bytes_per_token == (80 + draft_layers) * 2048


@pytest.mark.parametrize(
    ("facts", "quantization", "weights_gb"),
    [
        pytest.param(FACTS, None, 16.06, id="parameters in 16 bit"),
        pytest.param(FACTS, "compressed-tensors", 9.08, id="parameters of an 8-bit checkpoint"),
        pytest.param(FACTS | {"parameters": None, "weightBytes": "9G"}, None, 9.0, id="the size on disk, as it is"),
        pytest.param(
            FACTS | {"parameters": None, "weightBytes": "9G"}, "compressed-tensors", 9.0, id="the size on disk, 8 bit"
        ),
    ],
)
def test_facts_of_the_spec(facts: dict[str, Any], quantization: str | None, weights_gb: float) -> None:
    given = {key: value for key, value in facts.items() if value is not None}
    model = {"name": "me/own-8B", "facts": given} | ({} if quantization is None else {"quantization": quantization})
    plan = planned(**{"spec.model": model, "spec.speculation": ABSENT, "spec.accelerator.count": 1})
    assert -line(plan.requested, "targetWeights").bytes / 1000**3 == pytest.approx(weights_gb, abs=0.01)
    assert plan.sources == ("target me/own-8B: spec",)


def test_stated_memory_overrules_the_product() -> None:
    plan = planned(**{"spec.accelerator.memory": "70Gi"})
    assert plan.gpu_memory_bytes == plan.gpu_label_bytes == 70 * 1024**3
    assert "stated" in line(plan.requested, "budget").source


def test_an_fp8_cache_holds_twice_as_much() -> None:
    assert planned(**{"spec.engine.kvCacheDtype": "fp8"}).requested.bytes_per_token * 2 == 229_376


@pytest.mark.parametrize(
    ("overrides", "reason", "field", "sentence"),
    [
        pytest.param(
            {"spec.engine.image": "vllm/vllm-openai:v0.31.0", "spec.engine.version": "0.32.0"},
            "EngineVersionUnreadable",
            "spec.engine.version",
            "make the two agree",
            id="tag and version contradict",
        ),
        pytest.param(
            {"spec.engine.image": "vllm/vllm-openai:v0.5.5"},
            "EngineVersionTooOld",
            "spec.engine.version",
            "use a newer image",
            id="a version that was not read",
        ),
        pytest.param(
            {"spec.engine.image": "vllm/vllm-openai:v0.12.0", "spec.model.quantization": ABSENT}
            | {
                "spec.speculation.draft": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
                "spec.speculation.fallbacks": [],
            },
            "MethodNotInVersion",
            "spec.speculation.method",
            "0.16 or newer",
            id="draft_model in a version that refuses it",
        ),
        pytest.param(
            {"spec.model.name": "me/unknown"},
            "ModelFactsMissing",
            "spec.model.name",
            "spec.model.facts: {architecture",
            id="an unknown target",
        ),
        pytest.param(
            {"spec.speculation.draft.name": "me/unknown"},
            "ModelFactsMissing",
            "spec.speculation.draft.name",
            "spec.speculation.draft.facts: {architecture",
            id="an unknown draft",
        ),
        pytest.param(
            {"spec.model.quantization": "int8"},
            "QuantizationNotUsable",
            "spec.model.quantization",
            "use fp8_per_tensor on a 16-bit checkpoint",
            id="a method vLLM does not have",
        ),
        pytest.param(
            {"spec.model.quantization": "awq"},
            "QuantizationNotUsable",
            "spec.model.quantization",
            "the checkpoint is in 16 bit",
            id="awq on a 16-bit checkpoint",
        ),
        pytest.param(
            {"spec.speculation.draft": {"name": "Qwen/Qwen3-8B-AWQ", "quantization": "fp8_per_tensor"}}
            | {"spec.model": {"name": "Qwen/Qwen3-32B"}, "spec.speculation.fallbacks": []},
            "QuantizationNotUsable",
            "spec.speculation.draft.quantization",
            "contradicts the checkpoint, which is awq",
            id="a method that contradicts the draft's checkpoint",
        ),
        pytest.param(
            {"spec.speculation.draft": {"name": "Qwen/Qwen3-8B-AWQ", "quantization": "awq"}}
            | {"spec.model": {"name": "Qwen/Qwen3-32B"}, "spec.speculation.fallbacks": ["Draft"]},
            "FallbackWithoutEffect",
            "spec.speculation.fallbacks",
            "remove Draft",
            id="a quantised checkpoint cannot be loaded without its quantisation",
        ),
        pytest.param(
            {"spec.model": {"name": "Qwen/Qwen2.5-7B-Instruct"}, "spec.accelerator.count": 1}
            | {"spec.speculation.draft": {"name": "Qwen/Qwen2.5-0.5B-Instruct"}, "spec.speculation.fallbacks": []},
            "VocabularyMismatch",
            "spec.speculation.draft.name",
            "a vocabulary of 151936 and the target one of 152064",
            id="another vocabulary",
        ),
        pytest.param(
            {"spec.accelerator.count": 3},
            "TensorParallelSizeInvalid",
            "spec.accelerator.count",
            "must divide the 64 attention heads",
            id="heads that do not split",
        ),
        pytest.param(
            {"spec.engine.maxModelLen": 200_000},
            "ContextTooLong",
            "spec.engine.maxModelLen",
            "set 131072 or less",
            id="a context the model was not made for",
        ),
        pytest.param(
            {"spec.engine.maxNumBatchedTokens": 32},
            "BatchTooSmall",
            "spec.engine.maxNumBatchedTokens",
            "at least maxNumSeqs (64)",
            id="fewer tokens than requests in a step",
        ),
        pytest.param(
            {"spec.engine.extraArgs": [{"name": "enable-prefix-cachin"}]},
            "ArgumentUnknown",
            "spec.engine.extraArgs[name=enable-prefix-cachin]",
            "did you mean enable-prefix-caching?",
            id="an argument vLLM does not have",
        ),
    ],
)
def test_what_is_refused(overrides: Mapping[str, Any], reason: str, field: str, sentence: str) -> None:
    rejection = refused(**overrides)
    assert rejection.reason == reason
    assert field in [problem.field for problem in rejection.problems]
    assert sentence in str(rejection)


def test_all_problems_are_told_at_once() -> None:
    everything = {
        "spec.model.quantization": "int8",
        "spec.engine.maxModelLen": 200_000,
        "spec.engine.extraArgs": [{"name": "zzz-qqq"}, {"name": "seed", "value": "1"}],
    }
    assert len(refused(**everything).problems) == 3
    unknown = {"spec.model.name": "me/a", "spec.speculation.draft.name": "me/b"}
    assert [problem.value for problem in refused(**unknown).problems] == ["me/a", "me/b"]
    alone = {"spec.model.name": "me/a", "spec.speculation": ABSENT}
    assert [problem.value for problem in refused(**alone).problems] == ["me/a"]


def test_a_users_own_facts_may_be_of_any_checkpoint() -> None:
    model = {"name": "me/own", "facts": FACTS, "quantization": "awq"}
    assert planned(**{"spec.model": model, "spec.speculation": ABSENT}).requested.fits


def test_a_newer_engine_is_planned_as_the_newest_known_one() -> None:
    assert planned(**{"spec.engine.image": "vllm/vllm-openai:v0.40.0"}).engine_version == "0.33.0"


@pytest.mark.parametrize(
    ("overrides", "baseline_moves", "draft_moves"),
    [
        pytest.param({"spec.replicas": 5}, False, False, id="replicas change nothing"),
        pytest.param({"spec.speculation.draft.quantization": "mxfp8"}, False, False, id="not the draft's quantisation"),
        pytest.param({"spec.speculation.draft.revision": "abc"}, False, True, id="another draft"),
        pytest.param({"spec.speculation.numSpeculativeTokens": 3}, False, True, id="other tokens per step"),
        pytest.param({"spec.engine.maxNumSeqs": 32}, True, False, id="another limit of the engine"),
        pytest.param({"spec.accelerator.product": "NVIDIA-H200"}, True, False, id="another accelerator"),
        pytest.param({"spec.model.revision": "abc"}, True, True, id="another target"),
    ],
)
def test_what_a_baseline_is_bound_to(overrides: Mapping[str, Any], *, baseline_moves: bool, draft_moves: bool) -> None:
    before, after = planned(), planned(**overrides)
    assert (before.baseline_key != after.baseline_key) is baseline_moves
    assert (before.draft_key != after.draft_key) is draft_moves


def test_without_a_draft_there_is_no_draft_key() -> None:
    assert planned(**{"spec.speculation": ABSENT}).draft_key == ""


def test_a_plan_takes_less_than_50_ms() -> None:
    wanted = resource(**BF16)
    make_plan(wanted)
    started = time.perf_counter()
    for _ in range(10):
        make_plan(wanted)
    assert (time.perf_counter() - started) / 10 < 0.05
