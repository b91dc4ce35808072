"""Which stretches of the past are read again: all of it once, newest hour, few points."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.observe.past import DAYS_SECONDS, DAYS_STEP_SECONDS, MAX_POINTS, Slice, slices

NOW = 1_795_348_800.0


def asked(
    *, since: float = 86_400.0, window: float = 360.0, scrape: float = 15.0, series: int = 158, numbers: int = 32
) -> tuple[Slice, ...]:
    return slices(
        NOW,
        since=NOW - since,
        window_seconds=window,
        scrape_interval_seconds=scrape,
        series=series,
        numbers=numbers,
    )


def test_one_deployment_is_read_scrape_by_scrape_for_an_hour() -> None:
    found = asked(since=3600.0)
    assert {part.step_seconds for part in found} == {15.0}
    assert found[0].start == pytest.approx(NOW - 3600, abs=15)
    assert found[-1].end == NOW - 15
    assert [part.has_buckets for part in found] == [False, False, True, True, True]


def test_two_days_before_it_are_read_in_quarters_of_an_hour_for_the_slow_detector() -> None:
    days, *others = asked(since=1e6)
    assert (days.step_seconds, days.has_buckets) == (DAYS_STEP_SECONDS, False)
    assert days.start == pytest.approx(NOW - DAYS_SECONDS, abs=DAYS_STEP_SECONDS)
    assert days.end < others[0].start
    assert len(others) == 5
    (fleet, *_) = asked(since=1e6, series=158_000, numbers=32_000)
    assert fleet.step_seconds == 4 * DAYS_STEP_SECONDS


@pytest.mark.parametrize(
    ("since", "window", "count"),
    [
        pytest.param(3600.0, 3600.0, 3, id="a window of an hour leaves nothing before it"),
        pytest.param(120.0, 360.0, 3, id="settled two minutes ago: only the window"),
    ],
)
def test_the_window_is_always_read(since: float, window: float, count: int) -> None:
    found = asked(since=since, window=window)
    assert len(found) == count
    assert all(part.has_buckets for part in found)
    assert found[0].start <= NOW - window


def test_a_large_fleet_is_read_in_coarser_steps() -> None:
    (step,) = {part.step_seconds for part in asked(since=3600.0, series=158_000, numbers=32_000)}
    assert step == 90.0


@given(
    since=st.floats(0, 1e6),
    window=st.floats(10, 3700),
    scrape=st.sampled_from([1.0, 5.0, 15.0, 60.0]),
    pods=st.integers(1, 5000),
)
def test_slices_follow_each_other_without_a_gap_and_are_few(
    since: float, window: float, scrape: float, pods: int
) -> None:
    every = asked(since=since, window=window, scrape=scrape, series=79 * pods, numbers=16 * pods)
    assert len(every) <= 6
    found = [part for part in every if part.step_seconds < DAYS_STEP_SECONDS or part.has_buckets]
    step = found[0].step_seconds
    for older, newer in pairwise(found):
        assert 0 < newer.start - older.end < 2 * step + 1e-3
    assert found[-1].end == pytest.approx(NOW - step)
    assert all(part.steps == round((part.end - part.start) / step) + 1 for part in found)
    points = sum(part.steps * (79 if part.has_buckets else 16) * pods for part in found)
    assert points <= 1.5 * MAX_POINTS + 10 * 79 * pods
