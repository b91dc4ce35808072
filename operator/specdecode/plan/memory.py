"""How many bytes each part of vLLM takes on one GPU. Arithmetic only: numbers in, estimates out.

Every estimate is an interval with a most likely value. Formulas and constants come from the source of vLLM 0.32.0 or
from published start-up logs; where a constant was fitted, its spread is the spread of the logs. It knows no spec.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

from specdecode.api.accelerators import GIB
from specdecode.engine.models import BYTES_16_BIT, ModelFacts
from specdecode.engine.version import EngineVersion

BLOCK_TOKENS = 16
"""Tokens of one KV block (`CacheConfig.DEFAULT_BLOCK_SIZE`)."""

CONCURRENT_BATCHES = 2
"""Engine steps in flight under asynchronous scheduling."""


@dataclass(frozen=True)
class Estimate:
    """Bytes with their uncertainty; `low <= nominal <= high`."""

    low: int
    nominal: int
    high: int

    @classmethod
    def exact(cls, value: int) -> "Estimate":
        """A number without spread."""
        return cls(value, value, value)

    @classmethod
    def scaled(cls, low: float, nominal: float, high: float, unit: float = 1) -> "Estimate":
        """Three factors of one unit in bytes."""
        return cls(int(low * unit), int(nominal * unit), int(high * unit))

    def larger_of(self, other: "Estimate") -> "Estimate":
        """Of two peaks that are never there at once, the higher one."""
        return Estimate(max(self.low, other.low), max(self.nominal, other.nominal), max(self.high, other.high))


def requested_bytes(total_bytes: int, utilization: str) -> int:
    """What vLLM may use of one GPU: `ceil(total_memory * gpu_memory_utilization)` (`request_memory`)."""
    return math.ceil(total_bytes * Decimal(utilization))


def weight_bytes(facts: ModelFacts, linear_bits: float) -> int:
    """Bytes of a model's weights, all GPUs together, with its linear layers at `linear_bits` per weight.

    Embedding and lm_head stay in 16 bit: Llama-3.3-70B in FP8 loads 67.72 GiB, not the 65.7 of 8 bits throughout.
    """
    if facts.weight_bytes is not None and linear_bits == facts.weight_bits:
        return facts.weight_bytes
    return facts.embedding_parameters * BYTES_16_BIT + int(facts.linear_parameters * linear_bits / 8)


def weights_per_gpu(total_bytes: int, gpus: int) -> Estimate:
    """A shard of the weights. Norms and narrow KV projections are replicated: logs show up to 0.3 % more per GPU."""
    share = -(-total_bytes // gpus)
    spread = 0.0 if gpus == 1 else 0.004
    return Estimate.scaled(1 - 0.002, 1.0, 1 + 0.002 + spread, share)


def rotary_cache_bytes(facts: ModelFacts, max_model_len: int) -> int:
    """The cos/sin table: positions x head dimension x 2 bytes, whole on every GPU (32 MiB for Llama-3.1)."""
    return (facts.max_position_embeddings or max_model_len) * facts.head_dim * BYTES_16_BIT


def forward_peak(facts: ModelFacts, batched_tokens: int, gpus: int) -> Estimate:
    """Activations of one step: tokens x 2 bytes x (3 * intermediate / TP + c * hidden), c = 3 to 4.

    Qwen3-8B at 4096 tokens: 0.37 GiB compiled, 0.41 eager (vLLM 0.29.0).
    """
    sharded = 3 * facts.intermediate_size / gpus
    low, nominal, high = (sharded + c * facts.hidden_size for c in (3.0, 3.5, 4.0))
    return Estimate.scaled(low, nominal, high, batched_tokens * BYTES_16_BIT)


def sampler_peak(max_num_seqs: int, vocab_size: int, *, v2_runner: bool) -> Estimate:
    """The profiling run of the sampler over the whole vocabulary in 32 bit; logits are gathered, not divided by TP.

    First runner: 9.6 to 9.9 copies in five published runs on vLLM 0.11.0. Second runner: bounded at about 2.1.
    """
    copies = (1.0, 2.1, 3.0) if v2_runner else (9.6, 9.7, 9.9)
    return Estimate.scaled(*copies, max_num_seqs * vocab_size * 4)


def non_torch(gpus: int, version: EngineVersion) -> Estimate:
    """CUDA context and communication buffers beyond what PyTorch allocates.

    One GPU: 0.11 to 0.15 GiB. More: 0.21 (4x L40S) and 0.55 (2x H100) were measured and it varies several-fold with the
    interconnect. Before 0.11 the communicator is created after the first reading and charged to the budget: up to 7.2.
    """
    if gpus == 1:
        return Estimate.scaled(0.10, 0.13, 0.16, GIB)
    if version < EngineVersion(0, 11):
        return Estimate.scaled(0.5, 2.0, 7.2, GIB)
    return Estimate.scaled(0.2, 0.55, 1.1, GIB)


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


def kv_bytes_per_token(facts: ModelFacts, gpus: int, element_bytes: int) -> int:
    """Keys and values of one token in one layer on one GPU. Heads are replicated when there are fewer than GPUs."""
    local_heads = max(1, facts.num_key_value_heads // gpus)
    return local_heads * 2 * facts.head_dim * element_bytes


@dataclass(frozen=True)
class KvShape:
    """How the KV cache of one mode is laid out on one GPU."""

    full_bytes_per_token: int
    """Of the layers that keep every token, target and draft together."""
    sliding_bytes_per_token: int
    """Of the layers that keep a window."""
    window_tokens: int
    """Tokens that a sliding layer holds at most for one request, including those of the steps in flight."""

    @property
    def bytes_per_token(self) -> int:
        """While every layer still keeps every token."""
        return self.full_bytes_per_token + self.sliding_bytes_per_token

    def request_bytes(self, tokens: int) -> int:
        """What one request of that length takes, in whole blocks (`max_memory_usage_bytes`)."""
        full = _in_blocks(tokens)
        kept = min(full, _in_blocks(min(tokens, self.window_tokens)) + BLOCK_TOKENS)
        return full * self.full_bytes_per_token + kept * self.sliding_bytes_per_token

    def tokens_in(self, available_bytes: int, max_model_len: int) -> int:
        """Tokens that fit: whole blocks for uniform layers, requests x length where a window bounds some layers."""
        if available_bytes <= 0:
            return 0
        if self.sliding_bytes_per_token == 0:
            return BLOCK_TOKENS * (available_bytes // (BLOCK_TOKENS * self.full_bytes_per_token))
        return int(available_bytes / self.request_bytes(max_model_len) * max_model_len)


def _in_blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS) * BLOCK_TOKENS


def kv_shape(
    target: ModelFacts, draft: ModelFacts | None, *, gpus: int, element_bytes: int, batched_tokens: int
) -> KvShape:
    """Layout for a target and, when it keeps a cache, its draft (`get_kv_cache_spec` walks the layers of both)."""
    per_layer = kv_bytes_per_token(target, gpus, element_bytes)
    sliding = target.num_sliding_layers if target.sliding_window is not None else 0
    full_bytes = (target.num_hidden_layers - sliding) * per_layer
    if draft is not None:
        full_bytes += draft.num_hidden_layers * kv_bytes_per_token(draft, gpus, element_bytes)
    window = (target.sliding_window or 1) - 1 + CONCURRENT_BATCHES * batched_tokens
    return KvShape(full_bytes, sliding * per_layer, window)
