"""The design effect: how much further the acceptance of batches scatters than that of independent draft tokens would.

Measured at two lengths, single batches and ten in a row: long requests make neighbours alike, and only the longer one
shows that.
"""

import math
from dataclasses import dataclass

from specdecode.decide.facts import Batch

_IN_A_ROW = 10
_MIN_BATCHES, _MIN_ROWS = 30, 12
_MEMORY = 2_000
"""Batches or rows after which what was seen is forgotten."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some batches in a row."""

    proposed: float = 0.0
    accepted: float = 0.0

    def plus(self, proposed: float, accepted: float) -> "Sum":
        return Sum(self.proposed + proposed, self.accepted + accepted)


_NOTHING = Sum()


@dataclass(frozen=True, slots=True)
class Scatter:
    """Chi-square sums of differences between neighbours, by length. Differences, because a mean that wanders is no
    scatter: content that changes over hours must not make every interval wide.
    """

    pairs: float = 0.0
    squares: float = 0.0
    last: Sum = _NOTHING
    row_pairs: float = 0.0
    row_squares: float = 0.0
    last_row: Sum = _NOTHING
    row: Sum = _NOTHING
    """The one that is filling, and its batches."""
    row_batches: int = 0

    @property
    def design_effect(self) -> float:
        """The larger of the two; NaN until enough was seen."""
        if self.pairs < _MIN_BATCHES:
            return math.nan
        single = self.squares / self.pairs
        return max(single, self.row_squares / self.row_pairs) if self.row_pairs >= _MIN_ROWS else single


NO_SCATTER = Scatter()


def _square(one: Sum, other: Sum) -> float:
    """Squared difference of two rates in binomial standard deviations; 1 is expected of independent tokens."""
    rate = (one.accepted + other.accepted) / (one.proposed + other.proposed)
    variance = rate * (1 - rate) * (1 / one.proposed + 1 / other.proposed)
    return (one.accepted / one.proposed - other.accepted / other.proposed) ** 2 / variance if variance > 0 else 1.0


def watched(scatter: Scatter, batch: Batch) -> Scatter:
    """After one more batch; itself when nothing was proposed."""
    if batch.draft_tokens <= 0:
        return scatter
    keep = 1 - 1 / _MEMORY
    now = Sum(batch.draft_tokens, min(batch.accepted_tokens, batch.draft_tokens))
    pairs, squares = scatter.pairs, scatter.squares
    if scatter.last.proposed > 0:
        pairs, squares = keep * pairs + 1, keep * squares + _square(scatter.last, now)
    row, row_batches = scatter.row.plus(now.proposed, now.accepted), scatter.row_batches + 1
    row_pairs, row_squares, last_row = scatter.row_pairs, scatter.row_squares, scatter.last_row
    if row_batches == _IN_A_ROW:
        if last_row.proposed > 0:
            row_pairs, row_squares = keep * row_pairs + 1, keep * row_squares + _square(last_row, row)
        last_row, row, row_batches = row, _NOTHING, 0
    return Scatter(pairs, squares, now, row_pairs, row_squares, last_row, row, row_batches)
