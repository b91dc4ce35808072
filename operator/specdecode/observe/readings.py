"""From series to readings: what Prometheus answers, told apart by group and pod. Pure.

The same steps serve one instant, where a series is a number, and a stretch of the past, where it is a line.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from specdecode.engine.metrics import MetricNames
from specdecode.observe.prometheus import Line
from specdecode.observe.queries import (
    ARM,
    BOUND,
    DEPLOYMENT,
    FACT,
    HISTOGRAMS,
    INSTANCE,
    JOB,
    MODE,
    NAME,
    NAMESPACE,
    TEMPERATURE,
    Fact,
    series_of,
)
from specdecode.observe.track import Floats, Layout, Reading, layout_of, temperature_family

GroupKey = tuple[str, str, str, str]
"""Namespace, deployment, mode and arm."""

T = TypeVar("T")

_BOUND = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|\+Inf")
"""The label `le` as Prometheus writes it."""


@dataclass
class Pod(Generic[T]):
    """What one pod says, by series. Filled while the answers are read, then only read."""

    at: T | None = None
    """Unix seconds of the scrape; None: the pod does not expose the metrics of vLLM."""
    numbers: dict[str, T] = field(default_factory=dict)
    """By name, or by name and temperature, see `_series`."""
    buckets: dict[str, dict[float, T]] = field(default_factory=lambda: defaultdict(dict))
    """The same, and by upper bound."""


Pods = Mapping[str, Pod[T]]
"""By job and instance."""


def group_key(labels: Mapping[str, str]) -> GroupKey:
    """Whose series it is."""
    return labels.get(NAMESPACE, ""), labels.get(DEPLOYMENT, ""), labels.get(MODE, ""), labels.get(ARM, "")


@lru_cache(maxsize=1024)
def _bound(text: str) -> float | None:
    """The upper bound of a bucket; None for what Prometheus would not write."""
    return float(text) if _BOUND.fullmatch(text) else None


def _series(name: str, temperature: str) -> str:
    return f"{name}@{temperature}" if temperature else name


def _take(pod: Pod[T], labels: Mapping[str, str], value: T) -> None:
    if labels.get(FACT) == Fact.SCRAPED_AT:
        pod.at = value
        return
    series = _series(labels.get(NAME, ""), labels.get(TEMPERATURE, ""))
    if BOUND not in labels:
        pod.numbers[series] = value
        return
    bound = _bound(labels[BOUND])
    if bound is not None:
        pod.buckets[series][bound] = value


def by_pod(items: Iterable[tuple[Mapping[str, str], T]]) -> dict[GroupKey, dict[str, Pod[T]]]:
    """Series of the counters query, by group and pod."""
    groups: dict[GroupKey, dict[str, Pod[T]]] = defaultdict(lambda: defaultdict(Pod))
    for labels, value in items:
        pod = groups[group_key(labels)][f"{labels.get(JOB, '')}/{labels.get(INSTANCE, '')}"]
        _take(pod, labels, value)
    return {key: dict(pods) for key, pods in groups.items()}


def _shared(pods: Iterable[Pod[T]], series: str) -> frozenset[float]:
    """Bounds that every pod with this histogram has: with fewer bounds an interval gets wider, never wrong."""
    found = [frozenset(pod.buckets[series]) for pod in pods if series in pod.buckets]
    return frozenset.intersection(*found) if found else frozenset()


class Reader:
    """Reads the pods of one engine version by the layout that they have in common."""

    def __init__(self, names: MetricNames, num_speculative_tokens: int) -> None:
        self._names = names
        self._tokens = num_speculative_tokens
        self._series = series_of(names)
        self._bounds: dict[str, frozenset[float]] = {}
        self._lay_out({})

    def follow(self, pods: Pods[T]) -> None:
        """Take the edges of these pods; without pods the old ones stay."""
        bounds = self._edges(tuple(pods.values()))
        if pods and bounds != self._bounds:
            self._lay_out(bounds)

    def _edges(self, pods: tuple[Pod[T], ...]) -> dict[str, frozenset[float]]:
        exposed = [(str(fact), self._series.get(f"{fact}_bucket")) for fact, _ in HISTOGRAMS]
        found = {fact: _shared(pods, name) for fact, name in exposed if name is not None}
        prefix = _series(self._series[f"{Fact.ACCEPTANCE}_bucket"], "@")[:-1]
        metered = sorted({name for pod in pods for name in pod.buckets if name.startswith(prefix)})
        found |= {temperature_family(name.removeprefix(prefix)): _shared(pods, name) for name in metered}
        return {fact: bounds for fact, bounds in found.items() if bounds}

    def _lay_out(self, bounds: dict[str, frozenset[float]]) -> None:
        self._bounds = bounds
        self.layout: Layout = layout_of(self._names, bounds, self._tokens)
        self._places = [
            (self._on_the_wire(column, ""), None)
            if isinstance(column, str)
            else (self._on_the_wire(column[0], "_bucket"), column[1])
            for column in self.layout.columns
        ]

    def _on_the_wire(self, fact: str, suffix: str) -> str:
        """The series of a fact, or of a family of temperatures with the suffix of its part."""
        family, _, temperature = fact.partition("@")
        for part in ("_sum", "_count"):
            if temperature.endswith(part):
                temperature, suffix = temperature.removesuffix(part), part
        return _series(self._series[f"{family}{suffix}"], temperature)

    def _values(self, pod: Pod[T]) -> Iterator[T | None]:
        for series, bound in self._places:
            yield pod.numbers.get(series) if bound is None else pod.buckets.get(series, {}).get(bound)

    def _gauges(self, pod: Pod[T]) -> tuple[T | None, T | None, T | None]:
        gauges = (pod.numbers.get(self._series[fact]) for fact in (Fact.RUNNING, Fact.WAITING, Fact.KV_CACHE_USAGE))
        running, waiting, usage = gauges
        return running, waiting, usage

    def reading(self, pod: Pod[float]) -> Reading | None:
        """A pod at one instant; None when it does not expose the metrics of vLLM."""
        if pod.at is None:
            return None
        counters = np.array([math.nan if value is None else value for value in self._values(pod)], dtype=np.float64)
        return Reading(pod.at, counters, *(value or 0.0 for value in self._gauges(pod)))

    def readings(self, pods: Pods[float]) -> dict[str, Reading]:
        """The pods at one instant, by instance."""
        found = {instance: self.reading(pod) for instance, pod in pods.items()}
        return {instance: reading for instance, reading in found.items() if reading is not None}

    def past(self, pods: Pods[Line], moments: Floats) -> list[dict[str, Reading]]:
        """The pods at each of the moments at which a stretch of the past was evaluated."""
        found: list[dict[str, Reading]] = [{} for _ in moments]
        for instance, pod in pods.items():
            if pod.at is None:
                continue
            lines = (pod.at, *self._gauges(pod), *self._values(pod))
            table = np.full((len(moments), len(lines)), math.nan)
            for place, line in enumerate(lines):
                if line is not None:
                    table[np.searchsorted(moments, line.at - 1e-3), place] = line.values
            for moment, row in enumerate(table):
                if not math.isnan(row[0]):
                    at, running, waiting, usage = np.nan_to_num(row[:4]).tolist()
                    found[moment][instance] = Reading(at, row[4:], running, waiting, usage)
        return found
