"""The command line. Each command reads, calls one function of the core, and prints; none decides anything itself."""

from importlib import metadata
from typing import Annotated

import typer

from specdecode.cli.annotate import force, pause, resume, retry
from specdecode.cli.backtest import backtest
from specdecode.cli.crd import crd
from specdecode.cli.diff import diff
from specdecode.cli.explain import explain
from specdecode.cli.history import history
from specdecode.cli.plan import plan
from specdecode.cli.render import render
from specdecode.cli.run import run
from specdecode.cli.status import status
from specdecode.cli.sweep import sweep

app = typer.Typer(
    help="Plan, render and run vLLM with speculative decoding on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - typer hands the value of the option over like this
    if is_asked:
        typer.echo(f"specdecode {metadata.version('specdecode-operator')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Plan, render and run vLLM with speculative decoding on Kubernetes."""


_IN_A_CLUSTER = "In a cluster"

app.command(rich_help_panel=_IN_A_CLUSTER)(status)
app.command(rich_help_panel=_IN_A_CLUSTER)(history)
app.command(rich_help_panel=_IN_A_CLUSTER)(explain)
app.command(rich_help_panel=_IN_A_CLUSTER)(retry)
app.command(rich_help_panel=_IN_A_CLUSTER)(pause)
app.command(rich_help_panel=_IN_A_CLUSTER)(resume)
app.command(rich_help_panel=_IN_A_CLUSTER)(force)
app.command(rich_help_panel=_IN_A_CLUSTER)(diff)
app.command()(plan)
app.command()(render)
app.command()(crd)
app.command()(backtest)
app.command()(sweep)
app.command()(run)


def main() -> None:
    """Entry point of the console script."""
    app()
