"""The spec, understood: versions and models looked up, every refusal made. First stage of the plan.

What comes out cannot be wrong; the arithmetic behind it has no error type. Memory is not judged here: a mode that does
not fit is part of the plan, not a refusal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from specdecode.api.accelerators import ACCELERATORS, Accelerator, stated
from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment
from specdecode.api.spec import AcceleratorSpec, DraftSpec, SpecDecodeDeploymentSpec
from specdecode.api.values import bytes_of
from specdecode.api.vocabulary import METHODS_WITHOUT_DRAFT, Mode
from specdecode.engine import version as versions
from specdecode.engine.models import ModelFacts, derived_head, model_facts
from specdecode.engine.quantization import QUANTIZATIONS, Kind
from specdecode.engine.version import EngineVersion
from specdecode.plan.knowledge import Calibration, Knowledge, ModelKey
from specdecode.plan.prefill import with_room_for_prompts


@dataclass(frozen=True)
class Workload:
    """Everything the memory plan depends on."""

    spec: SpecDecodeDeploymentSpec
    """As the user wrote it, but for the batch that an old engine needs (`with_room_for_prompts`)."""
    requested_mode: Mode
    stated_version: EngineVersion
    """As the image or the spec has it."""
    target: ModelFacts
    draft: ModelFacts | None
    """None: nothing is loaded for proposing."""
    gpu: Accelerator
    calibrations: tuple[Calibration, ...] = ()
    """Measurements of engines that ran, of whatever shape."""

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
    return stated(spec.product, bytes_of(spec.memory))


def as_served(facts: ModelFacts, quantization: str | None) -> ModelFacts:
    """Facts from the spec need not say how the checkpoint is stored; a method that only reads such checkpoints does."""
    method = QUANTIZATIONS.get(quantization or "")
    is_stated = facts.source != "spec" or facts.quantization is not None
    if is_stated or method is None or method.kind is not Kind.CHECKPOINT:
        return facts
    return replace(facts, quantization=method.name, weight_bits=method.bits)


Known = Mapping[ModelKey, ModelFacts | Problem]


def _facts_of(draft: DraftSpec, known: Known) -> ModelFacts | Problem:
    return model_facts("spec.speculation.draft", draft.name, draft.facts, known.get((draft.name, draft.revision)))


def _draft_facts(spec: SpecDecodeDeploymentSpec, target: ModelFacts, known: Known) -> ModelFacts | Problem | None:
    speculation = spec.speculation
    if speculation is None or speculation.method in METHODS_WITHOUT_DRAFT:
        return None
    draft = speculation.draft
    if draft is None:
        return derived_head(target)
    found = _facts_of(draft, known)
    return found if isinstance(found, Problem) else as_served(found, draft.quantization)


def _version_of(spec: SpecDecodeDeploymentSpec) -> EngineVersion | Rejection:
    version = versions.resolve(spec.engine.image, spec.engine.version)
    if isinstance(version, Problem):
        return Rejection("EngineVersionUnreadable", (version,))
    outdated = versions.too_old(version)
    return version if outdated is None else Rejection("EngineVersionTooOld", (outdated,))


def look_up(resource: SpecDecodeDeployment, knowledge: Knowledge) -> Workload | Rejection:
    """Version and models of a resource, or what could not be found. Every missing model is named at once."""
    spec = resource.spec
    version = _version_of(spec)
    if isinstance(version, Rejection):
        return version
    known = knowledge.models
    model = spec.model
    target = model_facts("spec.model", model.name, model.facts, known.get((model.name, model.revision)))
    if isinstance(target, Problem):
        draft = None if spec.speculation is None else spec.speculation.draft
        found = None if draft is None else _facts_of(draft, known)
        return Rejection("ModelFactsMissing", (target, *_problems(found)))
    target = as_served(target, spec.model.quantization)
    found = _draft_facts(spec, target, known)
    if isinstance(found, Problem):
        return Rejection("ModelFactsMissing", (found,))
    gpu = accelerator_of(spec.accelerator)
    spec = with_room_for_prompts(spec, version, gpu.compute_capability)
    return Workload(spec, resource.requested_mode, version, target, found, gpu, knowledge.calibrations)


def _problems(found: ModelFacts | Problem | None) -> Iterator[Problem]:
    if isinstance(found, Problem):
        yield found
