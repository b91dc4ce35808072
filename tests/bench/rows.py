"""A measured row as the resource a user would have written, or the sentence why there is none.

The resource goes through the same parser as a file; nothing of the plan's inside is touched.
"""

from dataclasses import dataclass
from typing import Any

from specdecode.api.accelerators import ACCELERATORS
from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse
from specdecode.engine.models import catalogue

from .assumptions import ASSUMED, RELEASE, STAND_IN, V0_RELEASE, Assumed, Group
from .measured import GIB, Measured

NOTHING_ASSUMED = Assumed("")
_ANY_GPU = "any"

_LABS = "lab-qwen3-8b-"
_GROUP_OF = {
    f"{_LABS}029-warm": Group.COMPILED,
    "lab-qwen3-8b-awq-029-cold": Group.COMPILED,
    f"{_LABS}029-cold": Group.COMPILED,
    f"{_LABS}029-cold-mbt512": Group.COMPILED,
    f"{_LABS}029-eager": Group.EAGER,
    f"{_LABS}029-eager-ngram4": Group.EAGER,
    f"{_LABS}018-eager": Group.EAGER,
    f"{_LABS}018-eager-ngram4": Group.EAGER,
    "lab-qwen3-8b-awq-018-eager": Group.EAGER,
    f"{_LABS}018-fp8kv-4gib": Group.GIVEN,
    f"{_LABS}029-fp8kv-4gib": Group.GIVEN,
    "llmd-llama31-8b-h100": Group.PUBLISHED,
    "llmd-llama33-70b-fp8-tp2-h100": Group.PUBLISHED,
    "llmd-llama33-70b-fp8-tp1-h100": Group.PUBLISHED,
    "llmd-qwen3-0.6b-h100": Group.PUBLISHED,
    "llmd-qwen3-32b-h100-tp1": Group.PUBLISHED,
    "llmd-qwen3-32b-h100-tp2": Group.PUBLISHED,
    "llmd-gptoss-20b-h100": Group.PUBLISHED,
    "llmd-gptoss-120b-h100": Group.PUBLISHED,
    "llmd-mistral-small-24b-h100": Group.PUBLISHED,
    "qwen3-8b-4090-0.27.1": Group.OTHER,
    "qwen3-4b-rtx2060-12g": Group.OTHER,
    "qwen2.5-1.5b-t4": Group.OTHER,
    "llama31-8b-24g-inferless": Group.OTHER,
    "llama31-8b-85.79": Group.BYTES,
    "llama31-8b-26.43": Group.BYTES,
    "llama31-8b-19.28-eager": Group.BYTES,
    "llama31-8b-19.25": Group.BYTES,
    "qwen3-8b-jun2025": Group.BYTES,
    "qwen3-reranker-8b-sm12x": Group.BYTES,
    "qwen3-14b-lmcache-1739": Group.BYTES,
    "phi4-bnb-80g": Group.BYTES,
    "qwen3-235b-fp8-l40s-tp4": Group.BYTES,
    "qwen3-235b-fp8-4xh100-21348": Group.BYTES,
    "kimi-k2-thinking-tp8": Group.BYTES,
    "kimi-k2-thinking-tp8-dcp8": Group.BYTES,
    "qwen3-30b-a3b-vl-h100nvl": Group.BYTES,
    "qwen3-4b-draft0.6b-h20": Group.DRAFT,
    "qwen3-32b-rtxpro6000-tp1-fail": Group.LIMITS,
    "gptoss120b-tp8-rtxpro4500-51590": Group.LIMITS,
}

_UNNAMED = "the log does not name the model"
_HYBRID = "a hybrid with recurrent layers, which the plan refuses"
_SPARSE = "sparse attention over a compressed cache, which the plan refuses"
_NO_POOL = "no KV cache in GiB and no utilisation"
_NO_RANKS = "tensor and pipeline parallel sizes are not stated"
_REPEAT = "the same arguments on the same card as another row; counted once"
_NO_FACTS = "the dimensions of this model are not published where we could read them"

_SKIPPED = {
    "lab-qwen3-8b-029-cold-repeat": _REPEAT,
    "lab-qwen3-8b-029-warm-override": _REPEAT,
    "llmd-qwen3-0.6b-h100-32k": _REPEAT,
    "qwen3-32b-rtxpro6000-tp2": _NO_POOL,
    "llama31-8b-18322": _NO_POOL,
    "qwen2.5-32b-class-16303": _UNNAMED,
    "gptq-marlin-80g-u015": _UNNAMED,
    "dsv2-lite-coder-l40s-offload": "weights are offloaded to the CPU, which the resource cannot ask for",
    "r1-h200-tp8": _UNNAMED,
    "tinymodel-47.5": _UNNAMED,
    "glm-or-mla-24g-pp": _UNNAMED,
    "deepseek-r1-gguf-3090x16": _NO_RANKS,
    "deepseek-r1-awq-moewna16-3090": _NO_RANKS,
    "5090-2rank-14452": f"{_UNNAMED}, and it is split over two pipeline stages",
    "dsv4-flash-0731-b300-dspark": _SPARSE,
    "dsv4-ds_mla-74gib": _SPARSE,
    "dsv4-flash-gb10-tp2-mtp2": _SPARSE,
    "qwen3.6-35b-prismaquant-mtp3": _HYBRID,
    "qwen3.8-27b-int4-2x3090-mtp4": _HYBRID,
    "qwen3.8-27b-int4-2x3090-nospec": _HYBRID,
    "qwen3.8-27b-fp8-2x3090-mtp3": _HYBRID,
    "qwen3.8-27b-int4-2x3090-dflash2": _HYBRID,
    "qwen3.6-27b-nvfp4-2x5090-mtp3": _HYBRID,
    "qwen3.6-35b-a3b-int4-2x5090-nospec": _HYBRID,
    "qwen3.6-35b-a3b-nvfp4-2x5090-nospec": _HYBRID,
    "qwen3.6-27b-int8kv-matched-2x3090-mtp4": _HYBRID,
    "qwen3.6-27b-2x3090-autoround-104": _HYBRID,
    "qwen3.6-35b-nvfp4-5090-652": _HYBRID,
    "qwen3.6-35b-nvfp4-5090-612": _HYBRID,
    "kimi-linear-48b-awq-2x3090": _HYBRID,
    "qwen3.8-27b-16g": _HYBRID,
    "qwen3-next-80b-2x": _HYBRID,
    "qwen3.5-family-nvfp4-mtp-0.20": _HYBRID,
    "qwen3.8-27b-5090-nvfp4kv-mtp2": _HYBRID,
    "qwen3.8-27b-5090-nvfp4kv-8gib-mtp3": _HYBRID,
    "gemma4-12b-bf16-2x3090-mtp": _NO_FACTS,
    "gemma4-12b-int8-1x3090-mtp4": _NO_FACTS,
    "gemma4-nim-rtxpro6000-mtp3": _NO_FACTS,
    "gb10-55gib-moe": _UNNAMED,
    "b300-dp-ep-hybrid": _UNNAMED,
    "sm75-24g-eager-bridge": _UNNAMED,
    "tp2-52.36": _UNNAMED,
    "zephyr-7b-medusa-v0": "vLLM 0.5, older than the plan supports",
    "qwen3-235b-class-pard-tp16": _UNNAMED,
}

SHARED_BY_RANKS = {
    "qwen3-235b-fp8-4xh100-21348": "GiB of one rank, tokens of the smallest one",
    "qwen3-235b-fp8-l40s-tp4": "GiB of one rank, tokens over all; weights suggest two pipeline stages",
}
"""Rows whose printed GiB and tokens do not belong to the same rank: bytes per token within 1.2 %, not exact."""


@dataclass(frozen=True)
class Row:
    """A measured row with what the plan is asked for it."""

    measured: Measured
    group: Group
    assumed: Assumed
    asked: SpecDecodeDeployment | Rejection | None
    """None for a skipped row."""
    skipped: str
    """Why it cannot be planned; empty when it can."""


def release_of(measured: Measured) -> str:
    """The engine version to plan for."""
    if measured.is_v0 and measured.engine == "0.8.x":
        return V0_RELEASE
    return RELEASE.get(measured.engine, measured.engine)


def _accelerator(measured: Measured, assumed: Assumed) -> dict[str, Any]:
    total_gib = measured.gpu_total_gib or assumed.gpu_total_gib
    asked: dict[str, Any] = {"product": measured.gpu or _ANY_GPU, "count": measured.gpus}
    if total_gib is not None:
        return asked | {"memory": str(int(total_gib * GIB))}
    return asked if measured.gpu in ACCELERATORS else asked | {"memory": "141Gi"}


def _engine(measured: Measured, assumed: Assumed) -> dict[str, Any]:
    stated = {
        "maxNumSeqs": measured.max_num_seqs or assumed.max_num_seqs,
        "maxNumBatchedTokens": measured.max_num_batched_tokens or assumed.max_num_batched_tokens,
        "gpuMemoryUtilization": measured.gpu_memory_utilization or assumed.gpu_memory_utilization,
        "kvCacheDtype": measured.kv_cache_dtype or None,
    }
    return {
        "image": "vllm/vllm-openai@sha256:" + "0" * 64,
        "version": release_of(measured),
        "maxModelLen": measured.max_model_len or 4096,
        "enforceEager": measured.enforce_eager,
        **{name: value for name, value in stated.items() if value is not None},
    }


def _speculation(measured: Measured) -> dict[str, Any]:
    if not measured.spec_method:
        return {}
    asked: dict[str, Any] = {"method": measured.spec_method, "numSpeculativeTokens": measured.num_spec_tokens}
    if measured.spec_model:
        asked["draft"] = {"name": measured.spec_model}
    if measured.spec_method == "ngram":
        asked["ngram"] = {"promptLookupMin": 1, "promptLookupMax": 4}
    return {"speculation": asked}


def body_of(measured: Measured, assumed: Assumed = NOTHING_ASSUMED) -> dict[str, Any]:
    """The resource as it would stand in a file."""
    name = measured.model if measured.model in catalogue() else STAND_IN.get(measured.model, measured.model)
    model = {"name": name} | ({"dtype": measured.dtype} if measured.dtype else {})
    return {
        "apiVersion": "specdecode.io/v1alpha1",
        "kind": "SpecDecodeDeployment",
        "metadata": {"name": "measured", "namespace": "bench"},
        "spec": {
            "model": model,
            "engine": _engine(measured, assumed),
            "accelerator": _accelerator(measured, assumed),
            **_speculation(measured),
        },
    }


def row_of(measured: Measured) -> Row:
    """A row with its group. A row that nobody sorted is an error: nothing is skipped silently."""
    assumed = ASSUMED.get(measured.id, NOTHING_ASSUMED)
    if measured.id in _SKIPPED:
        return Row(measured, Group.SKIPPED, assumed, None, _SKIPPED[measured.id])
    return Row(measured, _GROUP_OF[measured.id], assumed, parse(body_of(measured, assumed)), "")
