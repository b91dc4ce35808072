"""What is remembered for later comparisons, and when it is rewritten."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, histogram, measurement, plan, window

from specdecode.api.status import BaselineStatus, Bounds, DraftBaseline, OffBaseline
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import is_same_load, next_baseline
from specdecode.decide.facts import Availability, Measurement
from specdecode.plan.types import Plan

EARLIER = NOW - timedelta(hours=6)
OFF = OffBaseline(
    key=plan().baseline_key,
    tpot_mean="20ms",
    tpot_p50=Bounds(low="10ms", high="25ms"),
    tpot_p99=Bounds(low="25ms", high="50ms"),
    running_requests=16,
    at=EARLIER,
)
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
    assert updated(None, seen(Mode.OFF)) == BaselineStatus(off=OFF.model_copy(update={"at": NOW}))


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
        pytest.param(
            BaselineStatus(off=OFF.model_copy(update={"tpot_mean": "?"})), seen(Mode.OFF), id="it was no number"
        ),
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
