import numpy as np
import pytest

from specdecode.decide.detect.clusters import ratio_interval, student_quantile


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (1.5, 8.5045), (4, 2.776), (10, 2.228), (11, 2.201), (30, 2.0423), (1000, 1.9623)],
)
def test_student_quantiles_are_those_of_the_tables(degrees: float, quantile: float) -> None:
    assert student_quantile(degrees) == pytest.approx(quantile, abs=0.001)


@pytest.mark.parametrize(
    ("numerators", "denominators", "prior_variance"),
    [
        pytest.param([], [], 1.0, id="no batch"),
        pytest.param([0.0, 0.0], [0.0, 0.0], 1.0, id="batches without a draft"),
        pytest.param([50.0], [100.0], None, id="one batch says nothing of its scatter"),
        pytest.param([50.0, 0.0], [100.0, 0.0], None, id="of two batches one is empty"),
    ],
)
def test_without_two_batches_or_a_prior_there_is_no_interval(
    numerators: list[float], denominators: list[float], prior_variance: float | None
) -> None:
    assert ratio_interval(numerators, denominators, prior_variance=prior_variance) is None


def test_batches_that_agree_give_a_point() -> None:
    interval = ratio_interval([50, 100, 25], [100, 200, 50])

    assert interval is not None
    assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)


def test_two_batches_give_the_interval_of_students_distribution() -> None:
    interval = ratio_interval([40, 60], [100, 100])

    assert interval is not None
    # The mean of 0.4 and 0.6 has the standard error 0.1.
    assert interval.high - interval.value == pytest.approx(12.706 * 0.1)
    assert interval.value - interval.low == pytest.approx(12.706 * 0.1)


def test_one_batch_with_a_prior_has_the_scatter_of_the_prior() -> None:
    interval = ratio_interval([60], [100], prior_variance=0.24)

    assert interval is not None
    assert interval.high - interval.value == pytest.approx(2.776 * (0.24 / 100) ** 0.5)


def test_a_prior_steadies_few_batches() -> None:
    alone, steadied = ratio_interval([40, 60], [100, 100]), ratio_interval([40, 60], [100, 100], prior_variance=0.24)

    assert alone is not None
    assert steadied is not None
    assert steadied.high - steadied.low < (alone.high - alone.low) / 5


def test_neighbours_that_are_alike_widen_it() -> None:
    runs, mixed = [40.0] * 8 + [60.0] * 8, [40.0, 60.0] * 8

    one, other = ratio_interval(runs, [100.0] * 16), ratio_interval(mixed, [100.0] * 16)

    assert one is not None
    assert other is not None
    assert one.high - one.low > 1.5 * (other.high - other.low)


@pytest.mark.parametrize("batches", [2, 4, 20])
def test_it_covers_the_truth_in_95_of_100_cases_however_alike_the_tokens_of_a_batch_are(batches: int) -> None:
    rng = np.random.default_rng(batches)
    drafts = rng.integers(500, 1500, (1000, batches)).astype(float)
    accepted = drafts * rng.normal(0.6, 0.08, (1000, batches))

    intervals = [ratio_interval(one, other) for one, other in zip(accepted, drafts, strict=True)]

    covered = sum(interval is not None and interval.low <= 0.6 <= interval.high for interval in intervals)
    assert covered >= 930
