"""How often each object was created, changed and deleted, from the audit log: never from the client's own counters.

A server-side apply is a PATCH; whether it created is told by the answer 201.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Counts = Mapping[tuple[str, str], int]
"""Times by (`create` | `patch` | `update` | `delete`, `resource/subresource name`), done and not refused."""

_CREATED, _REFUSED = 201, 400
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def counts_of(entries: Iterable[Mapping[str, Any]], *, user: str, namespace: str, name: str = "") -> Counts:
    """Of one user in one namespace, and of the objects whose names begin with `name`."""
    found: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        reference, code = entry.get("objectRef") or {}, (entry.get("responseStatus") or {}).get("code", 0)
        is_theirs = entry["user"].get("username") == user and reference.get("namespace") == namespace
        if not is_theirs or entry["verb"] not in _WRITES or code >= _REFUSED:
            continue
        if not str(reference.get("name", "")).startswith(name):
            continue
        verb = "create" if code == _CREATED else entry["verb"]
        resource = "/".join(part for part in (reference["resource"], reference.get("subresource", "")) if part)
        found[verb, f"{resource} {reference.get('name', '')}"] += 1
    return dict(found)


def count_differences(expected: Counts, actual: Counts, *, verbs: Iterable[str]) -> list[str]:
    """Objects that were not written as often as expected, by these verbs."""
    asked = frozenset(verbs)
    return [
        f"{verb} {what}: expected {expected.get((verb, what), 0)}, found {actual.get((verb, what), 0)}"
        for verb, what in sorted(expected.keys() | actual.keys())
        if verb in asked and expected.get((verb, what), 0) != actual.get((verb, what), 0)
    ]
