"""What happens while nothing can be seen, and after it: the observer of production asks a Prometheus made of tapes."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np

from specdecode.api.vocabulary import Arm, Method, Mode
from specdecode.decide.facts import Availability, Measurement
from specdecode.engine.metrics import metric_names
from specdecode.observe.measure import Observer
from specdecode.observe.prometheus import Answer, Failure, Lines, Past, Sample, Samples
from specdecode.observe.queries import (
    ARM,
    BOUND,
    DEPLOYMENT,
    FACT,
    INSTANCE,
    JOB,
    MODE,
    NAME,
    NAMESPACE,
    Fact,
    series_of,
)
from specdecode.observe.track import Reading

from .deployment import REPLICAS, Deployment, Timing, layout, off_step_seconds, tape_of
from .detection import Traffic
from .rivals import Delays
from .traffic import Kind
from .world import ENGINE, SCRAPE_SECONDS, simulate, steady, without_speculation

_WARM_TICKS, _AFTER_TICKS = 80, 60
_LOOK_BACK_SECONDS = 300.0
"""For so long Prometheus answers with the last sample of a series that ended without a word."""
_RESTART_EVERY_TICKS = 40


class Blindness(StrEnum):
    """How sight is lost."""

    OUTAGE = "Prometheus does not answer"
    STALE = "scrapes stop, old samples stay"
    ABSENT = "the series vanish"


def _names() -> dict[str | tuple[str, float], dict[str, str]]:
    """Name and bound of every column of the layout."""
    series = series_of(metric_names(ENGINE, Method.EAGLE3))
    found: dict[str | tuple[str, float], dict[str, str]] = {}
    for column in layout().columns:
        if isinstance(column, str):
            found[column] = {NAME: series[column]}
        else:
            bound = "+Inf" if column[1] == np.inf else f"{column[1]:g}"
            found[column] = {NAME: series[f"{column[0]}_bucket"], BOUND: bound}
    return found


class TapePrometheus:
    """Answers the observer's questions at one moment."""

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}
        self.blindness: Blindness | None = None
        self._columns = tuple(_names().values())
        self._running = series_of(metric_names(ENGINE, Method.EAGLE3))[Fact.RUNNING]

    async def query(self, promql: str, *, at: datetime) -> Answer:
        """The state of the pods, or their counters."""
        if self.blindness is Blindness.OUTAGE:
            return Failure("Prometheus did not answer within 10 s")
        is_state = f'"{FACT}","{Fact.TARGETS}"' in promql
        known = {
            instance: reading
            for instance, reading in self.readings.items()
            if at.timestamp() - reading.at <= _LOOK_BACK_SECONDS
        }
        samples = self._state(len(known)) if is_state else self._counters(known)
        return Samples(tuple(samples))

    async def query_range(self, _promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        """No history: the tapes begin when the operator does."""
        del start, end, step_seconds
        return Lines(())

    @property
    def _group(self) -> dict[str, str]:
        return {NAMESPACE: "bench", DEPLOYMENT: "simulated", MODE: Mode.DRAFT.value, ARM: Arm.MAIN.value}

    def _state(self, pods: int) -> Iterator[Sample]:
        for fact in (Fact.TARGETS, Fact.UP):
            if pods:
                yield Sample({**self._group, FACT: fact}, float(pods))

    def _counters(self, readings: dict[str, Reading]) -> Iterator[Sample]:
        for instance, reading in readings.items():
            pod = {**self._group, JOB: "engines", INSTANCE: instance}
            yield Sample({**pod, FACT: Fact.SCRAPED_AT}, reading.at)
            yield Sample({**pod, NAME: self._running}, reading.running)
            for labels, value in zip(self._columns, reading.counters.tolist(), strict=True):
                yield Sample({**pod, **labels}, value)


class _Eyes:
    """Measures a simulated deployment with the observer of production."""

    def __init__(self, deployment: Deployment) -> None:
        self.prometheus = TapePrometheus()
        self._deployment = deployment
        self._observer = Observer(self.prometheus, scrape_interval_seconds=SCRAPE_SECONDS)

    def measure(self, tick: int, now: float) -> Measurement:
        """One tick of the observer."""
        match self.prometheus.blindness:
            case Blindness.ABSENT:
                self.prometheus.readings = {}
            case None | Blindness.OUTAGE:
                self.prometheus.readings = self._deployment.readings(tick)
            case Blindness.STALE:
                pass
        subject = self._deployment.subject()
        moment = datetime.fromtimestamp(int(now), UTC)
        return asyncio.run(self._observer.tick([subject], moment))[subject.key]


@dataclass(frozen=True)
class Sight:
    """Of one way to lose sight, over many times."""

    blindness: Blindness
    noticed: Delays
    steps_while_blind: int
    steps_after: int


def _deployment(kind: Kind, per_second: float, ticks: int, rng: np.random.Generator) -> Deployment:
    course = steady(kind, per_second / REPLICAS, ticks + 2)
    courses = {Mode.DRAFT: course, Mode.OFF: without_speculation(course, off_step_seconds())}
    tapes = {
        mode: [tape_of(simulate(course, int(rng.integers(2**31))), mode) for _ in range(REPLICAS)]
        for mode, course in courses.items()
    }
    return Deployment(tapes, Timing.drawn(rng))


def _lose_once(kind: Kind, per_second: float, blindness: Blindness, rng: np.random.Generator) -> tuple[float, int, int]:
    """Seconds until it was noticed, infinite when it was not; steps while blind, and after it."""
    deployment = _deployment(kind, per_second, _WARM_TICKS + _AFTER_TICKS, rng)
    eyes = _Eyes(deployment)
    deployment.measure = eyes.measure
    lost_at = deployment.tick_at(_WARM_TICKS) - SCRAPE_SECONDS * rng.random()
    back_at = lost_at + rng.uniform(60, 600)
    noticed = np.inf
    for tick in range(deployment.ticks):
        at = deployment.tick_at(tick)
        is_blind = lost_at <= at < back_at
        eyes.prometheus.blindness = blindness if is_blind else None
        deployment.step(tick)
        if is_blind and deployment.measurement.availability is not Availability.MEASURED:
            noticed = min(noticed, at - lost_at)
    moments = [move.at for move in deployment.played.moves]
    return noticed, sum(lost_at <= at < back_at for at in moments), sum(at >= back_at for at in moments)


def lose_sight(kind: Kind, per_second: float, blindness: Blindness, times: int) -> Sight:
    """Sight is lost at any moment, for 1 to 10 minutes."""
    rng = np.random.default_rng([list(Blindness).index(blindness), times])
    found = [_lose_once(kind, per_second, blindness, rng) for _ in range(times)]
    noticed = tuple(seconds for seconds, _, _ in found if seconds < np.inf)
    delays = Delays(noticed, times - len(noticed))
    return Sight(blindness, delays, sum(blind for _, blind, _ in found), sum(after for _, _, after in found))


@dataclass(frozen=True)
class Restarts:
    """Of engines, while the Deployment is said to be rolled out all the time."""

    traffic: str
    restarts: int
    steps: int
    certain: int
    """Restarts after which a change was called certain."""


def _is_certain(measurement: Measurement) -> bool:
    said = measurement.signals
    return any(change is not None and change.is_certain for change in (said.acceptance_fall, said.tpot_rise))


def restart_engines(traffic: Traffic, restarts: int) -> Restarts:
    """One pod or the other restarts every ten minutes, for half a minute to five; its counters begin anew."""
    rng = np.random.default_rng(traffic.seed(6))
    ticks = _WARM_TICKS + restarts * _RESTART_EVERY_TICKS
    deployment = _deployment(traffic.kind, traffic.per_second, ticks, rng)
    doubted: set[int] = set()
    for tick in range(deployment.ticks):
        restart, since = divmod(tick - _WARM_TICKS, _RESTART_EVERY_TICKS)
        if restart >= 0 and since == 0:
            deployment.restart(tick, int(rng.integers(REPLICAS)), float(rng.uniform(30, 300)))
        deployment.step(tick)
        if restart >= 0 and _is_certain(deployment.measurement):
            doubted.add(restart)
    return Restarts(traffic.name, restarts, len(deployment.played.moves), len(doubted))
