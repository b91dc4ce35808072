"""A sweep on a terminal and in a pipe."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from sweep.sweeps import cell, drafted, failed, measured, off, pair, steady, sweep

from specdecode.cli.sweep_tables import print_report
from specdecode.sweep.report import Report, report_of


def printed(report: Report, *, width: int = 100, is_terminal: bool = False) -> list[str]:
    """Lines of a report."""
    console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal)
    print_report(console, report)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _grid(*, requests: int = 100, on_ms: float = 100.0) -> Report:
    pairs = [
        pair(cell(temperature, at, kind=kind), on_ms=on_ms + at, off_ms=103, requests=requests)
        for kind in ("code", "extraction")
        for temperature in (0.0, 0.4)
        for at in (1, 16)
    ]
    return report_of(sweep(*(on for on, _ in pairs)), sweep(*(without for _, without in pairs)))


def test_one_line_per_cell_under_the_name_of_its_kind_and_setting() -> None:
    lines = printed(_grid())
    title = lines.index("extraction, Draft, 3 tokens")
    assert lines[title + 1].split() == [
        *("temp", "at", "once", "accepted", "TTFT", "P50", "TPOT", "P50", "P99", "tokens/s"),
        *("TPOT", "faster", "P99", "verdict"),
    ]
    assert [line.split()[:2] for line in lines[title + 2 : title + 6]] == [
        ["0", "1"],
        ["0", "16"],
        ["0.4", "1"],
        ["0.4", "16"],
    ]


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(_grid(), id="with a baseline and many requests at once"),
        pytest.param(_grid(requests=500, on_ms=12_000), id="with bounds everywhere, and seconds per token"),
        pytest.param(report_of(_grid().sweep, None), id="without a baseline"),
    ],
)
def test_a_table_fits_into_a_hundred_columns(report: Report) -> None:
    lines = printed(report, is_terminal=True)
    assert max(len(Console().render_str(line).plain) for line in _without_escapes(lines)) <= 100
    assert not any("…" in line for line in lines)


def _without_escapes(lines: list[str]) -> list[str]:
    import re

    return [re.sub(r"\x1b\[[0-9;]*m", "", line).replace("[", "(") for line in lines]


def test_a_number_without_bounds_is_marked() -> None:
    few, many = printed(_grid()), printed(_grid(requests=500))
    assert sum("~" in line for line in few) > sum("~" in line for line in many)


def test_without_a_baseline_nobody_reads_ship_without_its_condition() -> None:
    lines = printed(report_of(sweep(measured(cell(), steady(0.02), counters=drafted(0.8))), None))
    assert any(line.rstrip().endswith("ship by acceptance only") for line in lines)
    assert not any("faster" in line and "TPOT" in line for line in lines if line.startswith("temp"))


def test_the_verdict_is_coloured() -> None:
    lines = printed(_grid(on_ms=50), is_terminal=True)
    assert any("\x1b[32mship\x1b[0m" in line for line in lines)


def test_the_break_even_of_each_temperature_is_named() -> None:
    lines = printed(_grid())
    assert sum("Draft, 3 tokens, temperature" in line and "at once (" in line for line in lines) == 2


def test_what_the_table_does_not_say_is_said_in_a_sentence() -> None:
    collapsed = pair(cell(), on_ms=10, off_ms=15, rate=0.01)
    slower = pair(cell(0.8), on_ms=20, off_ms=15)
    lines = printed(report_of(sweep(collapsed[0], slower[0]), sweep(collapsed[1], slower[1])))
    why = lines[lines.index("Why") :]
    assert "acceptance collapsed: length 1.03" in why[1]
    assert not any("temperature 0.8" in line for line in why[1:2])


def test_many_sentences_are_cut_with_their_number() -> None:
    cells = [measured(cell(temperature / 10), steady(0.02)) for temperature in range(20)]
    lines = printed(report_of(sweep(*cells), None))
    assert "  and 8 more, in the JSON" in lines


def test_a_field_to_leave_out_is_said_in_words() -> None:
    on, without = pair(cell(), on_ms=20, off_ms=10)
    lines = printed(report_of(sweep(on), sweep(without)))
    assert any(line.startswith("  spec.speculation: leave it out  mode Off") for line in lines)


def test_foreign_text_is_no_markup() -> None:
    """Names of models and errors come from the endpoint."""
    on = measured(cell(kind="[red]x"), steady(0.02))
    broken = replace(on, answers=(*on.answers, failed(200, "[bold]bad[/nonsense]")))
    lines = printed(report_of(sweep(broken, model="[/]model[link"), None))
    assert lines[0].startswith("[/]model[link at ")
    assert any("[bold]bad[/nonsense]" in line for line in lines)
    assert "[red]x, Draft, 3 tokens" in lines


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(report_of(sweep(), None), id="nothing was measured"),
        pytest.param(report_of(sweep(measured(off(cell()), steady(0.02))), None), id="only the baseline was measured"),
        pytest.param(report_of(sweep(measured(cell(), steady(0.02), 0)), None), id="a cell without an answer"),
    ],
)
def test_what_is_missing_is_a_dash_and_a_sentence(report: Report) -> None:
    assert "Mind" in printed(report)
