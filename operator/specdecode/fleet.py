"""Who steps, over all deployments: what the circuit breaker and the rate limit count.

One process keeps it, and builds it again from the statuses whenever somebody wants to step, so that a restart loses
nothing. A step is noted at the moment it is decided, before its status is written: of visits that run at the same time
each sees the ones before it. No I/O, no clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from specdecode.decide.breaker import RECENT, Fleet
from specdecode.store import Key


@dataclass(frozen=True)
class Standing:
    """One deployment, as its status and its last judgement have it."""

    key: Key
    speculates: bool
    wants_to_step: bool
    steps: tuple[datetime, ...] = ()
    """Steps down that its status remembers."""
    is_own: bool = True
    """Whether this process looks after it; of another replica's only the steps are known, and not what it wants."""


@dataclass
class Ledger:
    """The latest survey of all deployments, and what was decided since."""

    max_namespace_steps: int
    surveyed_for: datetime | None = None
    """The moment of the measurements that the survey judged."""
    _speculating: set[Key] = field(default_factory=set)
    _others: set[Key] = field(default_factory=set)
    _steps: dict[Key, set[datetime]] = field(default_factory=dict)
    _wanted: dict[Key, datetime] = field(default_factory=dict)
    """When a step was last wanted."""
    _decided: dict[Key, datetime] = field(default_factory=dict)
    """When a step was last decided: it may not be in a status yet."""

    def is_due(self, measured_at: datetime) -> bool:
        """Whether the survey is older than the measurements of that moment."""
        return self.surveyed_for is None or self.surveyed_for < measured_at

    def survey(self, measured_at: datetime, standings: Iterable[Standing]) -> None:
        """Everybody's standing at one moment."""
        self.surveyed_for = measured_at
        known = tuple(standings)
        self._speculating = {standing.key for standing in known if standing.speculates}
        self._others = {standing.key for standing in known if not standing.is_own}
        self._steps = {standing.key: set(standing.steps) for standing in known}
        self._wanted |= {standing.key: measured_at for standing in known if standing.wants_to_step}
        self._wanted = {key: at for key, at in self._wanted.items() if measured_at - at < RECENT}
        self._decided = {key: at for key, at in self._decided.items() if measured_at - at < RECENT}

    def decided(self, key: Key, at: datetime) -> None:
        """A step down of this deployment is about to be written."""
        self._decided[key] = at

    def _recent_steps(self, own: Key, now: datetime) -> dict[Key, set[datetime]]:
        """By deployment. What was decided for `own` and is in no status was not taken: it is decided anew."""
        noted = {key: {at} for key, at in self._decided.items() if key != own}
        every = {key: self._steps.get(key, set()) | noted.get(key, set()) for key in self._steps.keys() | noted.keys()}
        recent = {key: {at for at in steps if now - at < RECENT} for key, steps in every.items()}
        return {key: steps for key, steps in recent.items() if steps}

    def fleet(self, own: Key, now: datetime) -> Fleet:
        """All deployments as `own`, which wants to step down, sees them.

        The breaker counts those of this process: a share of the fleet that a hash chose is as good as the fleet, and a
        mix of what is wanted here and what was done elsewhere is neither. The rate limit counts everybody's steps.
        """
        steps = self._recent_steps(own, now)
        stepping = {*steps, *self._wanted, own} - self._others
        in_namespace = (at for key, times in steps.items() if key[0] == own[0] for at in times)
        return Fleet(
            judged=len((self._speculating - self._others) | stepping),
            stepping=len(stepping),
            namespace_steps=tuple(sorted(in_namespace)),
            max_namespace_steps=self.max_namespace_steps,
        )
