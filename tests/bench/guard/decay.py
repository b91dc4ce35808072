"""Slow losses: how early they are said, and how early they are acted on once speculation does not pay any more."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from specdecode.api.vocabulary import Mode
from specdecode.decide.detect import EMPTY_WATCH, Watch, signals

from .deployment import Deployment, Timing, off_step_seconds, tape_of
from .detection import Traffic
from .rivals import Delays
from .traffic import STEP_SECONDS
from .watching import batches, certain, grown
from .world import Course, simulate, steady

_HEALTHY_HOURS = 12.0
_PER_HOUR = 240


@dataclass(frozen=True)
class Decay:
    """From a healthy acceptance length to another one, in a straight line, and then no more."""

    name: str
    from_length: float
    to_length: float
    hours: float
    stays_hours: float = 4.0


DECAYS = (
    Decay("3.07 -> 2.8 over 4 h", 3.07, 2.8, 4),
    Decay("2.4 -> 1.0 over 16 h", 2.394, 1.0, 16, 1),
    Decay("2.4 -> 1.05 over 15 min", 2.394, 1.05, 0.25, 1),
)


@dataclass(frozen=True)
class Said:
    """Of one decay, over many times."""

    name: str
    traffic: str
    said: Delays
    """Seconds from the beginning of the decay until it, or a fall, is certain."""
    lost_percent: float
    """Of the acceptance length by then, median."""
    said_as: Mapping[str, int]
    stepped: Delays
    """Seconds from the moment at which speculation stops paying until the step; empty: it always pays."""


def _course(traffic: Traffic, decay: Decay, healthy_hours: float) -> Course:
    hours = healthy_hours + decay.hours + decay.stays_hours
    course = steady(traffic.kind, traffic.per_second, int(hours * _PER_HOUR))
    at = np.arange(course.scrapes) / _PER_HOUR - healthy_hours
    length = np.interp(at, [0, decay.hours], [decay.from_length, decay.to_length])
    return replace(course, accepting=(length - 1) / (traffic.kind.published.acceptance_length - 1))


def _first_said(course: Course, seed: int, healthy_hours: float) -> tuple[float, str] | None:
    watch: Watch = EMPTY_WATCH
    for batch in batches(simulate(course, seed), -healthy_hours * 3600):
        watch = grown(watch, batch)
        said = signals(watch)
        name = next((name for name in ("decay", "acceptance_fall") if certain(said, name)), None)
        if name is not None and batch.at > 0:
            return batch.at, name
    return None


def _pays_until(decay: Decay) -> float | None:
    """Seconds after the beginning; None: to the end."""
    break_even = STEP_SECONDS / off_step_seconds()
    if decay.to_length >= break_even:
        return None
    return 3600 * decay.hours * (decay.from_length - break_even) / (decay.from_length - decay.to_length)


def _stepped(traffic: Traffic, decay: Decay, rng: np.random.Generator) -> float | None:
    """Seconds from break-even to the step; negative: too early."""
    healthy_hours, pays_until = 0.5, _pays_until(decay)
    assert pays_until is not None, "nobody steps where it pays"
    tape = tape_of(simulate(_course(traffic, decay, healthy_hours), int(rng.integers(2**31))), Mode.DRAFT)
    deployment = Deployment({Mode.DRAFT: [tape]}, Timing.drawn(rng, 1))
    for tick in range(deployment.ticks):
        deployment.step(tick)
        if deployment.played.moves:
            return deployment.played.moves[0].at - 3600 * healthy_hours - pays_until
    return None


def _delays(seconds: list[float | None]) -> Delays:
    seen = tuple(one for one in seconds if one is not None)
    return Delays(seen, len(seconds) - len(seen))


def watch_decay(traffic: Traffic, decay: Decay, times: int) -> Said:
    """The detectors see twelve healthy hours first; the judge half an hour, and only where there is anything to do."""
    rng = np.random.default_rng(traffic.seed(7, int(100 * decay.hours)))
    found = [
        _first_said(_course(traffic, decay, _HEALTHY_HOURS), int(rng.integers(2**31)), _HEALTHY_HOURS)
        for _ in range(times)
    ]
    seen = [one for one in found if one is not None]
    share = np.array([min(1.0, seconds / 3600 / decay.hours) for seconds, _ in seen])
    lost = 100 * (1 - decay.to_length / decay.from_length) * (float(np.median(share)) if len(share) else np.nan)
    said_as = {name: sum(one == name for _, one in seen) for name in ("decay", "acceptance_fall")}
    steps = [] if _pays_until(decay) is None else [_stepped(traffic, decay, rng) for _ in range(max(1, times // 4))]
    said = _delays([None if one is None else one[0] for one in found])
    return Said(decay.name, traffic.name, said, lost, said_as, _delays(steps))
