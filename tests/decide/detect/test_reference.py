import numpy as np
import pytest

from specdecode.decide.detect.reference import EMPTY_LEARNER, MIN_BATCHES, Learner, observed, rebased


def _after(values: list[float], learner: Learner = EMPTY_LEARNER, *, is_suspicious: bool = False) -> Learner:
    for value in values:
        weight = learner.weight(100.0)
        learner, _ = observed(learner, value, 100.0, weight, batches_per_hour=240, is_suspicious=is_suspicious)
    return learner


def _healthy(count: int, mean: float = 2.4, scatter: float = 0.05) -> list[float]:
    return np.random.default_rng(count).normal(mean, scatter * mean, count).tolist()


def test_it_says_nothing_before_30_batches() -> None:
    assert not _after(_healthy(MIN_BATCHES - 1)).reference.is_ready
    assert _after(_healthy(MIN_BATCHES)).reference.is_ready


def test_mean_and_scatter_are_those_of_the_batches() -> None:
    reference = _after(_healthy(600)).reference

    assert reference.mean == pytest.approx(2.4, rel=0.01)
    assert reference.variance**0.5 == pytest.approx(0.05, rel=0.15)
    assert reference.careful_variance > reference.variance


def test_a_batch_is_learnt_one_to_two_blocks_later() -> None:
    before = _after(_healthy(400))

    after = _after([1.2] * 40, before)

    assert after.reference.mean == pytest.approx(2.4, rel=0.02)
    assert _after([1.2] * 80, before).reference.mean < 2.35


def test_what_waits_while_something_looks_wrong_is_never_learnt() -> None:
    before = _after(_healthy(400))

    after = _after([1.2] * 400, before, is_suspicious=True)

    assert after.reference == before.reference


def test_a_slow_drift_is_followed() -> None:
    drift = (2.4 * np.linspace(1, 0.95, 1000)).tolist()

    assert _after(drift, _after(_healthy(400))).reference.mean == pytest.approx(0.957 * 2.4, rel=0.01)


def test_a_signal_that_scatters_widely_has_a_longer_memory() -> None:
    narrow, wide = _after(_healthy(1500, scatter=0.02)), _after(_healthy(1500, scatter=0.15))

    assert narrow.reference.mean_batches == 240 + 40
    assert wide.reference.mean_batches > 400


@pytest.mark.parametrize(
    ("volume", "weight"),
    [
        pytest.param(50.0, 0.5, id="half of the usual"),
        pytest.param(400.0, 1.0, id="a large batch has few, long requests: it weighs no more"),
    ],
)
def test_weight_follows_the_volume(volume: float, weight: float) -> None:
    assert _after(_healthy(60)).weight(volume) == pytest.approx(weight)


def test_the_first_batch_weighs_one() -> None:
    assert EMPTY_LEARNER.weight(7.0) == 1.0


def test_batches_without_volume_teach_nothing() -> None:
    learner = _after(_healthy(100))
    empty = learner
    for _ in range(200):
        empty, _ = observed(empty, 9.0, 0.0, 0.0, batches_per_hour=240, is_suspicious=False)

    assert empty.reference.mean == pytest.approx(2.4, rel=0.02)


def test_a_new_mean_keeps_the_scatter() -> None:
    before = _after(_healthy(400))

    after = rebased(before, 1.8, 40)

    assert (after.reference.mean, after.reference.variance) == (1.8, before.reference.variance)
    assert after.filling.batches == 0
