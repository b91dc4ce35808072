"""The likely reason why one number of a start is not as planned, from what else the log says."""

from collections.abc import Callable, Mapping

from specdecode.api.accelerators import GIB
from specdecode.engine.startup_log import CompileCache, StartupLog
from specdecode.plan.types import ModePlan

_MUCH_BYTES = GIB
"""A context and a communicator take less; more is another process."""


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:.2f} GiB"


def _compiled_cold(log: StartupLog) -> bool:
    return log.compile_cache is CompileCache.COLD


def _budget(mode: ModePlan, log: StartupLog) -> str:
    del mode
    total = "a card" if log.total_bytes is None else f"{_gib(log.total_bytes)}"
    share = "a share" if log.utilization is None else log.utilization
    return (
        f"the engine took {share} of {total}; set gpuMemoryUtilization and the accelerator (its product, or its memory "
        "as CUDA reports it) to what really runs"
    )


def _weights(mode: ModePlan, log: StartupLog) -> str:
    del mode
    quantized = "" if log.quantization is None else f" as {log.quantization}"
    return (
        f"the engine loaded {log.model or 'its model'}{quantized}; check the quantisation, the draft and its "
        "quantisation, and the facts of the models (weightBytes from the sizes of the safetensors files is exact)"
    )


def _activation(log: StartupLog, *, is_more: bool) -> str:
    if is_more and _compiled_cold(log):
        seconds = "" if log.compile_seconds is None else f" ({log.compile_seconds:.0f} s)"
        return (
            f"the torch.compile cache was cold{seconds}, and benchmarking kernels keeps copies of the embedding; "
            "start once more with the cache on a volume and the KV cache gets it back"
        )
    if not is_more and log.compile_cache is CompileCache.WARM:
        return "the torch.compile cache was warm; a pod on a fresh volume gets less KV cache than this one"
    return (
        "it follows maxNumBatchedTokens and maxNumSeqs; check that the engine runs with the planned ones, and that no "
        "images or sound are profiled"
    )


def _outside_torch(log: StartupLog, *, is_more: bool) -> str:
    if is_more and _compiled_cold(log):
        return (
            "the torch.compile cache was cold, and what its benchmarks allocated was still held when vLLM read the "
            "free memory; start once more with the cache on a volume"
        )
    missing = (
        0 if log.total_bytes is None or log.free_at_start_bytes is None else log.total_bytes - log.free_at_start_bytes
    )
    if missing > _MUCH_BYTES:
        return (
            f"{_gib(missing)} of the card was taken when the engine started: another process, or one that was still "
            "exiting; start again on a free card"
        )
    return (
        "buffers for communication differ by interconnect and driver; a started engine calibrates later plans of the "
        "same shape"
    )


def _graphs(mode: ModePlan, log: StartupLog) -> str:
    del mode
    actual = "" if log.graph_bytes is None else f"; the graphs really took {_gib(log.graph_bytes)}"
    return f"vLLM estimates the graphs from two samples{actual}; fewer sequences capture fewer graphs"


def _beside_weights(log: StartupLog, *, is_more: bool) -> str:
    if _compiled_cold(log) or log.compile_cache is CompileCache.WARM:
        return _activation(log, is_more=is_more)
    unknown = "" if log.requested_bytes is not None else "the card or the utilisation may not be the planned ones, and "
    return (
        f"{unknown}this release prints activations, communication and graphs at level DEBUG only; set "
        "VLLM_LOGGING_LEVEL=DEBUG to see which of them it is"
    )


def _result(mode: ModePlan, log: StartupLog) -> str:
    if log.num_gpu_blocks is not None and log.kv_cache_tokens is not None:
        blocks = f"the engine has {log.num_gpu_blocks} blocks"
        return f"{blocks}; check kvCacheDtype, the block size and the dimensions of target and draft"
    return (
        f"planned at {mode.bytes_per_token} bytes per token; check kvCacheDtype and the dimensions of target and draft"
    )


def _kv_cache(mode: ModePlan, log: StartupLog) -> str:
    del mode, log
    return "the terms that were printed are as planned; the rest is in what this release does not print"


_PLAIN: Mapping[str, Callable[[ModePlan, StartupLog], str]] = {
    "budget": _budget,
    "weights": _weights,
    "cudaGraphs": _graphs,
    "tokensInMeasuredKvCache": _result,
    "tokens": _result,
    "kvCache": _kv_cache,
}


def why(name: str, mode: ModePlan, log: StartupLog, *, is_more: bool) -> str:
    """One sentence on a line that is outside its band; `is_more`: measured is more than planned."""
    if name in {"activationPeak", "activationPeakAndCudaGraphs"}:
        return _activation(log, is_more=is_more)
    if name == "nonTorch":
        return _outside_torch(log, is_more=is_more)
    if name == "besideWeights":
        return _beside_weights(log, is_more=is_more)
    return _PLAIN[name](mode, log)
