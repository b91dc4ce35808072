"""What the change detectors lead to: words, never a step."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from builders import NOW, measurement, situation

from specdecode.api.vocabulary import Mode
from specdecode.decide.changes import (
    acceptance_decays,
    acceptance_fell,
    acceptance_rose,
    slower_at_same_load,
    temperature_below_floor,
)
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Change, Histogram, Signals, TemperatureBucket
from specdecode.decide.situation import Stage, View

CERTAIN = Change(reference=2.4, recent=1.8, since=NOW.timestamp() - 90, evidence_nats=13.0, threshold_nats=12.0)
DOUBTFUL = replace(CERTAIN, evidence_nats=11.9)


def view(
    *, mode: Mode = Mode.QUANTIZED_DRAFT, temperatures: tuple[TemperatureBucket, ...] = (), **signals: Any
) -> View:
    seen = measurement(signals=Signals(**signals), temperatures=temperatures)
    return View(situation(measurement=seen), mode, Stage.SETTLED)


@pytest.mark.parametrize(
    ("rule", "signal", "reason", "words"),
    [
        (acceptance_fell, "acceptance_fall", Reason.ACCEPTANCE_FELL, "2.40 -> 1.80 (-25 %) since 2026-11-22T11:58:30Z"),
        (acceptance_rose, "acceptance_rise", Reason.ACCEPTANCE_ROSE, "look for text that repeats itself"),
        (acceptance_decays, "decay", Reason.ACCEPTANCE_DECAYS, "reset of the prefix cache"),
        (slower_at_same_load, "tpot_rise", Reason.SLOWER_AT_SAME_LOAD, "-25 % longer"),
    ],
)
def test_a_certain_change_is_told_with_its_numbers(rule: Any, signal: str, reason: Reason, words: str) -> None:
    finding = rule(view(**{signal: CERTAIN}))
    assert finding is not None
    assert finding.reason is reason
    assert finding.target is None
    assert words in finding.message


@pytest.mark.parametrize(
    ("rule", "signal"),
    [
        (acceptance_fell, "acceptance_fall"),
        (acceptance_rose, "acceptance_rise"),
        (acceptance_decays, "decay"),
        (slower_at_same_load, "tpot_rise"),
    ],
)
def test_a_doubtful_change_and_none_at_all_are_not(rule: Any, signal: str) -> None:
    assert rule(view(**{signal: DOUBTFUL})) is None
    assert rule(view()) is None


def requests(temperature: str, *, below: dict[float, float], count: float) -> TemperatureBucket:
    buckets = (*below.items(), (inf, count))
    return TemperatureBucket(temperature, Histogram(buckets, sum_seconds=0.4 * count, count=count))


COLD = requests("0", below={0.4: 10, 0.5: 20, 0.8: 400}, count=800)
HOT = requests("0.8-1.2", below={0.4: 120, 0.5: 150, 0.8: 190}, count=200)


def test_a_temperature_whose_requests_accept_too_little_is_named_with_its_share() -> None:
    finding = temperature_below_floor(view(temperatures=(COLD, HOT)))
    assert finding is not None
    assert finding.reason is Reason.TEMPERATURE_BELOW_FLOOR
    assert "at temperature 0.8-1.2 75.0 % of the requests accept less than 50 %" in finding.message
    assert "they are 20.0 % of all" in finding.message


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(view(), id="no meter"),
        pytest.param(view(temperatures=(COLD,)), id="every temperature accepts enough"),
        pytest.param(view(temperatures=(replace(HOT, acceptance=replace(HOT.acceptance, count=29)),)), id="too few"),
        pytest.param(view(temperatures=(HOT,), mode=Mode.OFF), id="speculation is off"),
        pytest.param(
            view(temperatures=(requests("1", below={0.6: 90}, count=100),)),
            id="no edge tells what lies under the floor",
        ),
    ],
)
def test_nothing_is_said_of_temperatures_without_cause(silent: View) -> None:
    assert temperature_below_floor(silent) is None
