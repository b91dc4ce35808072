"""What speculation brings, from which source, and how surely."""

import math
from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, histogram, measurement, mode_plan, off_band, off_baseline, plan, window

from specdecode.api.status import OffBaseline
from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide.benefit import Benefit, Source, expected_benefit
from specdecode.decide.facts import Availability, Measurement, Signals, Window

DRAFT, OFF = Mode.DRAFT, Mode.OFF


def mean(milliseconds: float, count: float = 600, **overrides: Any) -> Window:
    tpot = histogram(below_seconds={0.1: count}, mean_seconds=milliseconds / 1000)
    return window(tpot=tpot, **overrides)


def control(milliseconds: float, **overrides: Any) -> Measurement:
    return measurement(mode=OFF, arm=Arm.CONTROL, slow=mean(milliseconds, **overrides))


def scrapes_with(seen: Measurement, **values: float) -> Measurement:
    return replace(seen, batches=tuple(replace(batch, **values) for batch in seen.batches))


def benefit(seen: Measurement, off: OffBaseline | None = None, **part: Any) -> Benefit | None:
    return expected_benefit(plan(), DRAFT, seen, off, **part)


BOTH = off_baseline(off_band("30ms", 16))


def test_the_control_replica_is_asked_first() -> None:
    found = benefit(measurement(control=control(26)), BOTH)
    assert found is not None
    assert found.source is Source.CONTROL
    assert found.speedup.value == pytest.approx(1.3)
    assert found.sentence.startswith("speed-up 1.30 (")
    assert found.sentence.endswith("against the control replica at the same time, 16 running requests on it")


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(None, id="none runs"),
        pytest.param(replace(control(26), availability=Availability.NO_DATA), id="it is not measured"),
        pytest.param(control(26, requests=29.0), id="it finished 29 requests"),
        pytest.param(replace(control(26), batches=control(26).batches[:1]), id="one batch"),
        pytest.param(scrapes_with(control(26), step_seconds_sum=0.0), id="it took no time"),
        pytest.param(scrapes_with(control(26), generation_tokens=0.0, tpot_count=0.0), id="it made nothing"),
    ],
)
def test_without_a_control_that_says_something_the_recorded_baseline_is_asked(silent: Measurement | None) -> None:
    found = benefit(measurement(control=silent), BOTH)
    assert found is not None
    assert found.source is Source.BASELINE
    assert (found.speedup.low, found.speedup.value) == (pytest.approx(1.5 / 1.05), pytest.approx(1.5))


@pytest.mark.parametrize(
    ("bands", "value"),
    [
        pytest.param((off_band("20ms", 8), off_band("40ms", 24)), 1.5, id="between two loads"),
        pytest.param((off_band("30ms", 15),), 1.5, id="near one load"),
        pytest.param((off_band("30ms", 16, step_mean="26ms"),), 1.3, id="the step is exact where it was recorded"),
        pytest.param((off_band("30ms", 8), off_band("soon", 24)), 1.5, id="of two loads one is no number"),
    ],
)
def test_the_recorded_baseline_at_this_load(bands: Any, value: float) -> None:
    found = benefit(measurement(), off_baseline(*bands))
    assert found is not None
    assert (found.source, found.speedup.value) == (Source.BASELINE, pytest.approx(value, rel=0.01))


def test_a_load_further_away_is_less_sure() -> None:
    near, far = benefit(measurement(), BOTH), benefit(measurement(), off_baseline(off_band("30ms", 13)))
    assert near is not None
    assert far is not None
    assert far.speedup.low < near.speedup.low


@pytest.mark.parametrize(
    "off",
    [
        pytest.param(None, id="nothing is recorded"),
        pytest.param(off_baseline(off_band("30ms", 40)), id="another load"),
        pytest.param(off_baseline(off_band("soon")), id="no number"),
        pytest.param(off_baseline(key="other"), id="another engine"),
    ],
)
def test_else_it_is_predicted_with_a_wide_interval(off: OffBaseline | None) -> None:
    found = benefit(measurement(), off)
    assert found is not None
    assert found.source is Source.PREDICTION
    assert "by prediction" in found.sentence
    assert found.speedup.high / found.speedup.low > 1.5


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(replace(measurement(), availability=Availability.NO_TRAFFIC), id="no traffic"),
        pytest.param(replace(measurement(), batches=()), id="no batches"),
        pytest.param(measurement(slow=window(drafts=0.0, draft_tokens=0.0)), id="no drafts to predict from"),
        pytest.param(measurement(slow=window(step_count=0.0)), id="no steps to predict from"),
        pytest.param(scrapes_with(measurement(), step_seconds_sum=0.0), id="steps without time"),
    ],
)
def test_else_nothing_is_said(seen: Measurement) -> None:
    assert benefit(seen) is None


def test_nothing_is_said_of_off_or_of_a_mode_that_is_not_planned() -> None:
    assert expected_benefit(plan(), OFF, measurement(), BOTH) is None
    assert expected_benefit(plan(mode_plan(DRAFT), OFF), Mode.NGRAM, measurement(), None) is None


def test_a_part_of_the_window_may_be_asked_for() -> None:
    newest = NOW.timestamp() - 60
    seen = measurement(slow=mean(20), fast=mean(40, 120, seconds=60.0, step_seconds_sum=80.0))
    before, since = benefit(seen, BOTH, until=newest), benefit(seen, BOTH, since=newest)
    assert before is not None
    assert since is not None
    assert since.speedup.value == pytest.approx(0.75)
    assert before.speedup.value > 1.5


def test_an_engine_without_a_counter_of_tokens_is_read_by_what_requests_took() -> None:
    found = benefit(scrapes_with(measurement(), generation_tokens=0.0), BOTH)
    assert found is not None
    assert found.speedup.value == pytest.approx(1.5)


def test_few_batches_of_clustered_traffic_are_less_sure() -> None:
    seen = measurement()
    calm = benefit(replace(seen, signals=Signals(design_effect=3.0)), BOTH)
    wild = benefit(replace(seen, signals=Signals(design_effect=600.0)), BOTH)
    assert calm is not None
    assert wild is not None
    assert wild.speedup.high / wild.speedup.low > 1.05 * calm.speedup.high / calm.speedup.low


def test_an_interval_that_reaches_zero_says_nothing_upwards() -> None:
    wild = benefit(replace(measurement(), signals=Signals(design_effect=1e9)), BOTH)
    assert wild is not None
    assert (wild.speedup.low, wild.speedup.high) == (0.0, math.inf)


SLOW = {"slow": mean(30.0), "control": control(20.0)}


@pytest.mark.parametrize(
    ("seen", "is_loss"),
    [
        pytest.param(measurement(**SLOW), True, id="many requests: the tokens have the word"),
        pytest.param(scrapes_with(measurement(**SLOW), requests=4.0), True, id="few, and the mean one agrees"),
        pytest.param(
            scrapes_with(measurement(**SLOW), requests=4.0, tpot_seconds_sum=0.3, tpot_count=20.0),
            False,
            id="few: a single one that loops has most of the tokens, the mean one gains",
        ),
        pytest.param(
            scrapes_with(measurement(**SLOW), requests=4.0, tpot_count=0.0),
            True,
            id="few, and nothing is known of the mean one",
        ),
        pytest.param(measurement(slow=mean(19.9), control=control(20.0)), False, id="it may pay as well"),
    ],
)
def test_a_loss(seen: Measurement, *, is_loss: bool) -> None:
    found = benefit(seen)
    assert found is not None
    assert found.is_loss is is_loss


@pytest.mark.parametrize(
    ("off", "of_mean_request"),
    [
        pytest.param(off_baseline(off_band("30ms", 16)), 1.5, id="recorded"),
        pytest.param(off_baseline(off_band("soon", 16, step_mean="30ms")), math.nan, id="no number was recorded"),
        pytest.param(None, math.nan, id="nothing was"),
    ],
)
def test_the_mean_request_is_compared_with_what_was_recorded(off: OffBaseline | None, of_mean_request: float) -> None:
    found = benefit(measurement(), off)
    assert found is not None
    assert found.of_mean_request == pytest.approx(of_mean_request, nan_ok=True)


def test_without_predictions_only_what_was_measured_counts() -> None:
    assert benefit(measurement(), predicts=False) is None
    assert benefit(measurement(), off_baseline(off_band("30ms", 100)), predicts=False) is None
    assert benefit(measurement(control=control(26)), predicts=False) is not None
