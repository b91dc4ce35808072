"""The speed-up of speculative decoding before it ever ran: a step-time model by cause, on known hardware.

    S = L · T_off / T_on
    T_off = o + pass(B) + prompts
    T_on  = o + pass(B·(1 + q·k)) + L · prompts + k · (d + pass of the draft over B)
    pass(n) = (weights^p + (n · compute)^p)^(1/p) + B · KV cache + reductions over the GPUs

`L` is the acceptance length over all steps, `B` the requests that run at once, `k` the draft tokens, `q` the share of
steps that draft at all. Throughput pays for prompts too, and an engine that emits faster meets them sooner. Weights are
read once per pass, those of a mixture of experts as far as its tokens need them. The terms come from sizes and data
sheets; seven constants are fitted. arXiv 2601.11580 measures the same terms with p = 1.
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
    link_bytes_per_second: float
    """To its neighbours, one direction."""


GPUS = MappingProxyType(
    {
        "H100": Gpu(3.35e12, 989e12, 450e9),  # NVIDIA H100 data sheet, SXM
        "H200": Gpu(4.8e12, 989e12, 450e9),  # NVIDIA H200 data sheet, SXM
        "H20": Gpu(4.0e12, 148e12, 450e9),  # no data sheet; as reviews give it
        "A100": Gpu(2.039e12, 312e12, 300e9),  # NVIDIA A100 data sheet, 80 GB SXM
        "L40S": Gpu(0.864e12, 362e12, 32e9),  # NVIDIA L40S data sheet, without sparsity
        "B200": Gpu(7.7e12, 2250e12, 900e9),  # NVIDIA HGX B200, of one of 8, without sparsity
        "B300": Gpu(8.0e12, 2250e12, 900e9),  # NVIDIA HGX B300, of one of 8, without sparsity
        "GB200": Gpu(8.0e12, 2500e12, 900e9),  # NVIDIA GB200 NVL72 data sheet / 72, without sparsity
        "RTX 3090": Gpu(0.936e12, 71e12, 32e9),  # NVIDIA Ampere GA102 white paper, FP32 accumulation
        "RTX 4090": Gpu(1.008e12, 165e12, 32e9),  # NVIDIA Ada white paper, FP32 accumulation
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
    hidden_size: int
    kv_bytes_per_token: float
    expert_bytes: float = 0.0
    """Of all routed experts together; 0 for a dense model."""
    active_share: float = 1.0
    """Experts per token / routed experts."""

    def bytes_for(self, tokens: float) -> float:
        """Read by a pass over `tokens`: every expert that at least one of them is routed to, routing being even."""
        return self.weight_bytes + self.expert_bytes * (1 - math.pow(1 - self.active_share, tokens))


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
    """Per draft, k; at least 1."""
    acceptance_length: float
    """Tokens per step of one request, those included in which nothing was drafted."""
    draft: Network | None
    """Run k times in turn. None: tokens are looked up in the text (n-gram), and only where something matches."""
    share: float | None = None
    """Of the steps that draft. None: all with a draft network; with n-gram it follows from the acceptance length."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What no data sheet says: fitted to the points of arXiv 2601.11580, Llama 8B and 70B on one and four H100.

    They lie in a flat valley, so they are rounded. `make bench` fits others, without each data set and each batch size
    in turn, and prints the errors of both.
    """

    bandwidth_efficiency: float = 0.72
    compute_efficiency: float = 0.83
    overlap: float = 1.3
    """Reading weights and computing hide each other: 1, not at all; infinite, the longer one counts (roofline)."""
    step_seconds: float = 0.99e-3
    """Of every engine step, with and without speculation."""
    draft_pass_seconds: float = 0.3e-3
    """Launches of one draft pass."""
    layer_seconds: float = 15.5e-6
    """Of the two reductions of one layer over several GPUs, whatever their size."""
    matches_per_accepted_token: float = 1.16
    """n-gram: q = 1 - exp(-this · (L - 1)); text that repeats itself is both matched and accepted more often."""


CONSTANTS = Constants()
NETWORK_RESIDUAL, LOOKUP_RESIDUAL = 0.11, 0.08
"""Relative error that 95 % of the development points stay within: with a draft network, and with n-gram."""


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

    def seconds(self, requests: float, tokens: float, context_tokens: float, prompt_tokens: float) -> float:
        """One pass over `tokens` of so many requests, with the prompts that are computed meanwhile."""
        gpu, ranks, tuned = self.hardware.gpu, self.hardware.tensor_parallel, self.constants
        per_token = 2 * self.network.parameters / gpu.flops / tuned.compute_efficiency
        read = self.network.bytes_for(tokens) / gpu.bytes_per_second / tuned.bandwidth_efficiency
        power = tuned.overlap
        weights = math.pow(math.pow(read, power) + math.pow(tokens * per_token, power), 1 / power)
        cached = requests * context_tokens * self.network.kv_bytes_per_token / gpu.bytes_per_second
        return (weights + prompt_tokens * per_token + cached) / ranks + self._reductions(tokens + prompt_tokens)

    def _reductions(self, tokens: float) -> float:
        """Two sums of the activations per layer, each sent around a ring twice, in 16 bit."""
        ranks = self.hardware.tensor_parallel
        if ranks == 1:
            return 0.0
        sent = 2 * 2 * (ranks - 1) / ranks * 2 * self.network.hidden_size * tokens
        return self.network.layers * (self.constants.layer_seconds + sent / self.hardware.gpu.link_bytes_per_second)


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
    """Tokens per second with speculation / without it, given how long the accepted runs are."""
    off = step_seconds(target, hardware, load, None, constants)
    value = drafting.acceptance_length * off / step_seconds(target, hardware, load, drafting, constants)
    residual = LOOKUP_RESIDUAL if drafting.draft is None else NETWORK_RESIDUAL
    return Interval(value / (1 + residual), value, value * (1 + residual))
