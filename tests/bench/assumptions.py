"""What a published row does not say and its plan needs. Data, each with its reason; none was fitted to a result."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """What a row can be compared on. Every row is in exactly one group."""

    COMPILED = "0.29, compiled, cold and warm"
    EAGER = "0.18 and 0.29, eager"
    PUBLISHED = "0.11, H100, 1024 requests"
    OTHER = "0.7 to 0.27, small cards"
    BYTES = "bytes per token only"
    GIVEN = "the KV cache was given"
    DRAFT = "weights with a draft"
    LIMITS = "failed; inputs partly known"
    SKIPPED = "cannot be planned"


END_TO_END = (Group.COMPILED, Group.EAGER, Group.PUBLISHED, Group.OTHER)
"""Groups whose inputs are known: their KV cache is compared in GiB."""

RELEASE: Mapping[str, str] = {
    "0.6.x": "0.6.6",
    "0.7.x": "0.7.3",
    "0.8.x": "0.8.5",
    "0.9.x": "0.9.2",
    "0.10.x": "0.10.2",
    "0.12.x": "0.12.0",
    "0.13.x": "0.13.0",
    "0.14.x": "0.16.0",  # the row runs a build after the draft model came back, which no release of 0.14 has
    "0.15.x": "0.16.0",  # 0.15 was published as wheels without sources; 0.16 has the same rules
    "0.20.x": "0.20.2",
    "0.21.x": "0.21.0",
    "0.22.x": "0.22.0",
    "0.25.x": "0.25.1",
    "0.27.x": "0.27.1",
    "0.28.x": "0.28.0",
}
"""The release that stands for a line whose exact release is not stated."""

V0_RELEASE = "0.7.3"
"""Stands for V0 engines of 0.8: the same profiling, and a version whose default is V0."""

STAND_IN: Mapping[str, str] = {
    "Qwen/Qwen3-Reranker-8B": "Qwen/Qwen3-8B",
    "Qwen/Qwen3-VL-30B-A3B-Instruct": "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": "Qwen/Qwen3-235B-A22B-FP8",
    "moonshotai/Kimi-K2-Thinking": "moonshotai/Kimi-K2-Instruct",
}
"""Models with the layers of another one; only their bytes per token are compared."""


@dataclass(frozen=True)
class Assumed:
    """Values for what a row leaves out, and why these."""

    why: str
    gpu_total_gib: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: str | None = None


_API_SERVER_H100 = Assumed(
    "defaults of the API server of 0.11 on a card of 70 GiB or more", max_num_seqs=1024, max_num_batched_tokens=8192
)
_SAME_CARD = Assumed("the same card, whose total the later runs print", gpu_total_gib=47.37)

ASSUMED: Mapping[str, Assumed] = {
    "llmd-llama31-8b-h100": _API_SERVER_H100,
    "llmd-llama33-70b-fp8-tp2-h100": _API_SERVER_H100,
    "llmd-llama33-70b-fp8-tp1-h100": _API_SERVER_H100,
    "llmd-qwen3-0.6b-h100": _API_SERVER_H100,
    "llmd-qwen3-32b-h100-tp1": _API_SERVER_H100,
    "llmd-qwen3-32b-h100-tp2": _API_SERVER_H100,
    "llmd-gptoss-20b-h100": _API_SERVER_H100,
    "llmd-gptoss-120b-h100": _API_SERVER_H100,
    "llmd-mistral-small-24b-h100": _API_SERVER_H100,
    "lab-qwen3-8b-018-eager": _SAME_CARD,
    "lab-qwen3-8b-018-eager-ngram4": _SAME_CARD,
    "lab-qwen3-8b-awq-018-eager": _SAME_CARD,
    "lab-qwen3-8b-018-fp8kv-4gib": Assumed(
        "the same card; the given bytes overrule the utilisation", gpu_total_gib=47.37, gpu_memory_utilization="0.75"
    ),
    "lab-qwen3-8b-029-fp8kv-4gib": _SAME_CARD,
    "qwen3-8b-4090-0.27.1": Assumed(
        "21.64 GiB are 0.92 of the card; default of the API server on a small card",
        gpu_total_gib=23.52,
        max_num_batched_tokens=2048,
    ),
    "qwen3-4b-rtx2060-12g": Assumed(
        "V0 without chunked prefill takes max_model_len as its token limit", max_num_batched_tokens=10000
    ),
    "qwen2.5-1.5b-t4": Assumed(
        "V0 without chunked prefill takes max_model_len as its token limit; 256 requests are its default",
        max_num_seqs=256,
        max_num_batched_tokens=32768,
    ),
    "llama31-8b-24g-inferless": Assumed(
        "V0 turns chunked prefill on beyond 32K tokens and then takes 2048; 256 requests are its default",
        max_num_seqs=256,
        max_num_batched_tokens=2048,
    ),
    "qwen3-32b-rtxpro6000-tp1-fail": Assumed(
        "40.5 GiB are 0.426 of the card; defaults of the API server on a card of 70 GiB or more",
        gpu_total_gib=95.07,
        max_num_seqs=1024,
        max_num_batched_tokens=8192,
    ),
    "gptoss120b-tp8-rtxpro4500-51590": Assumed(
        "default of the API server on a small card; the longest request is not stated",
        max_num_batched_tokens=2048,
    ),
}
