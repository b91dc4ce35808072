"""A quantile of a histogram is an interval: what it may claim, and what it must admit not to know."""

import math
import random
from fractions import Fraction

import pytest
from builders import histogram
from hypothesis import given
from hypothesis import strategies as st

from specdecode.decide.facts import Histogram
from specdecode.decide.quantiles import CONFIDENCE, quantile_bounds, ranks

EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.5, math.inf)


def binned(values: list[float]) -> Histogram:
    buckets = tuple((edge, float(sum(value <= edge for value in values))) for edge in EDGES)
    return Histogram(buckets, sum(values), float(len(values)))


@pytest.mark.parametrize(
    ("counts", "quantile", "bounds"),
    [
        pytest.param({0.01: 0, 0.025: 0}, 0.99, (0.0, math.inf), id="no requests: nothing is known"),
        pytest.param({0.025: 298}, 0.99, (0.0, math.inf), id="298 requests: no upper bound of P99 yet"),
        pytest.param({0.025: 299}, 0.99, (0.0, 0.025), id="299 requests: P99 has an upper bound"),
        pytest.param({0.025: 58}, 0.95, (0.0, math.inf), id="58 requests: no upper bound of P95 yet"),
        pytest.param({0.025: 59}, 0.95, (0.0, 0.025), id="59 requests: P95 has an upper bound"),
        pytest.param({0.01: 600}, 0.99, (0.0, 0.01), id="all below the first edge: only that is known"),
        pytest.param({0.01: 0, 0.05: 0, 0.075: 600}, 0.99, (0.05, 0.075), id="all in one bucket: its edges"),
        pytest.param({0.05: 500, 0.1: 600}, 0.99, (0.05, 0.1), id="the last sixth is slow: P99 lies there"),
        pytest.param({0.05: 594, 0.1: 600}, 0.99, (0.0, 0.1), id="exactly 1 % is slow: P99 may lie on either side"),
        pytest.param({0.05: 100, 0.1: 1000}, 0.5, (0.05, 0.1), id="median in the second bucket"),
        pytest.param({0.05: 40}, 0.5, (0.0, 0.05), id="a median needs few requests"),
        pytest.param({0.05: 0, math.inf: 600}, 0.99, (0.05, math.inf), id="beyond the last edge: unbounded above"),
        pytest.param({0.05: 0.0, 0.1: 399.7}, 0.99, (0.05, 0.1), id="extrapolated counts are no integers"),
        pytest.param({0.05: 9000, 0.1: 10000}, 0.99, (0.05, 0.1), id="ten thousand requests: the normal ranks"),
    ],
)
def test_bounds(counts: dict[float, float], quantile: float, bounds: tuple[float, float]) -> None:
    assert quantile_bounds(histogram(below_seconds=counts, mean_seconds=0.03), quantile) == bounds


def test_a_histogram_that_contradicts_its_count_has_no_lower_bound() -> None:
    contradictory = Histogram(((0.05, 10.0), (math.inf, 10.0)), 1.0, 500.0)
    assert quantile_bounds(contradictory, 0.99) == (0.0, math.inf)


def exact_ranks(count: int, quantile: Fraction) -> tuple[int, int]:
    confidence = Fraction(95, 100)
    cumulative, low, high = Fraction(0), 0, count + 1
    for successes in range(count):
        cumulative += math.comb(count, successes) * quantile**successes * (1 - quantile) ** (count - successes)
        low = successes + 1 if cumulative <= 1 - confidence else low
        if cumulative >= confidence:
            return low, successes + 1
    return low, high


@given(count=st.integers(0, 160), quantile=st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)]))
def test_ranks_are_those_of_the_binomial_distribution(count: int, quantile: Fraction) -> None:
    assert ranks(count, float(quantile)) == exact_ranks(count, quantile)


@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_the_normal_ranks_take_over_without_a_jump(quantile: float) -> None:
    exact, normal = ranks(2000, quantile), ranks(2001, quantile)
    assert exact[0] - 1 <= normal[0] <= exact[0] + 1
    assert exact[1] <= normal[1] <= exact[1] + 2


@given(values=st.lists(st.floats(0.0001, 0.9), min_size=1, max_size=400), quantile=st.sampled_from([0.5, 0.9, 0.99]))
def test_the_quantile_of_the_sample_lies_inside(values: list[float], quantile: float) -> None:
    low, high = quantile_bounds(binned(values), quantile)
    of_sample = sorted(values)[math.ceil(quantile * len(values)) - 1]
    assert low < of_sample <= high


@pytest.mark.parametrize(("count", "quantile"), [(40, 0.5), (350, 0.99), (3000, 0.99)])
def test_the_true_quantile_lies_inside_as_often_as_promised(count: int, quantile: float) -> None:
    source = random.Random(7)
    mean = 0.03
    true = -mean * math.log(1 - quantile)
    hits = 0
    for _ in range(200):
        low, high = quantile_bounds(binned([source.expovariate(1 / mean) for _ in range(count)]), quantile)
        hits += low < true <= high
    assert hits >= (2 * CONFIDENCE - 1) * 200
