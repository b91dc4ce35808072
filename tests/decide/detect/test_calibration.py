"""False alarms and delays on clustered, heavy-tailed traffic. A small, fast version of what `make bench` measures: two
healthy days and forty faults of each kind at one request a second.
"""

from functools import cache
from statistics import median

import pytest
from bench.guard.traffic import CNN, GSM8K, INSTRUCTCODER, SHAREGPT, Kind
from bench.guard.watching import batches, certain, grown, watch_over
from bench.guard.world import SCRAPE_SECONDS, SCRAPES_PER_DAY, accepting_for, simulate, steady, with_fault

from specdecode.decide.detect import EMPTY_WATCH, Watch, signals

FAULTS, BEFORE, AFTER = 40, 40, 60
KINDS = (GSM8K, CNN, SHAREGPT, INSTRUCTCODER)
_ids = [kind.name for kind in KINDS]


@cache
def _healthy(kind: Kind) -> tuple[Watch, dict[str, list[int]]]:
    """The detectors after two healthy days, and the scrapes at which they gave an alarm."""
    seen = watch_over(simulate(steady(kind, 1.0, 2 * SCRAPES_PER_DAY), seed=11), EMPTY_WATCH)
    return seen.watch, seen.scrapes


def _delay_seconds(kind: Kind, ratio: float, seed: int) -> float:
    """From the fault, which falls somewhere between two scrapes, to the scrape that makes a fall certain."""
    watch, _ = _healthy(kind)
    at = (BEFORE + seed / FAULTS) * SCRAPE_SECONDS
    course = with_fault(steady(kind, 1.0, BEFORE + AFTER), at, accepting_for(kind, ratio))
    # The first minutes have fewer long requests than traffic that has been running.
    increments = simulate(course, seed).part(10, BEFORE + AFTER)
    for batch in batches(increments, start=watch.acceptance.totals.at):
        watch = grown(watch, batch)
        elapsed = batch.at - _healthy(kind)[0].acceptance.totals.at + 10 * SCRAPE_SECONDS
        if certain(signals(watch), "acceptance_fall") and elapsed > at:
            return elapsed - at
    return float("inf")


@pytest.mark.parametrize("kind", KINDS, ids=_ids)
def test_two_healthy_days_are_quiet(kind: Kind) -> None:
    assert sum(map(len, _healthy(kind)[1].values())) == 0


@pytest.mark.parametrize("kind", KINDS, ids=_ids)
def test_a_loss_of_20_percent_is_certain_within_a_minute(kind: Kind) -> None:
    delays = [_delay_seconds(kind, 0.8, seed) for seed in range(FAULTS)]

    assert median(delays) <= 45
    assert max(delays) <= 90


@pytest.mark.parametrize("kind", KINDS, ids=_ids)
def test_a_collapse_is_certain_after_two_scrapes(kind: Kind) -> None:
    ratio = 1.05 / kind.published.acceptance_length

    delays = [_delay_seconds(kind, ratio, seed) for seed in range(FAULTS)]

    assert median(delays) <= 30
    assert max(delays) <= 45
