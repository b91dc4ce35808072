"""`specdecode diff`: a changed file against what runs, before it is applied. Nothing is applied."""

import typer

from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment
from specdecode.cli.cluster.client import AskedError, Cluster, asked
from specdecode.cli.cluster.difference import Change, Models, change_of, creation_of
from specdecode.cli.cluster.difference_screen import document, sheet
from specdecode.cli.cluster.options import (
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    Output,
    OutputOption,
    access_of,
    caller_of,
    show,
    show_document,
    utc_now,
)
from specdecode.cli.cluster.subject import Caller, Subject
from specdecode.cli.complaints import complain
from specdecode.cli.documents import FileOption, read_resources
from specdecode.cli.planning import HubOption, ModelsDirectoryOption
from specdecode.lookup.find import Sources, look_up, wanted_models

DIFFERENT = 1
UNUSABLE = 2
"""As `kubectl diff`: 0 no difference, 1 differences, more than 1 an error."""


def _resources(file: str) -> list[SpecDecodeDeployment]:
    found = read_resources(file)
    if isinstance(found, Problem):
        complain("nothing to compare", (found,))
        raise typer.Exit(UNUSABLE)
    resources = []
    for label, parsed in found:
        if isinstance(parsed, Rejection):
            complain(f"{label}: {parsed.reason}", parsed.problems)
            raise typer.Exit(UNUSABLE)
        resources.append(parsed)
    return resources


def _models(resource: SpecDecodeDeployment, sources: Sources) -> Models:
    return look_up(wanted_models(resource), sources) if sources.is_any_allowed else {}


async def _change(found: Cluster, new: SpecDecodeDeployment, sources: Sources, caller: Caller) -> Change:
    # A namespace in the file is meant; without one it is that of the context, as for kubectl.
    is_placed = "namespace" in new.metadata.model_fields_set
    place = found.within(new.metadata.namespace) if is_placed else found
    body, models = await place.find(new.metadata.name), _models(new, sources)
    if body is None:
        metadata = {"name": new.metadata.name, "namespace": place.namespace}
        return creation_of(Subject({"metadata": metadata}, utc_now(), caller), new, models)
    subject = Subject(body, utc_now(), caller)
    if subject.resource is not None:
        models = {**models, **_models(subject.resource, sources)}
    change = change_of(subject, new, models)
    if isinstance(change, Rejection):
        raise AskedError(f"{new.metadata.name} in the cluster cannot be read by this version: {change}")
    return change


def diff(
    file: FileOption,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TABLE,
    *,
    hub: HubOption = False,
    models_directory: ModelsDirectoryOption = None,
) -> None:
    """What a changed spec would do: flags, memory, restarts, service, the rollback in force. Nothing is applied.

    Exit code 0: no difference; 1: differences; 2: an error.
    """
    resources, sources = _resources(file), Sources(models_directory=models_directory, is_hub_allowed=hub)
    caller = caller_of(context, kubeconfig)

    async def ask(found: Cluster) -> list[Change]:
        return [await _change(found, resource, sources, caller) for resource in resources]

    changes = asked(access_of(namespace, context, kubeconfig), ask, exit_code=UNUSABLE)
    if output is Output.TABLE:
        for change in changes:
            show(sheet(change))
    else:
        show_document([document(change) for change in changes], output)
    if any(change.is_any for change in changes):
        raise typer.Exit(DIFFERENT)
