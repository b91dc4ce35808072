"""Everything of an engine release that the operator builds on, as one value, and what differs between two, in words.

What the operator knows comes from its own lists; what is installed, from the release itself.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_ALIKE = 0.6
"""Two names of the same shape that agree this far are taken for one that was renamed (`difflib`)."""

Things = Mapping[str, str]
"""What there is by name, each with its shape in words."""


@dataclass(frozen=True)
class Section:
    """One kind of thing that a release has."""

    things: Things
    used: frozenset[str] = frozenset()
    """Those that the operator relies on; the others are known and not used."""
    where: str = ""
    """The file that lists what the operator knows."""


@dataclass(frozen=True)
class Surface:
    """A release as the operator meets it."""

    release: str
    sections: Mapping[str, Section]


@dataclass(frozen=True)
class Renamed:
    """A thing that has another name, probably."""

    old: str
    new: str


@dataclass(frozen=True)
class Difference:
    """What one section has become."""

    title: str
    where: str
    added: Things = field(default_factory=dict)
    removed: Things = field(default_factory=dict)
    renamed: tuple[Renamed, ...] = ()
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Shape before and after."""
    used: frozenset[str] = frozenset()

    @property
    def is_nothing(self) -> bool:
        return not (self.added or self.removed or self.renamed or self.changed)

    def lines(self) -> Iterator[str]:
        """What is gone or different first: that breaks something; what is new does not."""
        yield f"{self.title} (known from {self.where})"
        for name, shape in sorted(self.removed.items()):
            yield f"  removed  {name}{self._mark(name)}: {shape}"
        for pair in self.renamed:
            yield f"  renamed  {pair.old} -> {pair.new}{self._mark(pair.old)}"
        for name, (old, new) in sorted(self.changed.items()):
            yield f"  changed  {name}{self._mark(name)}: {_change(old, new)}"
        for name, shape in sorted(self.added.items()):
            yield f"  added    {name}: {shape}"

    def _mark(self, name: str) -> str:
        return " (USED BY THE OPERATOR)" if name in self.used else ""


def _change(old: str, new: str) -> str:
    """Only the words that differ, where both are lists of words."""
    before, after = old.replace(",", "").split(), new.replace(",", "").split()
    gone = [word for word in before if word not in after]
    come = [word for word in after if word not in before]
    shared = set(before) & set(after)
    if len(shared) < 2 or not (gone or come):
        return f"{old} -> {new}"
    return "; ".join(
        part
        for part in (f"no longer {', '.join(gone)}" if gone else "", f"now {', '.join(come)}" if come else "")
        if part
    )


def _renames(removed: Things, added: Things) -> Iterator[Renamed]:
    left = dict(added)
    for old, shape in sorted(removed.items()):
        same = [name for name, other in left.items() if other == shape]
        near = difflib.get_close_matches(old, same, n=1, cutoff=_ALIKE)
        if near:
            del left[near[0]]
            yield Renamed(old, near[0])


def _difference(title: str, known: Section, installed: Section) -> Difference:
    before, after = known.things, installed.things
    removed = {name: before[name] for name in before.keys() - after.keys()}
    added = {name: after[name] for name in after.keys() - before.keys()}
    renamed = tuple(_renames(removed, added))
    return Difference(
        title=title,
        where=known.where,
        added={name: added[name] for name in added.keys() - {pair.new for pair in renamed}},
        removed={name: removed[name] for name in removed.keys() - {pair.old for pair in renamed}},
        renamed=renamed,
        changed={name: (before[name], after[name]) for name in before.keys() & after if before[name] != after[name]},
        used=known.used,
    )


def differences(known: Surface, installed: Surface) -> tuple[Difference, ...]:
    """The sections that differ."""
    found = (_difference(title, known.sections[title], installed.sections[title]) for title in known.sections)
    return tuple(difference for difference in found if not difference.is_nothing)


def report(known: Surface, installed: Surface) -> str:
    """What changed, for a person; empty: nothing did."""
    found = differences(known, installed)
    if not found:
        return ""
    head = f"vLLM {installed.release} is not what the operator knows as vLLM {known.release}:"
    return "\n".join((head, *(line for difference in found for line in difference.lines())))
