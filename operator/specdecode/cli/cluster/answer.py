"""How a deployment stands, as a value."""

from dataclasses import dataclass
from enum import StrEnum

from specdecode.cli.cluster.coming import Coming


class Mood(StrEnum):
    """Whether anybody has to get up."""

    GOOD = "good"
    WATCH = "watch"
    """It is being taken care of, or somebody asked for it."""
    BAD = "bad"
    """It waits for a person."""


@dataclass(frozen=True)
class Todo:
    """One thing to do: an exact command, or where there is none, words."""

    why: str
    command: str = ""


@dataclass(frozen=True)
class Standing:
    """The answer."""

    word: str
    """CamelCase, for scripts and the list."""
    mood: Mood
    headline: str
    why: str
    coming: tuple[Coming, ...] = ()
    todo: tuple[Todo, ...] = ()
