"""A resource for the engine that wrote a log, so that it can be planned without a spec.

What the log does not say and the plan cannot do without is a Problem; limits that were left to vLLM are taken as its
defaults, and every one of them is named.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from specdecode.api.accelerators import ACCELERATORS, GIB
from specdecode.api.resource import Problem, Rejection
from specdecode.api.vocabulary import API_VERSION, CACHE_MOUNT, KIND
from specdecode.engine.startup_log import LoggedSpeculation, StartupLog

_RELEASE = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})")
_SAME_CARD_BYTES = int(0.02 * GIB)
_ONLY_IN_THE_CHECKPOINT = frozenset({"mtp", "dspark"})
_KNOWN_CACHE_DTYPES = frozenset({"bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"})
_KNOWN_DTYPES = frozenset({"bfloat16", "float16"})


@dataclass(frozen=True)
class Reconstructed:
    """A resource as a file would have it, and what was assumed for it."""

    body: Mapping[str, Any]
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class _Known:
    """What no plan can do without."""

    model: str
    version: tuple[int, int, int]
    max_model_len: int
    total_bytes: int

    @property
    def release(self) -> str:
        return ".".join(str(part) for part in self.version)


def _version(log: StartupLog) -> tuple[int, int, int] | None:
    found = _RELEASE.match(log.version or "")
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def _missing(log: StartupLog) -> Iterator[Problem]:
    way_out = "keep the log from its first line, or describe the engine in a file and name it with --file"
    if log.model is None:
        yield Problem("log", "", f"does not name the model; {way_out}")
    if _version(log) is None:
        yield Problem("log", log.version or "", f"does not name the version of vLLM; {way_out}")
    if log.max_model_len is None:
        yield Problem("log", "", f"does not name the longest request (max_seq_len); {way_out}")
    if log.device == "CPU":
        yield Problem("log", "", "is of an engine on a CPU, and a plan is for GPUs; name a file with --file")
    elif log.total_bytes is None:
        yield Problem(
            "log",
            "",
            "does not say how much memory the GPU has: vLLM prints it once it has started, before 0.26 mostly at "
            f"VLLM_LOGGING_LEVEL=DEBUG only; {way_out}",
        )


def _product(total_bytes: int) -> str:
    """The product whose measured memory is the same; the plan takes memory from the log, the rest from the product."""
    measured = [(abs(card.memory_bytes - total_bytes), name) for name, card in ACCELERATORS.items() if card.is_measured]
    distance, name = min(measured)
    return name if distance <= _SAME_CARD_BYTES else "unknown"


def _default_limits(known: _Known, *, is_v0: bool) -> tuple[int, int]:
    """What vLLM's server takes for sequences and tokens of one step when nothing is set (`get_batch_defaults`)."""
    if is_v0:
        return 256, max(known.max_model_len, 2048)
    if known.total_bytes >= 160 * GIB and known.version >= (0, 28, 0):
        return 1024, 16384
    if known.total_bytes >= 70 * GIB and not _product(known.total_bytes).startswith("NVIDIA-A100"):
        return 1024, 8192
    return 256, 2048


def _default_utilization(known: _Known) -> str:
    return "0.92" if known.version >= (0, 20, 0) else "0.90"


def _engine(log: StartupLog, known: _Known) -> tuple[dict[str, Any], tuple[str, ...]]:
    seqs, tokens = _default_limits(known, is_v0=log.is_v0 is True)
    defaults: dict[str, Any] = {
        "maxNumSeqs": seqs,
        "maxNumBatchedTokens": tokens,
        "gpuMemoryUtilization": _default_utilization(known),
    }
    logged = {
        "maxNumSeqs": log.max_num_seqs,
        "maxNumBatchedTokens": log.max_num_batched_tokens,
        "gpuMemoryUtilization": log.utilization,
    }
    stated = {name: value for name, value in logged.items() if value is not None}
    assumed = tuple(
        f"{name} is taken as {defaults[name]}, the default of vLLM {known.release}: the log does not say it"
        for name in defaults
        if name not in stated
    )
    engine = {
        "image": f"vllm/vllm-openai:v{known.release}",
        "maxModelLen": known.max_model_len,
        **defaults,
        **stated,
        "enforceEager": log.enforce_eager is True,
        "pinKvCache": log.is_kv_cache_pinned,
    }
    if log.kv_cache_dtype in _KNOWN_CACHE_DTYPES:
        engine["kvCacheDtype"] = log.kv_cache_dtype
    return engine, assumed


def _speculation(speculation: LoggedSpeculation) -> dict[str, Any]:
    block: dict[str, Any] = {
        "method": speculation.method,
        "numSpeculativeTokens": speculation.num_speculative_tokens or 1,
    }
    if speculation.model is not None and speculation.method not in _ONLY_IN_THE_CHECKPOINT:
        block["draft"] = {"name": speculation.model}
        if speculation.quantization is not None:
            block["draft"]["quantization"] = speculation.quantization
    return block


def _model(log: StartupLog, known: _Known) -> dict[str, Any]:
    model: dict[str, Any] = {"name": known.model}
    if log.dtype in _KNOWN_DTYPES:
        model["dtype"] = log.dtype
    optional = {"revision": log.revision, "quantization": log.quantization}
    return model | {name: value for name, value in optional.items() if value is not None}


def _body(log: StartupLog, known: _Known, engine: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "model": _model(log, known),
        "engine": engine,
        "accelerator": {
            "product": _product(known.total_bytes),
            "memory": str(known.total_bytes),
            "count": log.tensor_parallel_size or 1,
        },
    }
    if log.speculation is not None:
        spec["speculation"] = _speculation(log.speculation)
    if known.model.startswith(f"{CACHE_MOUNT}/"):
        spec["cache"] = {"claimName": "models"}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "from-log"}, "spec": spec}


def resource_of(log: StartupLog) -> Reconstructed | Rejection:
    """The resource that the log's engine would have come from, or everything that is missing to know it."""
    missing = tuple(_missing(log))
    version = _version(log)
    if missing or version is None or log.model is None or log.max_model_len is None or log.total_bytes is None:
        return Rejection("LogIncomplete", missing)
    known = _Known(log.model, version, log.max_model_len, log.total_bytes)
    engine, assumptions = _engine(log, known)
    return Reconstructed(_body(log, known, engine), assumptions)
