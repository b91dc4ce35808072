"""A dashboard's JSON as whoever draws it needs it: panels, places, and queries with the variables filled in."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Target:
    """One query of a panel."""

    expression: str
    legend: str
    is_now: bool


@dataclass(frozen=True)
class Shown:
    """One panel."""

    kind: str
    title: str
    x: int
    y: int
    width: int
    height: int
    targets: tuple[Target, ...]
    defaults: Mapping[str, Any]
    overrides: Mapping[str, Mapping[str, Any]]
    """Properties by the name of the series."""
    columns: tuple[tuple[str, str], ...] = ()
    """Of a table: label, or `Value`, and heading, in order."""


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables. Raises KeyError for one that is not given."""
    return _VARIABLE.sub(lambda match: variables[match[1] or match[2]], text)


def _columns(panel: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    for step in panel.get("transformations") or ():
        options = step["options"]
        order, hidden = options["indexByName"], options["excludeByName"]
        shown = [label for label in sorted(order, key=order.__getitem__) if not hidden.get(label)]
        return tuple((label, options["renameByName"].get(label, label)) for label in shown)
    return ()


def _panel(panel: Mapping[str, Any], variables: Mapping[str, str]) -> Shown:
    place, fields = panel["gridPos"], panel.get("fieldConfig") or {"defaults": {}, "overrides": []}
    targets = tuple(
        Target(filled(target["expr"], variables), target["legendFormat"], bool(target["instant"]))
        for target in panel.get("targets") or ()
    )
    overrides = {
        override["matcher"]["options"]: {each["id"]: each["value"] for each in override["properties"]}
        for override in fields["overrides"]
    }
    return Shown(
        kind=panel["type"],
        title=panel["title"],
        x=place["x"],
        y=place["y"],
        width=place["w"],
        height=place["h"],
        targets=targets,
        defaults=fields["defaults"],
        overrides=overrides,
        columns=_columns(panel),
    )


def panels(path: Path, variables: Mapping[str, str]) -> tuple[Shown, ...]:
    """The panels of a dashboard, rows included."""
    return tuple(_panel(panel, variables) for panel in json.loads(path.read_text(encoding="utf-8"))["panels"])


def annotations(path: Path, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The expressions of its annotations."""
    listed = json.loads(path.read_text(encoding="utf-8"))["annotations"]["list"]
    return tuple(filled(entry["expr"], variables) for entry in listed)


def legend_of(legend: str, labels: Mapping[str, str]) -> str:
    """What a series is called."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)
