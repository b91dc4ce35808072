"""Numbers and sentences as people read them, and the durations of status read back.

Durations in status have four significant digits, so that a baseline that went through status is still good to a
fraction of a per cent: limits and steps are per cents.
"""

import json
import math
import re

from specdecode.api.status import Bounds
from specdecode.api.vocabulary import ANNOTATION_RETRY, Mode

UNBOUNDED = "unbounded"
"""An upper bound in the last, infinite bucket."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s)")


def _digits(value: float, digits: int) -> str:
    return f"{value:.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _split(seconds: float, digits: int) -> tuple[str, str]:
    return (_digits(seconds * 1000, digits), "ms") if seconds < 1 else (_digits(seconds, digits), "s")


def duration_text(seconds: float) -> str:
    """A duration for status: `47ms`, `8.812ms`, `1.5s`."""
    return "".join(_split(seconds, 4))


def seconds_in(text: str) -> float:
    """Seconds of what `duration_text` wrote; NaN for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return math.nan
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def bounds_status(bounds: tuple[float, float]) -> Bounds:
    """An interval in seconds for status."""
    low, high = bounds
    return Bounds(low=duration_text(low), high=UNBOUNDED if math.isinf(high) else duration_text(high))


def bounds_in(bounds: Bounds | None) -> tuple[float, float] | None:
    """The interval in seconds that `bounds_status` wrote."""
    if bounds is None:
        return None
    return seconds_in(bounds.low), math.inf if bounds.high == UNBOUNDED else seconds_in(bounds.high)


def spoken(seconds: float) -> str:
    """A duration in a sentence: `47 ms`, `8.81 ms`, `1.5 s`."""
    return " ".join(_split(seconds, 3))


def span(seconds: float) -> str:
    """A window as Kubernetes writes it: `20s`, `5m`, `1h`."""
    for unit_seconds, unit in ((3600, "h"), (60, "m")):
        if seconds >= unit_seconds and seconds % unit_seconds == 0:
            return f"{seconds / unit_seconds:.0f}{unit}"
    return f"{seconds:g}s"


def count(number: float) -> str:
    """A count: `3412`."""
    return f"{number:.0f}"


def percent(ratio: float) -> str:
    """A ratio with one decimal: `1.3 %`."""
    return f"{100 * ratio:.1f} %"


def _on_one_line(text: str) -> str:
    """Without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def beginning(text: str, limit: int) -> str:
    """Foreign text on one line, without control characters. Of a long one the beginning stays."""
    line = _on_one_line(text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def shortened(text: str, limit: int) -> str:
    """Foreign text on one line, without control characters. Of a long one the end stays: errors come last."""
    line = _on_one_line(text)
    return line if len(line) <= limit else f"…{line[len(line) - limit + 1 :]}"


def quoted(text: str) -> str:
    """Foreign text inside a sentence."""
    return json.dumps(shortened(text, 80), ensure_ascii=False)


_BECOMES = {
    Mode.DRAFT: "the draft runs unquantised",
    Mode.NGRAM: "n-gram speculation runs instead",
    Mode.OFF: "speculation is turned off",
}


def consequence(mode: Mode, target: Mode | None, *, is_enforced: bool) -> str:
    """What a finding leads to and what a person can do; the second half of its sentence."""
    if target is not None and is_enforced:
        becomes = _BECOMES.get(target, f"{target} runs instead")
        return f"{becomes}; change the spec or set {ANNOTATION_RETRY} to try again"
    if target is not None:
        return f"the guard recommends {target}; set guard.action to Enforce to let it step, or change the spec"
    if mode is Mode.OFF:
        return "speculation is off already and is not the cause; look at the engine and its load"
    return f"NoFallbackFits: no other mode of this spec fits, so {mode} stays; change the spec or give it more memory"
