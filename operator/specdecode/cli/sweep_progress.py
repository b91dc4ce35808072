"""How far a sweep is: a bar on a terminal, a line for each finished cell elsewhere. On standard error."""

from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from specdecode.cli.console import Screen
from specdecode.sweep.journal import BASELINE
from specdecode.sweep.run import Watcher
from specdecode.sweep.types import Cell, Measured


def cell_text(role: str, cell: Cell) -> str:
    """One cell in words."""
    tokens = f" {cell.num_speculative_tokens}" if cell.num_speculative_tokens else ""
    prefix = "baseline, " if role == BASELINE else ""
    return f"{prefix}{cell.mode}{tokens}, {cell.kind}, temperature {cell.temperature:g}, {cell.concurrency} at once"


def measured_text(role: str, measured: Measured) -> str:
    """What came out of a cell, on one line."""
    failed = len(measured.answers) - len(measured.answered)
    parts = [f"{len(measured.answered)} answers in {measured.seconds:.1f} s"]
    if failed:
        parts.append(f"{failed} failed")
    if measured.drafted is not None and measured.drafted.draft_tokens > 0:
        parts.append(f"{100 * measured.drafted.acceptance_rate:.1f} % of the draft accepted")
    return f"{cell_text(role, measured.cell)}: {', '.join(parts)}"


@dataclass
class Shown:
    """Shows a run. `with Shown(…) as shown`."""

    cells: int
    """Still to be measured."""
    requests: int
    console: Console = field(default_factory=lambda: Screen(stderr=True, soft_wrap=True, highlight=False))
    _done: int = 0

    def __post_init__(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self._task: TaskID = self._progress.add_task("requests", total=self.requests)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """A line above the bar."""
        self.console.print(escape(line))

    def began(self, role: str, cell: Cell) -> None:
        """A cell begins."""
        self._progress.update(self._task, description=escape(cell_text(role, cell)))

    def advanced(self) -> None:
        """One more request is done."""
        self._progress.advance(self._task)

    def ended(self, role: str, measured: Measured) -> None:
        """A cell is whole."""
        self._done += 1
        if not self.console.is_terminal:
            self.say(f"[{self._done}/{self.cells}] {measured_text(role, measured)}")
        for note in measured.notes:
            self.say(f"  {cell_text(role, measured.cell)}: {note}" if self.console.is_terminal else f"  {note}")

    def watcher(self) -> Watcher:
        """For the run."""
        return Watcher(self.began, self.advanced, self.ended)
