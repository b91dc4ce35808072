"""One detector: a one-sided CUSUM for a shift of one size, with bounded increments and tails of its own.

The increment of a batch is the log likelihood ratio of a shift by `shift` against none, for a normal value of relative
variance v: shift / v x (how far the value lies beyond half of the shift). No batch adds more than the logarithm of the
batches that were seen: one unlike any of M is M times less likely at best. The level is never below zero; its last zero
is the most likely moment of the change (Page 1954; Lorden 1971: the mean time between false alarms is at least
exp(threshold) batches when they are independent; `tail` mends the rest).
"""

import math
from dataclasses import dataclass, replace

from specdecode.decide.detect.reference import SCATTER_MEMORY, Reference
from specdecode.decide.detect.tail import EMPTY_TAIL, Tail, with_batches, with_peak

_LONGEST_REQUEST = 40
"""Batches: a shift that another way of counting denies may be one request, until it has lasted ten minutes at 15 s."""
_TAIL_KNOWN_AFTER = 2_880
"""Batches: half a day at 15 s."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all batches so far, for two ways of counting; the difference of two is what came between them."""

    at: float = 0.0
    """Unix seconds of the newest scrape."""
    batches: int = 0
    weight: float = 0.0
    value: float = 0.0
    """Weight x value."""
    second_weight: float = 0.0
    second_value: float = 0.0

    def mean_since(self, onset: "Totals") -> float:
        """Of the values since then; NaN without weight."""
        weight = self.weight - onset.weight
        return (self.value - onset.value) / weight if weight > 0 else math.nan

    def second_mean_since(self, onset: "Totals") -> float:
        """The same by the second way of counting."""
        weight = self.second_weight - onset.second_weight
        return (self.second_value - onset.second_value) / weight if weight > 0 else math.nan


NO_TOTALS = Totals()


def increment(reference: Reference, shift: float, distance: float, weight: float) -> float:
    """Nats of a batch that lies `distance` (relative) to the side that is watched. The margin is half of the shift, and
    the error of the mean beside it.
    """
    beyond = distance - shift / 2 - reference.mean_error
    return min(reference.most_nats, shift / reference.careful_variance * weight * beyond)


@dataclass(frozen=True, slots=True)
class Cusum:
    """State of one detector."""

    shift: float
    level: float = 0.0
    onset: Totals = NO_TOTALS
    """At the last moment the level was zero."""
    peak: float = 0.0
    confirmed_peak: float = 0.0
    """Of this excursion, over the batches at which the other way of counting confirmed it."""
    tail: Tail = EMPTY_TAIL
    confirmed_tail: Tail = EMPTY_TAIL

    def evidence(self, *, batches: int, is_confirmed: bool | None) -> float:
        """In nats, `batches` after the onset. `is_confirmed`: whether another way of counting shows the shift too; None
        when it has seen nothing since.
        """
        if is_confirmed:
            return self.confirmed_tail.nats(self.level)
        if is_confirmed is None or (batches >= _LONGEST_REQUEST and self.tail.batches >= _TAIL_KNOWN_AFTER):
            return self.tail.nats(self.level)
        return 0.0


def stepped(cusum: Cusum, nats: float, before: Totals) -> Cusum:
    """The detector after a batch that adds so much; `before`: the totals without that batch."""
    level = cusum.level + nats
    if level > 0:
        onset = cusum.onset if cusum.level > 0 else before
        peak = max(cusum.peak, level)
        return Cusum(cusum.shift, level, onset, peak, cusum.confirmed_peak, cusum.tail, cusum.confirmed_tail)
    if cusum.level <= 0:
        return cusum
    tail, confirmed_tail = with_peak(cusum.tail, cusum.peak), with_peak(cusum.confirmed_tail, cusum.confirmed_peak)
    return Cusum(cusum.shift, tail=tail, confirmed_tail=confirmed_tail)


def confirmed(cusum: Cusum) -> Cusum:
    """The same when the other way of counting confirms it."""
    peak = max(cusum.level, cusum.confirmed_peak)
    return Cusum(cusum.shift, cusum.level, cusum.onset, cusum.peak, peak, cusum.tail, cusum.confirmed_tail)


def learnt(cusum: Cusum, batches: float) -> Cusum:
    """The same after so many healthy batches were learnt."""
    keep = math.exp(-batches / SCATTER_MEMORY)
    return replace(
        cusum,
        tail=with_batches(cusum.tail, batches, keep),
        confirmed_tail=with_batches(cusum.confirmed_tail, batches, keep),
    )


def reset(cusum: Cusum) -> Cusum:
    """At zero, and nothing learnt of the excursion: it was a change."""
    return replace(cusum, level=0.0, peak=0.0, confirmed_peak=0.0)
