"""`cells.jsonl`: what a sweep was asked, and each cell it has measured on a line, so that it can go on where it ended.

The first line is the head, each other one a cell. A cell that was cut short is written as not whole; when it has been
measured again, the later line counts. A line that was torn by a crash is the last one, and is written over.
"""

import fcntl
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from specdecode.api.resource import Problem
from specdecode.sweep.options import OFF
from specdecode.sweep.types import Answer, Cell, Drafted, Measured, Sweep

FIELD = "--output-directory"
NAME = "cells.jsonl"
FORMAT = 1

MAIN = "sweep"
BASELINE = "baseline"


@dataclass(frozen=True)
class Side:
    """One endpoint of a run."""

    endpoint: str
    model: str
    engine_version: str = ""


@dataclass(frozen=True)
class Head:
    """What a run is: all but the moment must be the same for it to go on."""

    asked: Mapping[str, str]
    sides: Mapping[str, Side]
    """By role."""
    started_at: float = 0.0


@dataclass(frozen=True)
class Journal:
    """Everything a run has so far."""

    head: Head
    cells: Mapping[tuple[str, Cell], Measured] = field(default_factory=dict)
    """By role and cell, the newest of each."""

    def has(self, role: str, cell: Cell) -> bool:
        """Whether a cell is done."""
        found = self.cells.get((role, cell))
        return found is not None and found.is_whole

    def with_cell(self, role: str, measured: Measured) -> "Journal":
        """With one more cell, or a better one."""
        return replace(self, cells={**self.cells, (role, measured.cell): measured})

    def sweep(self, role: str) -> Sweep | None:
        """One side as a sweep; None without a cell."""
        cells = tuple(measured for (of, _), measured in self.cells.items() if of == role)
        side = self.head.sides.get(role)
        if side is None or not cells:
            return None
        return Sweep(side.endpoint, side.model, side.engine_version, self.head.started_at, self.head.asked, cells)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _answer_line(answer: Answer) -> dict[str, Any]:
    """NaN is no JSON, and a failed request has nothing to say but why."""
    if answer.error:
        return {name: getattr(answer, name) for name in ("prompt", "seed", "started_at", "error")}
    line = {name: value for name, value in asdict(answer).items() if name != "error"}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in line.items()}


def head_line(head: Head) -> str:
    """The first line of a file."""
    return json.dumps({"format": FORMAT, **asdict(head)})


def cell_line(role: str, measured: Measured) -> str:
    """The line of a cell."""
    body = {
        "role": role,
        "cell": asdict(measured.cell),
        "seconds": measured.seconds,
        "isWhole": measured.is_whole,
        "isDoubtful": measured.is_doubtful,
        "notes": measured.notes,
        "drafted": None if measured.drafted is None else asdict(measured.drafted),
        "answers": [_answer_line(answer) for answer in measured.answers],
    }
    return json.dumps(body, allow_nan=False)


def _read_answer(line: Mapping[str, Any]) -> Answer:
    times = {name: _number(line.get(name)) for name in ("ttft_seconds", "e2e_seconds")}
    return Answer(**{**line, **times})


def _read_cell(line: Mapping[str, Any]) -> tuple[str, Measured]:
    drafted = line["drafted"]
    return line["role"], Measured(
        cell=Cell(**line["cell"]),
        seconds=line["seconds"],
        answers=tuple(map(_read_answer, line["answers"])),
        drafted=None if drafted is None else Drafted(**{**drafted, "accepted_at": tuple(drafted["accepted_at"])}),
        is_whole=line["isWhole"],
        is_doubtful=line["isDoubtful"],
        notes=tuple(line["notes"]),
    )


def _read_head(line: Mapping[str, Any]) -> Head:
    if line["format"] != FORMAT:
        raise ValueError(line["format"])
    return Head(line["asked"], {role: Side(**side) for role, side in line["sides"].items()}, line["started_at"])


def read_lines(name: str, lines: Iterable[str]) -> Journal | Problem:
    """What whole lines of a journal say."""
    journal: Journal | None = None
    for number, line in enumerate(lines, start=1):
        try:
            body = json.loads(line)
            journal = Journal(_read_head(body)) if journal is None else journal.with_cell(*_read_cell(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            message = f"line {number} of {NAME} was not written by this version of specdecode sweep; name another"
            return Problem(FIELD, name, message)
    return journal or Problem(FIELD, name, f"has an empty {NAME}; measure first")


def other_run(name: str, found: Head, wanted: Head) -> Problem | None:
    """Why a run does not go on in a directory, if it does not."""
    theirs, ours = _described(found), _described(wanted)
    differing = [option for option in (*theirs, *ours) if theirs.get(option) != ours.get(option)]
    if not differing:
        return None
    option = differing[0]
    message = (
        f"holds another run: its {option} is {theirs.get(option, 'not given')}, not {ours.get(option, 'given')}; name "
        "another directory, or ask the same to go on there"
    )
    return Problem(FIELD, name, message)


def _described(head: Head) -> dict[str, str]:
    """By option or property."""
    found = {f"--{option}": value for option, value in head.asked.items()}
    for role, side in head.sides.items():
        where = "" if role == MAIN else f" of the {role}"
        found |= {f"{key.replace('_', ' ')}{where}": value for key, value in asdict(side).items()}
    return found


def _whole_lines(path: Path) -> list[str]:
    """Lines that were written to their end. Raises OSError, ValueError."""
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def read_baseline(field_name: str, directory: Path) -> Sweep | Problem:
    """The saved run of an engine that does not speculate."""
    try:
        journal = read_lines(str(directory), _whole_lines(directory / NAME))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"holds no saved run: {NAME} cannot be read ({reason}); name an endpoint or a directory of a run"
        return Problem(field_name, str(directory), message)
    if isinstance(journal, Problem):
        return replace(journal, field=field_name)
    for role in (BASELINE, MAIN):
        found = journal.sweep(role)
        quiet = tuple(cell for cell in (found.cells if found else ()) if cell.cell.mode == OFF)
        if found and quiet:
            return replace(found, cells=quiet)
    return Problem(field_name, str(directory), "holds no cell without speculation; name a run of an engine without it")


class Writer:
    """`with Writer(directory) as writer`: reads what there is, then appends. One sweep at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = Journal(Head({}, {}))
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def open(self, head: Head) -> Problem | None:
        """Begin, or go on with the same run; a Problem says why neither is possible."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._file = (self.directory / NAME).open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lines = _whole_lines(self.directory / NAME)
        except BlockingIOError:
            return Problem(FIELD, str(self.directory), "is in use by another sweep; wait for it or name another")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return Problem(FIELD, str(self.directory), f"cannot be used: {reason}; name another")
        found = read_lines(str(self.directory), lines) if lines else Journal(head)
        if isinstance(found, Problem):
            return found
        if not found.cells:
            # Nothing was measured: whoever did not want so many requests may ask for fewer.
            self.journal = Journal(head)
            self._file.truncate(0)
            self._append(head_line(head))
            return None
        refusal = other_run(str(self.directory), found.head, head)
        if refusal is None:
            self.journal = found
            self._file.truncate(sum(len(line.encode()) + 1 for line in lines))
        return refusal

    def add(self, role: str, measured: Measured) -> None:
        """Keep a cell. One without an answer says nothing."""
        if measured.answers:
            self.journal = self.journal.with_cell(role, measured)
            self._append(cell_line(role, measured))

    def _append(self, line: str) -> None:
        assert self._file is not None, "opened"
        self._file.write(f"{line}\n".encode())
        self._file.flush()
        os.fsync(self._file.fileno())
