"""Deployments at rest: what is remembered of them, and what wakes them up. Pure.

A fleet that is small is looked at closely all the time. In a large one a deployment that has settled comes to rest:
its plan, its counters and its detectors are forgotten, and every tick only glances at it. It wakes up as soon as
anything is no longer as it was when it lay down: what it misses is read again from Prometheus, as after a restart.

    awake ---> settled, quiet, nothing pending ---> at rest ---> a glance differs, or its objects change ---> awake

What a glance can miss is what does not move it: less than its tolerance, and less than the noise that it saw.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from specdecode.decide.baseline import COLLAPSED_ACCEPTANCE_LENGTH
from specdecode.engine.metrics import MetricNames
from specdecode.observe.glance import Glance, GlanceKey, Limit
from specdecode.store import Key

AWAKE = 100
"""So many are looked at closely all the time, whatever they do: a fleet of this size never rests."""
MOST_AWAKE = 500
"""Hardly more than these are awake at once: each costs some 200 KiB and 1.4 ms per tick. The most suspicious first."""
WAKES_PER_TICK = 100
CALM_SECONDS = 300.0
"""Who woke up stays awake for so long at least."""

_ACCEPTANCE_TOLERANCE = 0.05
_TPOT_TOLERANCE = 0.10
_RUNNING_TOLERANCE, _RUNNING_STEP = 0.25, 2.0
_SIGMAS = 4.0
"""A glance in ten thousand lies farther off by chance; of ten thousand deployments one wakes up for nothing."""
_WEIGHT = 0.05
"""Of one glance in the running mean and variance: they follow within twenty."""
_LEARNING = 8
"""Glances before the noise is believed to be known."""
_COLLAPSED, _BLIND = 1000.0, 100.0
"""What comes before any number that merely moved."""


class Signal:
    """One number of a glance: what it was when the deployment lay down, how it moves, and how much it scatters."""

    __slots__ = ("mean", "reference", "seen", "variance")

    def __init__(self, reference: float) -> None:
        self.reference = reference
        self.mean = reference
        self.variance = 0.0
        self.seen = 0

    def suspicion(self, value: float, tolerance: float, step: float = 0.0) -> float:
        """How far off a value is, or its mean has moved: 1 is as far as is tolerated. It learns from what is not."""
        if math.isnan(value):
            return 0.0
        if math.isnan(self.reference):
            self.reference = self.mean = value
            return 0.0
        allowed = max(tolerance * abs(self.reference), step)
        scatter = _SIGMAS * math.sqrt(self.variance) if self.seen >= _LEARNING else 0.0
        jump = abs(value - self.reference) / max(allowed, scatter, 1e-9)
        self._learn(value)
        drift = abs(self.mean - self.reference) / max(allowed, 1e-9) if self.seen >= _LEARNING else 0.0
        return max(jump, drift)

    def scatter_as(self, earlier: "Signal") -> None:
        """It scatters as it did when it last lay down."""
        self.variance, self.seen = earlier.variance, earlier.seen

    def _learn(self, value: float) -> None:
        off = value - self.mean
        self.mean += _WEIGHT * off
        self.variance = (1 - _WEIGHT) * (self.variance + _WEIGHT * off * off)
        self.seen += 1


class Sleeper:
    """One deployment at rest."""

    __slots__ = (
        "acceptance_length",
        "generation",
        "has_traffic",
        "limits",
        "mode",
        "names",
        "pods_up",
        "running_requests",
        "tpot_seconds",
    )

    def __init__(
        self, mode: str, names: MetricNames, glance: Glance, *, has_traffic: bool, limits: tuple[Limit, ...] = ()
    ) -> None:
        """`glance` is what is known of it at this moment; NaN where nothing is: the first glance counts then."""
        self.mode = mode
        self.names = names
        self.generation = 0
        """Of its Deployment: another one means that somebody changed what should run."""
        self.limits = limits
        self.has_traffic = has_traffic
        self.pods_up = glance.pods_up
        self.acceptance_length = Signal(glance.acceptance_length)
        self.tpot_seconds = Signal(glance.tpot_seconds)
        self.running_requests = Signal(glance.running_requests)

    def scatter_as(self, earlier: "Sleeper") -> None:
        """Its numbers scatter as they did when it last lay down."""
        self.acceptance_length.scatter_as(earlier.acceptance_length)
        self.tpot_seconds.scatter_as(earlier.tpot_seconds)
        self.running_requests.scatter_as(earlier.running_requests)

    def suspicion(self, glance: Glance | None, now: float, max_age_seconds: float) -> float:
        """How much it wants a close look; below 1: not. Collapse, blindness and broken limits come before all else."""
        if glance is None or not abs(now - glance.scraped_at) <= max_age_seconds:
            return _BLIND
        if math.isnan(self.pods_up):
            self.pods_up = glance.pods_up
        if glance.pods_up != self.pods_up:
            return _BLIND
        length = glance.acceptance_length
        if length <= COLLAPSED_ACCEPTANCE_LENGTH < self.acceptance_length.reference:
            return _COLLAPSED
        is_used = glance.running_requests > 0 or length > 0 or glance.tpot_seconds > 0
        return max(
            glance.over * 100,
            0.0 if self.has_traffic or not is_used else 2.0,
            self.acceptance_length.suspicion(length, _ACCEPTANCE_TOLERANCE),
            self.tpot_seconds.suspicion(glance.tpot_seconds, _TPOT_TOLERANCE),
            self.running_requests.suspicion(glance.running_requests, _RUNNING_TOLERANCE, _RUNNING_STEP),
        )


@dataclass
class Dormitory:
    """Who is at rest, and who has just woken up. It keeps no deployment itself."""

    max_age_seconds: float
    """A scrape that is older is no scrape."""
    _sleepers: dict[Key, Sleeper] = field(default_factory=dict)
    _woken: dict[Key, tuple[float, Sleeper]] = field(default_factory=dict)
    """When, and how it lay before."""
    suspects: frozenset[Key] = frozenset()
    """At rest, and due for a close look that others get first."""

    def __contains__(self, key: Key) -> bool:
        return key in self._sleepers

    def __len__(self) -> int:
        return len(self._sleepers)

    def at_rest(self) -> list[Key]:
        """Who is at rest, the first to lie down first."""
        return list(self._sleepers)

    def generation(self, key: Key) -> int:
        """Of the Deployment of one at rest, when it lay down."""
        return self._sleepers[key].generation

    @property
    def names(self) -> tuple[MetricNames, ...]:
        """What their engines expose."""
        return tuple({id(sleeper.names): sleeper.names for sleeper in self._sleepers.values()}.values())

    @property
    def limits(self) -> frozenset[Limit]:
        """What a glance has to ask about."""
        return frozenset(limit for sleeper in self._sleepers.values() for limit in sleeper.limits)

    def lay_down(self, key: Key, sleeper: Sleeper) -> None:
        """From now on a glance is enough."""
        woken = self._woken.pop(key, None)
        if woken is not None and woken[1].mode == sleeper.mode:
            sleeper.scatter_as(woken[1])
        self._sleepers[key] = sleeper

    def wake(self, key: Key, now: float) -> None:
        """It is looked at closely from now on."""
        sleeper = self._sleepers.pop(key, None)
        if sleeper is not None:
            self._woken[key] = (now, sleeper)

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._sleepers.pop(key, None)
        self._woken.pop(key, None)

    def look(self, glances: Mapping[GlanceKey, Glance] | None, now: float, *, awake: int) -> tuple[Key, ...]:
        """Wake up whom the glances ask for, the most suspicious first; None: there was no answer.

        `now` is Unix seconds; `awake` counts those that are awake already.
        """
        found: list[tuple[float, Key]] = []
        for key, sleeper in self._sleepers.items():
            glance = None if glances is None else glances.get((*key, sleeper.mode))
            suspicion = sleeper.suspicion(glance, now, self.max_age_seconds)
            if suspicion >= 1:
                found.append((-suspicion, key))
        found.sort()
        room = max(0, min(WAKES_PER_TICK, MOST_AWAKE - awake))
        woken = tuple(key for _, key in found[:room])
        for key in woken:
            self.wake(key, now)
        # Without an answer nobody is suspected of anything.
        self.suspects = frozenset(key for _, key in found[room:]) if glances is not None else frozenset()
        return woken

    def calm(self, awake: Iterable[Key], now: float) -> list[Key]:
        """Those of them who have been awake for long enough to lie down again, the first to wake up first."""
        woken_at = {key: self._woken[key][0] if key in self._woken else -math.inf for key in awake}
        return sorted((key for key, at in woken_at.items() if now - at >= CALM_SECONDS), key=woken_at.__getitem__)
