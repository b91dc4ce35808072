"""Why there is no measurement, in one sentence that stays the same while the cause does. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from specdecode.decide.wording import beginning, span
from specdecode.engine.metrics import MetricNames
from specdecode.observe.queries import ARM, DEPLOYMENT, MODE, NAMESPACE, series_of
from specdecode.observe.readings import GroupKey, Pods
from specdecode.observe.subject import Subject

MAX_AGE_SECONDS = 30.0
"""A sample may be this old, or three scrapes, whichever is longer."""
MAX_CLOCK_SKEW_SECONDS = 30.0
_SHOWN = 200
"""Characters of what labels say: whoever is scraped may have written them."""


@dataclass
class Group:
    """What Prometheus says at one instant of one deployment, mode and arm. Filled while the answers are read."""

    targets: float = 0.0
    up: float = 0.0
    pods: Pods[float] = field(default_factory=dict)
    caches: list[tuple[str, str]] = field(default_factory=list)
    """Blocks and block size that engines report, as written."""
    not_finite: set[str] = field(default_factory=set)
    """Facts or series whose value was NaN."""

    @property
    def newest_at(self) -> float | None:
        """Unix seconds of the newest scrape."""
        return max((pod.at for pod in self.pods.values() if pod.at is not None), default=None)

    def age_seconds(self, now: float) -> float:
        """Since the newest scrape; infinite without one."""
        return math.inf if self.newest_at is None else now - self.newest_at

    def is_ahead(self, now: float) -> bool:
        """Whether it was scraped in the future, by more than clocks may differ."""
        return self.age_seconds(now) < -MAX_CLOCK_SKEW_SECONDS


def _line(label: str, source: str) -> str:
    """What copies a label of the pod in a Prometheus scrape configuration."""
    return f"{{source_labels: [__meta_kubernetes_{source}], target_label: {label}}}"


def why_no_series(subject: Subject, seen: Collection[GroupKey]) -> str:
    """Why there is no series of the mode that runs. `seen` holds the groups of all deployments of this name."""
    namespace, name = subject.key
    if any(key[0] == "" for key in seen):
        return (
            f"the series of {name} carry no label {NAMESPACE}; let the scrape configuration copy it from the pod: "
            f"add {_line(NAMESPACE, 'namespace')} to relabel_configs"
        )
    own = [key for key in seen if key[0] == namespace]
    missing = next((label for place, label in ((2, MODE), (3, ARM)) if any(key[place] == "" for key in own)), None)
    if missing is not None:
        return (
            f"the series of {name} lack the label {missing}; let the scrape configuration copy it from the pod: "
            f"add {_line(missing, f'pod_label_{missing}')} to relabel_configs"
        )
    if own:
        modes = ", ".join(sorted({mode for _, _, mode, _ in own}))
        return f"Prometheus has series of {name} in mode {beginning(modes, _SHOWN)} and none in mode {subject.mode} yet"
    return (
        f"no pod of {name} is scraped: Prometheus has no series with {DEPLOYMENT}={name} in {namespace}; "
        "look at its scrape configuration or PodMonitor; one by hand needs "
        "{action: labelmap, regex: __meta_kubernetes_pod_label_(specdecode_io_.+)} in relabel_configs"
    )


def _why_not_up(group: Group, names: MetricNames) -> str | None:
    if group.not_finite:
        facts = {series: fact for fact, series in series_of(names).items()}
        what = sorted({facts.get(series, series) for series in group.not_finite})
        return f"Prometheus answered NaN for {beginning(', '.join(what), _SHOWN)}"
    if not group.targets:
        return "no pod is scraped any more"
    if not group.up:
        return f"the pods are down: {group.targets:.0f} scraped, none answers"
    return None


def _why_not_fresh(group: Group, now: float, limit_seconds: float) -> str | None:
    age = group.age_seconds(now)
    if math.isinf(age):
        return "the pods answer scrapes without the metrics of vLLM; is --disable-log-stats set?"
    if group.is_ahead(now):
        return f"clock skew: samples lie more than {span(MAX_CLOCK_SKEW_SECONDS)} in the future"
    if age > limit_seconds:
        return f"stale: no sample for more than {span(limit_seconds)}"
    return None


def max_age_seconds(scrape_interval_seconds: float) -> float:
    """A sample that is older than this is none."""
    return max(MAX_AGE_SECONDS, 3 * scrape_interval_seconds)


def why_not(group: Group, names: MetricNames, now: float, scrape_interval_seconds: float) -> str | None:
    """Why what the pods say cannot be used, if it cannot."""
    return _why_not_up(group, names) or _why_not_fresh(group, now, max_age_seconds(scrape_interval_seconds))


def by_name(groups: Mapping[GroupKey, Group]) -> Mapping[str, frozenset[GroupKey]]:
    """Groups by deployment name."""
    names: dict[str, set[GroupKey]] = {}
    for key in groups:
        names.setdefault(key[1], set()).add(key)
    return {name: frozenset(keys) for name, keys in names.items()}
