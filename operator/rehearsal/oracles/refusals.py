"""A bad input that nothing says is bad is a bug, however harmless what runs."""

from collections.abc import Mapping
from typing import Any


def unseen_refusals(body: Mapping[str, Any], *, words: str) -> list[str]:
    """Why a person could not see that this resource was refused; empty: they can.

    Some condition must be false or stalled, be about this very spec, and name in its message what is wrong.
    """
    status = body.get("status") or {}
    generation = body["metadata"]["generation"]
    told = [
        condition
        for condition in status.get("conditions") or ()
        if (condition["type"], condition["status"]) in (("Planned", "False"), ("Stalled", "True"))
    ]
    if not told:
        return ["no condition says that it was refused"]
    if all(condition.get("observedGeneration") != generation for condition in told):
        return ["what the conditions say is about an older spec"]
    if not any(words in condition.get("message", "") for condition in told):
        return [f"no message says {words!r}: {[condition.get('message', '') for condition in told]}"]
    return []
