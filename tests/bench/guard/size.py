"""How much is simulated: a minute for every day, or as much as the guard's promises are counted in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Of a run."""

    name: str
    healthy_days: int
    """By kind of traffic and rate."""
    unknown_days: int
    """The same without a baseline, every tick of them through the judge."""
    drift_days: int
    """By kind of drift and rate."""
    faults: int
    """By kind of traffic, rate and fault."""
    judged_faults: int
    """The same, through the judge."""
    decays: int
    windows: int
    blind: int
    """By way to lose sight."""
    restarts: int
    """By kind of traffic and rate."""


QUICK = Size("quick", 3, 0, 2, 20, 10, 2, 2_000, 6, 8)
FULL = Size("full", 90, 1, 167, 200, 125, 12, 10_000, 70, 125)
