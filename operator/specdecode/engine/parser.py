"""What vLLM's own argument parser accepts, by release: names, values, choices, and the keys of the speculative config.

The lists were taken from the real parsers (`make_arg_parser` and the fields of `SpeculativeConfig`) of 46 releases from
0.6.0 to 0.33.0. A minor line counts from its first release; one that was not read (0.15) has the list of the line
before. It judges arguments and renders none.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from specdecode.api.resource import Problem
from specdecode.api.spec import ExtraArgument
from specdecode.engine.version import EngineVersion


class Takes(StrEnum):
    """How many values an argument takes, as the data file spells it."""

    NONE = "none"
    """A switch."""
    OPTIONAL = "optional"
    ONE = "one"
    """At least one; more than one cannot be written as `--name=value`."""


@dataclass(frozen=True)
class KnownArgument:
    """One argument of a release."""

    takes: Takes
    choices: tuple[str, ...]
    """Empty: any value."""

    @property
    def is_switch(self) -> bool:
        """Whether a value is refused."""
        return self.takes is Takes.NONE


@dataclass(frozen=True)
class _Period:
    """A span of releases in which an argument or key did not change."""

    since: EngineVersion
    gone_in: EngineVersion | None
    argument: KnownArgument

    def holds(self, version: EngineVersion) -> bool:
        return self.since <= version and (self.gone_in is None or version < self.gone_in)


def _period(entry: Mapping[str, str | list[str]]) -> _Period:
    gone_in = entry.get("gone_in")
    return _Period(
        since=EngineVersion.parse(str(entry["since"])),
        gone_in=None if gone_in is None else EngineVersion.parse(str(gone_in)),
        argument=KnownArgument(Takes(str(entry.get("value", Takes.ONE))), tuple(entry.get("choices", ()))),
    )


@cache
def _listed(section: str) -> Mapping[str, tuple[_Period, ...]]:
    text = resources.files("specdecode.engine").joinpath("data/vllm-arguments.json").read_text(encoding="utf-8")
    return {name: tuple(_period(entry) for entry in entries) for name, entries in json.loads(text)[section].items()}


@cache
def known_arguments(version: EngineVersion) -> Mapping[str, KnownArgument]:
    """The arguments of a release, by name without dashes."""
    return {
        name: period.argument
        for name, periods in _listed("arguments").items()
        for period in periods
        if period.holds(version)
    }


@cache
def speculative_keys(version: EngineVersion) -> frozenset[str]:
    """The keys that `--speculative-config` may hold in a release; empty before 0.8.2, which has no such argument."""
    listed = _listed("speculativeConfig")
    return frozenset(name for name, periods in listed.items() if any(period.holds(version) for period in periods))


def choice_problem(version: EngineVersion, name: str, value: str, field: str) -> Problem | None:
    """Why an argument of a release does not take a value, if it does not."""
    choices = known_arguments(version)[name].choices
    if not choices or value in choices:
        return None
    return Problem(field, value, f"vLLM {version} takes only {', '.join(choices)} for --{name}; use one of them")


def _value_problem(known: KnownArgument, argument: ExtraArgument, field: str) -> Problem | None:
    value = argument.value
    if known.is_switch and value is not None:
        return Problem(field, value, f"--{argument.name} is a switch; leave the value out")
    if known.takes is Takes.ONE and value is None:
        return Problem(field, "", f"--{argument.name} needs a value; add it")
    if value is not None and known.choices and value not in known.choices:
        return Problem(field, value, f"must be one of {', '.join(known.choices)}")
    return None


def extra_argument_problem(version: EngineVersion, argument: ExtraArgument) -> Problem | None:
    """Why an extra argument would stop the engine from starting, if it would."""
    known = known_arguments(version)
    field = f"spec.engine.extraArgs[name={argument.name}]"
    entry = known.get(argument.name)
    if entry is None:
        near = difflib.get_close_matches(argument.name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        return Problem(field, argument.name, f"vLLM {version} has no argument --{argument.name}; {hint}")
    return _value_problem(entry, argument, f"{field}.value")
