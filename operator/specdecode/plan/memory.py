"""How many bytes each part of vLLM takes on one GPU. Arithmetic only: numbers in, estimates out.

Every estimate is an interval with a most likely value. Formulas come from the source of vLLM; a constant that was
fitted says to which logs, and its spread is theirs. It knows no spec.
"""

import math
from decimal import Decimal

from specdecode.api.accelerators import GIB
from specdecode.engine.models import BYTES_16_BIT, ModelFacts
from specdecode.engine.profiling import Profiling, Sampler
from specdecode.plan.estimate import Estimate

BYTES_32_BIT = 4

LIBRARY_WORKSPACE = Estimate.scaled(0.008, 0.033, 0.064, GIB)
"""Of cuBLAS: 32 MiB on Hopper. Five H100 logs of vLLM 0.11.0 leave 0.033 to 0.038 GiB beside sampler and hidden states;
two runs on an RTX 4090 at 2048 and 8192 tokens (vllm-project/vllm#48322) leave 0.03."""

_SORT_BYTES = 38.0
"""Per logit while PyTorch sorts: 2 in 16 bit, 4 in 32 bit, 12 for values and indices, 20 of the sort's own scratch.
Fitted: Qwen3-0.6B, Qwen3-32B, Llama-8B, Llama-70B and gpt-oss with 1024 sequences on vLLM 0.11.0 agree within 0.3 %;
Qwen3-235B with 256 on 4 GPUs agrees as well, so it is not divided by them."""

_MASK_BYTES = (8.0, 16.0, 20.0)
"""Per logit: 2 in 16 bit, 4 in 32 bit, 4 of probabilities, 4 of noise, and copies between them. Mistral-Small with 1024
sequences on vLLM 0.11.0, whose image has FlashInfer's sampler, leaves 15.9."""

_MASK_PROGRAMS = 132
"""Rows of the kernel's own buffer, one for each multiprocessor (H100)."""

_GUMBEL_BYTES = (2.0, 2.5, 6.0)
"""Per logit: 2 in 16 bit; sampling itself is fused."""


def requested_bytes(total_bytes: int, utilization: str) -> int:
    """What vLLM may use of one GPU: `ceil(total_memory * gpu_memory_utilization)` (`request_memory`)."""
    return math.ceil(total_bytes * Decimal(utilization))


def weight_bytes(facts: ModelFacts, linear_bits: float) -> int:
    """Bytes of a model's weights, all GPUs together, with its linear layers at `linear_bits` per weight.

    Embedding and lm_head stay in 16 bit: Llama-3.3-70B in FP8 loads 67.72 GiB, not the 65.7 of 8 bits throughout.
    """
    if facts.weight_bytes is not None and linear_bits == facts.weight_bits:
        return facts.weight_bytes
    return facts.unquantized_parameters * BYTES_16_BIT + int(facts.linear_parameters * linear_bits / 8)


def weights_per_gpu(total_bytes: int, gpus: int, *, whole_bytes: int = 0) -> Estimate:
    """A shard of the weights, with `whole_bytes` of them on every GPU. Norms and narrow KV projections are replicated
    as well: logs show up to 0.3 % more per GPU.
    """
    share = -(-(total_bytes - whole_bytes) // gpus) + whole_bytes
    spread = 0.0 if gpus == 1 else 0.003
    return Estimate.scaled(1 - 0.002, 1.0, 1 + 0.002 + spread, share)


def rotary_cache_bytes(facts: ModelFacts, max_model_len: int) -> int:
    """The cos/sin table: positions x rotary width x 2 bytes, whole on every GPU (32 MiB for Llama-3.1)."""
    width = facts.qk_rope_head_dim or facts.rotary_dim or facts.head_dim
    return max(facts.max_position_embeddings or 0, max_model_len) * width * BYTES_16_BIT


def forward_peak(facts: ModelFacts, batched_tokens: int, gpus: int, *, is_compiled: bool) -> Estimate:
    """Activations of one step: tokens x 2 bytes x (3 x intermediate / TP + c x hidden).

    Compiled, c is 2: Qwen3-8B takes 0.34 GiB at 4096 tokens (vLLM 0.29.0), and 0.51 more at 8192 than at 2048
    (vllm-project/vllm#48322). Eager it is 3.3: Qwen3-8B 0.38 (0.29.0), Qwen3-4B and Qwen2.5-1.5B on the first engine.
    Experts add their outputs before they are summed.
    """
    sharded = 3 * facts.intermediate_size / gpus
    copies = (1.5, 2.0, 3.0) if is_compiled else (2.8, 3.3, 4.2)
    experts = (0.0, 2.0, 4.0) if facts.num_experts else (0.0, 0.0, 0.0)
    widths = (sharded + (c + extra) * facts.hidden_size for c, extra in zip(copies, experts, strict=True))
    low, nominal, high = widths
    return Estimate.scaled(low, nominal, high, batched_tokens * BYTES_16_BIT)


def auxiliary_states(facts: ModelFacts, batched_tokens: int) -> Estimate:
    """What an EAGLE-3 head reads of the target: hidden states after three layers, kept to the end, and joined."""
    return Estimate.scaled(0, 3, 6, batched_tokens * facts.hidden_size * BYTES_16_BIT)


def sampler_peak(facts: ModelFacts, sampler: Sampler, *, max_num_seqs: int, batched_tokens: int) -> Estimate:
    """The profiling run of the sampler over the whole vocabulary, with the hidden states it starts from.

    Logits are gathered on every GPU, not divided by TP. Twice the sampled rows of hidden states are copied.
    """
    rows = min(max_num_seqs, batched_tokens)
    hidden = facts.hidden_size * BYTES_16_BIT * (batched_tokens + 2 * rows)
    logits = rows * facts.vocab_size
    if sampler is Sampler.SORT:
        peak = Estimate.scaled(0.99 * _SORT_BYTES, _SORT_BYTES, 1.02 * _SORT_BYTES, logits)
    elif sampler is Sampler.MASK:
        kernel = Estimate.exact(_MASK_PROGRAMS * facts.vocab_size * BYTES_32_BIT)
        peak = Estimate.scaled(*_MASK_BYTES, logits).plus(kernel)
    else:
        peak = Estimate.scaled(*_GUMBEL_BYTES, logits)
    return peak.plus(Estimate.exact(hidden))


def cold_start_peak(facts: ModelFacts, gpus: int) -> Estimate:
    """What Inductor's benchmarks hold at a start without a compile cache: a copy of the embedding's shard.

    Qwen3-8B, vLLM 0.29.0: cold peaks of 1.16 to 1.21 GiB against an embedding of 1.159; Qwen3-32B on two GPUs, 0.28.0:
    0.47 GiB less cache against 0.42 by this rule (vllm-project/vllm#54383). One cold start of five, with batches of 512
    tokens, still held a second copy when free memory was read. Not proven from the source.
    """
    shard, rest = facts.vocab_size * facts.hidden_size * BYTES_16_BIT // gpus, GIB // 64
    return Estimate(shard + rest, shard + rest, 2 * shard + rest)


def buffers(
    facts: ModelFacts, sampler: Sampler, *, max_num_seqs: int, batched_tokens: int, keeps_hidden_states: bool
) -> int:
    """What the runner allocates for its life. Second runner: counts of every output token and a mask of the prompt's
    (`PenaltiesState`), 4 + 1/8 bytes per sequence and vocabulary entry. A head keeps the target's hidden states.
    """
    penalties = max_num_seqs * facts.vocab_size * 33 // 8 if sampler is Sampler.GUMBEL else 0
    hidden = batched_tokens * facts.hidden_size * BYTES_16_BIT if keeps_hidden_states else 0
    return penalties + hidden


def context() -> Estimate:
    """The CUDA context: 0.38 GiB on an RTX 4090, 0.49 on an L40S, 0.61 on H100 and B300 (free memory at start)."""
    return Estimate.scaled(0.15, 0.4, 0.65, GIB)


def communicator(gpus: int) -> Estimate:
    """NCCL's buffers, where they are charged: 7.16 GiB on eight H200, little on PCIe."""
    if gpus == 1:
        return Estimate.exact(0)
    return Estimate.scaled(0.1, 0.3 * gpus, 0.95 * gpus, GIB)


def non_torch(rules: Profiling, gpus: int, *, has_nvlink: bool) -> Estimate:
    """What the budget is charged beyond PyTorch's allocations.

    One GPU: 0.11 to 0.15 GiB (RTX 4090, H100); the first engine 0.01 to 0.28 in nine logs. More since 0.11: 0.54 and
    0.55 on two H100, whose NVLink has buffers of its own; 0.07 on two RTX 4090, 0.21 on four L40S. Before, the
    communicator counts as well.
    """
    if gpus == 1:
        own = Estimate.scaled(0.01, 0.08, 0.28, GIB) if rules.is_v0 else Estimate.scaled(0.05, 0.13, 0.2, GIB)
    else:
        own = Estimate.scaled(0.2, 0.54, 1.1, GIB) if has_nvlink else Estimate.scaled(0.05, 0.15, 0.4, GIB)
    if rules.charges_communicator:
        own = own.plus(communicator(gpus))
    return own.plus(context()) if rules.charges_context else own


def outside_communicator(rules: Profiling, gpus: int) -> Estimate:
    """What communication takes beside the budget where it is not charged.

    Eight cards on PCIe with 1.57 GiB beside their budget ran out of memory while graphs were captured, 1.37 of it in
    use (vllm-project/vllm#51590): with the context, each peer takes at least 0.17. Two H100 have 0.93 less free at
    start than one, four L40S show nothing.
    """
    if gpus == 1 or rules.charges_communicator:
        return Estimate.exact(0)
    return Estimate.scaled(0.0, 0.17 * (gpus - 1), 0.95 + 0.17 * (gpus - 2), GIB)


def capture_sizes(max_num_seqs: int, num_speculative_tokens: int) -> int:
    """How many batch sizes are captured as CUDA graphs (`_set_cudagraph_sizes`): 1, 2, 4, then every 8, then every 16.

    8 sequences without speculation: 1, 2, 4, 8, 16, hence 5. Speculation adds the multiples of its step width.
    """
    width = 1 + num_speculative_tokens
    largest = min(max_num_seqs * width * 2, 512)
    sizes = {size for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= largest}
    if width > 1:
        sizes |= {size * width for size in sizes if size * width <= largest}
    return len(sizes)


def cuda_graphs(layers: int, sizes: int) -> Estimate:
    """Memory of the captured graphs, by layers and sizes.

    0.4 MiB each fits the estimates that vLLM logs: 0.07 GiB for Qwen3-8B with 5 sizes, 0.56 with 51 on one GPU. The
    spread is a factor of two; a plan that must not fail keeps the upper end.
    """
    return Estimate.scaled(0.5, 1.0, 2.0, layers * sizes * 0.4 * 1024**2)
