"""The values read from a start-up log. All are optional: what is printed depends on the release and the log level."""

from dataclasses import dataclass
from enum import StrEnum


class CompileCache(StrEnum):
    """Whether torch.compile found its graphs on disk. A cold start costs KV cache in some releases."""

    COLD = "cold"
    WARM = "warm"


@dataclass(frozen=True)
class LoggedSpeculation:
    """The speculative configuration of the engine that wrote the log."""

    method: str | None
    """As vLLM spells it; None where the release prints no method and the draft does not give it away."""
    model: str | None
    """None for methods that load no draft."""
    num_speculative_tokens: int | None
    quantization: str | None = None
    """Of the draft; printed with the arguments only."""
    is_from_arguments: bool = False
    """Whether the arguments were printed, so that a quantisation that is not there was not asked for."""


@dataclass(frozen=True)
class StartupLog:
    """One start of one engine. Sizes are per GPU, in bytes, rounded as vLLM prints them (0.01 GiB)."""

    version: str | None = None
    """As printed: `0.29.0`, `0.14.0rc2.dev156+g4a5299c93`."""
    is_v0: bool | None = None
    """Whether the first engine generation wrote it; None when neither says so."""
    device: str | None = None
    """`GPU`, `CPU`, `cuda`, as the size line names it."""
    ranks: int = 0
    """Processes that printed a size of their own; 0 when none did."""

    model: str | None = None
    revision: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool | None = None
    utilization: str | None = None
    """A decimal string, as in the spec."""
    has_configuration: bool = False
    """Whether the line with the whole configuration was found, so that no speculation there means none at all."""
    speculation: LoggedSpeculation | None = None

    weights_bytes: int | None = None
    """Loaded weights, target and draft together, of the rank that has most; V0 prints the draft's apart."""
    total_bytes: int | None = None
    """Memory of the card."""
    free_at_start_bytes: int | None = None
    requested_bytes: int | None = None
    """Memory x utilisation."""
    consumed_bytes: int | None = None
    """Weights and what is outside PyTorch in one number, as 0.27 and newer print it."""
    activation_peak_bytes: int | None = None
    """As printed; 0.18, and 0.27 and newer, include the estimate of the graphs when it is applied."""
    non_torch_bytes: int | None = None
    graph_bytes: int | None = None
    """What the captured graphs really took, after the KV cache was sized."""
    graph_estimate_bytes: int | None = None
    """What was estimated for them before."""
    is_graph_estimate_applied: bool | None = None
    """Whether the estimate was subtracted from the KV cache; None when nothing is said."""

    kv_cache_bytes: int | None = None
    """Of the rank that has least. Negative when nothing was left."""
    kv_cache_rounding_bytes: int = 0
    """The true size is at most this far from `kv_cache_bytes`; 0 when it was printed in bytes."""
    is_kv_cache_pinned: bool = False
    """Whether `--kv-cache-memory-bytes` fixed it."""
    kv_cache_tokens: int | None = None
    num_gpu_blocks: int | None = None
    """As profiled, before `--num-gpu-blocks-override`."""
    num_gpu_blocks_override: int | None = None
    block_size: int | None = None
    max_concurrency: float | None = None
    """Requests of `max_model_len` tokens at once."""

    compile_seconds: float | None = None
    compile_cache: CompileCache | None = None
    init_seconds: float | None = None
    """Profiling, allocation and warm-up together."""
    failure: str | None = None
    """Why the engine did not start, in vLLM's own words, shortened; None when the log tells of no failure."""

    @property
    def peak_includes_graph_estimate(self) -> bool:
        """Whether the printed activation peak holds the estimate of the graphs as well.

        Read from `peak_activation_memory` in the workers of 0.18.1, 0.19.1, 0.26.0 and 0.27.1: with the estimate in
        0.18, without in 0.19 to 0.26, with it again since `consumed` replaced weights and non-torch.
        """
        if self.is_graph_estimate_applied is False:
            return False
        return self.consumed_bytes is not None or (self.version or "").startswith("0.18.")
