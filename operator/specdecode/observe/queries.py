"""PromQL for one tick: at most eight requests whatever the number of deployments. Pure; it asks nobody.

Series are found by our own labels, which Prometheus copies from the pods, and split again in memory. Nothing that a
user of the cluster wrote enters a query; the one variable text, the namespaces, comes from the operator's settings.

One request per window returns every increase in it, told apart by the labels `fact` and `window`; one more returns what
has no window. `_created` gauges never match, because names are exact.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.vocabulary import LABEL_ARM, LABEL_DEPLOYMENT, LABEL_MODE
from specdecode.engine.metrics import MetricNames
from specdecode.observe.cache import BLOCK_SIZE, NUM_GPU_BLOCKS


def _prometheus_label(name: str) -> str:
    """A Kubernetes label name as service discovery writes it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


NAMESPACE = "namespace"
DEPLOYMENT = _prometheus_label(LABEL_DEPLOYMENT)
MODE = _prometheus_label(LABEL_MODE)
ARM = _prometheus_label(LABEL_ARM)
GROUP = (NAMESPACE, DEPLOYMENT, MODE, ARM)
"""Labels that tell one series of a deployment, mode and arm from another."""

FACT = "fact"
WINDOW = "window"

FAST_WINDOW_SCRAPES = 4
"""Two samples make an increase; four survive a lost scrape."""
MAX_SLOW_WINDOWS = 6
"""One request each; with the fast window and the state that makes eight."""

_LADDER_SECONDS = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
_SHORT_LADDER_SECONDS = (60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0)


class Fact(StrEnum):
    """What a sample says. Histograms add `_bucket`, `_sum` and `_count`."""

    DRAFTS = "drafts"
    DRAFT_TOKENS = "draft_tokens"
    ACCEPTED_TOKENS = "accepted_tokens"
    EMITTED_TOKENS = "emitted_tokens"
    REQUESTS = "requests"
    PREEMPTIONS = "preemptions"
    STEP_SUM = "step_sum"
    STEP_COUNT = "step_count"
    TPOT = "tpot"
    TTFT = "ttft"
    E2E = "e2e"
    RUNNING = "running"
    WAITING = "waiting"
    KV_CACHE_USAGE = "kv_cache_usage"
    TARGETS = "targets"
    UP = "up"
    AGE = "age"
    CACHE = "cache"
    """Its labels say it; the value says nothing."""


@dataclass(frozen=True)
class Windows:
    """The windows of one tick, in seconds."""

    fast_seconds: float
    ladder_seconds: tuple[float, ...]
    """Slow windows that are asked for, ascending."""

    def slow_seconds(self, asked_seconds: float) -> float:
        """The window that stands for `guard.window`: the same, or the next longer one."""
        return next((rung for rung in self.ladder_seconds if rung >= asked_seconds), self.ladder_seconds[-1])

    @property
    def every(self) -> tuple[float, ...]:
        """Every window, each once."""
        return tuple(sorted({self.fast_seconds, *self.ladder_seconds}))


def windows(asked_seconds: Iterable[float], scrape_interval_seconds: float) -> Windows:
    """The windows to ask for. `asked_seconds` holds at least one `guard.window`, each at most an hour.

    More than six distinct ones are rounded up to a ladder. A window shorter than the fast one holds too few scrapes
    and is lengthened to it.
    """
    fast = FAST_WINDOW_SCRAPES * scrape_interval_seconds
    distinct = sorted({max(seconds, fast) for seconds in asked_seconds})
    for ladder in (_LADDER_SECONDS, _SHORT_LADDER_SECONDS):
        if len(distinct) > MAX_SLOW_WINDOWS:
            rungs = (*ladder, distinct[-1])
            distinct = sorted({next(rung for rung in rungs if rung >= seconds) for seconds in distinct})
    return Windows(fast, tuple(distinct[-MAX_SLOW_WINDOWS:]))


_COUNTERS = (
    (Fact.DRAFTS, "drafts"),
    (Fact.DRAFT_TOKENS, "draft_tokens"),
    (Fact.ACCEPTED_TOKENS, "accepted_tokens"),
    (Fact.EMITTED_TOKENS, "emitted_tokens"),
    (Fact.REQUESTS, "finished_requests"),
    (Fact.PREEMPTIONS, "preemptions"),
)
"""Facts and the attribute of `MetricNames` with their counter."""
_HISTOGRAMS = ((Fact.TPOT, "tpot"), (Fact.TTFT, "ttft"), (Fact.E2E, "e2e"))


@dataclass(frozen=True)
class Series:
    """What is asked about: the names of every engine version in use, and the pods of this operator."""

    names: Sequence[MetricNames]
    namespaces: Sequence[str] = ()
    """Only these; empty: every namespace."""

    @property
    def selector(self) -> str:
        """Label matchers. JSON quotes as PromQL does: both escape quotes, backslashes and control characters."""
        matchers = [f'{DEPLOYMENT}!=""']
        if self.namespaces:
            pattern = "|".join(re.escape(namespace) for namespace in self.namespaces)
            matchers.append(f"{NAMESPACE}=~{json.dumps(pattern, ensure_ascii=False)}")
        return f"{{{','.join(matchers)}}}"

    def of(self, attribute: str) -> tuple[str, ...]:
        """The distinct metric names of one attribute of `MetricNames`."""
        names = (getattr(version, attribute) for version in self.names)
        return tuple(dict.fromkeys(name for name in names if name is not None))


def range_text(seconds: float) -> str:
    """A range as PromQL and the label `window` write it: `300s`, or `1300ms`."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _labelled(expression: str, label: str, value: str) -> str:
    return f'label_replace({expression},"{label}","{value}","","")'


def _union(expressions: Iterable[str]) -> str:
    """Series of the left side win over equal ones of the right; the label `fact` keeps different facts apart."""
    return " or ".join(expressions)


def _by(*more: str) -> str:
    return f"by ({','.join((*GROUP, *more))})"


def _counters(series: Series, window: str) -> Iterable[str]:
    for fact, attribute in _COUNTERS:
        for name in series.of(attribute):
            yield _labelled(f"sum {_by()} (increase({name}{series.selector}[{window}]))", FACT, fact)
    for suffix, fact in (("sum", Fact.STEP_SUM), ("count", Fact.STEP_COUNT)):
        for name in series.of("itl"):
            yield _labelled(f"sum {_by()} (increase({name}_{suffix}{series.selector}[{window}]))", FACT, fact)


def _histograms(series: Series, window: str) -> Iterable[str]:
    for fact, attribute in _HISTOGRAMS:
        for name in series.of(attribute):
            for suffix, by in (("bucket", _by("le")), ("sum", _by()), ("count", _by())):
                increase = f"sum {by} (increase({name}_{suffix}{series.selector}[{window}]))"
                yield _labelled(increase, FACT, f"{fact}_{suffix}")


def _gauges(series: Series, window: str) -> Iterable[str]:
    # A pod with several engines (data parallel) has a series per engine: summed per pod, then averaged over pods.
    for fact, attribute in ((Fact.RUNNING, "running"), (Fact.WAITING, "waiting")):
        for name in series.of(attribute):
            per_pod = f"sum {_by('instance')} (avg_over_time({name}{series.selector}[{window}]))"
            yield _labelled(f"avg {_by()} ({per_pod})", FACT, fact)
    for name in series.of("kv_cache_usage"):
        usage = f"max {_by()} (max_over_time({name}{series.selector}[{window}]))"
        yield _labelled(usage, FACT, Fact.KV_CACHE_USAGE)


def window_query(series: Series, window_seconds: float) -> str:
    """Everything that happened in one window, in one request."""
    window = range_text(window_seconds)
    parts = (*_counters(series, window), *_histograms(series, window), *_gauges(series, window))
    return _labelled(_union(parts), WINDOW, window)


def state_query(series: Series) -> str:
    """Targets, targets that answer, the age in seconds of the newest sample, and the sizes of KV cache that engines
    report, in one request.
    """
    ages = (
        _labelled(f"time() - max {_by()} (timestamp({name}{series.selector}))", FACT, Fact.AGE)
        for name in series.of("running")
    )
    caches = (
        _labelled(f"max {_by(NUM_GPU_BLOCKS, BLOCK_SIZE)} ({name}{series.selector})", FACT, Fact.CACHE)
        for name in series.of("cache_config_info")
    )
    targets = _labelled(f"count {_by()} (up{series.selector})", FACT, Fact.TARGETS)
    up = _labelled(f"sum {_by()} (up{series.selector})", FACT, Fact.UP)
    return _union((targets, up, *ages, *caches))


def tick_queries(series: Series, asked: Windows) -> tuple[str, ...]:
    """Every request of one tick; at most eight."""
    return (state_query(series), *(window_query(series, seconds) for seconds in asked.every))
