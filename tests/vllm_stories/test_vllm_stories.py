"""The rehearsal with the real vLLM as a person runs it: every story, its report, and that nothing is left behind."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.vllm.environment import EngineEnvironment, engine_folder
from rehearsal.vllm_stories import VLLM_STORIES

REHEARSAL = [sys.executable, "-m", "rehearsal", "--engine", "vllm"]
ALL_WITHIN_SECONDS = 12 * 60
"""The promise for all stories once programs and environment are there."""
LONGEST_SECONDS = 2 * ALL_WITHIN_SECONDS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(LONGEST_SECONDS + 60)]


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """`report.json` of one rehearsal of all stories; tells at the end how long each took."""
    if not EngineEnvironment(engine_folder(os.environ)).is_complete:
        pytest.fail("no complete engine environment; run `make engine`")
    directory = tmp_path_factory.mktemp("report")
    with tempfile.TemporaryDirectory(prefix="v") as scratch:
        # A short name: vLLM's sockets are in there.
        environment = os.environ | {"TMPDIR": scratch}
        command = [*REHEARSAL, "--report", str(directory)]
        subprocess.run(command, check=False, timeout=LONGEST_SECONDS, env=environment)
        left = [entry.name for entry in Path(scratch).iterdir()]
    loaded: dict[str, Any] = json.loads((directory / "report.json").read_text())
    yield loaded | {"directory": directory, "left": left}
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.write_line("")
        for story in loaded["stories"]:
            terminal.write_line(f"{story['name']:<18} {story['seconds']:6.1f} s")


def evidence(report: dict[str, Any], name: str) -> dict[str, Any]:
    """What a story measured."""
    (story,) = [story for story in report["stories"] if story["name"] == name]
    kept: dict[str, Any] = story["evidence"]
    return kept


@pytest.mark.parametrize("name", [story.name for story in VLLM_STORIES])
def test_the_story_holds(report: dict[str, Any], name: str) -> None:
    (story,) = [story for story in report["stories"] if story["name"] == name]
    told = "\n".join(f"{moment['seconds']:6.1f}  {moment['kind']:<8} {moment['text']}" for moment in story["timeline"])
    assert story["passed"], f"{story['error']}\n{told}"
    assert (report["directory"] / f"{name}.png").stat().st_size > 10_000
    assert story["modes"], "the picture has its bands"


def test_acceptance_really_fell_with_the_temperature(report: dict[str, Any]) -> None:
    shift = evidence(report, "temperature-shift")
    assert shift["accepted_at_0_percent"] > 65, "above the floor under which the guard asks for a review"
    assert shift["accepted_at_1_percent"] < 25, "far below the one under which it steps down"
    assert shift["failed"] == 0


def test_answers_were_compared_token_by_token(report: dict[str, Any]) -> None:
    same = evidence(report, "same-answer")
    assert same["prompts"] >= 10
    assert same["distinct_answers"] > 1
    assert same["accepted_draft_tokens"] > 0, "speculation took part"


def test_tokens_are_exact_when_pinned_and_not_by_chance(report: dict[str, Any]) -> None:
    calibrated = evidence(report, "calibrated")
    pinned, sized = calibrated["pinned"], calibrated["sized_by_vllm"]
    tokens = pinned["tokens"]
    assert tokens["in_whole_blocks"] == tokens["measured"] > 0
    assert 0 <= tokens["planned"] - tokens["measured"] < pinned["block_tokens"]
    assert sized["tokens"]["measured"] != tokens["measured"], "another number without the pin"
    assert float(sized["calibration"]["errorPercent"]) != 0, "an error that is told"


def test_all_stories_take_less_than_twelve_minutes(report: dict[str, Any]) -> None:
    assert report["seconds"] < ALL_WITHIN_SECONDS


def test_nothing_is_left_behind(report: dict[str, Any]) -> None:
    assert report["left"] == []


def test_an_unknown_story_is_refused_with_the_choices() -> None:
    asked = [*REHEARSAL, "--story", "collapse"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 2
    assert all(story.name in answer.stdout for story in VLLM_STORIES)
