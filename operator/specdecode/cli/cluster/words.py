"""Moments and durations as a person reads them who wants to know how long ago, and how long still."""

from datetime import datetime

from specdecode.api.status import rfc3339


def length(seconds: float) -> str:
    """A duration with at most two units: `45s`, `2m30s`, `6h`, `3d4h`."""
    told: list[str] = []
    left = max(0, round(seconds))
    for unit_seconds, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, unit_seconds)
        if count or told:
            told.append(f"{count}{unit}")
        if len(told) == 2:
            break
    return "".join(part for part in told if not part.startswith("0")) or "0s"


def ago(moment: datetime, now: datetime) -> str:
    """`6h ago`; a moment that lies ahead, because clocks differ, is now."""
    seconds = (now - moment).total_seconds()
    return f"{length(seconds)} ago" if seconds >= 1 else "just now"


def ahead(moment: datetime, now: datetime) -> str:
    """`in 4m (2026-11-22T18:30:00Z)`."""
    seconds = (moment - now).total_seconds()
    when = f"in {length(seconds)}" if seconds >= 1 else "now"
    return f"{when} ({rfc3339(moment)})"


def dated(moment: datetime, now: datetime) -> str:
    """`6h ago (2026-11-22T12:00:00Z)`."""
    return f"{ago(moment, now)} ({rfc3339(moment)})"
