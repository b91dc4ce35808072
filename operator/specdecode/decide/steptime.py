"""What an engine step costs with and without speculation: a few causes, from what one deployment measures of itself.

    T_off(B) = o + c · hypot(1, B·v)
    T_on(B) = o + c · (hypot(1, B·(k + 1)·v) + k·r) + k·d

`c` is reading the target's weights once; `r` what reading the draft's takes of that; `v` what computing one token takes
of it, which overlaps with the reading; `o` what every step does besides; `d` the launches of a draft pass. T_on is
measured, so that T_off follows without ever having run it. KV reads are not seen and let a loaded T_off come out too
small: the prediction is careful. Against the steps that the published constants imply (Llama-3.1-8B on an H100, arXiv
2601.11580) it is off by 0 to -5 % up to 64 running requests and by -12 % at 128.
"""

import math
from dataclasses import dataclass

from specdecode.plan.types import ModePlan

_COMPUTE_PER_TOKEN = 0.0036
"""2 x bandwidth / (FLOPS x bytes per weight): 0.0034 on an H100 in 16 bit, and 21.01 µs of 5.886 ms as measured
(constants of arXiv 2601.11580)."""
_OVERHEAD_SECONDS = 1.207e-3
"""Of every step (same source)."""
_DRAFT_PASS_SECONDS = 0.33e-3
"""Of one draft pass beside its weights: 2.135 ms for three passes of an EAGLE head (same source)."""


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
    fixed = _OVERHEAD_SECONDS + passes * _DRAFT_PASS_SECONDS
    speculating = math.hypot(1, computed * (cost.tokens + 1)) + passes * cost.weight_ratio
    reading_seconds = max(on_step_seconds - fixed, on_step_seconds / 3) / speculating
    return min(on_step_seconds, _OVERHEAD_SECONDS + reading_seconds * math.hypot(1, computed))
