"""Resources of every kind that the operator's page of metrics can show, and what a page says."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from builders import NOW, plan, resource
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.samples import Sample

from specdecode.api.status import (
    CalibrationStatus,
    Condition,
    ConditionStatus,
    ConditionType,
    FindingStatus,
    Helped,
    HistoryEntry,
    ObservedStatus,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.resource_metrics import figures_of
from specdecode.telemetry import Metrics

HASH = "36f472cb7f"


def condition(kind: ConditionType, status: ConditionStatus, reason: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, last_transition_time=NOW)


MEASURED = condition(ConditionType.METRICS_AVAILABLE, ConditionStatus.TRUE, "Measured")
OBSERVED = ObservedStatus(
    mode=Mode.DRAFT,
    window="5m",
    running_requests=4,
    speedup="1.85",
    speedup_low="1.62",
    speedup_high="2.01",
    speedup_source="control",
)
ROLLBACK = RollbackStatus(
    from_mode=Mode.DRAFT,
    to=Mode.OFF,
    reason="AcceptanceCollapsed",
    message="",
    at=NOW,
    spec_hash=HASH,
    attempts=2,
    helped=Helped.TRUE,
)
MIXED = FindingStatus(reason="MixedTraffic", message="", since=NOW)


def entry(action: str, minutes_ago: int) -> HistoryEntry:
    at = NOW - timedelta(minutes=minutes_ago)
    return HistoryEntry(at=at, action=action, from_mode=Mode.DRAFT, to=Mode.OFF, reason="LatencyOverLimit", message="")


def calibration(measured: str, mode: Mode = Mode.DRAFT) -> CalibrationStatus:
    return CalibrationStatus(
        shape="shape",
        spec_hash=HASH,
        mode=mode,
        planned_kv_cache="30720Mi",
        measured_kv_cache=measured,
        error_percent="",
        non_kv_cache="1Mi",
        at=NOW,
    )


def status(**fields: Any) -> SpecDecodeDeploymentStatus:
    return SpecDecodeDeploymentStatus(**{"mode": Mode.DRAFT, "spec_hash": HASH, **fields})


FULL_GUARD = {"latency": {"tpotP99": "75ms", "ttftP99": "2s"}, "retry": {"after": "1h"}}
EVERYTHING = status(
    rollback=ROLLBACK,
    history=(entry("RolledBack", 1),),
    findings=(MIXED,),
    observed=OBSERVED,
    conditions=(
        condition(ConditionType.READY, ConditionStatus.TRUE, "Available"),
        condition(ConditionType.PLANNED, ConditionStatus.TRUE, "Fits"),
        condition(ConditionType.STALLED, ConditionStatus.FALSE, "Fits"),
        condition(ConditionType.SPECULATION_ACTIVE, ConditionStatus.FALSE, "AcceptanceCollapsed"),
        MEASURED,
    ),
    calibration=(calibration("24576Mi"), calibration("28672Mi", Mode.OFF)),
)
"""A status that has every family on the page, and nearly every series."""


def everything_of(
    metrics: Metrics, namespace: str, name: str, model: str = "meta-llama/Llama-3.1-70B-Instruct"
) -> None:
    """Show a resource with all that a resource can show."""
    of = resource(**{"spec.guard": FULL_GUARD, "spec.model.name": model})
    metrics.show(namespace, name, EVERYTHING, of, plan())


SHOWN = figures_of(EVERYTHING, resource(**{"spec.guard": FULL_GUARD}), plan())


def everything_of_shared(metrics: Metrics, name: str) -> None:
    """As `everything_of`, without parsing a body for each."""
    metrics._of_resources.show("serving", name, SHOWN)


def show_the_table(metrics: Metrics) -> None:
    """A page with resources of every kind."""
    everything_of(metrics, "serving", "everything")
    metrics.show("serving", "nothing", SpecDecodeDeploymentStatus(), None, None)
    metrics.show("serving", "refused", SpecDecodeDeploymentStatus(), resource(), None)
    stalled = condition(ConditionType.STALLED, ConditionStatus.TRUE, "DoesNotFit")
    metrics.show("other", "stalled", status(mode=None, conditions=(stalled,)), resource(), plan(Mode.DRAFT, Mode.OFF))
    metrics.show("other", "unread", status(conditions=(MEASURED,), observed=OBSERVED), None, None)
    metrics.show("serving", "recommends", status(), resource(**{"spec.guard": {"action": "Recommend"}}), plan(Mode.OFF))
    negative = plan(Mode.DRAFT)
    metrics.show("serving", "measured", status(calibration=(calibration("40960Mi"),)), resource(), negative)
    everything_of(metrics, "other", "everything")
    metrics.show("serving", "gone", EVERYTHING, resource(), plan())
    for name in ("everything", "gone", "everything"):
        metrics.count_rollback("serving", name, "AcceptanceCollapsed")
    metrics.count_rollback("serving", "everything", "LatencyOverLimit")
    metrics.count_rollback("other", "stalled", 'a "quoted"\\n back\\slash,\nnew line} and ümlaut 草')
    metrics.forget("serving", "gone")


Line = tuple[str, str, str, str, tuple[tuple[str, str], ...], str]
"""Family, type, help, series, labels and value."""


def _value(sample: Sample) -> str:
    return "a moment" if sample.name.endswith("_created") else repr(float(sample.value))


def lines(page: str, *, is_openmetrics: bool = False) -> list[Line]:
    """All that a page says of the operator's own metrics, sorted. When a series was created depends on the clock."""
    families: Iterable[Any] = openmetrics_families(page) if is_openmetrics else text_families(page)
    return sorted(
        (
            family.name,
            family.type,
            family.documentation,
            sample.name,
            tuple(sorted(sample.labels.items())),
            _value(sample),
        )
        for family in families
        for sample in family.samples
        if family.name.startswith("specdecode_") and not family.name.startswith("specdecode_build_info")
    )


def sample(metrics: Metrics, series: str, labels: Mapping[str, str]) -> float | None:
    """The value of one series on the page; None: it is not there."""
    samples = (each for family in text_families(metrics.page().decode()) for each in family.samples)
    return next((each.value for each in samples if (each.name, each.labels) == (series, labels)), None)
