"""A picture of a history: acceptance length, time per output token and load, with the decisions marked."""

from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from specdecode.api.vocabulary import Arm
from specdecode.backtest.history import Arrivals, History
from specdecode.backtest.report import Report, Walk
from specdecode.decide.facts import Window
from specdecode.observe.track import Track

_POINTS = 600
_BANDS = {"QuantizedDraft": "#dfe7fd", "Draft": "#d9f2e3", "NGram": "#fdf1cf", "Off": "#eceff1"}
_MARKS = ("#c62828", "#ef6c00")
"""Decisions of the resource as written, and with other thresholds."""

_Points = list[tuple[datetime, Window]]


def _day(moment: datetime) -> float:
    """A moment as matplotlib counts it: days since 1970."""
    return moment.timestamp() / 86_400


def _windows(history: History, arrivals: Arrivals) -> _Points:
    """Windows that do not overlap, at most so many as can be told apart in a picture."""
    stride = max(4, len(history.moments) // _POINTS)
    seconds = stride * history.step_seconds
    track = Track(arrivals.layout, seconds + 4 * history.scrape_interval_seconds)
    points = []
    for number, now in enumerate(history.moments.tolist()):
        frame = arrivals.frames.get(number)
        if frame:
            track.take(frame, now)
        if number % stride == 0:
            window = track.window(seconds, now)
            if window is not None:
                points.append((datetime.fromtimestamp(now, UTC), window))
    return points


def _tpot_ms(window: Window) -> float:
    return np.nan if window.tpot is None else 1000 * window.tpot.mean_seconds


def _marked(axes: Axes, walks: tuple[Walk, ...], *, with_words: bool) -> None:
    for walk, color in zip(walks, _MARKS, strict=False):
        for decided in walk.decisions:
            place = _day(decided.at)
            axes.axvline(place, color=color, lw=1.2, ls="--", zorder=3)
            if with_words:
                axes.annotate(
                    f"{decided.to}: {decided.reason}",
                    (place, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, -10),
                    textcoords="offset points",
                    fontsize=8,
                    color=color,
                )


def _banded(axes: Axes, report: Report) -> None:
    ran = report.walks[0].ran
    ends = [*(mode.since for mode in ran[1:]), report.end]
    for mode, end in zip(ran, ends, strict=True):
        begin, until = _day(mode.since), _day(end)
        axes.axvspan(begin, until, color=_BANDS[mode.mode.value], lw=0, zorder=0)


def draw(path: Path, history: History, report: Report) -> None:
    """Draw a history and its decisions to a file; the ending says the format.

    Raises OSError for a file that cannot be written, ValueError for a format that does not exist.
    """
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(10, 6), sharex=True, gridspec_kw={"height_ratios": [3, 3, 2]}, constrained_layout=True
    )
    for axes in (top, middle, bottom):
        _banded(axes, report)
        _marked(axes, report.walks, with_words=axes is top)
        axes.spines[["top", "right"]].set_visible(False)
    for (mode, arm), arrivals in history.arrivals.items():
        if arm is not Arm.MAIN:
            continue
        points = _windows(history, arrivals)
        at = [_day(moment) for moment, _ in points]
        dots = {"marker": ".", "ms": 2.5, "ls": "none", "label": mode.value}
        top.plot(at, [window.acceptance_length for _, window in points], **dots)
        middle.plot(at, [_tpot_ms(window) for _, window in points], **dots)
        bottom.plot(at, [window.running_requests for _, window in points], **dots)
    top.set_ylabel("acceptance length")
    top.set_ylim(bottom=1)
    middle.set_ylabel("mean TPOT, ms")
    middle.legend(loc="upper left", fontsize=8, frameon=False, ncols=4)
    bottom.set_ylabel("requests running\nper replica")
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    for axes in (middle, bottom):
        axes.set_ylim(bottom=0)
    locator = mdates.AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib has no types for dates
    bottom.xaxis.set_major_locator(locator)
    formatter = mdates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]  # the same
    bottom.xaxis.set_major_formatter(formatter)
    figure.suptitle(f"{report.namespace}/{report.name}", fontsize=11)
    figure.savefig(path, dpi=120)
    plt.close(figure)
