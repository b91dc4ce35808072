"""What /metrics says of every resource: the families, and what a resource shows of them. Pure.

`specdecode.resource_page` keeps it and makes the page of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from specdecode.api.accelerators import GIB
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import (
    CalibrationStatus,
    ConditionStatus,
    ConditionType,
    ModePlanStatus,
    ObservedStatus,
    PlanStatus,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.values import bytes_of, seconds_of
from specdecode.api.vocabulary import Mode
from specdecode.calibrate import measured_tokens, own_calibration
from specdecode.plan.types import ModePlan, Plan

AnyPlan = Plan | PlanStatus
"""A plan, or what status says of it: a resource that is not visited after a restart is not planned either."""

Row = tuple[tuple[str, ...], float]
"""Label values after namespace and name, and the number."""
Rows = tuple[Row, ...]

_SIZE = re.compile(r"(-?[0-9]+\.[0-9])Gi")
"""As `specdecode.summary` writes it."""
_UNSHOWN = frozenset({ConditionType.PLANNED})
"""A spec that is not planned is `Stalled` with the same reason."""


@dataclass(frozen=True, eq=False)
class Family:
    """One metric with a series, or some, per resource. Two are the same only if they are one."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    """After `namespace` and `name`."""
    is_flag: bool = False
    """Whether its number is 0 or 1: many resources then show the same."""
    kind: str = "gauge"


INFO = Family(
    "specdecode_deployment_info",
    "1; what the spec asks for.",
    ("model", "engine_version", "requested_mode", "action"),
    is_flag=True,
)
EFFECTIVE = Family(
    "specdecode_effective",
    "1 for the mode that runs or is being rolled out, 0 for the others.",
    ("mode",),
    is_flag=True,
)
CONDITION = Family(
    "specdecode_condition", "1; the conditions of status as they stand.", ("type", "status", "reason"), is_flag=True
)
ROLLBACK = Family(
    "specdecode_rollback_timestamp_seconds",
    "When the rollback in force was decided, as Unix time; absent while the requested mode runs.",
    ("from", "to", "reason", "helped"),
)
RETRIES_LEFT = Family(
    "specdecode_rollback_retries_left",
    "How often guard.retry will still try the mode that was left; absent without a rollback or without guard.retry.",
)
DECISION = Family(
    "specdecode_decision_timestamp_seconds",
    "When the newest entry of status.history was decided, as Unix time.",
    ("action", "from", "to", "reason"),
)
FINDING = Family(
    "specdecode_finding_timestamp_seconds", "Since when a finding of status.findings stands, as Unix time.", ("reason",)
)
SPEEDUP = Family(
    "specdecode_speedup_ratio",
    "Time per output token without speculation / with it; above 1 it pays. Coarse, and only while it is measured.",
    ("source",),
)
SPEEDUP_LOW = Family("specdecode_speedup_ratio_low", "Lower end of its 95 % interval.", ("source",))
SPEEDUP_HIGH = Family("specdecode_speedup_ratio_high", "Upper end of its 95 % interval.", ("source",))
PLAN_BYTES = Family(
    "specdecode_plan_kv_cache_bytes", "Planned KV cache per GPU; negative: this much is missing.", ("mode",)
)
MEASURED_BYTES = Family(
    "specdecode_measured_kv_cache_bytes", "KV cache per GPU as the running engine sized it.", ("mode",)
)
PLAN_TOKENS = Family("specdecode_plan_kv_tokens", "Tokens that the planned KV cache of one replica holds.", ("mode",))
MEASURED_TOKENS = Family(
    "specdecode_measured_kv_tokens", "Tokens that the KV cache of one replica holds as the engine sized it.", ("mode",)
)
PLAN_ERROR = Family(
    "specdecode_plan_error_ratio",
    "(planned - measured) / measured KV cache, the plan by its formulas alone; positive: it promised too much.",
    ("mode",),
)
ACCEPTANCE_FLOOR = Family(
    "specdecode_guard_acceptance_floor_ratio", "guard.acceptance.offBelowPercent, as a ratio from 0 to 1."
)
TPOT_LIMIT = Family("specdecode_guard_tpot_p99_limit_seconds", "guard.latency.tpotP99; absent without.")
TTFT_LIMIT = Family("specdecode_guard_ttft_p99_limit_seconds", "guard.latency.ttftP99; absent without.")
ROLLBACKS = Family("specdecode_rollbacks", "Steps down that this process took, by reason.", ("reason",), kind="counter")
"""The one counter. It is counted by the process and no part of the figures of a moment."""

FAMILIES = (
    INFO,
    EFFECTIVE,
    CONDITION,
    ROLLBACK,
    RETRIES_LEFT,
    DECISION,
    FINDING,
    SPEEDUP,
    SPEEDUP_LOW,
    SPEEDUP_HIGH,
    PLAN_BYTES,
    MEASURED_BYTES,
    PLAN_TOKENS,
    MEASURED_TOKENS,
    PLAN_ERROR,
    ACCEPTANCE_FLOOR,
    TPOT_LIMIT,
    TTFT_LIMIT,
)
"""The gauges, in the order of the page."""

Figures = Mapping[Family, Rows]
"""What one resource shows. A family without rows is left out."""


def _unix(moment: datetime) -> float:
    return moment.timestamp()


def _of_rollback(rollback: RollbackStatus | None) -> Rows:
    if rollback is None:
        return ()
    return (((rollback.from_mode, rollback.to, rollback.reason, rollback.helped), _unix(rollback.at)),)


def _of_history(status: SpecDecodeDeploymentStatus) -> Rows:
    return tuple(
        ((entry.action, entry.from_mode, entry.to, entry.reason), _unix(entry.at)) for entry in status.history[:1]
    )


def _is_measured(status: SpecDecodeDeploymentStatus) -> bool:
    condition = status.condition(ConditionType.METRICS_AVAILABLE)
    return condition is not None and condition.status is ConditionStatus.TRUE


def _speedup(status: SpecDecodeDeploymentStatus) -> dict[Family, Rows]:
    """Status keeps the last observation; a number of yesterday, or of another mode, is not shown as one of now."""
    observed: ObservedStatus | None = status.observed
    if observed is None or observed.mode is not status.mode or not _is_measured(status):
        return {}
    source = (observed.speedup_source or "",)
    ends = ((SPEEDUP, observed.speedup), (SPEEDUP_LOW, observed.speedup_low), (SPEEDUP_HIGH, observed.speedup_high))
    return {family: ((source, float(text)),) for family, text in ends if text is not None}


def _error(entry: CalibrationStatus) -> float:
    planned, real = bytes_of(entry.planned_kv_cache), bytes_of(entry.measured_kv_cache)
    return (planned - real) / real


def _of_plan(plan: Plan, spec_hash: str | None, calibrations: tuple[CalibrationStatus, ...]) -> dict[Family, Rows]:
    def per_mode(number: Callable[[ModePlan], float | None]) -> Rows:
        numbers = ((rung.mode, number(rung)) for rung in plan.ladder)
        return tuple(((mode,), value) for mode, value in numbers if value is not None)

    own = {rung.mode: own_calibration(spec_hash, rung, calibrations) for rung in plan.ladder}

    def measured(rung: ModePlan) -> float | None:
        entry = own[rung.mode]
        return None if entry is None else bytes_of(entry.measured_kv_cache)

    def tokens(rung: ModePlan) -> float | None:
        entry = own[rung.mode]
        return None if entry is None else measured_tokens(rung, entry)

    def error(rung: ModePlan) -> float | None:
        entry = own[rung.mode]
        return None if entry is None else _error(entry)

    return {
        PLAN_BYTES: per_mode(lambda rung: rung.kv_cache_bytes_per_gpu),
        MEASURED_BYTES: per_mode(measured),
        PLAN_TOKENS: per_mode(lambda rung: rung.kv_cache_tokens),
        MEASURED_TOKENS: per_mode(tokens),
        PLAN_ERROR: per_mode(error),
    }


def _size_in(text: str | None) -> float | None:
    """Bytes of a size as status shows it, to a tenth of a GiB; None where it does not show one."""
    found = _SIZE.fullmatch(text or "")
    return None if found is None else float(found[1]) * GIB


def _of_plan_in_status(
    plan: PlanStatus, spec_hash: str | None, calibrations: tuple[CalibrationStatus, ...]
) -> dict[Family, Rows]:
    """The same from what an earlier visit wrote: the planned cache is rounded there, all else is not."""

    def per_mode(number: Callable[[ModePlanStatus], float | None]) -> Rows:
        numbers = ((rung.name, number(rung)) for rung in plan.modes)
        return tuple(((mode,), value) for mode, value in numbers if value is not None)

    own = {entry.mode: entry for entry in reversed(calibrations) if entry.spec_hash == spec_hash}

    def measured(rung: ModePlanStatus) -> float | None:
        return bytes_of(own[rung.name].measured_kv_cache) if rung.name in own else None

    def error(rung: ModePlanStatus) -> float | None:
        return _error(own[rung.name]) if rung.name in own else None

    return {
        PLAN_BYTES: per_mode(lambda rung: _size_in(rung.kv_cache)),
        MEASURED_BYTES: per_mode(measured),
        PLAN_TOKENS: per_mode(lambda rung: rung.kv_cache_tokens),
        MEASURED_TOKENS: per_mode(lambda rung: rung.measured_kv_cache_tokens),
        PLAN_ERROR: per_mode(error),
    }


def _of_spec(
    resource: SpecDecodeDeployment, plan: AnyPlan | None, rollback: RollbackStatus | None
) -> dict[Family, Rows]:
    guard = resource.spec.guard
    version, requested = (plan.engine_version or "", str(plan.requested_mode)) if plan else ("", "")
    found: dict[Family, Rows] = {
        INFO: (((resource.spec.model.name, version, requested, guard.action), 1.0),),
        ACCEPTANCE_FLOOR: (((), guard.acceptance.off_below_percent / 100),),
    }
    for family, limit in ((TPOT_LIMIT, guard.latency.tpot_p99), (TTFT_LIMIT, guard.latency.ttft_p99)):
        found[family] = () if limit is None else (((), seconds_of(limit)),)
    if rollback is not None and guard.retry is not None:
        # As the latch counts: the first try is attempt 1, and retry n follows attempt n.
        found[RETRIES_LEFT] = (((), float(max(0, guard.retry.max_attempts - rollback.attempts + 1))),)
    return found


def figures_of(
    status: SpecDecodeDeploymentStatus, resource: SpecDecodeDeployment | None, plan: AnyPlan | None
) -> Figures:
    """What a resource shows. Without a plan, because the spec is refused, nothing is said of its memory."""
    modes = () if status.mode is None else tuple(((mode,), float(mode is status.mode)) for mode in Mode)
    shown = (condition for condition in status.conditions if condition.type not in _UNSHOWN)
    found: dict[Family, Rows] = {
        EFFECTIVE: modes,
        CONDITION: tuple(((entry.type, entry.status, entry.reason), 1.0) for entry in shown),
        ROLLBACK: _of_rollback(status.rollback),
        DECISION: _of_history(status),
        FINDING: tuple(((finding.reason,), _unix(finding.since)) for finding in status.findings),
    }
    found |= _speedup(status)
    found |= {} if resource is None else _of_spec(resource, plan, status.rollback)
    if isinstance(plan, Plan):
        found |= _of_plan(plan, status.spec_hash, status.calibration)
    elif plan is not None:
        found |= _of_plan_in_status(plan, status.spec_hash, status.calibration)
    return {family: rows for family, rows in found.items() if rows}
