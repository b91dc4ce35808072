"""What acceptance says of the draft. Acceptance is a property of the traffic too: except for a collapse, which no
drafted method survives, every rule asks for many tokens, both windows, and a baseline where there is one.
"""

import math

from specdecode.api.status import EvidenceItem
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import (
    COLLAPSED_ACCEPTANCE_LENGTH,
    MIN_DRAFT_TOKENS,
    acceptance_points,
)
from specdecode.decide.benefit import Source
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Batch, Window
from specdecode.decide.situation import MIN_BATCHES, View
from specdecode.decide.wording import count, percent, span

MIN_DRAFTS = 200
"""Fewer drafts may all belong to one odd request."""
MIN_FLOOR_TOKENS = 1000
MIN_REQUESTS_SEEN = 4
"""A healthy chat may loop, and a draft guesses nothing of it: of fewer requests, one may be most of the drafts."""

DRAFTED = frozenset({Mode.QUANTIZED_DRAFT, Mode.DRAFT})
"""Modes that pay for a draft model. N-gram drafts are free, and a step without a match drafts nothing: it still gains
at an acceptance length of 1.17 (arXiv 2601.11580, GSM8K)."""

_DESIGN_EFFECT = 10
"""Tokens of one request accept alike: measured design effects lie between 2 and 18 with requests capped at 256 steps
(traces of arXiv 2601.11580)."""
_Z = 1.959963984540054
"""Two-sided 95 % of the standard normal distribution."""


def _pooled(batches: tuple[Batch, ...]) -> Window:
    """Some batches as one window, as far as drafts go."""
    return Window(
        seconds=round(sum(batch.seconds for batch in batches)),
        drafts=sum(batch.drafts for batch in batches),
        draft_tokens=sum(batch.draft_tokens for batch in batches),
        accepted_tokens=sum(batch.accepted_tokens for batch in batches),
    )


def _rate_item(window: Window, limit_percent: float) -> EvidenceItem:
    return EvidenceItem(name="acceptanceRate", value=percent(window.acceptance_rate), limit=f"{limit_percent:g} %")


def _volume_items(window: Window) -> tuple[EvidenceItem, ...]:
    return (
        EvidenceItem(name="drafts", value=count(window.drafts)),
        EvidenceItem(name="draftTokens", value=count(window.draft_tokens)),
        EvidenceItem(name="window", value=span(window.seconds)),
    )


def _after_collapse(view: View) -> Mode | None:
    """The unquantised draft only where it was seen healthy: in vllm-project/vllm#52873 it had collapsed as well."""
    is_known = view.mode is Mode.QUANTIZED_DRAFT and view.situation.draft_baseline is not None
    return next((mode for mode in view.below if mode is not Mode.DRAFT or is_known), None)


def _newest_drafts(view: View, least_batches: int) -> tuple[Batch, ...]:
    """The newest batches that are a verdict on the draft, and not on one request: newest first. Empty when all of them
    are not enough.
    """
    newest: list[Batch] = []
    drafts = requests = 0.0
    for batch in reversed(view.batches):
        if batch.drafts <= 0:
            continue
        if not newest:
            requests = batch.running_requests * view.situation.measurement.pods_up
        newest.append(batch)
        drafts += batch.drafts
        requests += batch.requests
        if len(newest) >= least_batches and drafts >= MIN_DRAFTS and requests >= MIN_REQUESTS_SEEN:
            return tuple(newest)
    return ()


def _has_collapsed(batches: tuple[Batch, ...]) -> bool:
    return bool(batches) and _pooled(batches).acceptance_length <= COLLAPSED_ACCEPTANCE_LENGTH


def _collapsed(view: View) -> tuple[Batch, ...]:
    """The batches that show a collapse; empty: none does.

    Two scrapes in a row; or one that is enough by itself when the detector has half of its evidence: the scrape before
    it may lie half before the fault, and one scrape cannot bring all of it.
    """
    newest = _newest_drafts(view, MIN_BATCHES)
    if _has_collapsed(newest):
        return newest
    fall = view.situation.measurement.signals.acceptance_fall
    if not newest or fall is None or fall.evidence_nats < fall.threshold_nats / 2:
        return ()
    last = _newest_drafts(view, 1)
    return last if len(last) == 1 and _has_collapsed(last) else ()


def newest_drafts_of(view: View) -> Window | None:
    """What a collapse is judged on; None while that is too little."""
    newest = _newest_drafts(view, MIN_BATCHES)
    return _pooled(newest) if newest else None


def acceptance_collapsed(view: View) -> Finding | None:
    """Hardly any draft token is accepted: no drafted method pays then, whatever the load."""
    if view.mode not in DRAFTED:
        return None
    batches = _collapsed(view)
    if not batches:
        return None
    pooled = _pooled(batches)
    what = (
        f"acceptance length {pooled.acceptance_length:.2f} and rate {percent(pooled.acceptance_rate)} over "
        f"{span(pooled.seconds)} ({count(pooled.drafts)} drafts), limit {COLLAPSED_ACCEPTANCE_LENGTH:g}"
    )
    length = EvidenceItem(
        name="acceptanceLength",
        value=f"{pooled.acceptance_length:.2f}",
        limit=f"{COLLAPSED_ACCEPTANCE_LENGTH:g}",
    )
    return view.step(Reason.ACCEPTANCE_COLLAPSED, what, _after_collapse(view), (length, *_volume_items(pooled)))


def _surest_drop_points(
    reference_points: float, reference_tokens: float, window: Window, design_effect: float
) -> float:
    """The smallest drop in points that a 95 % interval around the difference of two rates allows; NaN without drafts.

    The variance of each rate is the binomial one times the design effect.
    """
    reference, rate = reference_points / 100, window.acceptance_rate
    variance = reference * (1 - reference) / reference_tokens + rate * (1 - rate) / max(window.draft_tokens, 1)
    return 100 * (reference - rate - _Z * math.sqrt(design_effect * variance))


def _design_effect(view: View) -> float:
    """As measured on this deployment's own batches; never below one, and a careful constant until it is known."""
    measured = view.situation.measurement.signals.design_effect
    return _DESIGN_EFFECT if math.isnan(measured) else max(1.0, measured)


def quantization_drop(view: View) -> Finding | None:
    """The quantised draft accepts clearly less than the same draft did unquantised."""
    baseline = view.situation.draft_baseline
    points = acceptance_points(baseline) if baseline else None
    if view.mode is not Mode.QUANTIZED_DRAFT or baseline is None or points is None:
        return None
    if min(baseline.draft_tokens, view.slow.draft_tokens, view.fast.draft_tokens) < MIN_DRAFT_TOKENS:
        return None
    limit, effect = view.guard.acceptance.max_quantization_drop_points, _design_effect(view)
    surest = [_surest_drop_points(points, baseline.draft_tokens, window, effect) for window in (view.slow, view.fast)]
    has_lasted = points - 100 * view.earlier.acceptance_rate > limit
    if min(surest) <= limit or not has_lasted:
        return None
    rate = view.slow.acceptance_rate
    what = (
        f"the quantised draft accepts {percent(rate)} over {span(view.slow.seconds)} ({count(view.slow.requests)} "
        f"requests) and accepted {points:.1f} % unquantised: {points - 100 * rate:.1f} points less, with 95 % "
        f"confidence more than {surest[0]:.1f}, limit {limit}"
    )
    drop = EvidenceItem(name="acceptanceDropPoints", value=f"{points - 100 * rate:.1f}", limit=str(limit))
    requests = EvidenceItem(name="requests", value=count(view.slow.requests))
    target = Mode.DRAFT if Mode.DRAFT in view.below else view.down
    return view.step(Reason.QUANTIZATION_DROP, what, target, (drop, requests, *_volume_items(view.slow)))


def _is_below_all_window(view: View, floor_percent: float) -> bool:
    slow = view.slow
    has_enough = slow.drafts >= MIN_DRAFTS and slow.draft_tokens >= MIN_FLOOR_TOKENS
    # The newest part first: where it is healthy, which is nearly always, the rest need not be worked out.
    return (
        has_enough
        and 100 * view.fast.acceptance_rate < floor_percent
        and 100 * view.earlier.acceptance_rate < floor_percent
    )


def acceptance_below_floor(view: View) -> Finding | None:
    """Acceptance is under the floor. What speculation brings has the last word where it is known.

    A prediction may keep it, with all of its interval; it never turns it off. An EAGLE head that proposes three tokens
    accepts 42 to 46 % of them on every trace of arXiv 2601.11580 and is 1.5 times as fast.

    A change that is certain does not shorten the window here: content alone can go under the floor for a minute.
    """
    slow, floor = view.slow, view.guard.acceptance.off_below_percent
    if view.mode is Mode.OFF or not _is_below_all_window(view, floor):
        return None
    what = (
        f"acceptance rate {percent(slow.acceptance_rate)} over {span(slow.seconds)} ({count(slow.draft_tokens)} draft "
        f"tokens), limit {floor} %"
    )
    benefit = view.expected_benefit
    if benefit is not None and benefit.speedup.low > 1:
        return Finding(Reason.LOW_ACCEPTANCE_PAYS, f"{what}: it pays all the same, {benefit.sentence}")
    is_measured = benefit is not None and benefit.source is not Source.PREDICTION
    if benefit is not None and is_measured and not benefit.is_loss:
        message = f"{what}: it neither surely pays nor surely costs, {benefit.sentence}"
        return Finding(Reason.ACCEPTANCE_UNDER_REVIEW, message)
    if view.mode is Mode.NGRAM and not is_measured:
        message = f"{what}: n-gram speculation may still pay; run once with force-mode Off to learn the baseline"
        return Finding(Reason.ACCEPTANCE_UNDER_REVIEW, message)
    known = "nothing shows that it pays" if not is_measured else ""
    expected = "" if benefit is None else benefit.sentence
    what = ", ".join(part for part in (what, known, expected) if part)
    target = Mode.OFF if Mode.OFF in view.below else None
    return view.step(Reason.ACCEPTANCE_BELOW_FLOOR, what, target, (_rate_item(slow, floor), *_volume_items(slow)))


def acceptance_under_review(view: View) -> Finding | None:
    """Acceptance is neither good nor bad: latency decides."""
    acceptance, slow = view.guard.acceptance, view.slow
    rate_percent = 100 * slow.acceptance_rate
    is_between = acceptance.off_below_percent <= rate_percent < acceptance.review_below_percent
    if view.mode not in DRAFTED or slow.draft_tokens < MIN_FLOOR_TOKENS or not is_between:
        return None
    message = (
        f"acceptance rate {percent(slow.acceptance_rate)} over {span(slow.seconds)} lies between "
        f"{acceptance.off_below_percent} % and {acceptance.review_below_percent} %: measure P99 under real load "
        "before relying on speculation"
    )
    return Finding(Reason.ACCEPTANCE_UNDER_REVIEW, message)
