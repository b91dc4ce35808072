"""What kstatus (sigs.k8s.io/cli-utils, as Flux and `helm --wait` use it) says of a custom resource, written anew from
its rules: deletion, then generation, then the first of Reconciling and Stalled that is True, then Ready, and without
any of them Current.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Kstatus(StrEnum):
    """The answers that a custom resource can get."""

    CURRENT = "Current"
    FAILED = "Failed"
    IN_PROGRESS = "InProgress"
    TERMINATING = "Terminating"


_ABNORMAL = {"Reconciling": Kstatus.IN_PROGRESS, "Stalled": Kstatus.FAILED}
_READY = {"True": Kstatus.CURRENT, "False": Kstatus.IN_PROGRESS, "Unknown": Kstatus.IN_PROGRESS}


def _is_behind(body: Mapping[str, Any]) -> bool:
    """A status without observedGeneration is not behind: kstatus cannot know."""
    generation = body["metadata"].get("generation")
    observed = (body.get("status") or {}).get("observedGeneration")
    return generation is not None and observed is not None and observed != generation


def compute(body: Mapping[str, Any]) -> Kstatus:
    """The status of a resource as stored."""
    if body["metadata"].get("deletionTimestamp"):
        return Kstatus.TERMINATING
    if _is_behind(body):
        return Kstatus.IN_PROGRESS
    conditions = (body.get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] in _ABNORMAL and condition["status"] == "True":
            return _ABNORMAL[condition["type"]]
    ready = (_READY[condition["status"]] for condition in conditions if condition["type"] == "Ready")
    return next(ready, Kstatus.CURRENT)
