"""`retry`, `pause`, `resume`, `force`: what a person may ask of the guard. Annotations are patched, nothing else."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Mode
from specdecode.cli.cluster import intents
from specdecode.cli.cluster.client import Access, AskedError, Cluster, asked, name_of
from specdecode.cli.cluster.intents import Intent, Refusal
from specdecode.cli.cluster.options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    Output,
    OutputOption,
    access_of,
    caller_of,
    show_document,
    utc_now,
)
from specdecode.cli.cluster.subject import Caller, Subject
from specdecode.cli.complaints import INVALID, complain


class DryRun(StrEnum):
    """As kubectl has it."""

    NONE = "none"
    CLIENT = "client"
    """Say what would happen; ask the API server nothing that writes."""
    SERVER = "server"
    """Let the API server check it, and keep nothing."""


DryRunOption = Annotated[
    DryRun, typer.Option("--dry-run", help="client: only say what would happen; server: let the API server check it.")
]


def _annotate(
    access: Access,
    caller: Caller,
    name: str,
    intend: Callable[[Subject], Intent | Refusal],
    dry_run: DryRun,
    output: Output,
) -> None:
    async def act(found: Cluster) -> tuple[Subject, Intent]:
        wanted = name_of(name)
        subject = Subject(await found.one(wanted), utc_now(), caller)
        intent = intend(subject)
        if isinstance(intent, Refusal):
            raise AskedError(intent.message)
        if intent.annotations and dry_run is not DryRun.CLIENT:
            await found.annotate(wanted, intent.annotations, is_dry_run=dry_run is DryRun.SERVER)
        return subject, intent

    subject, intent = asked(access, act)
    if output is Output.TABLE:
        _say(subject, intent, dry_run)
    else:
        show_document(_document(subject, intent, dry_run), output)


def _say(subject: Subject, intent: Intent, dry_run: DryRun) -> None:
    what = [f"{key}={value}" if value is not None else f"{key} removed" for key, value in intent.annotations.items()]
    done = ", ".join(what) or "nothing to change"
    dry = "" if dry_run is DryRun.NONE or not intent.annotations else f" ({dry_run} dry run: nothing was changed)"
    typer.echo(f"{subject.metadata.namespace}/{subject.metadata.name}: {done}{dry}")
    for sentence in intent.sentences:
        typer.echo(f"  {sentence}")
    if intent.annotations and dry_run is DryRun.NONE:
        typer.echo(f"  watch it: {subject.command('status', '--watch')}")


def _document(subject: Subject, intent: Intent, dry_run: DryRun) -> dict[str, Any]:
    return {
        "namespace": subject.metadata.namespace,
        "name": subject.metadata.name,
        "annotations": dict(intent.annotations),
        "dryRun": str(dry_run),
        "willHappen": list(intent.sentences),
    }


def retry(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Try the requested mode once more after a rollback (annotation specdecode.io/retry)."""
    access = access_of(namespace, context, kubeconfig)
    _annotate(access, caller_of(context, kubeconfig), name, intents.retry, dry_run, output)


def pause(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Hands off: nothing is judged or changed until it is resumed (annotation specdecode.io/paused)."""
    access = access_of(namespace, context, kubeconfig)
    _annotate(access, caller_of(context, kubeconfig), name, intents.pause, dry_run, output)


def resume(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take the pause away."""
    access = access_of(namespace, context, kubeconfig)
    _annotate(access, caller_of(context, kubeconfig), name, intents.resume, dry_run, output)


def force(
    name: NameArgument,
    mode: Annotated[str | None, typer.Argument(help="A mode of the ladder that fits.")] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    output: OutputOption = Output.TABLE,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Take the force away.")] = False,
) -> None:
    """Run a mode of your choice and judge nothing meanwhile (annotation specdecode.io/force-mode)."""
    if clear == (mode is not None):
        problem = Problem("MODE", mode or "", f"name one of {', '.join(Mode)}, or --clear, and not both")
        complain("nothing to force", (problem,))
        raise typer.Exit(INVALID)

    def intend(subject: Subject) -> Intent | Refusal:
        return intents.clear(subject) if mode is None else intents.force(subject, mode)

    access = access_of(namespace, context, kubeconfig)
    _annotate(access, caller_of(context, kubeconfig), name, intend, dry_run, output)
