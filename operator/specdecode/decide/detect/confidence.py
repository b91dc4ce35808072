"""A confidence sequence: an interval for a mean that holds at every moment, however often one looks.

It is for the cautious direction: whether speculation is better again may be asked after every batch.
"""

import math
from dataclasses import dataclass

from specdecode.decide.facts import Interval

_LARGEST_BET = 0.5
"""Source: section 3.3 of arXiv 2010.09686, as the two below."""
_PRIOR_MEAN = 0.5
_PRIOR_VARIANCE = 0.25


@dataclass(frozen=True, slots=True)
class Sequence95:
    """What a confidence sequence remembers of values in 0..1. Frozen: `taken` makes the next one."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    """Of the distances from the mean known at the time."""
    bets: float = 0.0
    won: float = 0.0
    paid: float = 0.0
    low: float = 0.0
    high: float = 1.0

    @property
    def mean(self) -> float:
        """Steadied by one value of 1/2."""
        return (_PRIOR_MEAN + self.total) / (self.count + 1)

    @property
    def interval(self) -> Interval:
        """Covers the mean at all times together with 95 %."""
        return Interval(self.low, min(max(self.mean, self.low), self.high), self.high)


EMPTY_SEQUENCE = Sequence95()


def taken(sequence: Sequence95, value: float, alpha: float = 0.05) -> Sequence95:
    """The sequence after one more value in 0..1. Values may depend on each other as long as each has the mean that is
    asked for, given those before it.

    Source: predictable plug-in empirical Bernstein confidence sequence, theorem 2 of arXiv 2010.09686.
    """
    count = sequence.count + 1
    variance = (_PRIOR_VARIANCE + sequence.squares) / count
    log_cost = math.log(2 / alpha)
    bet = min(_LARGEST_BET, math.sqrt(2 * log_cost / (variance * count * math.log(1 + count))))
    cost = (-math.log1p(-bet) - bet) * (value - sequence.mean) ** 2
    total = sequence.total + value
    mean = (_PRIOR_MEAN + total) / (count + 1)
    bets, won, paid = sequence.bets + bet, sequence.won + bet * value, sequence.paid + cost
    centre, half = won / bets, (log_cost + paid) / bets
    return Sequence95(
        count=count,
        total=total,
        squares=sequence.squares + (value - mean) ** 2,
        bets=bets,
        won=won,
        paid=paid,
        low=max(sequence.low, min(1.0, centre - half)),
        high=min(sequence.high, max(0.0, centre + half)),
    )
