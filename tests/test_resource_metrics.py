"""What /metrics says of a resource, from its status and its plan."""

from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, plan, resource
from prometheus_client import CollectorRegistry, generate_latest

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
from specdecode.resource_metrics import FAMILIES, ResourceCollector, figures_of

GIB = 1024**3
AT = NOW.timestamp()
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


def entry(action: str, minutes_ago: int) -> HistoryEntry:
    at = NOW - timedelta(minutes=minutes_ago)
    return HistoryEntry(at=at, action=action, from_mode=Mode.DRAFT, to=Mode.OFF, reason="LatencyOverLimit", message="")


def calibration(measured: str) -> CalibrationStatus:
    return CalibrationStatus(
        shape="shape",
        spec_hash=HASH,
        mode=Mode.DRAFT,
        planned_kv_cache="30720Mi",
        measured_kv_cache=measured,
        error_percent="",
        non_kv_cache="1Mi",
        at=NOW,
    )


def shown(status: SpecDecodeDeploymentStatus, *, of: Any = None, planned: Any = None) -> dict[str, float]:
    """The series of one resource, without namespace and name."""
    collector = ResourceCollector()
    collector.show("serving", "chat", figures_of(status, of, planned))
    found = {}
    for metric in collector.collect():
        for sample in metric.samples:
            labels = dict(sample.labels)
            assert (labels.pop("namespace"), labels.pop("name")) == ("serving", "chat")
            found[f"{sample.name} {' '.join(labels.values())}".strip().removeprefix("specdecode_")] = sample.value
    return found


def status(**fields: Any) -> SpecDecodeDeploymentStatus:
    return SpecDecodeDeploymentStatus(**{"mode": Mode.DRAFT, "spec_hash": HASH, **fields})


EFFECTIVE = {"effective QuantizedDraft": 0, "effective Draft": 1, "effective NGram": 0, "effective Off": 0}


@pytest.mark.parametrize(
    ("seen", "series"),
    [
        pytest.param(SpecDecodeDeploymentStatus(), {}, id="nothing is known yet: nothing is shown"),
        pytest.param(status(), EFFECTIVE, id="a mode runs: it alone is 1"),
        pytest.param(
            status(mode=None, conditions=(condition(ConditionType.STALLED, ConditionStatus.TRUE, "DoesNotFit"),)),
            {"condition Stalled True DoesNotFit": 1},
            id="a condition is a series",
        ),
        pytest.param(
            status(mode=None, conditions=(condition(ConditionType.PLANNED, ConditionStatus.TRUE, "Fits"),)),
            {},
            id="except Planned, which Stalled repeats",
        ),
        pytest.param(
            status(mode=None, rollback=ROLLBACK),
            {"rollback_timestamp_seconds Draft Off AcceptanceCollapsed true": AT},
            id="a rollback in force, with its moment",
        ),
        pytest.param(
            status(mode=None, history=(entry("RolledBack", 5), entry("Confirmed", 60))),
            {"decision_timestamp_seconds RolledBack Draft Off LatencyOverLimit": AT - 300},
            id="of the history the newest entry",
        ),
        pytest.param(
            status(mode=None, findings=(FindingStatus(reason="MixedTraffic", message="", since=NOW),)),
            {"finding_timestamp_seconds MixedTraffic": AT},
            id="a finding, since when",
        ),
        pytest.param(
            status(observed=OBSERVED, conditions=(MEASURED,)),
            EFFECTIVE
            | {
                "condition MetricsAvailable True Measured": 1,
                "speedup_ratio control": 1.85,
                "speedup_ratio_low control": 1.62,
                "speedup_ratio_high control": 2.01,
            },
            id="a speed-up while it is measured, with its interval and source",
        ),
        pytest.param(status(observed=OBSERVED), EFFECTIVE, id="no speed-up when nothing is measured any more"),
        pytest.param(
            status(mode=None, observed=OBSERVED, conditions=(MEASURED,)),
            {"condition MetricsAvailable True Measured": 1},
            id="no speed-up of a mode that no longer runs",
        ),
    ],
)
def test_of_status(seen: SpecDecodeDeploymentStatus, series: dict[str, float]) -> None:
    assert shown(seen) == series


@pytest.mark.parametrize(
    ("guard", "rollback", "series"),
    [
        pytest.param({}, None, {"guard_acceptance_floor_ratio": 0.5}, id="the floor is always there"),
        pytest.param(
            {"acceptance": {"offBelowPercent": 30}, "latency": {"tpotP99": "75ms", "ttftP99": "2s"}},
            None,
            {
                "guard_acceptance_floor_ratio": 0.3,
                "guard_tpot_p99_limit_seconds": 0.075,
                "guard_ttft_p99_limit_seconds": 2,
            },
            id="limits in seconds",
        ),
        pytest.param(
            {"retry": {"after": "1h", "maxAttempts": 3}},
            None,
            {"guard_acceptance_floor_ratio": 0.5},
            id="without a rollback there is nothing to retry",
        ),
        pytest.param({}, ROLLBACK, {"guard_acceptance_floor_ratio": 0.5}, id="without guard.retry neither"),
        pytest.param(
            {"retry": {"after": "1h", "maxAttempts": 3}},
            ROLLBACK,
            {"guard_acceptance_floor_ratio": 0.5, "rollback_retries_left": 2},
            id="the second attempt failed, three retries may follow the first: two are left",
        ),
        pytest.param(
            {"retry": {"after": "1h", "maxAttempts": 1}},
            ROLLBACK,
            {"guard_acceptance_floor_ratio": 0.5, "rollback_retries_left": 0},
            id="the only retry is used up",
        ),
    ],
)
def test_of_the_spec(guard: dict[str, Any], rollback: RollbackStatus | None, series: dict[str, float]) -> None:
    of = resource(**{"spec.guard": guard})
    found = shown(SpecDecodeDeploymentStatus(rollback=rollback), of=of)
    assert found.pop("deployment_info meta-llama/Llama-3.1-70B-Instruct   Enforce") == 1
    found = {name: value for name, value in found.items() if not name.startswith("rollback_timestamp")}
    assert found == series


def test_of_the_plan_against_what_was_measured() -> None:
    of, planned = resource(), plan(Mode.DRAFT, Mode.OFF)
    found = shown(status(mode=None), of=of, planned=planned)
    assert found["deployment_info meta-llama/Llama-3.1-70B-Instruct 0.32.0 Draft Enforce"] == 1
    assert found["plan_kv_cache_bytes Draft"] == 30 * GIB
    assert found["plan_kv_tokens Off"] == 160_000
    assert not [name for name in found if name.startswith(("measured", "plan_error"))]
    found = shown(status(mode=None, calibration=(calibration("24576Mi"),)), of=of, planned=planned)
    assert found["measured_kv_cache_bytes Draft"] == 24 * GIB
    assert found["measured_kv_tokens Draft"] == 128_000
    assert found["plan_error_ratio Draft"] == 0.25


def test_every_family_is_on_the_page_and_nothing_is_left_of_a_deleted_resource() -> None:
    registry, collector = CollectorRegistry(), ResourceCollector()
    registry.register(collector)
    everything = status(
        rollback=ROLLBACK,
        history=(entry("RolledBack", 1),),
        findings=(FindingStatus(reason="MixedTraffic", message="", since=NOW),),
        observed=OBSERVED,
        conditions=(MEASURED,),
        calibration=(calibration("24576Mi"),),
    )
    of = resource(**{"spec.guard": {"latency": {"tpotP99": "75ms", "ttftP99": "2s"}, "retry": {"after": "1h"}}})
    for name in ("chat", "rag"):
        collector.show("serving", name, figures_of(everything, of, plan(Mode.DRAFT, Mode.OFF)))
    page = generate_latest(registry).decode()
    for family in FAMILIES:
        lines = [line for line in page.splitlines() if line.startswith(f"{family.name}{{")]
        assert any('name="chat"' in line for line in lines), family.name
    collector.forget("serving", "chat")
    collector.forget("serving", "never-seen")
    page = generate_latest(registry).decode()
    assert 'name="chat"' not in page
    assert 'name="rag"' in page
