"""The report for people: plain tables, the same on a terminal and in a pipe."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from .pairs import Effect
from .report import Report
from .rows import SHARED_BY_RANKS
from .score import Prediction, bytes_error_percent, worst_term
from .speed import Speed

PUBLISHED_NAIVE, PUBLISHED_CONSTANTS = 3.38, 4.46
"""Mean absolute errors of the baselines over all rows of the collection, with those that are not in this file."""


def _table(title: str, *columns: str) -> Table:
    """Names on the outside, numbers between."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        is_name = column in {columns[0], columns[-1]}
        table.add_column(column, justify="left" if is_name else "right", no_wrap=True)
    return table


def _accuracy(report: Report) -> Table:
    columns = ("rows", "plan", "median", "naive", "constants", "in band", "band", "worst")
    table = _table("KV cache per GPU: mean absolute error, GiB", "inputs known", *columns)
    for line in report.summaries:
        worst = f"{line.worst.row.measured.id} {line.worst.error_gib:+.2f}"
        errors = (line.mean_error, line.median_error, line.naive_error, line.constants_error)
        numbers = [f"{error:.2f}" for error in errors]
        inside = f"{line.inside} of {line.rows}"
        table.add_row(line.title, str(line.rows), *numbers, inside, f"{line.mean_width:.2f}", worst)
    return table


def markdown(report: Report) -> str:
    """The accuracy table as docs/plan.md quotes it."""
    lines = []
    for line in report.summaries:
        title = f"**{line.title}**" if line is report.summaries[-1] else line.title
        errors = (f"{error:.2f}" for error in (line.mean_error, line.naive_error, line.constants_error))
        cells = (title, str(line.rows), *errors, f"{line.inside} of {line.rows}", f"{line.mean_width:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rows(report: Report) -> Table:
    table = _table("Each of them, GiB per GPU", "row", "planned", "band", "measured", "error", "", "term that is off")
    for row in report.end_to_end:
        found, identity = report.predicted[row.measured.id], row.measured.id
        if not isinstance(found, Prediction):
            table.add_row(identity, "refused", "", f"{row.measured.kv_cache_gib:.2f}", "", "", str(found)[:60])
            continue
        low, high = found.band_gib
        band, inside = f"{low:.2f} to {high:.2f}", "in" if found.is_inside else "OUT"
        numbers = (f"{found.kv_gib:.2f}", band, f"{row.measured.kv_cache_gib:.2f}", f"{found.error_gib:+.2f}")
        table.add_row(identity, *numbers, inside, worst_term(found))
    return table


def _effects(report: Report) -> Table:
    table = _table("Effect of one change", "change", "unit", "planned", "measured", "difference", "from")
    for effect in report.effects:
        if not isinstance(effect, Effect):
            table.add_row(effect, "", "", "", "", "")
            continue
        numbers = [f"{value:.3f}" if value < 100 else f"{value:.0f}" for value in (effect.planned, effect.measured)]
        table.add_row(effect.change, effect.unit, *numbers, f"{effect.difference_percent:+.2f} %", effect.origin)
    return table


def _bytes(report: Report) -> str:
    exact, all_rows = len(report.exact), len(report.with_bytes)
    shared = [row for row in report.with_bytes if row.measured.id in SHARED_BY_RANKS]
    errors = []
    for row in shared:
        found = report.predicted[row.measured.id]
        if isinstance(found, Prediction):
            errors.append(f"{row.measured.id} {bytes_error_percent(found.mode, row.measured):+.2f} %")
    names = ", ".join(report.inexact) or "none"
    return (
        f"Bytes per token: exact on {exact} of {all_rows} rows with GiB and tokens. Not exact: {names}.\n"
        f"  GiB and tokens of different ranks: {', '.join(errors) or 'not planned'}."
    )


def _verdicts(report: Report) -> str:
    failed = sum(row.measured.had_no_room for row in report.with_verdict)
    started = len(report.with_verdict) - failed
    return (
        f"Verdicts: {len(report.impossible)} of {started} that started were called impossible "
        f"({', '.join(report.impossible) or 'none'}); {len(report.fitting)} of {failed} that ran out of memory were "
        f"called fitting ({', '.join(report.fitting) or 'none'})."
    )


def _cold(report: Report) -> str:
    cold = report.cold
    if cold is None:
        return "Cold compile cache: one of the two starts is refused."
    return (
        f"Cold compile cache (Qwen3-8B, 0.29): measured {cold.cold_gib:.2f} cold, {cold.warm_gib:.2f} warm; "
        f"planned {cold.planned_gib:.2f}, band {cold.low_gib:.2f} to {cold.high_gib:.2f}."
    )


def _skipped(report: Report) -> str:
    reasons = Counter(row.skipped for row in report.rows if row.skipped)
    lines = [f"  {count:2} {reason}" for reason, count in reasons.most_common()]
    return "\n".join((f"Left out, {reasons.total()} of {len(report.rows)} rows:", *lines))


def _refused(report: Report) -> str:
    return "\n".join(
        f"  refused: {name}: {str(rejection).partition(';')[0]}" for name, rejection in report.refused.items()
    )


def print_report(console: Console, report: Report, speed: Speed) -> None:
    """Print everything."""

    def say(text: str) -> None:
        if text:
            console.print(text, highlight=False, soft_wrap=True, markup=False)

    for table in (_rows(report), _accuracy(report)):
        console.print(table)
        console.print()
    say(
        f"naive: budget less weights. constants: weights, 5.5 GiB (dense) or 8.0 GiB (MoE), 0.15 or 0.6 GiB.\n"
        f"Over the whole published collection they are {PUBLISHED_NAIVE} and {PUBLISHED_CONSTANTS} GiB off.\n"
    )
    for paragraph in (_bytes, _verdicts, _refused, _cold):
        say(paragraph(report))
    console.print()
    console.print(_effects(report))
    console.print()
    say(_skipped(report))
    say(
        f"\nSpeed here, rows and examples in turn: one plan {speed.one_plan_ms:.2f} ms, "
        f"slowest {speed.slowest_ms:.1f} ms; {speed.plans} plans {speed.many_seconds:.1f} s, "
        f"{speed.cpu_seconds:.1f} s of processor."
    )
