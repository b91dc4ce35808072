"""The next status, question by question."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, child, measurement, mode_plan, plan

from specdecode.api.resource import Metadata, Problem, Rejection
from specdecode.api.status import (
    HISTORY_LIMIT,
    Condition,
    ConditionStatus,
    ConditionType,
    ExonerationStatus,
    HistoryEntry,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Decision, Finding, Reason, Step
from specdecode.decide.facts import Availability, Cluster, Measurement
from specdecode.status import ApplyFailure, Visit, next_status

METADATA = Metadata.model_validate({"name": "llama-70b", "namespace": "serving", "uid": "u", "generation": 7})
REFUSAL = Rejection("DoesNotFit", (Problem("spec", "Draft", "does not fit: short by 3.1Gi per GPU"),))
ROLLBACK = RollbackStatus(
    from_mode=Mode.QUANTIZED_DRAFT,
    to=Mode.OFF,
    reason="AcceptanceCollapsed",
    message="acceptance length 1.04, limit 1.1",
    at=NOW,
    spec_hash="abc",
)
ENTRY = HistoryEntry(
    at=NOW, action="RolledBack", from_mode=Mode.DRAFT, to=Mode.OFF, reason="X", message="m", spec_hash="abc"
)


def decision(**changes: Any) -> Decision:
    good = Decision(Mode.QUANTIZED_DRAFT, Step.KEEP, Reason.AS_REQUESTED, "as requested")
    return replace(good, **changes)


NO_DATA = measurement(availability=Availability.NO_DATA, cause="no series")


OFF = decision(mode=Mode.OFF, reason=Reason.ROLLED_BACK, rollback=ROLLBACK)


def visit(**changes: Any) -> Visit:
    good = Visit(
        metadata=METADATA,
        old=SpecDecodeDeploymentStatus(),
        now=NOW,
        spec_hash="abc",
        cluster=Cluster(child()),
        measurement=measurement(),
        is_paused=False,
        fast_window_seconds=60,
        plan=plan(),
        decision=decision(),
        is_applied=True,
    )
    return replace(good, **changes)


def refused(**changes: Any) -> Visit:
    return visit(refusal=REFUSAL, decision=None, **changes)


def cluster(**changes: Any) -> Cluster:
    return Cluster(child(**changes))


def answers(a_visit: Visit) -> dict[str, tuple[str, str]]:
    return {c.type.value: (c.status.value, c.reason) for c in next_status(a_visit).conditions}


READY = next_status(visit())
HELD = decision(reason=Reason.CIRCUIT_BREAKER_OPEN, message="4 of 9 want to step down")
CONTROL_DOWN = child(desired_replicas=1, replicas=1, ready_replicas=0)
STUCK = Finding(Reason.ENGINE_NOT_STARTING, "the image cannot be pulled")
MOVING = Finding(Reason.ENGINE_NOT_STARTING, "crashes", target=Mode.OFF)


@pytest.mark.parametrize(
    ("a_visit", "kind", "answer"),
    [
        pytest.param(visit(), "Ready", ("True", "Serving"), id="both replicas serve: ready"),
        pytest.param(
            visit(decision=OFF, cluster=cluster(mode=Mode.OFF)), "Ready", ("True", "Serving"), id="rolled back: ready"
        ),
        pytest.param(visit(cluster=Cluster(None)), "Ready", ("False", "NotCreated"), id="no Deployment yet: not ready"),
        pytest.param(
            refused(cluster=Cluster(None)), "Ready", ("False", "DoesNotFit"), id="refused from the start: not ready"
        ),
        pytest.param(refused(), "Ready", ("True", "Serving"), id="refused, the old spec serves: ready"),
        pytest.param(
            visit(cluster=cluster(desired_replicas=0, replicas=0, updated_replicas=0, ready_replicas=0)),
            "Ready",
            ("True", "ScaledToZero"),
            id="nobody asked for replicas: ready",
        ),
        pytest.param(
            visit(cluster=cluster(ready_replicas=0)), "Ready", ("False", "NoReadyReplica"), id="nothing answers"
        ),
        pytest.param(
            visit(cluster=cluster(ready_replicas=1)), "Ready", ("False", "RolloutRunning"), id="one of two answers"
        ),
        pytest.param(
            visit(is_applied=False), "Ready", ("False", "RolloutRunning"), id="the old template serves: not ready yet"
        ),
        pytest.param(
            visit(cluster=Cluster(child(), (), CONTROL_DOWN)),
            "Ready",
            ("True", "Serving"),
            id="the control arm does not answer: the main arm serves",
        ),
        pytest.param(
            visit(cluster=Cluster(child(ready_replicas=0), (), child(ready_replicas=1))),
            "Ready",
            ("False", "RolloutRunning"),
            id="only the control arm answers",
        ),
        pytest.param(
            visit(is_applied=False, is_paused=True), "Ready", ("True", "Serving"), id="paused: what serves is ready"
        ),
        pytest.param(visit(), "Planned", ("True", "Fits"), id="it fits"),
        pytest.param(
            refused(plan=plan(mode_plan(fits=False, short_bytes=1), Mode.OFF)),
            "Planned",
            ("False", "DoesNotFit"),
            id="the requested mode does not fit",
        ),
        pytest.param(refused(plan=None), "Planned", ("False", "DoesNotFit"), id="it could not even be planned"),
        pytest.param(visit(), "SpeculationActive", ("True", "AsRequested"), id="it runs as requested"),
        pytest.param(
            visit(decision=decision(reason=Reason.FORCED)), "SpeculationActive", ("True", "Forced"), id="forced on"
        ),
        pytest.param(
            visit(decision=decision(mode=Mode.OFF, reason=Reason.FORCED)),
            "SpeculationActive",
            ("False", "Forced"),
            id="forced off",
        ),
        pytest.param(visit(decision=OFF), "SpeculationActive", ("False", "RolledBack"), id="rolled back to Off"),
        pytest.param(
            visit(decision=decision(mode=Mode.DRAFT, rollback=ROLLBACK)),
            "SpeculationActive",
            ("True", "RolledBack"),
            id="rolled back to the unquantised draft: still speculating",
        ),
        pytest.param(
            visit(decision=decision(mode=Mode.OFF, reason=Reason.NOT_REQUESTED), plan=plan(Mode.OFF)),
            "SpeculationActive",
            ("False", "NotRequested"),
            id="nobody asked for speculation",
        ),
        pytest.param(
            visit(decision=decision(mode=Mode.OFF, reason=Reason.PAUSED), is_paused=True),
            "SpeculationActive",
            ("False", "Paused"),
            id="paused while Off runs",
        ),
        pytest.param(
            visit(is_applied=False), "SpeculationActive", ("Unknown", "RolloutRunning"), id="on its way: unknown"
        ),
        pytest.param(
            visit(decision=HELD), "SpeculationActive", ("True", "CircuitBreakerOpen"), id="held: it goes on speculating"
        ),
        pytest.param(
            visit(decision=HELD, cluster=cluster(ready_replicas=1)),
            "SpeculationActive",
            ("Unknown", "CircuitBreakerOpen"),
            id="held while it does not start: unknown as before",
        ),
        pytest.param(
            visit(cluster=Cluster(None)), "SpeculationActive", ("Unknown", "RolloutRunning"), id="nothing there yet"
        ),
        pytest.param(
            visit(decision=decision(recommended=Mode.OFF)),
            "SpeculationActive",
            ("True", "StepDownRecommended"),
            id="only recommended: it goes on",
        ),
        pytest.param(refused(), "SpeculationActive", ("True", "DoesNotFit"), id="refused: the old spec speculates on"),
        pytest.param(
            refused(cluster=cluster(mode=Mode.OFF)),
            "SpeculationActive",
            ("False", "DoesNotFit"),
            id="refused: Off runs on",
        ),
        pytest.param(
            refused(cluster=Cluster(None)), "SpeculationActive", ("False", "DoesNotFit"), id="refused: nothing runs"
        ),
        pytest.param(visit(), "MetricsAvailable", ("True", "Measured"), id="measured"),
        pytest.param(
            visit(measurement=measurement(availability=Availability.NO_TRAFFIC)),
            "MetricsAvailable",
            ("True", "NoTraffic"),
            id="nobody asks anything: metrics are there",
        ),
        pytest.param(
            visit(old=READY, measurement=NO_DATA, now=NOW + timedelta(seconds=60)),
            "MetricsAvailable",
            ("Unknown", "NoData"),
            id="no series: unknown, not bad",
        ),
        pytest.param(
            visit(measurement=NO_DATA),
            "MetricsAvailable",
            ("Unknown", "FirstScrapeAwaited"),
            id="no series right after the start: awaited",
        ),
        pytest.param(
            visit(old=READY, measurement=NO_DATA, now=NOW + timedelta(seconds=59)),
            "MetricsAvailable",
            ("Unknown", "FirstScrapeAwaited"),
            id="no series within the first four scrapes: awaited",
        ),
        pytest.param(
            visit(measurement=measurement(availability=Availability.UNREACHABLE, cause="")),
            "MetricsAvailable",
            ("Unknown", "Unreachable"),
            id="Prometheus is gone: unknown, not bad",
        ),
        pytest.param(
            visit(cluster=Cluster(None)), "MetricsAvailable", ("Unknown", "NothingRuns"), id="nothing to measure"
        ),
        pytest.param(refused(), "MetricsAvailable", ("Unknown", "NotJudged"), id="refused: what runs is not judged"),
        pytest.param(visit(), "Paused", ("False", "NotPaused"), id="not paused"),
        pytest.param(visit(is_paused=True), "Paused", ("True", "Annotation"), id="paused by annotation"),
        pytest.param(
            visit(cluster=Cluster(None), is_applied=False, is_paused=True),
            "SpeculationActive",
            ("Unknown", "Paused"),
            id="paused before anything ran",
        ),
        pytest.param(visit(), "Reconciling", ("False", "RolledOut"), id="all is done"),
        pytest.param(visit(is_applied=False), "Reconciling", ("True", "Applying"), id="about to be applied"),
        pytest.param(visit(cluster=Cluster(None)), "Reconciling", ("True", "Applying"), id="about to be created"),
        pytest.param(
            visit(cluster=cluster(ready_replicas=1)), "Reconciling", ("True", "RolloutRunning"), id="pods are starting"
        ),
        pytest.param(
            visit(is_applied=False, is_paused=True), "Reconciling", ("False", "Paused"), id="paused: nothing moves"
        ),
        pytest.param(
            visit(is_applied=False, failure=ApplyFailure("ApplyForbidden", "quota", is_final=False, intent_hash="x")),
            "Reconciling",
            ("True", "ApplyForbidden"),
            id="quota: tried again",
        ),
        pytest.param(refused(), "Reconciling", ("False", "Stalled"), id="refused: only a new spec helps"),
        pytest.param(visit(), "Stalled", ("False", "Progressing"), id="nothing stalls"),
        pytest.param(refused(), "Stalled", ("True", "DoesNotFit"), id="refused: stalled, for kstatus"),
        pytest.param(
            visit(is_applied=False, failure=ApplyFailure("ApplyRefused", "bad", is_final=True, intent_hash="x")),
            "Stalled",
            ("True", "ApplyRefused"),
            id="the API server refuses the object",
        ),
        pytest.param(
            visit(decision=decision(findings=(STUCK,))),
            "Stalled",
            ("True", "EngineNotStarting"),
            id="it does not start, and no mode would",
        ),
        pytest.param(
            visit(decision=decision(findings=(Finding(Reason.GAIN_NOT_CONFIRMED, "?"), MOVING))),
            "Stalled",
            ("False", "Progressing"),
            id="it does not start, and steps down: no stall",
        ),
    ],
)
def test_conditions(a_visit: Visit, kind: str, answer: tuple[str, str]) -> None:
    assert answers(a_visit)[kind] == answer


@pytest.mark.parametrize("a_visit", [visit(), refused(), visit(decision=OFF), visit(cluster=Cluster(None))])
def test_all_conditions_are_there_from_the_first_visit_with_the_generation(a_visit: Visit) -> None:
    conditions = next_status(a_visit).conditions
    assert [condition.type for condition in conditions] == list(ConditionType)
    assert {condition.observed_generation for condition in conditions} == {7}


@pytest.mark.parametrize(
    "a_visit",
    [
        visit(),
        refused(),
        visit(decision=replace(OFF, step=Step.DOWN)),
        visit(decision=decision(recommended=Mode.OFF, findings=(MOVING,))),
        visit(cluster=Cluster(None)),
    ],
)
def test_computing_it_twice_changes_nothing(a_visit: Visit) -> None:
    once = next_status(a_visit)
    later = replace(a_visit, old=once, now=NOW + timedelta(minutes=1))
    assert next_status(later) == once


def test_the_transition_time_moves_only_on_a_flip() -> None:
    old = next_status(visit())
    later = NOW + timedelta(minutes=5)
    new = next_status(visit(old=old, now=later, cluster=cluster(ready_replicas=1)))
    moved = {condition.type.value for condition in new.conditions if condition.last_transition_time == later}
    assert moved == {"Ready", "Reconciling", "SpeculationActive"}


def test_both_arms_are_counted() -> None:
    status = next_status(visit(cluster=Cluster(child(), (), CONTROL_DOWN)))
    assert (status.replicas, status.ready_replicas) == (3, 2)
    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.message == "2 of 3 replicas are ready, mode QuantizedDraft"


def test_what_is_found_stands_in_status() -> None:
    found = next_status(visit(decision=decision(findings=(STUCK,)), control_problem="no control replica: quota"))
    assert [finding.reason for finding in found.findings] == ["EngineNotStarting", "ControlNotRunning"]


def test_a_hold_keeps_its_first_wording() -> None:
    old = next_status(visit(decision=HELD))
    assert next_status(visit(old=old, decision=replace(HELD, message="5 of 9 want to step down"))) == old


def test_a_repeated_recommendation_keeps_its_first_wording() -> None:
    old = next_status(visit(decision=decision(recommended=Mode.OFF, message="acceptance 3.1 %")))
    new = next_status(visit(old=old, decision=decision(recommended=Mode.OFF, message="acceptance 3.2 %")))
    assert new == old


@pytest.mark.parametrize(
    ("old", "a_decision", "action"),
    [
        pytest.param(SpecDecodeDeploymentStatus(), decision(), None, id="nothing happened"),
        pytest.param(SpecDecodeDeploymentStatus(), replace(OFF, step=Step.DOWN), "RolledBack", id="a step down"),
        pytest.param(
            SpecDecodeDeploymentStatus(),
            decision(step=Step.UP, reason=Reason.QUALIFIED),
            "Qualified",
            id="the unquantised draft is known",
        ),
        pytest.param(SpecDecodeDeploymentStatus(), decision(reason=Reason.CONFIRMED), "Confirmed", id="a retry pays"),
        pytest.param(
            SpecDecodeDeploymentStatus(rollback=ROLLBACK),
            decision(step=Step.UP, reason=Reason.RETRIED),
            "Retried",
            id="a retry",
        ),
        pytest.param(
            SpecDecodeDeploymentStatus(rollback=ROLLBACK),
            decision(step=Step.UP, reason=Reason.REARMED),
            "Rearmed",
            id="a new spec",
        ),
        pytest.param(
            SpecDecodeDeploymentStatus(rollback=ROLLBACK),
            decision(
                step=Step.UP,
                reason=Reason.SPECULATION_NOT_THE_CAUSE,
                exonerated_reason=Reason.LATENCY_OVER_LIMIT,
            ),
            "SteppedBackUp",
            id="it did not help",
        ),
        pytest.param(
            SpecDecodeDeploymentStatus(), decision(recommended=Mode.OFF), "Recommended", id="a recommendation"
        ),
        pytest.param(
            SpecDecodeDeploymentStatus(), decision(step=Step.UP), None, id="up without a rollback says nothing"
        ),
    ],
)
def test_history(old: SpecDecodeDeploymentStatus, a_decision: Decision, action: str | None) -> None:
    history = next_status(visit(old=old, decision=a_decision)).history
    assert [entry.action for entry in history] == ([action] if action else [])


def test_the_history_is_bounded() -> None:
    full = tuple(ENTRY.model_copy(update={"at": NOW - timedelta(hours=n + 1)}) for n in range(HISTORY_LIMIT))
    old = SpecDecodeDeploymentStatus(history=full)
    history = next_status(visit(old=old, decision=replace(OFF, step=Step.DOWN))).history
    assert (len(history), history[0].at, history[1]) == (HISTORY_LIMIT, NOW, full[0])


@pytest.mark.parametrize(
    ("spec_hash", "remains"),
    [
        pytest.param("abc", True, id="the same spec: speculation stays cleared"),
        pytest.param("new", False, id="a new spec: judged afresh"),
    ],
)
def test_an_exoneration_is_bound_to_the_spec(spec_hash: str, remains: bool) -> None:  # noqa: FBT001 - a column
    old = SpecDecodeDeploymentStatus(exoneration=ExonerationStatus(spec_hash="abc", reason="LatencyOverLimit", at=NOW))
    assert (next_status(visit(old=old, spec_hash=spec_hash)).exoneration is not None) is remains


def test_a_refused_spec_leaves_what_was_decided_alone() -> None:
    old = SpecDecodeDeploymentStatus(mode=Mode.OFF, spec_hash="abc", rollback=ROLLBACK, history=(ENTRY,))
    new = next_status(refused(old=old, spec_hash="new"))
    assert (new.mode, new.spec_hash, new.rollback, new.history) == (Mode.OFF, "abc", ROLLBACK, (ENTRY,))


def test_a_very_long_message_is_cut_to_what_the_api_allows() -> None:
    problem = Problem("spec", "", "x" * 2000)
    new = next_status(visit(refusal=Rejection("InvalidSpec", (problem,) * 3), decision=None, plan=None))
    assert max(len(condition.message) for condition in new.conditions) == 4096


def test_it_survives_the_way_over_the_wire() -> None:
    status = next_status(visit(decision=replace(OFF, step=Step.DOWN)))
    assert SpecDecodeDeploymentStatus.model_validate(status.to_wire()) == status
    assert all("lastTransitionTime" in condition for condition in status.to_wire()["conditions"])
    assert isinstance(status.conditions[0], Condition)


def test_while_a_draft_is_qualified_the_condition_says_so() -> None:
    seen = visit(cluster=Cluster(child(mode=Mode.DRAFT)), decision=decision(mode=Mode.DRAFT, reason=Reason.QUALIFYING))
    active = next_status(seen).condition(ConditionType.SPECULATION_ACTIVE)
    assert active is not None
    assert (active.status, active.reason) == (ConditionStatus.TRUE, "Qualifying")
    paused = next_status(replace(seen, is_paused=True)).condition(ConditionType.SPECULATION_ACTIVE)
    assert paused is not None
    assert paused.reason == "AsRequested"


def test_a_restarted_process_that_has_not_asked_yet_leaves_what_its_predecessor_saw() -> None:
    old = next_status(visit())
    asked = replace(visit(old=old), measurement=Measurement(Availability.NO_DATA, "nothing was measured yet"))
    kept = next_status(replace(asked, has_measured=False, now=NOW + timedelta(hours=1)))
    assert kept.condition(ConditionType.METRICS_AVAILABLE) == old.condition(ConditionType.METRICS_AVAILABLE)
    lost = next_status(replace(asked, now=NOW + timedelta(hours=1))).condition(ConditionType.METRICS_AVAILABLE)
    assert lost is not None
    assert lost.status is ConditionStatus.UNKNOWN
