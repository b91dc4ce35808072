"""The decisions of the past, newest first, and whether each helped."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from specdecode.api.status import Helped, HistoryEntry, rfc3339
from specdecode.api.vocabulary import Mode
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.cluster.view import wire
from specdecode.cli.cluster.words import ago

_STEP = "RolledBack"


@dataclass(frozen=True)
class Past:
    """One decision."""

    at: datetime
    action: str
    from_mode: Mode
    to_mode: Mode
    reason: str
    message: str
    helped: str
    """yes, no, unknown; empty where the question makes no sense."""
    is_of_this_spec: bool


def _helped(subject: Subject, entry: HistoryEntry, newer: HistoryEntry | None) -> str:
    if entry.action != _STEP:
        return ""
    latch = subject.latch
    if latch is not None and latch.at == entry.at:
        return {Helped.TRUE: "yes", Helped.FALSE: "no", Helped.UNKNOWN: "unknown"}[latch.helped]
    # Only what did not help is taken back by the guard itself.
    return "no" if newer is not None and newer.action == "SteppedBackUp" else "unknown"


def past_of(subject: Subject) -> tuple[Past, ...]:
    """Newest first, at most as many as status keeps."""
    return tuple(_all(subject))


def _all(subject: Subject) -> Iterator[Past]:
    newer: HistoryEntry | None = None
    for entry in subject.status.history:
        yield Past(
            at=entry.at,
            action=entry.action,
            from_mode=entry.from_mode,
            to_mode=entry.to,
            reason=entry.reason,
            message=entry.message,
            helped=_helped(subject, entry, newer),
            is_of_this_spec=entry.spec_hash == subject.status.spec_hash,
        )
        newer = entry


def document(past: tuple[Past, ...]) -> list[dict[str, Any]]:
    """For scripts."""
    return [wire(asdict(entry)) for entry in past]


def table(past: tuple[Past, ...], now: datetime) -> RenderableType:
    """For people."""
    if not past:
        return Text("no decision yet: the requested mode was never left")
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for header in ("AGE", "DECISION", "MODE", "REASON", "HELPED", "SPEC"):
        rows.add_column(header, no_wrap=True)
    for entry in past:
        change = str(entry.to_mode) if entry.from_mode is entry.to_mode else f"{entry.from_mode} -> {entry.to_mode}"
        spec = "this" if entry.is_of_this_spec else "another"
        rows.add_row(ago(entry.at, now), entry.action, change, entry.reason, entry.helped, spec)
    told = Table.grid(padding=(0, 2, 0, 0))
    for entry in past:
        told.add_row(Text(rfc3339(entry.at), no_wrap=True), Text(entry.message))
    return Group(rows, Text(), told)
