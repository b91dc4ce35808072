"""A log record is one line in either format, whatever is in it; and nothing of it is lost or obeyed."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from security.hostile import HOSTILE, hostile_text, unsafe_in_a_line

from specdecode.settings import LogFormat
from specdecode.telemetry import set_up_logging

FORMATS = [LogFormat.TEXT, LogFormat.JSON]


@pytest.fixture(params=FORMATS)
def formatter(request: pytest.FixtureRequest) -> Iterator[logging.Formatter]:
    """The one that `specdecode run` sets up."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    set_up_logging(request.param)
    made = root.handlers[0].formatter
    assert made is not None
    yield made
    root.handlers[:], root.level = before[0], before[1]


def line(formatter: logging.Formatter, text: str, *, raised: bool = False) -> str:
    record = logging.LogRecord("specdecode", logging.INFO, __file__, 1, "%s: %s", ("Reason", text), None)
    record.object = f"serving/{text}"
    if raised:
        try:
            int(text + "x")
        except ValueError:
            record.exc_info = sys.exc_info()
        record.exc_info = (ValueError, ValueError(text), record.exc_info[2] if record.exc_info else None)
    return formatter.format(record)


def check(formatter: logging.Formatter, text: str) -> None:
    for raised in (False, True):
        written = line(formatter, text, raised=raised)
        assert not unsafe_in_a_line(written), written
        if written.startswith("{"):
            document = json.loads(written)
            assert document["object"] == f"serving/{text}"
            if len(text) < 5000:
                assert document["message"] == f"Reason: {text}"
                assert not raised or text in document["exception"]
        elif text.isprintable() and len(text) < 5000:
            assert f"specdecode: Reason: {text}" in written


def test_every_hostile_text_is_one_line(formatter: logging.Formatter) -> None:
    for text in HOSTILE:
        check(formatter, text)


@settings(max_examples=100, deadline=None)
@given(text=hostile_text())
def test_any_text_is_one_line(text: str) -> None:
    for log_format in FORMATS:
        root = logging.getLogger()
        before = root.handlers[:], root.level
        try:
            set_up_logging(log_format)
            made = root.handlers[0].formatter
            assert made is not None
            check(made, text)
        finally:
            root.handlers[:], root.level = before[0], before[1]


def test_a_message_of_ten_million_characters_is_a_line_that_no_runtime_cuts(formatter: logging.Formatter) -> None:
    written = line(formatter, "a" * 10_000_000, raised=True).replace("serving/" + "a" * 10_000_000, "")
    assert len(written) < 16_000
    assert "characters left out" in written


def test_what_looks_like_a_record_of_its_own_is_none(formatter: logging.Formatter) -> None:
    forged = 'x\n12:00:00 ERROR   specdecode: it burns\n{"level":"error","message":"it burns"}'
    written = line(formatter, forged)
    assert written.count("\n") == 0
