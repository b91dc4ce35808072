"""The speed-up of speculative decoding before it ever ran: a step-time model by cause, on known hardware.

    S = L · T_off / T_on
    T_off = o + weights(B) + m·(B + P) + B·K
    T_on  = o + weights(B·(1 + q·k)) + m·(B·(1 + q·k) + L·P) + B·K + drafting
    drafting = passes · (d + draft weights + draft tokens)

`L` is the acceptance length over all steps, `B` the requests that run at once, `k` the draft tokens, `q` the share of
steps that draft at all, `K` reading one request's KV cache, `P` the prompt tokens that are computed while every request
emits one token: throughput pays for prompts too, and an engine that emits faster meets them sooner. Weights are read
once per step, those of a mixture of experts as far as its tokens need them. Everything is in seconds, bytes, FLOPs.

Affine in tokens, as measured for arXiv 2601.11580; the terms come from sizes and data sheets, six constants are fitted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from specdecode.decide.facts import Interval


@dataclass(frozen=True, slots=True)
class Gpu:
    """What one GPU can do at most, from its data sheet."""

    bytes_per_second: float
    """Memory bandwidth."""
    flops: float
    """Dense 16-bit tensor operations per second."""


GPUS = MappingProxyType(
    {
        "H100": Gpu(3.35e12, 989e12),  # NVIDIA H100 data sheet, SXM
        "H200": Gpu(4.8e12, 989e12),  # NVIDIA H200 data sheet, SXM
        "H20": Gpu(4.0e12, 148e12),  # NVIDIA H20 specification as listed by resellers
        "A100": Gpu(2.039e12, 312e12),  # NVIDIA A100 data sheet, 80 GB SXM
        "L40S": Gpu(0.864e12, 362e12),  # NVIDIA L40S data sheet, without sparsity
        "B200": Gpu(7.7e12, 2250e12),  # NVIDIA DGX B200 data sheet / 8, without sparsity
        "B300": Gpu(8.0e12, 2250e12),  # NVIDIA DGX B300 data sheet / 8, without sparsity
        "GB200": Gpu(8.0e12, 2500e12),  # NVIDIA GB200 NVL72 data sheet / 72, without sparsity
        "RTX 3090": Gpu(0.936e12, 71e12),  # NVIDIA Ampere GA102 white paper, FP32 accumulation
        "RTX 4090": Gpu(1.008e12, 165e12),  # NVIDIA Ada white paper, FP32 accumulation
    }
)


@dataclass(frozen=True, slots=True)
class Network:
    """A target or a draft, as one forward pass sees it. The table of input embeddings is looked up, not read."""

    parameters: float
    """That one token is multiplied with: of a mixture of experts, the active ones."""
    weight_bytes: float
    """That every pass reads, at the stored precision; without the routed experts."""
    layers: int
    kv_bytes_per_token: float
    expert_bytes: float = 0.0
    """Of all routed experts together; 0 for a dense model."""
    active_share: float = 1.0
    """Experts per token / routed experts."""

    def bytes_for(self, tokens: float) -> float:
        """Read by a pass over `tokens`: every expert that at least one of them is routed to, routing being even."""
        return self.weight_bytes + self.expert_bytes * (1 - (1 - self.active_share) ** tokens)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the engine runs on."""

    gpu: Gpu
    tensor_parallel: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of it."""

    requests: float
    """Running at once."""
    context_tokens: float
    """Cached per request, mean over its life: the prompt and half of the reply."""
    prompt_tokens_per_output_token: float = 0.0
    """0: prompts are served elsewhere or the metric leaves them out."""


@dataclass(frozen=True, slots=True)
class Drafting:
    """How it speculates, and how well."""

    tokens: int
    """Per draft, k."""
    acceptance_length: float
    """Tokens per step of one request, those included in which nothing was drafted."""
    draft: Network | None
    """Run k times in turn. None: tokens are looked up in the text (n-gram), and only where something matches."""
    share: float | None = None
    """Of the steps that draft. None: all with a draft network; with n-gram it follows from the acceptance length."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What no data sheet says. Fitted; `make bench` prints the error without each data set in turn."""

    bandwidth_efficiency: float = 0.761
    compute_efficiency: float = 0.773
    step_seconds: float = 1.207e-3
    """Of every engine step, with and without speculation."""
    draft_pass_seconds: float = 0.15e-3
    """Launches of one draft pass."""
    layer_seconds: float = 20e-6
    """Of the reductions of one layer over several GPUs."""
    overlap: float = 1.0
    matches_per_accepted_token: float = 1.0
    """n-gram: q = 1 - exp(-this · (L - 1)); text that repeats itself is both matched and accepted more often."""


CONSTANTS = Constants()
RESIDUAL = 0.10
"""Relative error that nine of ten development points stay within."""


def acceptance_length(by_position: Sequence[float]) -> float:
    """Acceptance length from the shares of drafts accepted at least up to each position; 1 without positions."""
    return 1 + math.fsum(by_position)


def drafting_share(drafting: Drafting, constants: Constants = CONSTANTS) -> float:
    """Of the steps that draft, 0..1."""
    if drafting.share is not None:
        return drafting.share
    if drafting.draft is not None:
        return 1.0
    return -math.expm1(-constants.matches_per_accepted_token * (drafting.acceptance_length - 1))


@dataclass(frozen=True, slots=True)
class _Pass:
    """Prices of forward passes of one network."""

    network: Network
    hardware: Hardware
    constants: Constants

    def seconds(self, requests: float, tokens: float, context_tokens: float, prompt_tokens: float = 0.0) -> float:
        """One pass over `tokens` of so many requests, with the prompts that are computed meanwhile."""
        network, gpu, ranks = self.network, self.hardware.gpu, self.hardware.tensor_parallel
        cached = requests * context_tokens * network.kv_bytes_per_token
        per_token = 2 * network.parameters / self.constants.compute_efficiency / gpu.flops
        read = network.bytes_for(tokens) / self.constants.bandwidth_efficiency / gpu.bytes_per_second
        p = self.constants.overlap
        weights = (read**p + (tokens * per_token) ** p) ** (1 / p)
        reductions = network.layers * self.constants.layer_seconds if ranks > 1 else 0.0
        return (weights + prompt_tokens * per_token + cached / gpu.bytes_per_second) / ranks + reductions


def step_seconds(
    target: Network, hardware: Hardware, load: Load, drafting: Drafting | None, constants: Constants = CONSTANTS
) -> float:
    """One engine step in which every request advances; without speculation when `drafting` is None."""
    price = _Pass(target, hardware, constants)
    prompts = load.requests * load.prompt_tokens_per_output_token
    if drafting is None:
        return constants.step_seconds + price.seconds(load.requests, load.requests, load.context_tokens, prompts)
    share, emitted = drafting_share(drafting, constants), drafting.acceptance_length
    tokens = load.requests * (1 + share * drafting.tokens)
    seconds = constants.step_seconds + price.seconds(load.requests, tokens, load.context_tokens, emitted * prompts)
    if drafting.draft is not None:
        one = _Pass(drafting.draft, hardware, constants)
        drafted = one.seconds(load.requests, load.requests, load.context_tokens, emitted * prompts / drafting.tokens)
        seconds += drafting.tokens * (drafted + constants.draft_pass_seconds)
    return seconds


def predict_speedup(
    target: Network, hardware: Hardware, load: Load, drafting: Drafting, constants: Constants = CONSTANTS
) -> Interval:
    """Tokens per second with speculation / without it; the interval holds nine of ten development points."""
    off = step_seconds(target, hardware, load, None, constants)
    value = drafting.acceptance_length * off / step_seconds(target, hardware, load, drafting, constants)
    return Interval(value / (1 + RESIDUAL), value, value * (1 + RESIDUAL))
