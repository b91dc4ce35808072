"""Bytes with their uncertainty, and how uncertainties add up."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """Bytes; `low <= nominal <= high`."""

    low: int
    nominal: int
    high: int

    @classmethod
    def exact(cls, value: int) -> "Estimate":
        """A number without spread."""
        return cls(value, value, value)

    @classmethod
    def scaled(cls, low: float, nominal: float, high: float, unit: float = 1) -> "Estimate":
        """Three factors of one unit in bytes."""
        return cls(int(low * unit), int(nominal * unit), int(high * unit))

    def larger_of(self, other: "Estimate") -> "Estimate":
        """Of two peaks that are never there at once, the higher one."""
        return Estimate(max(self.low, other.low), max(self.nominal, other.nominal), max(self.high, other.high))

    def plus(self, other: "Estimate") -> "Estimate":
        """Both at once, and wrong in the same direction: bounds add up."""
        return Estimate(self.low + other.low, self.nominal + other.nominal, self.high + other.high)


def sum_of(parts: Iterable[Estimate]) -> Estimate:
    """Parts whose errors have nothing to do with each other: the spread is the root of the sum of squares.

    Adding the bounds would call a coincidence of every worst case likely, and double the width of the band.
    """
    added = tuple(parts)
    nominal = sum(part.nominal for part in added)
    below = math.isqrt(sum((part.nominal - part.low) ** 2 for part in added))
    above = math.isqrt(sum((part.high - part.nominal) ** 2 for part in added))
    return Estimate(nominal - below, nominal, nominal + above)
