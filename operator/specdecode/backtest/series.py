"""History as it was read: lines of samples with their labels, from a file or from a Prometheus. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.prometheus import Line
from specdecode.observe.queries import series_of
from specdecode.observe.track import Floats

Advance = Callable[[float], None]
"""Told how much more of the whole was read, in the unit of the whole."""

GENERATIONS: tuple[tuple[str, MetricNames], ...] = tuple(
    (text, metric_names(EngineVersion.parse(text)))
    for text in ("0.11.0", "0.10.2", "0.10.0", "0.9.0", "0.8.5", "0.6.4", "0.6.0")
)
"""First version with its set of names, newest first."""

EVERY_NAME = frozenset(name for _, names in GENERATIONS for name in series_of(names).values())
"""Every series that any version of the engine is judged by."""


@dataclass(frozen=True)
class Read:
    """What a source holds."""

    lines: tuple[Line, ...]
    """Of the names that are wanted. Finite samples only, ascending in time."""
    names: frozenset[str]
    """All names in it, as far as they were looked at."""


def ascending(at: Floats) -> int | None:
    """The place of the first sample that is older than the one before it; None: there is none."""
    back = np.flatnonzero(np.diff(at) < 0)
    return int(back[0]) + 1 if len(back) else None


def line_of(labels: dict[str, str], at: Floats, values: Floats) -> Line:
    """A line without the samples that say nothing, as where a series ended, and without repeated moments."""
    keep = np.isfinite(values)
    keep[:-1] &= at[1:] > at[:-1]
    return Line(labels, at[keep], values[keep])


def between(lines: Iterable[Line], start: float, end: float) -> tuple[Line, ...]:
    """The samples from `start` to `end`, both in Unix seconds and included; lines without any are left out."""
    found = []
    for line in lines:
        low, high = np.searchsorted(line.at, start, "left"), np.searchsorted(line.at, end, "right")
        if low < high:
            found.append(Line(line.labels, line.at[low:high], line.values[low:high]))
    return tuple(found)
