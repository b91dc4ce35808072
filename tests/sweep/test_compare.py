"""A cell against the same cell without speculation."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep.sweeps import answer, cell, drafted, failed, measured, off, pair, steady, sweep

from specdecode.decide.facts import Interval
from specdecode.sweep.compare import Comparison, baselines_of, compare, newest, place_of, pooled
from specdecode.sweep.types import Measured


def compared(on: Measured, without: Measured) -> Comparison:
    """A comparison that there is."""
    found = compare(on, without)
    assert found is not None
    return found


def test_half_the_time_is_twice_as_fast() -> None:
    on, without = pair(cell(), on_ms=10, off_ms=20)
    found = compared(on, without)
    assert found.tpot_mean.low < 2 < found.tpot_mean.high
    assert found.tpot_p50.low < 2 < found.tpot_p50.high
    assert found.throughput is not None
    assert found.throughput.low < 2 < found.throughput.high * 1.05
    assert found.requests == 100


def test_what_two_arms_share_cancels() -> None:
    """Requests differ tenfold, and each is exactly 1.2 times as fast: paired by prompt and seed that is certain."""
    times = steady(0.05, 0.8, seed=3)
    on, without = measured(cell(), lambda n: times(n) / 1.2), measured(off(cell()), times)
    paired = compared(on, without)
    other = replace(without, answers=tuple(replace(one, seed=one.seed + 10_000) for one in without.answers))
    unpaired = compared(on, other)
    assert paired.tpot_mean.low == pytest.approx(1.2)
    assert paired.tpot_mean.high == pytest.approx(1.2)
    assert unpaired.tpot_mean.low < 1.1
    assert unpaired.tpot_mean.high > 1.3


def test_a_cell_against_itself_is_as_fast_as_it_is() -> None:
    on, _ = pair(cell(), on_ms=10, off_ms=20)
    assert compared(on, on).tpot_mean == Interval(1.0, 1.0, 1.0)


def test_a_tail_is_compared_where_there_are_enough_requests() -> None:
    few, many = (compared(*pair(cell(), on_ms=10, off_ms=20, requests=requests)) for requests in (100, 500))
    assert (few.tpot_p99.low, few.tpot_p99.high) == (0.0, math.inf)
    assert few.p99_requests_needed == 359
    assert many.tpot_p99.low > 1
    assert math.isfinite(many.tpot_p99.high)
    assert many.p99_requests_needed == 0


@pytest.mark.parametrize(
    ("requests_on", "requests_off"),
    [pytest.param(1, 100, id="one request with speculation"), pytest.param(100, 1, id="one request without")],
)
def test_one_request_is_no_sample(requests_on: int, requests_off: int) -> None:
    on = measured(cell(), steady(0.01), requests_on)
    without = measured(off(cell()), steady(0.02), requests_off)
    found = compared(on, without).tpot_mean
    assert (found.low, found.high) == (0.0, math.inf)


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(Measured(off(cell()), 1.0, ()), id="the baseline has no answer"),
        pytest.param(Measured(off(cell()), 1.0, (failed(1, "refused"),)), id="the baseline only failed"),
        pytest.param(Measured(off(cell()), 1.0, (answer(1, 0.02, output_tokens=1),)), id="the baseline says one token"),
        pytest.param(Measured(off(cell()), 1.0, (answer(1, 0.0),)), id="the baseline took no time"),
    ],
)
def test_there_is_nothing_to_compare_with(without: Measured) -> None:
    assert compare(measured(cell(), steady(0.01)), without) is None


def test_most_answers_in_one_piece_are_no_division_by_zero() -> None:
    mostly_none = measured(cell(), lambda n: 0.01 if n % 10 == 0 else 0.0)
    found = compared(mostly_none, measured(off(cell()), steady(0.02)))
    assert found.tpot_p50.high == math.inf
    assert compared(measured(cell(), steady(0.02)), replace(mostly_none, cell=off(cell()))).tpot_p50.low == 0.0


def test_a_cell_is_compared_with_the_one_at_its_place() -> None:
    on, without = pair(cell(0.4, 8), on_ms=10, off_ms=20)
    other_on, other_off = pair(cell(0.8, 8), on_ms=10, off_ms=20)
    found = baselines_of(sweep(on, other_on), sweep(other_off, without))
    assert found[place_of(on.cell)] is without
    assert found[place_of(other_on.cell)] is other_off


def test_a_sweep_with_the_mode_off_is_its_own_baseline() -> None:
    on, without = pair(cell(), on_ms=10, off_ms=20)
    assert baselines_of(sweep(on, without), None) == {place_of(on.cell): without}


def test_a_named_baseline_comes_before_the_own_one() -> None:
    on, without = pair(cell(), on_ms=10, off_ms=20)
    named = measured(off(cell()), steady(0.03))
    assert baselines_of(sweep(on, without), sweep(named)) == {place_of(on.cell): named}


@pytest.mark.parametrize(
    "pretended",
    [
        pytest.param(measured(cell(), steady(0.02)), id="another mode than Off"),
        pytest.param(measured(off(cell()), steady(0.02), counters=drafted(0.5)), id="Off, but its counters draft"),
    ],
)
def test_what_speculates_is_no_baseline(pretended: Measured) -> None:
    assert baselines_of(sweep(), sweep(pretended)) == {}


def test_the_newest_whole_cell_counts() -> None:
    whole, later = measured(cell(), steady(0.01)), measured(cell(), steady(0.02))
    part = replace(whole, is_whole=False)
    assert newest((part, whole)) == (whole,)
    assert newest((whole, part)) == (whole,)
    assert newest((whole, later)) == (later,)
    assert newest((part, replace(later, is_whole=False))) == (replace(later, is_whole=False),)


@pytest.mark.parametrize(
    ("mean", "needed"),
    [
        pytest.param(Interval(1.1, 1.2, 1.3), 0, id="surely faster: none"),
        pytest.param(Interval(0.9, 1.0, 1.1), None, id="exactly as fast: no number would show it"),
        pytest.param(Interval(0.9, 1.001, 1.11), None, id="a thousandth: more than anybody would send"),
        pytest.param(Interval(0.0, 1.5, math.inf), 1, id="no bounds after more than four rounds: one will do"),
    ],
)
def test_requests_until_the_mean_is_sure(mean: Interval, needed: int | None) -> None:
    unknown = Interval(0.0, 1.0, math.inf)
    assert Comparison(mean, unknown, unknown, None, 100, 4).mean_requests_needed == needed


@pytest.mark.parametrize(
    "requests",
    [pytest.param(8, id="two rounds, whose interval is very wide"), pytest.param(40, id="ten rounds")],
)
def test_as_many_requests_as_are_said_to_be_needed_are_enough_and_half_are_not(requests: int) -> None:
    """Round for round alike: 8 % above, then 8 % below what is 3 % faster."""

    def found(number: int) -> Comparison:
        on = measured(cell(), lambda n: 0.02 / 1.03 * (0.92 if n // 4 % 2 else 1.08), number)
        return compared(on, measured(off(cell()), lambda _: 0.02, number))

    needed = found(requests).mean_requests_needed
    assert needed
    # An odd number of rounds has one more of the slow ones.
    assert found(requests + needed + 4 * (needed // 4 % 2)).tpot_mean.low > 1
    assert found(requests + needed // 16 * 8).tpot_mean.low <= 1


def test_less_than_two_rounds_have_no_interval() -> None:
    """Eight requests at once share every step of the engine: nothing says how another moment would have been."""
    found = compared(*pair(cell(concurrency=8), on_ms=10, off_ms=20, requests=8))
    assert (found.tpot_mean.low, found.tpot_mean.high) == (0.0, math.inf)
    assert found.mean_requests_needed == 24


def test_the_interval_of_a_speed_up_covers_the_true_one() -> None:
    """Paired prompts of very different length, noise of its own in each arm, 8 at once that share a moment."""
    chance = random.Random(3)
    covered = 0
    for _ in range(500):
        length = [chance.uniform(0.01, 0.05) for _ in range(64)]
        moments = [[math.exp(chance.gauss(0, 0.05)) for _ in range(8)] for _ in range(2)]
        on = [length[n] / 1.3 * moments[0][n // 8] * chance.uniform(0.8, 1.2) for n in range(64)]
        without = [length[n] * moments[1][n // 8] * chance.uniform(0.95, 1.05) for n in range(64)]
        found = compared(
            measured(cell(concurrency=8), on.__getitem__, 64),
            measured(off(cell(concurrency=8)), without.__getitem__, 64),
        ).tpot_mean
        covered += found.low <= 1.3 <= found.high
    assert covered >= 460


@given(st.lists(st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)), min_size=2, max_size=40), st.booleans())
@settings(max_examples=60)
def test_a_speed_up_turned_round_is_its_inverse(times: list[tuple[float, float]], is_shuffled: bool) -> None:  # noqa: FBT001 - drawn
    on = measured(cell(), lambda n: times[n][0], len(times))
    without = measured(off(cell()), lambda n: times[n][1], len(times))
    if is_shuffled:
        on = replace(on, answers=tuple(reversed(on.answers)))
    there, back = compared(on, without), compared(without, on)
    assert there.tpot_mean.value == pytest.approx(1 / back.tpot_mean.value)
    assert there.tpot_mean.low == pytest.approx(1 / back.tpot_mean.high)
    assert there.tpot_mean.low <= there.tpot_mean.value <= there.tpot_mean.high


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        pytest.param([Interval(1.0, 2.0, 4.0)], Interval(1.0, 2.0, 4.0), id="one is itself"),
        pytest.param([Interval(0.5, 1, 2)] * 4, Interval(2**-0.5, 1, 2**0.5), id="four are twice as sharp"),
        pytest.param(
            [Interval(0.0, 2.0, math.inf), Interval(2.0, 2.0, 2.0)],
            Interval(0.0, 2.0, math.inf),
            id="one without bounds leaves none",
        ),
    ],
)
def test_speed_ups_taken_together(intervals: list[Interval], expected: Interval) -> None:
    found = pooled(intervals)
    assert (found.low, found.value, found.high) == pytest.approx((expected.low, expected.value, expected.high))
