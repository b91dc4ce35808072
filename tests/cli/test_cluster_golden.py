"""What a person reads at night, to the letter. `UPDATE_GOLDEN=1 pytest tests/cli` writes the texts anew."""

import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import yaml
from cli.stored import CASES
from rich.console import Console, RenderableType

from specdecode.cli.cluster import explanation, past, view
from specdecode.cli.cluster.explanation import explanation_of, sheet
from specdecode.cli.cluster.past import past_of, table
from specdecode.cli.cluster.screen import WIDTH, listing, screen
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.cluster.view import view_of
from specdecode.cli.output import yaml_text

GOLDEN = Path(__file__).parents[1] / "data" / "cli"
DRAWN: dict[str, Callable[[Subject], RenderableType]] = {
    "status": lambda subject: screen(view_of(subject), subject.now),
    "explain": lambda subject: sheet(explanation_of(subject), subject.now),
    "history": lambda subject: table(past_of(subject), subject.now),
}
EXPLAINED = ("rolled-back-helped", "starting", "forced", "not-the-cause", "not-seen")


def subject(case: str) -> Subject:
    life = CASES[case]()
    return Subject(life.body, life.now)


def drawn(renderable: RenderableType) -> str:
    """As it looks in a pipe."""
    console = Console(width=WIDTH, file=StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(renderable, highlight=False, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def check(name: str, text: str) -> None:
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_status(case: str) -> None:
    text = drawn(DRAWN["status"](subject(case)))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    check(f"status-{case}", text)


@pytest.mark.parametrize("case", EXPLAINED)
def test_explain(case: str) -> None:
    check(f"explain-{case}", drawn(DRAWN["explain"](subject(case))))


@pytest.mark.parametrize("case", ["rolled-back-helped", "not-the-cause", "healthy"])
def test_history(case: str) -> None:
    check(f"history-{case}", drawn(DRAWN["history"](subject(case))))


def test_all_of_a_namespace() -> None:
    subjects = [subject(case) for case in CASES]
    now = max(each.now for each in subjects)
    views = [view_of(each) for each in subjects]
    text = drawn(listing(views, now, with_namespace=True))
    check("status-all", text)
    assert all(len(line) <= WIDTH for line in text.splitlines())


@pytest.mark.parametrize("case", CASES)
def test_scripts_get_what_people_get(case: str) -> None:
    """Every document can be written, in both forms, and read back as the same."""
    it = subject(case)
    for document in (
        view.document(view_of(it)),
        explanation.document(explanation_of(it)),
        past.document(past_of(it)),
    ):
        assert json.loads(json.dumps(document)) == yaml.safe_load(yaml_text((document,)))  # type: ignore[arg-type]  # a list too
    assert view.document(view_of(it))["standing"]["word"] == view_of(it).standing.word


@pytest.mark.parametrize("name", ["status-rolled-back-helped", "history-not-the-cause"])
def test_the_guide_shows_what_is_printed(name: str) -> None:
    guide = Path(__file__).parents[2] / "docs" / "kubectl.md"
    assert (GOLDEN / f"{name}.txt").read_text().rstrip() in guide.read_text()
