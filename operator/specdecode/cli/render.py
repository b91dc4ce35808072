"""`specdecode render`: the objects of a mode as YAML, as the operator would apply them. Nothing is applied."""

from typing import Annotated

import typer

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Mode
from specdecode.cli.complaints import DOES_NOT_FIT, INVALID, complain
from specdecode.cli.documents import FileOption, read_resources
from specdecode.cli.output import yaml_text
from specdecode.cli.planning import HubOption, ModelsDirectoryOption, Planned, planned
from specdecode.lookup.find import Sources
from specdecode.manifests.build import build


def _objects(found: Planned, wanted: Mode | None) -> tuple[dict[str, object], ...] | Problem:
    resource, plan = found
    mode = wanted or plan.requested_mode
    rung = plan.mode(mode)
    if rung is None:
        choices = ", ".join(candidate.mode for candidate in plan.ladder)
        return Problem("--mode", mode, f"is not on the ladder of {resource.metadata.name}; choose one of {choices}")
    if not rung.fits:
        remedies = " or ".join(rung.remedies) or "more GPUs"
        return Problem(
            "--mode", mode, f"does not fit: short by {rung.short_bytes} bytes per GPU; {remedies} would help"
        )
    return build(resource, plan)[mode].all()


def render(
    file: FileOption,
    mode: Annotated[Mode | None, typer.Option("--mode", help="Omitted: the requested mode.")] = None,
    *,
    hub: HubOption = False,
    models_directory: ModelsDirectoryOption = None,
) -> None:
    """Print the Kubernetes objects of a mode as YAML.

    Exit code 0: printed; 1: the mode does not fit or is not on the ladder; 2: the input cannot be used.
    """
    found = read_resources(file)
    if isinstance(found, Problem):
        complain("nothing to render", (found,))
        raise typer.Exit(INVALID)
    sources = Sources(models_directory=models_directory, is_hub_allowed=hub)
    results = [planned(label, parsed, sources) for label, parsed in found]
    if None in results:
        raise typer.Exit(INVALID)
    rendered: list[dict[str, object]] = []
    for result in results:
        assert result is not None
        objects = _objects(result, mode)
        if isinstance(objects, Problem):
            complain(result[0].metadata.name, (objects,))
            raise typer.Exit(DOES_NOT_FIT)
        rendered.extend(objects)
    typer.echo(yaml_text(rendered), nl=False)
