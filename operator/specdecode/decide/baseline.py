"""What later judgements are compared with: the mean TPOT without speculation, and what the unquantised draft accepted.

A baseline is a by-product: whenever such a mode runs settled, it is noted. It is bound to a key of the plan, so that
another model, engine or accelerator never meets it, and rewritten only when it moves by a step that matters.
"""

import math
from datetime import datetime

from specdecode.api.status import OFF_BAND_LIMIT, BaselineStatus, DraftBaseline, OffBand, OffBaseline
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability, Histogram, Measurement, Window
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.wording import bounds_status, duration_text, seconds_in
from specdecode.plan.types import Plan

MIN_REQUESTS = 30
"""Fewer finished requests say nothing about a mean: a design effect of 10 leaves three."""
MIN_DRAFT_TOKENS = 2000
"""Fewer proposed tokens say nothing about an acceptance rate."""
COLLAPSED_ACCEPTANCE_LENGTH = 1.1
"""Below it no drafted method pays: the computed break-even of an 8B target with an EAGLE head on an H100, three
tokens, lies between 1.4 and 2.2 (constants of arXiv 2601.11580)."""

_STEADY_ACCEPTANCE = 0.05
_STEADY_LATENCY = 0.15
_SAME_LOAD = 0.30
_LATENCY_STEP = 0.05
_ACCEPTANCE_STEP_POINTS = 1.0


def is_same_load(running_requests: float, reference: float) -> bool:
    """Whether two numbers of running requests are within 30 %, or within what rounding `reference` may have moved."""
    return abs(running_requests - reference) <= max(_SAME_LOAD * reference, 0.5)


def band_at(off: OffBaseline | None, key: str, running_requests: float) -> OffBand | None:
    """What this deployment did without speculation at this load: the nearest band, if it stands for the load."""
    if off is None or off.key != key:
        return None
    same = [band for band in off.bands if is_same_load(running_requests, band.running_requests)]
    return min(same, key=lambda band: abs(band.running_requests - running_requests), default=None)


def bands_around(off: OffBaseline | None, key: str, running_requests: float) -> tuple[OffBand, ...]:
    """The recorded loads on both sides of a load, ascending; or the one that stands for it; or none."""
    if off is None or off.key != key:
        return ()
    below = [band for band in off.bands if band.running_requests <= running_requests]
    above = [band for band in off.bands if band.running_requests > running_requests]
    if below and above:
        return below[-1], above[0]
    nearest = band_at(off, key, running_requests)
    return () if nearest is None else (nearest,)


def _has_moved(old: OffBand, mean_seconds: float) -> bool:
    old_seconds = seconds_in(old.tpot_mean)
    return math.isnan(old_seconds) or abs(mean_seconds - old_seconds) > _LATENCY_STEP * old_seconds


def _band(window: Window, tpot: Histogram, now: datetime) -> OffBand:
    return OffBand(
        running_requests=round(window.running_requests),
        tpot_mean=duration_text(tpot.mean_seconds),
        tpot_p50=bounds_status(quantile_bounds(tpot, 0.5)),
        tpot_p99=bounds_status(quantile_bounds(tpot, 0.99)),
        step_mean=duration_text(window.step_seconds) if window.step_count > 0 else None,
        at=now,
    )


def _next_off(old: OffBaseline | None, plan: Plan, window: Window, now: datetime) -> OffBaseline | None:
    tpot = window.tpot
    if tpot is None or tpot.count < MIN_REQUESTS:
        return old
    known = old.bands if old is not None and old.key == plan.baseline_key else ()
    current = band_at(old, plan.baseline_key, window.running_requests)
    if current is not None and not _has_moved(current, tpot.mean_seconds):
        return old
    others = sorted((band for band in known if band is not current), key=lambda band: band.at, reverse=True)
    bands = (_band(window, tpot, now), *others[: OFF_BAND_LIMIT - 1])
    return OffBaseline(key=plan.baseline_key, bands=tuple(sorted(bands, key=lambda band: band.running_requests)))


def _next_draft(old: DraftBaseline | None, plan: Plan, window: Window, now: datetime) -> DraftBaseline | None:
    is_healthy = window.acceptance_length > COLLAPSED_ACCEPTANCE_LENGTH
    if not plan.draft_key or window.draft_tokens < MIN_DRAFT_TOKENS or not is_healthy:
        return old
    points = 100 * window.acceptance_rate
    if old is not None and old.key == plan.draft_key:
        old_points = acceptance_points(old)
        is_same = old_points is not None and abs(points - old_points) <= _ACCEPTANCE_STEP_POINTS
        # More tokens make it surer; it is rewritten when they have doubled, not at every tick.
        if is_same and window.draft_tokens < 2 * old.draft_tokens:
            return old
    return DraftBaseline(
        key=plan.draft_key, acceptance_rate_percent=f"{points:.1f}", draft_tokens=int(window.draft_tokens), at=now
    )


def acceptance_points(baseline: DraftBaseline) -> float | None:
    """The acceptance rate of a baseline in per cent; None when what is stored is no number."""
    text = baseline.acceptance_rate_percent
    return float(text) if text.replace(".", "", 1).isdecimal() else None


def _is_steady(arm: Measurement) -> bool:
    """Whether the newest part is like the rest. What is on its way somewhere else, perhaps to a step down, is nothing
    to compare with later.
    """
    earlier, fast = arm.earlier, arm.fast
    if earlier is None or fast is None:
        return False
    if arm.mode is Mode.OFF:
        pair = [window.tpot.mean_seconds if window.tpot else math.nan for window in (earlier, fast)]
        return abs(pair[0] - pair[1]) <= _STEADY_LATENCY * pair[0]
    return abs(earlier.acceptance_rate - fast.acceptance_rate) <= _STEADY_ACCEPTANCE


def next_baseline(
    old: BaselineStatus | None, plan: Plan, measurement: Measurement, *, is_settled: bool, now: datetime
) -> BaselineStatus | None:
    """The baselines after this measurement; `old` itself when nothing that matters moved."""
    if not is_settled:
        return old
    before = old or BaselineStatus()
    off, draft = before.off, before.draft
    for arm in (measurement, measurement.control):
        if arm is None or arm.slow is None or arm.availability is not Availability.MEASURED:
            continue
        next_off = _next_off(off, plan, arm.slow, now) if arm.mode is Mode.OFF else off
        next_draft = _next_draft(draft, plan, arm.slow, now) if arm.mode is Mode.DRAFT else draft
        # Most of the time nothing moved, and how steady it was is not asked.
        if (next_off is not off or next_draft is not draft) and _is_steady(arm):
            off, draft = next_off, next_draft
    return old if off is before.off and draft is before.draft else BaselineStatus(off=off, draft=draft)
