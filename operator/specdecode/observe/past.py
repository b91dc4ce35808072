"""Which stretches of the past are read again after a restart of the operator. Pure.

The slow window comes with everything; the rest of the newest hour only with what the detectors look at; two days before
it in quarters of an hour, for the detector of slow decay. Few points are read however large the fleet is: a large one
is read in coarser steps.
"""

import math
from dataclasses import dataclass

MAX_SECONDS = 3600.0
MAX_POINTS = 2_000_000
"""Samples of one rebuild: some 50 MB on the wire."""
HOUR_PARTS = 2
"""Requests for the hour; with three for the slow window, one for the days and the two of the tick that makes eight."""
DAYS_SECONDS = 48 * 3600.0
DAYS_STEP_SECONDS = 900.0
"""What the detector of slow decay remembers, and its bins."""
_SPARE_STEPS = 4


@dataclass(frozen=True)
class Slice:
    """One range query."""

    start: float
    """Unix seconds."""
    end: float
    step_seconds: float
    has_buckets: bool

    @property
    def steps(self) -> int:
        """Evaluations, both ends included."""
        return math.floor((self.end - self.start) / self.step_seconds + 1e-6) + 1


def _parts(start: float, end: float, step: float, parts: int, *, has_buckets: bool) -> tuple[Slice, ...]:
    steps = math.ceil((end - start) / step - 1e-6)
    if steps <= 0:
        return ()
    each = math.ceil(steps / parts)
    first = end - steps * step
    edges = range(0, steps, each)
    return tuple(
        Slice(first + edge * step, first + min(edge + each - 1, steps - 1) * step, step, has_buckets) for edge in edges
    )


def slices(
    now: float,
    *,
    since: float,
    window_seconds: float,
    scrape_interval_seconds: float,
    series: int,
    numbers: int,
    window_parts: int = 3,
) -> tuple[Slice, ...]:
    """The range queries that read what happened before `now`, oldest first.

    `since` is where history that means anything begins, in Unix seconds; `window_seconds` the longest slow window;
    `series` counts what is exposed now, and `numbers` that part of it that is no bucket; `window_parts` is how many
    requests read the slow window.
    """
    begin = min(max(since, now - MAX_SECONDS), now - window_seconds)
    points = (window_seconds * series + max(0.0, now - begin - window_seconds) * numbers) / scrape_interval_seconds
    step = scrape_interval_seconds * max(1, math.ceil(points / MAX_POINTS))
    middle = now - window_seconds - _SPARE_STEPS * step
    days_step = DAYS_STEP_SECONDS * max(1, math.ceil(DAYS_SECONDS / DAYS_STEP_SECONDS * numbers / MAX_POINTS))
    return (
        *_parts(max(since, now - DAYS_SECONDS), begin - days_step, days_step, 1, has_buckets=False),
        *_parts(begin, middle, step, HOUR_PARTS, has_buckets=False),
        *_parts(middle, now, step, window_parts, has_buckets=True),
    )
