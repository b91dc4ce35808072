"""Measures every cell that is not measured yet, keeps each at once, and stops with what it has when it is stopped."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from specdecode.engine.version import EngineVersion
from specdecode.sweep.counters import version_of
from specdecode.sweep.endpoint import Endpoint, Identity
from specdecode.sweep.journal import Writer
from specdecode.sweep.load import CellRun, EndedError
from specdecode.sweep.options import Grid
from specdecode.sweep.types import Cell, Measured

_SALTED_SINCE = EngineVersion(0, 10)
"""First release without the first generation, which refused the parameter `cache_salt`."""


@dataclass(frozen=True)
class Subject:
    """An endpoint that is asked, and what runs there."""

    role: str
    endpoint: Endpoint
    identity: Identity
    mode: str
    num_speculative_tokens: int

    def cells(self, grid: Grid) -> Iterator[Cell]:
        """Its part of the grid."""
        return grid.cells(self.mode, self.num_speculative_tokens)


@dataclass
class Watcher:
    """Whoever shows progress. Does nothing by itself."""

    began: Callable[[str, Cell], None] = lambda _role, _cell: None
    advanced: Callable[[], None] = lambda: None
    """One request is done."""
    ended: Callable[[str, Measured], None] = lambda _role, _measured: None


@dataclass
class Run:
    """One invocation over one journal."""

    grid: Grid
    writer: Writer
    watcher: Watcher = field(default_factory=Watcher)
    began_at: float = field(default_factory=time.time)

    async def measure(self, subjects: Sequence[Subject]) -> None:
        """All cells of some endpoints. The endpoints take turns, so that a slow hour hits them alike.

        Raises:
            EndedError: an endpoint is gone, or refuses everything; cells up to then are kept.
        """
        for number, row in enumerate(zip(*(subject.cells(self.grid) for subject in subjects), strict=True)):
            pairs = list(zip(subjects, row, strict=True))
            # Nobody is always the second.
            for subject, cell in pairs if number % 2 == 0 else reversed(pairs):
                if not self.writer.journal.has(subject.role, cell):
                    await self._one(subject, cell)

    async def _one(self, subject: Subject, cell: Cell) -> None:
        release = version_of(subject.identity.version)
        can_salt = release is not None and release >= _SALTED_SINCE
        run = CellRun(
            subject.endpoint,
            cell,
            self.grid,
            subject.identity.model,
            salt=f"sweep {self.began_at:.6f}" if can_salt else "",
            advance=self.watcher.advanced,
        )
        self.watcher.began(subject.role, cell)
        try:
            await run.measure()
        except (asyncio.CancelledError, EndedError):
            self.writer.add(subject.role, run.measured())
            raise
        self.writer.add(subject.role, run.measured())
        self.watcher.ended(subject.role, run.measured())
