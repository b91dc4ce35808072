"""The memory of one GPU as one bar: each part of the plan a segment, in colour, or in letters where there is none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from specdecode.plan.types import ModePlan, Plan


@dataclass(frozen=True)
class Part:
    """Lines of the ledger that share a segment."""

    letter: str
    style: str
    names: tuple[str, ...]


PARTS = (
    Part("T", "blue", ("targetWeights", "rotaryCaches")),
    Part("D", "magenta", ("draftWeights", "draftNotCharged")),
    Part("A", "yellow", ("activationPeak", "buffers", "calibration")),
    Part("O", "cyan", ("nonTorch",)),
    Part("G", "bright_yellow", ("cudaGraphs",)),
    Part("S", "white", ("safety",)),
    Part("K", "green", ("kvCache",)),
)
FREE = Part(".", "bright_black", ())
"""Of the card, beside the budget of the engine."""
_OVER = Part("!", "bold red", ())


def part_of(name: str) -> Part | None:
    """The segment that a line of the ledger is drawn in."""
    return next((part for part in PARTS if name in part.names), None)


def is_plain(console: Console) -> bool:
    """Whether a segment can be told from another by its letter only."""
    return console.color_system is None or console.no_color


def has_blocks(console: Console) -> bool:
    """Whether the terminal shows block characters."""
    return console.encoding.lower().startswith("utf")


def swatch(console: Console, part: Part) -> Text:
    """The sign of a segment for the legend."""
    sign = part.letter if is_plain(console) or not has_blocks(console) else "█"
    return Text(sign, style="" if is_plain(console) else part.style)


def _sizes(plan: Plan, mode: ModePlan) -> list[tuple[Part, int]]:
    """Bytes per segment, in the order of the bar. What the KV cache is short of has no segment."""
    taken = {line.name: abs(line.bytes) if line.name != "draftNotCharged" else 0 for line in mode.ledger}
    taken["kvCache"] = max(0, mode.kv_cache_bytes_per_gpu)
    taken["calibration"] = 0
    sizes = [(part, sum(taken.get(name, 0) for name in part.names)) for part in PARTS]
    return [*sizes, (FREE, max(0, plan.gpu_memory_bytes - sum(size for _, size in sizes)))]


def _cells(sizes: Sequence[tuple[Part, int]], width: int) -> list[tuple[Part, int]]:
    """Whole cells that add up to the width; what is there at all gets one."""
    total = sum(size for _, size in sizes) or 1
    cells = [(part, max(1, int(size * width / total)) if size > 0 else 0) for part, size in sizes]
    spare = width - sum(count for _, count in cells)
    widest = max(range(len(cells)), key=lambda index: cells[index][1])
    part, count = cells[widest]
    cells[widest] = (part, max(0, count + spare))
    return cells


def _painted(console: Console, cells: Iterable[tuple[Part, int]], edge: int) -> Text:
    """Segments up to the edge of the card, and beyond it what does not fit."""
    bar, at = Text(), 0
    for part, count in cells:
        inside = max(0, min(count, edge - at))
        for shown, length in ((part, inside), (_OVER, count - inside)):
            sign = swatch(console, shown)
            bar.append(sign.plain * length, style=sign.style)
        at += count
    return bar


def memory_bar(console: Console, plan: Plan, mode: ModePlan, width: int) -> Text:
    """The bar of one mode. Its length is the card, or what the mode takes where that is more."""
    sizes = _sizes(plan, mode)
    longest = max(plan.gpu_memory_bytes, sum(size for _, size in sizes))
    edge = round(width * plan.gpu_memory_bytes / longest)
    return _painted(console, _cells(sizes, width), edge)
