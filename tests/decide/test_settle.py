"""How much may be judged, and since when."""

from datetime import timedelta

import pytest
from builders import NOW, child, condition, measurement, situation, status, window

from specdecode.api.status import Condition, ConditionType, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Availability, Measurement
from specdecode.decide.settle import readiness, window_lengthened
from specdecode.decide.settled import is_settled, settled_since
from specdecode.decide.situation import Situation, Stage, View

MODE = Mode.QUANTIZED_DRAFT
ROLLED_OUT = condition(ConditionType.RECONCILING, "False")
MEASURED = condition(ConditionType.METRICS_AVAILABLE, "True")


def since(*conditions: Condition) -> SpecDecodeDeploymentStatus:
    return status(conditions=conditions)


def rolled_out(seconds_ago: float) -> SpecDecodeDeploymentStatus:
    return since(condition(ConditionType.RECONCILING, "False", seconds_ago=seconds_ago), MEASURED)


@pytest.mark.parametrize(
    ("old", "seconds"),
    [
        pytest.param(since(ROLLED_OUT, MEASURED), 3600, id="rolled out and measured for an hour"),
        pytest.param(rolled_out(10), 10, id="the rollout ended ten seconds ago"),
        pytest.param(
            since(ROLLED_OUT, condition(ConditionType.METRICS_AVAILABLE, "True", seconds_ago=20)),
            20,
            id="the metrics came back twenty seconds ago",
        ),
        pytest.param(
            since(ROLLED_OUT, MEASURED, condition(ConditionType.STALLED, "False", seconds_ago=30)),
            30,
            id="the stall ended thirty seconds ago",
        ),
        pytest.param(since(), None, id="a new resource"),
        pytest.param(since(ROLLED_OUT), None, id="never measured"),
        pytest.param(since(condition(ConditionType.RECONCILING, "True"), MEASURED), None, id="reconciling"),
        pytest.param(
            since(ROLLED_OUT, condition(ConditionType.METRICS_AVAILABLE, "Unknown")), None, id="metrics unknown"
        ),
        pytest.param(since(ROLLED_OUT, MEASURED, condition(ConditionType.STALLED, "True")), None, id="stalled"),
    ],
)
def test_settled_since(old: SpecDecodeDeploymentStatus, seconds: float | None) -> None:
    expected = None if seconds is None else NOW - timedelta(seconds=seconds)
    assert settled_since(old) == expected


@pytest.mark.parametrize(("seconds_ago", "expected"), [(299, False), (300, True)])
def test_settled_after_one_whole_window(seconds_ago: float, *, expected: bool) -> None:
    assert is_settled(rolled_out(seconds_ago), 300, NOW) is expected


@pytest.mark.parametrize(
    ("at", "stage", "reason", "words"),
    [
        pytest.param(situation(child=None), Stage.NOTHING, Reason.ROLLOUT_RUNNING, "does not exist", id="no child"),
        pytest.param(
            situation(child=child(is_ours=False)),
            Stage.NOTHING,
            Reason.NOT_MEASURED,
            "belongs to somebody else",
            id="a Deployment that is not ours",
        ),
        pytest.param(
            situation(child=child(mode=Mode.OFF)),
            Stage.NOTHING,
            Reason.ROLLOUT_RUNNING,
            "Off is being replaced by QuantizedDraft",
            id="another mode still runs",
        ),
        pytest.param(
            situation(child=child(mode=None)),
            Stage.NOTHING,
            Reason.ROLLOUT_RUNNING,
            "an unknown mode",
            id="the annotation is gone",
        ),
        pytest.param(
            situation(child=child(updated_replicas=1, ready_replicas=1)),
            Stage.STARTING,
            Reason.ROLLOUT_RUNNING,
            "1 of 2 replicas updated, 1 ready",
            id="half rolled out",
        ),
        pytest.param(
            situation(measurement=Measurement(Availability.UNREACHABLE, "connection refused")),
            Stage.STARTING,
            Reason.NOT_MEASURED,
            "connection refused",
            id="Prometheus is gone",
        ),
        pytest.param(
            situation(measurement=measurement(mode=Mode.OFF)),
            Stage.STARTING,
            Reason.NOT_MEASURED,
            "nothing was measured of QuantizedDraft",
            id="the measurement is of another mode",
        ),
        pytest.param(
            situation(measurement=measurement(fast=None)),
            Stage.STARTING,
            Reason.NOT_MEASURED,
            "nothing was measured",
            id="one window only",
        ),
        pytest.param(
            situation(status=since()),
            Stage.STARTING,
            Reason.SETTLING,
            "judged one window of 5m after",
            id="first visit",
        ),
        pytest.param(
            situation(status=rolled_out(29)),
            Stage.STARTING,
            Reason.SETTLING,
            "judged from 2026-11-22T12:04:31Z, one window of 5m",
            id="not even two scrapes since the rollout",
        ),
        pytest.param(
            situation(status=rolled_out(30)), Stage.FAST, Reason.SETTLING, "judged from", id="two scrapes since"
        ),
        pytest.param(
            situation(status=rolled_out(299), measurement=measurement(slow=window(seconds=600))),
            Stage.FAST,
            Reason.SETTLING,
            "one window of 10m",
            id="the measured window is longer than the one asked for",
        ),
        pytest.param(situation(), Stage.SETTLED, Reason.AS_REQUESTED, "", id="an hour of peace: everything"),
    ],
)
def test_readiness(at: Situation, stage: Stage, reason: Reason, words: str) -> None:
    ready = readiness(at, MODE)
    assert (ready.stage, ready.reason) == (stage, reason)
    assert words in ready.message


def test_the_message_stays_the_same_while_it_waits() -> None:
    old = rolled_out(100)
    first = readiness(situation(status=old), MODE)
    assert readiness(situation(status=old, now=NOW + timedelta(seconds=15)), MODE) == first


def test_a_window_without_a_measurement_is_the_one_of_the_guard() -> None:
    nothing = Measurement(Availability.NO_DATA, "no pods")
    assert situation(measurement=nothing, spec={"spec.guard": {"window": "2m"}}).slow_window_seconds == 120


def test_a_window_of_less_than_four_scrapes_is_lengthened_and_said_so() -> None:
    short = View(situation(spec={"spec.guard.window": "30s"}), Mode.QUANTIZED_DRAFT, Stage.SETTLED)
    finding = window_lengthened(short)
    assert finding is not None
    assert "30s is shorter than four scrapes of this cluster; 1m is judged" in finding.message
    assert window_lengthened(View(situation(), Mode.QUANTIZED_DRAFT, Stage.SETTLED)) is None
