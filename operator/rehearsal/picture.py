"""The picture of a story: acceptance, time per output token, load; the mode as coloured bands, decisions marked."""

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rehearsal.series import STEP_SECONDS, Line, Series

_BANDS = {"QuantizedDraft": "#dfe7fd", "Draft": "#d9f2e3", "NGram": "#fdf1cf", "Off": "#eceff1"}
_GAP_SECONDS = 4 * STEP_SECONDS


def _with_gaps(line: Line) -> tuple[list[float], list[float]]:
    """A line broken where nothing was measured, so that it does not pretend."""
    xs, ys = [], []
    for (at, value), (following, _) in pairwise([*line, (line[-1][0], 0.0)]) if line else []:
        xs.append(at)
        ys.append(value)
        if following - at > _GAP_SECONDS:
            xs.append(at)
            ys.append(float("nan"))
    return xs, ys


def _bands(axes: Axes, modes: list[tuple[float, str]], seconds: float) -> None:
    for (start, mode), (end, _) in pairwise([*modes, (seconds, "")]):
        axes.axvspan(start, end, color=_BANDS.get(mode, "#ffffff"), lw=0, zorder=0)


def _name_bands(axes: Axes, modes: list[tuple[float, str]], seconds: float) -> None:
    for (start, mode), (end, _) in pairwise([*modes, (seconds, "")]):
        if end - start > 0.04 * seconds:
            axes.text((start + end) / 2, 3, mode, ha="center", fontsize=9, color="#455a64")


def _marks(axes: Axes, decisions: list[tuple[float, str]], *, with_words: bool) -> None:
    for at, decision in decisions:
        axes.axvline(at, color="#c62828", lw=1.2, ls="--", zorder=3)
        if with_words:
            axes.annotate(
                decision,
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -10),
                textcoords="offset points",
                fontsize=8,
                color="#c62828",
            )


def draw(
    path: Path,
    title: str,
    *,
    series: Series,
    modes: list[tuple[float, str]],
    decisions: list[tuple[float, str]],
    seconds: float,
) -> None:
    """Draw one story to a PNG."""
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(9, 5.6), sharex=True, gridspec_kw={"height_ratios": [3, 3, 2]}, constrained_layout=True
    )
    for axes in (top, middle, bottom):
        _bands(axes, modes, seconds)
        _marks(axes, decisions, with_words=axes is top)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#ffffff", lw=0.8)
    top.plot(*_with_gaps(series.acceptance), color="#1565c0", lw=1.8)
    top.set_ylabel("acceptance, %")
    top.set_ylim(0, 100)
    middle.plot(*_with_gaps(series.tpot_p99), color="#6a1b9a", lw=1.4, label="P99")
    middle.plot(*_with_gaps(series.tpot_mean), color="#2e7d32", lw=1.8, label="mean")
    middle.plot(*_with_gaps(series.tpot_p50), color="#6a1b9a", lw=1.0, ls=":", label="P50")
    middle.set_ylabel("TPOT, ms")
    middle.set_ylim(bottom=0)
    middle.legend(loc="upper left", fontsize=8, frameon=False, ncols=3)
    bottom.plot(*_with_gaps(series.running), color="#424242", lw=1.4)
    bottom.set_ylabel("requests running")
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("seconds since kubectl apply")
    bottom.set_xlim(0, seconds)
    _name_bands(top, modes, seconds)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=120)
    plt.close(figure)
