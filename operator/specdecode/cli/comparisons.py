"""Comparisons for people: a plan against a log line by line, and two plans side by side."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.cli.side_by_side import different_flags, numbers_of
from specdecode.cli.tables import gib, unwrapped, wrapped
from specdecode.engine.startup_log import StartupLog
from specdecode.plan.log.compare import ComparedLine, Comparison, Unit
from specdecode.plan.titles import title
from specdecode.plan.types import ModePlan, Plan

_BYTES = frozenset({"budget", "weights", "draftWeights", "besideWeights", "kvCache", "shortBytes"})
_NUMBER_TITLES = {
    "bytesPerToken": "bytes per token and GPU",
    "kvCacheTokens": "tokens in the KV cache",
    "requestsAtMaxModelLen": "requests of maxModelLen",
    "shortBytes": "short by",
}


def _shown(unit: Unit, value: float) -> str:
    if unit is Unit.BYTES:
        return gib(value)
    return f"{value:.1f}" if unit is Unit.REQUESTS else f"{value:.0f}"


def _signed(shown: str) -> str:
    """With its sign, and none before a zero."""
    if not shown.strip("-0."):
        return shown.removeprefix("-")
    return shown if shown.startswith("-") else f"+{shown}"


def _difference(line: ComparedLine) -> str:
    return _signed(_shown(line.unit, line.difference))


def _compared_table(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("per GPU, GiB", no_wrap=True)
    for heading in ("planned", "between", "measured", "differs"):
        table.add_column(heading, justify="right", no_wrap=True, style="dim" if heading == "between" else "")
    table.add_column("", no_wrap=True)
    for line in comparison.lines:
        band = "" if line.low == line.high else f"{_shown(line.unit, line.low)} to {_shown(line.unit, line.high)}"
        verdict = Text("inside", style="green") if line.is_inside else Text("OFF", style="bold red")
        planned, measured = _shown(line.unit, line.planned), _shown(line.unit, line.measured)
        table.add_row(title(line.name), planned, band, measured, _difference(line), verdict)
    return table


def _engine(log: StartupLog) -> str:
    version = "vLLM" if log.version is None else f"vLLM {log.version}"
    gpus = "" if log.tensor_parallel_size is None else f" on {log.tensor_parallel_size} x"
    total = "" if log.total_bytes is None else f" {gib(log.total_bytes)} GiB"
    ranks = f", sizes of {log.ranks} ranks" if log.ranks > 1 else ""
    return f"the log: {version}{gpus or (' on' if total else '')}{total}{ranks}"


def _log_parts(
    console: Console,
    resource: SpecDecodeDeployment,
    comparison: Comparison,
    log: StartupLog,
    assumptions: Sequence[str],
) -> Iterator[RenderableType]:
    metadata = resource.metadata
    yield Text.from_markup(f"[bold]{metadata.namespace}/{metadata.name}[/], mode {comparison.mode}, against a log")
    yield unwrapped(escape(_engine(log)))
    yield from (wrapped(console, f"[yellow]assumed[/]: {escape(said)}", indent=0) for said in assumptions)
    yield from (wrapped(console, f"[yellow]not the same[/]: {escape(note)}", indent=0) for note in comparison.notes)
    if comparison.failure is not None:
        failure = escape(comparison.failure)
        yield wrapped(console, f"[bold red]the engine did not start[/]: {failure}", indent=0)
    yield Text()
    if comparison.lines:
        yield _compared_table(comparison)
        yield Text()
    yield wrapped(console, _verdict(comparison), indent=0)


def _verdict(comparison: Comparison) -> str:
    if comparison.term_off is not None:
        return f"[bold red]off[/]: {escape(comparison.term_off)}"
    if not comparison.lines:
        return "the log prints no size that the plan has; take it from the start of the engine to its first request"
    return "[bold green]every line is inside its band[/]"


def print_comparison(
    console: Console,
    resource: SpecDecodeDeployment,
    comparison: Comparison,
    log: StartupLog,
    assumptions: Sequence[str],
) -> None:
    """Print a plan against a log."""
    parts = _log_parts(console, resource, comparison, log, assumptions)
    console.print(Group(*parts), highlight=False, crop=False)


def _number(name: str, value: float) -> str:
    if name in _BYTES:
        return f"{gib(value)} GiB"
    return f"{value:.1f}" if name == "requestsAtMaxModelLen" else f"{value:.0f}"


def _change(name: str, left: float, right: float) -> str:
    if left == right:
        return ""
    return _signed(_number(name, right - left))


def _facts(plan: Plan) -> dict[str, str]:
    mode = plan.requested
    return {
        "vLLM": plan.engine_version,
        "GPUs": f"{plan.gpu_count} x {gib(plan.gpu_memory_bytes)} GiB",
        "mode": str(mode.mode),
        "fits": "yes" if mode.fits else "no",
        "modes that fit": ", ".join(rung.mode for rung in plan.ladder if rung.fits) or "none",
    }


def _side_by_side_table(left: Plan, right: Plan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    table.add_column("requested mode", no_wrap=True)
    for side in ("A", "B"):
        table.add_column(side, justify="right", max_width=24)
    table.add_column("difference", justify="right", no_wrap=True, style="dim")
    ours, theirs = _facts(left), _facts(right)
    for name, value in ours.items():
        table.add_row(name, value, theirs[name])
    numbers = numbers_of(left.requested), numbers_of(right.requested)
    for name, number in numbers[0].items():
        other = numbers[1][name]
        if name == "shortBytes" and not number and not other:
            continue
        shown = _NUMBER_TITLES.get(name, title(name))
        table.add_row(shown, _number(name, number), _number(name, other), _change(name, number, other))
    return table


def _flag_lines(left: ModePlan, right: ModePlan) -> Iterator[RenderableType]:
    for flag in different_flags(left, right):
        yield unwrapped(f"  [bold]{escape(flag.name)}[/]")
        for side, value in (("-", flag.left), ("+", flag.right)):
            if value is not None:
                yield unwrapped(f"  {side} {escape(str(value))}")


def print_side_by_side(
    console: Console,
    files: tuple[str, str],
    left: tuple[SpecDecodeDeployment, Plan],
    right: tuple[SpecDecodeDeployment, Plan],
) -> None:
    """Print two plans beside each other, and the flags that differ below."""
    flags = tuple(_flag_lines(left[1].requested, right[1].requested))
    parts = (
        *(_side(*side) for side in zip("AB", files, (left[0], right[0]), strict=True)),
        Text(),
        _side_by_side_table(left[1], right[1]),
        Text(),
        Text.from_markup("[bold]Flags that differ[/]" if flags else "the flags are the same"),
        *flags,
        Text(),
    )
    console.print(Group(*parts), highlight=False, crop=False)


def _side(sign: str, file: str, resource: SpecDecodeDeployment) -> Text:
    return unwrapped(f"[bold]{sign}[/]  {resource.metadata.namespace}/{resource.metadata.name} of {escape(file)}")
