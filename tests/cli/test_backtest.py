"""`specdecode backtest`: what the guard would have decided, from history."""

import builtins
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from backtest.archive_server import Archived, serving
from backtest.recorded import LABELS, T0, Recorded, collapsing, lines, openmetrics
from builders import body
from typer.testing import CliRunner, Result

from specdecode.cli import app

POD = Recorded(accepted=collapsing(1800.0))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.om"
    path.write_text(openmetrics(POD))
    return path


def run(*options: str, documents: Sequence[Any] = (body(),)) -> Result:
    return CliRunner().invoke(app, ["backtest", "-f", "-", *options], input=yaml.safe_dump_all(documents))


def said(result: Result) -> str:
    return " ".join(result.stdout.split())


def test_a_collapse_as_a_table(history: Path) -> None:
    result = run("--openmetrics", str(history))
    assert result.exit_code == 0, result.output
    assert "QuantizedDraft -> NGram AcceptanceCollapsed 30s" in said(result)
    assert "acceptanceLength 1.03 (limit 1.1)" in said(result)
    assert "scraped every 15 s, 240 judgements" in said(result)
    assert result.stderr == ""


def test_more_is_told_when_asked(history: Path) -> None:
    result = run("--openmetrics", str(history), "-v")
    assert "GainNotConfirmed until the end" in said(result)
    assert "QuantizedDraft runs" in said(result)
    assert "not measured for 15s" in said(result)


def test_a_healthy_history(tmp_path: Path) -> None:
    path = tmp_path / "healthy.om"
    path.write_text(openmetrics(Recorded()))
    result = run("--openmetrics", str(path))
    assert result.exit_code == 0
    assert "no decision" in said(result)


def test_as_json_from_a_prometheus() -> None:
    with serving(Archived(lines(POD), T0 + 4000)) as url:
        result = run("--prometheus", url, "-o", "json")
    assert result.exit_code == 0, result.output
    (walk,) = json.loads(result.stdout)["walks"]
    assert [(decision["reason"], decision["delaySeconds"]) for decision in walk["decisions"]] == [
        ("AcceptanceCollapsed", 30.0)
    ]


def test_side_by_side(history: Path) -> None:
    result = run("--openmetrics", str(history), "--against", "guard.action=Recommend", "-v")
    assert result.exit_code == 0, result.output
    assert "as written" in said(result)
    assert "(advised)" in said(result)
    assert said(result).count("also seen") == 2


def test_judged_anew_is_told(history: Path) -> None:
    result = run("--openmetrics", str(history), "--rearm-after", "10m", "-v")
    assert "QuantizedDraft runs on, and is judged anew" in said(result)


@pytest.mark.parametrize("options", [(), ("--against", "guard.window=2m")])
def test_a_picture(history: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    picture = tmp_path / "history.png"
    result = run("--openmetrics", str(history), "--picture", str(picture), *options)
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "specdecode.backtest.picture":
            raise ImportError(name)
        return really(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run("--openmetrics", str(history), "--picture", str(tmp_path / "x.png"))
    assert result.exit_code == 2
    assert "specdecode-operator[pictures]" in result.stderr


def test_one_resource_of_several(history: Path) -> None:
    other = body(**{"metadata.name": "other"})
    assert "choose one of them" in run("--openmetrics", str(history), documents=(body(), other)).stderr
    result = run("--openmetrics", str(history), "--deployment", "llama-70b", documents=(body(), other))
    assert result.exit_code == 0, result.output


def test_a_control_arm_in_the_picture(tmp_path: Path) -> None:
    off = {**LABELS, "specdecode_io_mode": "Off", "specdecode_io_arm": "control"}
    path = tmp_path / "history.om"
    path.write_text(openmetrics(POD, Recorded(labels=off, instance="c", is_speculating=False)))
    result = run("--openmetrics", str(path), "--picture", str(tmp_path / "x.svg"))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param((), "are both missing", id="no source"),
        pytest.param(("--prometheus", "http://a", "--openmetrics", "b"), "are both given", id="two sources"),
        pytest.param(("--prometheus", "a:9090"), "must be a URL", id="no URL"),
        pytest.param(("--openmetrics", "nothing.om"), "cannot be read", id="no file"),
        pytest.param(("--openmetrics", "x", "--start", "noon"), "must be a moment", id="no moment"),
        pytest.param(("--openmetrics", "x", "--step", "0s"), "must be a duration above zero", id="no step"),
        pytest.param(("--openmetrics", "x", "--rearm-after", "soon"), "must be a duration", id="no duration"),
        pytest.param(("--openmetrics", "x", "--against", "guard.x=1"), "choose one of", id="no such field"),
        pytest.param(("--openmetrics", "x", "--against", "guard.window=1"), "spec.guard.window", id="a bad value"),
        pytest.param(("--openmetrics", "x", "--deployment", "y"), "cannot be read", id="one resource needs no name"),
    ],
)
def test_what_cannot_be_asked(options: tuple[str, ...], sentence: str) -> None:
    result = run(*options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert sentence in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("start", "first"),
    [
        pytest.param("2026-11-22T12:10:00Z", "2026-11-22T12:10:00Z", id="with a zone"),
        pytest.param("2026-11-22T12:10:00", "2026-11-22T12:10:00Z", id="without one it is UTC"),
        pytest.param(f"{T0 + 600:.0f}", "2026-11-22T12:10:00Z", id="Unix seconds"),
    ],
)
def test_moments(history: Path, start: str, first: str) -> None:
    result = run("--openmetrics", str(history), "--start", start, "-o", "json")
    assert json.loads(result.stdout)["start"] == first


def test_resources_that_cannot_be_planned(history: Path) -> None:
    assert run("--openmetrics", str(history), documents=({"kind": "SpecDecodeDeployment"},)).exit_code == 2
    assert run("--openmetrics", str(history), documents=()).exit_code == 2
    picture = run("--openmetrics", str(history), "--picture", "/nowhere/x.png")
    assert (picture.exit_code, "cannot be written" in picture.stderr) == (2, True)
