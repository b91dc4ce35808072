"""Models that neither the spec nor the catalogue describes are looked up only where that is asked for."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from builders import ABSENT, body
from typer.testing import CliRunner, Result

from specdecode.api.resource import Problem
from specdecode.cli import app
from specdecode.engine.models import ModelFacts, catalogue
from specdecode.lookup.find import Sources, Wanted

UNKNOWN = body(**{"spec.model": {"name": "acme/unheard-of-8b"}, "spec.speculation": ABSENT})

asked: list[tuple[Wanted, Sources]] = []


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that knows one model."""
    asked.clear()
    known = replace(catalogue()["meta-llama/Llama-3.1-8B-Instruct"], name="acme/unheard-of-8b", source="the hub")

    def look_up(wanted: Iterable[Wanted], sources: Sources) -> dict[tuple[str, str | None], ModelFacts | Problem]:
        asked.extend((one, sources) for one in wanted)
        missing = Problem("spec.model.name", "acme/gone", "is not on the hub; check the name")
        return {one.key: known if one.name == known.name else missing for one in wanted}

    monkeypatch.setattr("specdecode.cli.planning.look_up", look_up)


def run(document: object, *options: str, command: str = "plan") -> Result:
    return CliRunner().invoke(app, [command, "-f", "-", *options], input=yaml.safe_dump(document))


def test_nothing_is_looked_up_without_being_asked() -> None:
    result = run(UNKNOWN)
    assert (result.exit_code, asked) == (2, [])
    assert "is not in the catalogue" in result.stderr


@pytest.mark.parametrize("command", ["plan", "render"])
@pytest.mark.parametrize(
    ("options", "sources"),
    [
        pytest.param(("--hub",), Sources(is_hub_allowed=True), id="on the hub"),
        pytest.param(("--models-directory", "/mnt"), Sources(models_directory=Path("/mnt")), id="in a directory"),
    ],
)
def test_a_model_is_looked_up_where_it_is_allowed(command: str, options: tuple[str, ...], sources: Sources) -> None:
    result = run(UNKNOWN, *options, command=command)
    assert result.exit_code == 0, result.output
    assert asked == [(Wanted("spec.model", "acme/unheard-of-8b"), sources)]


def test_where_the_facts_come_from_is_shown() -> None:
    assert "target acme/unheard-of-8b: the hub" in run(UNKNOWN, "--hub").stdout


def test_a_model_that_is_not_found_is_told() -> None:
    result = run(body(**{"spec.model": {"name": "acme/gone"}, "spec.speculation": ABSENT}), "--hub")
    assert result.exit_code == 2
    assert "is not on the hub; check the name" in result.stderr


def test_a_known_model_is_not_looked_up() -> None:
    assert run(body(), "--hub").exit_code == 0
    assert asked == []
