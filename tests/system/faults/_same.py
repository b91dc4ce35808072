"""Two end states side by side, without what differs between any two of them: identities and what is hashed with them,
times, counters of edits.
"""

import json
from typing import Any

from system.faults._admin import Body

_DIFFERS = frozenset(
    {
        "at",
        "clusterIP",
        "clusterIPs",
        "creationTimestamp",
        "deployment.kubernetes.io/revision",
        "generation",
        "lastTransitionTime",
        "lastUpdateTime",
        "managedFields",
        "observedGeneration",
        "resourceVersion",
        "specdecode.io/intent-hash",
        "selfLink",
        "since",
        "uid",
    }
)


def masked(node: Any) -> Any:
    """The same without what differs."""
    if isinstance(node, dict):
        return {key: masked(value) for key, value in node.items() if key not in _DIFFERS}
    if isinstance(node, list):
        return [masked(item) for item in node]
    return node


def in_namespace(body: Body, namespace: str, other: str) -> Body:
    """As it would be in another namespace."""
    read: Body = json.loads(
        json.dumps(body).replace(f'"{namespace}"', f'"{other}"').replace(f"{namespace}/", f"{other}/")
    )
    return read


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """What is not the same, field by field."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line
            for index, pair in enumerate(zip(one, other, strict=True))
            for line in differences(*pair, f"{path}[{index}]")
        ]
    return [] if one == other else [f"{path}: {one!r} and {other!r}"]
