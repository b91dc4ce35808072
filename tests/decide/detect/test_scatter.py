import math

import numpy as np
import pytest

from specdecode.decide.detect.scatter import NO_SCATTER, Scatter, watched
from specdecode.decide.facts import Batch


def _after(rates: list[float], proposed: float = 3000.0) -> Scatter:
    scatter = NO_SCATTER
    for rate in rates:
        batch = Batch(at=0, seconds=15, draft_tokens=proposed, accepted_tokens=rate * proposed)
        scatter = watched(scatter, batch)
    return scatter


def test_it_is_unknown_before_30_batches() -> None:
    assert math.isnan(_after([0.5] * 29).design_effect)
    assert not math.isnan(_after([0.5] * 32).design_effect)


def test_independent_draft_tokens_have_one() -> None:
    rates = (np.random.default_rng(5).binomial(3000, 0.5, 1000) / 3000).tolist()

    assert _after(rates).design_effect == pytest.approx(1.0, abs=0.25)


def test_requests_that_accept_alike_have_more() -> None:
    rates = np.random.default_rng(6).normal(0.5, 0.05, 1000).tolist()

    # 0.05^2 against 0.25 / 3000.
    assert _after(rates).design_effect == pytest.approx(30, rel=0.3)


def test_long_requests_show_in_rows_of_batches() -> None:
    rates = np.repeat(np.random.default_rng(7).normal(0.5, 0.05, 100), 10).tolist()

    assert _after(rates).design_effect > 200


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_or_everything_accepted_scatters_as_expected(rate: float) -> None:
    assert _after([rate] * 40).design_effect == 1.0


def test_a_batch_without_drafts_says_nothing() -> None:
    scatter = _after([0.5] * 40)

    assert watched(scatter, Batch(at=0, seconds=15)) is scatter


def test_content_that_wanders_is_no_scatter() -> None:
    wandering = np.linspace(0.55, 0.45, 1000)
    rates = (np.random.default_rng(8).binomial(3000, wandering) / 3000).tolist()

    assert _after(rates).design_effect == pytest.approx(1.0, abs=0.3)
