import math

import numpy as np
import pytest

from specdecode.decide.detect.cusum import NO_TOTALS, Cusum, Totals, confirmed, increment, learnt, reset, stepped
from specdecode.decide.detect.reference import Reference
from specdecode.decide.detect.tail import with_batches

REFERENCE = Reference(
    mean=2.4, variance=0.0025, batches=5760, mean_batches=240, careful_variance=0.0025, mean_error=0, most_nats=8.7
)


def test_a_batch_at_half_of_the_shift_says_nothing() -> None:
    assert increment(REFERENCE, 0.2, distance=0.1, weight=1) == 0


def test_a_shifted_batch_is_worth_its_likelihood_ratio() -> None:
    # For a normal value: shift^2 / (2 x variance).
    assert increment(REFERENCE, 0.2, distance=0.2, weight=1) == pytest.approx(0.2**2 / (2 * 0.0025))
    assert increment(REFERENCE, 0.2, distance=0.2, weight=0.5) == pytest.approx(0.2**2 / (4 * 0.0025))


def test_no_batch_is_worth_more_than_all_that_were_seen() -> None:
    assert increment(REFERENCE, 0.2, distance=0.6, weight=1) == 8.7


def test_healthy_batches_leave_it_at_zero() -> None:
    cusum = Cusum(0.2)

    assert stepped(cusum, -3.0, NO_TOTALS) is cusum


def test_the_onset_is_the_last_moment_at_zero() -> None:
    one, other = Totals(at=100.0), Totals(at=115.0)

    cusum = stepped(stepped(Cusum(0.2), 2.0, one), 2.0, other)

    assert (cusum.level, cusum.onset) == (4.0, one)


def test_an_excursion_that_ended_is_remembered() -> None:
    cusum = confirmed(stepped(stepped(Cusum(0.2), 5.0, NO_TOTALS), 4.0, NO_TOTALS))

    ended = stepped(cusum, -20.0, NO_TOTALS)

    assert (ended.level, ended.peak, sum(ended.tail.sums), sum(ended.confirmed_tail.sums)) == (0, 0, 9.0, 9.0)


def test_a_change_is_no_healthy_excursion() -> None:
    ended = reset(stepped(Cusum(0.2), 5.0, NO_TOTALS))

    assert (ended.level, sum(ended.tail.sums)) == (0, 0)


@pytest.mark.parametrize(
    ("batches_known", "batches", "is_confirmed", "nats"),
    [
        pytest.param(0, 3, None, 20, id="nothing else counts: it is believed"),
        pytest.param(0, 3, True, 20, id="confirmed: it is believed"),
        pytest.param(5000, 3, False, 0, id="denied: it may be one request"),
        pytest.param(5000, 40, False, 20, id="denied for ten minutes: no request is that long here"),
        pytest.param(0, 40, False, 0, id="denied, and what requests do here is not known"),
    ],
)
def test_evidence_depends_on_what_the_other_way_of_counting_shows(
    batches_known: float, batches: int, nats: float, *, is_confirmed: bool | None
) -> None:
    cusum = learnt(stepped(Cusum(0.2), 20.0, NO_TOTALS), batches_known)

    assert cusum.evidence(batches=batches, is_confirmed=is_confirmed) == nats


def test_false_alarms_are_as_rare_as_stated_on_independent_batches() -> None:
    threshold, batches = math.log(10_000), 400_000
    cusum, alarms = Cusum(0.1, tail=with_batches(Cusum(0.1).tail, batches, 1.0)), 0
    for distance in np.random.default_rng(4).normal(0, 0.05, batches).tolist():
        cusum = stepped(cusum, increment(REFERENCE, 0.1, distance, 1.0), NO_TOTALS)
        if cusum.level >= threshold:
            alarms += 1
            cusum = reset(cusum)

    assert alarms <= batches / 10_000


def test_means_since_a_moment_are_those_of_what_came_after() -> None:
    before = Totals(weight=10, value=24, second_weight=5, second_value=12)
    after = Totals(weight=12, value=28, second_weight=6, second_value=14)

    assert (after.mean_since(before), after.second_mean_since(before)) == (2.0, 2.0)
    assert math.isnan(after.mean_since(after))
    assert math.isnan(after.second_mean_since(after))
