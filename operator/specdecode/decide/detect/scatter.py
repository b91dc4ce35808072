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
class Scatter:
    """Chi-square sums of acceptance rates around their mean, by length."""

    batches: float = 0.0
    batch_squares: float = 0.0
    rows: float = 0.0
    row_squares: float = 0.0
    draft_tokens: float = 0.0
    accepted_tokens: float = 0.0
    """Of all batches, with forgetting."""
    row_batches: int = 0
    row_draft_tokens: float = 0.0
    row_accepted_tokens: float = 0.0

    @property
    def design_effect(self) -> float:
        """The larger of the two; NaN until enough was seen."""
        if self.batches < _MIN_BATCHES:
            return math.nan
        single = self.batch_squares / self.batches
        return max(single, self.row_squares / self.rows) if self.rows >= _MIN_ROWS else single


NO_SCATTER = Scatter()


def _square(accepted: float, proposed: float, rate: float) -> float:
    """Squared distance from the rate in binomial standard deviations."""
    variance = proposed * rate * (1 - rate)
    return (accepted - proposed * rate) ** 2 / variance if variance > 0 else 1.0


def watched(scatter: Scatter, batch: Batch) -> Scatter:
    """After one more batch; itself when nothing was proposed."""
    proposed, accepted = batch.draft_tokens, batch.accepted_tokens
    if proposed <= 0:
        return scatter
    keep = 1 - 1 / _MEMORY
    total, good = keep * scatter.draft_tokens + proposed, keep * scatter.accepted_tokens + accepted
    rate = good / total
    rows, row_squares, row_batches = scatter.rows, scatter.row_squares, scatter.row_batches + 1
    row_proposed, row_accepted = scatter.row_draft_tokens + proposed, scatter.row_accepted_tokens + accepted
    if row_batches == _IN_A_ROW:
        rows, row_squares = keep * rows + 1, keep * row_squares + _square(row_accepted, row_proposed, rate)
        row_batches, row_proposed, row_accepted = 0, 0.0, 0.0
    return Scatter(
        keep * scatter.batches + 1,
        keep * scatter.batch_squares + _square(accepted, proposed, rate),
        rows,
        row_squares,
        total,
        good,
        row_batches,
        row_proposed,
        row_accepted,
    )
