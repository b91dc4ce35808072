"""`specdecode plan`: what fits, before a GPU is touched."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment
from specdecode.cli.complaints import DOES_NOT_FIT, INVALID, complain
from specdecode.cli.documents import FileOption, read_resources
from specdecode.cli.output import yaml_text
from specdecode.cli.tables import print_plan
from specdecode.cli.wire import plan_document
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

Planned = tuple[SpecDecodeDeployment, Plan]


class Output(StrEnum):
    """How plans are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def planned(label: str, parsed: SpecDecodeDeployment | Rejection) -> Planned | None:
    """A resource with its plan; None after a complaint."""
    result = parsed if isinstance(parsed, Rejection) else make_plan(parsed)
    if isinstance(parsed, Rejection) or isinstance(result, Rejection):
        assert isinstance(result, Rejection)
        complain(f"{label}: {result.reason}", result.problems)
        return None
    return parsed, result


def _print(plans: Sequence[Planned], output: Output) -> None:
    if output is Output.TABLE:
        console = Console()
        for resource, plan in plans:
            print_plan(console, resource, plan)
        return
    documents: list[dict[str, Any]] = [plan_document(resource, plan) for resource, plan in plans]
    if output is Output.YAML:
        typer.echo(yaml_text(documents), nl=False)
    else:
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))


def plan(
    file: FileOption,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Count the memory of every mode and say what fits.

    Exit code 0: every requested mode fits; 1: one does not; 2: the input cannot be used. Several resources in one file
    are printed one after the other, in JSON as a list.
    """
    found = read_resources(file)
    if isinstance(found, Problem):
        complain("nothing to plan", (found,))
        raise typer.Exit(INVALID)
    results = [planned(label, parsed) for label, parsed in found]
    plans = [result for result in results if result is not None]
    if plans:
        _print(plans, output)
    if len(plans) < len(results):
        raise typer.Exit(INVALID)
    if not all(plan.requested.fits for _, plan in plans):
        raise typer.Exit(DOES_NOT_FIT)
