"""What one cell says in numbers, and that its intervals hold what they promise."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep.sweeps import START, answer, cell, drafted, failed, measured, steady

from specdecode.decide.facts import Interval
from specdecode.sweep.statistics import (
    latency_of,
    quantile_interval,
    rate_interval,
    requests_for,
    statistics_of,
    tpot_of,
)
from specdecode.sweep.types import Answer, Measured


def of_answers(*answers: Answer, concurrency: int = 4, seconds: float = 100.0) -> Measured:
    """A cell with these answers."""
    return Measured(cell(concurrency=concurrency), seconds, answers)


def test_a_failed_request_counts_only_as_failed() -> None:
    cell_ = of_answers(answer(1, 0.02), failed(2, "timed out"), failed(3, "refused"), failed(4, "timed out"))
    found = statistics_of(cell_)
    assert (found.requests, found.answered) == (4, 1)
    assert found.errors == (("timed out", 2), ("refused", 1))
    assert found.tpot is not None
    assert found.tpot.requests == 1


@pytest.mark.parametrize(
    "cell_",
    [
        pytest.param(of_answers(), id="no request at all"),
        pytest.param(of_answers(failed(1, "refused")), id="only failures"),
        pytest.param(of_answers(answer(1, 0.02, output_tokens=1)), id="one token each: there is no time between two"),
        pytest.param(of_answers(answer(1, 0.0)), id="all tokens in one piece: the clock saw no time"),
    ],
)
def test_without_a_time_per_output_token_there_is_none(cell_: Measured) -> None:
    assert statistics_of(cell_).tpot is None


def test_one_answer_has_a_value_and_no_bounds() -> None:
    tpot = statistics_of(of_answers(answer(1, 0.02))).tpot
    assert tpot is not None
    assert tpot.mean == Interval(0.0, tpot.mean.value, math.inf)
    assert tpot.p50 == Interval(0.0, tpot.mean.value, math.inf)
    assert tpot.mean.value == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("requests", "is_bounded"),
    [
        pytest.param(458, False, id="458 requests do not bound a P99"),
        pytest.param(459, True, id="459 do"),
    ],
)
def test_the_p99_says_when_there_are_too_few_requests(requests: int, is_bounded: bool) -> None:  # noqa: FBT001 - a column
    tpot = statistics_of(measured(cell(), steady(0.02), requests)).tpot
    assert tpot is not None
    assert math.isfinite(tpot.p99.high) == is_bounded
    assert (requests >= requests_for(0.99)) == is_bounded


def test_throughput_is_that_of_the_cell() -> None:
    cell_ = measured(cell(concurrency=4), steady(0.02), 64)
    found = statistics_of(cell_)
    throughput = found.output_tokens_per_second
    assert throughput is not None
    assert throughput.value == pytest.approx(cell_.output_tokens_per_second)
    assert throughput.low < throughput.value < throughput.high
    assert found.running_requests == pytest.approx(4)


def test_requests_at_once_that_are_slow_together_widen_the_interval() -> None:
    """Eight at once share the engine: a slow minute hits all of them, and is one observation."""
    together = [answer(number, 0.03 if number // 8 % 2 else 0.02) for number in range(128)]
    alone = latency_of(together, tpot_of, concurrency=1)
    shared = latency_of(together, tpot_of, concurrency=8)
    assert alone is not None
    assert shared is not None
    assert shared.mean.high - shared.mean.low > 1.4 * (alone.mean.high - alone.mean.low)


def test_acceptance_is_by_rate_by_length_and_by_position() -> None:
    counters = replace(drafted(0.5, 1000), accepted_at=(800.0, 500.0, 200.0))
    found = statistics_of(measured(cell(), steady(0.02), counters=counters))
    assert found.acceptance_rate is not None
    assert found.acceptance_length is not None
    assert found.acceptance_rate.value == 0.5
    assert found.acceptance_length.value == 2.5
    assert found.accepted_at == (0.8, 0.5, 0.2)


@pytest.mark.parametrize(
    ("counters", "has_rate", "has_length"),
    [
        pytest.param(None, False, False, id="an endpoint that does not say has neither"),
        pytest.param(drafted(0.5, 0), False, False, id="no drafts: nothing was accepted of nothing"),
        pytest.param(replace(drafted(0.5), drafts=0.0), True, False, id="no counter of drafts: a rate, no length"),
    ],
)
def test_acceptance_is_left_out_where_it_is_not_known(counters, has_rate: bool, has_length: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, FBT001 - columns
    found = statistics_of(measured(cell(), steady(0.02), counters=counters))
    assert (found.acceptance_rate is not None, found.acceptance_length is not None) == (has_rate, has_length)


def _missed(quantile: float, requests: int, rounds: int) -> tuple[int, int]:
    """How often the interval lies above and below the true quantile of a skewed distribution."""
    chance = random.Random(7)
    truth = math.exp(0.8 * _normal_quantile(quantile))
    low = high = 0
    for _ in range(rounds):
        found = quantile_interval([math.exp(chance.gauss(0, 0.8)) for _ in range(requests)], quantile)
        low += found.low > truth
        high += found.high < truth
    return low, high


def _normal_quantile(quantile: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(quantile)


@pytest.mark.parametrize("requests", [20, 100, 500])
@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_the_interval_of_a_quantile_covers_the_true_one(quantile: float, requests: int) -> None:
    """Each side misses in 1 of 100 cases at most: of 2000 rounds 20 are expected, and 40 are beyond chance."""
    assert max(_missed(quantile, requests, 2000)) < 40


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_interval_of_a_mean_covers_the_true_one(concurrency: int) -> None:
    """Requests at once share a slow or a fast moment. 95 % of 1000 rounds, less what a skewed sample costs."""
    chance = random.Random(11)
    covered = 0
    for _ in range(1000):
        moments = [math.exp(chance.gauss(0, 0.2)) for _ in range(96 // concurrency)]
        times = [0.02 * moments[number // concurrency] * chance.uniform(0.8, 1.2) for number in range(96)]
        found = latency_of([answer(number, time) for number, time in enumerate(times)], tpot_of, concurrency)
        assert found is not None
        covered += found.mean.low <= 0.02 * math.exp(0.02) <= found.mean.high
    assert covered >= 925


def test_the_interval_of_a_rate_covers_the_true_one() -> None:
    """Tokens of a request accept alike: the rate of each is drawn, then its hundred tokens."""
    chance = random.Random(5)
    covered = 0
    for _ in range(400):
        rates = [chance.betavariate(6, 4) for _ in range(20)]
        accepted = sum(sum(chance.random() < rate for _ in range(100)) for rate in rates)
        found = rate_interval(accepted, 2000)
        covered += found.low <= 0.6 <= found.high
    assert covered >= 370


_TIMES = st.lists(st.floats(0.001, 10.0), min_size=1, max_size=60)


@given(_TIMES, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_in_which_answers_come_changes_nothing(times: list[float], chance: random.Random) -> None:
    answers = [answer(number, time) for number, time in enumerate(times)]
    shuffled = list(answers)
    chance.shuffle(shuffled)
    assert statistics_of(of_answers(*answers)) == statistics_of(of_answers(*shuffled))


@given(_TIMES, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_within_its_own_interval(times: list[float], quantile: float) -> None:
    found = quantile_interval(times, quantile)
    assert found.low <= found.value <= found.high


@given(_TIMES)
@settings(max_examples=60)
def test_the_same_answers_many_times_never_widen_an_interval(times: list[float]) -> None:
    few = latency_of([answer(number, time) for number, time in enumerate(times)], tpot_of, 1)
    many = latency_of([answer(number, times[number % len(times)]) for number in range(len(times) * 16)], tpot_of, 1)
    assert few is not None
    assert many is not None
    assert many.mean.high - many.mean.low <= (few.mean.high - few.mean.low) * (1 + 1e-9)
    assert many.p50.high - many.p50.low <= (few.p50.high - few.p50.low) * (1 + 1e-9) + 1e-12


@given(st.floats(0, 1), st.floats(1, 1e9))
def test_a_rate_stays_between_none_and_all(rate: float, proposed: float) -> None:
    found = rate_interval(rate * proposed, proposed)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_answers_without_any_time_between_them_are_ordered_all_the_same() -> None:
    """All were asked at the same moment: prompt and seed decide, not the order in which they came."""
    answers = [replace(answer(number, 0.01 * (1 + number % 5)), started_at=START) for number in range(40)]
    assert statistics_of(of_answers(*answers)) == statistics_of(of_answers(*reversed(answers)))
