"""Which plan of one file stands beside which of the other: the only ones, or those of the same name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import typer

from specdecode.api.resource import Problem
from specdecode.cli.complaints import INVALID, complain
from specdecode.cli.documents import read_resources
from specdecode.cli.planning import Planned, planned
from specdecode.lookup.find import Sources


@dataclass(frozen=True)
class Pair:
    """Two plans to be shown beside each other."""

    left: Planned
    right: Planned


def _leave(*problems: Problem) -> NoReturn:
    complain("nothing to compare", problems)
    raise typer.Exit(INVALID)


def _plans(file: str, sources: Sources) -> dict[tuple[str, str], Planned]:
    found = read_resources(file)
    if isinstance(found, Problem):
        _leave(found)
    results = [planned(f"{file}: {label}", parsed, sources) for label, parsed in found]
    plans: dict[tuple[str, str], Planned] = {}
    for result in results:
        if result is None:
            raise typer.Exit(INVALID)
        key = result[0].key
        if key in plans:
            _leave(Problem("file", file, f"holds {'/'.join(key)} more than once; give each resource a name of its own"))
        plans[key] = result
    return plans


def _alone(name: str, plans: Mapping[tuple[str, str], Planned], others: Mapping[tuple[str, str], Planned]) -> str:
    missing = ", ".join("/".join(key) for key in plans if key not in others)
    return f"{missing} of {name}" if missing else ""


def pairs_of(files: tuple[str, str], sources: Sources) -> tuple[Pair, ...]:
    """The pairs of two files. Complains and leaves when a resource has none beside it."""
    left, right = (_plans(file, sources) for file in files)
    if len(left) == len(right) == 1:
        return (Pair(next(iter(left.values())), next(iter(right.values()))),)
    alone = [text for text in (_alone(files[0], left, right), _alone(files[1], right, left)) if text]
    if alone:
        way_out = (
            "several resources are matched by namespace and name; use the same names, or one resource in each file"
        )
        _leave(Problem("--compare", " and ".join(alone), f"has none beside it in the other file; {way_out}"))
    return tuple(Pair(plan, right[key]) for key, plan in left.items())
