"""The report of the simulation for people. Every number is simulated; the table says of how much."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from rich.console import Console
from rich.table import Table

from .detection import COLLAPSE, GUARD, TRAFFIC
from .judged import Judged
from .report import LOSS, WATCHED, GuardReport, make_guard_report
from .rivals import RIVALS, Delays
from .size import QUICK, Size
from .traffic import KINDS


def _table(title: str, *columns: str, has_words_last: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        is_words = has_words_last and column == columns[-1]
        justify: Literal["left", "right"] = "left" if is_words or column == columns[0] else "right"
        table.add_column(column, justify=justify, no_wrap=not is_words)
    return table


def _span(seconds: float) -> str:
    if math.isnan(seconds):
        return ""
    if math.isinf(seconds):
        return "never"
    return f"{seconds:.0f} s" if abs(seconds) < 600 else f"{seconds / 60:.0f} min"


def _delay(delays: Delays) -> str:
    """p50 / p99, and how many were missed."""
    missed = f", {delays.missed} missed" if delays.missed else ""
    return f"{_span(delays.quantile(0.5))} / {_span(delays.quantile(0.99))}{missed}"


def _model(report: GuardReport) -> Table:
    table = _table(
        "Traffic that is simulated, model / published (arXiv 2601.11580)",
        "kind",
        "acceptance length",
        "steps per request",
        "design effect",
        "capped at 256 steps",
        "P99 TPOT, ms",
    )
    for kind in KINDS:
        model, published = report.model[kind.name], kind.published
        table.add_row(
            kind.name,
            f"{model.acceptance_length:.2f} / {published.acceptance_length:.2f}",
            f"{model.steps:.0f} / {published.steps:.0f}",
            f"{model.design_effect:.1f} / {published.design_effect:.1f}",
            f"{model.capped_design_effect:.1f} / {published.capped_design_effect:.1f}",
            f"{model.tpot_p99_ms:.2f} / {published.tpot_p99_ms:.2f}",
        )
    return table


def _steps(report: GuardReport) -> Table:
    faults = report.size.judged_faults
    title = f"From the fault to the step, p50 / p99 of {faults} faults each: judge, two pods, a tick every 15 s"
    table = _table(title, "traffic", COLLAPSE.name, "early", LOSS.name, "early")
    for traffic in TRAFFIC:
        cells = []
        for fault in (COLLAPSE, LOSS):
            stepped = report.judged[traffic.name, fault.name]
            cells += [_delay(stepped.delays), str(stepped.early)]
        table.add_row(traffic.name, *cells)
    return table


def _detection(report: GuardReport) -> Iterable[Table]:
    for fault in WATCHED:
        title = f"{fault.name}: until it is certain, p50 / p99 of {report.size.faults} faults each"
        table = _table(title, "traffic", GUARD, *RIVALS)
        for traffic in TRAFFIC:
            found = report.watched[traffic.name, fault.name]
            table.add_row(traffic.name, *(_delay(found[name]) for name in (GUARD, *RIVALS)))
        yield table


def _alarms(report: GuardReport) -> Table:
    days = report.size.healthy_days
    title = f"False alarms in 30 deployment-days, of {days} healthy days each; steps are the judge's, the rest may act"
    table = _table(title, "traffic", "steps", "fall", "rise", "tpot", "decay", *RIVALS)
    steps = {judged.name: judged.per_month for judged in report.steady}
    for alarms in report.alarms:
        signals = (alarms.per_month(name) for name in alarms.by_signal)
        rivals = (alarms.per_month(name) for name in RIVALS)
        numbers = (steps[alarms.traffic], *signals, *rivals)
        table.add_row(alarms.traffic, *(f"{number:.1f}" for number in numbers))
    return table


def _said_of(judged: Judged) -> str:
    counted = Counter(step.partition(":")[0] for step in judged.steps)
    return ", ".join(f"{reason} {count}" for reason, count in counted.most_common())


def _healthy(report: GuardReport) -> Table:
    table = _table(
        "Steps in healthy time, all of them false",
        "traffic",
        "days",
        "ticks judged",
        "steps",
        "reasons",
        has_words_last=True,
    )
    groups = (("", report.steady), ("drift: ", report.drifts), ("no baseline: ", report.unknown))
    for prefix, group in groups:
        for judged in group:
            numbers = (f"{judged.days:.0f}", str(judged.ticks), str(len(judged.steps)), _said_of(judged))
            table.add_row(f"{prefix}{judged.name}", *numbers)
    return table


def _decays(report: GuardReport) -> Table:
    title = f"Slow decay, {report.size.decays} times each: said after its beginning, stepped after break-even"
    table = _table(
        title, "decay", "traffic", "said, p50 / p99", "lost by then", "as decay / fall", "stepped, p50 / p99"
    )
    for said in report.decays:
        words = f"{said.said_as['decay']} / {said.said_as['acceptance_fall']}"
        stepped = _delay(said.stepped) if said.stepped.count else "pays"
        table.add_row(said.name, said.traffic, _delay(said.said), f"{said.lost_percent:.1f} %", words, stepped)
    return table


def _regimes(report: GuardReport) -> Table:
    title = "Eight hours of a regime: tokens with the guard, restarts included"
    table = _table(
        title,
        "regime",
        "of best fixed",
        "best fixed",
        "worst hour / plain",
        "restarts alone",
        "moves",
        has_words_last=True,
    )
    for outcome in report.regimes:
        table.add_row(
            outcome.name,
            f"{100 * outcome.of_best_fixed:.1f} %",
            str(outcome.best_fixed),
            f"{100 * outcome.worst_hour:.1f} %",
            f"{100 * outcome.worst_hour_of_restarts:.1f} %",
            "; ".join(outcome.moves) or "none",
        )
    return table


def _blind(report: GuardReport) -> Table:
    table = _table(
        "Blindness", "what", "times", "noticed, p50 / p99", "steps while blind", "steps after", "called certain"
    )
    for sight in report.sights:
        steps = (str(sight.steps_while_blind), str(sight.steps_after))
        table.add_row(str(sight.blindness), str(sight.noticed.count), _delay(sight.noticed), *steps, "")
    for restarts in report.restarts:
        name = f"an engine restarts, {restarts.traffic}"
        table.add_row(name, str(restarts.restarts), "", "", str(restarts.steps), str(restarts.certain))
    return table


def _honest(report: GuardReport) -> str:
    found = report.honesty
    share = 100 * found.holds_true / found.windows
    return (
        f"P99 of TPOT: the true one lies inside [low, high] in {found.holds_true} of {found.windows} windows "
        f"({share:.2f} %), the one of the very requests in {found.holds_own}; {found.is_finite} have a finite upper "
        f"bound. Acted while the limit lay inside: {found.acted_inside}; though the true P99 was below it: "
        f"{found.acted_wrongly}."
    )


def print_report(console: Console, report: GuardReport) -> None:
    """All tables."""
    console.print(f"[bold]The guard in simulation[/bold], {report.size.name} run, {report.seconds:.0f} s", end="\n\n")
    tables = (
        _model(report),
        _steps(report),
        *_detection(report),
        _alarms(report),
        _healthy(report),
        _decays(report),
        _regimes(report),
        _blind(report),
    )
    for table in tables:
        console.print(table, end="\n\n")
    console.print(_honest(report), markup=False)


def print_guard(console: Console, size: Size = QUICK) -> None:
    """Simulate and print."""
    print_report(console, make_guard_report(size))
