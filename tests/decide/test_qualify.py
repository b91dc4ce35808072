"""`guard.qualify`: which draft runs first, and until when."""

from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, child, measurement, mode_plan, plan, situation, status

from specdecode.api.status import BaselineStatus, DraftBaseline, RollbackStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.decide import decide
from specdecode.decide.decision import Reason, Step
from specdecode.decide.qualify import first_mode, needed_draft_tokens
from specdecode.decide.situation import Situation

QUANTIZED, DRAFT, NGRAM, OFF = Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.NGRAM, Mode.OFF
ASKED = {"spec.guard.qualify": True}


def draft(tokens: int = 60_000, percent: str = "75.0", *, minutes_ago: float = 1, key: str = plan().draft_key) -> Any:
    at = NOW - timedelta(minutes=minutes_ago)
    return DraftBaseline(key=key, acceptance_rate_percent=percent, draft_tokens=tokens, at=at)


def seen(baseline: DraftBaseline | None = None, *, running: Mode = DRAFT, **overrides: Any) -> Situation:
    known = status(mode=running, baseline=BaselineStatus(draft=baseline), **overrides.pop("status", {}))
    asked, looked = overrides.pop("spec", ASKED), measurement(mode=running)
    return situation(spec=asked, status=known, child=child(mode=running), measurement=looked, **overrides)


def test_eleven_thousand_draft_tokens_tell_a_drop_of_five_points_at_three_quarters() -> None:
    assert needed_draft_tokens(0.75, 5) == pytest.approx(11_525, rel=0.01)


@pytest.mark.parametrize(
    ("situation", "mode"),
    [
        pytest.param(seen(), DRAFT, id="nothing is known of the unquantised draft"),
        pytest.param(seen(draft(tokens=5_000)), DRAFT, id="too few tokens to tell a drop"),
        pytest.param(seen(draft(percent="many")), DRAFT, id="what status says is no number"),
        pytest.param(seen(draft(key="other")), DRAFT, id="what is known is of another draft"),
        pytest.param(seen(draft()), QUANTIZED, id="it is known"),
        pytest.param(seen(draft(tokens=5_000, minutes_ago=90)), QUANTIZED, id="thin traffic, known for long"),
        pytest.param(seen(spec={}), QUANTIZED, id="not asked for"),
        pytest.param(seen(plan=plan(DRAFT, OFF)), DRAFT, id="the spec asks for the unquantised draft"),
        pytest.param(seen(plan=plan(QUANTIZED, OFF)), QUANTIZED, id="the unquantised draft is no fallback"),
        pytest.param(seen(plan=plan(QUANTIZED, mode_plan(DRAFT, fits=False), OFF)), QUANTIZED, id="it does not fit"),
    ],
)
def test_the_unquantised_draft_runs_first_until_it_is_known(situation: Situation, mode: Mode) -> None:
    assert first_mode(situation) is mode


def test_the_condition_says_how_far_it_is() -> None:
    waiting, counting = decide(seen()), decide(seen(draft(tokens=5_000)))
    assert (waiting.mode, waiting.reason, waiting.step) == (DRAFT, Reason.QUALIFYING, Step.KEEP)
    assert "is being measured" in waiting.message
    assert "75.0 % of 5000 draft tokens, 11524 are needed" in counting.message


def test_the_quantised_draft_follows_and_history_can_tell() -> None:
    decision = decide(seen(draft()))
    assert (decision.mode, decision.reason, decision.step) == (QUANTIZED, Reason.QUALIFIED, Step.UP)
    after = decide(seen(draft(), running=QUANTIZED))
    assert (after.mode, after.reason, after.step) == (QUANTIZED, Reason.AS_REQUESTED, Step.KEEP)


def test_a_draft_that_was_fallen_back_to_is_not_qualified_again() -> None:
    latch = RollbackStatus(
        from_mode=QUANTIZED,
        to=DRAFT,
        reason="QuantizationDrop",
        message="",
        at=NOW,
        spec_hash=seen().resource.spec_hash,
    )
    decision = decide(seen(draft(), status={"rollback": latch}))
    assert (decision.mode, decision.reason) == (DRAFT, Reason.ROLLED_BACK)


def test_another_requested_mode_is_not_qualified() -> None:
    assert decide(seen(draft(), plan=plan(DRAFT, OFF))).reason is Reason.AS_REQUESTED
