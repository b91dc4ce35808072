"""`guard.qualify`: the unquantised draft runs first, until what it accepts is known well enough to hold the quantised
one against it.
"""

from datetime import datetime, timedelta

from specdecode.api.guard import GuardSpec
from specdecode.api.status import DraftBaseline
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import acceptance_points
from specdecode.decide.situation import Situation
from specdecode.decide.wording import count, percent

_DESIGN_EFFECT = 10
"""See `specdecode.decide.acceptance`: what batches have is not known before they are."""
_Z = 1.959963984540054
_LONG_ENOUGH = timedelta(hours=1)
"""Where traffic is too thin for the tokens, the draft has been seen healthy for long all the same."""


def needed_draft_tokens(rate: float, drop_points: int) -> float:
    """Proposed tokens after which 95 % of the interval around an acceptance rate reach half of the limit to each side:
    then a drop of the limit can be told from none.
    """
    half_width = drop_points / 100 / 2
    return _DESIGN_EFFECT * rate * (1 - rate) * (_Z / half_width) ** 2


def _is_known(baseline: DraftBaseline, guard: GuardSpec, now: datetime) -> bool:
    points = acceptance_points(baseline)
    if points is None:
        return False
    needed = needed_draft_tokens(points / 100, guard.acceptance.max_quantization_drop_points)
    return baseline.draft_tokens >= needed or now - baseline.at >= _LONG_ENOUGH


def is_qualifying(situation: Situation) -> bool:
    """Whether the unquantised draft has to show what it accepts before the requested, quantised one runs."""
    plan, guard = situation.plan, situation.guard
    draft = plan.mode(Mode.DRAFT)
    if not guard.qualify or plan.requested_mode is not Mode.QUANTIZED_DRAFT or draft is None or not draft.fits:
        return False
    baseline = situation.draft_baseline
    return baseline is None or not _is_known(baseline, guard, situation.now)


def first_mode(situation: Situation) -> Mode:
    """The mode to begin with under this spec."""
    return Mode.DRAFT if is_qualifying(situation) else situation.plan.requested_mode


def progress(situation: Situation) -> str:
    """How far the qualification is, for the condition."""
    baseline = situation.draft_baseline
    points = None if baseline is None else acceptance_points(baseline)
    if baseline is None or points is None:
        return "its acceptance is being measured"
    needed = needed_draft_tokens(points / 100, situation.guard.acceptance.max_quantization_drop_points)
    return (
        f"it accepts {percent(points / 100)} of {count(baseline.draft_tokens)} draft tokens, {count(needed)} are needed"
    )
