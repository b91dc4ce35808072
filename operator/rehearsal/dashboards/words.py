"""Numbers as Grafana writes them, for the few units that the dashboards use."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_COUNTS = ((1e9, "Bil"), (1e6, "Mil"), (1e3, "K"))
_PER_SECOND = {"reqps": " req/s", "ops": " ops/s", "cps": " c/s"}


def _seconds(value: float) -> str:
    if value == 0 or abs(value) >= 1:
        return f"{value:.3g} s"
    return f"{1000 * value:.3g} ms"


def _sized(value: float, steps: Sequence[tuple[float, str]], digits: int) -> str:
    for size, name in steps:
        if abs(value) >= size:
            return f"{value / size:.{digits}f} {name}"
    return f"{value:.3g}"


def _in_unit(value: float, unit: str, decimals: int | None) -> str:
    match unit:
        case "percentunit":
            text = f"{100 * value:.{decimals or 0}f} %"
        case "s":
            text = _seconds(value)
        case "bytes":
            text = _sized(value, _SIZES, 1)
        case "dateTimeAsIso":
            text = datetime.fromtimestamp(value / 1000, UTC).strftime("%H:%M:%S")
        case "suffix:x":
            text = f"{value:.2f}x"
        case _:
            text = _sized(value, _COUNTS, 0) if decimals is None else f"{value:.{decimals}f}"
            text += _PER_SECOND.get(unit, "")
    return text


def written(value: float, defaults: Mapping[str, Any]) -> str:
    """A value of a panel, by its mappings and its unit."""
    for mapping in defaults.get("mappings", ()):
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    return _in_unit(value, defaults.get("unit", "short"), defaults.get("decimals"))


def colour_of(value: float, defaults: Mapping[str, Any], otherwise: str = "text") -> str:
    """What the mappings, or else the thresholds, say."""
    for mapping in defaults.get("mappings", ()):
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"].get("color", otherwise))
    found = otherwise
    for step in defaults.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return found
