"""Whether a live object already says all that we would say, so that a converged object costs no write. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def covers(live: Any, wanted: Any) -> bool:
    """Whether `live` holds everything that `wanted` says; what the server or others added does not matter.

    Lists are compared item by item; for ports, containers and the like the server keeps our order.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and covers(live[key], value) for key, value in wanted.items() if not _is_empty(value)
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(live, Sequence)
            and not isinstance(live, str)
            and len(live) == len(wanted)
            and all(covers(there, here) for there, here in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)


def _is_empty(value: Any) -> bool:
    """The server drops empty maps and lists that we may send."""
    return value is None or (isinstance(value, Mapping | list) and not value)
