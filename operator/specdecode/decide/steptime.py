"""What an engine step costs with and without speculation: a few causes, from what one deployment measures of itself.

    T_off(B) = c · (1 + B·v)
    T_on(B) = c · (1 + B·(k + 1)·v + k·r) + k·d + o

`c` is reading the target's weights once; `r` what reading the draft's takes of that; `v` what one more token
computes, next to it; `d` launches of a draft pass; `o` what a speculating step does besides. T_on is measured, so that
T_off follows without ever having run it. Longer contexts add KV reads to both sides and make speculation cheaper than
this says: the prediction is careful.
"""

from dataclasses import dataclass

from specdecode.plan.types import ModePlan

_COMPUTE_PER_TOKEN = 0.0036
"""2 x bandwidth / (FLOPS x bytes per weight): 0.0034 on an H100 in 16 bit, and 21.01 µs of 5.886 ms as measured
(constants of arXiv 2601.11580)."""
_OVERHEAD_SECONDS = 1.2e-3
"""Of a speculating step, Llama-3.1-8B with an EAGLE head on an H100 (constants of arXiv 2601.11580: 1.207 ms)."""
_DRAFT_PASS_SECONDS = 0.28e-3
"""Launches of one draft pass: 2.135 ms for three passes over 1.45 GB at 3.35 TB/s (same source)."""


@dataclass(frozen=True, slots=True)
class DraftCost:
    """What proposing costs, from the plan."""

    tokens: float
    """Draft tokens per draft, k."""
    weight_ratio: float
    """Bytes of the draft's weights / of the target's; 0 for a method without weights."""


def _bytes_of(rung: ModePlan, name: str) -> int:
    return sum(-line.bytes for line in rung.ledger if line.name == name)


def draft_cost(rung: ModePlan, tokens_per_draft: float) -> DraftCost:
    """What the mode of a plan proposes with; `tokens_per_draft` as measured."""
    target, draft = _bytes_of(rung, "targetWeights"), _bytes_of(rung, "draftWeights")
    return DraftCost(tokens_per_draft, draft / target if target > 0 else 0.0)


def off_step_seconds(on_step_seconds: float, running_requests: float, cost: DraftCost) -> float:
    """The engine step without speculation that follows from the measured one with it, at the same load."""
    computed = max(running_requests, 1.0) * _COMPUTE_PER_TOKEN
    passes = cost.tokens if cost.weight_ratio > 0 else 0.0
    fixed = passes * _DRAFT_PASS_SECONDS + (_OVERHEAD_SECONDS if passes else 0.0)
    scaled = max(on_step_seconds - fixed, on_step_seconds / 2)
    return scaled * (1 + computed) / (1 + computed * (cost.tokens + 1) + passes * cost.weight_ratio)
