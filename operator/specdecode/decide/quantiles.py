"""Quantiles of a Prometheus histogram, as an interval instead of a number.

`histogram_quantile` interpolates inside a bucket and reads 9.9 ms for every P99 below 10 ms. What a histogram does
know is in which bucket an order statistic lies. The true quantile lies between the order statistics of two binomial
ranks; each is widened to the edges of its bucket.
"""

import math
from functools import lru_cache

from specdecode.decide.facts import Histogram

CONFIDENCE = 0.99
"""Of each of the two bounds. With it a finite upper bound of P99 needs ln(0.01) / ln(0.99), that is 459, requests."""

_Z = 2.3263478740408408
"""Quantile of the standard normal distribution at CONFIDENCE."""
_EXACT_UP_TO = 2000
"""Above it the normal approximation is never narrower for P10, P50, P90 and P99, and at most one rank wider."""
_TAIL_DEVIATIONS = 10
"""Terms further below the mean than this add less than 1e-15."""
_TIE = 1e-12
"""One observation misses P99 in exactly 1 of 100 cases; sums of floats must not decide that."""
_ROUNDING = 1e-9
"""Increases are extrapolated, so counts are no integers."""


def _ranks_exact(count: int, quantile: float) -> tuple[int, int]:
    log_count = math.lgamma(count + 1)
    tail = _TAIL_DEVIATIONS * (1 + math.sqrt(count * quantile * (1 - quantile)))
    first = max(0, math.floor(count * quantile - tail))
    cumulative, low, high = 0.0, first, count + 1
    for successes in range(first, count):
        cumulative += math.exp(
            log_count
            - math.lgamma(successes + 1)
            - math.lgamma(count - successes + 1)
            + successes * math.log(quantile)
            + (count - successes) * math.log1p(-quantile)
        )
        if cumulative <= 1 - CONFIDENCE + _TIE:
            low = successes + 1
        if cumulative >= CONFIDENCE - _TIE:
            high = successes + 1
            break
    return low, high


def _ranks_normal(count: int, quantile: float) -> tuple[int, int]:
    spread = _Z * math.sqrt(count * quantile * (1 - quantile))
    middle = count * quantile + (1 - 2 * quantile) * (_Z**2 - 1) / 6  # Cornish-Fisher: the distribution is skewed
    return max(0, math.floor(middle - spread)), min(count + 1, math.ceil(middle + spread) + 1)


@lru_cache(maxsize=4096)
def ranks(count: int, quantile: float) -> tuple[int, int]:
    """Ranks (1-based) of the order statistics around a quantile of `count` observations.

    P(Binomial(count, quantile) < low) <= 1 % and P(Binomial(count, quantile) < high) >= 99 %. 0 and `count` + 1 mean
    that there are too few observations for that side.
    """
    return _ranks_exact(count, quantile) if count <= _EXACT_UP_TO else _ranks_normal(count, quantile)


def quantile_bounds(histogram: Histogram, quantile: float) -> tuple[float, float]:
    """Lower and upper bound of a quantile, in seconds; the true one is above the lower and at most the upper.

    (0, inf) when nothing is known.
    """
    low_rank, high_rank = ranks(math.floor(histogram.count + _ROUNDING), quantile)
    low, edge = 0.0, 0.0
    for bound, cumulative in histogram.buckets:
        if cumulative >= low_rank - _ROUNDING:
            low = edge
            break
        edge = bound
    high = next((bound for bound, seen in histogram.buckets if seen >= high_rank - _ROUNDING), math.inf)
    return low, high
