"""Whether a live object already says all that we would say, so that a converged object costs no write. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from specdecode.manifests.service import service_digest

_KEYS = ("uid", "mountPath", "name")
"""By which the API server merges lists of owners, mounts, and of containers, variables, volumes and ports; the first
that all items have. Of other lists it takes the whole, in our order.
"""


def is_as_wanted(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an object that is no Deployment needs no write. Of a Service also what somebody added counts: another
    label in its selector hides every pod.
    """
    return covers(live, wanted) and (wanted["kind"] != "Service" or service_digest(live) == service_digest(wanted))


def covers(live: Any, wanted: Any) -> bool:
    """Whether `live` holds everything that `wanted` says; what the server or others added does not matter.

    An item that others added to a list that is merged, a sidecar, stays there however often we apply.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and covers(live[key], value) for key, value in wanted.items() if not _is_empty(value)
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(live, Sequence) and not isinstance(live, str) and _covers_list(live, wanted)
    return bool(live == wanted)


def _covers_list(live: Sequence[Any], wanted: Sequence[Any]) -> bool:
    key = next(
        (key for key in _KEYS if wanted and all(isinstance(each, Mapping) and key in each for each in wanted)), None
    )
    if key is None:
        return len(live) == len(wanted) and all(covers(there, here) for there, here in zip(live, wanted, strict=True))
    there = {each.get(key): each for each in live if isinstance(each, Mapping)}
    return all(each[key] in there and covers(there[each[key]], each) for each in wanted)


def _is_empty(value: Any) -> bool:
    """The server drops empty maps and lists that we may send."""
    return value is None or (isinstance(value, Mapping | list) and not value)
