"""Uncertainties, and how they add up."""

from hypothesis import given
from hypothesis import strategies as st

from specdecode.plan.estimate import Estimate, sum_of

bounds = st.integers(min_value=0, max_value=10**12)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, nominal, high = sorted(draw(st.tuples(bounds, bounds, bounds)))
    return Estimate(low, nominal, high)


def test_peaks_are_combined_by_their_bounds() -> None:
    assert Estimate(1, 5, 6).larger_of(Estimate(2, 3, 9)) == Estimate(2, 5, 9)


def test_what_errs_together_adds_its_bounds() -> None:
    assert Estimate(1, 5, 6).plus(Estimate(2, 3, 9)) == Estimate(3, 8, 15)


def test_what_errs_apart_adds_squares() -> None:
    assert sum_of((Estimate(7, 10, 13), Estimate(6, 10, 14))) == Estimate(15, 20, 25)


@given(parts=st.lists(estimates(), max_size=6))
def test_a_sum_lies_between_its_widest_part_and_all_bounds_together(parts: list[Estimate]) -> None:
    added = sum_of(parts)
    assert added.nominal == sum(part.nominal for part in parts)
    assert sum(part.low for part in parts) <= added.low <= added.nominal <= added.high
    assert added.high <= sum(part.high for part in parts)
    assert added.high - added.nominal >= max((part.high - part.nominal for part in parts), default=0)
