"""End states: all objects of a run, held against several runs in which nothing went wrong.

What differs between the reference runs themselves is not determined by the input, and is masked; nobody writes a list
of such fields. After Sieve (Sun et al., OSDI 2022), which found 45 of 46 bugs by comparing states or writes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

State = Mapping[str, Any]
"""Bodies by `Kind name`."""
Path = tuple[str | int, ...]


def renamed(state: State, name: str, to: str) -> State:
    """The state as it would be under another name, so that runs side by side can be compared."""
    text = json.dumps(dict(state))
    read: dict[str, Any] = json.loads(text.replace(name, to))
    return read


def _paths(one: Any, other: Any, at: Path = ()) -> Iterable[Path]:
    """Where two values differ, as deep as they have the same form."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            if key in one and key in other:
                yield from _paths(one[key], other[key], (*at, key))
            else:
                yield (*at, key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _paths(*pair, (*at, index))
    elif one != other:
        yield at


def _value(node: Any, path: Path) -> Any:
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return None
    return node


def differences(expected: State, actual: State, masked: Iterable[Path] = ()) -> list[str]:
    """What is not as expected, one line a field, without what is masked or stands below it."""
    hidden = set(masked)

    def is_hidden(path: Path) -> bool:
        return any(path[:length] in hidden for length in range(1, len(path) + 1))

    return [
        f"{'.'.join(map(str, path))}: expected {_value(expected, path)!r}, found {_value(actual, path)!r}"
        for path in _paths(expected, actual)
        if not is_hidden(path)
    ]


@dataclass(frozen=True)
class Reference:
    """The state that runs without faults end in, and where they differ among themselves."""

    state: State
    masked: frozenset[Path]

    @classmethod
    def of(cls, runs: Sequence[State]) -> "Reference":
        """Of at least three runs: two may agree by chance in what is given by the second or by counting."""
        if len(runs) < 3:
            raise ValueError("a reference needs at least three runs")
        first, *others = runs
        return cls(first, frozenset(path for other in others for path in _paths(first, other)))

    def differs(self, actual: State) -> list[str]:
        """What is not as in the reference runs."""
        return differences(self.state, actual, self.masked)
