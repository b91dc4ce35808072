"""The built-in kinds of prompts. What kind of text is asked for decides acceptance as much as the temperature does."""

from collections.abc import Sequence
from functools import cache
from importlib import resources

import yaml

from specdecode.api.resource import Problem
from specdecode.sweep.prompts import Kind, Prompt

FIELD = "--kind"
NAMES = ("code", "extraction", "summary", "chat", "story")


@cache
def _listed() -> dict[str, list[str]]:
    file = resources.files("specdecode.sweep").joinpath("kinds.yaml")
    listed: dict[str, list[str]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return listed


def kinds_of(names: Sequence[str]) -> tuple[Kind, ...] | Problem:
    """The kinds of these names, each once."""
    if not names:
        return Problem(FIELD, "", f"names no kind; choose of {', '.join(NAMES)}")
    unknown = next((name for name in names if name not in NAMES), None)
    if unknown is not None:
        return Problem(FIELD, unknown, f"is no kind of prompts; choose of {', '.join(NAMES)}")
    return tuple(Kind(name, tuple(Prompt(text) for text in _listed()[name])) for name in dict.fromkeys(names))
