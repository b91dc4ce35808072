"""The lines that vLLM prints about its memory, from 0.6.0 to 0.33.0, as patterns with named groups.

A group's name is the name of the quantity; sizes end in the unit they are printed in. Read from `worker.py`,
`gpu_worker.py`, `cpu_worker.py`, the model runners, `kv_cache_utils.py`, `kv_cache_planning.py`, the executors and
`monitor.py` of those releases. A pattern runs only on lines that hold its anchor, and none of them can backtrack.
"""

import re
from dataclasses import dataclass

_NUMBER = r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?"
_COUNT = r"[0-9][0-9,]{0,18}"


@dataclass(frozen=True)
class Pattern:
    """What to look for in one line."""

    anchor: str
    """Plain text that every matching line holds; looked for first."""
    regex: re.Pattern[str]


def _pattern(anchor: str, regex: str) -> Pattern:
    return Pattern(anchor, re.compile(regex.replace("NUMBER", _NUMBER).replace("COUNT", _COUNT)))


PATTERNS = (
    # Weights. "GB" is 2^30 as well.
    _pattern(" took ", r"(?:Loading model weights|Model loading) took (?P<loaded_gib>NUMBER) Gi?B"),
    # V0, 0.6.4 and 0.6.5.
    _pattern("Memory profiling results", r"total_gpu_memory=(?P<total_gib>NUMBER)GiB"),
    _pattern("Memory profiling results", r"peak_torch_memory=(?P<torch_peak_gib>NUMBER)GiB"),
    _pattern("Memory profiling results", r" non_torch_memory=(?P<non_torch_gib>NUMBER)GiB"),
    _pattern("Memory profiling results", r" kv_cache_size=(?P<kv_cache_gib>NUMBER)GiB"),
    _pattern("Memory profiling results", r" gpu_memory_utilization=(?P<rounded_utilization>NUMBER)"),
    # V0, 0.6.6 to 0.9.2, on one line or on three.
    _pattern("total_gpu_memory (", r"total_gpu_memory \((?P<total_gib>NUMBER)GiB\)"),
    _pattern(
        "x gpu_memory_utilization",
        r"x gpu_memory_utilization \((?P<rounded_utilization>NUMBER)\) = (?P<requested_gib>NUMBER)GiB",
    ),
    _pattern("model weights take", r"model weights take (?P<profiled_weights_gib>NUMBER)GiB"),
    _pattern("non_torch_memory takes", r"non_torch_memory takes (?P<non_torch_gib>NUMBER)GiB"),
    _pattern("activation peak memory takes", r"activation peak memory takes (?P<activation_gib>NUMBER)GiB"),
    _pattern("reserved for KV Cache is", r"reserved for KV Cache is (?P<kv_cache_gib>NUMBER)GiB"),
    # V1.
    _pattern("Available KV cache memory", r"Available KV cache memory: (?P<kv_cache_gib>NUMBER) GiB"),
    _pattern(
        "Free memory on device",
        r"Free memory on device (?:[^( ]{1,20} )?\((?P<free_gib>NUMBER)/(?P<total_gib>NUMBER) GiB",
    ),
    _pattern(
        "esired GPU memory utilization",
        r"esired GPU memory utilization (?:is )?\((?P<utilization>NUMBER), (?P<requested_gib>NUMBER) GiB\)",
    ),
    _pattern("Actual usage is", r"Actual usage is (?P<loaded_gib>NUMBER) GiB for weight"),
    _pattern("for consumed memory", r"Actual usage is (?P<consumed_gib>NUMBER) GiB for consumed memory"),
    _pattern("for peak activation", r"(?P<activation_gib>NUMBER) GiB for peak activation"),
    _pattern("for non-torch memory", r"(?P<non_torch_gib>NUMBER) GiB for non-torch memory"),
    _pattern("for CUDAGraph memory", r"(?P<graphs_gib>NUMBER) GiB for CUDAGraph memory"),
    _pattern(
        "Current kv cache memory in use", r"Current kv cache memory in use is (?P<kv_cache_bytes>[0-9]{1,15}) bytes"
    ),
    _pattern("Current kv cache memory in use", r"Current kv cache memory in use is (?P<kv_cache_gib>NUMBER) GiB"),
    _pattern("torch peak memory increase", r"torch peak memory increase: (?P<activation_gib>NUMBER)GiB; non-torch"),
    _pattern("non-torch forward increase", r"non-torch forward increase memory: (?P<non_torch_gib>NUMBER)GiB"),
    _pattern(
        "worker init memory snapshot", r"free_memory=(?P<free_gib>NUMBER)GiB, total_memory=(?P<total_gib>NUMBER)GiB"
    ),
    _pattern("worker requested memory", r"worker requested memory: (?P<requested_gib>NUMBER)GiB"),
    _pattern(
        "reserved ", r"free memory (?P<free_gib>NUMBER) GiB, reserved (?P<pinned_gib>NUMBER) GiB memory for KV Cache"
    ),
    _pattern("Explicitly set", r"Explicitly set \((?P<pinned_gib>NUMBER)/(?P<total_gib>NUMBER)\) GiB for KV cache"),
    _pattern("Auto set", r"Auto set \((?P<kv_cache_gib>NUMBER)/(?P<total_gib>NUMBER)\) GiB for KV cache"),
    # CUDA graphs.
    _pattern("Graph capturing finished", r"Graph capturing finished in NUMBER secs?, took (?P<graphs_gib>NUMBER) GiB"),
    _pattern(
        "CUDA graph pool memory",
        r"memory: (?P<graphs_gib>NUMBER) GiB \(actual\), (?P<graph_estimate_gib>NUMBER) GiB \(estimated\)",
    ),
    _pattern("Estimated CUDA graph memory", r"CUDA graph memory: (?P<graph_estimate_gib>NUMBER) GiB total"),
    _pattern("CUDA graph memory profiling is", r"CUDA graph memory profiling is (?P<graph_profiling>enabled|disabled)"),
    _pattern(
        "CUDA graph memory profiling is enabled",
        r"gpu-memory-utilization=(?P<utilization>NUMBER) is equivalent to "
        r"--gpu-memory-utilization=(?P<equivalent_utilization>NUMBER)",
    ),
    # What the KV cache holds.
    _pattern("KV cache size", r"(?P<device>[A-Za-z]{2,8}) KV cache size: (?P<tokens>COUNT) tokens"),
    _pattern("KV cache size", r"host KV cache size: (?P<tokens>COUNT) tokens"),
    _pattern(
        "Maximum concurrency",
        r"Maximum concurrency for (?P<max_model_len>COUNT) tokens per request: (?P<concurrency>NUMBER)x",
    ),
    _pattern(" blocks: ", r"^[^#]{0,200}# (?P<device>[A-Za-z]{2,8}) blocks: (?P<blocks>[0-9]{1,12})"),
    _pattern("num_gpu_blocks is", r"num_gpu_blocks is: (?P<blocks>[0-9]{1,12})"),
    _pattern(
        "Overriding num_gpu_blocks",
        r"num_gpu_blocks=(?P<profiled_blocks>[0-9]{1,12}) with num_gpu_blocks_override=(?P<override>[0-9]{1,12})",
    ),
    _pattern("attention block size to", r"attention block size to (?P<block_size>[0-9]{1,6}) tokens"),
    _pattern(
        "max_num_batched_tokens=", r"prefill is enabled with max_num_batched_tokens=(?P<batched_tokens>[0-9]{1,9})"
    ),
    # torch.compile.
    _pattern("torch.compile t", r"torch\.compile (?:takes|took) (?P<compile_seconds>NUMBER) s in total"),
    _pattern("ompiling a graph for", r"(?P<compiled>ompiling a graph) for"),
    _pattern("Directly load", r"(?P<reused>Directly load) (?:the compiled|AOT)"),
    _pattern("init engine (", r"warmup model\) took (?P<init_seconds>NUMBER) s"),
    # Who speaks.
    _pattern(
        "LLM engine (v",
        r"Initializing an? (?P<generation>V0 |V1 )?(?P<engine>LLM) engine \(v(?P<version>[0-9][0-9A-Za-z.+]{1,60})\)",
    ),
    _pattern("API server version", r"API server version (?P<api_version>[0-9][0-9A-Za-z.+]{1,60})"),
    _pattern("vLLM server version", r"vLLM server version (?P<api_version>[0-9][0-9A-Za-z.+]{1,60})"),
    _pattern("█", r" version (?P<api_version>[0-9][0-9A-Za-z.+]{1,60})"),
)

_FAILURES = (
    ("No available memory for the cache blocks", r"No available memory for the cache blocks"),
    (
        "To serve at least one request",
        (
            r"To serve at least one request with the models?'s max seq len \((?P<max_model_len>[0-9]{1,9})\), "
            r"\((?P<needed_gib>NUMBER) Gi?B KV cache is needed, which is larger than the available KV cache memory "
            r"\((?P<kv_cache_gib>NUMBER) Gi?B\)"
        ),
    ),
    ("s max seq len (", r"The model's max seq len \((?P<max_model_len>[0-9]{1,9})\) is larger than the maximum number"),
    ("is less than desired GPU memory", r"Free memory on device .{1,60} is less than desired GPU memory utilization"),
    ("less than desired CPU memory", r"less than desired CPU memory utilization"),
    ("out of memory", r"(?:CUDA|HIP) out of memory|OutOfMemoryError"),
    ("Error in memory profiling", r"Error in memory profiling"),
)
FAILURES = tuple(_pattern(anchor, regex) for anchor, regex in _FAILURES)
"""Reasons to stop that concern memory, the most telling first; the last message of the first kind found is quoted."""

LAST_RESORT = _pattern("initialization failed", r"Engine core initialization failed|Engine process failed to start")
"""The engine stopped, for a reason that is printed elsewhere."""
