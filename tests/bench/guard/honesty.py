"""How often the interval around a P99 holds the true one, and whether anything is done while the limit lies inside."""

from dataclasses import dataclass

import numpy as np

from specdecode.decide.facts import Histogram, Window
from specdecode.decide.latency import Limit
from specdecode.decide.quantiles import quantile_bounds

from .traffic import KINDS, STEP_SECONDS, Floats, Kind, accepted_in
from .world import EDGES

_POPULATION = 200_000
_RATES_PER_SECOND = (0.2, 1.0, 5.0)
_WINDOW_SECONDS = 300.0
_SLOWEST = 40.0
"""Steps from 5 to 200 ms: from below the first edge to beyond the P99 that anybody would bear."""


@dataclass(frozen=True)
class Honesty:
    """Over many windows."""

    windows: int
    holds_true: int
    """Windows whose interval holds the P99 of the traffic."""
    holds_own: int
    """Windows whose interval holds the P99 of the very requests in it."""
    is_finite: int
    """Windows whose upper bound is a number."""
    acted_inside: int
    """Windows in which the limit was called exceeded though it lay inside the interval."""
    acted_wrongly: int
    """Windows in which it was called exceeded though the true P99 was not above it."""


def _tpot(kind: Kind, rng: np.random.Generator, count: int) -> Floats:
    steps, means = kind.draw(rng, count)
    return STEP_SECONDS * steps / (steps + accepted_in(rng, steps, means))


def _histogram(seconds: Floats) -> Histogram:
    bounds = np.array([*EDGES.tpot_seconds, np.inf])
    counts = np.searchsorted(np.sort(seconds), bounds, side="right").astype(float)
    return Histogram(tuple(zip(bounds.tolist(), counts.tolist(), strict=True)), float(seconds.sum()), len(seconds))


def _is_inside(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] < value <= bounds[1]


def honesty(windows: int, seed: int) -> Honesty:
    """Windows of 5 minutes, of each kind of traffic, at three rates, with engines of any speed and limits anywhere."""
    rng = np.random.default_rng(seed)
    populations = [_tpot(kind, rng, _POPULATION) for kind in KINDS]
    truths = [float(np.quantile(population, 0.99)) for population in populations]
    counted = np.zeros(5, dtype=int)
    for _ in range(windows):
        which = int(rng.integers(len(KINDS)))
        slowness = 0.5 * _SLOWEST ** rng.random()
        count = int(rng.poisson(_WINDOW_SECONDS * rng.choice(_RATES_PER_SECOND)))
        seconds = slowness * rng.choice(populations[which], max(1, count))
        truth, histogram = slowness * truths[which], _histogram(seconds)
        bounds = quantile_bounds(histogram, 0.99)
        limit_seconds = round(1000 * truth * 3 ** rng.uniform(-1, 1)) / 1000
        limit = Limit("tpotP99", "tpot", f"{max(1, round(1000 * limit_seconds))}ms")
        is_exceeded = limit.is_exceeded(Window(seconds=_WINDOW_SECONDS, tpot=histogram))
        counted += (
            _is_inside(truth, bounds),
            _is_inside(float(np.quantile(seconds, 0.99, method="inverted_cdf")), bounds),
            bounds[1] < np.inf,
            is_exceeded and bounds[0] < limit_seconds < bounds[1],
            is_exceeded and truth <= limit_seconds,
        )
    return Honesty(windows, *counted.tolist())
