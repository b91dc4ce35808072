"""Sizes and durations mean what Kubernetes means by them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from specdecode.api.values import Duration, Quantity, bytes_of, is_fraction, seconds_of

QUANTITY = TypeAdapter(Quantity)
DURATION = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("quantity", "size_bytes"),
    [
        ("1024", 1024),
        ("1k", 1000),
        ("1Ki", 1024),
        ("500M", 500_000_000),
        ("500Mi", 524_288_000),
        ("80G", 80_000_000_000),
        ("80Gi", 85_899_345_920),
        ("2T", 2_000_000_000_000),
        ("2Ti", 2_199_023_255_552),
    ],
)
def test_bytes_of(quantity: str, size_bytes: int) -> None:
    assert bytes_of(QUANTITY.validate_python(quantity)) == size_bytes


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("40ms", 0.04),
        ("1s", 1.0),
        ("90s", 90.0),
        ("5m", 300.0),
        ("24h", 86_400.0),
        ("1h30m", 5400.0),
        ("1m30s500ms", 90.5),
    ],
)
def test_seconds_of(duration: str, seconds: float) -> None:
    assert seconds_of(DURATION.validate_python(duration)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "verdict"), [("0", False), ("0.0001", True), ("0.92", True), ("1", True), ("1.0001", False)]
)
def test_is_fraction(value: str, *, verdict: bool) -> None:
    assert is_fraction(value) is verdict


@given(st.from_regex(r"\A[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?\Z"))
def test_every_quantity_that_is_allowed_has_a_size(quantity: str) -> None:
    assert bytes_of(quantity) > 0


@given(st.from_regex(r"\A([1-9][0-9]{0,5}(ms|s|m|h)){1,3}\Z"))
def test_every_duration_that_is_allowed_is_above_zero(duration: str) -> None:
    assert seconds_of(duration) > 0
