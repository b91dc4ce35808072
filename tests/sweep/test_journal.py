"""What a sweep keeps, line by line, and how the next one goes on with it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from specdecode.api.resource import Problem
from specdecode.sweep.journal import BASELINE, MAIN, NAME, Head, Side, Writer, other_run, read_baseline
from specdecode.sweep.types import Answer, Cell, Drafted, Measured, Sweep

CELL = Cell("Draft", 3, "code", 0.4, 4)
OFF_CELL = Cell("Off", 0, "code", 0.4, 4)
ANSWER = Answer(prompt=2, seed=5, started_at=1e9, ttft_seconds=0.1, e2e_seconds=1.0, prompt_tokens=7, output_tokens=9)
FAILED = Answer(prompt=3, seed=6, started_at=1e9 + 1, error="HTTP 500: out of memory")
MEASURED = Measured(
    CELL, 2.5, (ANSWER, FAILED), Drafted(10.0, 30.0, 12.0, (8.0, 4.0, 0.0)), is_whole=True, notes=("other traffic",)
)
HEAD = Head({"requests": "2"}, {MAIN: Side("http://engine", "m", "0.32.0")}, 1e9)


def kept(directory: Path, *cells: tuple[str, Measured], head: Head = HEAD) -> None:
    with Writer(directory) as writer:
        assert writer.open(head) is None
        for role, measured in cells:
            writer.add(role, measured)


def reopened(directory: Path, head: Head = HEAD) -> Writer:
    with Writer(directory) as writer:
        problem = writer.open(head)
        assert problem is None, str(problem)
    return writer


def same(one: Measured, other: Measured) -> bool:
    """As text: NaN is not equal to itself."""
    return repr(one) == repr(other)


def test_what_is_kept_is_what_is_read(tmp_path: Path) -> None:
    kept(tmp_path, (MAIN, MEASURED))
    found = reopened(tmp_path).journal
    assert same(found.cells[MAIN, CELL], MEASURED)
    assert found.has(MAIN, CELL)
    assert not found.has(BASELINE, CELL)
    assert math.isnan(found.cells[MAIN, CELL].answers[1].ttft_seconds)


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    kept(tmp_path, (MAIN, MEASURED))
    lines = (tmp_path / NAME).read_text().splitlines()
    assert len(lines) == 2
    assert all("NaN" not in line for line in lines)
    assert json.loads(lines[0])["asked"] == {"requests": "2"}


def test_a_cell_that_was_cut_short_is_measured_again_and_the_later_line_counts(tmp_path: Path) -> None:
    kept(tmp_path, (MAIN, replace(MEASURED, is_whole=False, answers=(ANSWER,))))
    assert not reopened(tmp_path).journal.has(MAIN, CELL)
    kept(tmp_path, (MAIN, MEASURED))
    found = reopened(tmp_path).journal
    assert found.has(MAIN, CELL)
    assert len(found.cells) == 1


@pytest.mark.parametrize("torn", [b'{"role": "swe', b"\xff\xfe"[:0] + b'{"role"'])
def test_a_line_that_a_crash_tore_is_written_over(tmp_path: Path, torn: bytes) -> None:
    kept(tmp_path, (MAIN, MEASURED))
    with (tmp_path / NAME).open("ab") as file:
        file.write(torn)
    other = replace(MEASURED, cell=OFF_CELL)
    kept(tmp_path, (MAIN, other))
    found = reopened(tmp_path).journal
    assert found.has(MAIN, CELL)
    assert found.has(MAIN, OFF_CELL)


def test_a_cell_without_an_answer_is_not_kept(tmp_path: Path) -> None:
    kept(tmp_path, (MAIN, replace(MEASURED, answers=(), is_whole=False)))
    assert not reopened(tmp_path).journal.cells


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        pytest.param(replace(HEAD, started_at=2e9), None, id="another day is the same run"),
        pytest.param(replace(HEAD, asked={"requests": "3"}), "--requests is 2, not 3", id="other options"),
        pytest.param(replace(HEAD, asked={"requests": "2", "x": "1"}), "--x is not given", id="one option more"),
        pytest.param(
            replace(HEAD, sides={MAIN: Side("http://engine", "m", "0.33.0")}),
            "engine version is 0.32.0, not 0.33.0",
            id="the engine was updated",
        ),
        pytest.param(
            replace(HEAD, sides={**HEAD.sides, BASELINE: Side("http://off", "m", "0.32.0")}),
            "endpoint of the baseline is not given",
            id="a baseline came to it",
        ),
    ],
)
def test_another_run_does_not_go_on_here(changed: Head, sentence: str | None) -> None:
    found = other_run("dir", HEAD, changed)
    assert (found is None) == (sentence is None)
    assert found is None or sentence is None or sentence in found.message


def test_two_sweeps_do_not_share_a_directory(tmp_path: Path) -> None:
    with Writer(tmp_path) as first, Writer(tmp_path) as second:
        assert first.open(HEAD) is None
        found = second.open(HEAD)
    assert isinstance(found, Problem)
    assert "in use" in found.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("hello\n", "line 1", id="another file of that name"),
        pytest.param('{"format": 99}\n', "line 1", id="of a later version"),
    ],
)
def test_a_journal_of_somebody_else_is_left_alone(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / NAME).write_text(text)
    with Writer(tmp_path) as writer:
        found = writer.open(HEAD)
    assert isinstance(found, Problem)
    assert sentence in found.message
    assert (tmp_path / NAME).read_text() == text


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Writer(tmp_path / "file" / "below") as writer:
        found = writer.open(HEAD)
    assert isinstance(found, Problem)
    assert "cannot be used" in found.message


def test_the_baseline_of_a_saved_run_are_its_cells_without_speculation(tmp_path: Path) -> None:
    off = replace(MEASURED, cell=OFF_CELL, drafted=None)
    sides = {MAIN: HEAD.sides[MAIN], BASELINE: Side("http://off", "m", "0.32.0")}
    kept(tmp_path, (MAIN, MEASURED), (BASELINE, off), head=replace(HEAD, sides=sides))
    found = read_baseline("--baseline", tmp_path)
    assert isinstance(found, Sweep)
    assert found.endpoint == "http://off"
    assert [each.cell for each in found.cells] == [OFF_CELL]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        pytest.param(None, "holds no saved run", id="nothing there"),
        pytest.param((), "no cell without speculation", id="a run that has not begun"),
        pytest.param(((MAIN, MEASURED),), "no cell without speculation", id="a run that only speculates"),
    ],
)
def test_what_is_no_baseline(tmp_path: Path, cells: tuple[tuple[str, Measured], ...] | None, sentence: str) -> None:
    if cells is not None:
        kept(tmp_path, *cells)
    found = read_baseline("--baseline", tmp_path)
    assert isinstance(found, Problem)
    assert found.field == "--baseline"
    assert sentence in found.message
