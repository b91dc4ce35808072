"""The few kinds of panels that the dashboards are made of, as Grafana's classic JSON (Grafana 10 and newer). Pure.

No ids are fixed but those of the panels, and the data source is a variable, so that they can be imported anywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
SCHEMA_VERSION = 39
"""Of Grafana 10.4; newer ones migrate it by themselves."""

MODE_COLOURS = {"QuantizedDraft": "blue", "Draft": "green", "NGram": "yellow", "Off": "#8e8e8e"}
MODE_NUMBERS = {"Off": 1, "NGram": 2, "Draft": 3, "QuantizedDraft": 4}
"""A state timeline of one row needs one number."""


@dataclass(frozen=True)
class Query:
    """One PromQL expression and what its series are called."""

    expression: str
    legend: str = ""
    is_now: bool = False
    """Asked for the end of the time range only."""


@dataclass(frozen=True)
class Panel:
    """What one panel asks and shows; its place comes from the order."""

    kind: str
    title: str
    queries: Sequence[Query]
    description: str = ""
    width: int = 8
    height: int = 8
    unit: str = "short"
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    """Of `fieldConfig.defaults.custom`."""
    defaults: Json = field(default_factory=dict)
    """The rest of `fieldConfig.defaults`."""
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()


def lines(title: str, *queries: Query, stacked: bool = False, **rest: Any) -> Panel:
    """Lines over time; gaps stay gaps, because no data is not a value."""
    custom = {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 30 if stacked else 0, "spanNulls": False}
    custom["stacking"] = {"mode": "normal" if stacked else "none", "group": "A"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "none"}}
    return Panel("timeseries", title, queries, options=options, custom=custom | rest.pop("custom", {}), **rest)


def stat(title: str, expression: str, *, steps: Sequence[tuple[float | None, str]] = (), **rest: Any) -> Panel:
    """One number of now. `steps`: from which value on which colour."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value",
        "justifyMode": "auto",
    }
    defaults = {"thresholds": thresholds(*(steps or ((None, "text"),)))} | rest.pop("defaults", {})
    rest = {"width": 3, "height": 4} | rest
    return Panel("stat", title, (Query(expression, is_now=True),), options=options, defaults=defaults, **rest)


def bars(title: str, query: Query, *, steps: Sequence[tuple[float | None, str]], **rest: Any) -> Panel:
    """One horizontal bar per series, of now."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
    }
    defaults = {"thresholds": thresholds(*steps)} | rest.pop("defaults", {})
    return Panel("bargauge", title, (query,), options=options, defaults=defaults, **rest)


def table(title: str, expression: str, columns: Mapping[str, str], *, value: str = "", **rest: Any) -> Panel:
    """A row per series. `columns`: label -> heading, in order; `value` is the heading of the number, empty: hidden."""
    order = {label: place for place, label in enumerate((*columns, "Value"))}
    hidden = {"Time": True} | ({} if value else {"Value": True})
    renamed = dict(columns) | ({"Value": value} if value else {})
    organize = {"excludeByName": hidden, "indexByName": order, "renameByName": renamed}
    return Panel(
        "table",
        title,
        (Query(expression, is_now=True),),
        options={"showHeader": True, "cellHeight": "sm"},
        transformations=({"id": "organize", "options": organize},),
        **rest,
    )


def timeline(title: str, query: Query, mappings: Sequence[tuple[float, str, str]], **rest: Any) -> Panel:
    """A coloured band over time. `mappings`: number, text, colour."""
    options = {"mergeValues": True, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9}
    options["legend"] = {"displayMode": "list", "placement": "bottom", "showLegend": False}
    return Panel(
        "state-timeline",
        title,
        (query,),
        options=options,
        custom={"fillOpacity": 80, "lineWidth": 0},
        defaults={"mappings": mapped(mappings)},
        **rest,
    )


def mapped(mappings: Sequence[tuple[float, str, str]]) -> list[Json]:
    """Numbers shown as words."""
    words = {
        f"{number:g}": {"text": text, "color": colour, "index": place}
        for place, (number, text, colour) in enumerate(mappings)
    }
    return [{"type": "value", "options": words}]


def thresholds(*steps: tuple[float | None, str]) -> Json:
    """From a value on, a colour; the first step has no value."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def named(series: str, **properties: Any) -> Json:
    """Properties of the series with one name: `lineWidth=1` is `custom.lineWidth`, `color="red"` a fixed colour."""
    listed = [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": value}}
        if name == "color"
        else {"id": f"custom.{name}", "value": value}
        for name, value in properties.items()
    ]
    return {"matcher": {"id": "byName", "options": series}, "properties": listed}


def dashed(series: str, colour: str = "red") -> Json:
    """A limit."""
    return named(series, color=colour, lineWidth=1, lineStyle={"fill": "dash", "dash": [8, 6]})


def between(low: str, high: str, colour: str) -> tuple[Json, Json]:
    """Two series as one filled interval."""
    return (
        named(low, color=colour, lineWidth=1, lineInterpolation="stepAfter"),
        named(high, color=colour, lineWidth=1, lineInterpolation="stepAfter", fillBelowTo=low, fillOpacity=25),
    )


def _targets(panel: Panel) -> list[Json]:
    return [
        {
            "refId": chr(ord("A") + place),
            "datasource": SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend or "__auto",
            "instant": query.is_now,
            "range": not query.is_now,
            "format": "table" if panel.kind == "table" else "time_series",
        }
        for place, query in enumerate(panel.queries)
    ]


def _json(panel: Panel, number: int, x: int, y: int) -> Json:
    defaults: Json = {"unit": panel.unit, "custom": panel.custom, **panel.defaults}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": _targets(panel),
        "options": panel.options,
        "fieldConfig": {"defaults": defaults, "overrides": list(panel.overrides)},
        "transformations": list(panel.transformations),
    }


def _row(title: str, number: int, y: int) -> Json:
    grid = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}


def laid_out(items: Iterable[str | Panel]) -> list[Json]:
    """Panels from left to right and top to bottom; a text begins a row of its own with that title."""
    found: list[Json] = []
    x = y = height = 0
    for number, item in enumerate(items, start=1):
        if isinstance(item, str) or x + item.width > COLUMNS:
            x, y, height = 0, y + height, 0
        if isinstance(item, str):
            found.append(_row(item, number, y))
            y += 1
            continue
        found.append(_json(item, number, x, y))
        x, height = x + item.width, max(height, item.height)
    return found


def label_variable(name: str, label: str, metric: str, of: str, *, is_multiple: bool = False) -> Json:
    """A variable that lists the values of a label."""
    everything = {"includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}, {of})", "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": is_multiple,
        **(everything if is_multiple else {"includeAll": False}),
    }


def window_variable() -> Json:
    """Over how long rates are taken; `guard.window` is 5 minutes unless the spec says otherwise."""
    values = ("1m", "5m", "15m", "1h")
    options = [{"text": value, "value": value, "selected": value == "5m"} for value in values]
    current = {"text": "5m", "value": "5m"}
    return {
        "type": "custom",
        "name": "window",
        "label": "Window",
        "query": ",".join(values),
        "options": options,
        "current": current,
        "multi": False,
        "includeAll": False,
    }


def dashboard(uid: str, title: str, description: str, *, variables: list[Json], **rest: Any) -> Json:
    """A whole dashboard; `rest` is its panels, annotations, links and time range."""
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "multi": False}
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["specdecode", "vllm"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "templating": {"list": [{**source, "includeAll": False}, *variables]},
        **rest,
    }
