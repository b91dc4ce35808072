"""What stands in status of what the guard sees."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from builders import NOW

from specdecode.api.status import FINDING_LIMIT, FindingStatus, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Decision, Finding, Reason, Step
from specdecode.findings import MESSAGE_LIMIT, next_findings

LATER = NOW + timedelta(hours=1)
SOON = NOW + timedelta(minutes=1)
DECISION = Decision(Mode.DRAFT, Step.KEEP, Reason.AS_REQUESTED, "Draft runs as requested")
MIXED = Finding(Reason.MIXED_TRAFFIC, "P99 60 ms")
DECAYS = Finding(Reason.ACCEPTANCE_DECAYS, "0.1 an hour")
STEPPING = Finding(Reason.ACCEPTANCE_COLLAPSED, "1.04", target=Mode.OFF)


def status(*findings: FindingStatus, mode: Mode = Mode.DRAFT) -> SpecDecodeDeploymentStatus:
    return SpecDecodeDeploymentStatus(mode=mode, spec_hash="abc", findings=findings)


def stored(finding: Finding, since: datetime = NOW) -> FindingStatus:
    return FindingStatus(reason=finding.reason, message=finding.message, since=since)


@pytest.mark.parametrize(
    ("old", "findings", "reason", "now", "stand"),
    [
        pytest.param(status(), (), Reason.AS_REQUESTED, NOW, [], id="nothing is found"),
        pytest.param(status(), (MIXED,), Reason.AS_REQUESTED, NOW, ["MixedTraffic"], id="something is found"),
        pytest.param(status(), (STEPPING,), Reason.AS_REQUESTED, NOW, [], id="what leads to a step is told elsewhere"),
        pytest.param(
            status(),
            (MIXED, MIXED),
            Reason.AS_REQUESTED,
            NOW,
            ["MixedTraffic"],
            id="one rule, two sentences: the first",
        ),
        pytest.param(
            status(stored(MIXED)), (), Reason.AS_REQUESTED, SOON, ["MixedTraffic"], id="gone for one look: it stands"
        ),
        pytest.param(status(stored(MIXED)), (), Reason.AS_REQUESTED, LATER, [], id="gone, and long ago: forgotten"),
        pytest.param(
            status(stored(MIXED)), (), Reason.NOT_MEASURED, LATER, ["MixedTraffic"], id="nothing is measured: it stands"
        ),
        pytest.param(status(stored(MIXED)), (), Reason.PAUSED, LATER, ["MixedTraffic"], id="paused: it stands"),
        pytest.param(
            status(stored(MIXED), mode=Mode.OFF), (), Reason.AS_REQUESTED, SOON, [], id="it was said of another mode"
        ),
        pytest.param(
            status(stored(MIXED)),
            (DECAYS, MIXED),
            Reason.AS_REQUESTED,
            SOON,
            ["AcceptanceDecays", "MixedTraffic"],
            id="a worse one is new: worst first",
        ),
        pytest.param(
            status(stored(MIXED), stored(DECAYS)),
            (DECAYS, MIXED),
            Reason.AS_REQUESTED,
            LATER,
            ["MixedTraffic", "AcceptanceDecays"],
            id="another order is no news",
        ),
    ],
)
def test_what_stands(
    old: SpecDecodeDeploymentStatus, findings: tuple[Finding, ...], reason: Reason, now: datetime, stand: list[str]
) -> None:
    decision = replace(DECISION, findings=findings, reason=reason)
    assert [finding.reason for finding in next_findings(old, decision, "abc", "", now=now)] == stand


def test_the_first_wording_stands_so_that_moving_numbers_cost_no_write() -> None:
    old = status(stored(MIXED))
    moved = replace(DECISION, findings=(replace(MIXED, message="P99 61 ms"),))
    assert next_findings(old, moved, "abc", "", now=LATER) == old.findings


def test_a_new_spec_is_judged_afresh() -> None:
    assert next_findings(status(stored(MIXED)), DECISION, "another", "", now=SOON) == ()


def test_a_control_replica_that_does_not_run_is_said_last() -> None:
    found = next_findings(status(), replace(DECISION, findings=(MIXED,)), "abc", "no control: quota", now=NOW)
    assert [(finding.reason, finding.message) for finding in found] == [
        ("MixedTraffic", "P99 60 ms"),
        ("ControlNotRunning", "no control: quota"),
    ]


def test_they_are_few_and_short() -> None:
    many = tuple(Finding(reason, "x" * 5000) for reason in list(Reason)[:10])
    found = next_findings(status(), replace(DECISION, findings=many), "abc", "", now=NOW)
    assert [finding.reason for finding in found] == [finding.reason for finding in many[:FINDING_LIMIT]]
    assert {len(finding.message) for finding in found} == {MESSAGE_LIMIT}
    again = next_findings(status(*found), replace(DECISION, findings=many), "abc", "", now=SOON)
    assert again == found, "the ones beyond the limit are not written at every look"
