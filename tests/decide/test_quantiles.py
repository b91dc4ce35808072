"""A quantile of a histogram is an interval: what it may claim, and what it must admit not to know."""

import math
from fractions import Fraction

import numpy as np
import pytest
from builders import histogram
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specdecode.decide.facts import Histogram
from specdecode.decide.quantiles import quantile_bounds, ranks
from specdecode.engine.metrics import edges
from specdecode.engine.version import EngineVersion

EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.5, math.inf)


def binned(values: list[float]) -> Histogram:
    buckets = tuple((edge, float(sum(value <= edge for value in values))) for edge in EDGES)
    return Histogram(buckets, sum(values), float(len(values)))


@pytest.mark.parametrize(
    ("counts", "quantile", "bounds"),
    [
        pytest.param({0.01: 0, 0.025: 0}, 0.99, (0.0, math.inf), id="no requests: nothing is known"),
        pytest.param({0.025: 458}, 0.99, (0.0, math.inf), id="458 requests: no upper bound of P99 yet"),
        pytest.param({0.025: 459}, 0.99, (0.0, 0.025), id="459 requests: P99 has an upper bound"),
        pytest.param({0.025: 89}, 0.95, (0.0, math.inf), id="89 requests: no upper bound of P95 yet"),
        pytest.param({0.025: 90}, 0.95, (0.0, 0.025), id="90 requests: P95 has an upper bound"),
        pytest.param({0.01: 600}, 0.99, (0.0, 0.01), id="all below the first edge: only that is known"),
        pytest.param({0.01: 0, 0.05: 0, 0.075: 600}, 0.99, (0.05, 0.075), id="all in one bucket: its edges"),
        pytest.param({0.05: 500, 0.1: 600}, 0.99, (0.05, 0.1), id="the last sixth is slow: P99 lies there"),
        pytest.param({0.05: 594, 0.1: 600}, 0.99, (0.0, 0.1), id="exactly 1 % is slow: P99 may lie on either side"),
        pytest.param({0.05: 100, 0.1: 1000}, 0.5, (0.05, 0.1), id="median in the second bucket"),
        pytest.param({0.05: 40}, 0.5, (0.0, 0.05), id="a median needs few requests"),
        pytest.param({0.05: 0, math.inf: 600}, 0.99, (0.05, math.inf), id="beyond the last edge: unbounded above"),
        pytest.param({0.05: 0.0, 0.1: 599.7}, 0.99, (0.05, 0.1), id="extrapolated counts are no integers"),
        pytest.param({0.05: 9000, 0.1: 10000}, 0.99, (0.05, 0.1), id="ten thousand requests: the normal ranks"),
    ],
)
def test_bounds(counts: dict[float, float], quantile: float, bounds: tuple[float, float]) -> None:
    assert quantile_bounds(histogram(below_seconds=counts, mean_seconds=0.03), quantile) == bounds


def test_a_histogram_that_contradicts_its_count_has_no_lower_bound() -> None:
    contradictory = Histogram(((0.05, 10.0), (math.inf, 10.0)), 1.0, 500.0)
    assert quantile_bounds(contradictory, 0.99) == (0.0, math.inf)


def exact_ranks(count: int, quantile: Fraction) -> tuple[int, int]:
    confidence = Fraction(99, 100)
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


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9, 0.99])
def test_the_normal_ranks_take_over_without_a_jump(quantile: float) -> None:
    exact, normal = ranks(2000, quantile), ranks(2001, quantile)
    assert exact[0] - 1 <= normal[0] <= exact[0] + 1
    assert exact[1] <= normal[1] <= exact[1] + 3


@given(values=st.lists(st.floats(0.0001, 0.9), min_size=1, max_size=400), quantile=st.sampled_from([0.5, 0.9, 0.99]))
def test_the_quantile_of_the_sample_lies_inside(values: list[float], quantile: float) -> None:
    low, high = quantile_bounds(binned(values), quantile)
    of_sample = sorted(values)[math.ceil(quantile * len(values)) - 1]
    assert low < of_sample <= high


WINDOWS = 10_000
BURST = 5
"""Requests at most that share half of the variance of their logarithm: they met the same load."""
_METRICS = edges(EngineVersion(0, 32, 0))
_NORMAL_QUANTILES = {0.5: 0.0, 0.99: 2.3263478740408408}


def hits_and_finite(
    source: np.random.Generator, bounds: NDArray[np.float64], *, quantile: float, largest_burst: int
) -> tuple[int, int]:
    """Windows of 5 to 5,000 log-normal requests whose interval holds the true quantile; whose upper bound is finite."""
    hits = finite = 0
    for _ in range(WINDOWS):
        count = round(5 * 1000 ** source.random())
        spread, median = source.uniform(0.2, 1.2), bounds[0] / 2 * (bounds[-2] / bounds[0]) ** (source.random() / 2)
        shape = source.standard_normal(count)
        if largest_burst > 1:
            shared = np.repeat(source.standard_normal(count), source.integers(1, largest_burst + 1, count))[:count]
            shape = (shape + shared) / math.sqrt(2)
        places = np.searchsorted(bounds, median * np.exp(spread * shape))
        counts = np.cumsum(np.bincount(places, minlength=len(bounds))).astype(float)
        window = Histogram(tuple(zip(bounds.tolist(), counts.tolist(), strict=True)), math.nan, float(count))
        low, high = quantile_bounds(window, quantile)
        hits += low < median * math.exp(spread * _NORMAL_QUANTILES[quantile]) <= high
        finite += high < math.inf
    return hits, finite


@pytest.mark.parametrize("largest_burst", [1, BURST], ids=["independent", "in bursts"])
@pytest.mark.parametrize("quantile", [0.5, 0.99])
@pytest.mark.parametrize("name", ["tpot_seconds", "ttft_seconds", "e2e_seconds"])
def test_the_true_quantile_lies_inside_in_99_of_100_windows(name: str, quantile: float, largest_burst: int) -> None:
    bounds = np.array([*getattr(_METRICS, name), math.inf])
    hits, finite = hits_and_finite(np.random.default_rng(7), bounds, quantile=quantile, largest_burst=largest_burst)
    assert hits >= 0.99 * WINDOWS
    assert finite > 0.3 * WINDOWS
