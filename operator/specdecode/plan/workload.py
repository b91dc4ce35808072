"""The spec, understood: versions and models looked up, every refusal made. First stage of the plan.

What comes out cannot be wrong; the arithmetic behind it has no error type. Memory is not judged here: a mode that does
not fit is part of the plan, not a refusal.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from specdecode.api.accelerators import ACCELERATORS, Accelerator
from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment
from specdecode.api.spec import AcceleratorSpec, SpecDecodeDeploymentSpec
from specdecode.api.values import bytes_of
from specdecode.api.vocabulary import METHODS_WITHOUT_DRAFT, Mode
from specdecode.engine import version as versions
from specdecode.engine.models import ModelFacts, derived_head, model_facts
from specdecode.engine.quantization import QUANTIZATIONS, Kind
from specdecode.engine.version import EngineVersion


@dataclass(frozen=True)
class Workload:
    """Everything the memory plan depends on."""

    spec: SpecDecodeDeploymentSpec
    requested_mode: Mode
    stated_version: EngineVersion
    """As the image or the spec has it."""
    target: ModelFacts
    draft: ModelFacts | None
    """None: nothing is loaded for proposing."""
    gpu: Accelerator

    @property
    def version(self) -> EngineVersion:
        """The version whose rules apply: the stated one, or the newest known one."""
        return versions.nearest_known(self.stated_version)

    @property
    def gpus(self) -> int:
        """GPUs of one replica, the tensor parallel size."""
        return self.spec.accelerator.count


def accelerator_of(spec: AcceleratorSpec) -> Accelerator:
    """Memory of one GPU: as the spec states it, else as the product is known."""
    if spec.memory is None:
        return ACCELERATORS[spec.product]
    stated = bytes_of(spec.memory)
    return Accelerator(stated, stated, is_measured=False)


def as_served(facts: ModelFacts, quantization: str | None) -> ModelFacts:
    """Facts from the spec do not say how the checkpoint is stored; a method that only reads such checkpoints does."""
    method = QUANTIZATIONS.get(quantization or "")
    if facts.source != "spec" or method is None or method.kind is not Kind.CHECKPOINT:
        return facts
    return replace(facts, quantization=method.name, weight_bits=method.bits)


def _draft_facts(spec: SpecDecodeDeploymentSpec, target: ModelFacts) -> ModelFacts | Problem | None:
    speculation = spec.speculation
    if speculation is None or speculation.method in METHODS_WITHOUT_DRAFT:
        return None
    draft = speculation.draft
    if draft is None:
        return derived_head(target)
    found = model_facts("spec.speculation.draft", draft.name, draft.facts)
    return found if isinstance(found, Problem) else as_served(found, draft.quantization)


def _version_of(spec: SpecDecodeDeploymentSpec) -> EngineVersion | Rejection:
    version = versions.resolve(spec.engine.image, spec.engine.version)
    if isinstance(version, Problem):
        return Rejection("EngineVersionUnreadable", (version,))
    outdated = versions.too_old(version)
    return version if outdated is None else Rejection("EngineVersionTooOld", (outdated,))


def look_up(resource: SpecDecodeDeployment) -> Workload | Rejection:
    """Version and models of a resource, or what could not be found. Every missing model is named at once."""
    spec = resource.spec
    version = _version_of(spec)
    if isinstance(version, Rejection):
        return version
    target = model_facts("spec.model", spec.model.name, spec.model.facts)
    if isinstance(target, Problem):
        draft = None if spec.speculation is None else spec.speculation.draft
        drafted = None if draft is None else model_facts("spec.speculation.draft", draft.name, draft.facts)
        return Rejection("ModelFactsMissing", (target, *_problems(drafted)))
    target = as_served(target, spec.model.quantization)
    found = _draft_facts(spec, target)
    if isinstance(found, Problem):
        return Rejection("ModelFactsMissing", (found,))
    return Workload(spec, resource.requested_mode, version, target, found, accelerator_of(spec.accelerator))


def _problems(found: ModelFacts | Problem | None) -> Iterator[Problem]:
    if isinstance(found, Problem):
        yield found
