"""What latency says. Means are exact and are compared with what the deployment did without speculation; P99 is an
interval, and acts only when all of it is beyond the limit, in both windows.
"""

from dataclasses import dataclass

from specdecode.api.status import EvidenceItem, OffBand
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import MIN_REQUESTS
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Histogram, Window
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.situation import View
from specdecode.decide.wording import bounds_in, bounds_status, count, duration_text, seconds_in, span, spoken

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


def _has_enough(histogram: Histogram | None) -> bool:
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


def _is_slower(tpot: Histogram | None, limit_seconds: float) -> bool:
    return tpot is not None and tpot.mean_seconds > limit_seconds


def slower_than_baseline(view: View) -> Finding | None:
    """Tokens take longer than they did without speculation at the same load."""
    off, slow = view.off_baseline, view.slow.tpot
    if off is None or slow is None or not _has_enough(slow):
        return None
    allowed_percent = view.guard.latency.max_regression_percent
    off_seconds = seconds_in(off.tpot_mean)
    limit_seconds = off_seconds * (1 + allowed_percent / 100)
    if not all(_is_slower(window.tpot, limit_seconds) for window in (view.earlier, view.fast)):
        return None
    what = (
        f"mean TPOT {spoken(slow.mean_seconds)} over {span(view.slow.seconds)} ({count(slow.count)} requests), "
        f"{spoken(off_seconds)} without speculation at the same load, limit {allowed_percent} % more"
    )
    mean = EvidenceItem(name="tpotMean", value=duration_text(slow.mean_seconds), limit=duration_text(limit_seconds))
    window = EvidenceItem(name="window", value=span(view.slow.seconds))
    return _blamed(view, Reason.SLOWER_THAN_BASELINE, what, view.lighter, mean, window)


def _over(view: View, limit: Limit) -> EvidenceItem | None:
    slow_window = view.slow
    slow: Histogram | None = getattr(slow_window, limit.histogram)
    if slow is None or not _has_enough(slow):
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


def _is_mixed(off: OffBand, tpot: Histogram) -> bool:
    median, tail = bounds_in(off.tpot_p50), bounds_in(off.tpot_p99)
    if median is None or tail is None:
        return False
    return quantile_bounds(tpot, 0.5)[1] <= median[0] and quantile_bounds(tpot, 0.99)[0] >= tail[1]


def mixed_traffic(view: View) -> Finding | None:
    """Half of the requests gain and the slowest lose: two kinds of traffic behind one mean."""
    off, tpot = view.off_baseline, view.slow.tpot
    if off is None or tpot is None or not _is_mixed(off, tpot):
        return None
    message = (
        f"TPOT P50 is better and P99 is worse than without speculation over {span(view.slow.seconds)}: two kinds of "
        "traffic share this deployment; serve the requests that accept little (high temperature, chat) from another one"
    )
    return Finding(Reason.MIXED_TRAFFIC, message)


def gain_not_confirmed(view: View) -> Finding | None:
    """Nothing shows yet that speculation pays at this load."""
    tpot = view.slow.tpot
    if view.mode is Mode.OFF or tpot is None or not _has_enough(tpot):
        return None
    off = view.off_baseline
    if off is None:
        message = (
            f"no baseline without speculation at {view.slow.running_requests:.0f} running requests per replica: set "
            "specdecode.io/force-mode to Off for two windows to learn it"
        )
        return Finding(Reason.GAIN_NOT_CONFIRMED, message)
    if tpot.mean_seconds < seconds_in(off.tpot_mean):
        return None
    message = f"mean TPOT {spoken(tpot.mean_seconds)} against {off.tpot_mean} without speculation: no gain at this load"
    return Finding(Reason.GAIN_NOT_CONFIRMED, message)
