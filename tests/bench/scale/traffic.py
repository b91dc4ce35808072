"""What one engine exposes under steady traffic: every series that the operator reads, as a straight line in time.

A real vLLM exposes some three times as many series; nobody reads the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from specdecode.engine.metrics import MetricNames, edges
from specdecode.engine.version import EngineVersion

RUNNING = 4
TPOT_SECONDS = 0.02
"""Below the first edge that any of the kinds has a limit at."""
TTFT_SECONDS = 0.05
TOKENS_PER_REQUEST = 100
ACCEPTED_SHARE = 0.75
_E2E_SECONDS = TTFT_SECONDS + TOKENS_PER_REQUEST * TPOT_SECONDS
_TOKENS_PER_SECOND = RUNNING / TPOT_SECONDS
_REQUESTS_PER_SECOND = _TOKENS_PER_SECOND / TOKENS_PER_REQUEST
_RAN_SECONDS = 86_400.0
"""The engines have run for a day."""


@dataclass(frozen=True)
class Line:
    """One series."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Beside those of its pod."""
    per_second: float = 0.0
    constant: float = 0.0

    def at(self, seconds: float) -> float:
        """Its value so many seconds after the start of the bench, or before it (negative)."""
        return self.constant + self.per_second * (seconds + _RAN_SECONDS)


def lines(names: MetricNames, version: EngineVersion, tokens: int, blocks: int) -> tuple[Line, ...]:
    """All series of one engine that drafts so many tokens per step (0: it does not speculate)."""
    return (*_counters(names, tokens), *_gauges(names, blocks), *_histograms(names, version, tokens))


def _counters(names: MetricNames, tokens: int) -> Iterator[Line]:
    length = 1 + ACCEPTED_SHARE * tokens
    steps = _TOKENS_PER_SECOND / length
    yield Line(names.generation_tokens, per_second=_TOKENS_PER_SECOND)
    yield Line(names.finished_requests, {"finished_reason": "stop"}, per_second=_REQUESTS_PER_SECOND)
    yield Line(names.preemptions)
    if tokens:
        if names.drafts is not None:
            yield Line(names.drafts, per_second=steps)
        yield Line(names.draft_tokens, per_second=steps * tokens)
        yield Line(names.accepted_tokens, per_second=steps * tokens * ACCEPTED_SHARE)


def _gauges(names: MetricNames, blocks: int) -> Iterator[Line]:
    yield Line(names.running, constant=RUNNING)
    yield Line(names.waiting)
    yield Line(names.kv_cache_usage, constant=0.25)
    yield Line(names.cache_config_info, {"num_gpu_blocks": str(blocks), "block_size": "16"}, constant=1)
    yield Line("up", constant=1)


def _histograms(names: MetricNames, version: EngineVersion, tokens: int) -> Iterator[Line]:
    known, length = edges(version), 1 + ACCEPTED_SHARE * tokens
    steps = _TOKENS_PER_SECOND / length
    observed = (
        (names.tpot, known.tpot_seconds, TPOT_SECONDS, _REQUESTS_PER_SECOND),
        (names.ttft, known.ttft_seconds, TTFT_SECONDS, _REQUESTS_PER_SECOND),
        (names.e2e, known.e2e_seconds, _E2E_SECONDS, _REQUESTS_PER_SECOND),
    )
    for base, bounds, seconds, rate in observed:
        if base is not None:
            yield Line(f"{base}_sum", per_second=rate * seconds)
            yield Line(f"{base}_count", per_second=rate)
            for bound in bounds:
                yield Line(f"{base}_bucket", {"le": str(bound)}, per_second=rate if bound >= seconds else 0.0)
            yield Line(f"{base}_bucket", {"le": "+Inf"}, per_second=rate)
    # Of the steps only sum and count are read.
    yield Line(f"{names.itl}_sum", per_second=steps * length * TPOT_SECONDS)
    yield Line(f"{names.itl}_count", per_second=steps)
