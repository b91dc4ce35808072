"""The older part of a window: what holds for a whole window holds there as well."""

from dataclasses import replace

import pytest
from builders import histogram, measurement, situation, window

from specdecode.api.vocabulary import Mode
from specdecode.decide.acceptance import acceptance_below_floor
from specdecode.decide.facts import Window
from specdecode.decide.situation import Stage, View

SLOW = window(seconds=300, drafts=4000, draft_tokens=20_000, accepted_tokens=8_000)
FAST = window(seconds=60, drafts=800, draft_tokens=4_000, accepted_tokens=100)


def view(slow: Window, fast: Window) -> View:
    return View(situation(measurement=measurement(slow=slow, fast=fast)), Mode.QUANTIZED_DRAFT, Stage.SETTLED)


def test_the_older_part_is_the_difference() -> None:
    older = SLOW.before(FAST)
    assert (older.seconds, older.drafts, older.draft_tokens, older.accepted_tokens) == (240, 3200, 16_000, 7_900)
    assert older.tpot is not None
    assert (older.tpot.count, older.tpot.buckets[-1][1]) == (0, 0)


def test_a_window_that_is_no_longer_than_the_recent_one_is_its_own_older_part() -> None:
    assert FAST.before(SLOW) is FAST


def test_extrapolation_never_makes_a_negative_count() -> None:
    older = SLOW.before(replace(FAST, drafts=4100.0, tpot=histogram(below_seconds={0.01: 900.0}, mean_seconds=1)))
    assert older.drafts == 0
    assert older.tpot is not None
    assert min(count for _, count in older.tpot.buckets) == 0


@pytest.mark.parametrize("missing", ["tpot", "ttft", "e2e"])
def test_a_histogram_that_only_one_part_has_is_left_as_it_is(missing: str) -> None:
    assert getattr(SLOW.before(replace(FAST, **{missing: None})), missing) is getattr(SLOW, missing)
    assert getattr(replace(SLOW, **{missing: None}).before(FAST), missing) is None


@pytest.mark.parametrize(
    ("slow", "fast", "speaks"),
    [
        pytest.param(SLOW, FAST, True, id="49 % before and 3 % now: below the floor for the whole window"),
        pytest.param(
            replace(SLOW, accepted_tokens=9_000.0), FAST, False, id="56 % before and 3 % now: the average is no window"
        ),
        pytest.param(SLOW, replace(FAST, accepted_tokens=3_000.0), False, id="recovered: not any more"),
    ],
)
def test_a_floor_must_be_missed_for_the_whole_window(slow: Window, fast: Window, speaks: bool) -> None:  # noqa: FBT001 - a column
    assert (acceptance_below_floor(view(slow, fast)) is not None) is speaks
