"""How each vLLM release sizes its KV cache: what it counts against its budget, and what stays outside.

Read from `determine_available_memory`, `memory_profiling` and the KV cache interface of the releases 0.6.0 to 0.33.0.
It holds rules and no bytes.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from specdecode.api.accelerators import AMPERE, HOPPER, Capability
from specdecode.api.vocabulary import Method
from specdecode.engine.flags import counts_cuda_graphs, runs_v0, uses_v2_runner
from specdecode.engine.version import EngineVersion


class Sampler(StrEnum):
    """What the profiling run makes the sampler allocate."""

    SORT = "sort"
    """PyTorch sorts the whole vocabulary of every sequence."""
    MASK = "mask"
    """A Triton kernel masks in place (`topk_topp_triton.py`, 0.17 and newer)."""
    GUMBEL = "gumbel"
    """The second model runner samples without top-k and top-p while it profiles."""


@dataclass(frozen=True)
class Profiling:
    """The rules of one release for one method and architecture."""

    is_v0: bool
    """The first engine generation: never compiled, and its draft is not profiled."""
    sampler: Sampler
    counts_cuda_graphs: bool
    """Whether graph memory is estimated and subtracted before the cache is sized."""
    charges_context: bool
    """Whether everything that is used on the card counts, the CUDA context included."""
    charges_communicator: bool
    """Whether NCCL is created after the first reading and so counts."""
    charges_buffers: bool
    """Whether what the runner allocates at its start counts (`total_consumed`)."""
    charges_draft: bool
    """Whether the draft's weights count. V0 profiles the target alone (vllm-project/vllm#9995)."""
    autotunes_at_cold_start: bool
    """Whether Inductor benchmarks combined kernels during the profiling run of a start without a compile cache."""
    batches_in_flight: int
    """Engine steps whose tokens a sliding layer still holds; 0: windows are not honoured, every layer keeps all."""
    padding_factor: float
    """Groups take the larger layer count when it is less than this many times the smaller one."""
    size_counts_requests: bool
    """Whether `GPU KV cache size` is concurrency x maximum length (0.21 and newer) or blocks x block size."""
    keeps_latent: bool
    """Whether MLA models cache their latent, or keys and values of every head, padded to 256."""
    latent_alignment_bytes: int
    """MLA entries are padded to a multiple of it; 1: not padded."""


def _sampler(version: EngineVersion, *, v2_runner: bool) -> Sampler:
    if v2_runner:
        return Sampler.GUMBEL
    return Sampler.MASK if version >= EngineVersion(0, 17) else Sampler.SORT


def _batches_in_flight(version: EngineVersion, *, v0: bool) -> int:
    if v0 or version < EngineVersion(0, 9, 1):
        return 0
    return 2 if version >= EngineVersion(0, 26) else 1


def _measures_whole_card(version: EngineVersion, *, v0: bool) -> bool:
    if v0:
        return EngineVersion(0, 6, 4) <= version < EngineVersion(0, 6, 5)
    return version < EngineVersion(0, 9, 1)


def _padding_factor(version: EngineVersion) -> float:
    if version < EngineVersion(0, 12):
        return 1.0
    return 1.5 if version >= EngineVersion(0, 18) else 1.25


def is_v0(version: EngineVersion, method: Method | None, capability: Capability) -> bool:
    """Whether the first engine generation runs: of the releases with both, it also serves cards before Ampere."""
    return runs_v0(version, method) or (version < EngineVersion(0, 11) and capability < AMPERE)


@cache
def profiling(
    version: EngineVersion,
    method: Method | None,
    architecture: str,
    capability: Capability = HOPPER,
    *,
    is_quantized: bool = False,
) -> Profiling:
    """The rules of a release on a card; `method` None is a server without speculation."""
    v0 = is_v0(version, method, capability)
    v2_runner = uses_v2_runner(version, method, architecture, is_quantized=is_quantized)
    return Profiling(
        is_v0=v0,
        sampler=_sampler(version, v2_runner=v2_runner),
        counts_cuda_graphs=counts_cuda_graphs(version, v2_runner=v2_runner),
        charges_context=_measures_whole_card(version, v0=v0),
        charges_communicator=version < EngineVersion(0, 11),
        charges_buffers=version >= EngineVersion(0, 27),
        charges_draft=not v0 or version < EngineVersion(0, 6, 5),
        # `combo_kernels` and `benchmark_combo_kernel` are set since 0.12.
        autotunes_at_cold_start=not v0 and version >= EngineVersion(0, 12),
        batches_in_flight=_batches_in_flight(version, v0=v0),
        padding_factor=_padding_factor(version),
        size_counts_requests=version >= EngineVersion(0, 21),
        keeps_latent=version >= EngineVersion(0, 7, 1),
        latent_alignment_bytes=256 if v0 and EngineVersion(0, 7, 2) <= version < EngineVersion(0, 8, 5) else 1,
    )
