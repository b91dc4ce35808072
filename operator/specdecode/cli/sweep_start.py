"""`specdecode sweep -f FILE --start`: from a file to the command lines of the engines that are started."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.api.vocabulary import Mode
from specdecode.cli.documents import read_resources
from specdecode.cli.planning import planned
from specdecode.cli.sweep_options import numbers_of
from specdecode.lookup.find import Sources
from specdecode.plan.startup import startup_budget_seconds
from specdecode.plan.types import Plan
from specdecode.sweep.journal import Side
from specdecode.sweep.launcher import Command, check
from specdecode.sweep.targets import role_of
from specdecode.sweep.variants import Variant, read_modes, variants_of, with_numbers


@dataclass(frozen=True)
class Engines:
    """What is started, in this order."""

    started: tuple[tuple[Variant, Command], ...]
    asked: Mapping[str, str]
    """By option, for the journal."""
    sides: Mapping[str, Side]


@dataclass(frozen=True)
class Asked:
    """What is to be started."""

    file: str
    modes: str | None
    numbers: str | None
    python: str
    sources: Sources


def engines_of(asked: Asked) -> Engines | Problem | None:
    """The engines to start; a Problem, or None after a complaint, when that cannot be."""
    modes, numbers = read_modes(asked.modes), numbers_of(asked.numbers)
    if isinstance(modes, Problem):
        return modes
    if isinstance(numbers, Problem):
        return numbers
    resource = _only_resource(asked)
    if resource is None or isinstance(resource, Problem):
        return resource
    variants = _variants(resource, modes, numbers, asked.sources)
    if variants is None or isinstance(variants, Problem):
        return variants
    started = tuple((variant, _command(variant, resource, asked)) for variant in variants)
    for _, command in started:
        problem = check(command)
        if problem is not None:
            return problem
    side = Side(asked.file, resource.spec.model.served_name or resource.spec.model.name, variants[0].engine_version)
    roles = {role_of(variant): side for variant in variants}
    return Engines(started, {"start": _digest(started)}, roles)


def _only_resource(asked: Asked) -> SpecDecodeDeployment | Problem | None:
    found = read_resources(asked.file)
    if isinstance(found, Problem):
        return found
    if len(found) > 1:
        labels = ", ".join(label for label, _ in found)
        return Problem("--file", asked.file, f"holds several: {labels}; name a file with one")
    result = planned(*found[0], asked.sources)
    return None if result is None else result[0]


def _variants(
    resource: SpecDecodeDeployment, modes: Sequence[Mode], numbers: Sequence[int], sources: Sources
) -> tuple[Variant, ...] | Problem | None:
    changed = with_numbers(resource, numbers)
    if isinstance(changed, Problem):
        return changed
    plans: list[tuple[int, Plan]] = []
    for number, each in changed:
        result = planned(f"{resource.metadata.name} with {number} tokens", each, sources)
        if result is None:
            return None
        plans.append((number, result[1]))
    return variants_of(plans, modes)


def _command(variant: Variant, resource: SpecDecodeDeployment, asked: Asked) -> Command:
    """Secrets of the cluster are not on this machine; what they hold comes from our own environment."""
    variables = {each.name: each.value for each in resource.spec.engine.env if each.value is not None}
    return Command(
        name=variant.name,
        python=asked.python,
        arguments=variant.plan.arguments,
        variables=variables,
        start_seconds=startup_budget_seconds(variant.plan.load_bytes),
        models=None if asked.sources.models_directory is None else Path(asked.sources.models_directory).absolute(),
    )


def _digest(started: Sequence[tuple[Variant, Command]]) -> str:
    """Names of the engines, and a digest of all that is started."""
    said = [[command.here(0), sorted(command.variables.items())] for _, command in started]
    names = ",".join(variant.name for variant, _ in started)
    return f"{names}:{hashlib.sha256(repr(said).encode()).hexdigest()[:12]}"
