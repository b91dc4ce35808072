"""What a Prometheus answers to the queries of a panel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.dashboards.read import Shown, Target, legend_of
from rehearsal.prometheus import Prometheus


@dataclass(frozen=True)
class Line:
    """One series of a panel."""

    name: str
    labels: Mapping[str, str]
    at: tuple[float, ...]
    """Unix seconds; one for a query of now."""
    values: tuple[float, ...]
    """As many; NaN is kept, because it is a gap."""


def _line(target: Target, series: Mapping[str, Any]) -> Line:
    points = series["values"] if "values" in series else [series["value"]]
    at, values = zip(*((float(moment), float(value)) for moment, value in points), strict=True)
    labels = series["metric"]
    name = legend_of(target.legend, labels) if target.legend != "__auto" else ", ".join(labels.values())
    return Line(name, labels, at, values)


async def asked(prometheus: Prometheus, panel: Shown, start: float, end: float, step: float) -> list[Line]:
    """All series of a panel between two Unix times."""
    found: list[Line] = []
    for target in panel.targets:
        if target.is_now:
            answer = await prometheus.query(target.expression, end)
        else:
            answer = await prometheus.query_range(target.expression, start, end, step)
        found += [_line(target, series) for series in answer]
    return found
