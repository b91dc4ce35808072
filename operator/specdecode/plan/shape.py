"""What decides the memory beside the KV cache, as one digest: engines of one shape take the same."""

from specdecode.api.resource import digest
from specdecode.engine.arguments import ActiveSpeculation
from specdecode.plan.workload import Workload


def _speculation(active: ActiveSpeculation) -> list[str | int | None]:
    draft = [active.draft_name, active.draft_revision, active.draft_quantization]
    return [active.method, active.num_speculative_tokens, *draft]


def shape_of(workload: Workload, active: ActiveSpeculation | None) -> str:
    """The shape of one mode.

    Left out is what changes the budget or the KV cache only: gpuMemoryUtilization, maxModelLen, pinKvCache, replicas,
    guard and pods.
    """
    spec = workload.spec
    engine = spec.engine
    identity = {
        "engine": [engine.image, str(workload.stated_version)],
        "model": spec.model.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"facts"}),
        "limits": [engine.max_num_seqs, engine.max_num_batched_tokens, engine.enforce_eager],
        "arguments": [argument.model_dump(mode="json", exclude_none=True) for argument in engine.extra_args],
        "accelerator": [spec.accelerator.product, workload.gpu.memory_bytes, spec.accelerator.count],
        "speculation": None if active is None else _speculation(active),
    }
    return digest(identity)
