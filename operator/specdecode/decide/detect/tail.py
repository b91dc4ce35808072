"""How far a detector's level rises while nothing is wrong: what makes a level worth its nats.

The level of a CUSUM is in nats only if batches were independent and normal. They are neither: a request that answers
in circles for a minute is in five of them. The peaks of the excursions over healthy batches show what a level is worth
on this deployment: beyond a high one they fall off exponentially (Cramér-Lundberg), however alike neighbours are.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

EDGES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0)
"""Lower edges of the bins of peaks, in nats."""
_MIN_PEAKS = 4
"""Fewer peaks beyond an edge say nothing about a slope."""
_LEAST_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Tail:
    """Peaks of excursions over healthy batches, counted by height, with slow forgetting."""

    batches: float = 0.0
    counts: tuple[float, ...] = (0.0,) * len(EDGES)
    sums: tuple[float, ...] = (0.0,) * len(EDGES)
    edge: float = math.inf
    base_nats: float = 0.0
    scale: float = _LEAST_SCALE
    """Beyond `edge` a level is worth base + (level - edge) / scale nats; all three follow from the counts."""

    def nats(self, level: float) -> float:
        """Evidence: minus the logarithm of how often a healthy batch sees an excursion rise to this level."""
        if not self.knows:
            return level
        if level <= self.edge:
            return min(level, self.base_nats * level / self.edge)
        return min(level, self.base_nats + (level - self.edge) / self.scale)

    @property
    def knows(self) -> bool:
        """Whether enough peaks were seen."""
        return math.isfinite(self.edge)


EMPTY_TAIL = Tail()


def _fitted(batches: float, counts: tuple[float, ...], sums: tuple[float, ...]) -> Tail:
    """The exponential beyond the highest edge that enough peaks exceeded. Its scale is the largest mean excess beyond
    any edge: few peaks beyond a high one may happen to lie close together.
    """
    beyond, total, edge, base, scale = 0.0, 0.0, math.inf, 0.0, 0.0
    for index in range(len(EDGES) - 1, -1, -1):
        beyond += counts[index]
        total += sums[index]
        if beyond < _MIN_PEAKS:
            continue
        if math.isinf(edge):
            edge, base = EDGES[index], math.log(max(1.0, batches / beyond))
        # The mean of few excesses is uncertain by one part in the root of their number: to the careful side.
        scale = max(scale, (total / beyond - EDGES[index]) * (1 + 1 / math.sqrt(beyond)))
    return Tail(batches, counts, sums, edge, base, max(scale, _LEAST_SCALE))


def with_peak(tail: Tail, peak: float) -> Tail:
    """One more excursion ended."""
    if peak < EDGES[0]:
        return tail
    index = bisect_right(EDGES, peak) - 1
    counts, sums = list(tail.counts), list(tail.sums)
    counts[index] += 1
    sums[index] += peak
    return _fitted(tail.batches, tuple(counts), tuple(sums))


def with_batches(tail: Tail, batches: float, keep: float) -> Tail:
    """So many more healthy batches; what was before counts `keep` (0..1) of what it did."""
    counts = tuple(keep * count for count in tail.counts)
    sums = tuple(keep * total for total in tail.sums)
    return _fitted(keep * tail.batches + batches, counts, sums)
