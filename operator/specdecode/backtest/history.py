"""From samples to readings: what each pod said at each moment at which the operator would have looked. Pure.

Engines of one pod are added up, series are laid out by the engine's version, and the moments follow from the scrapes:
one look per scrape interval, shortly after the last pod was scraped.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.api.vocabulary import Arm, Mode
from specdecode.backtest.choice import Choice, group_of
from specdecode.engine.version import EngineVersion
from specdecode.observe.causes import why_no_series
from specdecode.observe.prometheus import Line
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
    TEMPERATURE,
    Fact,
)
from specdecode.observe.readings import GroupKey, Pod, Reader, by_pod
from specdecode.observe.subject import Subject, subject_of
from specdecode.observe.track import Floats, Layout, Reading

_POD = "pod"
_MARGIN_SECONDS = 0.5
"""Between a scrape and the look at it: scrapes jitter by some milliseconds."""
_MOST_PHASES = 10_000

Frame = Mapping[str, Reading]
"""Readings of the pods at one moment, by instance."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """What arrived of one mode and arm."""

    layout: Layout
    frames: Mapping[int, Frame]
    """By number of the moment; a moment without a new scrape is left out."""


@dataclass(frozen=True, eq=False)
class History:
    """One deployment through time."""

    moments: Floats
    """Unix seconds at which the operator would have looked; ascending, `step_seconds` apart."""
    step_seconds: float
    scrape_interval_seconds: float
    first_at: float
    """Unix seconds of the first and the last scrape."""
    last_at: float
    arrivals: Mapping[tuple[Mode, Arm], Arrivals]
    version: EngineVersion


def _added(one: Line, other: Line) -> Line:
    """The sum of two series; where only one has a sample, it."""
    if np.array_equal(one.at, other.at):
        return Line(one.labels, one.at, one.values + other.values)
    at = np.union1d(one.at, other.at)
    values = np.zeros(len(at))
    for line in (one, other):
        values[np.searchsorted(at, line.at)] += line.values
    return Line(one.labels, at, values)


def _summed(lines: Iterable[Line], choice: Choice, requested: Mode) -> list[Line]:
    """The series of each pod, added over its engines and whatever else divides them, as the operator's query does."""
    found: dict[tuple[str, ...], Line] = {}
    for line in lines:
        labels = line.labels
        if not choice.covers(labels):
            continue
        mode, arm = group_of(choice, requested, labels)
        own = {
            NAME: labels.get(NAME, ""),
            BOUND: labels.get(BOUND, ""),
            TEMPERATURE: labels.get(TEMPERATURE, ""),
            NAMESPACE: labels.get(NAMESPACE, ""),
            DEPLOYMENT: choice.deployment,
            MODE: mode,
            ARM: arm,
            JOB: labels.get(JOB, ""),
            INSTANCE: labels.get(INSTANCE) or labels.get(_POD, ""),
        }
        key = tuple(own.values())
        mine = Line({label: value for label, value in own.items() if value}, line.at, line.values)
        found[key] = _added(found[key], mine) if key in found else mine
    return list(found.values())


def _pods(lines: Iterable[Line], running: str) -> dict[GroupKey, dict[str, Pod[Line]]]:
    """Pods by group; each was scraped when its gauge of running requests has a sample."""
    every = list(lines)
    every += [
        Line({**line.labels, FACT: Fact.SCRAPED_AT}, line.at, line.at)
        for line in every
        if line.labels.get(NAME) == running
    ]
    return by_pod((line.labels, line) for line in every)


def _scrapes(pods: Mapping[GroupKey, Mapping[str, Pod[Line]]]) -> list[Floats]:
    return [pod.at.at for group in pods.values() for pod in group.values() if pod.at is not None]


def scrape_interval(scrapes: Iterable[Floats]) -> float | None:
    """The usual time between two scrapes of a pod, in seconds with one decimal; None when no pod was scraped twice."""
    gaps = np.concatenate([np.empty(0), *(np.diff(at) for at in scrapes)])
    return max(0.1, round(float(np.median(gaps)), 1)) if len(gaps) else None


def looks(scrapes: Iterable[Floats], step_seconds: float) -> Floats:
    """Moments to look at, a step apart, where the longest pause between scrapes begins: so that little of what was
    scraped has to wait.
    """
    every = np.concatenate(list(scrapes))
    first, last = float(every.min()), float(every.max())
    phases = np.unique(np.round((every[:: max(1, len(every) // _MOST_PHASES)] - first) % step_seconds, 3))
    pauses = np.diff(phases, append=phases[0] + step_seconds)
    longest = int(np.argmax(pauses))
    phase = float(phases[longest]) + min(_MARGIN_SECONDS, float(pauses[longest]) / 2)
    start = first + phase % step_seconds
    count = math.floor((last - start) / step_seconds) + 2
    return np.asarray(start + step_seconds * np.arange(count), dtype=np.float64)


def _life(pod: Pod[Line]) -> tuple[float, float]:
    """First and last sample of a pod."""
    lines = [*pod.numbers.values(), *(line for bounds in pod.buckets.values() for line in bounds.values())]
    return min(float(line.at[0]) for line in lines), max(float(line.at[-1]) for line in lines)


def _arrivals(reader: Reader, pods: Mapping[str, Pod[Line]], moments: Floats) -> Arrivals:
    reader.follow(pods)
    frames: dict[int, dict[str, Reading]] = defaultdict(dict)
    for instance, pod in pods.items():
        if pod.at is None:
            continue
        # Only the life of the pod: a month of pods that live for an hour would be a month of memory for each.
        begin, end = _life(pod)
        low, high = (int(np.searchsorted(moments, at - 1e-3)) for at in (begin, end))
        for place, found in enumerate(reader.past({instance: pod}, moments[low : high + 1]), start=low):
            if found:
                frames[place].update(found)
    return Arrivals(reader.layout, dict(frames))


def _reader(resource: SpecDecodeDeployment, mode: Mode, arm: Arm, version: EngineVersion) -> Reader:
    subject = subject_of(resource, Mode.OFF if arm is Arm.CONTROL else mode, version)
    return Reader(subject.metric_names, subject.num_speculative_tokens)


def _places(pods: Mapping[GroupKey, Mapping[str, Pod[Line]]]) -> dict[tuple[Mode, Arm], Mapping[str, Pod[Line]]]:
    """Pods by mode and arm, where both are known words."""
    modes, arms = set(Mode), set(Arm)
    return {(Mode(mode), Arm(arm)): group for (_, _, mode, arm), group in pods.items() if mode in modes and arm in arms}


def history_of(
    lines: Iterable[Line],
    choice: Choice,
    resource: SpecDecodeDeployment,
    version: EngineVersion,
    step_seconds: float | None = None,
) -> History | Problem:
    """What arrived of one deployment, at the moments at which the operator would have looked.

    `step_seconds` is the time between two of them; None: as long as between two scrapes.
    """
    subject = subject_of(resource, resource.requested_mode, version)
    pods = _pods(_summed(lines, choice, resource.requested_mode), subject.metric_names.running)
    places = {place: group for place, group in _places(pods).items() if any(pod.at for pod in group.values())}
    if not any(arm is Arm.MAIN for _, arm in places):
        return Problem("labels", "", _why_none(subject, choice, pods))
    scrapes = _scrapes(pods)
    interval = scrape_interval(scrapes)
    if interval is None:
        at = float(scrapes[0][0])
        message = (
            f"no pod was scraped twice (one scrape at {at:.0f}): what was counted is the difference of two scrapes"
        )
        return Problem("history", "", f"{message}; take a longer range")
    step = interval if step_seconds is None else step_seconds
    moments = looks(scrapes, step)
    return History(
        moments=moments,
        step_seconds=step,
        scrape_interval_seconds=interval,
        first_at=min(float(at[0]) for at in scrapes),
        last_at=max(float(at[-1]) for at in scrapes),
        arrivals={
            (mode, arm): _arrivals(_reader(resource, mode, arm, version), group, moments)
            for (mode, arm), group in places.items()
        },
        version=version,
    )


def _why_none(subject: Subject, choice: Choice, pods: Iterable[GroupKey]) -> str:
    return why_no_series(
        Subject((choice.namespace or "", choice.deployment), subject.mode, subject.metric_names, 0), set(pods)
    )
