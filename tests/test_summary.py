"""Plan and measurement as status shows them, and when a new number is worth a write."""

import math
from typing import Any

import pytest
from builders import histogram, measurement, mode_plan, off_baseline, plan, window

from specdecode.api.status import Bounds, ObservedStatus, OffBaseline
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability, Measurement
from specdecode.summary import bounds_of, observed_status, plan_status, size_text, worth_writing

GIB = 1024**3
PLAN = plan(mode_plan(Mode.DRAFT, fits=False, short_bytes=3 * GIB), Mode.OFF)


def off(key: str = PLAN.baseline_key) -> OffBaseline:
    return off_baseline(key=key)


def observed(**changes: Any) -> ObservedStatus:
    good: dict[str, Any] = {
        "mode": Mode.DRAFT,
        "window": "5m",
        "acceptance_rate_percent": 75,
        "tpot_mean": "20ms",
        "running_requests": 16,
        "speedup": "1.50",
    }
    return ObservedStatus(**(good | changes))


def test_the_plan_names_what_is_missing_and_shows_the_ledger_of_the_requested_mode_only() -> None:
    requested, fallback = plan_status(PLAN, None, ()).modes
    assert (requested.fits, requested.short_by) == (False, "3.0Gi")
    assert requested.ledger is not None
    assert (fallback.fits, fallback.short_by, fallback.ledger) == (True, None, None)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0.0Gi"), (GIB, "1.0Gi"), (-35 * GIB, "-35.0Gi"), (int(3.14 * GIB), "3.1Gi")],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("a_histogram", "bounds"),
    [
        pytest.param(None, None, id="no histogram: no bounds"),
        pytest.param(histogram(below_seconds={0.01: 0}, mean_seconds=0), None, id="no observations: no bounds"),
        pytest.param(
            histogram(below_seconds={0.01: 0, 0.025: 1000, 0.05: 1000}, mean_seconds=0.02),
            Bounds(low="10ms", high="25ms"),
            id="all in one bucket: its edges",
        ),
        pytest.param(
            histogram(below_seconds={0.01: 0, 0.025: 0, math.inf: 1000}, mean_seconds=9),
            Bounds(low="25ms", high="unbounded"),
            id="in the last bucket: unbounded, never a number",
        ),
    ],
)
def test_bounds(a_histogram: Any, bounds: Bounds | None) -> None:
    assert bounds_of(a_histogram, 0.5) == bounds


@pytest.mark.parametrize(
    "a_measurement",
    [
        pytest.param(Measurement(Availability.UNREACHABLE, "gone"), id="nothing was measured"),
        pytest.param(measurement(availability=Availability.NO_TRAFFIC), id="no traffic"),
        pytest.param(measurement(slow=None), id="no window"),
    ],
)
def test_what_was_not_measured_is_not_shown(a_measurement: Measurement) -> None:
    assert observed_status(PLAN, a_measurement, off()) is None


@pytest.mark.parametrize(
    ("baseline", "mode", "running", "source"),
    [
        pytest.param(off(), Mode.QUANTIZED_DRAFT, 16.0, "recorded baseline", id="the baseline at the same load"),
        pytest.param(None, Mode.DRAFT, 16.0, "prediction", id="no baseline"),
        pytest.param(off(key="other"), Mode.DRAFT, 16.0, "prediction", id="the baseline of another model says nothing"),
        pytest.param(off(), Mode.DRAFT, 64.0, "prediction", id="at another load it says nothing"),
        pytest.param(off(), Mode.OFF, 16.0, None, id="Off is the baseline itself"),
    ],
)
def test_speedup(baseline: OffBaseline | None, mode: Mode, running: float, source: str | None) -> None:
    seen = observed_status(PLAN, measurement(mode=mode, slow=window(running_requests=running)), baseline)
    assert seen is not None
    assert seen.speedup_source == source
    assert (seen.speedup is None) is (source is None)


def test_a_speedup_comes_with_its_interval() -> None:
    seen = observed_status(PLAN, measurement(slow=window()), off())
    assert seen is not None
    assert (seen.speedup_low, seen.speedup, seen.speedup_high) == ("1.43", "1.50", "1.58")


def test_without_drafts_and_requests_there_are_no_rates() -> None:
    seen = observed_status(PLAN, measurement(slow=window(draft_tokens=0, drafts=0, tpot=None)), off())
    assert seen is not None
    assert (seen.acceptance_rate_percent, seen.acceptance_length, seen.tpot_mean) == (None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "is_worth_it"),
    [
        pytest.param(None, None, False, id="nothing seen"),
        pytest.param(observed(), None, False, id="seen before, not now: the last one stays"),
        pytest.param(None, observed(), True, id="first sight"),
        pytest.param(observed(), observed(), False, id="the same again"),
        pytest.param(observed(), observed(acceptance_rate_percent=77), False, id="2 points of acceptance"),
        pytest.param(observed(), observed(acceptance_rate_percent=78), True, id="3 points of acceptance"),
        pytest.param(observed(), observed(acceptance_rate_percent=None), True, id="no drafts any more"),
        pytest.param(observed(), observed(tpot_mean="21ms"), False, id="5 % of TPOT"),
        pytest.param(observed(), observed(tpot_mean="23ms"), True, id="15 % of TPOT"),
        pytest.param(observed(), observed(running_requests=19), False, id="a little more load"),
        pytest.param(observed(), observed(running_requests=24), True, id="half as much load again"),
        pytest.param(observed(running_requests=1), observed(running_requests=2), False, id="one request more"),
        pytest.param(observed(), observed(speedup="1.30"), True, id="the gain shrinks"),
        pytest.param(observed(), observed(mode=Mode.OFF), True, id="another mode"),
        pytest.param(observed(), observed(window="1m"), True, id="another window"),
    ],
)
def test_worth_writing(old: ObservedStatus | None, new: ObservedStatus | None, is_worth_it: bool) -> None:  # noqa: FBT001 - a column of the table
    assert worth_writing(old, new) is is_worth_it
