"""Engines that count through time, and a Prometheus that scrapes them: it answers the operator's own queries."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from builders import NOW

from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.prometheus import Answer, Failure, Line, Lines, Past, Sample, Samples
from specdecode.observe.queries import series_of

T0 = NOW.timestamp()
NAMES = metric_names(EngineVersion(0, 32, 0))
RATES: Mapping[str, float] = {
    "drafts": 10.0,
    "draft_tokens": 50.0,
    "accepted_tokens": 37.5,
    "generation_tokens": 47.5,
    "requests": 2.0,
    "preemptions": 0.5,
    "step_sum": 0.4,
    "step_count": 10.0,
    "tpot_sum": 0.04,
    "tpot_count": 2.0,
    "ttft_sum": 0.2,
    "ttft_count": 2.0,
    "e2e_sum": 8.0,
    "e2e_count": 2.0,
}
"""Per second, by fact."""
BUCKETS: Mapping[str, Mapping[str, float]] = {
    "tpot": {"0.025": 1.5, "0.05": 2.0, "+Inf": 2.0},
    "ttft": {"0.1": 1.0, "+Inf": 2.0},
    "e2e": {"5.0": 1.5, "+Inf": 2.0},
}
GAUGES: Mapping[str, float] = {"running": 16.0, "waiting": 2.0, "kv_cache_usage": 0.4}


def labels(
    mode: str = "QuantizedDraft", arm: str = "main", namespace: str = "serving", name: str = "llama-70b"
) -> dict[str, str]:
    """Labels of a group; an empty one is missing."""
    every = {
        "namespace": namespace,
        "specdecode_io_deployment": name,
        "specdecode_io_mode": mode,
        "specdecode_io_arm": arm,
    }
    return {label: value for label, value in every.items() if value}


@dataclass(frozen=True)
class Engine:
    """One pod."""

    labels: Mapping[str, str] = field(default_factory=labels)
    instance: str = "10.0.0.1:8000"
    started: float = T0 - 86_400
    """Unix seconds; its counters are zero then. Before, an older process may have counted, see `before`."""
    before: float | None = None
    """Start of the process that ran until `started`."""
    interval: float = 15.0
    phase: float = 4.0
    """Seconds that its newest scrape lies before `NOW`."""
    lost: frozenset[int] = frozenset()
    """Scrapes that failed, counted back from the newest one before `NOW`."""
    names: MetricNames = NAMES
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    buckets: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: BUCKETS)
    gauges: Mapping[str, float] = field(default_factory=lambda: GAUGES)
    extra: Mapping[tuple[tuple[str, str], ...], float] = field(default_factory=dict)
    """More series with fixed values, by their own labels."""
    caches: tuple[tuple[str, str], ...] = ()
    not_a_number: tuple[str, ...] = ()
    """Facts that are NaN."""
    clock_ahead: float = 0.0
    """Seconds that the clock of Prometheus goes before ours."""
    has_metrics: bool = True
    targets: float | None = 1.0
    """None: Prometheus has no target for it any more."""
    up: float = 1.0

    def scraped_at(self, moment: float) -> float | None:
        """The newest scrape at a moment; None when there is none that is less than five minutes old."""
        newest = T0 - self.phase
        back = math.ceil((newest - moment) / self.interval - 1e-9)
        while back in self.lost:
            back += 1
        at = newest - back * self.interval
        begin = self.started if self.before is None else self.before
        return at if begin <= at and moment - at < 300 and self.has_metrics else None

    def counted_seconds(self, at: float) -> float:
        """How long the process that is scraped has been counting."""
        return at - (self.started if at >= self.started or self.before is None else self.before)

    def series(self, moment: float) -> Iterator[tuple[dict[str, str], float]]:
        """What Prometheus has of it, as the counters query names it."""
        at = self.scraped_at(moment)
        if at is None:
            return
        names, seconds = series_of(self.names), self.counted_seconds(at)
        pod = {**self.labels, "job": "vllm", "instance": self.instance}
        for fact, rate in self.rates.items():
            yield {**pod, "__name__": names[fact]}, self._value(fact, rate * seconds)
        for fact, value in self.gauges.items():
            yield {**pod, "__name__": names[fact]}, self._value(fact, value)
        for fact, buckets in self.buckets.items():
            for bound, rate in buckets.items():
                yield {**pod, "__name__": names[f"{fact}_bucket"], "le": bound}, rate * seconds
        for more, value in self.extra.items():
            yield {**pod, **dict(more)}, value
        if "running" in self.gauges:
            yield {**pod, "fact": "scraped_at"}, self._value("scraped_at", at + self.clock_ahead)

    def _value(self, fact: str, value: float) -> float:
        return math.nan if fact in self.not_a_number else value


@dataclass
class Prometheus:
    """Scrapes engines; may fail for one kind of request."""

    engines: tuple[Engine, ...] = ()
    failing: frozenset[str] = frozenset()
    """`state`, `counters`, `range`."""
    asked: list[tuple[str, float]] = field(default_factory=list)
    asked_ranges: list[tuple[str, float, float, float]] = field(default_factory=list)

    async def query(self, promql: str, *, at: datetime) -> Answer:
        moment = at.timestamp()
        self.asked.append((promql, moment))
        kind = "counters" if "timestamp(" in promql else "state"
        if kind in self.failing:
            return Failure("Prometheus answered only in part: store gateway 3 is down")
        found = list(self._state()) if kind == "state" else list(self._counters(promql, moment))
        return Samples(
            tuple(Sample(place, value) for place, value in found if math.isfinite(value)),
            tuple(place for place, value in found if not math.isfinite(value)),
        )

    def _state(self) -> Iterator[tuple[dict[str, str], float]]:
        groups: dict[tuple[tuple[str, str], ...], list[Engine]] = {}
        for engine in self.engines:
            groups.setdefault(tuple(engine.labels.items()), []).append(engine)
        for place, engines in groups.items():
            targets = [engine.targets for engine in engines if engine.targets is not None]
            if targets:
                bad = any("targets" in engine.not_a_number for engine in engines)
                yield {**dict(place), "fact": "targets"}, math.nan if bad else sum(targets)
                yield {**dict(place), "fact": "up"}, sum(engine.up for engine in engines)
            for blocks, size in {cache for engine in engines for cache in engine.caches}:
                yield {**dict(place), "fact": "cache", "num_gpu_blocks": blocks, "block_size": size}, 1.0

    def _counters(self, promql: str, moment: float) -> Iterator[tuple[dict[str, str], float]]:
        found = re.search(r'__name__=~"([^"]*)"', promql)
        assert found is not None
        wanted = {*found[1].split("|"), None}
        for engine in self.engines:
            for place, value in engine.series(moment):
                if place.get("__name__") in wanted:
                    yield place, value

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        self.asked_ranges.append((promql, start, end, step_seconds))
        if "range" in self.failing:
            return Failure("Prometheus answered 503: too many samples")
        points: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        moment = start
        while moment <= end + 1e-6:
            for place, value in self._counters(promql, moment):
                if math.isfinite(value):
                    points.setdefault(tuple(place.items()), []).append((moment, value))
            moment += step_seconds
        return Lines(
            tuple(
                Line(dict(place), np.array([at for at, _ in found]), np.array([value for _, value in found]))
                for place, found in points.items()
            )
        )


def without(engine: Engine, *facts: str) -> Engine:
    """An engine that lacks some series."""
    return replace(
        engine,
        rates={fact: rate for fact, rate in engine.rates.items() if fact not in facts},
        gauges={fact: value for fact, value in engine.gauges.items() if fact not in facts},
        buckets={fact: buckets for fact, buckets in engine.buckets.items() if fact not in facts},
    )
