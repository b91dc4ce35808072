"""One deployment on one screen, 100 columns wide; and all in a table. What a person reads first stands first."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from specdecode.cli.cluster.answer import Mood, Todo
from specdecode.cli.cluster.view import Memory, Number, Rung, View
from specdecode.cli.cluster.words import ago, length

WIDTH = 100
"""Columns where the output is no terminal."""

_STYLES = {Mood.GOOD: "bold green", Mood.WATCH: "bold yellow", Mood.BAD: "bold red"}


def labelled(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Paragraphs with a label each."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=8)
    table.add_column(overflow="fold")
    for label, content in rows:
        table.add_row(label, content)
    return table


def commands(todo: Sequence[Todo]) -> RenderableType:
    """What to do, each command on a line of its own that is never broken, so that it can be copied."""
    lines = []
    for each in todo:
        lines.append(Text(f"{each.why}:" if each.command else each.why))
        if each.command:
            lines.append(Text(f"  {each.command}", style="bold", no_wrap=True, overflow="ignore"))
    return Group(*lines)


def _band(ladder: Sequence[Rung]) -> Text:
    """`QuantizedDraft > Draft > [Off]`: the mode in brackets runs, one in parentheses does not fit."""
    band = Text()
    for number, rung in enumerate(ladder):
        band.append(" > " if number else "")
        name = f"[{rung.mode}]" if rung.is_running else f"{rung.mode}" if rung.fits else f"({rung.mode})"
        band.append(name, style="bold green" if rung.is_running else "" if rung.fits else "red")
    return band


def _ladder(ladder: Sequence[Rung]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for rung in ladder:
        asked = "requested; " if rung.is_requested else ""
        table.add_row(f"  {rung.mode}", Text(f"{asked}{rung.note}", style="" if rung.fits else "red"))
    return Group(_band(ladder), table)


def _numbers(numbers: Sequence[Number], note: str) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for number in numbers:
        table.add_row(f"  {number.name}", number.value, Text(number.limit, style="dim"))
    return Group(Text(note), table) if numbers else Text(note)


def _promised(error_percent: str) -> str:
    amount = error_percent.lstrip("-")
    return f"the plan promised {amount} % {'less' if error_percent.startswith('-') else 'more'} than there is"


def _memory(memory: Memory) -> Text:
    tokens = "" if memory.planned_tokens is None else f", {memory.planned_tokens} tokens"
    planned = f"KV cache planned {memory.planned} per GPU{tokens}"
    if not memory.measured:
        return Text(f"{planned}; not measured yet under this spec")
    counted = "" if memory.measured_tokens is None else f", {memory.measured_tokens} tokens"
    return Text(f"{planned}; measured {memory.measured}{counted}; {_promised(memory.error_percent)}")


def _head(view: View) -> Table:
    head = Table.grid(expand=False, padding=(0, 3, 0, 0))
    engine = f"vLLM {view.engine_version}" if view.engine_version else ""
    replicas = f"{view.ready_replicas} of {view.replicas} pods ready"
    head.add_row(Text(f"{view.namespace}/{view.name}", style="bold"), view.model, engine, replicas)
    return head


def _list(sentences: Iterable[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        table.add_row("-", Text(sentence))
    return table


def _rows(view: View, now: datetime) -> Iterable[tuple[str, RenderableType]]:
    standing = view.standing
    yield "why", Text(standing.why)
    if standing.coming:
        yield "next", _list(coming.sentence(now) for coming in standing.coming)
    if standing.todo:
        yield "do", commands(standing.todo)
    if view.ladder:
        yield "modes", _ladder(view.ladder)
    yield "measured", _numbers(view.numbers, view.measured_note)
    if view.memory is not None:
        yield "memory", _memory(view.memory)
    if view.findings:
        yield "found", _list(f"{each.reason}, {ago(each.since, now)}: {each.message}" for each in view.findings)


def screen(view: View, now: datetime) -> RenderableType:
    """One deployment."""
    standing = view.standing
    line = Text(standing.word, style=_STYLES[standing.mood]).append("  ").append(standing.headline, style="not bold")
    return Group(_head(view), line, Text(), labelled(_rows(view, now)))


def _speedup(view: View) -> str:
    return next((number.value.partition(" ")[0] for number in view.numbers if number.name == "speed-up"), "")


def _acceptance(view: View) -> str:
    return next((number.value for number in view.numbers if number.name == "acceptance"), "")


def listing(views: Sequence[View], now: datetime, *, with_namespace: bool) -> RenderableType:
    """All of them, a line each; those that wait for a person first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    names = ["NAMESPACE"] if with_namespace else []
    for header in (*names, "NAME", "MODE", "STANDING", "READY", "ACCEPTANCE", "SPEED-UP", "AGE", "NEXT"):
        table.add_column(header, no_wrap=header != "NEXT", overflow="ellipsis" if header == "NEXT" else "fold")
    ranks = list(_STYLES)[::-1]
    for view in sorted(views, key=lambda each: (ranks.index(each.standing.mood), each.namespace, each.name)):
        standing = view.standing
        table.add_row(
            *([view.namespace] if with_namespace else []),
            view.name,
            str(view.mode or "-"),
            Text(standing.word, style=_STYLES[standing.mood]),
            f"{view.ready_replicas}/{view.replicas}",
            _acceptance(view) or "-",
            _speedup(view) or "-",
            length((now - view.created_at).total_seconds()) if view.created_at else "-",
            Text(_next(view, now), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _next(view: View, now: datetime) -> str:
    """When there is a moment, that; the whole sentence is in the view of one."""
    standing = view.standing
    moment = next((each.at for each in standing.coming if each.at is not None), None)
    if moment is not None and moment > now:
        return f"in {length((moment - now).total_seconds())}"
    return "a person" if standing.mood is Mood.BAD else ""
