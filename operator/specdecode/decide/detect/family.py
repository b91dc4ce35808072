"""Detectors of one signal and direction, for shifts of several sizes: what they say together, and for how long.

A change is certain from the alarm until it heals (the detector that found it lost as much evidence again as an
alarm takes) or until it has lasted so long that it is the new normal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from specdecode.decide.detect.cusum import Cusum, Totals, learnt, reset, stepped

_LASTING_HOURS = 1 / 6
"""After which a change is the new normal: ten minutes, two default windows of the guard."""


@dataclass(frozen=True, slots=True)
class Family:
    """State of the detectors of one signal and direction."""

    cusums: tuple[Cusum, ...]
    strongest: int = 0
    """Index of the detector with the most evidence; of the one that gave the alarm while it is held."""
    evidence_nats: float = 0.0
    held: int = 0
    """Batches since the alarm, itself included; zero without one."""

    @property
    def onset(self) -> Totals:
        """Of the strongest detector."""
        return self.cusums[self.strongest].onset

    def has_lasted(self, batches_per_hour: float) -> bool:
        """Whether the change is the new normal."""
        return self.held >= _LASTING_HOURS * batches_per_hour


def family_of(*shifts: float) -> Family:
    """At zero."""
    return Family(tuple(Cusum(shift) for shift in shifts))


def _ended(cusum: Cusum) -> Cusum:
    """The excursion is over, and healthy: it came back by itself."""
    return stepped(cusum, -math.inf, cusum.onset)


def advanced(family: Family, cusums: tuple[Cusum, ...], evidence: Sequence[float], threshold_nats: float) -> Family:
    """The family with its detectors after one more batch, and what they are worth in nats."""
    if family.held:
        alarmed = cusums[family.strongest]
        if alarmed.peak - alarmed.level < threshold_nats:
            nats = max(evidence[family.strongest], threshold_nats)
            return Family(cusums, family.strongest, nats, family.held + 1)
        # Levels rise without bound during a change. Waiting for zero would hold the alarm as long as the change was.
        return Family(tuple(_ended(cusum) for cusum in cusums))
    most = max(evidence)
    return Family(cusums, evidence.index(most), most, 1 if most >= threshold_nats else 0)


def family_learnt(family: Family, batches: float) -> Family:
    """After so many healthy batches were learnt."""
    return replace(family, cusums=tuple(learnt(cusum, batches) for cusum in family.cusums))


def family_reset(family: Family) -> Family:
    """Back to zero after a change of regime; what is known of healthy excursions stays."""
    return Family(tuple(reset(cusum) for cusum in family.cusums))
