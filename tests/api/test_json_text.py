"""JSON of others, read within bounds."""

import pytest

from specdecode.api.json_text import MAX_CONTAINERS, MAX_STRINGS, read_json


def test_a_document_is_read() -> None:
    assert read_json(b'{"a": [1, "b", null]}') == {"a": [1, "b", None]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(b"", "Expecting value", id="nothing"),
        pytest.param(b"{", "Expecting property name", id="half of a document"),
        pytest.param(b"[" * 5_000, "nested too deeply", id="a list in a list"),
        pytest.param(b"[" + b"[]," * MAX_CONTAINERS + b"[]]", "more values than are read", id="too many lists"),
        pytest.param(b"[" + b'"",' * (MAX_STRINGS + 1) + b"]", "more values than are read", id="too many strings"),
        pytest.param(b"9" * 10_000, "Exceeds the limit", id="a number of 10,000 digits"),
        pytest.param(b'"\xff"', "can't decode", id="no UTF-8"),
    ],
)
def test_what_cannot_be_read_is_a_value_error(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_json(text)
