"""How many requests at once speculation is worth, by temperature. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from specdecode.decide.facts import Interval
from specdecode.sweep.compare import pooled
from specdecode.sweep.types import Cell
from specdecode.sweep.verdict import Judged

Setting = tuple[str, int]
"""Mode and number of speculative tokens: what one spec asks for."""


@dataclass(frozen=True)
class Point:
    """Speed-up of the mean TPOT at one concurrency, over the kinds of prompts there."""

    concurrency: int
    speedup: Interval


@dataclass(frozen=True)
class Curve:
    """Speed-up by concurrency, at one temperature."""

    setting: Setting
    temperature: float
    points: tuple[Point, ...]
    """By concurrency, ascending; at least one."""

    @property
    def break_even(self) -> float | None:
        """Requests at once at which the speed-up falls below 1 for the first time, between two that were measured;
        None: it does not, or is below from the start.
        """
        for low, high in pairwise(self.points):
            before, after = math.log(low.speedup.value), math.log(high.speedup.value)
            if before < 0:
                return None
            if after < 0:
                steps = math.log2(high.concurrency / low.concurrency)
                return low.concurrency * float(2 ** (steps * before / (before - after)))
        return None


def setting_of(cell: Cell) -> Setting:
    """What the engine ran with."""
    return cell.mode, cell.num_speculative_tokens


def setting_text(setting: Setting) -> str:
    """`Draft, 3 tokens`."""
    mode, tokens = setting
    return f"{mode}, {tokens} token{'' if tokens == 1 else 's'}" if tokens else mode


def curves_of(cells: Sequence[Judged]) -> tuple[Curve, ...]:
    """One curve per setting and temperature that was compared."""
    found: dict[tuple[Setting, float], dict[int, list[Interval]]] = {}
    for judged in cells:
        if judged.comparison is not None:
            cell = judged.measured.cell
            at = found.setdefault((setting_of(cell), cell.temperature), {})
            at.setdefault(cell.concurrency, []).append(judged.comparison.tpot_mean)
    return tuple(
        Curve(setting, temperature, tuple(Point(number, pooled(at[number])) for number in sorted(at)))
        for (setting, temperature), at in sorted(found.items())
    )


def _each(curve: Curve) -> str:
    return ", ".join(f"{point.speedup.value:.2f}x at {point.concurrency}" for point in curve.points)


def _where(curve: Curve) -> str:
    first, last = curve.points[0], curve.points[-1]
    crossing = curve.break_even
    if crossing is not None:
        is_sure = any(point.speedup.low > 1 for point in curve.points) and last.speedup.high < 1
        return f"{'breaks' if is_sure else 'may break'} even near {crossing:.0f} at once"
    if all(point.speedup.low > 1 for point in curve.points):
        return f"pays everywhere, up to {last.concurrency} at once"
    if all(point.speedup.high < 1 for point in curve.points):
        return f"costs everywhere, from {first.concurrency} at once"
    if all(point.speedup.low > 1 for point in curve.points[:-1]) and last.speedup.high >= 1 and len(curve.points) > 1:
        return f"pays below {last.concurrency} at once, where it neither surely pays nor costs"
    if not any(point.speedup.low > 1 for point in curve.points):
        return f"nowhere surely faster, up to {last.concurrency} at once"
    return f"no break-even to be seen up to {last.concurrency} at once"


def break_even_sentence(curve: Curve) -> str:
    """Where speculation stops paying at this temperature, in words."""
    return f"temperature {curve.temperature:g}: {_where(curve)} ({_each(curve)})"
