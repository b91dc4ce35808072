"""The measured rows as values. First stage of the bench: a file in, frozen rows out."""

import csv
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
FILE = Path(__file__).parents[1] / "data" / "measured" / "kv_cache.csv"

NO_KV_CACHE, TOO_SHORT, OUT_OF_MEMORY = "no_kv_cache", "too_short", "out_of_memory"


@dataclass(frozen=True)
class Measured:
    """One published start of vLLM. None is "not stated"; GiB are per GPU and rounded to 0.01."""

    id: str
    source: str
    engine: str
    """A release, or its line: `0.10.x`. Empty: unknown."""
    is_v0: bool
    model: str
    quantization: str
    dtype: str
    kv_cache_dtype: str
    gpu: str
    gpu_total_gib: float | None
    tensor_parallel: int | None
    pipeline_parallel: int | None
    decode_context_parallel: int
    gpu_memory_utilization: str | None
    kv_cache_memory_bytes: int | None
    """Given to the engine; then nothing is measured."""
    max_model_len: int | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    block_size: int | None
    enforce_eager: bool
    compile_cache: str
    """`cold`, `warm`, or empty for not stated."""
    spec_method: str
    spec_model: str
    num_spec_tokens: int | None
    model_load_gib: float | None
    activation_peak_gib: float | None
    non_torch_gib: float | None
    kv_cache_gib: float | None
    kv_cache_tokens: int | None
    gpu_blocks: int | None
    failed: str
    """Empty: it started. See the README beside the file."""

    @property
    def gpus(self) -> int:
        """GPUs that hold one copy of the model."""
        return self.tensor_parallel or 1

    @property
    def had_no_room(self) -> bool:
        """Whether the start failed for memory: no room for the KV cache, or none left beside it."""
        return self.failed in {NO_KV_CACHE, TOO_SHORT, OUT_OF_MEMORY}


def _number(text: str) -> float | None:
    return float(text) if text else None


def _count(text: str) -> int | None:
    return int(text) if text else None


def _measured(cells: dict[str, str]) -> Measured:
    return Measured(
        id=cells["id"],
        source=cells["source"],
        engine=cells["engine"],
        is_v0=cells["generation"] == "V0",
        model=cells["model"],
        quantization=cells["quantization"],
        dtype=cells["dtype"],
        kv_cache_dtype=cells["kv_cache_dtype"],
        gpu=cells["gpu"],
        gpu_total_gib=_number(cells["gpu_total_gib"]),
        tensor_parallel=_count(cells["tensor_parallel"]),
        pipeline_parallel=_count(cells["pipeline_parallel"]),
        decode_context_parallel=_count(cells["decode_context_parallel"]) or 1,
        gpu_memory_utilization=cells["gpu_memory_utilization"] or None,
        kv_cache_memory_bytes=_count(cells["kv_cache_memory_bytes"]),
        max_model_len=_count(cells["max_model_len"]),
        max_num_seqs=_count(cells["max_num_seqs"]),
        max_num_batched_tokens=_count(cells["max_num_batched_tokens"]),
        block_size=_count(cells["block_size"]),
        enforce_eager=cells["enforce_eager"] == "true",
        compile_cache=cells["compile_cache"],
        spec_method=cells["spec_method"],
        spec_model=cells["spec_model"],
        num_spec_tokens=_count(cells["num_spec_tokens"]),
        model_load_gib=_number(cells["model_load_gib"]),
        activation_peak_gib=_number(cells["activation_peak_gib"]),
        non_torch_gib=_number(cells["non_torch_gib"]),
        kv_cache_gib=_number(cells["kv_cache_gib"]),
        kv_cache_tokens=_count(cells["kv_cache_tokens"]),
        gpu_blocks=_count(cells["gpu_blocks"]),
        failed=cells["failed"],
    )


def read_rows(file: Path = FILE) -> tuple[Measured, ...]:
    """Every row of the file, in its order."""
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple(_measured(cells) for cells in csv.DictReader(lines))
