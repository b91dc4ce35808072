"""The circuit breaker and the rate limit: who is held, for what, how long, and what holds meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, child, condition, measurement, pod_fact, resource, situation, status, window

from specdecode.api.status import Condition, ConditionType, EvidenceItem, RollbackStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.breaker import ALONE, Fleet, held, hold_of, wants_to_step
from specdecode.decide.decide import decide
from specdecode.decide.decision import Decision, Reason, Step
from specdecode.decide.situation import Situation


def steps(*minutes_ago: float) -> tuple[Any, ...]:
    return tuple(NOW - timedelta(minutes=minutes) for minutes in minutes_ago)


def was_held(*, generation: int = 1) -> Situation:
    said = condition(ConditionType.SPECULATION_ACTIVE, "True", reason="CircuitBreakerOpen")
    said = said.model_copy(update={"observed_generation": generation})
    healthy = situation()
    return replace(
        healthy,
        resource=healthy.resource.model_copy(
            update={"status": status(conditions=(*status().conditions, said))},
        ),
    )


@pytest.mark.parametrize(
    ("fleet", "reason"),
    [
        pytest.param(ALONE, None, id="one deployment alone: its own affair"),
        pytest.param(Fleet(judged=2, stepping=2), None, id="both of two: may be chance"),
        pytest.param(Fleet(judged=3, stepping=3), Reason.CIRCUIT_BREAKER_OPEN, id="three of three"),
        pytest.param(Fleet(judged=10, stepping=3), Reason.CIRCUIT_BREAKER_OPEN, id="three of ten, 30 %"),
        pytest.param(Fleet(judged=11, stepping=3), None, id="three of eleven, 27 %"),
        pytest.param(Fleet(judged=100, stepping=29), None, id="29 of a hundred"),
        pytest.param(Fleet(judged=100, stepping=30), Reason.CIRCUIT_BREAKER_OPEN, id="30 of a hundred"),
        pytest.param(Fleet(judged=100, namespace_steps=steps(8, 6, 4, 2)), None, id="four in the namespace"),
        pytest.param(
            Fleet(judged=100, namespace_steps=steps(9, 8, 6, 4, 2)), Reason.TOO_MANY_STEPS, id="five in the namespace"
        ),
        pytest.param(
            Fleet(judged=100, namespace_steps=steps(2), max_namespace_steps=1), Reason.TOO_MANY_STEPS, id="limit 1"
        ),
    ],
)
def test_who_is_held(fleet: Fleet, reason: Reason | None) -> None:
    hold = hold_of(situation(), fleet)
    assert (hold.reason if hold else None) == reason


def test_the_breaker_says_how_many_and_what_to_do() -> None:
    hold = hold_of(situation(), Fleet(judged=9, stepping=4))
    assert hold is not None
    assert "4 of 9 deployments that speculate" in hold.message
    assert "the cause is probably shared" in hold.message
    assert "specdecode.io/force-mode" in hold.message


def test_the_rate_limit_says_when_the_next_is_possible() -> None:
    hold = hold_of(situation(), Fleet(judged=100, namespace_steps=steps(9, 8, 6, 4, 2), max_namespace_steps=3))
    assert hold is not None
    assert "the next is possible from 2026-11-22T12:04:00Z" in hold.message, "ten minutes after the third last"


def test_once_held_it_stays_held_until_a_person_acts() -> None:
    hold = hold_of(was_held(), ALONE)
    assert hold is not None
    assert hold.reason is Reason.CIRCUIT_BREAKER_OPEN
    assert "many deployments" in hold.message
    assert hold_of(was_held(generation=0), ALONE) is None, "a new spec is an answer"


COLLAPSED = measurement(slow=window(accepted_tokens=200.0))
MANY = Fleet(judged=4, stepping=4)


def decided(a_situation: Situation, fleet: Fleet = ALONE) -> Decision:
    return held(a_situation, decide(a_situation), fleet)


def test_a_collapse_of_one_steps_and_of_many_does_not() -> None:
    collapsing = situation(measurement=COLLAPSED)
    assert (decided(collapsing).step, decided(collapsing).mode) == (Step.DOWN, Mode.NGRAM)
    kept = decided(collapsing, MANY)
    assert (kept.step, kept.mode, kept.rollback) == (Step.KEEP, Mode.QUANTIZED_DRAFT, None)
    assert kept.reason is Reason.CIRCUIT_BREAKER_OPEN
    assert kept.recommended is None
    assert kept.message.startswith("QuantizedDraft stays, the step to NGram for AcceptanceCollapsed (")
    assert kept.findings[0].reason is Reason.CIRCUIT_BREAKER_OPEN
    assert wants_to_step(kept)
    assert wants_to_step(decided(collapsing))


def test_an_engine_that_does_not_start_is_held_as_well() -> None:
    loops = {"is_ready": False, "restarts": 5, "waiting_reason": "CrashLoopBackOff"}
    pod = pod_fact(**loops, not_ready_since=NOW - timedelta(minutes=5))
    starting = situation(child=child(ready_replicas=1), pods=(pod,))
    assert decided(starting).reason is Reason.ENGINE_NOT_STARTING
    assert decided(starting).step is Step.DOWN
    kept = decided(starting, MANY)
    assert (kept.step, kept.mode, kept.reason) == (Step.KEEP, Mode.QUANTIZED_DRAFT, Reason.CIRCUIT_BREAKER_OPEN)


def test_a_further_step_that_is_held_leaves_the_latch_of_the_first_alone() -> None:
    latch = RollbackStatus(
        from_mode=Mode.QUANTIZED_DRAFT,
        to=Mode.DRAFT,
        reason="QuantizationDrop",
        message="4 points less",
        at=NOW - timedelta(hours=3),
        spec_hash=resource().spec_hash,
    )
    collapsing = situation(
        status=status(rollback=latch, mode=Mode.DRAFT),
        child=child(mode=Mode.DRAFT),
        measurement=replace(COLLAPSED, mode=Mode.DRAFT),
    )
    assert decided(collapsing).step is Step.DOWN
    kept = decided(collapsing, MANY)
    assert (kept.mode, kept.rollback) == (Mode.DRAFT, latch)


def test_steps_up_and_rest_are_never_held() -> None:
    healthy = situation()
    assert decided(healthy, MANY) == decide(healthy)
    assert not wants_to_step(decide(healthy))
    up = replace(decide(healthy), step=Step.UP, reason=Reason.RETRIED)
    assert held(healthy, up, MANY) is up


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        pytest.param((), "for LatencyOverLimit is held", id="no numbers"),
        pytest.param(
            (EvidenceItem(name="tpotP99", value="80ms", limit="50ms"), EvidenceItem(name="load", value="16")),
            "for LatencyOverLimit (tpotP99 80ms, limit 50ms; load 16) is held",
            id="the numbers",
        ),
    ],
)
def test_the_cause_is_told_with_its_numbers(evidence: tuple[EvidenceItem, ...], cause: str) -> None:
    healthy = situation()
    rollback = RollbackStatus(
        from_mode=Mode.QUANTIZED_DRAFT,
        to=Mode.OFF,
        reason="LatencyOverLimit",
        message="",
        evidence=evidence,
        at=NOW,
        spec_hash="x",
    )
    down = Decision(Mode.OFF, Step.DOWN, Reason.LATENCY_OVER_LIMIT, "", rollback=rollback)
    assert cause in held(healthy, down, MANY).message
    assert "for LatencyOverLimit is held" in held(healthy, replace(down, rollback=None), MANY).message
    limited = held(healthy, down, Fleet(judged=100, namespace_steps=steps(5, 4, 3, 2, 1)))
    assert "for LatencyOverLimit is held: 5 deployments" in limited.message, "moving numbers would be written each time"


def test_a_condition_of_another_reason_holds_nothing() -> None:
    other = situation()
    said: Condition = condition(ConditionType.SPECULATION_ACTIVE, "True", reason="AsRequested")
    changed = other.resource.model_copy(update={"status": status(conditions=(*status().conditions, said))})
    assert hold_of(replace(other, resource=changed), ALONE) is None
