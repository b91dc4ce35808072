"""What would make a mode fit: each remedy is planned, and only one that suffices is named."""

from collections.abc import Mapping
from typing import Any

import pytest
from builders import ABSENT, resource, with_overrides

from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

ONE_QWEN = {"spec.model": {"name": "Qwen/Qwen3-8B"}, "spec.speculation": ABSENT, "spec.accelerator.count": 1}
ON_DISK = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 128256,
    "weightBytes": "16G",
}
WITH_DRAFT = {
    "method": "draft_model",
    "numSpeculativeTokens": 3,
    "draft": {"name": "Qwen/Qwen3-1.7B"},
}


def remedies(**overrides: Any) -> tuple[str, ...]:
    plan = make_plan(resource(**overrides))
    assert isinstance(plan, Plan), str(plan)
    assert not plan.requested.fits
    return plan.requested.remedies


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param(
            ONE_QWEN | {"spec.accelerator.memory": "22Gi", "spec.engine.maxModelLen": 32_768},
            (
                "engine.maxModelLen 23552",
                "engine.kvCacheDtype fp8",
                "model.quantization fp8_per_tensor",
                "accelerator.count 2",
            ),
            id="a long context on a small card",
        ),
        pytest.param(
            ONE_QWEN
            | {"spec.accelerator.memory": "20000Mi", "spec.engine.maxModelLen": 1024}
            | {"spec.engine.maxNumSeqs": 1024, "spec.engine.maxNumBatchedTokens": 8192},
            (
                "engine.gpuMemoryUtilization 0.93",
                "engine.maxNumSeqs 512",
                "model.quantization fp8_per_tensor",
                "accelerator.count 2",
            ),
            id="many sequences on a small card",
        ),
        pytest.param(
            ONE_QWEN
            | {"spec.accelerator.memory": "18200Mi", "spec.engine.maxModelLen": 1024, "spec.engine.enforceEager": True}
            | {"spec.engine.maxNumSeqs": 16, "spec.engine.maxNumBatchedTokens": 16_384},
            (
                "engine.maxNumBatchedTokens 8192",
                "model.quantization fp8_per_tensor",
                "accelerator.count 2",
            ),
            id="a large batch on a small card",
        ),
        pytest.param(
            ONE_QWEN
            | {"spec.accelerator.product": "NVIDIA-GeForce-RTX-4090", "spec.accelerator.memory": "24Gi"}
            | {"spec.engine.gpuMemoryUtilization": "0.99", "spec.engine.maxModelLen": 4096},
            ("engine.gpuMemoryUtilization 0.98",),
            id="a budget that leaves nothing beside it",
        ),
        pytest.param(
            ONE_QWEN
            | {"spec.accelerator.memory": "22Gi", "spec.engine.maxModelLen": 4096, "spec.engine.maxNumSeqs": 8}
            | {"spec.speculation": WITH_DRAFT},
            (
                "engine.maxModelLen 1024",
                "speculation.draft.quantization fp8_per_tensor",
                "model.quantization fp8_per_tensor",
                "speculation.method ngram, which loads no draft",
                "accelerator.count 2",
            ),
            id="the draft in FP8",
        ),
        pytest.param(
            ONE_QWEN
            | {"spec.accelerator.memory": "31160Mi", "spec.engine.maxModelLen": 32_768, "spec.engine.maxNumSeqs": 16}
            | {"spec.speculation": WITH_DRAFT | {"numSpeculativeTokens": 7}},
            (
                "engine.gpuMemoryUtilization 0.94",
                "engine.maxNumSeqs 4",
                "speculation.numSpeculativeTokens 1",
                "engine.maxModelLen 30720",
                "speculation.draft.quantization fp8_per_tensor",
                "speculation.draft.kvCacheDtype fp8",
                "engine.kvCacheDtype fp8",
                "model.quantization fp8_per_tensor",
                "speculation.method ngram, which loads no draft",
                "accelerator.count 2",
            ),
            id="a little is missing: every way, cheapest first",
        ),
        pytest.param(
            {"spec.model": {"name": "meta-llama/Llama-3.1-405B-Instruct"}, "spec.accelerator.count": 16}
            | {"spec.accelerator.memory": "24Gi"},
            (),
            id="nothing helps",
        ),
        pytest.param(
            {"spec.model": {"name": "Qwen/Qwen3-32B-AWQ"}, "spec.speculation": ABSENT, "spec.accelerator.count": 1}
            | {"spec.accelerator.memory": "16Gi"},
            ("accelerator.count 2",),
            id="what is quantised is not quantised again",
        ),
        pytest.param(
            {"spec.model": {"name": "me/own", "facts": ON_DISK}, "spec.speculation": ABSENT}
            | {"spec.accelerator.count": 1, "spec.accelerator.memory": "17Gi", "spec.engine.kvCacheDtype": "fp8"},
            ("accelerator.count 2",),
            id="a size on disk may be quantised already, and so is the cache",
        ),
    ],
)
def test_remedies(overrides: Mapping[str, Any], expected: tuple[str, ...]) -> None:
    assert remedies(**overrides) == expected


_FIELDS = {
    "engine.gpuMemoryUtilization": str,
    "engine.maxNumSeqs": int,
    "engine.maxNumBatchedTokens": int,
    "engine.maxModelLen": int,
    "speculation.numSpeculativeTokens": int,
    "speculation.draft.kvCacheDtype": str,
    "engine.kvCacheDtype": str,
    "speculation.draft.quantization": str,
    "model.quantization": str,
    "accelerator.count": int,
}


@pytest.mark.parametrize("memory", ["17Gi", "18Gi", "19Gi", "20Gi"])
@pytest.mark.parametrize("speculation", [ABSENT, WITH_DRAFT], ids=["plain", "draft"])
def test_what_is_advised_works_when_it_is_written(memory: str, speculation: Any) -> None:
    overrides = ONE_QWEN | {
        "spec.accelerator.memory": memory,
        "spec.engine.maxModelLen": 16_384,
        "spec.speculation": speculation,
    }
    for remedy in remedies(**overrides):
        field, value = remedy.split(",")[0].split(" ")
        if field not in _FIELDS:
            continue
        changed = resource(**overrides).spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        body = {
            "apiVersion": "specdecode.io/v1alpha1",
            "kind": "SpecDecodeDeployment",
            "metadata": {"name": "x"},
            "spec": with_overrides(changed, {field: _FIELDS[field](value)}),
        }
        parsed = parse(body)
        assert isinstance(parsed, SpecDecodeDeployment), str(parsed)
        plan = make_plan(parsed)
        assert isinstance(plan, Plan)
        assert plan.requested.fits, remedy
