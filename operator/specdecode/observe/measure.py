"""One tick: ask Prometheus about every deployment at once, and split the answer in memory.

Every subject gets one of four words. A request that fails or answers in part makes all of them `Unreachable`: half a
picture is none. Nothing is read as zero that was not counted; a fact that is missing where its neighbours are present
makes the measurement `NoData`.
"""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide.facts import Availability, Histogram, Measurement, Window
from specdecode.decide.wording import span
from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.cache import BLOCK_SIZE, NUM_GPU_BLOCKS, cache_reading
from specdecode.observe.prometheus import Answer, Failure, Sample, Samples
from specdecode.observe.queries import (
    ARM,
    DEPLOYMENT,
    FACT,
    MODE,
    NAMESPACE,
    WINDOW,
    Fact,
    Series,
    Windows,
    range_text,
    tick_queries,
    windows,
)
from specdecode.observe.speculation import drafted
from specdecode.plan.ladder import speculation_of

Key = tuple[str, str]
"""Namespace and name of a deployment."""
GroupKey = tuple[str, str, str, str]
"""Namespace, deployment, mode and arm."""

MAX_AGE_SECONDS = 30.0
"""A sample may be this old, or three scrapes, whichever is longer."""
MAX_CLOCK_SKEW_SECONDS = 30.0

_BOUND = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|\+Inf")
"""The label `le` as Prometheus writes it."""


class Client(Protocol):
    """What `measure` needs of a Prometheus client."""

    async def query(self, promql: str, *, at: datetime) -> Answer:
        """Evaluate a text at one instant; never raises on what the server says."""


@dataclass(frozen=True)
class Subject:
    """One deployment to measure."""

    key: Key
    mode: Mode
    """The mode that runs."""
    metric_names: MetricNames
    window_seconds: float
    """`guard.window`."""
    num_speculative_tokens: int = 0
    """Tokens of the longest draft; 0: the mode does not speculate."""


def subject_of(resource: SpecDecodeDeployment, mode: Mode, version: EngineVersion) -> Subject:
    """A deployment whose pods run `mode` on an engine of `version`."""
    active = speculation_of(resource.spec, mode)
    method, tokens = (None, 0) if active is None else (active.method, active.num_speculative_tokens)
    return Subject(resource.key, mode, metric_names(version, method), resource.window_seconds, tokens)


@dataclass
class _Group:
    """What Prometheus said of one deployment, mode and arm. Filled while the answers are read, then only read."""

    facts: dict[tuple[str, str], float] = field(default_factory=dict)
    """By window (empty: no window) and fact."""
    buckets: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """By window and fact: upper bound and count."""
    caches: list[tuple[str, str]] = field(default_factory=list)
    """Blocks and block size that engines report, as written."""
    not_finite: set[str] = field(default_factory=set)
    """Facts whose value was NaN."""

    def state(self, fact: Fact) -> float | None:
        """A fact without a window."""
        return self.facts.get(("", fact))

    def within(self, window: str) -> dict[str, float]:
        """The facts of one window."""
        return {fact: value for (place, fact), value in self.facts.items() if place == window}


def _group_key(labels: Mapping[str, str]) -> GroupKey:
    return labels.get(NAMESPACE, ""), labels.get(DEPLOYMENT, ""), labels.get(MODE, ""), labels.get(ARM, "")


@lru_cache(maxsize=1024)
def _bound(text: str) -> float | None:
    """The upper bound of a bucket; None for what Prometheus would not write."""
    return float(text) if _BOUND.fullmatch(text) else None


def _read(group: _Group, sample: Sample) -> None:
    labels = sample.labels
    place = labels.get(WINDOW, ""), labels.get(FACT, "")
    if place[1] == Fact.CACHE:
        group.caches.append((labels.get(NUM_GPU_BLOCKS, ""), labels.get(BLOCK_SIZE, "")))
        return
    if "le" not in labels:
        group.facts[place] = sample.value
        return
    bound = _bound(labels["le"])
    if bound is not None:
        group.buckets[place].append((bound, sample.value))


def _grouped(answers: Iterable[Samples]) -> dict[GroupKey, _Group]:
    groups: dict[GroupKey, _Group] = defaultdict(_Group)
    for answer in answers:
        for sample in answer.samples:
            _read(groups[_group_key(sample.labels)], sample)
        for labels in answer.not_finite:
            groups[_group_key(labels)].not_finite.add(labels.get(FACT, ""))
    return dict(groups)


def _histogram(group: _Group, window: str, fact: Fact) -> Histogram | None:
    """A histogram, or None when any part of it is missing.

    Each bucket is extrapolated by itself, so a higher one may come out lower by a rounding: counts are made to ascend.
    """
    buckets = sorted(group.buckets.get((window, f"{fact}_bucket"), ()))
    total, count = group.facts.get((window, f"{fact}_sum")), group.facts.get((window, f"{fact}_count"))
    if total is None or count is None or not buckets or not math.isinf(buckets[-1][0]):
        return None
    ascending = accumulate((seen for _, seen in buckets), max)
    return Histogram(tuple(zip((bound for bound, _ in buckets), ascending, strict=True)), total, count)


def _window(subject: Subject, group: _Group, seconds: float) -> Window | None:
    """One window, or None when a part that must be there is missing.

    The counters of speculation are absent without it; some of them without the others are a broken answer, and reading
    the rest as zero would look like a collapse.
    """
    window = range_text(seconds)
    facts = group.within(window)
    counts_drafts = subject.metric_names.drafts is not None
    speculation = drafted(facts, subject.num_speculative_tokens, counts_drafts=counts_drafts)
    if not facts.keys() >= {Fact.REQUESTS, Fact.RUNNING} or speculation is None:
        return None
    return Window(
        seconds=seconds,
        drafts=speculation.drafts,
        draft_tokens=speculation.draft_tokens,
        accepted_tokens=speculation.accepted_tokens,
        requests=facts[Fact.REQUESTS],
        step_seconds_sum=facts.get(Fact.STEP_SUM, 0.0),
        step_count=facts.get(Fact.STEP_COUNT, 0.0),
        preemptions=facts.get(Fact.PREEMPTIONS, 0.0),
        tpot=_histogram(group, window, Fact.TPOT),
        ttft=_histogram(group, window, Fact.TTFT),
        e2e=_histogram(group, window, Fact.E2E),
        running_requests=facts[Fact.RUNNING],
        waiting_requests=facts.get(Fact.WAITING, 0.0),
        kv_cache_usage=facts.get(Fact.KV_CACHE_USAGE, 0.0),
    )


@dataclass(frozen=True)
class _Tick:
    """What all subjects of one tick share."""

    groups: Mapping[GroupKey, _Group]
    labels_seen: Mapping[str, frozenset[GroupKey]]
    """Groups by deployment name: to say which label is missing."""
    windows: Windows
    scrape_interval_seconds: float

    @property
    def max_age_seconds(self) -> float:
        """Older samples are stale."""
        return max(MAX_AGE_SECONDS, 3 * self.scrape_interval_seconds)


def _why_no_series(subject: Subject, tick: _Tick) -> str:
    namespace, name = subject.key
    seen = tick.labels_seen.get(name, frozenset())
    if any(key[0] == "" for key in seen):
        return f"the series of {name} carry no label {NAMESPACE}; let the scrape configuration copy it from the pod"
    own = [key for key in seen if key[0] == namespace]
    if any("" in key for key in own):
        return f"the series of {name} lack the label {MODE} or {ARM}; let the scrape configuration copy them"
    if own:
        modes = ", ".join(sorted({mode for _, _, mode, _ in own}))
        return f"Prometheus has series of {name} in mode {modes} and none in mode {subject.mode} yet"
    return (
        f"no pod of {name} is scraped: Prometheus has no series with {DEPLOYMENT}={name} in {namespace}; "
        "look at its scrape configuration or PodMonitor"
    )


def _why_not_up(group: _Group) -> str | None:
    """Why the pods say nothing, if they do not."""
    targets = group.state(Fact.TARGETS)
    if group.not_finite:
        return f"Prometheus answered NaN for {', '.join(sorted(group.not_finite))}"
    if not targets:
        return "no pod is scraped any more"
    if not group.state(Fact.UP):
        return f"the pods are down: {targets:.0f} scraped, none answers"
    return None


def _why_not_fresh(group: _Group, tick: _Tick) -> str | None:
    """Why the newest samples cannot be used, if they cannot."""
    age = group.state(Fact.AGE)
    if age is None:
        return "the pods answer scrapes without the metrics of vLLM; is --disable-log-stats set?"
    if age < -MAX_CLOCK_SKEW_SECONDS:
        return f"clock skew: samples lie more than {span(MAX_CLOCK_SKEW_SECONDS)} in the future"
    if age > tick.max_age_seconds:
        return f"stale: no sample for more than {span(tick.max_age_seconds)}"
    return None


def _is_idle(window: Window) -> bool:
    return window.running_requests == 0 and window.drafts == 0 and window.requests == 0


def _measured(subject: Subject, group: _Group, tick: _Tick) -> Measurement:
    fast = _window(subject, group, tick.windows.fast_seconds)
    slow = _window(subject, group, tick.windows.slow_seconds(subject.window_seconds))
    measurement = Measurement(
        Availability.MEASURED,
        "",
        subject.mode,
        Arm.MAIN,
        fast,
        slow,
        round(group.state(Fact.UP) or 0),
        group.state(Fact.AGE) or 0.0,
        cache_reading(group.caches),
    )
    if fast is None or slow is None:
        cause = "the window holds less than two scrapes, or a part of the counters is missing"
        return replace(measurement, availability=Availability.NO_DATA, cause=cause, fast=None, slow=None)
    if _is_idle(slow):
        cause = f"no request ran or finished within {span(slow.seconds)}"
        return replace(measurement, availability=Availability.NO_TRAFFIC, cause=cause)
    return measurement


def _of_subject(subject: Subject, tick: _Tick) -> Measurement:
    group = tick.groups.get((*subject.key, subject.mode, Arm.MAIN))
    if group is None:
        return Measurement(Availability.NO_DATA, _why_no_series(subject, tick), subject.mode)
    cause = _why_not_up(group) or _why_not_fresh(group, tick)
    if cause is not None:
        return Measurement(Availability.NO_DATA, cause, subject.mode)
    return _measured(subject, group, tick)


def _tick(answers: Sequence[Samples], asked: Windows, scrape_interval_seconds: float) -> _Tick:
    groups = _grouped(answers)
    labels_seen: dict[str, set[GroupKey]] = defaultdict(set)
    for key in groups:
        labels_seen[key[1]].add(key)
    seen = {name: frozenset(keys) for name, keys in labels_seen.items()}
    return _Tick(groups, seen, asked, scrape_interval_seconds)


async def measure(
    client: Client,
    subjects: Sequence[Subject],
    *,
    now: datetime,
    scrape_interval_seconds: float,
    namespaces: Sequence[str] = (),
) -> Mapping[Key, Measurement]:
    """Measure the main arm of every subject, by key. All requests look at the same instant, `now`.

    `namespaces` restricts the series; empty asks for all.
    """
    if not subjects:
        return {}
    asked = windows((subject.window_seconds for subject in subjects), scrape_interval_seconds)
    series = Series(tuple(dict.fromkeys(subject.metric_names for subject in subjects)), namespaces)
    answers = await asyncio.gather(*(client.query(text, at=now) for text in tick_queries(series, asked)))
    complete = [answer for answer in answers if isinstance(answer, Samples)]
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    if failures:
        return {
            subject.key: Measurement(Availability.UNREACHABLE, failures[0].cause, subject.mode) for subject in subjects
        }
    tick = _tick(complete, asked, scrape_interval_seconds)
    return {subject.key: _of_subject(subject, tick) for subject in subjects}
