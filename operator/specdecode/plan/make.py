"""The plan of a resource: spec in, plan or refusal out. The second arrow of the operator.

A mode that does not fit is no refusal: it stays in the plan with what is missing and what would help, and whoever runs
modes leaves it alone.
"""

from specdecode.api.resource import Rejection, SpecDecodeDeployment, digest
from specdecode.plan.advice import advise
from specdecode.plan.checks import refuse
from specdecode.plan.knowledge import NOTHING_MORE, Knowledge
from specdecode.plan.ladder import modes_of
from specdecode.plan.modes import mode_plan
from specdecode.plan.review import Review
from specdecode.plan.types import Plan
from specdecode.plan.workload import Workload, look_up


def _baseline_key(workload: Workload) -> str:
    """What a speed without speculation is bound to. Facts are the plan's knowledge and change nothing that runs."""
    spec = workload.spec
    identity = {
        "model": spec.model.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"facts"}),
        "engine": spec.engine.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "accelerator": spec.accelerator.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    return digest(identity)


def _draft_key(workload: Workload) -> str:
    """What an acceptance is bound to: both models and how many tokens are proposed, not the draft's quantisation."""
    speculation = workload.spec.speculation
    if speculation is None or speculation.draft is None:
        return ""
    identity = {
        "model": workload.spec.model.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"facts"}),
        "method": speculation.method,
        "numSpeculativeTokens": speculation.num_speculative_tokens,
        "draft": [speculation.draft.name, speculation.draft.revision],
    }
    return digest(identity)


def _sources(workload: Workload) -> tuple[str, ...]:
    models = (("target", workload.target), ("draft", workload.draft))
    return tuple(f"{role} {facts.name}: {facts.source}" for role, facts in models if facts is not None)


def make_plan(resource: SpecDecodeDeployment, knowledge: Knowledge = NOTHING_MORE) -> Plan | Rejection:
    """Plan every mode that a resource may run, or say everything that is wrong with it."""
    workload = look_up(resource, knowledge)
    if isinstance(workload, Rejection):
        return workload
    refusal = refuse(workload)
    if refusal is not None:
        return refusal
    ladder = tuple(mode_plan(workload, mode) for mode in modes_of(workload.spec, workload.requested_mode))
    return Plan(
        requested_mode=workload.requested_mode,
        ladder=ladder,
        advice=advise(Review(workload, resource.spec.guard, ladder)),
        engine_version=str(workload.version),
        gpu_memory_bytes=workload.gpu.memory_bytes,
        gpu_label_bytes=workload.gpu.label_bytes,
        gpu_count=workload.gpus,
        sources=_sources(workload),
        baseline_key=_baseline_key(workload),
        draft_key=_draft_key(workload),
    )
