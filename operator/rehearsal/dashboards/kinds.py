"""How the inside of a panel is drawn, by its kind."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from rehearsal.dashboards.ask import Line
from rehearsal.dashboards.read import Shown
from rehearsal.dashboards.words import colour_of, written

_COLOURS = {
    "green": "#56a64b",
    "red": "#e02f44",
    "orange": "#ff780a",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "yellow": "#e0b400",
    "text": "#24292e",
}
_PALETTE = ("#3274d9", "#56a64b", "#ff9830", "#a352cc", "#37872d", "#c4162a", "#8ab8ff", "#b877d9")
_TICKS = (60, 300, 600, 900, 1800, 3600, 7200)
"""Seconds between two words below a panel."""
QUIET, EDGE, TEXT = "#6e7681", "#dfe3e8", "#24292e"
_CHARACTERS_PER_UNIT = 7.6
"""Of the smallest text, in one column of the grid."""


RED = _COLOURS["red"]


def _colour(name: str) -> str:
    return _COLOURS.get(name, name)


def _clear(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _stat(axes: Axes, panel: Shown, lines: Sequence[Line]) -> None:
    _clear(axes)
    values = [line.values[-1] for line in lines if math.isfinite(line.values[-1])]
    text = written(values[0], panel.defaults) if values else "No data"
    colour = _colour(colour_of(values[0], panel.defaults)) if values else QUIET
    size = 17 if len(text) < 3.2 * panel.width else 12
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=size, color=colour, weight="bold")


def _nothing(axes: Axes) -> None:
    _clear(axes)
    axes.text(0.5, 0.5, "No data", ha="center", va="center", fontsize=9, color=QUIET)


def _table(axes: Axes, panel: Shown, lines: Sequence[Line]) -> None:
    _clear(axes)
    rows = [
        [
            written(line.values[-1], panel.defaults) if label == "Value" else line.labels.get(label, "")
            for label, _ in panel.columns
        ]
        for line in lines
    ]
    headings = [heading for _, heading in panel.columns]
    shown = int(panel.height / 0.78) - 3
    widths = [max(len(text) for text in column) + 2 for column in zip(headings, *rows, strict=True)]
    scale = max(sum(widths), 1)
    step = 1 / (shown + 1.3)
    for number, row in enumerate([headings, *rows[:shown]]):
        y, x = 1 - (number + 0.6) * step, 0.01
        for text, width in zip(row, widths, strict=True):
            room = int(width / scale * panel.width * _CHARACTERS_PER_UNIT)
            cut = text if len(text) <= room else text[: max(1, room - 1)] + "…"
            axes.text(
                x,
                y,
                cut,
                fontsize=7.5,
                va="center",
                color=QUIET if number == 0 else TEXT,
                weight="bold" if number == 0 else "normal",
            )
            x += 0.98 * width / scale
        axes.plot([0, 1], [y - step / 2] * 2, color=EDGE, lw=0.7)
    if len(rows) > shown:
        axes.text(0.99, 0.01, f"and {len(rows) - shown} more", fontsize=7, ha="right", va="bottom", color=QUIET)


def _bars(axes: Axes, panel: Shown, lines: Sequence[Line]) -> None:
    _clear(axes)
    values = [line.values[-1] for line in lines]
    low = panel.defaults.get("min", min(0.0, *values))
    high = panel.defaults.get("max", max(values) * 1.1)
    step = 1 / max(len(lines), 5)
    for number, (line, value) in enumerate(zip(lines, values, strict=True)):
        y = 1 - (number + 0.5) * step
        axes.text(0.0, y, line.name, fontsize=7.5, va="center", color=TEXT)
        axes.add_patch(Rectangle((0.48, y - 0.3 * step), 0.38, 0.6 * step, color="#eceef0", lw=0))
        zero, end = (0.48 + 0.38 * (min(max(x, low), high) - low) / (high - low) for x in (max(0.0, low), value))
        colour = _colour(colour_of(value, panel.defaults))
        axes.add_patch(Rectangle((min(zero, end), y - 0.3 * step), abs(end - zero), 0.6 * step, color=colour, lw=0))
        axes.text(
            1.0, y, written(value, panel.defaults), fontsize=8, va="center", ha="right", color=colour, weight="bold"
        )


def _clock(axes: Axes, span: tuple[float, float]) -> None:
    axes.set_xlim(*span)
    axes.xaxis.set_major_locator(MultipleLocator(next(step for step in _TICKS if 6 * step >= span[1] - span[0])))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: datetime.fromtimestamp(60 * round(at / 60), UTC).strftime("%H:%M"))
    )
    axes.tick_params(labelsize=7, colors=QUIET, length=0)


def _timeline(axes: Axes, panel: Shown, lines: Sequence[Line], span: tuple[float, float], step: float) -> None:
    _clear(axes)
    for number, line in enumerate(lines):
        y = 1 - (number + 0.5) / len(lines)
        height = 0.8 / len(lines)
        begin = line.at[0]
        for (at, value), (following, later) in pairwise(
            [*zip(line.at, line.values, strict=True), (line.at[-1] + step, math.nan)]
        ):
            if value == later and following - at <= 1.5 * step:
                continue
            end = min(following, at + step)
            axes.add_patch(
                Rectangle(
                    (begin, y - height / 2),
                    end - begin,
                    height,
                    color=_colour(colour_of(value, panel.defaults)),
                    alpha=0.8,
                    lw=0,
                )
            )
            if end - begin > 0.05 * (span[1] - span[0]):
                axes.text(
                    begin + 0.005 * (span[1] - span[0]),
                    y,
                    written(value, panel.defaults),
                    fontsize=8,
                    va="center",
                    color="white",
                )
            begin = following
    _clock(axes, span)


def _override(panel: Shown, line: Line) -> Mapping[str, object]:
    return panel.overrides.get(line.name, {})


def _series(axes: Axes, panel: Shown, lines: Sequence[Line]) -> None:
    drawn = {line.name: line for line in lines}
    for number, line in enumerate(lines):
        own = _override(panel, line)
        fixed = own.get("color")
        colour = _colour(str(fixed["fixedColor"])) if isinstance(fixed, dict) else _PALETTE[number % len(_PALETTE)]
        style = own.get("custom.lineInterpolation", panel.defaults["custom"].get("lineInterpolation"))
        drawstyle = "steps-post" if style == "stepAfter" else "default"
        below = drawn.get(str(own.get("custom.fillBelowTo", "")))
        axes.plot(
            line.at,
            line.values,
            color=colour,
            drawstyle=drawstyle,
            label=line.name,
            lw=0.8 * float(str(own.get("custom.lineWidth", 2))),
            ls="--" if "custom.lineStyle" in own else "-",
        )
        if below is not None:
            floor = dict(zip(below.at, below.values, strict=True))
            axes.fill_between(
                line.at,
                [floor.get(at, math.nan) for at in line.at],
                line.values,
                color=colour,
                alpha=0.2,
                lw=0,
                step="post" if drawstyle == "steps-post" else None,
            )


def _stack(axes: Axes, panel: Shown, lines: Sequence[Line]) -> None:
    moments = sorted({at for line in lines for at in line.at})
    columns = [dict(zip(line.at, line.values, strict=True)) for line in lines]
    values = [[column.get(at, 0.0) for at in moments] for column in columns]
    values = [[value if math.isfinite(value) else 0.0 for value in row] for row in values]
    colours = []
    for number, line in enumerate(lines):
        fixed = _override(panel, line).get("color")
        colours.append(
            _colour(str(fixed["fixedColor"])) if isinstance(fixed, dict) else _PALETTE[number % len(_PALETTE)]
        )
    axes.stackplot(moments, values, labels=[line.name for line in lines], colors=colours, alpha=0.65, step="post")


def _lines(axes: Axes, panel: Shown, lines: Sequence[Line], span: tuple[float, float]) -> None:
    is_stacked = panel.defaults["custom"].get("stacking", {}).get("mode") == "normal"
    (_stack if is_stacked else _series)(axes, panel, lines)
    _clock(axes, span)
    bottom, top = axes.get_ylim()
    axes.set_ylim(panel.defaults.get("min", bottom), panel.defaults.get("max", top + 0.05 * (top - bottom)))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, panel.defaults)))
    axes.spines[:].set_visible(False)
    axes.grid(color=EDGE, lw=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.11),
        ncols=3 if panel.width > 6 else 2,
        fontsize=7,
        frameon=False,
        labelcolor=QUIET,
        handlelength=1.0,
        columnspacing=1.0,
        borderaxespad=0.0,
    )


def draw_panel(axes: Axes, panel: Shown, lines: Sequence[Line], span: tuple[float, float], step: float) -> None:
    """Draw a panel by its kind. `span` are Unix seconds, `step` those between two values."""
    if not lines and panel.kind != "stat":
        _nothing(axes)
        return
    match panel.kind:
        case "stat":
            _stat(axes, panel, lines)
        case "table":
            _table(axes, panel, lines)
        case "bargauge":
            _bars(axes, panel, lines)
        case "state-timeline":
            _timeline(axes, panel, lines, span, step)
        case _:
            _lines(axes, panel, lines, span)
