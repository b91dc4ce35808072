"""Counters of one deployment, mode and arm through time: readings in, increments out. Pure.

Each pod is followed by itself, scrape by scrape, and what it counted since its last scrape becomes part of a batch:

    a counter fell         the pod restarted: everything in the new reading was counted since
    a scrape was lost      the next increment spans it
    a pod is new           its first reading is where it starts; what it counted before belongs to no interval
    a counter is new       the same, also for a known pod: a series that a changed scrape configuration lets through
                           may hold days; one that paused would span more time than its neighbours
    a pod is gone          it is forgotten after a while

Production, backtest and simulation use the same code.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from specdecode.decide.facts import Batch, Histogram, TemperatureBucket, Window
from specdecode.engine.metrics import Edges, MetricNames
from specdecode.observe.queries import HISTOGRAMS, Fact, series_of
from specdecode.observe.speculation import Drafted, drafted

Floats = NDArray[np.float64]
Column = str | tuple[str, float]
"""A fact, or a histogram and the upper bound of one of its buckets."""

_SINGLE = (
    Fact.DRAFTS,
    Fact.DRAFT_TOKENS,
    Fact.ACCEPTED_TOKENS,
    Fact.EMITTED_TOKENS,
    Fact.GENERATION_TOKENS,
    Fact.REQUESTS,
    Fact.PREEMPTIONS,
    Fact.STEP_SUM,
    Fact.STEP_COUNT,
)
_SPECULATION = (Fact.DRAFTS, Fact.DRAFT_TOKENS, Fact.ACCEPTED_TOKENS, Fact.EMITTED_TOKENS)
_TPOT_SUM = f"{Fact.TPOT}_sum"
_TPOT_COUNT = f"{Fact.TPOT}_count"

_SAME = 1 - 1e-9
"""A sum over engines may come out lower by a rounding; a restart is more than that."""


def temperature_family(temperature: str) -> str:
    """The histogram of acceptance at one range of temperatures, as a fact."""
    return f"{Fact.ACCEPTANCE}@{temperature}"


@dataclass(frozen=True)
class _Columns:
    """Where one histogram is."""

    bounds: tuple[float, ...]
    buckets: slice
    sum: int
    count: int


@dataclass(frozen=True)
class Layout:
    """Which column of a reading is which counter, and how the counters of speculation are to be read."""

    columns: tuple[Column, ...]
    num_speculative_tokens: int = 0
    """Tokens of the longest draft; 0: the mode does not speculate."""
    counts_drafts: bool = True
    """Whether the engine's version has a counter for drafts."""

    @cached_property
    def index(self) -> Mapping[Column, int]:
        """The place of each column."""
        return {column: place for place, column in enumerate(self.columns)}

    @cached_property
    def single(self) -> tuple[tuple[str, int], ...]:
        """The counters that are no part of a bucket, with their place."""
        return tuple((column, place) for column, place in self.index.items() if isinstance(column, str))

    @cached_property
    def speculation(self) -> NDArray[np.intp]:
        """Places of the counters of speculation."""
        return np.array([self.index[fact] for fact in _SPECULATION if fact in self.index], dtype=np.intp)

    @cached_property
    def histograms(self) -> Mapping[str, _Columns]:
        """Where the histograms are, by fact."""
        bounds: dict[str, list[float]] = {}
        for column in self.columns:
            if isinstance(column, tuple):
                bounds.setdefault(column[0], []).append(column[1])
        return {
            fact: _Columns(
                tuple(edges),
                slice(self.index[fact, edges[0]], self.index[fact, edges[-1]] + 1),
                self.index[f"{fact}_sum"],
                self.index[f"{fact}_count"],
            )
            for fact, edges in bounds.items()
        }

    def row(self, values: Mapping[Column, float]) -> Floats:
        """Cumulative counters in the order of the columns; what is not in `values` is unknown."""
        return np.array([values.get(column, math.nan) for column in self.columns], dtype=np.float64)


def layout_of(names: MetricNames, bounds: Mapping[str, Iterable[float]], num_speculative_tokens: int = 0) -> Layout:
    """The layout of an engine with these names. `bounds` holds the upper bounds of its histograms in seconds, by fact
    (`tpot`, `ttft`, `e2e`, or that of `temperature_family`); the infinite one may be left out.
    """
    known = series_of(names)
    columns: list[Column] = [fact for fact in _SINGLE if fact in known]
    columns += (_TPOT_SUM, _TPOT_COUNT) if names.tpot is not None and Fact.TPOT not in bounds else ()
    for fact, edges in bounds.items():
        ascending = sorted({*edges, math.inf})
        columns += (f"{fact}_sum", f"{fact}_count", *((fact, edge) for edge in ascending))
    return Layout(tuple(columns), num_speculative_tokens, names.drafts is not None)


def standard_layout(names: MetricNames, edges: Edges, num_speculative_tokens: int = 0) -> Layout:
    """The layout of an engine whose histograms have the edges of its version."""
    bounds = {Fact.TPOT: edges.tpot_seconds, Fact.TTFT: edges.ttft_seconds, Fact.E2E: edges.e2e_seconds}
    exposed = {str(fact): bounds[fact] for fact, attribute in HISTOGRAMS if getattr(names, attribute) is not None}
    return layout_of(names, exposed, num_speculative_tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One pod at one scrape, summed over its engines."""

    at: float
    """Unix seconds of the scrape."""
    counters: Floats
    """Cumulative, by the columns of a `Layout`; NaN: the pod has no such series. Never changed once taken."""
    running: float = 0.0
    waiting: float = 0.0
    kv_cache_usage: float = 0.0
    """0..1."""


def reading_of(layout: Layout, at: float, values: Mapping[Column, float]) -> Reading:
    """A reading from values by fact, counters and gauges alike; buckets by fact and upper bound."""
    return Reading(
        at,
        layout.row(values),
        values.get(Fact.RUNNING, 0.0),
        values.get(Fact.WAITING, 0.0),
        values.get(Fact.KV_CACHE_USAGE, 0.0),
    )


class _Rows:
    """Rows of numbers that grow at the end and are forgotten at the beginning."""

    def __init__(self, width: int) -> None:
        self._values = np.zeros((64, width))
        self._known = np.zeros((64, width), dtype=np.bool_)
        self._gauges = np.zeros((64, 4))
        self.end = 0

    def add(self, values: Floats, known: NDArray[np.bool_], gauges: tuple[float, float, float, float]) -> None:
        """A batch: increments, which of them are known, and seconds, running, waiting, usage of the cache."""
        if self.end == len(self._values):
            self._values = np.concatenate((self._values, np.zeros_like(self._values)))
            self._known = np.concatenate((self._known, np.zeros_like(self._known)))
            self._gauges = np.concatenate((self._gauges, np.zeros_like(self._gauges)))
        self._values[self.end] = values
        self._known[self.end] = known
        self._gauges[self.end] = gauges
        self.end += 1

    def drop(self, count: int) -> None:
        """Forget the oldest rows."""
        left = self.end - count
        for table in (self._values, self._known, self._gauges):
            table[:left] = table[count : self.end].copy()
        self.end = left

    def since(self, start: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Sum of the rows from `start` on, and which columns are known in any of them."""
        values: Floats = np.add.reduce(self._values[start : self.end])
        return values, np.logical_or.reduce(self._known[start : self.end])

    def gauges(self, start: int) -> tuple[float, float, float]:
        """Running and waiting, means over time, and the highest usage of the cache, of the rows from `start` on."""
        part = self._gauges[start : self.end]
        seconds = part[:, 0]
        running, waiting = (seconds @ part[:, 1:3] / np.add.reduce(seconds)).tolist()
        return running, waiting, float(np.maximum.reduce(part[:, 3]))

    def laid_out(self, old_places: Sequence[int], new_places: Sequence[int], width: int) -> "_Rows":
        """The same rows with other columns; new ones are unknown."""
        after = _Rows(width)
        after.end, after._gauges = self.end, self._gauges
        after._values = np.zeros((len(self._values), width))
        after._known = np.zeros((len(self._values), width), dtype=np.bool_)
        after._values[:, new_places] = self._values[:, old_places]
        after._known[:, new_places] = self._known[:, old_places]
        return after


class Track:
    """One deployment, mode and arm. `keep_seconds` is the longest window that will be asked for."""

    def __init__(self, layout: Layout, keep_seconds: float) -> None:
        self.layout = layout
        self.keep_seconds = keep_seconds
        self._last: dict[str, Reading] = {}
        self._rows = _Rows(len(layout.columns))
        self._batches: list[Batch] = []
        self._ends: list[float] = []
        self._broken_at = -math.inf

    def take(self, readings: Mapping[str, Reading], now: float) -> Batch | None:
        """Take the newest reading of each pod, by instance; None when nothing was counted since the last take.

        What is not newer than what is known is ignored. `now` is Unix seconds.
        """
        parts: list[Floats] = []
        seconds: list[float] = []
        new: list[Reading] = []
        for instance, reading in readings.items():
            last = self._last.get(instance)
            if last is not None and reading.at <= last.at:
                continue
            self._last[instance] = reading
            if last is not None and reading.at - last.at <= self.keep_seconds:
                parts.append(self._increment(last, reading))
                seconds.append(reading.at - last.at)
                new.append(reading)
        self._forget(now)
        if not parts:
            return None
        return self._add(parts, sum(seconds) / len(seconds), new)

    @staticmethod
    def _increment(last: Reading, reading: Reading) -> Floats:
        """What one pod counted between two readings; NaN where one of them does not say."""
        old, new = last.counters, reading.counters
        increment: Floats = new - old
        if increment.min() >= 0:
            return increment
        # Some counter fell, or is not known: NaN compares as false.
        return new if (new < old * _SAME).any() else np.maximum(increment, 0.0)

    def _is_broken(self, increment: Floats, known: NDArray[np.bool_]) -> bool:
        """Whether one counter of speculation is missing beside the others: read as zero it would look like a
        collapse.
        """
        places = self.layout.speculation
        count = int(np.count_nonzero(known[places]))
        if count in (0, len(places)):
            return False
        facts = {str(self.layout.columns[place]): float(increment[place]) for place in places if known[place]}
        return self._drafted(facts) is None

    def _drafted(self, facts: Mapping[str, float]) -> Drafted | None:
        return drafted(facts, self.layout.num_speculative_tokens, counts_drafts=self.layout.counts_drafts)

    def _add(self, parts: Sequence[Floats], seconds: float, new: Sequence[Reading]) -> Batch:
        values = np.zeros(len(self.layout.columns))
        known = np.zeros(len(self.layout.columns), dtype=np.bool_)
        at = max(reading.at for reading in new)
        at = max(at, self._ends[-1]) if self._ends else at
        for increment in parts:
            is_known = ~np.isnan(increment)
            if self._is_broken(increment, is_known):
                self._broken_at = at
            values += np.where(is_known, increment, 0.0)
            known |= is_known
        running = sum(reading.running for reading in new) / len(new)
        waiting = sum(reading.waiting for reading in new) / len(new)
        self._rows.add(values, known, (seconds, running, waiting, max(reading.kv_cache_usage for reading in new)))
        batch = self._batch(at, seconds, running, self._facts(values.tolist(), known))
        self._batches.append(batch)
        self._ends.append(at)
        return batch

    def _facts(self, numbers: Sequence[float], known: NDArray[np.bool_]) -> dict[str, float]:
        are_known = known.tolist()
        return {fact: numbers[place] for fact, place in self.layout.single if are_known[place]}

    def _batch(self, at: float, seconds: float, running: float, facts: Mapping[str, float]) -> Batch:
        speculation = (self._drafted(facts) if self._broken_at < at else None) or Drafted()
        return Batch(
            at=at,
            seconds=seconds,
            drafts=speculation.drafts,
            draft_tokens=speculation.draft_tokens,
            accepted_tokens=speculation.accepted_tokens,
            generation_tokens=facts.get(Fact.GENERATION_TOKENS, 0.0),
            requests=facts.get(Fact.REQUESTS, 0.0),
            step_seconds_sum=facts.get(Fact.STEP_SUM, 0.0),
            step_count=facts.get(Fact.STEP_COUNT, 0.0),
            tpot_seconds_sum=facts.get(_TPOT_SUM, 0.0),
            tpot_count=facts.get(_TPOT_COUNT, 0.0),
            running_requests=running,
        )

    def _forget(self, now: float) -> None:
        oldest = now - self.keep_seconds
        gone = [instance for instance, reading in self._last.items() if reading.at < oldest]
        for instance in gone:
            del self._last[instance]
        count = bisect_right(self._ends, oldest)
        # Moving rows costs more than keeping some that no window reaches.
        if count >= max(32, len(self._ends) // 2):
            self._rows.drop(count)
            del self._ends[:count], self._batches[:count]

    def _start(self, seconds: float, now: float) -> int:
        return bisect_right(self._ends, now - seconds)

    def batches(self, seconds: float, now: float) -> tuple[Batch, ...]:
        """The batches that ended within the last `seconds`, oldest first."""
        return tuple(self._batches[self._start(seconds, now) :])

    def window(self, seconds: float, now: float) -> Window | None:
        """What the batches that ended within the last `seconds` say together.

        None when there is none, because it takes two scrapes to count, or when a counter that must be there is
        missing.
        """
        start = self._start(seconds, now)
        if start == len(self._ends) or self._broken_at > now - seconds:
            return None
        values, known = self._rows.since(start)
        numbers = values.tolist()
        facts = self._facts(numbers, known)
        speculation = self._drafted(facts)
        if Fact.REQUESTS not in facts or speculation is None:
            return None
        running, waiting, usage = self._rows.gauges(start)
        return Window(
            seconds=seconds,
            drafts=speculation.drafts,
            draft_tokens=speculation.draft_tokens,
            accepted_tokens=speculation.accepted_tokens,
            requests=facts[Fact.REQUESTS],
            step_seconds_sum=facts.get(Fact.STEP_SUM, 0.0),
            step_count=facts.get(Fact.STEP_COUNT, 0.0),
            preemptions=facts.get(Fact.PREEMPTIONS, 0.0),
            tpot=self._histogram(Fact.TPOT, numbers, facts),
            ttft=self._histogram(Fact.TTFT, numbers, facts),
            e2e=self._histogram(Fact.E2E, numbers, facts),
            generation_tokens=facts.get(Fact.GENERATION_TOKENS, 0.0),
            running_requests=running,
            waiting_requests=waiting,
            kv_cache_usage=usage,
        )

    def _histogram(self, fact: str, numbers: Sequence[float], facts: Mapping[str, float]) -> Histogram | None:
        """A histogram, or None when any part of it is missing in any of the batches."""
        columns = self.layout.histograms.get(fact)
        if columns is None or f"{fact}_sum" not in facts or f"{fact}_count" not in facts:
            return None
        counts, total = numbers[columns.buckets], facts[f"{fact}_count"]
        if abs(counts[-1] - total) > 1e-6 * max(1.0, total):
            return None
        return Histogram(tuple(zip(columns.bounds, counts, strict=True)), facts[f"{fact}_sum"], total)

    def temperatures(self, seconds: float, now: float) -> tuple[TemperatureBucket, ...]:
        """Acceptance per request at each range of temperatures, over the batches within the last `seconds`."""
        prefix = temperature_family("")
        families = [fact for fact in self.layout.histograms if fact.startswith(prefix)]
        start = self._start(seconds, now)
        if not families or start == len(self._ends):
            return ()
        values, known = self._rows.since(start)
        numbers = values.tolist()
        facts = self._facts(numbers, known)
        found = ((family.removeprefix(prefix), self._histogram(family, numbers, facts)) for family in families)
        return tuple(TemperatureBucket(name, acceptance) for name, acceptance in found if acceptance is not None)

    def lay_out(self, layout: Layout) -> None:
        """Go on with other columns, as when an engine comes with other edges. What is new is unknown until now."""
        common = [column for column in layout.columns if column in self.layout.index]
        old = [self.layout.index[column] for column in common]
        new = [layout.index[column] for column in common]
        self._rows = self._rows.laid_out(old, new, len(layout.columns))
        for instance, reading in self._last.items():
            counters = np.full(len(layout.columns), math.nan)
            counters[new] = reading.counters[old]
            self._last[instance] = Reading(reading.at, counters)
        self.layout = layout
