"""A backtest for people: the decisions with their numbers, side by side when two guards were held against history."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from specdecode.api.status import rfc3339
from specdecode.backtest.report import Decided, Report, Walk

_AS_WRITTEN = "as written"


def shown(seconds: float) -> str:
    """A duration with at most two units: `45s`, `2m30s`, `3h05m`, `30d`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def _name(walk: Walk) -> str:
    return ", ".join(f"{field}={value}" for field, value in walk.changed.items()) or _AS_WRITTEN


def _step(decided: Decided) -> str:
    return f"{decided.from_mode} -> {decided.to}" + (" (advised)" if decided.action == "Recommended" else "")


def _evidence(decided: Decided) -> str:
    return "\n".join(
        f"{item.name} {item.value}" + (f" (limit {item.limit})" if item.limit else "") for item in decided.evidence
    )


def _delay(decided: Decided) -> str:
    return "" if decided.delay_seconds is None else shown(decided.delay_seconds)


def _decisions(walk: Walk) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("time", "decision", "reason", "delay"):
        table.add_column(column, no_wrap=True, justify="right" if column == "delay" else "left")
    for decided in walk.decisions:
        table.add_row(
            *(escape(cell) for cell in (rfc3339(decided.at), _step(decided), decided.reason, _delay(decided)))
        )
    return table


def _why(walk: Walk) -> Iterator[str]:
    for decided in walk.decisions:
        numbers = ", ".join(_evidence(decided).split("\n"))
        yield f"  {rfc3339(decided.at)}  {numbers or decided.message}"


def _side_by_side(walks: tuple[Walk, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("time", no_wrap=True)
    for walk in walks:
        table.add_column(escape(_name(walk)), overflow="fold")
    for moment in sorted({decided.at for walk in walks for decided in walk.decisions}):
        table.add_row(rfc3339(moment), *(escape(_at(walk, moment)) for walk in walks))
    table.add_row("decisions", *(str(len(walk.decisions)) for walk in walks), style="dim")
    return table


def _at(walk: Walk, moment: datetime) -> str:
    taken = [decided for decided in walk.decisions if decided.at == moment]
    return "\n".join(f"{_step(decided)}: {decided.reason}\n{_evidence(decided)}".rstrip() for decided in taken)


def _also_seen(walk: Walk) -> Iterator[str]:
    """What changed nothing by itself, in the order of time."""
    notes = [
        (found.since, f"{found.reason} until {rfc3339(found.until) if found.until else 'the end'}: {found.message}")
        for found in walk.findings
    ]
    notes += [
        (ran.since, f"{ran.mode} runs" + (" on, and is judged anew" if ran.is_judged_anew else "")) for ran in walk.ran
    ]
    notes += [
        (gap.since, f"not measured for {shown((gap.until - gap.since).total_seconds())}: {gap.cause}")
        for gap in walk.unmeasured
    ]
    for moment, text in sorted(notes):
        yield f"  {rfc3339(moment)}  {text}"


def _blind_seconds(walk: Walk) -> float:
    return sum((gap.until - gap.since).total_seconds() for gap in walk.unmeasured)


def print_report(console: Console, report: Report, *, is_verbose: bool) -> None:
    """Decisions of every walk; with `is_verbose` also findings, modes and gaps."""
    seconds = (report.end - report.start).total_seconds()
    console.print(f"[bold]{escape(f'{report.namespace}/{report.name}')}[/]  {escape(report.source)}", soft_wrap=True)
    console.print(
        f"{rfc3339(report.start)} to {rfc3339(report.end)}: {shown(seconds)}, scraped every "
        f"{report.scrape_interval_seconds:g} s, {report.steps} judgements, not measured for "
        f"{shown(_blind_seconds(report.walks[0]))}",
        soft_wrap=True,
        highlight=False,
    )
    console.print()
    if len(report.walks) > 1:
        console.print(_side_by_side(report.walks))
    elif report.walks[0].decisions:
        console.print(_decisions(report.walks[0]))
        console.print("\n[dim]evidence[/]")
        for line in _why(report.walks[0]):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    else:
        console.print("no decision: the mode that ran would have stayed")
    for walk in report.walks if is_verbose else ():
        console.print()
        console.print(f"[dim]also seen, {escape(_name(walk))}[/]")
        for line in _also_seen(walk):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
