"""What is worth an Event, and that nothing is said twice."""

from datetime import timedelta
from typing import Any

import pytest
from builders import NOW

from specdecode.api.resource import Metadata
from specdecode.api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    FindingStatus,
    Helped,
    HistoryEntry,
    LoadPoint,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.notes import Note, event_body, transitions, untold, worth_telling

NOTHING = SpecDecodeDeploymentStatus()
METADATA = Metadata.model_validate({"name": "llama-70b", "namespace": "serving", "uid": "u1"})


def entry(action: str) -> HistoryEntry:
    return HistoryEntry(at=NOW, action=action, from_mode=Mode.DRAFT, to=Mode.OFF, reason="Why", message="numbers")


def told(kind: str, status: str, reason: str) -> SpecDecodeDeploymentStatus:
    condition = Condition(
        type=ConditionType(kind), status=ConditionStatus(status), reason=reason, message="m", last_transition_time=NOW
    )
    return SpecDecodeDeploymentStatus(conditions=(condition,))


def rollback(**changes: Any) -> SpecDecodeDeploymentStatus:
    good: dict[str, Any] = {
        "from_mode": Mode.DRAFT,
        "to": Mode.OFF,
        "reason": "Why",
        "message": "numbers",
        "at": NOW,
        "spec_hash": "abc",
    }
    return SpecDecodeDeploymentStatus(rollback=RollbackStatus(**(good | changes)))


def found(reason: str) -> SpecDecodeDeploymentStatus:
    return SpecDecodeDeploymentStatus(findings=(FindingStatus(reason=reason, message="numbers", since=NOW),))


POINTS = {
    "before": LoadPoint(tpot_mean="40ms", running_requests=8),
    "after": LoadPoint(tpot_mean="20ms", running_requests=8),
}


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        pytest.param(NOTHING, NOTHING, [], id="nothing changed: silence"),
        pytest.param(
            NOTHING, SpecDecodeDeploymentStatus(history=(entry("RolledBack"),)), ["RolledBack"], id="a step down"
        ),
        pytest.param(
            SpecDecodeDeploymentStatus(history=(entry("RolledBack"),)),
            SpecDecodeDeploymentStatus(history=(entry("RolledBack"),)),
            [],
            id="the same step down again: silence",
        ),
        pytest.param(
            SpecDecodeDeploymentStatus(history=(entry("RolledBack"),)),
            SpecDecodeDeploymentStatus(history=(entry("Retried"), entry("RolledBack"))),
            ["Retried"],
            id="only the newest entry is told",
        ),
        pytest.param(rollback(), rollback(helped=Helped.TRUE, **POINTS), ["StepHelped"], id="it helped"),
        pytest.param(rollback(), rollback(helped=Helped.FALSE), ["StepDidNotHelp"], id="it did not help"),
        pytest.param(rollback(), rollback(), [], id="not known yet whether it helped: silence"),
        pytest.param(
            rollback(helped=Helped.TRUE), rollback(helped=Helped.TRUE), [], id="helped was told already: silence"
        ),
        pytest.param(
            rollback(),
            rollback(at=NOW + timedelta(hours=1), helped=Helped.TRUE),
            [],
            id="another rollback: its own comparison is told later",
        ),
        pytest.param(NOTHING, told("Stalled", "True", "DoesNotFit"), ["DoesNotFit"], id="it stalls"),
        pytest.param(NOTHING, told("Stalled", "False", "Progressing"), [], id="it does not stall: silence"),
        pytest.param(
            told("Stalled", "True", "DoesNotFit"),
            told("Stalled", "True", "InvalidSpec"),
            ["InvalidSpec"],
            id="it stalls for another reason",
        ),
        pytest.param(NOTHING, told("MetricsAvailable", "Unknown", "Unreachable"), ["MetricsUnavailable"], id="blind"),
        pytest.param(
            told("MetricsAvailable", "True", "Measured"),
            told("MetricsAvailable", "Unknown", "NoData"),
            ["MetricsUnavailable"],
            id="data that was there is gone",
        ),
        pytest.param(NOTHING, told("MetricsAvailable", "Unknown", "NoData"), [], id="no scrape yet: silence"),
        pytest.param(NOTHING, told("MetricsAvailable", "True", "Measured"), ["MetricsAvailable"], id="it sees"),
        pytest.param(NOTHING, told("MetricsAvailable", "True", "NoTraffic"), [], id="no traffic: silence"),
        pytest.param(NOTHING, told("MetricsAvailable", "Unknown", "NothingRuns"), [], id="nothing runs: silence"),
        pytest.param(
            told("Ready", "False", "RolloutRunning"), told("Ready", "True", "Serving"), ["Serving"], id="it serves"
        ),
        pytest.param(NOTHING, told("Ready", "False", "RolloutRunning"), [], id="not ready yet: silence"),
        pytest.param(
            told("SpeculationActive", "True", "AsRequested"),
            told("SpeculationActive", "True", "CircuitBreakerOpen"),
            ["CircuitBreakerOpen"],
            id="a step is held",
        ),
        pytest.param(
            told("SpeculationActive", "True", "TooManySteps"),
            told("SpeculationActive", "True", "TooManySteps"),
            [],
            id="it is still held: silence",
        ),
        pytest.param(NOTHING, told("SpeculationActive", "True", "AsRequested"), [], id="it runs as asked: silence"),
        pytest.param(NOTHING, found("MixedTraffic"), ["MixedTraffic"], id="something is found"),
        pytest.param(found("MixedTraffic"), found("MixedTraffic"), [], id="it is still so: silence"),
        pytest.param(found("MixedTraffic"), NOTHING, [], id="it is gone: silence"),
        pytest.param(NOTHING, found("CircuitBreakerOpen"), [], id="the condition told it already"),
    ],
)
def test_transitions(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus, reasons: list[str]) -> None:
    assert [note.reason for note in transitions(old, new, NOW)] == reasons


def test_a_step_down_is_a_warning_with_its_reason_and_numbers() -> None:
    (note,) = transitions(NOTHING, SpecDecodeDeploymentStatus(history=(entry("RolledBack"),)), NOW)
    assert note == Note("RolledBack", "Draft -> Off: Why: numbers", is_warning=True, at=NOW)


def test_the_comparison_tells_both_numbers() -> None:
    (note,) = transitions(rollback(), rollback(helped=Helped.TRUE, **POINTS), NOW)
    assert note.message == "mean TPOT 40ms -> 20ms at the same load"


def test_the_same_event_has_the_same_name_and_another_one_has_not() -> None:
    note = Note("RolledBack", "numbers", is_warning=True, at=NOW)
    later = Note("RolledBack", "numbers", is_warning=True, at=NOW + timedelta(seconds=1))
    names = [event_body(METADATA, each)["metadata"]["name"] for each in (note, note, later)]
    assert names[0] == names[1] != names[2]
    assert event_body(METADATA, note)["type"] == "Warning"
    assert event_body(METADATA, Note("Serving", "m", is_warning=False, at=NOW))["type"] == "Normal"


@pytest.mark.parametrize(
    ("note", "minutes_ago", "is_told"),
    [
        pytest.param(Note("MixedTraffic", "m", is_warning=False, at=NOW, is_finding=True), None, True, id="never told"),
        pytest.param(
            Note("MixedTraffic", "m", is_warning=False, at=NOW, is_finding=True), 59, False, id="told within the hour"
        ),
        pytest.param(
            Note("MixedTraffic", "m", is_warning=False, at=NOW, is_finding=True), 60, True, id="told an hour ago"
        ),
        pytest.param(Note("RolledBack", "m", is_warning=True, at=NOW), 1, True, id="what happened is always told"),
    ],
)
def test_a_finding_that_comes_and_goes_is_told_once_an_hour(note: Note, minutes_ago: int | None, is_told: bool) -> None:  # noqa: FBT001 - a column
    told = {} if minutes_ago is None else {note.reason: NOW - timedelta(minutes=minutes_ago)}
    assert bool(worth_telling((note,), told)) is is_told


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        pytest.param(1, ["RolledBack"], id="a decision of a minute ago, carried out now: it is told"),
        pytest.param(11, [], id="an older one was told long ago"),
    ],
)
def test_what_a_predecessor_decided_is_told_by_whoever_carries_it_out(minutes: int, told: list[str]) -> None:
    made = entry("RolledBack").model_copy(update={"at": NOW - timedelta(minutes=minutes)})
    decided = NOTHING.model_copy(update={"history": (made,)})
    assert [note.reason for note in transitions(decided, decided, NOW)] == []
    assert [note.reason for note in transitions(untold(decided, NOW), decided, NOW)] == told
