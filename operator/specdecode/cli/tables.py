"""The plan for people: per mode the ledger with a bar of the GPU's memory, what fits, what would help, the flags."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from specdecode.api.accelerators import GIB
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.plan.published import published_budget
from specdecode.plan.types import LedgerLine, ModePlan, Plan

_BAR_WIDTH = 32
_QUOTED_LINES = frozenset({"memory", "quotedWeights", "left"})
_TITLES = {
    "budget": "budget of the engine",
    "targetWeights": "target weights",
    "draftWeights": "draft weights",
    "rotaryCaches": "rotary caches",
    "activationPeak": "activation peak",
    "nonTorch": "outside PyTorch",
    "cudaGraphs": "CUDA graphs",
    "safety": "kept back",
    "kvCache": "KV cache",
}


def _bar(console: Console, size_bytes: int, total_bytes: int) -> str:
    """A share of the GPU as a bar; a share that is too small to see is left empty."""
    block = "█" if console.encoding.lower().startswith("utf") else "#"
    share = min(max(size_bytes / total_bytes, 0.0), 1.0)
    return block * round(share * _BAR_WIDTH)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f}"


def _spread(line: LedgerLine) -> str:
    if line.low_bytes == line.high_bytes:
        return ""
    edges = sorted((abs(line.low_bytes), abs(line.high_bytes)))
    if line.low_bytes * line.high_bytes < 0:
        edges = [line.low_bytes, line.high_bytes]
    return f"{_gib(edges[0])} to {_gib(edges[1])}"


def _ledger(console: Console, plan: Plan, mode: ModePlan) -> Table:
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("per GPU", no_wrap=True, min_width=20)
    table.add_column("GiB", justify="right", no_wrap=True, min_width=7)
    table.add_column("spread", justify="right", no_wrap=True, min_width=16, style="dim")
    table.add_column(f"of {_gib(plan.gpu_memory_bytes)} GiB", no_wrap=True, max_width=_BAR_WIDTH)
    for line in mode.ledger:
        if line.name in _QUOTED_LINES or (line.bytes == 0 and line.name != "kvCache"):
            continue
        gives = line.name in {"budget", "kvCache"}
        size = line.bytes if gives else -line.bytes
        style = {"budget": "bold", "kvCache": "green" if mode.fits else "red"}.get(line.name, "")
        bar = _bar(console, size, plan.gpu_memory_bytes)
        table.add_row(_TITLES.get(line.name, line.name), _gib(size), _spread(line), bar, style=style)
    return table


def _quoted(plan: Plan, mode: ModePlan) -> str:
    quoted = published_budget(plan, mode)
    memory, weights, left = (
        f"{size / 1000**3:.0f} GB" for size in (quoted.memory_bytes, quoted.weights_bytes, quoted.left_bytes)
    )
    return f"{memory} on the label, {weights} of weights, {left} left"


def _capacity(mode: ModePlan) -> str:
    if not mode.fits:
        return f"short by {_gib(mode.short_bytes)} GiB per GPU for one request of maxModelLen"
    return (
        f"{mode.kv_cache_tokens} tokens in the KV cache at {mode.bytes_per_token} bytes per token and GPU, "
        f"{mode.requests_at_max_model_len:.1f} requests of maxModelLen"
    )


def _mode_parts(console: Console, plan: Plan, mode: ModePlan) -> Iterator[str | Table]:
    verdict = "[bold green]fits[/]" if mode.fits else "[bold red]does not fit[/]"
    asked = ", requested" if mode is plan.requested else ""
    yield f"[bold]{mode.mode}[/]{asked}: {verdict}"
    yield _quoted(plan, mode)
    yield _ledger(console, plan, mode)
    yield _capacity(mode)
    if mode.remedies:
        yield "would fit with one of:"
        yield from (f"  {escape(remedy)}" for remedy in mode.remedies)
    yield ""


def print_plan(console: Console, resource: SpecDecodeDeployment, plan: Plan) -> None:
    """Print one plan."""
    accelerator = resource.spec.accelerator
    console.rule(f"[bold]{resource.metadata.namespace}/{resource.metadata.name}[/]", align="left")
    console.print(f"vLLM {plan.engine_version} on {accelerator.count} x {accelerator.product}", highlight=False)
    for source in plan.sources:
        console.print(f"[dim]{escape(source)}[/]", highlight=False, soft_wrap=True)
    console.print()
    for mode in plan.ladder:
        for part in _mode_parts(console, plan, mode):
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))
    if plan.advice:
        console.print("[bold]Advice[/]")
        for advice in plan.advice:
            line = f"  [yellow]{advice.reason}[/]: {escape(advice.message)}"
            console.print(line, highlight=False, soft_wrap=True)
        console.print()
    console.print(f"[bold]Flags[/] of {plan.requested_mode}")
    for argument in plan.requested.arguments:
        console.print(f"  {escape(argument)}", highlight=False, soft_wrap=True)
