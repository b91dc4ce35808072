"""What the pages name exists: files, headings, make targets, commands with their options, stories, fields, values."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
import yaml
from docs.fields import FILE as GENERATED
from docs.pages import PAGES, ROOT, Page, rows, words

from rehearsal.__main__ import REPERTOIRES, EngineKind
from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.api.schema import custom_resource_definition
from specdecode.cli import app
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

README = Page(ROOT / "README.md")
GUIDES = [page for page in PAGES if page.path.parent == ROOT / "docs"]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
PROPERTIES = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
COMMANDS: Any = typer.main.get_command(app)


def test_there_are_pages() -> None:
    assert {"README.md", "docs/concepts.md", "charts/specdecode-operator/README.md"} <= {page.name for page in PAGES}


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    dead = []
    for link in page.links():
        name, _, anchor = link.partition("#")
        if name.startswith(("http://", "https://", "mailto:")):
            continue
        target = (page.path.parent / name).resolve() if name else page.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors()):
            dead.append(link)
    assert dead == []


def test_every_guide_is_linked_from_the_front_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in README.links() if not link.startswith("http")}
    assert [page.name for page in GUIDES if page.path.resolve() not in linked] == []


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.name)
def test_a_page_is_no_book_and_fits_a_screen(page: Page) -> None:
    if page.path == GENERATED:
        return
    assert len(page.text.splitlines()) < (300 if page == README else 200)
    wide = [line for line in page.prose.splitlines() if len(line) > 120 and not line.startswith(("|", "!["))]
    assert [line for line in wide if " " in line.strip(" *")] == []


def _typed(page: Page) -> Iterator[str]:
    """Everything that looks as if it could be typed."""
    yield from page.commands()
    yield from page.code()


def _targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", text, flags=re.MULTILINE))


@each_page
def test_targets_of_make_exist(page: Page) -> None:
    named = {word for text in _typed(page) for word in re.findall(r"^make ([a-z][a-z-]*)", text)}
    assert named - _targets() == set()


@each_page
def test_stories_exist(page: Page) -> None:
    known = {story.name for repertoire in REPERTOIRES.values() for story in repertoire.stories}
    named = {word for text in _typed(page) for word in re.findall(r"\bSTORY=([a-z-]+)", text)} - {"name"}
    assert named - known == set()


@pytest.mark.parametrize(
    ("name", "engine"), [("rehearsal.md", EngineKind.SIMULATED), ("real-vllm.md", EngineKind.VLLM)]
)
def test_the_tables_of_stories_are_complete(name: str, engine: EngineKind) -> None:
    first = [words(row[0]) for row in rows(Page(ROOT / "docs" / name).text)]
    stories = {story.name for story in REPERTOIRES[engine].stories}
    assert stories - {word for cell in first for word in cell} == set()


def _option_problem(command: Any, words_after: list[str]) -> str | None:
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words_after:
        option = word.partition("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*|-[a-zA-Z]", option) and option not in {*known, "--help"}:
            return option
    return None


def _command_problem(line: str) -> str | None:
    """What is wrong with one call of the command, as far as names go."""
    line = re.split(r"[|;>]|&&|\s#", line)[0]
    found = shlex.split(line.replace("…", ""))
    if not found or found[0].startswith("-"):
        return None
    command = COMMANDS.commands.get(found[0])
    if command is None:
        return f"there is no command {found[0]}"
    option = _option_problem(command, found[1:])
    return f"{found[0]} has no option {option}" if option else None


@each_page
def test_commands_and_their_options_exist(page: Page) -> None:
    calls = [
        text.partition("specdecode ")[2] for text in _typed(page) if re.match(r"(kubectl )?specdecode [a-z]", text)
    ]
    problems = {problem for call in calls if (problem := _command_problem(call))}
    assert problems == set()


def _reaches(schema: dict[str, Any], path: list[str]) -> bool:
    for name in path:
        schema = schema.get("items", schema)
        if "additionalProperties" in schema:
            return True
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


@each_page
def test_fields_exist(page: Page) -> None:
    """`spec.guard.window`, or short `guard.window`; `status.rollback`."""
    of_spec = "|".join(name for name, child in PROPERTIES["spec"]["properties"].items() if "properties" in child)
    missing = set()
    for text in page.code():
        found = re.match(rf"(spec|status)\.([A-Za-z0-9.\[\]]+)|((?:{of_spec})\.[A-Za-z0-9.\[\]]+)", text)
        if found:
            root, path = found[1] or "spec", (found[2] or found[3]).replace("[]", "").rstrip(".").split(".")
            if not _reaches(PROPERTIES[root], path):
                missing.add(text)
    assert missing - OTHER_FIELDS == set()


OTHER_FIELDS = frozenset({"model.revision", "cache.claimName"})
"""Fields that are named by their last words only where the sentence says whose they are."""


@each_page
def test_yaml_can_be_read_and_resources_fit(page: Page) -> None:
    for block in page.blocks("yaml"):
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and document.get("kind") == "SpecDecodeDeployment":
                resource = parse(document)
                assert isinstance(resource, SpecDecodeDeployment), str(resource)
                plan = make_plan(resource)
                assert isinstance(plan, Plan)
                assert plan.requested.fits


@each_page
def test_files_that_commands_read_are_there(page: Page) -> None:
    named = {
        word
        for text in page.commands()
        for word in shlex.split(text, comments=True)
        if re.match(r"(examples|crds|charts)/", word) and "*" not in word
    }
    assert {name for name in named if not (ROOT / name).exists()} == set()


def _is_value(values: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


@each_page
def test_values_of_the_chart_exist(page: Page) -> None:
    values = yaml.safe_load((ROOT / "charts" / "specdecode-operator" / "values.yaml").read_text(encoding="utf-8"))
    named = {
        word.partition("=")[0]
        for text in _typed(page)
        if text.startswith("helm ")
        for word in re.findall(r"--set[ =]'?([A-Za-z.]+)", text)
    }
    assert {name for name in named if not _is_value(values, name.split("."))} == set()


def test_messages_that_are_quoted_are_said() -> None:
    """Somebody searches for the words that stand in the condition."""
    said = "".join(
        (ROOT / "operator" / "specdecode" / "observe" / name).read_text(encoding="utf-8")
        for name in ("causes.py", "prometheus.py")
    )
    section = Page(ROOT / "docs" / "troubleshooting.md").sections()["It is not measured"]
    quoted = {phrase for row in rows(section) for phrase in re.findall(r'"([^"]+)"', row[0])}
    assert len(quoted) > 10
    assert {phrase for phrase in quoted if re.sub(r" \d+$", "", phrase) not in said} == set()
