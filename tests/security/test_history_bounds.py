"""Histories that mean harm: files and answers for `specdecode backtest`. Each ends in time, within a stated growth of
memory, with samples or with one complaint.
"""

import re
from collections.abc import Callable
from pathlib import Path

import promql_parser
import pytest
from security.bounded import bounded
from security.hostile import HOSTILE, unsafe_in_a_line

from specdecode.api.resource import Problem
from specdecode.backtest.choice import Choice
from specdecode.backtest.openmetrics import read_openmetrics
from specdecode.backtest.prometheus import _selector
from specdecode.backtest.series import EVERY_NAME
from specdecode.observe.queries import Series

MIB = 1024**2
SECONDS, GROWTH_MIB = 5.0, 250.0
"""For a file of up to 20 MiB; the smallest lines are read at 2 MiB a second. What is mapped counts as memory, too."""
NAME = b"vllm:num_requests_running"
assert NAME.decode() in EVERY_NAME


def repeated(piece: bytes, mebibytes: int = 8) -> bytes:
    return piece * (mebibytes * MIB // len(piece))


FILES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "zeros": lambda: bytes(20 * MIB),
    "line breaks": lambda: b"\n" * (2 * MIB),
    "comments": lambda: repeated(b"# x\n", 4),
    "one line without an end": lambda: NAME + b"{" + b"a" * (20 * MIB),
    "blanks": lambda: NAME + b" " * (20 * MIB) + b"1 2\n",
    "braces": lambda: repeated(NAME + b"{}}}}}}{{{{ 1 1\n"),
    "quotes without an end": lambda: NAME + b'{a="' + b'\\"' * (10 * MIB) + b"\n",
    "100,000 labels": lambda: NAME + b"{" + b",".join(b'l%d="v"' % n for n in range(100_000)) + b"} 1 1\n",
    "20,000 series": lambda: b"".join(NAME + b'{pod="%d"} 1 1\n' % n for n in range(20_000)),
    "series in turn": lambda: repeated(NAME + b'{pod="a"} 1 1\n' + NAME + b'{pod="b"} 1 1\n'),
    "the same sample again and again": lambda: repeated(NAME + b'{pod="a"} 1 1\n'),
    "a number of 20 million digits": lambda: NAME + b" " + b"9" * (20 * MIB) + b" 1\n",
    "a moment of 20 million digits": lambda: NAME + b" 1 " + b"9" * (20 * MIB) + b"\n",
    "numbers that are none": lambda: repeated(NAME + b" NaN Inf\n"),
    "moments that are none": lambda: repeated(NAME + b" 1 NaN\n"),
    "moments out of this world": lambda: NAME + b" 1 1e300\n" + NAME + b" 1 1e301\n",
    "moments before all": lambda: NAME + b" 1 -1e300\n" + NAME + b" 1 -1\n",
    "no UTF-8": lambda: NAME + b'{pod="\xff\xfe"} 1 1\n',
    "escapes": lambda: NAME + b'{pod="\x1b[2J"} \x1b[31m 1\n',
    "another page": lambda: b"<html>\x1b[2J</html>\n",
    "underscores": lambda: NAME + b" 1_0 1\n" + NAME + b" 2 2\n",
    "other digits": lambda: NAME + " \u0661 1\n".encode(),
}  # fmt: skip


def answer(path: Path) -> str:
    found = read_openmetrics(path, EVERY_NAME)
    return str(found) if isinstance(found, Problem) else f"{sum(len(line.at) for line in found.lines)} samples"


@pytest.mark.parametrize("name", FILES)
def test_a_file_ends(name: str, tmp_path: Path) -> None:
    path = tmp_path / "history.om"
    path.write_bytes(FILES[name]())
    said = bounded(lambda: answer(path), seconds=SECONDS, mebibytes=GROWTH_MIB)
    assert said.endswith("samples") or said.startswith("--openmetrics is ")
    assert not unsafe_in_a_line(said)
    assert len(said) < 1000


@pytest.mark.parametrize(
    "name", ["underscores", "other digits", "numbers that are none", "moments that are none", "escapes"]
)
def test_what_is_no_number_is_no_sample(name: str, tmp_path: Path) -> None:
    path = tmp_path / "history.om"
    path.write_bytes(b"".join(FILES[name]().splitlines(keepends=True)[:100]))
    assert not answer(path).endswith("samples")


TEXTS = [text for text in HOSTILE if "\ud800" not in text and "\x00" not in text]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_name_in_a_query_is_one_value_of_one_matcher(text: str) -> None:
    choice = Choice(namespace=text, deployment=text, model=text)
    written = promql_parser.parse(_selector(choice, ["vllm:x"]))
    assert isinstance(written, promql_parser.VectorSelector)
    found = [(matcher.name, str(matcher.op), matcher.value) for matcher in written.matchers.matchers]
    assert found == [("__name__", "MatchOp.Re", "vllm:x")] + [
        (label, "MatchOp.Equal", text) for label in choice.matchers
    ]


@pytest.mark.parametrize("text", [text for text in TEXTS if text], ids=ascii)
def test_a_namespace_of_the_settings_is_one_value_of_one_matcher(text: str) -> None:
    matchers = ",".join(Series((), (text, "serving")).matchers)
    written = promql_parser.parse(f"up{{{matchers}}}")
    assert isinstance(written, promql_parser.VectorSelector)
    (pattern,) = [each.value for each in written.matchers.matchers if each.name == "namespace"]
    assert re.fullmatch(pattern, text)
    assert re.fullmatch(pattern, "serving")
    assert not re.fullmatch(pattern, f"{text}x")
