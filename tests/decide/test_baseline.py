"""What is remembered for later comparisons, and when it is rewritten."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, histogram, measurement, off_band, off_baseline, plan, window

from specdecode.api.status import OFF_BAND_LIMIT, BaselineStatus, Bounds, DraftBaseline
from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide.baseline import band_at, bands_around, is_same_load, next_baseline
from specdecode.decide.facts import Availability, Measurement
from specdecode.plan.types import Plan

EARLIER = NOW - timedelta(hours=6)
NOTED = off_band(
    "20ms",
    tpot_p50=Bounds(low="10ms", high="25ms"),
    tpot_p99=Bounds(low="25ms", high="50ms"),
    step_mean="100ms",
)
OFF = off_baseline(NOTED.model_copy(update={"at": EARLIER}))
DRAFT = DraftBaseline(key=plan().draft_key, acceptance_rate_percent="75.0", draft_tokens=20_000, at=EARLIER)


def seen(mode: Mode, **overrides: Any) -> Measurement:
    return measurement(mode=mode, slow=window(**overrides))


def updated(
    old: BaselineStatus | None, found: Measurement, *, is_settled: bool = True, of: Plan | None = None
) -> BaselineStatus | None:
    return next_baseline(old, of or plan(), found, is_settled=is_settled, now=NOW)


def tpot(mean_seconds: float, count: float = 600) -> dict[str, Any]:
    return {"tpot": histogram(below_seconds={0.05: count}, mean_seconds=mean_seconds)}


def test_off_is_noted_with_its_load_and_its_intervals() -> None:
    assert updated(None, seen(Mode.OFF)) == BaselineStatus(off=off_baseline(NOTED))


def test_the_unquantised_draft_is_noted_with_its_tokens() -> None:
    assert updated(None, seen(Mode.DRAFT)) == BaselineStatus(draft=DRAFT.model_copy(update={"at": NOW}))


def test_one_does_not_push_out_the_other() -> None:
    both = updated(BaselineStatus(off=OFF), seen(Mode.DRAFT))
    assert both is not None
    assert both.off == OFF
    assert both.draft is not None


@pytest.mark.parametrize(
    ("old", "found"),
    [
        pytest.param(BaselineStatus(off=OFF), seen(Mode.OFF, **tpot(0.0209)), id="less than five per cent slower"),
        pytest.param(BaselineStatus(draft=DRAFT), seen(Mode.DRAFT, accepted_tokens=15_200.0), id="exactly one point"),
        pytest.param(None, seen(Mode.OFF, **tpot(0.02, 29)), id="29 requests"),
        pytest.param(None, seen(Mode.OFF, tpot=None), id="an engine without TPOT"),
        pytest.param(None, seen(Mode.DRAFT, draft_tokens=1999.0), id="1999 draft tokens"),
        pytest.param(None, seen(Mode.DRAFT, accepted_tokens=0.0), id="a draft that collapsed is no reference"),
        pytest.param(None, seen(Mode.QUANTIZED_DRAFT), id="the quantised draft is what is compared"),
        pytest.param(None, seen(Mode.NGRAM), id="n-gram is no reference"),
        pytest.param(None, Measurement(Availability.NO_TRAFFIC, "idle", Mode.OFF, slow=window()), id="no traffic"),
        pytest.param(None, Measurement(Availability.MEASURED, "", Mode.OFF), id="no slow window"),
    ],
)
def test_nothing_is_rewritten(old: BaselineStatus | None, found: Measurement) -> None:
    assert updated(old, found) is old


def test_nothing_is_noted_while_it_settles() -> None:
    assert updated(None, seen(Mode.OFF), is_settled=False) is None


def test_a_plan_without_draft_notes_no_draft() -> None:
    assert updated(None, seen(Mode.DRAFT), of=plan(draft_key="")) is None


@pytest.mark.parametrize(
    ("old", "found"),
    [
        pytest.param(BaselineStatus(off=OFF), seen(Mode.OFF, **tpot(0.0212)), id="six per cent slower"),
        pytest.param(BaselineStatus(off=OFF), seen(Mode.OFF, running_requests=30.0), id="another load"),
        pytest.param(BaselineStatus(off=OFF.model_copy(update={"key": "other"})), seen(Mode.OFF), id="another engine"),
        pytest.param(BaselineStatus(off=off_baseline(off_band("soon"))), seen(Mode.OFF), id="it was no number"),
        pytest.param(BaselineStatus(draft=DRAFT), seen(Mode.DRAFT, accepted_tokens=15_300.0), id="1.5 points more"),
        pytest.param(
            BaselineStatus(draft=DRAFT.model_copy(update={"key": "other"})), seen(Mode.DRAFT), id="another draft"
        ),
        pytest.param(
            BaselineStatus(draft=DRAFT.model_copy(update={"acceptance_rate_percent": ""})),
            seen(Mode.DRAFT),
            id="the rate was no number",
        ),
    ],
)
def test_what_moved_is_rewritten_once(old: BaselineStatus, found: Measurement) -> None:
    new = updated(old, found)
    assert new not in (old, None)
    assert updated(new, found) is new


@pytest.mark.parametrize(
    ("running", "reference", "expected"),
    [
        pytest.param(20.7, 16, True, id="nearly 30 % more"),
        pytest.param(21, 16, False, id="over 30 % more"),
        pytest.param(11.3, 16, True, id="nearly 30 % less"),
        pytest.param(1.4, 1, True, id="what rounding may have moved"),
        pytest.param(0.2, 0, True, id="hardly anything, rounded to nothing"),
        pytest.param(3, 1, False, id="thrice as much"),
    ],
)
def test_same_load(running: float, reference: float, *, expected: bool) -> None:
    assert is_same_load(running, reference) is expected


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        pytest.param(Mode.DRAFT, {"accepted_tokens": 100.0}, id="acceptance is falling"),
        pytest.param(Mode.OFF, tpot(0.06, count=120), id="latency is rising"),
        pytest.param(Mode.OFF, {"tpot": None}, id="the newest part has no latency"),
    ],
)
def test_what_is_on_its_way_somewhere_else_is_no_baseline(mode: Mode, changes: dict[str, Any]) -> None:
    found = seen(mode)
    assert found.fast is not None
    assert updated(None, replace(found, fast=replace(found.fast, **changes))) is None


def test_without_a_fast_window_nothing_is_noted() -> None:
    assert updated(None, replace(seen(Mode.OFF), fast=None)) is None


def test_loads_are_kept_beside_each_other_ascending() -> None:
    found = updated(BaselineStatus(off=OFF), seen(Mode.OFF, running_requests=4.0, **tpot(0.012)))
    assert found is not None
    assert found.off is not None
    assert [(band.running_requests, band.tpot_mean) for band in found.off.bands] == [(4, "12ms"), (16, "20ms")]


def test_of_too_many_loads_the_oldest_goes() -> None:
    old = tuple(
        off_band(running=load).model_copy(update={"at": NOW - timedelta(days=load)}) for load in range(10, 130, 10)
    )
    full = off_baseline(*old)
    assert len(full.bands) == OFF_BAND_LIMIT
    found = updated(BaselineStatus(off=full), seen(Mode.OFF, running_requests=1.0))
    assert found is not None
    assert found.off is not None
    assert [band.running_requests for band in found.off.bands] == [1, *range(10, 120, 10)]


def test_the_control_arm_is_recorded_while_speculation_runs() -> None:
    control = replace(seen(Mode.OFF), arm=Arm.CONTROL)
    found = updated(None, replace(seen(Mode.QUANTIZED_DRAFT), control=control))
    assert found == BaselineStatus(off=off_baseline(NOTED))


def test_a_draft_baseline_is_rewritten_when_its_tokens_have_doubled() -> None:
    thin = DRAFT.model_copy(update={"draft_tokens": 10_000})
    found = updated(BaselineStatus(draft=thin), seen(Mode.DRAFT))
    assert found is not None
    assert found.draft is not None
    assert found.draft.draft_tokens == 20_000


LOADS = off_baseline(off_band("10ms", 4), off_band("20ms", 16), off_band("40ms", 64))


@pytest.mark.parametrize(
    ("running", "around"),
    [
        (10, [4, 16]),
        (16, [16, 64]),
        (3, [4]),
        (2, []),
        (80, [64]),
        (90, []),
    ],
)
def test_a_load_lies_between_two_recorded_ones_or_near_one(running: float, around: list[int]) -> None:
    assert [band.running_requests for band in bands_around(LOADS, LOADS.key, running)] == around


def test_recorded_loads_of_another_engine_say_nothing() -> None:
    assert bands_around(LOADS, "other", 10) == ()
    assert bands_around(None, LOADS.key, 10) == ()
    assert band_at(LOADS, "other", 16) is None
