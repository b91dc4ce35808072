"""Every example plans, renders, and means what its comment says."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from specdecode.cli import app

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_there_is_one_example_per_story() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        "air-gapped",
        "autoscaled",
        "eagle3",
        "llama-70b-h100",
        "llama-70b-h200",
        "metered",
        "mtp",
        "ngram-summaries",
        "recommend-only",
        "strict-latency",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
@pytest.mark.parametrize("command", ["plan", "render"])
def test_an_example_fits(path: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command, "-f", str(path)])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_says_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_avoids_what_the_plan_warns_of(path: Path) -> None:
    shown = CliRunner().invoke(app, ["plan", "-f", str(path)]).output
    for reason in ("TightMemory", "DraftRatioToo", "FamilyMismatch", "LimitNotOnBucketEdge", "DraftContextShorter"):
        assert reason not in shown
