"""PromQL for one tick: two requests whatever the number of deployments, and slices of history. Pure; it asks nobody.

Series are found by our own labels, which Prometheus copies from the pods, and split again in memory. Nothing that a
user of the cluster wrote freely enters a query: the variable texts are the namespaces of the operator's settings, and
names of resources that are what the API server lets an object be called.

Counters are asked for as they are, pod by pod, with the moment of their scrape: differences are made in memory, where
a restart, a lost scrape and a pod that comes or goes can be told apart. What belongs together is one request, because
Prometheus evaluates one on one state of its storage. `_created` gauges never match, because names are exact.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.vocabulary import LABEL_ARM, LABEL_DEPLOYMENT, LABEL_MODE
from specdecode.engine.metrics import MetricNames
from specdecode.observe.cache import BLOCK_SIZE, NUM_GPU_BLOCKS


def _prometheus_label(name: str) -> str:
    """A Kubernetes label name as service discovery writes it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


NAME = "__name__"
NAMESPACE = "namespace"
DEPLOYMENT = _prometheus_label(LABEL_DEPLOYMENT)
MODE = _prometheus_label(LABEL_MODE)
ARM = _prometheus_label(LABEL_ARM)
GROUP = (NAMESPACE, DEPLOYMENT, MODE, ARM)
"""Labels that tell one series of a deployment, mode and arm from another."""
JOB = "job"
INSTANCE = "instance"
POD = (*GROUP, JOB, INSTANCE)
"""Labels of one pod. Two jobs that scrape the same pod count as two pods: added up, they would look like restarts."""
BOUND = "le"
TEMPERATURE = "temperature_bucket"

FACT = "fact"

_OBJECT_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
"""What the API server lets an object be called."""

FAST_WINDOW_SCRAPES = 4
"""Two samples make an increase; four survive a lost scrape."""

REQUEST_ACCEPTANCE_RATE = "specdecode:request_acceptance_rate"
"""Histogram of acceptance rates per request with the label `temperature_bucket`, where the meter runs."""


class Fact(StrEnum):
    """What a number says. Histograms add `_bucket`, `_sum` and `_count`."""

    DRAFTS = "drafts"
    DRAFT_TOKENS = "draft_tokens"
    ACCEPTED_TOKENS = "accepted_tokens"
    EMITTED_TOKENS = "emitted_tokens"
    GENERATION_TOKENS = "generation_tokens"
    REQUESTS = "requests"
    PREEMPTIONS = "preemptions"
    STEP_SUM = "step_sum"
    STEP_COUNT = "step_count"
    TPOT = "tpot"
    TTFT = "ttft"
    E2E = "e2e"
    ACCEPTANCE = "acceptance"
    RUNNING = "running"
    WAITING = "waiting"
    KV_CACHE_USAGE = "kv_cache_usage"
    TARGETS = "targets"
    UP = "up"
    SCRAPED_AT = "scraped_at"
    """Unix seconds of the newest scrape."""
    CACHE = "cache"
    """Its labels say it; the value says nothing."""


_COUNTERS = (
    (Fact.DRAFTS, "drafts"),
    (Fact.DRAFT_TOKENS, "draft_tokens"),
    (Fact.ACCEPTED_TOKENS, "accepted_tokens"),
    (Fact.EMITTED_TOKENS, "emitted_tokens"),
    (Fact.GENERATION_TOKENS, "generation_tokens"),
    (Fact.REQUESTS, "finished_requests"),
    (Fact.PREEMPTIONS, "preemptions"),
)
"""Facts and the attribute of `MetricNames` with their counter."""
_GAUGES = ((Fact.RUNNING, "running"), (Fact.WAITING, "waiting"), (Fact.KV_CACHE_USAGE, "kv_cache_usage"))
HISTOGRAMS = ((Fact.TPOT, "tpot"), (Fact.TTFT, "ttft"), (Fact.E2E, "e2e"))
"""Facts and the attribute of `MetricNames` with their histogram."""


def series_of(names: MetricNames) -> Mapping[str, str]:
    """The series of one engine version by fact: counters, gauges, and histograms as `tpot_sum`, `tpot_count` and
    `tpot_bucket`.
    """
    found: dict[str, str | None] = {fact: getattr(names, attribute) for fact, attribute in (*_COUNTERS, *_GAUGES)}
    found |= {Fact.STEP_SUM: f"{names.itl}_sum", Fact.STEP_COUNT: f"{names.itl}_count"}
    histograms = {fact: getattr(names, attribute) for fact, attribute in HISTOGRAMS}
    for fact, base in (histograms | {Fact.ACCEPTANCE: REQUEST_ACCEPTANCE_RATE}).items():
        if base is not None:
            found |= {f"{fact}_{suffix}": f"{base}_{suffix}" for suffix in ("sum", "count", "bucket")}
    return {fact: name for fact, name in found.items() if name is not None}


def _any_of(label: str, values: Iterable[str]) -> str:
    """A matcher. JSON quotes as PromQL does: both escape quotes, backslashes and control characters."""
    pattern = "|".join(re.escape(value) for value in values)
    return f"{label}=~{json.dumps(pattern, ensure_ascii=False)}"


@dataclass(frozen=True)
class Series:
    """What is asked about: the names of every engine version in use, and the pods of this operator."""

    names: Sequence[MetricNames]
    namespaces: Sequence[str] = ()
    """Only these; empty: every namespace."""
    deployments: Sequence[str] = ()
    """Only those with one of these names; empty: every one."""

    @property
    def matchers(self) -> tuple[str, ...]:
        """Label matchers."""
        named = [name for name in self.deployments if _OBJECT_NAME.fullmatch(name)]
        own = _any_of(DEPLOYMENT, named) if self.deployments else f'{DEPLOYMENT}!=""'
        return (own, _any_of(NAMESPACE, self.namespaces)) if self.namespaces else (own,)

    @property
    def selector(self) -> str:
        """The matchers as a selector."""
        return f"{{{','.join(self.matchers)}}}"

    def of(self, attribute: str) -> tuple[str, ...]:
        """The distinct metric names of one attribute of `MetricNames`."""
        names = (getattr(version, attribute) for version in self.names)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def every(self, *, has_buckets: bool) -> tuple[str, ...]:
        """The distinct names of all counters, gauges and histograms."""
        found = (series_of(version) for version in self.names)
        return tuple(
            dict.fromkeys(
                name
                for names in found
                for fact, name in names.items()
                if has_buckets or not (fact.endswith("_bucket") or fact.startswith(Fact.ACCEPTANCE))
            )
        )


def _labelled(expression: str, value: str) -> str:
    return f'label_replace({expression},"{FACT}","{value}","","")'


def _by(labels: Iterable[str]) -> str:
    return f"by ({','.join(labels)})"


def counters_query(series: Series, *, has_buckets: bool = True) -> str:
    """Every counter and gauge of every pod as it is, and when the pod was scraped, in one request.

    A pod with several engines (data parallel) has a series per engine: they are summed. They start and end together,
    so that a restart is still seen in the sum. Without buckets it is small enough for an hour of history.
    """
    names = "|".join(re.escape(name) for name in series.every(has_buckets=has_buckets))
    selector = f"{{{','.join((f'{NAME}=~{json.dumps(names)}', *series.matchers))}}}"
    labels = (NAME, BOUND, TEMPERATURE, *POD) if has_buckets else (NAME, *POD)
    scraped = (f"max {_by(POD)} (timestamp({name}{series.selector}))" for name in series.of("running"))
    return " or ".join((f"sum {_by(labels)} ({selector})", *(_labelled(moment, Fact.SCRAPED_AT) for moment in scraped)))


def state_query(series: Series) -> str:
    """Targets, targets that answer, and the sizes of KV cache that engines report, in one request."""
    caches = (
        _labelled(f"max {_by((*GROUP, NUM_GPU_BLOCKS, BLOCK_SIZE))} ({name}{series.selector})", Fact.CACHE)
        for name in series.of("cache_config_info")
    )
    targets = _labelled(f"count {_by(GROUP)} (up{series.selector})", Fact.TARGETS)
    up = _labelled(f"sum {_by(GROUP)} (up{series.selector})", Fact.UP)
    return " or ".join((targets, up, *caches))


def tick_queries(series: Series) -> tuple[str, str]:
    """Both requests of one tick: the state of the pods, and their counters."""
    return state_query(series), counters_query(series)
