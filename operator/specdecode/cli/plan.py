"""`specdecode plan`: what fits, before a GPU is touched; and afterwards, how far the plan was from the engine."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Mode
from specdecode.cli.against import Against, against_log
from specdecode.cli.comparisons import print_comparison, print_side_by_side
from specdecode.cli.complaints import DOES_NOT_FIT, INVALID, complain
from specdecode.cli.console import Screen
from specdecode.cli.documents import read_resources
from specdecode.cli.output import yaml_text
from specdecode.cli.pairs import Pair, pairs_of
from specdecode.cli.planning import HubOption, ModelsDirectoryOption, Planned, planned
from specdecode.cli.tables import print_plan
from specdecode.cli.wire import comparison_document, plan_document, side_by_side_document
from specdecode.lookup.find import Sources


class Output(StrEnum):
    """How plans are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def _print_documents(documents: Sequence[dict[str, Any]], output: Output) -> None:
    if output is Output.YAML:
        typer.echo(yaml_text(documents), nl=False)
    else:
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))


def _print_plans(plans: Sequence[Planned], output: Output) -> None:
    if output is not Output.TABLE:
        _print_documents([plan_document(resource, plan) for resource, plan in plans], output)
        return
    console = Screen()
    for number, (resource, plan) in enumerate(plans):
        if number:
            console.print()
        print_plan(console, resource, plan)


def _print_against(result: Against, output: Output) -> None:
    if output is not Output.TABLE:
        comparison = comparison_document(result.comparison, result.log, result.assumptions)
        _print_documents([plan_document(*result.planned) | {"comparison": comparison}], output)
        return
    print_comparison(Screen(), result.planned[0], result.comparison, result.log, result.assumptions)


def _print_pairs(files: tuple[str, str], pairs: Sequence[Pair], output: Output) -> None:
    if output is not Output.TABLE:
        _print_documents([side_by_side_document(files, pair.left, pair.right) for pair in pairs], output)
        return
    for pair in pairs:
        print_side_by_side(Screen(), files, pair.left, pair.right)


def _plan_files(file: str, sources: Sources, output: Output) -> bool:
    """Print every plan of a file; whether all of them fit."""
    found = read_resources(file)
    if isinstance(found, Problem):
        complain("nothing to plan", (found,))
        raise typer.Exit(INVALID)
    results = [planned(label, parsed, sources) for label, parsed in found]
    plans = [result for result in results if result is not None]
    if plans:
        _print_plans(plans, output)
    if len(plans) < len(results):
        raise typer.Exit(INVALID)
    return all(plan.requested.fits for _, plan in plans)


def _misuse(*, file: str | None, log: str | None, compare: tuple[str, str] | None, mode: Mode | None) -> Problem | None:
    if compare is not None and (file is not None or log is not None):
        return Problem("--compare", "", "takes its two files itself; leave --file and --log out")
    if compare is None and file is None and log is None:
        return Problem(
            "--file", "", "is missing; name a file with -f FILE, a log with --log LOG, or two with --compare A B"
        )
    if mode is not None and log is None:
        return Problem("--mode", mode, "chooses what a log is compared with; add --log LOG")
    if (compare is not None and compare[0] == compare[1] == "-") or (file == "-" and log == "-"):
        return Problem("-", "", "standard input can be read once only; name a file for the other")
    return None


def plan(
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="YAML with SpecDecodeDeployments, or - for standard input.")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
    log: Annotated[
        str | None,
        typer.Option(
            "--log", help="What the engine printed at its start: compare it. Without --file, plan its engine."
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option("--mode", help="What --log is of. Omitted: as the log says.")] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option("--compare", metavar="A B", help="Two files, side by side.")
    ] = None,
    *,
    hub: HubOption = False,
    models_directory: ModelsDirectoryOption = None,
) -> None:
    """Count the memory of every mode and say what fits; or compare a plan with a log, or with another plan.

    Exit code 0: every requested mode fits; 1: one does not; 2: the input cannot be used. With --log it is the mode that
    is compared. Several resources in one file are printed one after the other, in JSON as a list.
    """
    misuse = _misuse(file=file, log=log, compare=compare, mode=mode)
    if misuse is not None:
        complain("nothing to plan", (misuse,))
        raise typer.Exit(INVALID)
    sources = Sources(models_directory=models_directory, is_hub_allowed=hub)
    if compare is not None:
        pairs = pairs_of(compare, sources)
        _print_pairs(compare, pairs, output)
        fits = all(plan.requested.fits for pair in pairs for _, plan in (pair.left, pair.right))
    elif log is not None:
        result = against_log(file, log, mode, sources)
        _print_against(result, output)
        fits = result.mode_plan.fits
    else:
        assert file is not None
        fits = _plan_files(file, sources, output)
    if not fits:
        raise typer.Exit(DOES_NOT_FIT)
