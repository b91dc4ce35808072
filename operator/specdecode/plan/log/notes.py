"""Where a log is not of what was planned. Whoever compares two different engines must be told so first."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from specdecode.engine.startup_log import StartupLog
from specdecode.plan.types import ModePlan, Plan


def _same(planned: str, logged: str) -> bool:
    """Numbers are compared as numbers: 0.9 is 0.90."""
    try:
        return Decimal(planned) == Decimal(logged)
    except InvalidOperation:
        return planned == logged


def _flags(mode: ModePlan) -> dict[str, str]:
    pairs = (argument.partition("=") for argument in mode.arguments)
    return {name: value for name, _, value in pairs}


def _settings(log: StartupLog) -> dict[str, str | None]:
    numbers = {
        "--tensor-parallel-size": log.tensor_parallel_size,
        "--max-model-len": log.max_model_len,
        "--max-num-seqs": log.max_num_seqs,
        "--max-num-batched-tokens": log.max_num_batched_tokens,
    }
    texts = {
        "--model": log.model,
        "--gpu-memory-utilization": None if log.is_kv_cache_pinned else log.utilization,
        "--kv-cache-dtype": log.kv_cache_dtype,
        "--quantization": log.quantization,
    }
    return texts | {name: None if value is None else str(value) for name, value in numbers.items()}


def _differences(mode: ModePlan, log: StartupLog) -> Iterator[str]:
    flags = _flags(mode)
    for name, logged in _settings(log).items():
        planned = flags.get(name)
        if logged is not None and planned is not None and not _same(planned, logged):
            yield f"{name}: the plan has {planned}, the log {logged}"


def _version(plan: Plan, log: StartupLog) -> Iterator[str]:
    if log.version is not None and log.version.split("+")[0] != plan.engine_version:
        yield f"the plan is for vLLM {plan.engine_version}, the log is of {log.version}"


def _specials(mode: ModePlan, log: StartupLog) -> Iterator[str]:
    if log.num_gpu_blocks_override is not None:
        profiled = "" if log.num_gpu_blocks is None else f" instead of {log.num_gpu_blocks}"
        blocks = log.num_gpu_blocks_override
        yield f"--num-gpu-blocks-override gave the engine {blocks} blocks{profiled}; its tokens are not compared"
    is_pinned = any(argument.startswith("--kv-cache-memory") for argument in mode.arguments)
    if log.is_kv_cache_pinned != is_pinned and (log.is_kv_cache_pinned or log.has_configuration):
        who = "the log's engine" if log.is_kv_cache_pinned else "the plan"
        yield f"{who} fixes the KV cache with --kv-cache-memory-bytes, the other does not; its size is not compared"
    if log.device == "CPU":
        yield "the engine ran on a CPU: the memory of a GPU is not compared, only what a token takes"
    if log.pipeline_parallel_size not in {None, 1}:
        yield f"the engine ran {log.pipeline_parallel_size} pipeline stages; a plan is for one"


def notes(plan: Plan, mode: ModePlan, log: StartupLog) -> tuple[str, ...]:
    """Every difference, the version first."""
    return (*_version(plan, log), *_differences(mode, log), *_specials(mode, log))
