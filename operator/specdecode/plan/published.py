"""The budget as people quote it: decimal gigabytes from the label, the size in the model's name, bytes per weight.

"70B in INT8 and an 8B draft in BF16 on two 80 GB cards: 86 GB of weights, 74 GB left." It is a first check and leaves
out activations, graphs, communication and the engine's share; whether a mode fits is decided by the rest of the ledger.
"""

from dataclasses import dataclass

from specdecode.plan.types import ModePlan, Plan


@dataclass(frozen=True)
class PublishedBudget:
    """Decimal bytes over all GPUs of a replica."""

    memory_bytes: int
    weights_bytes: int
    left_bytes: int


def published_budget(plan: Plan, mode: ModePlan) -> PublishedBudget:
    """The quoted sums of one mode over its GPUs."""
    per_gpu = {line.name: line.bytes for line in mode.ledger}
    return PublishedBudget(
        memory_bytes=per_gpu["memory"] * plan.gpu_count,
        weights_bytes=-per_gpu["quotedWeights"] * plan.gpu_count,
        left_bytes=per_gpu["left"] * plan.gpu_count,
    )
