"""A file of samples with moments is read as it was written; anything else is told with its line."""

from pathlib import Path

import numpy as np
import pytest
from backtest.recorded import Recorded, lines, openmetrics, pages

from specdecode.api.resource import Problem
from specdecode.backtest import openmetrics as module
from specdecode.backtest.openmetrics import read_openmetrics
from specdecode.backtest.series import EVERY_NAME, Read

RUNNING = "vllm:num_requests_running"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "history.om"
    path.write_text(text)
    return path


def read(path: Path) -> Read:
    found = read_openmetrics(path, EVERY_NAME)
    assert isinstance(found, Read), found
    return found


def problem(path: Path) -> str:
    found = read_openmetrics(path, EVERY_NAME)
    assert isinstance(found, Problem)
    return str(found)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(openmetrics(Recorded(seconds=600)), id="one series after the other, in seconds"),
        pytest.param(openmetrics(Recorded(seconds=600), milliseconds=True), id="in milliseconds"),
        pytest.param(pages(Recorded(seconds=600)), id="one scrape after the other, with comments"),
        pytest.param(openmetrics(Recorded(seconds=600)).replace(",", ", "), id="blanks between labels"),
        pytest.param(openmetrics(Recorded(seconds=600)).rstrip("\n"), id="no line end at the end"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [8 * 1024**2, 1000, 100])
def test_every_way_of_writing_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk_bytes: int
) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", chunk_bytes)
    found = {tuple(sorted(line.labels.items())): line for line in read(written(tmp_path, text)).lines}
    expected = lines(Recorded(seconds=600))
    assert len(found) == len(expected)
    for line in expected:
        same = found[tuple(sorted(line.labels.items()))]
        assert np.allclose(same.at, line.at, atol=1e-3)
        assert np.allclose(same.values, line.values, rtol=1e-4)


def test_what_is_not_wanted_is_passed_over_and_named(tmp_path: Path) -> None:
    text = f"go_threads 7 1000\ngo_threads 8 1015\n{RUNNING} 3 1000\n{RUNNING} 4 1015\n"
    found = read(written(tmp_path, text))
    assert found.names == {"go_threads", RUNNING}
    assert [(line.labels["__name__"], line.values.tolist()) for line in found.lines] == [(RUNNING, [3, 4])]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param(f"{RUNNING} NaN 1000\n{RUNNING} 4 1015\n", [4], id="a stale marker says nothing"),
        pytest.param(f"{RUNNING} 3 1000\n{RUNNING} 4 1000\n", [4], id="of a repeated moment the last counts"),
        pytest.param(f'{RUNNING} 3 1000 # {{trace_id="a"}} 1 999\n{RUNNING} 4 1015\n', [3, 4], id="exemplars"),
        pytest.param(f'{{__name__="{RUNNING}"}} 3 1000\n', [3], id="the name among the labels"),
        pytest.param(f"# TYPE x gauge\n\n{RUNNING} 3 1000 \n  \n", [3], id="comments and blank lines"),
        pytest.param(f"{RUNNING} 3 1000\nup 1 1000\n{RUNNING} 4 1015\n  \nup 1 1015\n", [3, 4], id="they alternate"),
    ],
)
def test_samples(tmp_path: Path, text: str, values: list[float]) -> None:
    (line,) = read(written(tmp_path, text)).lines
    assert line.values.tolist() == values


def test_a_long_run_is_cut_out_whole(tmp_path: Path) -> None:
    text = "".join(f"{RUNNING} {number} {1000 + number}\n" for number in range(5000)) + "up 1 1000\n"
    (line,) = read(written(tmp_path, text)).lines
    assert line.values.tolist() == list(range(5000))


def test_escaped_labels(tmp_path: Path) -> None:
    (line,) = read(written(tmp_path, RUNNING + r'{pod="a \"b\" } 1\\n"}' + " 3 1000\n")).lines
    assert line.labels["pod"] == 'a "b" } 1\\n'


def test_a_file_is_told_piece_by_piece(tmp_path: Path) -> None:
    told: list[float] = []
    path = written(tmp_path, f"{RUNNING} 3 1000\n")
    read_openmetrics(path, EVERY_NAME, told.append)
    assert sum(told) == path.stat().st_size


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(f"{RUNNING} 3\n", "line 1 has no timestamp", id="a page of /metrics"),
        pytest.param(
            f"# HELP\n{RUNNING} 3 1000\n{RUNNING} 3 soon\n", "line 3 is no sample", id="a moment that is no number"
        ),
        pytest.param("kind: SpecDecodeDeployment\n", "line 1 is no sample", id="something else altogether"),
        pytest.param('{"a": 1}\n', "line 1 is no sample", id="JSON"),
        pytest.param(
            f"{RUNNING} 3 1000\nup 1 1000\n{RUNNING} x 1015\n", "line 3 is no sample", id="a bad value among others"
        ),
        pytest.param(f"{RUNNING} 3 1000 7\n{RUNNING} 4 1015\n", "line 1 is no sample", id="a number too many"),
        pytest.param("# EOF\n", "holds no sample", id="an empty dump"),
        pytest.param(
            f"{RUNNING} 3 1015\n{RUNNING} 4 1000\n", "the clock goes back in vllm:num_requests", id="unordered"
        ),
        pytest.param(
            f"{RUNNING} 3 1795348800\n{RUNNING} 4 1795348815000\n", "seconds in vllm:num", id="both units in one series"
        ),
        pytest.param(
            f'{RUNNING} 3 1795348800\n{RUNNING}{{a="b"}} 4 1795348815000\n',
            "milliseconds in",
            id="both units in a file",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in problem(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in problem(tmp_path / "nothing")
