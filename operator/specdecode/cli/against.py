"""A log and what it is compared with: a resource of a file, or one made from the log itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import typer

from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment, parse
from specdecode.api.vocabulary import Mode
from specdecode.cli.complaints import INVALID, complain
from specdecode.cli.documents import read_resources
from specdecode.cli.logs import read_log
from specdecode.cli.planning import Planned, planned
from specdecode.engine.startup_log import StartupLog
from specdecode.lookup.find import Sources
from specdecode.plan.log.compare import Comparison, compare, mode_of_log
from specdecode.plan.log.resource import resource_of
from specdecode.plan.types import ModePlan, Plan

Labelled = tuple[str, SpecDecodeDeployment | Rejection]


@dataclass(frozen=True)
class Against:
    """A plan beside the log of an engine."""

    planned: Planned
    mode_plan: ModePlan
    """The mode that is compared."""
    log: StartupLog
    comparison: Comparison
    assumptions: tuple[str, ...]
    """What was taken for granted, when there is no file."""


def _leave(title: str, *problems: Problem) -> NoReturn:
    complain(title, problems)
    raise typer.Exit(INVALID)


def _of_file(file: str, log: StartupLog) -> Labelled:
    """The resource of a file that the log is of: the only one, or the only one with its model."""
    found = read_resources(file)
    if isinstance(found, Problem):
        _leave("nothing to compare", found)
    if len(found) == 1:
        return found[0]
    same = [
        (label, parsed)
        for label, parsed in found
        if isinstance(parsed, SpecDecodeDeployment) and parsed.spec.model.name == log.model
    ]
    if len(same) == 1:
        return same[0]
    names = ", ".join(label for label, _ in found)
    of = "a model it does not name" if log.model is None else log.model
    _leave(
        "nothing to compare",
        Problem(
            "file", file, f"holds {len(found)} resources ({names}), and the log is of {of}; leave only the one meant"
        ),
    )


def _of_log(name: str, log: StartupLog) -> tuple[Labelled, tuple[str, ...]]:
    made = resource_of(log)
    if isinstance(made, Rejection):
        _leave(f"{name}: {made.reason}", *made.problems)
    return (name, parse(made.body)), made.assumptions


def _chosen(plan: Plan, wanted: Mode | None, log: StartupLog) -> ModePlan:
    """The mode that was asked for, else the one the log is of, else the requested one."""
    rung = plan.mode(wanted or mode_of_log(plan, log) or plan.requested_mode)
    if rung is None:
        choices = ", ".join(candidate.mode for candidate in plan.ladder)
        _leave("nothing to compare", Problem("--mode", str(wanted), f"is not on the ladder; choose one of {choices}"))
    return rung


def against_log(file: str | None, log_name: str, wanted: Mode | None, sources: Sources) -> Against:
    """Read a log, plan what it is of, compare. Complains and leaves when there is nothing to compare."""
    log = read_log(log_name)
    if isinstance(log, Problem):
        _leave("nothing to compare", log)
    assumptions: Sequence[str] = ()
    if file is None:
        labelled, assumptions = _of_log(log_name, log)
    else:
        labelled = _of_file(file, log)
    result = planned(*labelled, sources)
    if result is None:
        raise typer.Exit(INVALID)
    plan = result[1]
    mode_plan = _chosen(plan, wanted, log)
    return Against(result, mode_plan, log, compare(plan, mode_plan, log), tuple(assumptions))
