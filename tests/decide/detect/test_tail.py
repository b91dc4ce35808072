import math

import numpy as np
import pytest

from specdecode.decide.detect.tail import EMPTY_TAIL, Tail, with_batches, with_peak


def _seen(peaks: list[float], batches: float) -> Tail:
    tail = with_batches(EMPTY_TAIL, batches, keep=1.0)
    for peak in peaks:
        tail = with_peak(tail, peak)
    return tail


def test_until_peaks_were_seen_a_level_is_worth_itself() -> None:
    assert EMPTY_TAIL.nats(14.0) == 14.0
    assert _seen([5.0] * 3, 1000).nats(14.0) == 14.0


def test_peaks_below_one_nat_are_not_kept() -> None:
    assert _seen([0.9] * 100, 1000).counts == EMPTY_TAIL.counts


def test_never_is_a_level_worth_more_than_itself() -> None:
    tail = _seen([1.1] * 5, 100_000)

    assert all(tail.nats(level) <= level for level in (0.5, 1.0, 2.0, 5.0, 20.0))


def test_more_than_what_was_seen_is_worth_more() -> None:
    tail = _seen([8.0, 9.0, 12.0, 20.0, 25.0, 30.0], 5000)

    levels = np.linspace(0, 80, 400).tolist()
    worth = [tail.nats(level) for level in levels]

    assert worth == sorted(worth)


@pytest.mark.parametrize("scale", [2.0, 3.0, 6.0])
def test_a_level_is_worth_how_rarely_healthy_batches_reach_it(scale: float) -> None:
    rng = np.random.default_rng(3)
    peaks = rng.exponential(scale, 400).tolist()
    tail = _seen(peaks, 20_000)

    # One excursion in 50 batches; this level is exceeded by one excursion in 2,000: by one batch in 100,000.
    level = scale * math.log(2000)

    assert tail.nats(level) == pytest.approx(math.log(100_000), rel=0.25)


def test_what_was_seen_is_forgotten() -> None:
    tail = _seen([20.0] * 10, 5000)

    for _ in range(20):
        tail = with_batches(tail, 40, keep=0.8)

    assert not tail.knows
    assert tail.nats(14.0) == 14.0
