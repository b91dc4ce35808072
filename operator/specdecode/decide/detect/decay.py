"""A slow loss of acceptance over hours, that no detector of steps sees because the reference follows it.

Bins of a quarter of an hour over two days. A decline is one that a straight line shows with certainty, that has cost
enough, and that ends lower than anything before it: what content does every day at this hour is no decay.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from specdecode.decide.detect.reference import EMPTY_BLOCK, Block
from specdecode.decide.facts import Change

Floats = NDArray[np.float64]

BIN_SECONDS = 900.0
_MOST_BINS = 192
"""Two days, so that a whole one lies before a decline of hours."""
_SPANS = (12, 16, 24, 32, 48, 64)
"""Bins that a line is laid through: 3 to 16 hours."""
_NEWEST = 4
"""Bins that say where acceptance is now: an hour."""
_MIN_LOSS = 0.06
"""Part of the acceptance length; vllm-project/vllm#41838 lost 0.09 over hours."""
_BELOW_ALL = 0.02
_STAGES = 4
_MIN_STAGE = 0.1
"""Every quarter of a decline loses this part of the whole: a step does not."""


@dataclass(frozen=True, slots=True)
class Decay:
    """State of the detector."""

    bins: tuple[tuple[float, float], ...] = ()
    """(end in Unix seconds, mean acceptance length), oldest first."""
    filling: Block = EMPTY_BLOCK
    ends_at: float = 0.0
    """Of the bin that is filling."""
    found: Change | None = None


NO_DECAY = Decay()


def normal_score(t_value: float, degrees: float) -> float:
    """The normal deviate as rare as this value of Student's distribution. Source: Wallace 1959, error below 1 %."""
    return (8 * degrees + 1) / (8 * degrees + 3) * math.sqrt(degrees * math.log1p(t_value**2 / degrees))


def tail_nats(score: float) -> float:
    """Minus the logarithm of the upper tail of the normal distribution; exact to a tenth above one."""
    return -math.log(0.5 * math.erfc(min(score, 37.0) / math.sqrt(2)))


def _line(at: Floats, values: Floats) -> tuple[float, float]:
    """Relative loss along the least-squares line, and its evidence in nats; neighbours' likeness widens the error."""
    count = len(at)
    centred = at - at.mean()
    spread = float(centred @ centred)
    slope = float(centred @ values) / spread
    residuals = values - values.mean() - slope * centred
    squares = float(residuals @ residuals)
    start = float(values.mean() + slope * centred[0])
    loss = -slope * float(at[-1] - at[0]) / start
    if loss <= 0:
        return loss, 0.0
    likeness = min(0.9, max(0.0, float(residuals[1:] @ residuals[:-1]) / max(squares, 1e-12)))
    error = math.sqrt(max(squares, 1e-12) / (count - 2) / spread * (1 + likeness) / (1 - likeness))
    return loss, tail_nats(normal_score(-slope / error, count - 2))


def _is_gradual(values: Floats) -> bool:
    """Whether every quarter of it loses its part."""
    stages = np.array([stage.mean() for stage in np.array_split(values, _STAGES)])
    return bool(np.all(-np.diff(stages) >= _MIN_STAGE * (stages[0] - stages[-1])))


def _is_lowest(values: Floats, span: int) -> bool:
    """Whether the newest hour lies below every hour before the span."""
    earlier = values[:-span]
    if len(earlier) < _NEWEST:
        return True
    hours = np.convolve(earlier, np.full(_NEWEST, 1 / _NEWEST), "valid")
    return bool(values[-_NEWEST:].mean() < (1 - _BELOW_ALL) * hours.min())


def _declines(bins: tuple[tuple[float, float], ...], threshold_nats: float) -> Iterator[Change]:
    """One for every span that shows a decline worth the name."""
    table = np.array(bins)
    for span in _SPANS:
        if span > len(bins):
            return
        at, values = table[-span:, 0], table[-span:, 1]
        loss, nats = _line(at, values)
        if loss >= _MIN_LOSS and _is_gradual(values) and _is_lowest(table[:, 1], span):
            recent = float(values[-_NEWEST:].mean())
            yield Change(float(values[:_NEWEST].mean()), recent, float(at[0]) - BIN_SECONDS, nats, threshold_nats)


def _judged(state: Decay, threshold_nats: float) -> Change | None:
    """The decline with the most evidence. One that was certain stays so while half of the loss is still there."""
    best = max(_declines(state.bins, threshold_nats), key=lambda change: change.evidence_nats, default=None)
    old = state.found
    if old is None or not old.is_certain or (best is not None and best.is_certain):
        return best
    recent = sum(value for _, value in state.bins[-_NEWEST:]) / _NEWEST
    is_still_low = recent < (1 - _MIN_LOSS / 2) * old.reference
    is_in_memory = old.since >= state.bins[0][0] - BIN_SECONDS
    return replace(old, recent=recent) if is_still_low and is_in_memory else best


def watched(
    state: Decay, at: float, value: float, volume: float, threshold_nats: float, scrape_interval_seconds: float
) -> Decay:
    """The state after one more batch that ended `at`. The threshold is that of batches; there are fewer bins."""
    if at < state.ends_at:
        return Decay(state.bins, state.filling.added(value, volume, volume), state.ends_at, state.found)
    ends_at = (at // BIN_SECONDS + 1) * BIN_SECONDS
    filling = EMPTY_BLOCK.added(value, volume, volume)
    if state.filling.weight <= 0:
        return replace(state, filling=filling, ends_at=ends_at)
    bins = (*state.bins, (state.ends_at, state.filling.mean))[-_MOST_BINS:]
    closed = Decay(bins, filling, ends_at, state.found)
    if len(bins) < _SPANS[0]:
        return closed
    threshold_of_bins = threshold_nats - math.log(BIN_SECONDS / scrape_interval_seconds)
    return replace(closed, found=_judged(closed, threshold_of_bins))
