"""A sweep for people: one line per cell with its verdict, where speculation stops paying, and what to change."""

import math
from collections.abc import Iterator
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from specdecode.cli.tables import wrapped
from specdecode.decide.facts import Interval
from specdecode.sweep.break_even import break_even_sentence, setting_of, setting_text
from specdecode.sweep.report import Report
from specdecode.sweep.statistics import Latency
from specdecode.sweep.suggest import Suggestion
from specdecode.sweep.verdict import Basis, Judged, Word

_STYLES = {Word.OFF: "red", Word.MEASURE: "yellow", Word.SHIP: "green"}
_NONE = "-"
_COLUMNS = ("temp", "at once", "accepted", "TTFT P50", "TPOT P50", "P99", "tokens/s")
_COMPARED = ("TPOT faster", "P99")
_MOST_SENTENCES = 12
"""More of them are read by nobody; the JSON has all."""


def _milliseconds(quantile: Interval) -> str:
    """With `~` in front when there are too few requests to say how far it may be off."""
    value = 1000 * quantile.value
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{'~' if math.isinf(quantile.high) else ''}{value:.{digits}f}"


def _faster(speedup: Interval) -> str:
    if math.isinf(speedup.high):
        return f"~{speedup.value:.2f}"
    return f"{speedup.value:.2f} ({speedup.low:.2f}-{speedup.high:.2f})"


def _latency(latency: Latency | None) -> tuple[str, str]:
    """P50 and P99."""
    return (_NONE, _NONE) if latency is None else (_milliseconds(latency.p50), _milliseconds(latency.p99))


def _numbers(one: Judged) -> Iterator[str]:
    cell, statistics = one.measured.cell, one.statistics
    rate, throughput = statistics.acceptance_rate, statistics.output_tokens_per_second
    yield f"{cell.temperature:g}"
    yield str(cell.concurrency)
    yield _NONE if rate is None else f"{100 * rate.value:.1f} %"
    yield _latency(statistics.ttft)[0]
    yield from _latency(statistics.tpot)
    yield _NONE if throughput is None else f"{throughput.value:.0f}"


def _compared(one: Judged) -> Iterator[str]:
    comparison = one.comparison
    yield _NONE if comparison is None else _faster(comparison.tpot_mean)
    tilde = "~" if comparison is not None and comparison.p99_requests_needed else ""
    yield _NONE if comparison is None else f"{tilde}{comparison.tpot_p99.value:.2f}"


def _word(one: Judged) -> str:
    if one.verdict is None:
        return _NONE
    by = " [dim]by acceptance only[/]" if one.verdict.basis is Basis.ACCEPTANCE else ""
    return f"[{_STYLES[one.verdict.word]}]{one.verdict.word}[/]{by}"


def _table(cells: list[Judged], *, is_compared: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in (*_COLUMNS, *(_COMPARED if is_compared else ())):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("verdict", no_wrap=True)
    for one in cells:
        table.add_row(*_numbers(one), *(_compared(one) if is_compared else ()), _word(one))
    return table


def _title(one: Judged) -> str:
    cell = one.measured.cell
    return f"{cell.kind}, {setting_text(setting_of(cell))}"


def _head(report: Report, *, is_compared: bool) -> Iterator[str]:
    sweep = report.sweep
    version = f", vLLM {sweep.engine_version}" if sweep.engine_version else ""
    yield f"[bold]{escape(sweep.model)}[/] at {escape(sweep.endpoint)}{escape(version)}"
    if report.baseline is not None:
        yield f"baseline: {escape(report.baseline.endpoint)}"
    yield "[dim]times in ms; ~ too few requests to bound it[/]"
    if is_compared:
        yield "[dim]TPOT faster: mean of the baseline / mean here, with its 95 % interval; then the same of the P99[/]"


def _suggested(suggestion: Suggestion) -> str:
    value = "leave it out" if suggestion.value is None else str(suggestion.value)
    return f"[bold]{escape(suggestion.path)}: {escape(value)}[/]  {escape(suggestion.reason)}"


def _is_in_the_table(one: Judged) -> bool:
    """Whether the line of the cell says all: it is faster, or slower."""
    verdict, comparison = one.verdict, one.comparison
    if verdict is None or verdict.word is Word.SHIP:
        return True
    return verdict.word is Word.OFF and comparison is not None and comparison.tpot_mean.high < 1


def _why(report: Report) -> Iterator[str]:
    """The sentences that say more than the table."""
    told = [one for one in report.cells if not _is_in_the_table(one)]
    for one in told[:_MOST_SENTENCES]:
        cell, verdict = one.measured.cell, one.verdict
        if verdict is not None:
            where = f"{_title(one)}, temperature {cell.temperature:g}, {cell.concurrency} at once"
            yield f"[{_STYLES[verdict.word]}]{verdict.word}[/] {escape(where)}: {escape(verdict.sentence)}"
    if len(told) > _MOST_SENTENCES:
        yield f"and {len(told) - _MOST_SENTENCES} more, in the JSON"


def _break_even(report: Report) -> Iterator[str]:
    for setting, curves in groupby(report.curves, key=lambda curve: curve.setting):
        for curve in curves:
            yield f"{escape(setting_text(setting))}, {escape(break_even_sentence(curve))}"


def _sections(report: Report) -> Iterator[tuple[str, list[str]]]:
    yield "Break-even", list(_break_even(report))
    yield "Why", list(_why(report))
    yield "Suggested", [_suggested(suggestion) for suggestion in report.suggestions]
    yield "Mind", [escape(note) for note in report.caveats]


def _rendered(console: Console, report: Report) -> Iterator[RenderableType]:
    is_compared = any(one.comparison is not None for one in report.cells)
    for line in _head(report, is_compared=is_compared):
        yield wrapped(console, line, indent=0)
    for title, cells in groupby(report.cells, key=_title):
        yield Text.from_markup(f"\n[bold]{escape(title)}[/]")
        yield _table(list(cells), is_compared=is_compared)
    for title, lines in _sections(report):
        if lines:
            yield Text.from_markup(f"\n[bold]{title}[/]")
            yield from (wrapped(console, line, indent=2) for line in lines)


def print_report(console: Console, report: Report) -> None:
    """Print a sweep: a table per kind and setting, then sentences."""
    # One group: printed alone, a line would lose its no_wrap.
    console.print(Group(*_rendered(console, report)), highlight=False, crop=False)
