"""What latency says. Means are exact and are compared with what the deployment did without speculation; P99 is an
interval, and acts only when all of it is beyond the limit, in both windows.
"""

import math
from dataclasses import dataclass

from specdecode.api.status import EvidenceItem
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import MIN_REQUESTS
from specdecode.decide.benefit import Benefit
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Availability, Histogram, Window
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.situation import View
from specdecode.decide.wording import bounds_in, bounds_status, count, span, spoken
from specdecode.plan.startup import expected_start_seconds

LATENCY_REASONS = frozenset({Reason.SLOWER_THAN_BASELINE, Reason.LATENCY_OVER_LIMIT})
"""Rules that blame speculation for latency; a step down that does not help clears it of both."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limit:
    """One limit of `guard.latency` and the histogram it is for."""

    name: str
    """Name of the evidence: the field of the spec."""
    histogram: str
    """Attribute of `Window`."""
    text: str
    """As the spec writes it."""

    def is_exceeded(self, window: Window) -> bool:
        """Whether P99 is surely above the limit. Values in a bucket are above its lower edge."""
        histogram: Histogram | None = getattr(window, self.histogram)
        if histogram is None:
            return False
        low, _ = quantile_bounds(histogram, 0.99)
        return low > 0 and low >= seconds_of(self.text) - _ROUNDING


def limits(view: View) -> tuple[Limit, ...]:
    """The limits that are set."""
    latency = view.guard.latency
    every = (
        ("tpotP99", "tpot", latency.tpot_p99),
        ("ttftP99", "ttft", latency.ttft_p99),
        ("e2eP99", "e2e", latency.e2e_p99),
    )
    return tuple(Limit(name, histogram, text) for name, histogram, text in every if text is not None)


def has_enough(histogram: Histogram | None) -> bool:
    return histogram is not None and histogram.count >= MIN_REQUESTS


def _blamed(view: View, reason: Reason, what: str, target: Mode | None, *evidence: EvidenceItem) -> Finding:
    """A step down, unless speculation was turned off for latency before and it did not help."""
    exoneration = view.situation.status.exoneration
    is_cleared = (
        exoneration is not None
        and exoneration.spec_hash == view.situation.resource.spec_hash
        and exoneration.reason in LATENCY_REASONS
    )
    if is_cleared:
        message = f"{what}: a step down did not help before, so speculation is not the cause; look at engine and load"
        return Finding(Reason.SPECULATION_NOT_THE_CAUSE, message, evidence)
    return view.step(reason, what, target, evidence)


def _benefit_that_holds(view: View) -> Benefit | None:
    """What speculation brings, where it is measured and surely below 1: since a certain change, or for the whole
    window, that is over all of it, in its newest part and in the rest.
    """
    since = view.changed_at
    has_changed = since is not None and bool(view.since_change)
    whole = view.measured_benefit_of(since=since) if since is not None and has_changed else view.measured_benefit
    if whole is None or not whole.is_loss:
        return None
    newest = view.situation.now.timestamp() - view.fast.seconds
    parts = () if has_changed else (view.measured_benefit_of(until=newest), view.measured_benefit_of(since=newest))
    return whole if all(part is not None and part.speedup.value < 1 for part in parts) else None


def _has_cost_a_restart(view: View, benefit: Benefit) -> bool:
    """Whether what speculation has cost since it surely does not pay exceeds what turning it off costs: a restart.

    Until then waiting is never more than twice as dear as the best that could have been done with hindsight.
    """
    found = view.situation.status.findings
    since = next((finding.since for finding in found if finding.reason == Reason.COSTS_MORE_THAN_IT_BRINGS), None)
    rung = view.plan.mode(view.mode)
    if since is None or rung is None:
        return False
    lost_seconds = (view.situation.now - since).total_seconds() * (1 - benefit.speedup.value)
    return lost_seconds >= expected_start_seconds(rung.load_bytes)


def slower_than_baseline(view: View) -> Finding | None:
    """Tokens surely take longer than they would without speculation, now or at the same load.

    Beyond `maxRegressionPercent` that is enough. Less is borne until it has cost as much as a restart.
    """
    benefit = None if view.mode is Mode.OFF else _benefit_that_holds(view)
    if benefit is None:
        return None
    allowed_percent = view.guard.latency.max_regression_percent
    floor = 1 / (1 + allowed_percent / 100)
    is_beyond = benefit.speedup.value < floor
    if not is_beyond and not _has_cost_a_restart(view, benefit):
        message = (
            f"{benefit.sentence}: it costs a little more than it brings; it is turned off when it has cost as much as "
            f"a restart, or at once below {floor:.2f} (guard.latency.maxRegressionPercent)"
        )
        return Finding(Reason.COSTS_MORE_THAN_IT_BRINGS, message)
    what = (
        f"{benefit.sentence}, limit {allowed_percent} % slower"
        if is_beyond
        else (f"{benefit.sentence}, and by now that has cost more than a restart")
    )
    speedup = EvidenceItem(name="speedup", value=f"{benefit.speedup.value:.2f}", limit=f"{floor:.2f}")
    source = EvidenceItem(name="baseline", value=benefit.source)
    seconds = round(sum(batch.seconds for batch in view.since_change)) or view.slow.seconds
    window = EvidenceItem(name="window", value=span(seconds))
    return _blamed(view, Reason.SLOWER_THAN_BASELINE, what, view.lighter, speedup, source, window)


def _over(view: View, limit: Limit) -> EvidenceItem | None:
    slow_window = view.slow
    slow: Histogram | None = getattr(slow_window, limit.histogram)
    if slow is None or not has_enough(slow):
        return None
    if not all(limit.is_exceeded(window) for window in (slow_window, view.earlier, view.fast)):
        return None
    bounds = bounds_status(quantile_bounds(slow, 0.99))
    return EvidenceItem(name=limit.name, value=f"{bounds.low}..{bounds.high}", limit=limit.text)


def latency_over_limit(view: View) -> Finding | None:
    """A P99 is over its limit, even at its lower bound."""
    over = [item for item in (_over(view, limit) for limit in limits(view)) if item is not None]
    if not over:
        return None
    numbers = ", ".join(f"{item.name} {item.value} (limit {item.limit})" for item in over)
    slow = view.slow
    what = f"{numbers} over {span(slow.seconds)} ({count(slow.requests)} requests)"
    window = EvidenceItem(name="window", value=span(slow.seconds))
    return _blamed(view, Reason.LATENCY_OVER_LIMIT, what, view.lighter, *over, window)


def mixed_bounds(view: View) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """P50 and P99 without speculation at this time, or at this load."""
    control = view.situation.measurement.control
    if control is not None and control.availability is Availability.MEASURED:
        tpot = None if control.slow is None else control.slow.tpot
        return None if tpot is None else (quantile_bounds(tpot, 0.5), quantile_bounds(tpot, 0.99))
    off = view.off_baseline
    median, tail = (bounds_in(off.tpot_p50), bounds_in(off.tpot_p99)) if off is not None else (None, None)
    return None if median is None or tail is None else (median, tail)


def between(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"over {spoken(low)}" if math.isinf(high) else f"{spoken(low)}..{spoken(high)}"


def mixed_traffic(view: View) -> Finding | None:
    """Half of the requests gain and the slowest lose: two kinds of traffic behind one mean."""
    off, tpot = mixed_bounds(view), view.slow.tpot
    if view.mode is Mode.OFF or off is None or tpot is None:
        return None
    median, tail = quantile_bounds(tpot, 0.5), quantile_bounds(tpot, 0.99)
    if median[1] > off[0][0] or tail[0] < off[1][1]:
        return None
    message = (
        f"TPOT P50 is better ({between(median)} against {between(off[0])} without speculation) and P99 is worse "
        f"({between(tail)} against {between(off[1])}) over {span(view.slow.seconds)}: two kinds of traffic share "
        "this deployment; serve the requests that accept little (high temperature, chat) from another one"
    )
    return Finding(Reason.MIXED_TRAFFIC, message)


def gain_not_confirmed(view: View) -> Finding | None:
    """Nothing shows yet that speculation pays at this load."""
    if view.mode is Mode.OFF or not has_enough(view.slow.tpot):
        return None
    benefit = view.measured_benefit
    if benefit is None:
        message = (
            f"nothing measured without speculation at {view.slow.running_requests:.0f} running requests per "
            f"replica: set guard.baseline.controlReplicas to 1, or specdecode.io/force-mode to Off for two "
            "windows, to learn it"
        )
        return Finding(Reason.GAIN_NOT_CONFIRMED, message)
    if benefit.speedup.low > 1:
        return None
    return Finding(Reason.GAIN_NOT_CONFIRMED, f"{benefit.sentence}: no gain is certain at this load")
