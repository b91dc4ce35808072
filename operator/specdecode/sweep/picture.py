"""Two pictures of a sweep: acceptance by temperature, and speed-up by concurrency with the line of break-even."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from specdecode.decide.facts import Interval
from specdecode.sweep.break_even import Curve, Setting, setting_of, setting_text
from specdecode.sweep.report import Report
from specdecode.sweep.statistics import rate_interval
from specdecode.sweep.verdict import Judged

_COLORS = ("#1565c0", "#2e7d32", "#6a1b9a", "#ef6c00", "#00838f", "#ad1457", "#4e342e", "#546e7a")
_HEAT = ("#1565c0", "#00838f", "#2e7d32", "#9e9d24", "#ef6c00", "#c62828", "#6a1b9a", "#4e342e")
"""By temperature, from cold to hot."""
_DASHES = ("-", "--", ":", "-.")
_BREAK_EVEN = "#37474f"

_Line = dict[float, tuple[float, float]]
"""Accepted and proposed tokens by temperature."""


def _lines(cells: Sequence[Judged]) -> dict[tuple[Setting, str], _Line]:
    """By setting and kind; what was measured at several concurrencies is taken together."""
    found: dict[tuple[Setting, str], _Line] = {}
    for judged in cells:
        drafted, cell = judged.measured.drafted, judged.measured.cell
        if drafted is not None and drafted.draft_tokens > 0:
            line = found.setdefault((setting_of(cell), cell.kind), {})
            accepted, proposed = line.get(cell.temperature, (0.0, 0.0))
            line[cell.temperature] = accepted + drafted.accepted_tokens, proposed + drafted.draft_tokens
    return found


def _with_bars(axes: Axes, xs: Sequence[float], intervals: Sequence[Interval], **look: Any) -> None:
    """A line with its intervals; a bound that is not known is not drawn."""
    values = [interval.value for interval in intervals]
    below = [interval.value - interval.low if interval.low > 0 else 0.0 for interval in intervals]
    above = [interval.high - interval.value if math.isfinite(interval.high) else 0.0 for interval in intervals]
    axes.errorbar(xs, values, yerr=[below, above], marker="o", ms=4, lw=1.8, elinewidth=1.1, capsize=3, **look)


def _short(value: float, _position: int | None) -> str:
    return f"{value:g}"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eceff1", lw=0.8)
    axes.set_axisbelow(True)


def _saved(figure: Figure, path: Path) -> Path:
    try:
        figure.savefig(path, dpi=120)
    finally:
        plt.close(figure)
    return path


def _acceptance(report: Report, path: Path) -> Path | None:
    lines = _lines(report.cells)
    if not lines:
        return None
    figure, axes = plt.subplots(figsize=(7.5, 4.2), constrained_layout=True)
    kinds = list(dict.fromkeys(kind for _, kind in lines))
    settings = list(dict.fromkeys(setting for setting, _ in lines))
    for (setting, kind), line in lines.items():
        temperatures = sorted(line)
        rates = [rate_interval(*line[temperature]) for temperature in temperatures]
        percents = [Interval(100 * rate.low, 100 * rate.value, 100 * rate.high) for rate in rates]
        label = kind if len(settings) == 1 else f"{kind}, {setting_text(setting)}"
        color, dashes = _COLORS[kinds.index(kind) % len(_COLORS)], _DASHES[settings.index(setting) % len(_DASHES)]
        _with_bars(axes, temperatures, percents, color=color, ls=dashes, label=label)
    axes.set_xticks(sorted({temperature for line in lines.values() for temperature in line}))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel("temperature")
    axes.set_ylabel("accepted draft tokens, %")
    axes.set_ylim(0, 100)
    _plain(axes)
    axes.legend(fontsize=8, frameon=False, ncols=2 if len(lines) > 5 else 1)
    named = setting_text(settings[0]) if len(settings) == 1 else ""
    figure.suptitle(", ".join(part for part in (report.sweep.model, named) if part), fontsize=11)
    return _saved(figure, path)


def _draw_curves(axes: Axes, curves: Sequence[Curve], temperatures: Sequence[float]) -> None:
    concurrencies = sorted({point.concurrency for curve in curves for point in curve.points})
    axes.axhline(1.0, color=_BREAK_EVEN, lw=1.2, ls="--", zorder=1)
    for number, curve in enumerate(curves):
        # Side by side: bars of several temperatures would hide each other.
        aside = 1.03 ** (number - (len(curves) - 1) / 2)
        color = _HEAT[temperatures.index(curve.temperature) * (len(_HEAT) - 3) // max(1, len(temperatures) - 1)]
        xs = [point.concurrency * aside for point in curve.points]
        speedups = [point.speedup for point in curve.points]
        _with_bars(axes, xs, speedups, color=color, label=f"temperature {curve.temperature:g}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(concurrencies)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel("requests at once")
    _plain(axes)


def _speedup(report: Report, path: Path) -> Path | None:
    settings = list(dict.fromkeys(curve.setting for curve in report.curves))
    if not settings:
        return None
    figure, row = plt.subplots(
        1,
        len(settings),
        figsize=(7.5 if len(settings) == 1 else 4.6 * len(settings), 4.2),
        sharey=True,
        squeeze=False,
        constrained_layout=True,
    )
    temperatures = sorted({curve.temperature for curve in report.curves})
    for axes, setting in zip(row[0], settings, strict=True):
        _draw_curves(axes, [curve for curve in report.curves if curve.setting == setting], temperatures)
        axes.set_title(setting_text(setting), fontsize=9)
    row[0][0].set_ylabel("speed-up of the mean TPOT")
    # Beside the last panel: inside, bars run through the word.
    row[0][-1].annotate(
        "break-even",
        (1.0, 1.0),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=_BREAK_EVEN,
        annotation_clip=False,
    )
    top = row[0][0].get_ylim()[1]
    row[0][0].set_ylim(0, max(1.2, top))
    row[0][-1].legend(fontsize=8, frameon=False)
    figure.suptitle(report.sweep.model, fontsize=11)
    return _saved(figure, path)


def write_pictures(report: Report, directory: Path) -> tuple[Path, ...]:
    """Draw `acceptance.png` and `speedup.png` into a directory that exists; the files written. What was not measured is
    not drawn: without a baseline there is no speed-up.

    Raises OSError for a file that cannot be written.
    """
    drawn = (_acceptance(report, directory / "acceptance.png"), _speedup(report, directory / "speedup.png"))
    return tuple(path for path in drawn if path is not None)
