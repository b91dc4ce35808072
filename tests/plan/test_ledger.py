"""Lines of the ledger that are there for some models and releases only."""

from typing import Any

import pytest
from builders import ABSENT, resource

from specdecode.engine.catalogue import catalogue
from specdecode.plan.make import make_plan
from specdecode.plan.types import LedgerLine, ModePlan, Plan


def planned(**overrides: Any) -> Plan:
    plan = make_plan(resource(**overrides))
    assert isinstance(plan, Plan), str(plan)
    return plan


def line(mode: ModePlan, name: str) -> LedgerLine:
    return next(entry for entry in mode.ledger if entry.name == name)


def test_every_gpu_holds_the_down_projections_of_a_latent_model_whole() -> None:
    """And keeps the up projections a second time in 16 bit, because the checkpoint is in FP8."""
    facts = catalogue()["deepseek-ai/DeepSeek-R1"]
    deepseek = {"spec.model": {"name": "deepseek-ai/DeepSeek-R1"}, "spec.speculation": ABSENT}
    eight = planned(**deepseek, **{"spec.accelerator.product": "NVIDIA-H200", "spec.accelerator.count": 8}).requested
    once = facts.unquantized_parameters * 2 + facts.linear_parameters * facts.weight_bits / 8
    whole = facts.whole_parameters * facts.weight_bits / 8
    expected = (once + 2 * facts.unpacked_parameters - whole) / 8 + whole
    assert -line(eight, "targetWeights").bytes == pytest.approx(expected, rel=1e-6)


V0_EAGLE = {
    "spec.engine.image": "vllm/vllm-openai:v0.7.3",
    "spec.model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "spec.speculation": {
        "method": "eagle",
        "numSpeculativeTokens": 3,
        "draft": {"name": "yuhuili/EAGLE-LLaMA3.1-Instruct-8B"},
    },
}


def test_the_first_generation_keeps_a_head_on_one_gpu_and_beside_its_budget() -> None:
    """It profiles the target alone (vllm-project/vllm#9995)."""
    old = planned(**V0_EAGLE).requested
    new = planned(**(V0_EAGLE | {"spec.engine.image": "vllm/vllm-openai:v0.9.2"})).requested
    assert line(old, "draftWeights").bytes == pytest.approx(2 * line(new, "draftWeights").bytes, abs=2)
    assert line(old, "draftNotCharged").bytes == -line(old, "draftWeights").bytes
    beside = line(old, "outsideBudget").bytes - line(new, "outsideBudget").bytes
    assert beside == pytest.approx(line(old, "draftWeights").bytes, rel=0.01)
    assert not [entry for entry in new.ledger if entry.name == "draftNotCharged"]


def test_a_quantised_target_stays_on_the_first_runner_in_0_23() -> None:
    """The first runner counts its graphs, the second one of that release does not."""
    qwen = {"spec.speculation": ABSENT, "spec.accelerator.count": 1}
    graphs = {
        (version, name): line(
            planned(
                **qwen,
                **{"spec.engine.image": f"vllm/vllm-openai:v{version}", "spec.model": {"name": name}},
            ).requested,
            "cudaGraphs",
        ).bytes
        for version in ("0.23.0", "0.24.0")
        for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-AWQ")
    }
    assert graphs["0.23.0", "Qwen/Qwen3-8B-AWQ"] < 0
    assert graphs["0.23.0", "Qwen/Qwen3-8B"] == graphs["0.24.0", "Qwen/Qwen3-8B-AWQ"] == 0


def test_windows_that_are_switched_off_are_not_counted() -> None:
    oss = {
        "spec.model": {"name": "openai/gpt-oss-20b"},
        "spec.speculation": ABSENT,
        "spec.accelerator.count": 1,
        "spec.engine.maxModelLen": 131_072,
    }
    windowed = planned(**oss).requested
    whole = planned(**oss, **{"spec.engine.extraArgs": [{"name": "disable-hybrid-kv-cache-manager"}]}).requested
    assert whole.request_bytes > windowed.request_bytes
    assert whole.bytes_per_token == windowed.bytes_per_token
