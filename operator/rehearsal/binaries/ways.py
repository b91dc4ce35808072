"""The two answers every way of getting programs gives. Values only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Say = Callable[[str], None]
"""Takes one line for the person at the terminal."""


@dataclass(frozen=True)
class Found:
    programs: Mapping[str, Path]
    """Program -> absolute path of an executable file."""


@dataclass(frozen=True)
class Unavailable:
    reason: str
    """One line without a full stop at its end."""
