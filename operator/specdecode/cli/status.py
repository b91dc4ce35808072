"""`specdecode status`: how all deployments stand, or one of them on one screen."""

import asyncio
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from specdecode.api.resource import Problem
from specdecode.cli.cluster.client import Cluster, asked, name_of
from specdecode.cli.cluster.options import (
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    Output,
    OutputOption,
    access_of,
    caller_of,
    console,
    show,
    show_document,
    utc_now,
)
from specdecode.cli.cluster.screen import listing, screen
from specdecode.cli.cluster.subject import Caller, Subject
from specdecode.cli.cluster.view import View, document, view_of
from specdecode.cli.complaints import INVALID, complain

_WATCH_SECONDS = 2.0


def _views(bodies: list[dict[str, object]], caller: Caller) -> list[View]:
    now = utc_now()
    return [view_of(Subject(body, now, caller)) for body in bodies]


def _drawn(views: list[View], name: str | None, *, everywhere: bool, where: str) -> RenderableType:
    if name is not None:
        return screen(views[0], utc_now())
    if not views:
        return Text(f"no SpecDecodeDeployment {where}")
    return listing(views, utc_now(), with_namespace=everywhere)


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="NAME or sdd/NAME. Omitted: all of the namespace.")
    ] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TABLE,
    *,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of the whole cluster.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw it anew every two seconds.")] = False,
) -> None:
    """What runs, why, what was measured, what happens next and when, and what to do."""
    problem = _misuse(name, output, all_namespaces=all_namespaces, watch=watch)
    if problem is not None:
        complain("nothing to show", (problem,))
        raise typer.Exit(INVALID)
    caller = caller_of(context, kubeconfig)

    async def read(found: Cluster) -> list[View]:
        bodies = await found.all(everywhere=all_namespaces) if name is None else [await found.one(name_of(name))]
        return _views(bodies, caller)

    async def ask(found: Cluster) -> None:
        where = "in any namespace" if all_namespaces else f"in namespace {found.namespace}"
        if not watch:
            _print(await read(found), name, output, everywhere=all_namespaces, where=where)
            return
        with Live(console=console(), screen=False, auto_refresh=False) as live:
            while True:
                live.update(_drawn(await read(found), name, everywhere=all_namespaces, where=where), refresh=True)
                await asyncio.sleep(_WATCH_SECONDS)

    try:
        asked(access_of(namespace, context, kubeconfig), ask)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _misuse(name: str | None, output: Output, *, all_namespaces: bool, watch: bool) -> Problem | None:
    if name is not None and all_namespaces:
        return Problem("--all-namespaces", "", "lists all; leave NAME out, or name its namespace with -n")
    if watch and output is not Output.TABLE:
        return Problem("--watch", "", f"draws for people; leave -o {output} out")
    return None


def _print(views: list[View], name: str | None, output: Output, *, everywhere: bool, where: str) -> None:
    if output is Output.TABLE:
        show(_drawn(views, name, everywhere=everywhere, where=where))
        return
    documents = [document(view) for view in views]
    show_document(documents if name is None else documents[0], output)
