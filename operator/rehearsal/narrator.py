"""Tells a story on the terminal while it happens, and keeps what was told for the report."""

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_cyan", "bright_magenta", "bright_blue")
_MARKS = {"step": "  ", "seen": "· ", "held": "✓ ", "failed": "✗ ", "decision": "! "}
_STYLES = {"step": "", "seen": "dim", "held": "green", "failed": "bold red", "decision": "bold yellow"}


@dataclass(frozen=True)
class Moment:
    """One line of a story."""

    seconds: float
    """Since the story's start."""
    kind: str
    """step: what the story does; seen: what the cluster did; decision: what the operator did; held, failed."""
    text: str


@dataclass
class Narrator:
    """The voice of one story."""

    name: str
    console: Console
    colour: str
    width: int
    started: float = field(default_factory=time.time)
    """Unix time."""
    moments: list[Moment] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    """Numbers worth keeping, by name."""

    @property
    def elapsed_seconds(self) -> float:
        """Since the story's start."""
        return time.time() - self.started

    def tell(self, kind: str, text: str) -> None:
        """Print a line and keep it."""
        moment = Moment(round(self.elapsed_seconds, 1), kind, text)
        self.moments.append(moment)
        line = Text(f"{self.name:<{self.width}} ", style=self.colour)
        line.append(f"{moment.seconds:6.1f}s  ", style="dim")
        line.append(_MARKS[kind] + text, style=_STYLES[kind])
        self.console.print(line, highlight=False, soft_wrap=True)


def narrators(names: list[str], console: Console) -> dict[str, Narrator]:
    """A voice for each story, told apart by name and colour."""
    width = max(len(name) for name in names)
    return {name: Narrator(name, console, _COLOURS[number % len(_COLOURS)], width) for number, name in enumerate(names)}
