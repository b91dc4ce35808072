"""A plan against what an engine printed while it started, line by line, and the line that is off, in words.

It compares what the release prints. Sizes that vLLM prints as one are compared as one: the loaded weights are target,
draft and rotary caches; `consumed` is weights and what is outside PyTorch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.accelerators import GIB
from specdecode.api.vocabulary import METHODS_NGRAM, Mode
from specdecode.engine.startup_log import StartupLog
from specdecode.plan.log.notes import notes
from specdecode.plan.log.why import why
from specdecode.plan.titles import title
from specdecode.plan.types import ModePlan, Plan

_ROUNDING_BYTES = int(0.01 * GIB)
"""vLLM prints GiB with two decimals; a difference of two such numbers is exact to 0.01."""

DEFAULT_BLOCK_TOKENS = 16

_CPU = "CPU"
_WEIGHTS = ("targetWeights", "draftWeights", "rotaryCaches")
_OUTSIDE_TORCH = ("nonTorch", "buffers")
_TERMS = (
    "budget",
    "weights",
    "activationPeak",
    "activationPeakAndCudaGraphs",
    "nonTorch",
    "cudaGraphs",
    "besideWeights",
)
_RESULTS = ("tokensInMeasuredKvCache", "kvCache", "tokens")
"""What follows from the terms; named only when every term is as planned."""


class Unit(StrEnum):
    """What a line counts, per GPU for bytes and per replica for the others."""

    BYTES = "bytes"
    TOKENS = "tokens"
    REQUESTS = "requests"


@dataclass(frozen=True)
class ComparedLine:
    """One number of the plan beside the one that was printed."""

    name: str
    """As in the ledger where it stands there; else in `plan.titles`."""
    unit: Unit
    planned: float
    low: float
    high: float
    measured: float
    rounding: float
    """How far the printed number may be from the true one."""

    @property
    def difference(self) -> float:
        """Measured less planned."""
        return self.measured - self.planned

    @property
    def beyond(self) -> float:
        """How far the measured number lies outside the band; 0 inside."""
        outside = max(self.low - self.measured, self.measured - self.high)
        return max(0.0, outside - self.rounding)

    @property
    def is_inside(self) -> bool:
        """Whether the band holds what was measured, as exactly as it was printed."""
        return self.beyond == 0.0


@dataclass(frozen=True)
class Comparison:
    """Plan and reality of one mode."""

    mode: Mode
    lines: tuple[ComparedLine, ...]
    """In the order of the ledger; what the log does not print is left out."""
    term_off: str | None
    """The line that is furthest outside its band, with the likely reason; None when all are inside."""
    notes: tuple[str, ...]
    """Where log and plan are not of the same thing: another version, other limits, another model."""
    failure: str | None
    """Why the engine did not start, as it said itself."""
    ranks: int
    """Processes that printed sizes."""


def mode_of_log(plan: Plan, log: StartupLog) -> Mode | None:
    """The mode that the engine ran, by its own configuration; None when the log does not tell or the plan has none."""
    names = {rung.mode for rung in plan.ladder}
    wanted = _logged_modes(log, plan.requested_mode)
    return next((mode for mode in wanted if mode in names), None)


def _logged_modes(log: StartupLog, requested: Mode) -> tuple[Mode, ...]:
    speculation = log.speculation
    if speculation is None:
        return (Mode.OFF,) if log.has_configuration else ()
    if speculation.method in {str(method) for method in METHODS_NGRAM}:
        return (Mode.NGRAM,)
    if speculation.quantization is not None:
        return (Mode.QUANTIZED_DRAFT,)
    if speculation.is_from_arguments:
        return (Mode.DRAFT,)
    # The configuration prints the draft and not how it is quantised.
    return (requested, Mode.DRAFT, Mode.QUANTIZED_DRAFT) if requested is Mode.QUANTIZED_DRAFT else (Mode.DRAFT,)


@dataclass(frozen=True)
class _Band:
    """Bytes that a part of the ledger takes."""

    planned: int
    low: int
    high: int

    def line(self, name: str, measured: int, rounding: int = _ROUNDING_BYTES) -> ComparedLine:
        return ComparedLine(name, Unit.BYTES, self.planned, self.low, self.high, measured, rounding)

    def plus(self, other: "_Band") -> "_Band":
        return _Band(self.planned + other.planned, self.low + other.low, self.high + other.high)


def _taken(mode: ModePlan, *names: str) -> _Band:
    lines = [line for line in mode.ledger if line.name in names]
    return _Band(
        -sum(line.bytes for line in lines),
        -sum(line.high_bytes for line in lines),
        -sum(line.low_bytes for line in lines),
    )


def _given(mode: ModePlan, name: str) -> _Band:
    taken = _taken(mode, name)
    return _Band(-taken.planned, -taken.high, -taken.low)


def _activation_lines(mode: ModePlan, log: StartupLog) -> Iterator[ComparedLine]:
    """Peak and graphs, apart where the log lets them be told apart."""
    peak, graphs, estimate = _taken(mode, "activationPeak"), _taken(mode, "cudaGraphs"), log.graph_estimate_bytes
    is_applied = graphs.high > 0 if log.is_graph_estimate_applied is None else log.is_graph_estimate_applied
    printed = log.activation_peak_bytes
    if printed is not None:
        includes = log.peak_includes_graph_estimate and is_applied
        if includes and estimate is None:
            yield peak.plus(graphs).line("activationPeakAndCudaGraphs", printed)
            return
        yield peak.line("activationPeak", printed - (estimate or 0 if includes else 0))
    if is_applied and estimate is not None:
        yield graphs.line("cudaGraphs", estimate)


def _outside_torch_lines(mode: ModePlan, log: StartupLog) -> Iterator[ComparedLine]:
    outside = _taken(mode, *_OUTSIDE_TORCH)
    if log.consumed_bytes is not None and log.weights_bytes is not None:
        yield outside.line("nonTorch", log.consumed_bytes - log.weights_bytes)
    elif log.non_torch_bytes is not None:
        yield outside.line("nonTorch", log.non_torch_bytes)


def _beside_weights_lines(mode: ModePlan, log: StartupLog) -> Iterator[ComparedLine]:
    """Everything beside weights and KV cache in one number, for logs that do not print it in parts."""
    kv_cache, weights = log.kv_cache_bytes, log.weights_bytes
    if kv_cache is None or weights is None or log.is_kv_cache_pinned or log.is_v0:
        return
    budget, planned = _given(mode, "budget"), _given(mode, "kvCache")
    own = budget.planned - _taken(mode, *_WEIGHTS).planned
    rest = _Band(own - planned.planned, own - planned.high, own - planned.low)
    yield rest.line("besideWeights", (log.requested_bytes or budget.planned) - weights - kv_cache)


def _measured_kv_cache(mode: ModePlan, log: StartupLog) -> int | None:
    """As printed. The first releases print blocks and no bytes."""
    if log.kv_cache_bytes is not None or log.num_gpu_blocks is None:
        return log.kv_cache_bytes
    block = log.block_size or DEFAULT_BLOCK_TOKENS
    return log.num_gpu_blocks * mode.bytes_per_block * block // mode.block_size_tokens


def _memory_lines(mode: ModePlan, log: StartupLog) -> Iterator[ComparedLine]:
    if log.requested_bytes is not None:
        yield _given(mode, "budget").line("budget", log.requested_bytes)
    if log.weights_bytes is not None:
        yield _taken(mode, *_WEIGHTS).line("weights", log.weights_bytes)
    parts = (*_activation_lines(mode, log), *_outside_torch_lines(mode, log))
    yield from parts
    if not {"nonTorch"} & {line.name for line in parts}:
        yield from _beside_weights_lines(mode, log)
    kv_cache = _measured_kv_cache(mode, log)
    if kv_cache is not None and _is_pinned(mode) == log.is_kv_cache_pinned:
        yield _given(mode, "kvCache").line("kvCache", kv_cache)


def _is_pinned(mode: ModePlan) -> bool:
    return any(argument.startswith("--kv-cache-memory") for argument in mode.arguments)


@dataclass(frozen=True)
class _Cache:
    """How many tokens a size holds, in the engine that wrote the log."""

    mode: ModePlan
    log: StartupLog
    max_model_len: int

    def tokens(self, size_bytes: int) -> float | None:
        """Of a size per GPU; None where windows make it no question of bytes alone and nothing was planned."""
        mode = self.mode
        blocks = size_bytes // mode.bytes_per_block
        if mode.bytes_per_block == mode.bytes_per_token * mode.block_size_tokens:
            return self._uniform(size_bytes)
        planned_blocks = mode.kv_cache_bytes_per_gpu // mode.bytes_per_block
        return blocks * mode.kv_cache_tokens / planned_blocks if mode.kv_cache_tokens else None

    def _uniform(self, size_bytes: int) -> int:
        """Since 0.21 it is requests x length, which is less than blocks x block size for a length between blocks."""
        block = self._block_tokens
        blocks = max(0, size_bytes) // (self.mode.bytes_per_token * block)
        if _is_before_0_21(self.log.version):
            return blocks * block
        return int(blocks / -(-self.max_model_len // block) * self.max_model_len)

    @property
    def _block_tokens(self) -> int:
        if self.log.block_size is not None:
            return self.log.block_size
        tokens, blocks = self.log.kv_cache_tokens, self.log.num_gpu_blocks
        if tokens is None or not blocks or self.log.num_gpu_blocks_override is not None or tokens % blocks:
            return _CPU_BLOCK_TOKENS if self.log.device == _CPU else self.mode.block_size_tokens
        return tokens // blocks


_CPU_BLOCK_TOKENS = 128
"""What the CPU backend of 0.32 takes when nothing is set."""


def _is_before_0_21(version: str | None) -> bool:
    parts = (version or "").split(".")
    return len(parts) > 1 and parts[0] == "0" and parts[1].isdecimal() and int(parts[1]) < 21


def _printed_tokens(mode: ModePlan, log: StartupLog) -> int | None:
    """As printed; V0 prints blocks."""
    if log.num_gpu_blocks_override is not None:
        return None
    if log.kv_cache_tokens is not None or log.num_gpu_blocks is None:
        return log.kv_cache_tokens
    return log.num_gpu_blocks * (log.block_size or mode.block_size_tokens)


def _token_lines(mode: ModePlan, log: StartupLog, cache: _Cache) -> Iterator[ComparedLine]:
    printed, size = _printed_tokens(mode, log), log.kv_cache_bytes
    if printed is None:
        return
    band = _given(mode, "kvCache")
    low, high = cache.tokens(band.low), cache.tokens(band.high)
    is_planned = log.device != _CPU and _is_pinned(mode) == log.is_kv_cache_pinned
    if is_planned and mode.fits and low is not None and high is not None:
        rounding = _ROUNDING_BYTES / mode.bytes_per_token
        yield ComparedLine("tokens", Unit.TOKENS, mode.kv_cache_tokens, low, high, printed, rounding)
    if size is None:
        return
    edges = [cache.tokens(size + sign * log.kv_cache_rounding_bytes) for sign in (-1, 0, 1)]
    if edges[0] is not None and edges[1] is not None and edges[2] is not None:
        yield ComparedLine("tokensInMeasuredKvCache", Unit.TOKENS, edges[1], edges[0], edges[2], printed, 0)


def _request_lines(
    lines: Iterable[ComparedLine], mode: ModePlan, log: StartupLog, length: int
) -> Iterator[ComparedLine]:
    """The concurrency is printed for the engine's own length; another one cannot be compared."""
    tokens = next((line for line in lines if line.name == "tokens"), None)
    if tokens is None or log.max_concurrency is None or log.max_model_len != length or not tokens.planned:
        return
    share = mode.requests_at_max_model_len / tokens.planned
    rounding = 0.01 + tokens.rounding * share
    yield ComparedLine(
        "requests",
        Unit.REQUESTS,
        mode.requests_at_max_model_len,
        tokens.low * share,
        tokens.high * share,
        log.max_concurrency,
        rounding,
    )


def _max_model_len(mode: ModePlan) -> int:
    texts = (argument.partition("=") for argument in mode.arguments)
    return next((int(value) for name, _, value in texts if name == "--max-model-len" and value.isdecimal()), 1)


def _size(line: ComparedLine, value: float) -> str:
    return f"{value / GIB:.2f} GiB" if line.unit is Unit.BYTES else f"{value:,.0f} {line.unit}"


def _told(line: ComparedLine, mode: ModePlan, log: StartupLog) -> str:
    reason = why(line.name, mode, log, is_more=line.difference > 0)
    planned, low, high, measured = (_size(line, value) for value in (line.planned, line.low, line.high, line.measured))
    band = f" ({low} to {high})" if low != high else ""
    return f"{title(line.name)}: planned {planned}{band}, measured {measured}: {reason}"


def _term_off(lines: Iterable[ComparedLine], mode: ModePlan, log: StartupLog) -> str | None:
    """Terms before what follows from them, the largest excess first."""
    outside = [line for line in lines if not line.is_inside]
    for names in (_TERMS, *((name,) for name in _RESULTS)):
        found = max((line for line in outside if line.name in names), key=lambda line: line.beyond, default=None)
        if found is not None:
            return _told(found, mode, log)
    return None


def compare(plan: Plan, mode_plan: ModePlan, log: StartupLog) -> Comparison:
    """Compare one mode of a plan with the log of an engine that ran it."""
    length = _max_model_len(mode_plan)
    cache = _Cache(mode_plan, log, log.max_model_len or length)
    memory = tuple(line for line in _memory_lines(mode_plan, log) if log.device != _CPU or line.name == "weights")
    tokens = tuple(_token_lines(mode_plan, log, cache))
    lines = (*memory, *tokens, *_request_lines(tokens, mode_plan, log, length))
    return Comparison(
        mode=mode_plan.mode,
        lines=lines,
        term_off=_term_off(lines, mode_plan, log),
        notes=notes(plan, mode_plan, log),
        failure=log.failure,
        ranks=log.ranks,
    )
