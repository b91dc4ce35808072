"""What is shipped is what was locked, and what builds it is pinned."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))? \\$", re.MULTILINE)
EXTRAS = PROJECT["optional-dependencies"]


def locked(name: str) -> dict[str, list[Version]]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found: dict[str, list[Version]] = {}
    for match in _PIN.finditer(text):
        found.setdefault(canonicalize_name(match["name"]), []).append(Version(match["version"]))
    return found


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("runtime", PROJECT["dependencies"]),
        ("dev", PROJECT["dependencies"] + EXTRAS["rehearsal"] + EXTRAS["dev"]),
    ],
)
def test_the_lock_has_what_the_project_wants(lock: str, wanted: list[str]) -> None:
    """Otherwise `make lock` was forgotten."""
    pins = locked(lock)
    for text in wanted:
        requirement = Requirement(text)
        versions = pins.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not locked; run: make lock"
        assert all(version in requirement.specifier for version in versions), f"{text}: {versions}; run: make lock"


@pytest.mark.parametrize("lock", ["runtime", "dev", "build"])
def test_every_line_has_its_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[a-z])", text) if not block.startswith("#")]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
    assert "--index-url" not in text


def test_what_the_image_has_is_what_was_tested() -> None:
    runtime, dev = locked("runtime"), locked("dev")
    assert {name: dev[name] for name in runtime} == runtime


def test_the_base_image_is_pinned_by_digest() -> None:
    text = (ROOT / "operator" / "Dockerfile").read_text(encoding="utf-8")
    first, *others = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", first)
    assert set(others) == {"base"}, "in one place, where updates are looked for"
    assert re.search(r"^USER 65532:65532$", text, flags=re.MULTILINE)


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_pins_its_actions_and_may_do_little(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    foreign = [uses for uses in re.findall(r"uses: (\S+)", text) if not uses.startswith("./")]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses) for uses in foreign), foreign
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}, "more only for a job that needs it"
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 90
        assert all(
            step["with"]["persist-credentials"] is False
            for step in job.get("steps", [])
            if step.get("uses", "").startswith("actions/checkout@")
        )


def test_one_version_is_that_of_everything() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "specdecode-operator" / "Chart.yaml").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert {PROJECT["version"], chart["version"], chart["appVersion"], newest[1]} == {PROJECT["version"]}
