"""Numbers as people read them, and durations that survive the way through status."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.vocabulary import Mode
from specdecode.decide.wording import (
    bounds_in,
    bounds_status,
    consequence,
    count,
    duration_text,
    percent,
    quoted,
    seconds_in,
    shortened,
    span,
    spoken,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(duration_text(0.047), "47ms", id="milliseconds"),
        pytest.param(duration_text(0.008812), "8.812ms", id="four digits for status"),
        pytest.param(duration_text(1.5), "1.5s", id="seconds"),
        pytest.param(duration_text(7680), "7680s", id="never an exponent"),
        pytest.param(spoken(0.008812), "8.81 ms", id="three digits in a sentence"),
        pytest.param(spoken(0.9996), "1000 ms", id="just under a second"),
        pytest.param(span(20), "20s", id="seconds of a window"),
        pytest.param(span(300), "5m", id="minutes of a window"),
        pytest.param(span(3600), "1h", id="an hour"),
        pytest.param(span(90), "90s", id="no whole minutes"),
        pytest.param(span(5.2), "5.2s", id="a fraction"),
        pytest.param(count(3412.4), "3412", id="a count"),
        pytest.param(percent(0.0133), "1.3 %", id="one decimal"),
        pytest.param(shortened("a\n\tb\x1b[31m c ", 80), "a b [31m c", id="one line, no control characters"),
        pytest.param(
            shortened("Traceback … OutOfMemoryError", 17), "…OutOfMemoryError", id="the end of an error stays"
        ),
        pytest.param(quoted('say "no"\n'), '"say \\"no\\""', id="foreign text is quoted"),
    ],
)
def test_wording(written: str, expected: str) -> None:
    assert written == expected


@given(st.floats(1e-5, 20_000))
def test_a_duration_survives_status_to_a_fraction_of_a_per_cent(seconds: float) -> None:
    assert seconds_in(duration_text(seconds)) == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize("text", ["", "fast", "12", "1h", "-3ms", "1.2.3s"])
def test_what_is_no_duration_is_not_a_number(text: str) -> None:
    assert math.isnan(seconds_in(text))


@pytest.mark.parametrize("bounds", [(0.025, 0.05), (0.05, math.inf)])
def test_an_interval_survives_status(bounds: tuple[float, float]) -> None:
    assert bounds_in(bounds_status(bounds)) == bounds


def test_no_interval_is_no_interval() -> None:
    assert bounds_in(None) is None


@pytest.mark.parametrize(
    ("mode", "target", "is_enforced", "words"),
    [
        pytest.param(Mode.DRAFT, Mode.OFF, True, "turned off; change the spec", id="off"),
        pytest.param(Mode.QUANTIZED_DRAFT, Mode.DRAFT, True, "runs unquantised", id="unquantised"),
        pytest.param(Mode.DRAFT, Mode.NGRAM, True, "n-gram speculation runs", id="n-gram"),
        pytest.param(Mode.DRAFT, Mode.NGRAM, False, "the guard recommends NGram", id="only recommended"),
        pytest.param(Mode.DRAFT, None, True, "NoFallbackFits", id="nothing fits below"),
        pytest.param(Mode.OFF, None, True, "off already", id="nothing is left to turn off"),
    ],
)
def test_every_consequence_says_what_happens_next(
    mode: Mode, target: Mode | None, *, is_enforced: bool, words: str
) -> None:
    assert words in consequence(mode, target, is_enforced=is_enforced)
