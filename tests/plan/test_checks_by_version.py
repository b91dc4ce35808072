"""What a release does not take is refused before a pod exists."""

from copy import deepcopy
from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.api.resource import Rejection
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

LLAMA = {"spec.model": {"name": "meta-llama/Llama-3.1-8B-Instruct"}}
SMALL = {"name": "meta-llama/Llama-3.2-1B-Instruct"}
OFF = LLAMA | {"spec.speculation": ABSENT}
NGRAM = LLAMA | {"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4}}
DRAFT = LLAMA | {"spec.speculation": {"method": "draft_model", "numSpeculativeTokens": 4, "draft": SMALL}}
MTP = LLAMA | {"spec.speculation": {"method": "mtp", "numSpeculativeTokens": 1}}
EAGLE = LLAMA | {
    "spec.speculation": {
        "method": "eagle",
        "numSpeculativeTokens": 3,
        "draft": {"name": "yuhuili/EAGLE-LLaMA3.1-Instruct-8B"},
        "fallbacks": ["NGram"],
    }
}


def on(version: str, base: dict[str, Any], **engine: Any) -> dict[str, Any]:
    long = {"spec.engine.maxModelLen": 16_384, "spec.engine.maxNumBatchedTokens": 4096} if engine.pop("long", 0) else {}
    changed = {f"spec.engine.{name}": value for name, value in engine.items()}
    return deepcopy(base) | long | changed | {"spec.engine.image": f"vllm/vllm-openai:v{version}"}


@pytest.mark.parametrize(
    ("overrides", "reason", "sentence"),
    [
        pytest.param(on("0.5.5", OFF), "EngineVersionTooOld", "0.6.0 is the oldest", id="a version that was not read"),
        pytest.param(on("0.10.2", DRAFT), "MethodNotInVersion", "needs 0.15.1", id="draft_model in 0.10"),
        pytest.param(
            on("0.10.2", MTP), "MethodNotInVersion", "not inside LlamaForCausalLM", id="no head in the target"
        ),
        pytest.param(
            on("0.10.2", OFF, kvCacheDtype="bfloat16"),
            "CacheTypeNotInVersion",
            "takes only auto, fp8",
            id="a cache type of 0.11",
        ),
        pytest.param(
            on("0.25.1", DRAFT | {"spec.speculation.draft": SMALL | {"kvCacheDtype": "fp8"}}),
            "CacheTypeNotInVersion",
            "0.26 is the first release",
            id="a cache type of the draft before 0.26",
        ),
        pytest.param(
            on("0.32.0", DRAFT | {"spec.speculation.typicalAcceptance": {}}),
            "TypicalAcceptanceNotInVersion",
            "gone after 0.9.2",
            id="typical acceptance in 0.32",
        ),
        pytest.param(
            on("0.28.2", NGRAM | {"spec.guard.meter": True}),
            "MeterNotInVersion",
            "spec.guard.meter is true: vLLM 0.28.2 does not say what a single request accepts; it needs 0.29",
            id="the meter before 0.29",
        ),
        pytest.param(
            on("0.9.2", EAGLE | {"spec.speculation.typicalAcceptance": {}}),
            "TypicalAcceptanceNotInVersion",
            "vLLM 0.9.2 runs eagle without",
            id="typical acceptance on the second generation",
        ),
        pytest.param(on("0.7.3", OFF, long=True), "BatchTooSmall", "must be at least maxModelLen (16384)", id="long"),
        pytest.param(on("0.9.2", DRAFT, long=True), "BatchTooSmall", "takes a prompt in one step", id="draft in 0.9"),
        pytest.param(
            on("0.8.5", EAGLE, long=True), "BatchTooSmall", "first engine generation", id="a fallback in 0.8.5"
        ),
        pytest.param(
            on("0.7.3", NGRAM, maxModelLen=40_960, maxNumBatchedTokens=4096),
            "BatchTooSmall",
            "(40960)",
            id="a long context with speculation",
        ),
    ],
)
def test_what_a_release_does_not_take_is_refused(overrides: dict[str, Any], reason: str, sentence: str) -> None:
    rejection = make_plan(resource(**overrides))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert sentence in str(rejection)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(on("0.6.0", NGRAM), id="n-gram in the oldest release"),
        pytest.param(on("0.29.0", NGRAM | {"spec.guard.meter": True}), id="the meter in its first release"),
        pytest.param(on("0.28.2", OFF | {"spec.guard.meter": True}), id="the meter where nothing speculates"),
        pytest.param(on("0.9.2", DRAFT), id="draft_model in the last release of the first generation"),
        pytest.param(on("0.8.0", OFF, long=True), id="plain vLLM of the second generation cuts prompts"),
        pytest.param(on("0.9.2", EAGLE, long=True), id="so does its speculation"),
        pytest.param(on("0.7.3", OFF, maxModelLen=40_960), id="the first one does it too for a long context"),
        pytest.param(
            on("0.7.3", NGRAM, long=True, extraArgs=[{"name": "enable-chunked-prefill"}]), id="and where it is asked to"
        ),
        pytest.param(on("0.9.2", DRAFT | {"spec.speculation.typicalAcceptance": {}}), id="typical acceptance in 0.9"),
        pytest.param(
            on("0.26.0", DRAFT | {"spec.speculation.draft": SMALL | {"kvCacheDtype": "fp8"}}), id="a cache type in 0.26"
        ),
        pytest.param(on("0.11.0", OFF, kvCacheDtype="bfloat16"), id="a cache in BF16 since 0.11"),
    ],
)
def test_what_a_release_takes_is_planned(overrides: dict[str, Any]) -> None:
    plan = make_plan(resource(**overrides))
    assert isinstance(plan, Plan), str(plan)
