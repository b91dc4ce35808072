"""The series of all resources as text: one small record per resource, and the page made of them in pieces.

A client library's gauge keeps an object per series, and ten thousand resources have some four hundred thousand. Here a
resource costs its numbers and a reference to all else, which resources of the same kind share: a series without its
owner and its number is the same text for all of them.

    figures ---> record: shape (shared) + numbers ---> lines, family by family, a few hundred resources at a time

Pure, but for the records.
"""

import itertools
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from prometheus_client.utils import floatToGoString

from specdecode.resource_metrics import FAMILIES, ROLLBACKS, Family, Figures, Rows

_STEP = 250
"""Resources between two pieces: some 0.1 MB of text. Measured: 1.7 ms at most, compression included."""
_SHARED = 1024
"""Kinds that are remembered to be shared. More are right too, but each resource then holds its own."""

number_as_text: Callable[[float], str] = floatToGoString

Part = tuple[str, ...]
"""The series of one family. Of flags, what stands between the owners: `owner.join(part)` are the lines. Of numbers,
what stands before and behind the owner, by turns; the number comes then."""
Shape = tuple[Part | None, ...]
"""By the order of `FAMILIES`."""


class Record(NamedTuple):
    """What one resource shows."""

    shape: Shape
    numbers: "array[float]"
    """In the order of the page; flags have none."""


class Count(NamedTuple):
    """A counter of one resource."""

    value: float
    created: float
    """Unix time of the first step."""


Counts = Mapping[str, Count]
"""By reason. Like a record never changed, but replaced: a page that is under way still has it."""
Key = tuple[str, str]
_Item = TypeVar("_Item")


def escaped(text: str) -> str:
    """As the format wants it between quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _owner(key: Key) -> str:
    return f'name="{escaped(key[1])}",namespace="{escaped(key[0])}"'


def _around(series: str, labels: Sequence[str], values: Sequence[str]) -> tuple[str, str]:
    """A line up to its owner, and from there to its number. Labels are sorted, and none lies between name and
    namespace.
    """
    pairs = sorted(zip(labels, values, strict=True))
    before = "".join(f'{label}="{escaped(value)}",' for label, value in pairs if label < "name")
    behind = "".join(f',{label}="{escaped(value)}"' for label, value in pairs if label > "name")
    return f"{series}{{{before}", f"{behind}}} "


@lru_cache(_SHARED)
def _part_of_flags(family: Family, rows: Rows) -> Part:
    between = [""]
    for values, number in rows:
        head, tail = _around(family.name, family.labels, values)
        between[-1] += head
        between.append(f"{tail}{number_as_text(number)}\n")
    return tuple(between)


@lru_cache(_SHARED)
def _part_of_numbers(family: Family, labels: tuple[tuple[str, ...], ...]) -> Part:
    return tuple(text for values in labels for text in _around(family.name, family.labels, values))


@lru_cache(_SHARED)
def _shared(shape: Shape) -> Shape:
    return shape


def record_of(figures: Figures) -> Record:
    """The same in less memory."""
    parts: list[Part | None] = []
    numbers: list[float] = []
    for family in FAMILIES:
        rows = figures.get(family, ())
        if not rows:
            parts.append(None)
        elif family.is_flag:
            parts.append(_part_of_flags(family, rows))
        else:
            parts.append(_part_of_numbers(family, tuple(values for values, _ in rows)))
            numbers.extend(number for _, number in rows)
    return Record(_shared(tuple(parts)), array("d", numbers))


_TOTAL, _CREATED = (f"{ROLLBACKS.name}_total", 0), (f"{ROLLBACKS.name}_created", 1)
"""The series of a counter, and the fields of `Count` that they show."""


def _steps(all_of_them: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (all_of_them[start : start + _STEP] for start in range(0, len(all_of_them), _STEP))


def _heading(name: str, family: Family, kind: str) -> str:
    """No help text has a character that would have to be escaped."""
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n"


class ResourcePage:
    """What all resources show. Everything happens in one thread."""

    def __init__(self) -> None:
        self._shown: dict[Key, Record] = {}
        self._rollbacks: dict[Key, Counts] = {}

    def show(self, namespace: str, name: str, figures: Figures) -> None:
        """From now on a resource shows this and nothing else."""
        self._shown[namespace, name] = record_of(figures)

    def count_rollback(self, namespace: str, name: str, reason: str, now: float) -> None:
        """A resource has stepped down once more; `now` is a Unix time."""
        counts = self._rollbacks.get((namespace, name), {})
        count = counts.get(reason) or Count(0.0, now)
        self._rollbacks[namespace, name] = {**counts, reason: Count(count.value + 1, count.created)}

    def forget(self, namespace: str, name: str) -> None:
        """Nothing is left of a resource."""
        self._shown.pop((namespace, name), None)
        self._rollbacks.pop((namespace, name), None)

    def pieces(self, *, is_openmetrics: bool) -> Iterator[str]:
        """The page of this moment, whatever is shown or forgotten while it is taken. A piece may be empty."""
        counters = _openmetrics_counters if is_openmetrics else _text_counters
        gauges = _Gauges(list(self._shown), list(self._shown.values()))
        return itertools.chain(gauges.pieces(), counters(list(self._rollbacks.items())))


class _Gauges:
    """The gauges of a moment. Lists of what exists already: ten thousand new tuples would be a full garbage collection
    at every scrape.
    """

    def __init__(self, keys: Sequence[Key], records: Sequence[Record]) -> None:
        self._keys = keys
        self._records = records
        self._owners: list[str] = []
        self._written = [0] * len(records)
        """How many numbers of each are on the page already."""

    def pieces(self) -> Iterator[str]:
        for some in _steps(self._keys):
            self._owners.extend(map(_owner, some))
            yield ""
        for index, family in enumerate(FAMILIES):
            yield _heading(family.name, family, family.kind)
            lines = self._flags if family.is_flag else self._numbers
            for places in _steps(range(len(self._records))):
                yield "".join(lines(index, places))

    def _flags(self, index: int, places: Sequence[int]) -> Iterator[str]:
        for place in places:
            part = self._records[place].shape[index]
            if part is not None:
                yield self._owners[place].join(part)

    def _numbers(self, index: int, places: Sequence[int]) -> Iterator[str]:
        for place in places:
            shape, numbers = self._records[place]
            part = shape[index]
            if part is None:
                continue
            owner, written = self._owners[place], self._written[place]
            heads, tails = part[::2], part[1::2]
            for head, tail, number in zip(heads, tails, numbers[written:], strict=False):
                yield f"{head}{owner}{tail}{number_as_text(number)}\n"
            self._written[place] = written + len(heads)


def _counter_lines(all_counts: Sequence[tuple[Key, Counts]], *fields: tuple[str, int]) -> Iterator[str]:
    """Each counter's fields, by the names of their series."""
    for some in _steps(all_counts):
        yield "".join(
            f"{name}{head}{_owner(key)}{tail}{number_as_text(count[field])}\n"
            for key, counts in some
            for reason, count in counts.items()
            for head, tail in (_around("", ROLLBACKS.labels, (reason,)),)
            for name, field in fields
        )


def _text_counters(all_counts: Sequence[tuple[Key, Counts]]) -> Iterator[str]:
    """When each was created is a gauge of its own."""
    yield _heading(_TOTAL[0], ROLLBACKS, ROLLBACKS.kind)
    yield from _counter_lines(all_counts, _TOTAL)
    if all_counts:
        yield _heading(_CREATED[0], ROLLBACKS, "gauge")
        yield from _counter_lines(all_counts, _CREATED)


def _openmetrics_counters(all_counts: Sequence[tuple[Key, Counts]]) -> Iterator[str]:
    """When each was created stands beside it."""
    yield _heading(ROLLBACKS.name, ROLLBACKS, ROLLBACKS.kind)
    yield from _counter_lines(all_counts, _TOTAL, _CREATED)
