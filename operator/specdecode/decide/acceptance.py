"""What acceptance says of the draft. Acceptance is a property of the traffic too: except for a collapse, which no
drafted method survives, every rule asks for many tokens, both windows, and a baseline where there is one.
"""

import math

from specdecode.api.status import DraftBaseline, EvidenceItem
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import (
    COLLAPSED_ACCEPTANCE_LENGTH,
    MIN_DRAFT_TOKENS,
    MIN_REQUESTS,
    acceptance_points,
)
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Window
from specdecode.decide.situation import View
from specdecode.decide.wording import count, percent, seconds_in, span, spoken

MIN_DRAFTS = 200
"""Fewer drafts may all belong to one odd request."""
_MIN_FLOOR_TOKENS = 1000

_DRAFTED = frozenset({Mode.QUANTIZED_DRAFT, Mode.DRAFT})
"""Modes that pay for a draft model. N-gram drafts are free, and a step without a match drafts nothing: it still gains
at an acceptance length of 1.17 (arXiv 2601.11580, GSM8K)."""

_DESIGN_EFFECT = 10
"""Tokens of one request accept alike: measured design effects lie between 2 and 18 with requests capped at 256 steps
(traces of arXiv 2601.11580)."""
_Z = 1.959963984540054
"""Two-sided 95 % of the standard normal distribution."""


def _rate_item(window: Window, limit_percent: float) -> EvidenceItem:
    return EvidenceItem(name="acceptanceRate", value=percent(window.acceptance_rate), limit=f"{limit_percent:g} %")


def _volume_items(window: Window) -> tuple[EvidenceItem, ...]:
    return (
        EvidenceItem(name="drafts", value=count(window.drafts)),
        EvidenceItem(name="draftTokens", value=count(window.draft_tokens)),
        EvidenceItem(name="window", value=span(window.seconds)),
    )


def _draft_baseline(view: View) -> DraftBaseline | None:
    """What the same draft accepted unquantised; None when it was never seen healthy."""
    baseline = view.situation.status.baseline
    draft = baseline.draft if baseline else None
    return draft if draft is not None and draft.key == view.plan.draft_key else None


def _after_collapse(view: View) -> Mode | None:
    """The unquantised draft only where it was seen healthy: in vllm-project/vllm#52873 it had collapsed as well."""
    is_known = view.mode is Mode.QUANTIZED_DRAFT and _draft_baseline(view) is not None
    return next((mode for mode in view.below if mode is not Mode.DRAFT or is_known), None)


def acceptance_collapsed(view: View) -> Finding | None:
    """Hardly any draft token is accepted: no drafted method pays then, whatever the load."""
    window = view.fast
    is_collapsed = window.acceptance_length <= COLLAPSED_ACCEPTANCE_LENGTH
    if view.mode not in _DRAFTED or window.drafts < MIN_DRAFTS or not is_collapsed:
        return None
    what = (
        f"acceptance length {window.acceptance_length:.2f} and rate {percent(window.acceptance_rate)} over "
        f"{span(window.seconds)} ({count(window.drafts)} drafts), limit {COLLAPSED_ACCEPTANCE_LENGTH:g}"
    )
    length = EvidenceItem(
        name="acceptanceLength",
        value=f"{window.acceptance_length:.2f}",
        limit=f"{COLLAPSED_ACCEPTANCE_LENGTH:g}",
    )
    return view.step(Reason.ACCEPTANCE_COLLAPSED, what, _after_collapse(view), (length, *_volume_items(window)))


def _surest_drop_points(reference_points: float, reference_tokens: float, window: Window) -> float:
    """The smallest drop in points that a 95 % interval around the difference of two rates allows; NaN without drafts.

    The variance of each rate is the binomial one times the design effect.
    """
    reference, rate = reference_points / 100, window.acceptance_rate
    variance = reference * (1 - reference) / reference_tokens + rate * (1 - rate) / max(window.draft_tokens, 1)
    return 100 * (reference - rate - _Z * math.sqrt(_DESIGN_EFFECT * variance))


def quantization_drop(view: View) -> Finding | None:
    """The quantised draft accepts clearly less than the same draft did unquantised."""
    baseline = _draft_baseline(view)
    points = acceptance_points(baseline) if baseline else None
    if view.mode is not Mode.QUANTIZED_DRAFT or baseline is None or points is None:
        return None
    if min(baseline.draft_tokens, view.slow.draft_tokens, view.fast.draft_tokens) < MIN_DRAFT_TOKENS:
        return None
    limit = view.guard.acceptance.max_quantization_drop_points
    surest = [_surest_drop_points(points, baseline.draft_tokens, window) for window in (view.slow, view.fast)]
    has_lasted = points - 100 * view.earlier.acceptance_rate > limit
    if min(surest) <= limit or not has_lasted:
        return None
    rate = view.slow.acceptance_rate
    what = (
        f"the quantised draft accepts {percent(rate)} over {span(view.slow.seconds)} and accepted {points:.1f} % "
        f"unquantised: {points - 100 * rate:.1f} points less, surely more than {surest[0]:.1f}, limit {limit}"
    )
    drop = EvidenceItem(name="acceptanceDropPoints", value=f"{points - 100 * rate:.1f}", limit=str(limit))
    target = Mode.DRAFT if Mode.DRAFT in view.below else view.down
    return view.step(Reason.QUANTIZATION_DROP, what, target, (drop, *_volume_items(view.slow)))


def _off_seconds(view: View) -> float | None:
    """Mean TPOT without speculation at this load, if it can be compared with what is measured now."""
    off, tpot = view.off_baseline, view.slow.tpot
    if off is None or tpot is None or tpot.count < MIN_REQUESTS:
        return None
    return seconds_in(off.tpot_mean)


def _floor_sentence(view: View) -> str:
    slow = view.slow
    return (
        f"acceptance rate {percent(slow.acceptance_rate)} over {span(slow.seconds)} ({count(slow.draft_tokens)} draft "
        f"tokens), limit {view.guard.acceptance.off_below_percent} %"
    )


def acceptance_below_floor(view: View) -> Finding | None:
    """Acceptance is under the floor. Latency has the last word where it can be compared."""
    slow, floor = view.slow, view.guard.acceptance.off_below_percent
    has_enough = slow.drafts >= MIN_DRAFTS and slow.draft_tokens >= _MIN_FLOOR_TOKENS
    is_below = all(100 * window.acceptance_rate < floor for window in (view.earlier, view.fast))
    if view.mode is Mode.OFF or not has_enough or not is_below:
        return None
    what = _floor_sentence(view)
    off_seconds = _off_seconds(view)
    if off_seconds is None and view.mode is Mode.NGRAM:
        message = f"{what}: n-gram speculation may still pay; run once with force-mode Off to learn the baseline"
        return Finding(Reason.ACCEPTANCE_UNDER_REVIEW, message)
    if off_seconds is not None and slow.tpot is not None and slow.tpot.mean_seconds < off_seconds:
        message = (
            f"{what}: it pays all the same, mean TPOT {spoken(slow.tpot.mean_seconds)} against "
            f"{spoken(off_seconds)} without speculation at this load"
        )
        return Finding(Reason.LOW_ACCEPTANCE_PAYS, message)
    target = Mode.OFF if Mode.OFF in view.below else None
    return view.step(Reason.ACCEPTANCE_BELOW_FLOOR, what, target, (_rate_item(slow, floor), *_volume_items(slow)))


def acceptance_under_review(view: View) -> Finding | None:
    """Acceptance is neither good nor bad: latency decides."""
    acceptance, slow = view.guard.acceptance, view.slow
    rate_percent = 100 * slow.acceptance_rate
    is_between = acceptance.off_below_percent <= rate_percent < acceptance.review_below_percent
    if view.mode not in _DRAFTED or slow.draft_tokens < _MIN_FLOOR_TOKENS or not is_between:
        return None
    message = (
        f"acceptance rate {percent(slow.acceptance_rate)} over {span(slow.seconds)} lies between "
        f"{acceptance.off_below_percent} % and {acceptance.review_below_percent} %: measure P99 under real load "
        "before relying on speculation"
    )
    return Finding(Reason.ACCEPTANCE_UNDER_REVIEW, message)
