import math

import numpy as np
import pytest

from specdecode.decide.detect.decay import NO_DECAY, Decay, normal_score, tail_nats, watched
from specdecode.decide.facts import Change

NATS = 14.1
_BINS_PER_HOUR = 4


def _after(lengths: list[float], state: Decay = NO_DECAY, start: float = 0.0) -> Decay:
    """One batch in a bin: what a mean over the bin is, it is too."""
    for place, length in enumerate(lengths):
        state = watched(state, start + 900.0 * place + 450, length, 1000, NATS, 15.0)
    return state


def _noise(lengths: list[float], scatter: float = 0.01, seed: int = 1) -> list[float]:
    return (np.array(lengths) * np.random.default_rng(seed).normal(1, scatter, len(lengths))).tolist()


def _flat(hours: float, length: float = 3.07) -> list[float]:
    return [length] * round(_BINS_PER_HOUR * hours)


def _line(hours: float, start: float, end: float) -> list[float]:
    return np.linspace(start, end, round(_BINS_PER_HOUR * hours)).tolist()


def _rhythm(days: float, part: float) -> list[float]:
    hours = np.arange(0, 24 * days, 1 / _BINS_PER_HOUR)
    return (3.07 * (1 + part * np.sin(2 * np.pi * hours / 24))).tolist()


def _first_certain(lengths: list[float]) -> tuple[float, Change] | None:
    """Hours from the start, and what was found."""
    state = NO_DECAY
    for place in range(len(lengths)):
        state = watched(state, 900.0 * place + 450, lengths[place], 1000, NATS, 15.0)
        if state.found is not None and state.found.is_certain:
            return place / _BINS_PER_HOUR, state.found
    return None


@pytest.mark.parametrize(
    ("lengths", "earliest", "latest"),
    [
        pytest.param([*_flat(24), *_line(4, 3.07, 2.8), *_flat(2, 2.8)], 26, 29, id="3.07 -> 2.8 over four hours"),
        pytest.param([*_flat(24), *_line(12, 3.07, 2.8), *_flat(4, 2.8)], 29, 39, id="the same over twelve"),
        pytest.param([*_flat(24), *_line(16, 2.4, 1.0)], 25, 30, id="to nothing in sixteen hours"),
        pytest.param([*_flat(1), *_line(6, 3.07, 2.6)], 2, 7, id="from the first hour on"),
    ],
)
def test_a_decay_is_found_within_hours(lengths: list[float], earliest: float, latest: float) -> None:
    found = _first_certain(_noise(lengths))

    assert found is not None
    assert earliest <= found[0] <= latest
    assert found[1].recent < 0.97 * found[1].reference


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param(_flat(72), id="three healthy days"),
        pytest.param([*_flat(24), *_line(6, 3.07, 2.95), *_flat(24, 2.95)], id="a loss of four percent"),
        pytest.param([*_flat(24), *_flat(12, 2.4)], id="a step: no slope"),
        pytest.param([*_flat(12), *_line(6, 3.07, 3.6)], id="a rise"),
        pytest.param([3.07, 2.9] * 60, id="up and down"),
    ],
)
def test_what_is_no_decay_is_not_called_one(lengths: list[float]) -> None:
    assert _first_certain(_noise(lengths)) is None


@pytest.mark.parametrize("part", [0.05, 0.1])
def test_a_daily_rhythm_is_taken_for_a_decay_on_its_first_day_only(part: float) -> None:
    lengths, state, days = _noise(_rhythm(6, part)), NO_DECAY, set()
    for place, length in enumerate(lengths):
        before = state.found
        state = watched(state, 900.0 * place + 450, length, 1000, NATS, 15.0)
        is_new = before is None or not before.is_certain
        if is_new and state.found is not None and state.found.is_certain:
            days.add(place // 96)

    assert days <= {0}


def test_a_decay_stays_known_until_acceptance_is_back() -> None:
    decayed = _after(_noise([*_flat(24), *_line(6, 3.07, 2.7)]))
    low = _after(_noise(_flat(12, 2.7)), decayed, start=30 * 3600)
    back = _after(_noise(_flat(2)), low, start=42 * 3600)

    assert decayed.found is not None
    assert decayed.found.is_certain
    assert low.found is not None
    assert low.found.is_certain
    assert back.found is None or not back.found.is_certain


def test_a_gap_of_hours_leaves_no_empty_bins() -> None:
    state = _after(_flat(4), _after(_flat(4)), start=3600 * 24)

    assert len(state.bins) == 31
    assert all(length == pytest.approx(3.07) for _, length in state.bins)


def test_batches_of_one_bin_are_weighted_by_their_drafts() -> None:
    state = watched(watched(NO_DECAY, 10.0, 2.0, 300, NATS, 15.0), 20.0, 3.0, 100, NATS, 15.0)

    assert watched(state, 950.0, 3.0, 100, NATS, 15.0).bins == ((900.0, 2.25),)


@pytest.mark.parametrize(("t_value", "degrees", "nats"), [(2.228, 10, 3.689), (4.587, 10, 7.601), (5.408, 28, 12.3)])
def test_the_evidence_of_a_slope_is_the_tail_of_students_distribution(
    t_value: float, degrees: float, nats: float
) -> None:
    assert tail_nats(normal_score(t_value, degrees)) == pytest.approx(nats, rel=0.03)


def test_certainty_has_no_end() -> None:
    assert math.isfinite(tail_nats(1000.0))
