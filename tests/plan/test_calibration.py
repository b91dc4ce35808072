"""A measured engine corrects the next plan of its shape, and only of its shape."""

from dataclasses import replace
from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.plan.knowledge import Calibration, Knowledge
from specdecode.plan.make import make_plan
from specdecode.plan.types import LedgerLine, ModePlan, Plan

GIB = 1024**3
QWEN: dict[str, Any] = {
    "spec.model": {"name": "Qwen/Qwen3-8B"},
    "spec.accelerator.count": 1,
    "spec.speculation": ABSENT,
}


def planned(*calibrations: Calibration, **overrides: Any) -> ModePlan:
    plan = make_plan(resource(**(QWEN | overrides)), Knowledge(calibrations=calibrations))
    assert isinstance(plan, Plan), str(plan)
    return plan.requested


def line(mode: ModePlan, name: str) -> LedgerLine | None:
    return next((entry for entry in mode.ledger if entry.name == name), None)


def size(mode: ModePlan, name: str) -> int:
    found = line(mode, name)
    assert found is not None, name
    return found.bytes


def measured(mode: ModePlan, more_bytes: int) -> Calibration:
    """An engine that had `more_bytes` more cache than was planned."""
    kv_cache = mode.kv_cache_bytes_per_gpu + more_bytes
    return Calibration(mode.shape, mode.kv_cache_bytes_per_gpu, kv_cache, size(mode, "budget") - kv_cache)


def test_the_same_shape_is_planned_as_it_was_measured() -> None:
    before = planned()
    after = planned(measured(before, GIB))
    assert after.kv_cache_bytes_per_gpu == before.kv_cache_bytes_per_gpu + GIB
    assert size(after, "calibration") == GIB
    cache, first = line(after, "kvCache"), line(before, "kvCache")
    assert cache is not None
    assert first is not None
    assert cache.high_bytes - cache.low_bytes == 100 * 1024**2, "two starts of one engine differ by this much"
    assert cache.high_bytes - cache.low_bytes < first.high_bytes - first.low_bytes
    assert line(before, "calibration") is None


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.engine.gpuMemoryUtilization": "0.80"}, id="another share of the card"),
        pytest.param({"spec.engine.maxModelLen": 4096}, id="a shorter context"),
    ],
)
def test_what_changes_only_the_budget_keeps_the_correction(overrides: dict[str, Any]) -> None:
    other = planned(**overrides)
    assert planned(measured(planned(), GIB), **overrides).kv_cache_bytes_per_gpu == pytest.approx(
        other.kv_cache_bytes_per_gpu + GIB, abs=1
    )


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.engine.maxNumSeqs": 65}, id="another batch limit"),
        pytest.param({"spec.engine.maxNumBatchedTokens": 4096}, id="another token limit"),
        pytest.param({"spec.engine.enforceEager": True}, id="without graphs"),
        pytest.param({"spec.engine.image": "vllm/vllm-openai:v0.31.0"}, id="another image"),
        pytest.param({"spec.accelerator.count": 2}, id="two GPUs"),
        pytest.param({"spec.accelerator.product": "NVIDIA-H200"}, id="another card"),
        pytest.param({"spec.model": {"name": "Qwen/Qwen3-8B-AWQ"}}, id="another checkpoint"),
        pytest.param({"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 3}}, id="n-gram"),
        pytest.param({"spec.engine.extraArgs": [{"name": "enable-prefix-caching"}]}, id="another argument"),
    ],
)
def test_another_shape_is_planned_as_before(overrides: dict[str, Any]) -> None:
    assert planned(measured(planned(), GIB), **overrides) == planned(**overrides)


def test_a_pinned_cache_uses_what_was_measured() -> None:
    """It keeps back the spread of two starts and vLLM's own margin, not that of the formulas."""
    free = planned()
    pinned = planned(measured(free, GIB), **{"spec.engine.pinKvCache": True})
    assert -size(pinned, "safety") == 50 * 1024**2 + 150 * 1024**2
    assert pinned.kv_cache_bytes_per_gpu == free.kv_cache_bytes_per_gpu + GIB - 200 * 1024**2


def test_a_measurement_of_something_else_is_not_used() -> None:
    elsewhere = replace(measured(planned(), GIB), shape="another")
    assert planned(elsewhere) == planned()
