"""From a resource in a file to its plan, with what was looked up for it. Complains about what cannot be planned."""

from pathlib import Path
from typing import Annotated

import typer

from specdecode.api.resource import Rejection, SpecDecodeDeployment
from specdecode.cli.complaints import complain
from specdecode.lookup.find import Sources, look_up, wanted_models
from specdecode.plan.knowledge import Knowledge
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

Planned = tuple[SpecDecodeDeployment, Plan]

HubOption = Annotated[
    bool, typer.Option("--hub", help="Read config.json and sizes of unknown models from the model hub.")
]
ModelsDirectoryOption = Annotated[
    Path | None,
    typer.Option("--models-directory", help="What the pods mount at /models; unknown models are read there."),
]


def planned(label: str, parsed: SpecDecodeDeployment | Rejection, sources: Sources) -> Planned | None:
    """A resource with its plan; None after a complaint."""
    result = parsed if isinstance(parsed, Rejection) else make_plan(parsed, _knowledge(parsed, sources))
    if isinstance(parsed, Rejection) or isinstance(result, Rejection):
        assert isinstance(result, Rejection)
        complain(f"{label}: {result.reason}", result.problems)
        return None
    return parsed, result


def _knowledge(resource: SpecDecodeDeployment, sources: Sources) -> Knowledge:
    wanted = wanted_models(resource) if sources.is_any_allowed else ()
    return Knowledge(models=look_up(wanted, sources)) if wanted else Knowledge()
