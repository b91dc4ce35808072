"""What a story is, and how it states what must hold."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal.stage import Stage


class ExpectationError(Exception):
    """Something that must hold did not; the story ends here."""


@dataclass(frozen=True)
class Story:
    """One story: what happens, and what must hold."""

    name: str
    summary: str
    play: Callable[["Stage"], Awaitable[None]]
    gpus: int = 1
    """GPUs of its node."""


@dataclass(frozen=True)
class Result:
    """How a story ended."""

    name: str
    passed: bool
    seconds: float
    error: str = ""
