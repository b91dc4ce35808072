"""The interval of a ratio of two counters, with batches as the clusters that they are.

Tokens of one request accept alike and requests last longer than a scrape, so neither tokens nor drafts are independent;
the differences between batches carry all of that.
"""

import math
from collections.abc import Sequence
from operator import mul

from specdecode.decide.facts import Interval

_Z = 1.959963984540054
"""Two-sided 95 % of the standard normal distribution."""
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The same of Student's distribution with 1..10 degrees of freedom."""
_MOST_NEIGHBOURS = 4
"""Batches further apart share no request: at 15 s a request of a minute is in five."""
_BATCHES_PER_NEIGHBOUR = 8
"""Fewer batches do not show whether neighbours this far apart are alike."""
PRIOR_DEGREES = 4.0
"""What an expected variance is worth, in batches, beside the measured one."""


def student_quantile(degrees: float) -> float:
    """Two-sided 95 % quantile of Student's distribution, for >= 1 degrees of freedom; error below 0.001.

    Source: table up to 10; Cornish-Fisher expansion above, Abramowitz and Stegun 26.7.5.
    """
    if degrees < len(_T):
        low = int(degrees)
        return _T[low - 1] + (degrees - low) * (_T[low] - _T[low - 1])
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    third = (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384
    return _Z + first / degrees + second / degrees**2 + third / degrees**3


def _sum_of_squares(residuals: Sequence[float]) -> float:
    """Of the residuals, and of what neighbours have in common: a request that spans two batches is in both."""
    furthest = min(_MOST_NEIGHBOURS, len(residuals) // _BATCHES_PER_NEIGHBOUR)
    common = sum(sum(map(mul, residuals, residuals[away:])) for away in range(1, furthest + 1))
    own: float = sum(map(mul, residuals, residuals))
    return own + 2 * max(0.0, common)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], *, prior_variance: float | None = None
) -> Interval | None:
    """sum(numerators) / sum(denominators) with a 95 % interval; None without any denominator, or from one batch without
    a prior.

    One number per batch. `prior_variance`: the variance of the ratio that one unit of denominator is expected to have,
    so p (1 - p) x design effect for accepted among proposed tokens; it steadies the interval of few batches.
    Source: linearised ratio estimator (Cochran, Sampling Techniques, 6.3), variance pooled with the prior's.
    """
    pairs = [(over, under) for over, under in zip(numerators, denominators, strict=True) if under > 0]
    total = sum(under for _, under in pairs)
    degrees = len(pairs) - 1.0
    if total <= 0 or (degrees < 1 and prior_variance is None):
        return None
    ratio = sum(over for over, _ in pairs) / total
    residuals = [over - ratio * under for over, under in pairs]
    variance = _sum_of_squares(residuals) * len(pairs) / total**2
    # The variance of the mean of n batches is the sum of squares x n / (n - 1) / total^2.
    if prior_variance is not None:
        variance += PRIOR_DEGREES * prior_variance / total
        degrees += PRIOR_DEGREES
    half = student_quantile(degrees) * math.sqrt(variance / degrees)
    return Interval(ratio - half, ratio, ratio + half)
