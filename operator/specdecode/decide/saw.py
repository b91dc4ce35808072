"""What each rule looks at, in words: for the person who asks afterwards why it spoke or was silent.

These sentences judge nothing. Each has the number and what it is held against, or says which number is missing.
"""

from specdecode.api.vocabulary import Mode
from specdecode.decide.acceptance import (
    DRAFTED,
    MIN_DRAFTS,
    MIN_FLOOR_TOKENS,
    MIN_REQUESTS_SEEN,
    newest_drafts_of,
)
from specdecode.decide.baseline import COLLAPSED_ACCEPTANCE_LENGTH, MIN_DRAFT_TOKENS, acceptance_points
from specdecode.decide.changes import MIN_REQUESTS_PER_TEMPERATURE
from specdecode.decide.facts import Change
from specdecode.decide.latency import Limit, between, has_enough, limits, mixed_bounds
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.situation import View
from specdecode.decide.wording import count, percent, span

_SPECULATION_IS_OFF = "speculation is off"
_NO_CHANGE = "too little was seen to tell a change"


def pods(view: View) -> str:
    """Of the Deployment, as it reports itself."""
    child = view.situation.cluster.child
    if child is None:
        return "there is no Deployment"
    restarts = max((pod.restarts for pod in view.situation.cluster.pods if pod.mode is view.mode), default=0)
    return (
        f"{child.updated_replicas} of {child.desired_replicas} replicas updated, {child.ready_replicas} ready, "
        f"at most {restarts} restarts"
    )


def newest_drafts(view: View) -> str:
    """What the last scrapes say of the draft."""
    if view.mode not in DRAFTED:
        return f"{view.mode} runs no draft model"
    window = newest_drafts_of(view)
    if window is None:
        return f"fewer than {MIN_DRAFTS} drafts, or than {MIN_REQUESTS_SEEN} requests, in the newest scrapes"
    return (
        f"acceptance length {window.acceptance_length:.2f} over {span(window.seconds)} ({count(window.drafts)} "
        f"drafts), limit {COLLAPSED_ACCEPTANCE_LENGTH:g}"
    )


def quantization(view: View) -> str:
    """The quantised draft beside the unquantised one."""
    baseline = view.situation.draft_baseline
    points = acceptance_points(baseline) if baseline else None
    if view.mode is not Mode.QUANTIZED_DRAFT:
        return "no quantised draft runs"
    if baseline is None or points is None:
        return "what the unquantised draft accepts was not measured (guard.qualify measures it first)"
    rate, limit = view.slow.acceptance_rate, view.guard.acceptance.max_quantization_drop_points
    least = min(baseline.draft_tokens, view.slow.draft_tokens, view.fast.draft_tokens)
    if least < MIN_DRAFT_TOKENS:
        return (
            f"{count(least)} draft tokens in the smallest of baseline, window and newest part, needs {MIN_DRAFT_TOKENS}"
        )
    return (
        f"accepts {percent(rate)}, unquantised {points:.1f} %: {points - 100 * rate:.1f} points less, "
        f"limit {limit} with 95 % confidence"
    )


def benefit(view: View) -> str:
    """What speculation brings, where that was measured: a prediction is no evidence."""
    if view.mode is Mode.OFF:
        return _SPECULATION_IS_OFF
    measured = view.measured_benefit
    if measured is None:
        expected = view.expected_benefit
        predicted = "" if expected is None else f"; predicted {expected.speedup.value:.2f}, which is no evidence"
        load = f"{view.slow.running_requests:.0f} running requests per replica"
        return f"nothing was measured without speculation at {load}{predicted}"
    speedup = measured.speedup
    return (
        f"speed-up {speedup.value:.2f} (95 %: {speedup.low:.2f} to {speedup.high:.2f}) by {measured.source}, "
        f"limit {1 / (1 + view.guard.latency.max_regression_percent / 100):.2f}"
    )


def _limited(view: View, limit: Limit) -> str:
    histogram = getattr(view.slow, limit.histogram)
    if not has_enough(histogram):
        return f"{limit.name} too few requests, limit {limit.text}"
    # Over it on the whole, and all the same no reason to act: it was not so all the time.
    is_over = [limit.is_exceeded(window) for window in (view.slow, view.earlier, view.fast)]
    partly = ", not all the time" if is_over[0] and not all(is_over) else ""
    return f"{limit.name} {between(quantile_bounds(histogram, 0.99))}, limit {limit.text}{partly}"


def latency(view: View) -> str:
    """The P99s that have a limit."""
    return "; ".join(_limited(view, limit) for limit in limits(view)) or "no limit is set in guard.latency"


def floor(view: View) -> str:
    """Acceptance beside the floor."""
    floor_percent = view.guard.acceptance.off_below_percent
    is_below = [100 * part.acceptance_rate < floor_percent for part in (view.slow, view.earlier, view.fast)]
    partly = ", not all the time" if is_below[0] and not all(is_below) else ""
    return _rate_beside(view, f"limit {floor_percent} %{partly}")


def review(view: View) -> str:
    """Acceptance beside the band of review."""
    acceptance = view.guard.acceptance
    return _rate_beside(view, f"review from {acceptance.off_below_percent} to {acceptance.review_below_percent} %")


def _rate_beside(view: View, limit: str) -> str:
    slow = view.slow
    if view.mode is Mode.OFF:
        return _SPECULATION_IS_OFF
    if slow.drafts < MIN_DRAFTS or slow.draft_tokens < MIN_FLOOR_TOKENS:
        seen = f"{count(slow.draft_tokens)} draft tokens in {count(slow.drafts)} drafts over {span(slow.seconds)}"
        return f"{seen}, needs {MIN_FLOOR_TOKENS} in {MIN_DRAFTS}"
    return f"acceptance rate {percent(slow.acceptance_rate)} over {span(slow.seconds)}, {limit}"


def _change(change: Change | None, what: str) -> str:
    if change is None:
        return _NO_CHANGE
    return (
        f"{what} {change.reference:.2f} -> {change.recent:.2f}, evidence {change.evidence_nats:.1f} of "
        f"{change.threshold_nats:.1f} nats"
    )


def decay(view: View) -> str:
    """A slope over hours."""
    return _change(view.situation.measurement.signals.decay, "acceptance length")


def fall(view: View) -> str:
    """A change for the worse."""
    return _change(view.situation.measurement.signals.acceptance_fall, "acceptance length")


def rise(view: View) -> str:
    """A change for the better, which may be too good."""
    return _change(view.situation.measurement.signals.acceptance_rise, "acceptance length")


def tpot_rise(view: View) -> str:
    """Time per token beside what this load used to cost."""
    return _change(view.situation.measurement.signals.tpot_rise, "TPOT against this load's own")


def mixture(view: View) -> str:
    """Median and tail, with speculation and without."""
    if view.mode is Mode.OFF:
        return _SPECULATION_IS_OFF
    off, tpot = mixed_bounds(view), view.slow.tpot
    if off is None or tpot is None:
        return "TPOT P50 and P99 without speculation are not known at this load"
    median, tail = (between(quantile_bounds(tpot, quantile)) for quantile in (0.5, 0.99))
    return f"TPOT P50 {median} against {between(off[0])}, P99 {tail} against {between(off[1])}"


def temperatures(view: View) -> str:
    """Acceptance by temperature."""
    buckets = view.situation.measurement.temperatures
    if not view.guard.meter:
        return "the meter does not run (guard.meter)"
    told = [
        f"{bucket.temperature}: {percent(bucket.acceptance.mean_seconds)}"
        for bucket in buckets
        if bucket.acceptance.count >= MIN_REQUESTS_PER_TEMPERATURE
    ]
    limit = f"limit {view.guard.acceptance.off_below_percent} % for the median"
    return f"mean by temperature {', '.join(told)}; {limit}" if told else "too few metered requests"


def window(view: View) -> str:
    """What was asked for and what is used."""
    return f"guard.window {view.guard.window}, the shortest that shows anything is {span(view.fast.seconds)}"
