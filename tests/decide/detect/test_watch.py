"""The detectors together, on made-up batches: one line of numbers per story."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from specdecode.decide.detect import EMPTY_WATCH, Watch, signals, watched
from specdecode.decide.detect.watch import threshold
from specdecode.decide.facts import Batch, Change

SECONDS = 15.0
STEP_SECONDS = 0.010
HEALTHY = 2.4
Lengths = list[float]


def _batch(length: float, by_requests: float | None = None, step_seconds: float = STEP_SECONDS) -> Batch:
    """1,000 drafts of 15 requests; `by_requests`: the acceptance length that finished requests show, if another."""
    return Batch(
        at=0.0,
        seconds=SECONDS,
        drafts=1000,
        draft_tokens=3000,
        accepted_tokens=1000 * (length - 1),
        generation_tokens=1000 * length,
        requests=15,
        step_seconds_sum=1000 * step_seconds,
        step_count=1000,
        tpot_seconds_sum=15 * step_seconds / (by_requests or length),
        tpot_count=15,
        running_requests=4,
    )


def _scattered(count: int, mean: float = HEALTHY, scatter: float = 0.03, seed: int = 1) -> Lengths:
    return np.random.default_rng(seed).normal(mean, scatter * mean, count).tolist()


def _after(batches: Iterable[Batch], watch: Watch = EMPTY_WATCH, days: int = 30) -> Watch:
    for batch in batches:
        at = watch.acceptance.totals.at + SECONDS
        placed = replace(batch, at=at)
        watch = watched(watch, placed, days_per_false_step=days, scrape_interval_seconds=SECONDS)
    return watch


def _plain(lengths: Lengths) -> list[Batch]:
    return [_batch(length) for length in lengths]


def _without_requests(lengths: Lengths) -> list[Batch]:
    return [replace(batch, tpot_count=0.0, tpot_seconds_sum=0.0, requests=0.0) for batch in _plain(lengths)]


def _looping(lengths: Lengths) -> list[Batch]:
    """Drafts show a fall, the requests that finish do not: one request answers in circles."""
    return [_batch(length, by_requests=HEALTHY) for length in lengths]


def _is_certain(change: Change | None) -> bool:
    return change is not None and change.is_certain


DAY = _after(_plain(_scattered(5760)))
FIRST_HOUR = _after(_plain(_scattered(240)))


def test_the_threshold_is_the_logarithm_of_the_batches_between_false_alarms() -> None:
    assert threshold(30, 15) == pytest.approx(math.log(172_800 * 8))
    assert threshold(365, 15) > threshold(30, 15) > threshold(30, 60)


def test_nothing_is_said_before_30_batches() -> None:
    said = signals(_after(_plain(_scattered(29))))

    assert (said.acceptance_fall, said.acceptance_rise, said.tpot_rise, said.decay) == (None, None, None, None)
    assert math.isnan(said.design_effect)


def test_a_healthy_day_is_quiet() -> None:
    said = signals(DAY)

    assert said.acceptance_fall is not None
    assert said.acceptance_fall.reference == pytest.approx(HEALTHY, rel=0.01)
    assert not any(map(_is_certain, (said.acceptance_fall, said.acceptance_rise, said.tpot_rise, said.decay)))


@pytest.mark.parametrize(
    ("watch", "story", "at_most"),
    [
        pytest.param(DAY, _plain, 3, id="both ways of counting show it: at once"),
        pytest.param(FIRST_HOUR, _plain, 3, id="in the first hour as well"),
        pytest.param(DAY, _without_requests, 3, id="no request finishes any more: drafts alone"),
        pytest.param(FIRST_HOUR, _without_requests, 4, id="the same in the first hour"),
    ],
)
def test_a_loss_of_20_percent_is_certain_within_batches(
    watch: Watch, story: Callable[[Lengths], list[Batch]], at_most: int
) -> None:
    fell = _after(story(_scattered(at_most, 0.8 * HEALTHY)), watch)

    change = signals(fell).acceptance_fall

    assert change is not None
    assert change.is_certain
    assert change.since == watch.acceptance.totals.at
    assert change.recent == pytest.approx(0.8 * HEALTHY, rel=0.05)


@pytest.mark.parametrize(
    ("watch", "batches", "is_certain"),
    [
        pytest.param(DAY, 20, False, id="five minutes may be one long request, the first of its kind"),
        pytest.param(DAY, 40, True, id="ten minutes are none"),
        pytest.param(FIRST_HOUR, 60, False, id="in the first hours nobody knows what requests do here"),
    ],
)
def test_a_fall_that_requests_deny_has_to_last(watch: Watch, batches: int, *, is_certain: bool) -> None:
    fell = _after(_looping(_scattered(batches, 0.8 * HEALTHY)), watch)

    assert _is_certain(signals(fell).acceptance_fall) is is_certain


def test_without_finished_requests_drafts_alone_are_all_there_is() -> None:
    before = _after(_without_requests(_scattered(240)))

    assert _is_certain(signals(_after(_without_requests([0.8 * HEALTHY] * 4), before)).acceptance_fall)


def test_requests_are_believed_only_where_drafts_show_it_too() -> None:
    fell = _after([_batch(HEALTHY, by_requests=0.8 * HEALTHY)] * 30, DAY)

    assert not _is_certain(signals(fell).acceptance_fall)


def test_one_odd_batch_is_not_enough() -> None:
    fell = _after(_plain([0.5 * HEALTHY]), DAY)

    assert not _is_certain(signals(fell).acceptance_fall)


def test_an_alarm_ends_when_acceptance_is_back() -> None:
    fell = _after(_plain([0.8 * HEALTHY] * 20), DAY)

    healed = _after(_plain(_scattered(4)), fell)

    assert _is_certain(signals(fell).acceptance_fall)
    assert not _is_certain(signals(healed).acceptance_fall)
    assert healed.acceptance.by_drafts.reference.mean == pytest.approx(HEALTHY, rel=0.01)


def test_a_change_that_lasts_ten_minutes_is_the_new_normal() -> None:
    fell = _after(_plain(_scattered(50, 0.8 * HEALTHY)), DAY)

    said = signals(fell)
    again = _after(_plain(_scattered(4, 0.6 * HEALTHY)), fell)

    assert said.acceptance_fall is not None
    assert not said.acceptance_fall.is_certain
    assert said.acceptance_fall.reference == pytest.approx(0.8 * HEALTHY, rel=0.02)
    assert _is_certain(signals(again).acceptance_fall)


def test_a_new_normal_of_drafts_alone_leaves_requests_as_they_were() -> None:
    before = _after(_without_requests(_scattered(240)))

    fell = _after(_without_requests(_scattered(60, 0.8 * HEALTHY)), before)

    assert not fell.acceptance.by_requests.reference.is_ready
    assert fell.acceptance.by_drafts.reference.mean == pytest.approx(0.8 * HEALTHY, rel=0.02)


def test_a_rise_of_20_percent_is_certain() -> None:
    change = signals(_after(_plain(_scattered(8, 1.25 * HEALTHY)), DAY)).acceptance_rise

    assert change is not None
    assert change.is_certain
    assert change.recent > 1.2 * HEALTHY


def test_a_drift_of_a_few_percent_an_hour_is_followed() -> None:
    drift = [HEALTHY * (1 - 0.02 * hour / 240) for hour in range(480)]

    assert not _is_certain(signals(_after(_plain(drift), DAY)).acceptance_fall)


def test_more_days_between_false_steps_take_more_evidence() -> None:
    change = signals(_after(_plain(_scattered(1)), DAY, days=365)).acceptance_fall

    assert change is not None
    assert change.threshold_nats == pytest.approx(threshold(365, SECONDS))


def test_without_drafts_nothing_is_said_of_acceptance() -> None:
    idle = _after([Batch(at=0.0, seconds=SECONDS)] * 3, DAY)

    assert idle.acceptance == DAY.acceptance


def test_steps_that_take_longer_at_the_same_load_are_certain() -> None:
    slower = [_batch(length, step_seconds=1.25 * STEP_SECONDS) for length in _scattered(4)]

    said = signals(_after(slower, DAY))

    assert said.tpot_rise is not None
    assert said.tpot_rise.is_certain
    assert said.tpot_rise.recent == pytest.approx(1.25, rel=0.05)
    assert not _is_certain(said.acceptance_fall)


def test_a_batch_of_many_scrapes_moves_only_the_slow_detector() -> None:
    """As after an outage, or when two days are read again in quarters of an hour."""
    before = _after(_plain(_scattered(50)))
    long = replace(_batch(1.2), at=before.acceptance.totals.at + 900, seconds=900.0)
    after = watched(before, long, days_per_false_step=30, scrape_interval_seconds=SECONDS)
    assert (after.acceptance, after.token_time) == (before.acceptance, before.token_time)
    assert after.decay != before.decay


def test_the_acceptance_rate_is_known_ever_better() -> None:
    rate = signals(_after(_plain(_scattered(200)))).acceptance_rate
    assert rate is not None
    assert rate.low < (HEALTHY - 1) / 3 < rate.high
    assert rate.high - rate.low < 0.2
    idle = replace(_batch(HEALTHY), draft_tokens=0.0)
    assert signals(_after([idle])).acceptance_rate == signals(EMPTY_WATCH).acceptance_rate
