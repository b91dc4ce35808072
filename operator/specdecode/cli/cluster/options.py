"""The options that every command for a cluster has, as kubectl spells them."""

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from specdecode.api.words import escaped_json
from specdecode.cli.cluster.client import Access
from specdecode.cli.cluster.screen import WIDTH
from specdecode.cli.cluster.subject import Caller
from specdecode.cli.console import Screen
from specdecode.cli.output import yaml_text

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="NAME or sdd/NAME.")]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Omitted: that of the kubeconfig's context.")
]
ContextOption = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig. Omitted: its current.")
]
KubeconfigOption = Annotated[
    Path | None, typer.Option("--kubeconfig", help="Omitted: KUBECONFIG, ~/.kube/config, or the pod's own.")
]


class Output(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


def access_of(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Access:
    """Which cluster, which namespace."""
    return Access(namespace, context, kubeconfig)


def caller_of(context: str | None, kubeconfig: Path | None) -> Caller:
    """How this program was called: what it tells to do begins the same way."""
    name = Path(sys.argv[0]).name
    program = "specdecode" if name == "specdecode" else "kubectl specdecode"
    options = f" --context {context}" if context else ""
    return Caller(program, options + (f" --kubeconfig {kubeconfig}" if kubeconfig else ""))


def utc_now() -> datetime:
    """The moment of the command."""
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - a command is asked once, at this moment


def console() -> Console:
    """As wide as the terminal; in a pipe always the same."""
    found = Screen()
    return found if found.is_terminal else Screen(width=WIDTH)


def show(renderable: RenderableType) -> None:
    """Print for people. Commands to copy are never cut."""
    console().print(renderable, highlight=False, crop=False)


def show_document(document: Any, output: Output) -> None:
    """Print for scripts."""
    if output is Output.YAML:
        typer.echo(yaml_text((document,)), nl=False)
    else:
        typer.echo(escaped_json(json.dumps(document, indent=2, ensure_ascii=False)))
