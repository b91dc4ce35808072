"""What /metrics says of a resource, from its status and its plan."""

from typing import Any

import pytest
from builders import NOW, mode_plan, plan, resource
from exposed import HASH, MEASURED, MIXED, OBSERVED, ROLLBACK, calibration, condition, entry, status

from specdecode.api.status import (
    CalibrationStatus,
    ConditionStatus,
    ConditionType,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.resource_metrics import figures_of
from specdecode.summary import plan_status

GIB = 1024**3
AT = NOW.timestamp()


def shown(seen: SpecDecodeDeploymentStatus, *, of: Any = None, planned: Any = None) -> dict[str, float]:
    """The figures of a resource by family and label values."""
    return {
        f"{family.name} {' '.join(values)}".strip().removeprefix("specdecode_"): number
        for family, rows in figures_of(seen, of, planned).items()
        for values, number in rows
    }


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
            status(mode=None, findings=(MIXED,)),
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


def measured_of(mode: Mode, spec_hash: str = HASH) -> CalibrationStatus:
    return calibration("24576Mi", mode).model_copy(update={"shape": mode.value, "spec_hash": spec_hash})


@pytest.mark.parametrize(
    "calibrations",
    [
        pytest.param((), id="nothing was measured"),
        pytest.param((measured_of(Mode.QUANTIZED_DRAFT), measured_of(Mode.OFF)), id="two modes were measured"),
        pytest.param((measured_of(Mode.OFF, "another"),), id="measured under another spec"),
    ],
)
def test_what_status_says_of_a_plan_shows_the_same_as_the_plan(calibrations: tuple[CalibrationStatus, ...]) -> None:
    """But for the rounding of status."""
    rungs = (
        mode_plan(Mode.QUANTIZED_DRAFT, shape=Mode.QUANTIZED_DRAFT.value, kv_cache_bytes_per_gpu=int(30.123 * GIB)),
        mode_plan(Mode.DRAFT, shape=Mode.DRAFT.value, fits=False, short_bytes=GIB, kv_cache_bytes_per_gpu=-GIB),
        mode_plan(Mode.OFF, shape=Mode.OFF.value),
    )
    planned = plan(*rungs)
    seen = status(calibration=calibrations)
    at_rest = shown(seen, of=resource(), planned=plan_status(planned, HASH, calibrations))
    visited = shown(seen, of=resource(), planned=planned)
    assert at_rest.keys() == visited.keys()
    for series, number in visited.items():
        tolerance = 0.05 * GIB if series.startswith("plan_kv_cache_bytes") else 0
        assert at_rest[series] == pytest.approx(number, abs=tolerance, rel=0), series


def test_a_size_that_nobody_can_read_is_not_shown() -> None:
    said = plan_status(plan(Mode.OFF), HASH, ())
    modes = tuple(rung.model_copy(update={"kv_cache": "a lot"}) for rung in said.modes)
    found = shown(status(), of=resource(), planned=said.model_copy(update={"modes": modes}))
    assert found["plan_kv_tokens Off"] == 160_000
    assert not [series for series in found if series.startswith("plan_kv_cache_bytes")]
