"""One tick: ask Prometheus about every deployment at once, and split the answer in memory.

Every subject gets one of four words. A request that fails or answers in part makes all of them `Unreachable`: half a
picture is none, and what is remembered stays as it was. Nothing is read as zero that was not counted; a fact that is
missing where its neighbours are present makes the measurement `NoData`.

What is remembered between ticks, the counters of the slow window and the detectors, is lost with the process. For a
deployment that was settled before, it is read again from Prometheus; if that fails the judgement goes on without.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide.facts import Availability, Measurement
from specdecode.engine.metrics import MetricNames
from specdecode.observe.cache import BLOCK_SIZE, NUM_GPU_BLOCKS, cache_reading
from specdecode.observe.causes import Group, by_name, why_no_series, why_not
from specdecode.observe.follow import Followed
from specdecode.observe.glance import Glance, GlanceKey, Limit, glance_query, glances
from specdecode.observe.past import Slice, slices
from specdecode.observe.prometheus import Answer, Failure, Line, Lines, Past, Samples
from specdecode.observe.queries import (
    BOUND,
    FACT,
    NAME,
    Fact,
    Series,
    counters_query,
    tick_queries,
)
from specdecode.observe.readings import GroupKey, Pods, Reader, by_pod, group_key
from specdecode.observe.subject import Key, Subject

REBUILD_ATTEMPTS = 3


class Client(Protocol):
    """What is needed of a Prometheus client. It never raises on what the server says."""

    async def query(self, promql: str, *, at: datetime) -> Answer:
        """Evaluate a text at one instant."""

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        """Evaluate a text every `step_seconds` between two moments in Unix seconds."""


@dataclass(frozen=True)
class _Tick:
    """What all subjects of one tick share."""

    now: float
    groups: Mapping[GroupKey, Group]
    names_seen: Mapping[str, frozenset[GroupKey]]
    """Groups by deployment name: to say which label is missing."""
    series: int
    numbers: int
    """How many series there are, and how many of them are no bucket."""


def _groups(state: Samples, counters: Samples) -> dict[GroupKey, Group]:
    pods = by_pod((sample.labels, sample.value) for sample in counters.samples)
    groups = {key: Group(pods=found) for key, found in pods.items()}
    for sample in state.samples:
        group = groups.setdefault(group_key(sample.labels), Group())
        match sample.labels.get(FACT):
            case Fact.TARGETS:
                group.targets = sample.value
            case Fact.UP:
                group.up = sample.value
            case _:
                group.caches.append((sample.labels.get(NUM_GPU_BLOCKS, ""), sample.labels.get(BLOCK_SIZE, "")))
    for labels in (*state.not_finite, *counters.not_finite):
        groups.setdefault(group_key(labels), Group()).not_finite.add(labels.get(FACT) or labels.get(NAME, ""))
    return groups


def _tick(state: Samples, counters: Samples, now: float) -> _Tick:
    groups = _groups(state, counters)
    numbers = sum(BOUND not in sample.labels for sample in counters.samples)
    return _Tick(now, groups, by_name(groups), len(counters.samples), numbers)


class _Memory:
    """What is remembered of one subject, and how its pods are read."""

    def __init__(self, subject: Subject, scrape_interval_seconds: float) -> None:
        self.followed = Followed(subject, scrape_interval_seconds)
        self._readers: dict[Arm, Reader] = {}
        self.attempts_left = 0
        """How often reading the past may still be tried."""

    @property
    def subject(self) -> Subject:
        return self.followed.subject

    def keys(self) -> Mapping[Arm, GroupKey]:
        """The groups of both arms; the control arm only when one is wanted."""
        subject = self.subject
        main = {Arm.MAIN: (*subject.key, subject.mode.value, Arm.MAIN.value)}
        control = {Arm.CONTROL: (*subject.key, Mode.OFF.value, Arm.CONTROL.value)}
        return main if subject.control_names is None else main | control

    def _reader(self, arm: Arm, pods: Pods[float]) -> Reader:
        """Reads one arm by the edges that its pods have now."""
        reader = self._readers.get(arm)
        if reader is None:
            names = self.subject.metric_names if arm is Arm.MAIN else self.subject.control_names
            assert names is not None, "the control arm is only read where one is wanted"
            reader = self._readers[arm] = Reader(names, self.subject.num_speculative_tokens if arm is Arm.MAIN else 0)
        reader.follow(pods)
        return reader

    def take(self, tick: _Tick) -> None:
        """What the pods say now. What cannot be read in full is not read, nor what was scraped in the future: all that
        comes after it would look old, and then as if it had happened in a moment.
        """
        for arm, key in self.keys().items():
            group = tick.groups.get(key)
            if group is not None and not group.not_finite and not group.is_ahead(tick.now):
                reader = self._reader(arm, group.pods)
                self.followed.take(arm, reader.layout, reader.readings(group.pods), tick.now)

    def take_past(self, tick: _Tick, part: Slice, past: Mapping[GroupKey, Pods[Line]]) -> None:
        """What the pods said in a stretch of the past, by the edges that they have now."""
        moments = np.array([part.start + part.step_seconds * step for step in range(part.steps)])
        for arm, key in self.keys().items():
            now, then = tick.groups.get(key), past.get(key)
            if now is None or then is None:
                continue
            reader = self._reader(arm, now.pods)
            for moment, readings in zip(moments.tolist(), reader.past(then, moments), strict=True):
                self.followed.take(arm, reader.layout, readings, moment)


class Observer:
    """Measures deployments tick by tick, and remembers what that takes."""

    def __init__(self, client: Client, *, scrape_interval_seconds: float, namespaces: Sequence[str] = ()) -> None:
        self.problem = ""
        """Why the past could not be read at the last tick; empty when it could, or need not be."""
        self._client = client
        self._scrape_interval_seconds = scrape_interval_seconds
        self._namespaces = namespaces
        self._memories: dict[Key, _Memory] = {}

    async def glance(
        self, names: Sequence[MetricNames], limits: Iterable[Limit], now: datetime
    ) -> Mapping[GlanceKey, Glance] | None:
        """A glance at every deployment with such series, in one request; None: there was no answer."""
        text = glance_query(
            Series(names, self._namespaces), limits, scrape_interval_seconds=self._scrape_interval_seconds
        )
        answer = await self._client.query(text, at=now)
        if isinstance(answer, Failure):
            self.problem = f"deployments at rest were not looked at: {answer.cause}"
            return None
        return glances(answer)

    async def tick(
        self, subjects: Sequence[Subject], now: datetime, *, is_part: bool = False
    ) -> Mapping[Key, Measurement]:
        """Measure every subject, by key; `is_part`: they are few of many, and only they are asked about.

        All requests look at the same instant; there are at most eight, the glance before them included.
        """
        self.problem = ""
        self._remember(subjects, now.timestamp())
        if not subjects:
            return {}
        series = self._series(subjects, is_part=is_part)
        state, counters = await asyncio.gather(*(self._client.query(text, at=now) for text in tick_queries(series)))
        for answer in (state, counters):
            if isinstance(answer, Failure):
                return {
                    subject.key: Measurement(Availability.UNREACHABLE, answer.cause, subject.mode)
                    for subject in subjects
                }
        assert isinstance(state, Samples)
        assert isinstance(counters, Samples)
        tick = _tick(state, counters, now.timestamp())
        await self._read_past(tick, is_part=is_part)
        for memory in self._memories.values():
            memory.take(tick)
        return {key: self._measured(memory, tick) for key, memory in self._memories.items()}

    def _series(self, subjects: Sequence[Subject], *, is_part: bool) -> Series:
        names = tuple(dict.fromkeys(name for subject in subjects for name in subject.names))
        if not is_part:
            return Series(names, self._namespaces)
        namespaces, deployments = ({subject.key[place] for subject in subjects} for place in (0, 1))
        return Series(names, sorted(namespaces), sorted(deployments))

    def _remember(self, subjects: Sequence[Subject], now: float) -> None:
        """Keep what is remembered of these subjects, and forget the others."""
        memories: dict[Key, _Memory] = {}
        for subject in subjects:
            memory = self._memories.get(subject.key)
            if memory is None or memory.subject.identity != subject.identity:
                memory = _Memory(subject, self._scrape_interval_seconds)
                since = subject.settled_since
                # A mode that has only just begun has no past.
                has_past = since is not None and now - since > 2 * self._scrape_interval_seconds
                memory.attempts_left = REBUILD_ATTEMPTS if has_past else 0
            memory.followed.subject = subject
            memories[subject.key] = memory
        self._memories = memories

    async def _read_past(self, tick: _Tick, *, is_part: bool) -> None:
        """Read again what a predecessor of this process knew, for everybody who lacks it, in at most six requests."""
        lacking = [memory for memory in self._memories.values() if memory.attempts_left > 0]
        lacking = [memory for memory in lacking if memory.keys()[Arm.MAIN] in tick.groups]
        if not lacking:
            return
        series = self._series([memory.subject for memory in lacking], is_part=is_part)
        parts = slices(
            tick.now,
            since=min(memory.subject.settled_since or tick.now for memory in lacking),
            window_seconds=max(memory.followed.keep_seconds for memory in lacking),
            scrape_interval_seconds=self._scrape_interval_seconds,
            series=tick.series,
            numbers=tick.numbers,
            window_parts=2 if is_part else 3,
        )
        complete: list[Lines] = []
        for part in parts:
            # One after the other: an answer may take a hundred MiB while it is read.
            answer = await self._client.query_range(
                counters_query(series, has_buckets=part.has_buckets),
                start=part.start,
                end=part.end,
                step_seconds=part.step_seconds,
            )
            if isinstance(answer, Failure):
                self.problem = f"what happened before the start could not be read again: {answer.cause}"
                for memory in lacking:
                    memory.attempts_left -= 1
                return
            complete.append(answer)
        fresh = [_Memory(memory.subject, self._scrape_interval_seconds) for memory in lacking]
        for part, answer in zip(parts, complete, strict=True):
            past = by_pod((line.labels, line) for line in answer.lines)
            for memory in fresh:
                memory.take_past(tick, part, past)
                await asyncio.sleep(0)  # a large fleet must not keep the health check waiting
        self._memories |= {memory.subject.key: memory for memory in fresh}

    def _measured(self, memory: _Memory, tick: _Tick) -> Measurement:
        subject, keys = memory.subject, memory.keys()
        group = tick.groups.get(keys[Arm.MAIN])
        if group is None:
            cause = why_no_series(subject, tick.names_seen.get(subject.key[1], frozenset()))
            return Measurement(Availability.NO_DATA, cause, subject.mode)
        why = why_not(group, subject.metric_names, tick.now, self._scrape_interval_seconds)
        if why is not None:
            return Measurement(Availability.NO_DATA, why, subject.mode)
        measurement = memory.followed.measurement(
            tick.now,
            pods_up=round(group.up),
            age_seconds=group.age_seconds(tick.now),
            cache=cache_reading(group.caches),
        )
        return replace(measurement, control=self._control(memory, tick))

    def _control(self, memory: _Memory, tick: _Tick) -> Measurement | None:
        """The control arm, if one is wanted and seen."""
        key, names = memory.keys().get(Arm.CONTROL), memory.subject.control_names
        group = None if key is None else tick.groups.get(key)
        if group is None or names is None:
            return None
        why = why_not(group, names, tick.now, self._scrape_interval_seconds)
        if why is not None:
            return Measurement(Availability.NO_DATA, why, Mode.OFF, Arm.CONTROL)
        return memory.followed.control(tick.now, pods_up=round(group.up), age_seconds=group.age_seconds(tick.now))
