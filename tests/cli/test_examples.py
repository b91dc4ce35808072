"""Every example plans, renders, and means what its comment says."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from specdecode.cli import app

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
BUDGET = sorted((Path(__file__).parents[2] / "examples" / "budget").glob("*.yaml"))


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


def plan_in_words(mode: dict[str, Any], max_model_len: int) -> str:
    if not mode["fits"]:
        return f"# Plan: {mode['name']} is short by {mode['shortBytes'] / 1024**3:.1f} GiB per GPU."
    return (
        f"# Plan: {mode['name']} leaves {mode['kvCacheTokens']:,} tokens of KV cache per replica, "
        f"{mode['requestsAtMaxModelLen']:.1f} requests of {max_model_len:,} tokens."
    )


@pytest.mark.parametrize("path", EXAMPLES + BUDGET, ids=[path.stem for path in EXAMPLES + BUDGET])
def test_an_example_says_what_its_plan_says(path: Path) -> None:
    plan = json.loads(CliRunner().invoke(app, ["plan", "-f", str(path), "-o", "json"]).stdout)
    text = path.read_text()
    (max_model_len,) = {int(line.split()[1]) for line in text.splitlines() if line.strip().startswith("maxModelLen:")}
    assert plan_in_words(plan["modes"][0], max_model_len) in text.splitlines()


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_says_what_to_change(path: Path) -> None:
    assert "\n# Change: " in path.read_text()


def test_every_example_is_in_the_list() -> None:
    listed = (EXAMPLES[0].parent / "README.md").read_text()
    assert [path.name for path in EXAMPLES if f"]({path.name})" not in listed] == []
