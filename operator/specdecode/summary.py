"""Plan and measurement as status shows them: short, with units, still while nothing that matters changes. Pure."""

from specdecode.api.accelerators import GIB
from specdecode.api.status import (
    AdviceStatus,
    Bounds,
    CalibrationStatus,
    LedgerLineStatus,
    ModePlanStatus,
    ObservedStatus,
    OffBaseline,
    PlanStatus,
)
from specdecode.calibrate import Calibrations, measured_tokens, own_calibration
from specdecode.decide.benefit import expected_benefit
from specdecode.decide.facts import Availability, Histogram, Measurement
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.wording import bounds_status, duration_text, seconds_in, span
from specdecode.plan.types import ModePlan, Plan

_ACCEPTANCE_STEP_POINTS = 3
_LATENCY_STEP = 0.10
_LOAD_STEP = 0.25


def size_text(size_bytes: int) -> str:
    """A quantity with one decimal: `74.2Gi`."""
    return f"{size_bytes / GIB:.1f}Gi"


def _mode_status(mode: ModePlan, own: CalibrationStatus | None, *, with_ledger: bool) -> ModePlanStatus:
    ledger = tuple(LedgerLineStatus(name=line.name, size=size_text(line.bytes)) for line in mode.ledger)
    return ModePlanStatus(
        name=mode.mode,
        fits=mode.fits,
        short_by=None if mode.fits else size_text(mode.short_bytes),
        kv_cache=size_text(mode.kv_cache_bytes_per_gpu),
        kv_cache_tokens=mode.kv_cache_tokens,
        measured_kv_cache_tokens=None if own is None else measured_tokens(mode, own),
        requests_at_max_model_len=f"{mode.requests_at_max_model_len:.1f}",
        ledger=ledger if with_ledger else None,
    )


def plan_status(plan: Plan, spec_hash: str | None, calibrations: Calibrations) -> PlanStatus:
    """The plan, with the ledger of the requested mode only, and beside it what was measured under this spec."""
    return PlanStatus(
        engine_version=plan.engine_version,
        requested_mode=plan.requested_mode,
        gpu_memory=size_text(plan.gpu_memory_bytes),
        modes=tuple(
            _mode_status(mode, own_calibration(spec_hash, mode, calibrations), with_ledger=mode is plan.requested)
            for mode in plan.ladder
        ),
        advice=tuple(AdviceStatus(reason=advice.reason, message=advice.message) for advice in plan.advice),
    )


def bounds_of(histogram: Histogram | None, quantile: float) -> Bounds | None:
    """The interval around a quantile as text; None without observations."""
    if histogram is None or histogram.count <= 0:
        return None
    return bounds_status(quantile_bounds(histogram, quantile))


def observed_status(plan: Plan, measurement: Measurement, off: OffBaseline | None) -> ObservedStatus | None:
    """The slow window as status shows it; None unless it was measured."""
    window, mode = measurement.slow, measurement.mode
    if measurement.availability is not Availability.MEASURED or window is None or mode is None:
        return None
    tpot = window.tpot if window.tpot is not None and window.tpot.count > 0 else None
    benefit = expected_benefit(plan, mode, measurement, off)
    speedup = None if benefit is None else benefit.speedup
    has_drafts = window.draft_tokens > 0
    return ObservedStatus(
        mode=mode,
        window=span(window.seconds),
        acceptance_rate_percent=round(100 * window.acceptance_rate) if has_drafts else None,
        acceptance_length=f"{window.acceptance_length:.2f}" if has_drafts else None,
        tpot_mean=None if tpot is None else duration_text(tpot.mean_seconds),
        tpot_p50=bounds_of(window.tpot, 0.5),
        tpot_p99=bounds_of(window.tpot, 0.99),
        ttft_p99=bounds_of(window.ttft, 0.99),
        e2e_p99=bounds_of(window.e2e, 0.99),
        running_requests=round(window.running_requests),
        speedup=None if speedup is None else f"{speedup.value:.2f}",
        speedup_low=None if speedup is None else f"{speedup.low:.2f}",
        speedup_high=None if speedup is None else f"{speedup.high:.2f}",
        speedup_source=None if benefit is None else benefit.source,
    )


def _moved(old: float | None, new: float | None, relative: float, absolute: float = 0.0) -> bool:
    if old is None or new is None:
        return (old is None) != (new is None)
    return abs(new - old) > max(relative * abs(old), absolute)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _seconds(text: str | None) -> float | None:
    return None if text is None else seconds_in(text)


def worth_writing(old: ObservedStatus | None, new: ObservedStatus | None) -> bool:
    """Whether a new observation differs from the stored one by a step that matters to a reader."""
    if new is None:
        return False
    if old is None or old.mode is not new.mode or old.window != new.window:
        return True
    return (
        _moved(old.acceptance_rate_percent, new.acceptance_rate_percent, 0.0, _ACCEPTANCE_STEP_POINTS - 0.5)
        or _moved(_seconds(old.tpot_mean), _seconds(new.tpot_mean), _LATENCY_STEP)
        or _moved(old.running_requests, new.running_requests, _LOAD_STEP, 1.5)
        or _moved(_number(old.speedup), _number(new.speedup), _LATENCY_STEP)
    )
