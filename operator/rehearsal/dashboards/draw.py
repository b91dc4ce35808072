"""A dashboard as a picture: its own panels, from its own JSON, with what a real Prometheus answers. Not Grafana's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from rehearsal.dashboards.ask import Line
from rehearsal.dashboards.kinds import EDGE, QUIET, RED, TEXT, draw_panel
from rehearsal.dashboards.panels import COLUMNS
from rehearsal.dashboards.read import Shown

_UNIT_INCHES = 0.3
_WIDTH_INCHES = 15.0
_HEAD_INCHES = 0.75
_PAGE = "#f4f5f5"

Data = Mapping[int, Sequence[Line]]
"""By the place of the panel in the dashboard."""
Mark = tuple[float, str]


def _inside(panel: Shown) -> tuple[float, float, float, float]:
    """Room for ticks and legend around the plot: left, bottom, right and top, in units of the grid."""
    if panel.kind == "timeseries":
        return 1.15, 1.75, 0.25, 1.3
    if panel.kind == "state-timeline":
        return 0.25, 0.8, 0.25, 1.15
    return 0.25, 0.25, 0.25, 1.15


def _card(figure: Figure, panel: Shown, total_inches: float) -> Axes:
    """The frame of a panel with its title; the axes are what is inside."""

    def place(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        top = _HEAD_INCHES + y * _UNIT_INCHES
        bottom = 1 - (top + height * _UNIT_INCHES) / total_inches
        return x / COLUMNS, bottom, width / COLUMNS, height * _UNIT_INCHES / total_inches

    x, y, width, height = place(panel.x + 0.08, panel.y + 0.1, panel.width - 0.16, panel.height - 0.2)
    frame = FancyBboxPatch(
        (x, y),
        width,
        height,
        boxstyle="square,pad=0",
        transform=figure.transFigure,
        facecolor="white",
        edgecolor=EDGE,
        lw=0.8,
        zorder=-1,
    )
    figure.add_artist(frame)
    title_y = place(0, panel.y + 0.75, 1, 0)[1]
    figure.text(x + 0.25 / COLUMNS, title_y, panel.title, fontsize=8.5, weight="bold", color=TEXT, va="center")
    left, bottom, right, top = _inside(panel)
    axes = figure.add_axes(
        place(panel.x + left, panel.y + top, panel.width - left - right, panel.height - top - bottom)
    )
    axes.patch.set_alpha(0)
    return axes


def _mark(axes: Axes, panel: Shown, marks: Sequence[Mark], span: tuple[float, float]) -> None:
    for at, _ in marks:
        if panel.kind in ("timeseries", "state-timeline") and span[0] <= at <= span[1]:
            axes.axvline(at, color=RED, lw=1, ls=(0, (3, 2)), zorder=4)


def draw(
    path: Path,
    title: str,
    words: str,
    panels: Sequence[Shown],
    data: Data,
    *,
    span: tuple[float, float],
    step: float,
    marks: Sequence[Mark] = (),
) -> None:
    """Draw a dashboard to a PNG. `span` are Unix seconds, `marks` its annotations."""
    total_inches = _HEAD_INCHES + _UNIT_INCHES * max(panel.y + panel.height for panel in panels) + 0.1
    figure = plt.figure(figsize=(_WIDTH_INCHES, total_inches), facecolor=_PAGE)
    figure.text(0.008, 1 - 0.25 / total_inches, title, fontsize=13, weight="bold", va="center", color=TEXT)
    figure.text(0.008, 1 - 0.53 / total_inches, words, fontsize=8, va="center", color=QUIET)
    for number, panel in enumerate(panels):
        if panel.kind == "row":
            y = 1 - (_HEAD_INCHES + (panel.y + 0.6) * _UNIT_INCHES) / total_inches
            figure.text(0.008, y, panel.title, fontsize=10, weight="bold", va="center", color=TEXT)
            continue
        axes = _card(figure, panel, total_inches)
        draw_panel(axes, panel, data[number], span, step)
        _mark(axes, panel, marks, span)
    figure.savefig(path, dpi=90)
    plt.close(figure)
