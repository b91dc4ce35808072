from dataclasses import replace

import numpy as np
import pytest

from specdecode.decide.detect.token_time import EMPTY_TOKEN_TIME, TokenTime, rise, token_seconds, watched
from specdecode.decide.facts import Batch, Change

NATS = 14.1
PER_HOUR = 240.0


def _batch(seconds: float, running: float = 8.0) -> Batch:
    return Batch(
        at=0.0,
        seconds=15,
        generation_tokens=3000,
        requests=20,
        step_seconds_sum=3000 * seconds,
        tpot_seconds_sum=20 * seconds,
        tpot_count=20,
        running_requests=running,
    )


def _scattered(count: int, mean: float = 0.005, running: float = 8.0, seed: int = 1) -> list[Batch]:
    return [_batch(seconds, running) for seconds in np.random.default_rng(seed).normal(mean, 0.05 * mean, count)]


def _after(batches: list[Batch], state: TokenTime = EMPTY_TOKEN_TIME) -> TokenTime:
    for batch in batches:
        state = watched(state, replace(batch, at=state.totals.at + 15), NATS, PER_HOUR)
    return state


def _certain(state: TokenTime) -> Change | None:
    change = rise(state, NATS)
    return change if change is not None and change.is_certain else None


KNOWN = _after(_scattered(480))


@pytest.mark.parametrize(
    ("batch", "measured"),
    [
        pytest.param(_batch(0.005), (0.005, 20), id="finished requests, each counting once"),
        pytest.param(
            replace(_batch(0.005), tpot_count=0.0), (0.005, 3000), id="no such histogram: engine time by tokens"
        ),
        pytest.param(replace(_batch(0.005), tpot_count=0.0, requests=0.0), None, id="no request finished"),
        pytest.param(replace(_batch(0.005), tpot_count=0.0, generation_tokens=0.0), None, id="no token"),
        pytest.param(replace(_batch(0.005), tpot_count=0.0, step_seconds_sum=0.0), None, id="no time of steps"),
    ],
)
def test_time_per_token_comes_from_the_best_source(batch: Batch, measured: tuple[float, float] | None) -> None:
    assert token_seconds(batch) == measured


def test_a_batch_that_says_nothing_changes_nothing() -> None:
    assert watched(KNOWN, Batch(at=0.0, seconds=15), NATS, PER_HOUR) is KNOWN


def test_it_says_nothing_before_load_and_scatter_are_known() -> None:
    assert rise(_after(_scattered(20)), NATS) is None
    assert rise(_after(_scattered(50)), NATS) is not None


def test_a_load_that_was_not_seen_is_learnt_and_not_judged() -> None:
    loaded = _after(_scattered(60, mean=0.008, running=32), KNOWN)

    assert _certain(loaded) is None
    assert _certain(_after(_scattered(5, mean=0.010, running=32), loaded)) is not None


def test_a_rhythm_of_load_is_no_change() -> None:
    day = [*_scattered(120, 0.008, 32), *_scattered(120)] * 6

    state = KNOWN
    for start in range(0, len(day), 60):
        state = _after(day[start : start + 60], state)
        assert _certain(state) is None


def test_a_rise_is_told_as_ratio_to_what_the_load_costs() -> None:
    change = _certain(_after(_scattered(5, mean=0.006), KNOWN))

    assert change is not None
    assert change.reference == pytest.approx(1.0, abs=0.03)
    assert change.recent == pytest.approx(1.2, abs=0.06)
    assert change.since == KNOWN.totals.at


def test_a_rise_that_lasts_is_the_new_normal_at_every_load() -> None:
    both = _after(_scattered(60, mean=0.008, running=32), KNOWN)

    after = _after(_scattered(60, mean=0.006), both)

    assert _certain(after) is None
    assert _certain(_after(_scattered(5, mean=0.0096, running=32), after)) is None
    assert _certain(_after(_scattered(5, mean=0.0072), after)) is not None
