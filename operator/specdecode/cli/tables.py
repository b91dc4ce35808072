"""The plan for people: per mode a bar of the GPU's memory, the ledger as its legend, what fits and what would help."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from specdecode.api.accelerators import GIB
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.cli.bar import FREE, memory_bar, part_of, swatch
from specdecode.cli.side_by_side import line_of
from specdecode.plan.published import published_budget
from specdecode.plan.titles import title
from specdecode.plan.types import LedgerLine, ModePlan, Plan

_BAR_WIDTH = 72
_NOT_IN_THE_LEGEND = frozenset({"memory", "quotedWeights", "left", "total", "budgetTaken"})
_ALWAYS = frozenset({"budget", "kvCache"})
_BESIDE_THE_BUDGET = frozenset({"outsideBudget", "spare"})
_GIVES = frozenset({"budget", "kvCache", "draftNotCharged", "calibration", "spare"})


def gib(size_bytes: float) -> str:
    """GiB with the two decimals of vLLM's own lines."""
    return f"{size_bytes / GIB:.2f}"


def band_text(low: float, high: float) -> str:
    """`18.40 to 19.10` in GiB; nothing for a number without spread."""
    return "" if low == high else f"{gib(low)} to {gib(high)}"


def _row(line: LedgerLine) -> tuple[str, str]:
    if line.name in _GIVES:
        return gib(line.bytes), band_text(line.low_bytes, line.high_bytes)
    return gib(-line.bytes), band_text(-line.high_bytes, -line.low_bytes)


def _legend(console: Console, mode: ModePlan) -> Table:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim", padding=(0, 1))
    table.add_column("", no_wrap=True, width=1)
    table.add_column("per GPU", no_wrap=True, min_width=24)
    table.add_column("GiB", justify="right", no_wrap=True, min_width=7)
    table.add_column("between", justify="right", no_wrap=True, min_width=16, style="dim")
    for line in mode.ledger:
        if line.name in _NOT_IN_THE_LEGEND or (line.bytes == line.low_bytes == 0 and line.name not in _ALWAYS):
            continue
        part = FREE if line.name in _BESIDE_THE_BUDGET else part_of(line.name)
        style = {"budget": "bold", "kvCache": "green" if mode.fits else "red"}.get(line.name, "")
        table.add_row("" if part is None else swatch(console, part), title(line.name), *_row(line), style=style)
    return table


def _quoted(plan: Plan, mode: ModePlan) -> str:
    quoted = published_budget(plan, mode)
    memory, weights, left = (
        f"{size / 1000**3:.0f} GB" for size in (quoted.memory_bytes, quoted.weights_bytes, quoted.left_bytes)
    )
    return f"{memory} on the label, {weights} of weights, {left} left"


def _capacity(mode: ModePlan) -> Iterator[str]:
    if not mode.fits:
        is_card = -line_of(mode, "spare").bytes == mode.short_bytes
        what = "for what lies beside the engine's budget" if is_card else "for one request of maxModelLen"
        yield f"short by {gib(mode.short_bytes)} GiB per GPU {what}"
        return
    line = line_of(mode, "kvCache")
    band = band_text(line.low_bytes, line.high_bytes)
    yield f"KV cache {gib(line.bytes)} GiB per GPU{f', {band}' if band else ''}"
    yield f"{mode.kv_cache_tokens} tokens in the KV cache at {mode.bytes_per_token} bytes per token and GPU"
    yield f"{mode.requests_at_max_model_len:.1f} requests of maxModelLen at once"


class _PlanView:
    """One plan, rendered for the width, the colours and the characters of a console."""

    def __init__(self, resource: SpecDecodeDeployment, plan: Plan) -> None:
        self._resource = resource
        self._plan = plan

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _BAR_WIDTH)
        yield from self._head(console)
        for mode in self._plan.ladder:
            yield from self._mode(console, mode, width)
        yield from self._advice(console)
        yield Text.from_markup(f"[bold]Flags[/] of {self._plan.requested_mode}")
        for argument in self._plan.requested.arguments:
            yield unwrapped(f"  {escape(argument)}")

    def _head(self, console: Console) -> Iterator[RenderableType]:
        metadata, accelerator = self._resource.metadata, self._resource.spec.accelerator
        yield Text.from_markup(f"[bold]{metadata.namespace}/{metadata.name}[/]")
        plan = self._plan
        gpus = f"{accelerator.count} x {accelerator.product}, {gib(plan.gpu_memory_bytes)} GiB each"
        yield unwrapped(f"vLLM {plan.engine_version} on {gpus}")
        for source in plan.sources:
            yield wrapped(console, f"[dim]{escape(source)}[/]", indent=0)
        yield Text()

    def _mode(self, console: Console, mode: ModePlan, width: int) -> Iterator[RenderableType]:
        verdict = "[bold green]fits[/]" if mode.fits else "[bold red]does not fit[/]"
        asked = ", requested" if mode is self._plan.requested else ""
        yield Text.from_markup(f"[bold]{mode.mode}[/]{asked}: {verdict}")
        yield unwrapped(_quoted(self._plan, mode))
        yield memory_bar(console, self._plan, mode, width)
        yield _legend(console, mode)
        for sentence in _capacity(mode):
            yield unwrapped(sentence)
        if mode.remedies:
            yield unwrapped("would fit with one of:")
            yield from (wrapped(console, escape(remedy), indent=2) for remedy in mode.remedies)
        yield Text()

    def _advice(self, console: Console) -> Iterator[RenderableType]:
        if not self._plan.advice:
            return
        yield Text.from_markup("[bold]Advice[/]")
        for advice in self._plan.advice:
            yield wrapped(console, f"[yellow]{advice.reason}[/]: {escape(advice.message)}", indent=2)
        yield Text()


def unwrapped(markup: str) -> Text:
    """A line that is never broken: it can be copied, and found by a search."""
    text = Text.from_markup(markup)
    text.no_wrap, text.overflow = True, "ignore"
    return text


def wrapped(console: Console, markup: str, *, indent: int) -> RenderableType:
    """A sentence, broken at the edge of a terminal; in a pipe it stays one line."""
    if console.is_terminal:
        return Padding(Text.from_markup(markup), (0, 0, 0, indent))
    return unwrapped(" " * indent + markup)


def plan_renderable(resource: SpecDecodeDeployment, plan: Plan) -> RenderableType:
    """One plan as the command shows it, for any console. Print it with `crop=False`: flags are never broken."""
    return _PlanView(resource, plan)


def print_plan(console: Console, resource: SpecDecodeDeployment, plan: Plan) -> None:
    """Print one plan."""
    console.print(plan_renderable(resource, plan), highlight=False, crop=False)
