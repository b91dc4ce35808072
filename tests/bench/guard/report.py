"""Everything the simulation of the guard finds, as one value; its parts run in parallel, each with seeds of its own."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .blindness import Blindness, Restarts, Sight, lose_sight, restart_engines
from .decay import DECAYS, Said, watch_decay
from .detection import (
    COLLAPSE,
    FIFTH,
    RATES_PER_SECOND,
    SLOWER,
    TENTH,
    TRAFFIC,
    FalseAlarms,
    Fault,
    Traffic,
    delays,
    false_alarms,
)
from .honesty import Honesty, honesty
from .judged import DRIFTS, Judged, Stepped, judge_drift, judge_fault, judge_steady
from .regimes import REGIMES, Outcome, outcome
from .rivals import Delays
from .size import Size
from .traffic import GSM8K, KINDS, Moments, moments_of

PROCESSES = 2
_MODEL_REQUESTS = 400_000
_SEED = 20261122

LOSS = Fault("-42 %: speed-up 0.89", length_ratio=0.58, horizon_hours=1.0)
"""Through the judge: speculation costs more than it brings, and no collapse."""
WATCHED = (COLLAPSE, FIFTH, TENTH, SLOWER)


@dataclass(frozen=True)
class GuardReport:
    """What was found, by the name of the traffic where there are several."""

    size: Size
    seconds: float
    model: Mapping[str, Moments]
    """By kind."""
    alarms: tuple[FalseAlarms, ...]
    watched: Mapping[tuple[str, str], Mapping[str, Delays]]
    """By traffic and fault, then by rule."""
    judged: Mapping[tuple[str, str], Stepped]
    """By traffic and fault."""
    steady: tuple[Judged, ...]
    unknown: tuple[Judged, ...]
    """Without a baseline."""
    drifts: tuple[Judged, ...]
    decays: tuple[Said, ...]
    honesty: Honesty
    regimes: tuple[Outcome, ...]
    sights: tuple[Sight, ...]
    restarts: tuple[Restarts, ...]


Name = tuple[str, ...]
Task = tuple[Callable[..., Any], tuple[Any, ...]]


def _of_traffic(traffic: Traffic, size: Size) -> Iterator[tuple[Name, Task]]:
    name = traffic.name
    yield ("alarms", name), (false_alarms, (traffic, size.healthy_days))
    yield ("steady", name), (judge_steady, (traffic, size.healthy_days))
    for fault in (COLLAPSE, LOSS):
        yield ("judged", name, fault.name), (judge_fault, (traffic, fault, size.judged_faults))
    for fault in WATCHED:
        yield ("watched", name, fault.name), (delays, (traffic, fault, size.faults))
    yield ("restarts", name), (restart_engines, (traffic, size.restarts))
    if size.unknown_days:
        yield ("unknown", name), (_without_baseline, (traffic, size.unknown_days))


def _of_change(size: Size) -> Iterator[tuple[Name, Task]]:
    for rate in RATES_PER_SECOND:
        for drift in DRIFTS:
            yield ("drift", f"{drift}, {rate:g}/s"), (judge_drift, (drift, size.drift_days, rate))
    for traffic in (TRAFFIC[0], TRAFFIC[2]):
        for decay in DECAYS:
            yield ("decay", f"{traffic.name}, {decay.name}"), (watch_decay, (traffic, decay, size.decays))
    for regime in REGIMES:
        yield ("regime", regime.name), (outcome, (regime, _SEED))


def _tasks(size: Size) -> dict[Name, Task]:
    tasks = {name: task for traffic in TRAFFIC for name, task in _of_traffic(traffic, size)}
    tasks |= dict(_of_change(size))
    tasks |= {("sight", str(blindness)): (lose_sight, (GSM8K, 1.0, blindness, size.blind)) for blindness in Blindness}
    return tasks | {("honesty", ""): (honesty, (size.windows, _SEED))}


def _without_baseline(traffic: Traffic, days: int) -> Judged:
    return judge_steady(traffic, days, has_baseline=False)


def _run(tasks: Mapping[Name, Task], processes: int) -> dict[Name, Any]:
    if processes == 1:
        return {name: function(*arguments) for name, (function, arguments) in tasks.items()}
    with ProcessPoolExecutor(processes) as pool:
        futures: dict[Name, Future[Any]] = {
            name: pool.submit(function, *arguments) for name, (function, arguments) in tasks.items()
        }
        return {name: future.result() for name, future in futures.items()}


def make_guard_report(size: Size, processes: int = PROCESSES) -> GuardReport:
    """Simulate everything."""
    began = time.perf_counter()
    found = _run(_tasks(size), processes)

    def every(topic: str) -> tuple[Any, ...]:
        return tuple(value for name, value in found.items() if name[0] == topic)

    def by_fault(topic: str) -> dict[tuple[str, str], Any]:
        return {(name[1], name[2]): value for name, value in found.items() if name[0] == topic}

    rng = np.random.default_rng(_SEED)
    return GuardReport(
        size=size,
        model={kind.name: moments_of(kind, rng, _MODEL_REQUESTS) for kind in KINDS},
        alarms=every("alarms"),
        watched=by_fault("watched"),
        judged=by_fault("judged"),
        steady=every("steady"),
        unknown=every("unknown"),
        drifts=every("drift"),
        decays=every("decay"),
        honesty=found["honesty", ""],
        regimes=every("regime"),
        sights=every("sight"),
        restarts=every("restarts"),
        seconds=time.perf_counter() - began,
    )
