"""Foreign words in a message."""

import pytest

from specdecode.api.words import escaped_json, one_line, plain, visible, without


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        pytest.param("all is well", 20, "all is well", id="as it is"),
        pytest.param("a\n\tb  c\r\n", 20, "a b c", id="blanks and line breaks are one blank"),
        pytest.param("\x1b[31mred\x9b0m\u202e", 20, "[31mred 0m", id="what a terminal obeys is a blank"),
        pytest.param("abcdef", 5, "abcd…", id="too long"),
        pytest.param("\x00" * 100, 5, "", id="nothing that can be printed"),
        pytest.param("ab" + "\x00" * 100, 5, "ab…", id="more that was not looked at"),
        pytest.param("", 5, "", id="nothing"),
    ],
)
def test_one_line(text: str, limit: int, line: str) -> None:
    assert one_line(text, limit) == line


def test_plain_keeps_blanks() -> None:
    assert plain("a  b ", 10) == "a  b "
    assert plain("a\n b ", 10) == "a b"
    assert plain("abcdef", 5) == "abcd…"


def test_visible_shows_everything() -> None:
    assert visible("as it is") == "as it is"
    assert visible("a\nb\x1b\u2028\ud800é") == "a\\nb\\x1b\\u2028\\ud800é"


def test_escaped_json_keeps_line_breaks() -> None:
    assert escaped_json('{\n"é": 1}') == '{\n"é": 1}'
    assert escaped_json('{\n"\x9b\U000e0001": 1}') == '{\n"\\u009b\\udb40\\udc01": 1}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("no Bearer hunter2-hunter2 here", "no Bearer *** here", id="the whole"),
        pytest.param("no hunter2-hu…", "no ***", id="cut off with the end"),
        pytest.param("no hunter2-xx", "no hunter2-xx", id="another word"),
        pytest.param("no hunter", "no hunter", id="too little to tell"),
        pytest.param("no abc", "no ***", id="a short one"),
    ],
)
def test_secrets_are_not_told(text: str, told: str) -> None:
    assert without(text, ("hunter2-hunter2", "abc")) == told
