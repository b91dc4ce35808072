"""Which models of a resource must be looked up, and looking them up: mounted directory first, then the hub.

It blocks on disks and sockets, so the operator calls it in a thread. It never raises for what a source answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.engine.models import ModelFacts, catalogue, refused_models
from specdecode.lookup import cache
from specdecode.lookup.description import Description, LookupFailure, Wanted
from specdecode.lookup.hub import DEFAULT_REVISION, HubOptions, describe_repository
from specdecode.lookup.path import describe_directory, directory_of
from specdecode.plan.knowledge import ModelKey

__all__ = ["Sources", "Wanted", "look_up", "wanted_models"]


@dataclass(frozen=True)
class Sources:
    """Where may be looked."""

    models_directory: Path | None = None
    """What the pods see as `/models`: `/models/x` in a spec is `x` below it, and a repository is searched in its `hub`
    directory as the Hugging Face cache lays it out."""
    is_hub_allowed: bool = False
    """Whether `config.json` and the headers of the weights may be read from the hub."""
    cache_directory: Path | None = None
    """Where answers of the hub are kept; omitted: `specdecode/models` in the user's cache directory."""
    hub: HubOptions = field(default_factory=HubOptions)

    @property
    def is_any_allowed(self) -> bool:
        """Whether there is anywhere to look."""
        return self.is_hub_allowed or self.models_directory is not None


def wanted_models(resource: SpecDecodeDeployment) -> tuple[Wanted, ...]:
    """The models of a resource that neither its spec nor the catalogue describes, target first."""
    spec = resource.spec
    draft = None if spec.speculation is None else spec.speculation.draft
    named = [("spec.model", spec.model.name, spec.model.revision, spec.model.facts)]
    if draft is not None:
        named.append(("spec.speculation.draft", draft.name, draft.revision, draft.facts))
    return tuple(
        Wanted(where, name, revision)
        for where, name, revision, facts in named
        if facts is None and name not in catalogue() and name not in refused_models()
    )


def look_up(wanted: Iterable[Wanted], sources: Sources) -> dict[ModelKey, ModelFacts | Problem]:
    """Facts of each model, or why there are none; for `Knowledge.models`.

    A model for which no source is allowed is left out: the plan then says how to describe it or to allow one. One model
    takes `sources.hub.total_seconds` at most, beside what a hanging disk takes.
    """
    found: dict[ModelKey, ModelFacts | Problem] = {}
    for model in wanted:
        answer = None if model.key in found else _look_up(model, sources)
        if answer is not None:
            found[model.key] = answer
    return found


def _look_up(wanted: Wanted, sources: Sources) -> ModelFacts | Problem | None:
    try:
        description = _mounted(wanted, sources)
        if description is None and sources.is_hub_allowed and not wanted.is_path:
            description = _from_hub(wanted, sources)
    except LookupFailure as failure:
        return wanted.problem(str(failure))
    if description is not None:
        return description.facts(wanted)
    if sources.models_directory is None or wanted.is_path:
        return None
    return wanted.problem(
        f"is not in the catalogue and was never downloaded to {sources.models_directory}; let it be looked up on the "
        f"hub (--hub), or write its dimensions to {wanted.field}.facts"
    )


def _mounted(wanted: Wanted, sources: Sources) -> Description | None:
    """From the mounted directory. A download that is not complete counts only where there is no hub to ask."""
    root = sources.models_directory
    directory = None if root is None else directory_of(wanted, root)
    if root is None or directory is None:
        return None
    try:
        return describe_directory(root, directory)
    except LookupFailure:
        if sources.is_hub_allowed and not wanted.is_path:
            return None
        raise


def _from_hub(wanted: Wanted, sources: Sources) -> Description:
    directory = sources.cache_directory or cache.default_directory()
    endpoint, revision = sources.hub.base_url, wanted.revision or DEFAULT_REVISION
    description = cache.recall(directory, endpoint, wanted.name, revision)
    if description is None:
        description = describe_repository(wanted.name, wanted.revision, sources.hub)
        cache.keep(directory, endpoint, wanted.name, revision, description)
    return description
