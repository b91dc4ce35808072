import numpy as np
import pytest

from specdecode.decide.detect import EMPTY_SEQUENCE, Sequence95, taken


def _after(values: list[float]) -> Sequence95:
    sequence = EMPTY_SEQUENCE
    for value in values:
        sequence = taken(sequence, value)
    return sequence


def test_nothing_seen_is_nothing_known() -> None:
    interval = EMPTY_SEQUENCE.interval

    assert (interval.low, interval.value, interval.high) == (0.0, 0.5, 1.0)


def test_the_mean_holds_at_every_moment_together_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for values in rng.beta(6, 4, (200, 400)).tolist():
        sequence = _after(values)
        # The bounds only ever move inwards, so that the last ones are the tightest of all.
        missed += not sequence.low <= 0.6 <= sequence.high
    assert missed <= 10


@pytest.mark.parametrize(
    ("scatter", "width"),
    [
        pytest.param(0.02, 0.12, id="batches that hardly scatter are known soon"),
        pytest.param(0.2, 0.20, id="batches that scatter take longer"),
    ],
)
def test_after_200_batches_it_is_narrow(scatter: float, width: float) -> None:
    values = np.clip(np.random.default_rng(2).normal(0.6, scatter, 200), 0, 1).tolist()

    interval = _after(values).interval

    assert interval.low < interval.value < interval.high
    assert interval.high - interval.low < width


def test_it_never_leaves_the_range_of_the_values() -> None:
    assert _after([1.0] * 100).high == 1.0
    assert _after([0.0] * 100).low == 0.0
