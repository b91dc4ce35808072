"""The effect of one change: two rows that differ in one thing, planned both ways. Ratios, so the card cancels out."""

from collections.abc import Mapping
from dataclasses import dataclass

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse
from specdecode.plan.make import make_plan
from specdecode.plan.types import ModePlan

from .score import WEIGHTS, Predicted, Prediction

PLAN_REFUSES = "the plan refuses one of them"


@dataclass(frozen=True)
class Effect:
    """One comparison; both numbers in the same unit."""

    change: str
    unit: str
    planned: float
    measured: float
    origin: str
    """What `measured` is: two logs, or the published formula."""

    @property
    def difference_percent(self) -> float:
        """Planned against measured."""
        return (self.planned / self.measured - 1) * 100


def _pool_ratio(change: str, with_id: str, without_id: str, predicted: Mapping[str, Predicted]) -> Effect | str:
    changed, base = predicted[with_id], predicted[without_id]
    if not isinstance(changed, Prediction) or not isinstance(base, Prediction):
        return f"{change}: {PLAN_REFUSES}"
    seen = (changed.row.measured.kv_cache_tokens or 0) / (base.row.measured.kv_cache_tokens or 1)
    planned = changed.mode.kv_cache_tokens / base.mode.kv_cache_tokens
    return Effect(change, "tokens with / without", planned, seen, "two logs")


def _given_tokens(identity: str, predicted: Mapping[str, Predicted]) -> Effect | str:
    found = predicted[identity]
    if not isinstance(found, Prediction):
        return f"{identity}: {PLAN_REFUSES}"
    measured, mode = found.row.measured, found.mode
    blocks = (measured.kv_cache_memory_bytes or 0) // mode.bytes_per_block
    title = f"fp8 cache of 4 GiB, vLLM {measured.engine}"
    tokens = blocks * mode.block_size_tokens
    return Effect(title, "tokens", tokens, measured.kv_cache_tokens or 0, "log")


def _loaded_weights(identity: str, predicted: Mapping[str, Predicted]) -> Effect | str:
    found = predicted[identity]
    if not isinstance(found, Prediction):
        return f"{identity}: {PLAN_REFUSES}"
    seen = found.row.measured.model_load_gib or 0.0
    return Effect("Qwen3-4B with a 0.6B draft loaded", "GiB", found.line(*WEIGHTS), seen, "log")


def _speculating(target: str, method: str, draft: str) -> SpecDecodeDeployment:
    speculation = {"method": method, "numSpeculativeTokens": 3, "draft": {"name": draft}}
    body = {
        "apiVersion": "specdecode.io/v1alpha1",
        "kind": "SpecDecodeDeployment",
        "metadata": {"name": "pair", "namespace": "bench"},
        "spec": {
            "model": {"name": target},
            "engine": {"image": "vllm/vllm-openai:v0.32.0", "maxModelLen": 2048, "maxNumSeqs": 64},
            "accelerator": {"product": "NVIDIA-H200"},
            "speculation": speculation,
        },
    }
    parsed = parse(body)
    assert not isinstance(parsed, Rejection), str(parsed)
    return parsed


def _bytes(change: str, asked: SpecDecodeDeployment, published: int, base: int) -> Effect | str:
    plan = make_plan(asked)
    if isinstance(plan, Rejection):
        return f"{change}: {PLAN_REFUSES} ({plan})"
    planned: ModePlan = plan.requested
    return Effect(change, "bytes per token with / without", planned.bytes_per_token / base, published / base, "formula")


def effects(predicted: Mapping[str, Predicted]) -> tuple[Effect | str, ...]:
    """Every pair there is; a sentence where the plan refuses one side."""
    llama, qwen = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-8B"
    eagle, eagle3 = "yuhuili/EAGLE-LLaMA3.1-Instruct-8B", "AngelSlim/Qwen3-8B_eagle3"
    lab = "lab-qwen3-8b"
    return (
        _pool_ratio("ngram, vLLM 0.18", f"{lab}-018-eager-ngram4", f"{lab}-018-eager", predicted),
        _pool_ratio("ngram, vLLM 0.29", f"{lab}-029-eager-ngram4", f"{lab}-029-eager", predicted),
        _loaded_weights("qwen3-4b-draft0.6b-h20", predicted),
        _bytes("Llama-3.1-8B with an EAGLE head", _speculating(llama, "eagle", eagle), 135_168, 131_072),
        _bytes("Qwen3-8B with an EAGLE-3 head", _speculating(qwen, "eagle3", eagle3), 151_552, 147_456),
        _bytes("Qwen3-8B with a 0.6B draft", _speculating(qwen, "draft_model", "Qwen/Qwen3-0.6B"), 262_144, 147_456),
        _given_tokens(f"{lab}-018-fp8kv-4gib", predicted),
        _given_tokens(f"{lab}-029-fp8kv-4gib", predicted),
    )


@dataclass(frozen=True)
class ColdStart:
    """One plan beside a cold and a warm start of the same command."""

    planned_gib: float
    low_gib: float
    high_gib: float
    cold_gib: float
    warm_gib: float


def cold_start(predicted: Mapping[str, Predicted]) -> ColdStart | None:
    """The compile cache costs KV cache at the first start; a plan is one number and a band for both."""
    cold, warm = predicted["lab-qwen3-8b-029-cold"], predicted["lab-qwen3-8b-029-warm"]
    if not isinstance(cold, Prediction) or not isinstance(warm, Prediction):
        return None
    low, high = cold.band_gib
    return ColdStart(
        cold.kv_gib, low, high, cold.row.measured.kv_cache_gib or 0.0, warm.row.measured.kv_cache_gib or 0.0
    )
