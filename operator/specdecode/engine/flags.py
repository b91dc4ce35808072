"""What each vLLM release understands of speculative decoding, as tables.

A stale key is a boot failure, not a warning (`Unexpected keyword argument`, measured on vLLM 0.32.0), so whatever is
rendered is looked up here first. Read from the sources of the releases 0.8.5 to 0.33.0. It renders nothing itself.
"""

from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Method
from specdecode.engine.version import EngineVersion


@dataclass(frozen=True)
class Availability:
    """When a method can be used."""

    since: EngineVersion
    gone_in: EngineVersion | None
    """First release without it."""
    note: str
    """Why not outside the range, and the way out."""


def _since(minor: int, patch: int = 0, *, gone_in: EngineVersion | None = None, note: str = "") -> Availability:
    return Availability(EngineVersion(0, minor, patch), gone_in, note)


METHODS: dict[Method, Availability] = {
    Method.NGRAM: _since(8, 5),
    Method.NGRAM_GPU: _since(18, note="use ngram, which every version has"),
    Method.EAGLE: _since(8, 5),
    Method.EAGLE3: _since(10, note="use eagle with an EAGLE head, or ngram"),
    Method.MEDUSA: _since(8, 5, gone_in=EngineVersion(0, 33), note="use eagle3 or draft_model"),
    Method.MLP_SPECULATOR: _since(8, 5, gone_in=EngineVersion(0, 33), note="use eagle3 or draft_model"),
    # Before 0.11 it is spelled deepseek_mtp and exists for DeepSeek only.
    Method.MTP: _since(9, note="use eagle or ngram"),
    Method.SUFFIX: _since(12, note="use ngram"),
    Method.DFLASH: _since(25, note="use eagle3"),
    Method.DSPARK: _since(25, note="use eagle3"),
    # V0 only up to 0.9, refused by 0.10 to 0.14 ("Speculative decoding with draft model is not supported yet"), back
    # with vllm-project/vllm#24322; 0.15.1 is the first release seen to run it (vllm-project/vllm#35091).
    Method.DRAFT_MODEL: _since(15, 1, note="use eagle or ngram, or an engine of 0.16 or newer"),
}


def method_problem(version: EngineVersion, method: Method) -> Problem | None:
    """Why `version` cannot run `method`, if it cannot."""
    availability = METHODS[method]
    field = "spec.speculation.method"
    if version < availability.since:
        needed = f"it needs {availability.since} or newer"
        return Problem(field, method, f"vLLM {version} does not run it, {needed}: {availability.note}")
    if availability.gone_in is not None and version >= availability.gone_in:
        return Problem(field, method, f"removed in vLLM {availability.gone_in}; {availability.note}")
    return None


def spelling(version: EngineVersion, method: Method) -> str:
    """How a method is spelled in `--speculative-config`. The family of `*_mtp` names became `mtp` in 0.11."""
    return "deepseek_mtp" if method is Method.MTP and version < EngineVersion(0, 11) else str(method)


class BatchLimit(StrEnum):
    """How a release stops speculating when many requests run: the key of `--speculative-config`."""

    BY_BATCH_SIZE = "disable_by_batch_size"
    PER_BATCH_SIZE = "num_speculative_tokens_per_batch_size"


def batch_limit(version: EngineVersion) -> BatchLimit | None:
    """The key that carries maxBatchSize. None from 0.17 to 0.23: removed, and its successor not there yet."""
    if version < EngineVersion(0, 17):
        return BatchLimit.BY_BATCH_SIZE
    return BatchLimit.PER_BATCH_SIZE if version >= EngineVersion(0, 24) else None


def knows_kv_cache_memory_bytes(version: EngineVersion) -> bool:
    """Whether `--kv-cache-memory-bytes` exists (vllm-project/vllm#21489)."""
    return version >= EngineVersion(0, 10, 2)


def trusts_remote_code(version: EngineVersion) -> bool:
    """Whether `trust_remote_code=False` can be bypassed (CVE-2025-66448, CVE-2026-22807, CVE-2026-27893)."""
    return version < EngineVersion(0, 18)


_V2_SINCE: dict[Method, EngineVersion | None] = {
    Method.DRAFT_MODEL: EngineVersion(0, 31),
    Method.NGRAM: EngineVersion(0, 32),
    Method.NGRAM_GPU: EngineVersion(0, 32),
    Method.SUFFIX: None,
    Method.MEDUSA: None,
    Method.MLP_SPECULATOR: None,
}


def uses_v2_runner(version: EngineVersion, method: Method | None) -> bool:
    """Whether vLLM's second model runner is used. Its sampler takes a fraction of the first one's memory.

    From 0.22 to 0.28 it depends on the architecture; those releases are planned as the first runner, which needs more.
    """
    default = EngineVersion(0, 29)
    since = default if method is None else _V2_SINCE.get(method, default)
    return since is not None and version >= since


def counts_cuda_graphs(version: EngineVersion, *, v2_runner: bool) -> bool:
    """Whether the graph memory is estimated and subtracted before the KV cache is sized."""
    return version >= (EngineVersion(0, 29) if v2_runner else EngineVersion(0, 20))
