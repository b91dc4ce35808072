"""The arithmetic that stands for the GPU: how long a step takes, and how many draft tokens are accepted. Pure."""

import math
from dataclasses import dataclass
from random import Random

from rehearsal.engine.behaviour import Behaviour, DraftKind

NGRAM_SHARE = 0.0059
"""Cost of n-gram drafting as a share of the verification step (arXiv 2601.11580)."""


@dataclass(frozen=True)
class Step:
    """What one engine step computes."""

    tokens: int
    """Prompt tokens of requests that begin, one token of each other request, and all draft tokens."""
    kv_tokens: int
    """Tokens in the KV cache that are read."""
    draft_passes: int = 0
    """Tokens proposed for a request, each of which is one pass of the draft; 0 without speculation."""
    drafter: DraftKind = DraftKind.OFF


def step_seconds(behaviour: Behaviour, step: Step) -> float:
    """T = c0 + c1 * tokens + ckv * kv_tokens, plus what drafting costs.

    Source: the affine step-time model of arXiv 2601.11580. It is monotone in every part of the step and in every
    constant.
    """
    verification = (
        behaviour.c0_ms * 1e-3
        + behaviour.c1_us_per_token * 1e-6 * step.tokens
        + behaviour.ckv_ns_per_token * 1e-9 * step.kv_tokens
    )
    return behaviour.slow_factor * (verification + _drafting_seconds(behaviour, step, verification))


def _drafting_seconds(behaviour: Behaviour, step: Step, verification_seconds: float) -> float:
    if step.draft_passes == 0:
        return 0.0
    if step.drafter is DraftKind.NGRAM:
        return NGRAM_SHARE * verification_seconds
    return (behaviour.draft_ms_per_token * step.draft_passes + behaviour.overhead_ms) * 1e-3


def log_acceptance(behaviour: Behaviour, kind: DraftKind, temperature: float) -> float:
    """Logarithm of the conditional acceptance at a sampling temperature; -inf accepts nothing."""
    acceptance = behaviour.acceptance(kind)
    if acceptance == 0:
        return -math.inf
    return math.log(acceptance) - behaviour.temperature_sensitivity * temperature


def accepted_tokens(random: Random, log_acceptance: float, proposed: int) -> int:
    """How many of the proposed tokens are accepted: the first rejection ends it.

    The length of a run of successes of probability a is geometric; it is drawn at once by inversion.
    """
    if log_acceptance == -math.inf:
        return 0
    # 1 - random() lies in (0, 1], whose logarithm exists.
    failure = math.log(1.0 - random.random())
    return proposed if failure <= log_acceptance * proposed else int(failure / log_acceptance)
