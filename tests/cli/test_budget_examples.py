"""The published budget of 70B with an 8B draft: six files that anyone can plan again."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specdecode.cli import app

BUDGET = Path(__file__).parents[2] / "examples" / "budget"


@pytest.mark.parametrize(
    ("name", "weights_gb", "left_gb", "exit_code"),
    [
        pytest.param("h100-bf16", 156, 4, 1, id="two H100, BF16: 4 GB left, refused"),
        pytest.param("h100-int8", 86, 74, 0, id="two H100, INT8 target: 74 GB left"),
        pytest.param("h100-int4", 51, 109, 0, id="two H100, INT4 target: 109 GB left"),
        pytest.param("h200-bf16", 156, 126, 0, id="two H200, BF16: 126 GB left"),
        pytest.param("h200-int8", 86, 196, 0, id="two H200, INT8 target: 196 GB left"),
        pytest.param("h200-int4", 51, 231, 0, id="two H200, INT4 target: 231 GB left"),
    ],
)
def test_the_published_budget(name: str, weights_gb: int, left_gb: int, exit_code: int) -> None:
    file = BUDGET / f"{name}.yaml"
    shown = CliRunner().invoke(app, ["plan", "-f", str(file), "-o", "json"])
    assert shown.exit_code == exit_code, shown.output
    quoted = json.loads(shown.output)["modes"][0]["quoted"]
    assert round(quoted["weightsBytes"] / 1000**3) == weights_gb
    assert round(quoted["leftBytes"] / 1000**3) == left_gb
    assert f"{weights_gb} GB of weights, {left_gb} GB left" in file.read_text()


def test_what_does_not_fit_comes_with_what_would() -> None:
    shown = CliRunner().invoke(app, ["plan", "-f", str(BUDGET / "h100-bf16.yaml"), "-o", "json"])
    assert json.loads(shown.output)["modes"][0]["remedies"]


def test_no_other_file_is_there() -> None:
    assert len(list(BUDGET.iterdir())) == 6
