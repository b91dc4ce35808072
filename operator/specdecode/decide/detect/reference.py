"""What one signal was while nothing was wrong: its mean, how far batches scatter around it, and how much a typical
batch weighs. Learnt late: a batch is only part of it when what came after it looked healthy too.
"""

import math
from dataclasses import dataclass

BLOCK = 40
"""Batches that are learnt together, one to two blocks after they were made."""
MIN_BATCHES = 30
"""Fewer say nothing: neither the mean nor the scatter is known to a fifth."""
SCATTER_MEMORY = 17_280
"""Batches after which a scatter and a tail are forgotten: three days at 15 s, so that rare requests are remembered."""
_WANTED_ERROR = 0.015
_NEIGHBOURS = 4
"""Batches that one long request joins, as an allowance for the error of the mean."""
_MOST_MEMORY_HOURS = 6
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Block:
    """Sums over some batches."""

    batches: int = 0
    weight: float = 0.0
    value: float = 0.0
    """Weight x value."""
    square: float = 0.0
    """Weight x value squared."""
    volume: float = 0.0

    def added(self, value: float, volume: float, weight: float) -> "Block":
        """With one more batch."""
        weighted = weight * value
        return Block(
            self.batches + 1,
            self.weight + weight,
            self.value + weighted,
            self.square + weighted * value,
            self.volume + volume,
        )

    @property
    def mean(self) -> float:
        """Of the values; NaN without weight."""
        return self.value / self.weight if self.weight > 0 else math.nan

    def scatter(self, mean: float) -> float:
        """Mean square of the relative deviations from `mean`."""
        return max(0.0, (self.square - 2 * mean * self.value) / self.weight / mean**2 + 1)


EMPTY_BLOCK = Block()


@dataclass(frozen=True, slots=True)
class Reference:
    """What has been learnt of a signal. The last three fields follow from the others; every batch asks for them."""

    mean: float = math.nan
    variance: float = math.nan
    """Relative, of a batch of full weight."""
    volume: float = 0.0
    """Mean volume of a batch: drafts, or requests."""
    batches: float = 0.0
    """Healthy batches learnt."""
    mean_batches: float = 0.0
    """Batches that the mean stands for, after forgetting."""
    careful_variance: float = math.nan
    """The variance, as large as it may be when it comes from so many batches with heavy tails."""
    mean_error: float = math.nan
    """Relative standard error of the mean."""
    most_nats: float = 0.0
    """What one batch may add to the evidence."""

    @property
    def is_ready(self) -> bool:
        """Whether enough was seen to judge by."""
        return self.batches >= MIN_BATCHES


NOTHING_KNOWN = Reference()


def _reference(mean: float, variance: float, volume: float, batches: float, mean_batches: float) -> Reference:
    seen = min(batches, SCATTER_MEMORY)
    return Reference(
        mean=mean,
        variance=variance,
        volume=volume,
        batches=batches,
        mean_batches=mean_batches,
        careful_variance=variance * (1 + 4 / math.sqrt(seen)),
        mean_error=math.sqrt(_NEIGHBOURS * variance / mean_batches),
        most_nats=math.log1p(seen),
    )


@dataclass(frozen=True, slots=True)
class Learner:
    """A reference, and the batches that it will learn next."""

    reference: Reference = NOTHING_KNOWN
    filling: Block = EMPTY_BLOCK
    waiting: Block = EMPTY_BLOCK

    def weight(self, volume: float) -> float:
        """Of a batch of this volume, at most one: a batch that is larger than usual has few, long requests."""
        is_known = self.reference.batches > 0
        typical = self.reference.volume if is_known else self.filling.volume / max(1, self.filling.batches)
        return min(1.0, volume / typical) if typical > 0 else 1.0


EMPTY_LEARNER = Learner()


def _mean_memory(variance: float, batches_per_hour: float) -> float:
    """Batches the mean stands for: an hour, or as many as it takes to know it to 1.5 %."""
    wanted = _NEIGHBOURS * variance / _WANTED_ERROR**2
    return min(max(batches_per_hour, wanted), _MOST_MEMORY_HOURS * batches_per_hour)


def _learnt(old: Reference, block: Block, batches_per_hour: float) -> Reference:
    """The reference with one more block in it."""
    if block.weight <= 0:
        return old
    volume = block.volume / block.batches
    if old.batches == 0:
        variance = max(block.scatter(block.mean), _LEAST_VARIANCE)
        return _reference(block.mean, variance, volume, block.batches, block.batches)
    share = block.batches / (min(old.batches, SCATTER_MEMORY) + block.batches)
    variance = max((1 - share) * old.variance + share * block.scatter(old.mean), _LEAST_VARIANCE)
    memory = min(old.mean_batches, _mean_memory(variance, batches_per_hour))
    mean_share = block.batches / (memory + block.batches)
    return _reference(
        mean=(1 - mean_share) * old.mean + mean_share * block.mean,
        variance=variance,
        volume=(1 - share) * old.volume + share * volume,
        batches=old.batches + block.batches,
        mean_batches=memory + block.batches,
    )


def observed(
    learner: Learner, value: float, volume: float, weight: float, *, batches_per_hour: float, is_suspicious: bool
) -> tuple[Learner, float]:
    """The learner after one more batch, and how many batches it has learnt by it: mostly none.

    Blocks that waited while something looked wrong are not learnt.
    """
    reference, filling = learner.reference, learner.filling.added(value, volume, weight)
    if reference.batches == 0:
        if filling.batches < MIN_BATCHES:
            return Learner(reference, filling), 0.0
        return Learner(_learnt(reference, filling, batches_per_hour)), float(filling.batches)
    if filling.batches < BLOCK:
        return Learner(reference, filling, learner.waiting), 0.0
    if is_suspicious:
        return Learner(reference, EMPTY_BLOCK, filling), 0.0
    learnt = _learnt(reference, learner.waiting, batches_per_hour)
    return Learner(learnt, EMPTY_BLOCK, filling), float(learner.waiting.batches)


def rebased(learner: Learner, mean: float, batches: int) -> Learner:
    """At a new mean that so many batches showed: a change of regime. The scatter is kept, nothing waits."""
    old = learner.reference
    return Learner(_reference(mean, old.variance, old.volume, old.batches, float(batches)))
