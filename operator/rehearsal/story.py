"""What a story is, and how it ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rehearsal.stage import Stage


@dataclass(frozen=True)
class Story:
    """One story: what happens, and what must hold."""

    name: str
    summary: str
    play: Callable[[Stage], Awaitable[None]]
    """Raises ExpectationError as soon as something does not hold."""
    gpus: int = 1
    """GPUs of its node."""
    installs_operator: bool = False
    """Whether the story installs the operator itself, as a chart; the stage then starts none."""


@dataclass(frozen=True)
class Result:
    """How a story ended."""

    name: str
    passed: bool
    seconds: float
    error: str = ""
