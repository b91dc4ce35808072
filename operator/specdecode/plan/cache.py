"""How the KV cache of one mode lies in memory: blocks, groups of layers, and what one request holds.

Follows vLLM's `kv_cache_interface.py` and `kv_cache_utils.py`. Arithmetic only.
"""

from dataclasses import dataclass

from specdecode.engine.models import ModelFacts
from specdecode.engine.profiling import Profiling

BLOCK_TOKENS = 16
"""Tokens of one block (`CacheConfig.DEFAULT_BLOCK_SIZE`)."""

_PADDED_HEAD_DIM = 256
"""Width of the heads of MLA models before their latent is cached (`ModelConfig.get_head_size`, 0.6 and 0.7.0)."""


@dataclass(frozen=True)
class Layers:
    """Layers that keep the same for every token, on one GPU."""

    count: int
    bytes_per_token: int
    """Of one layer."""
    window_tokens: int | None = None
    """None: every token is kept."""


@dataclass(frozen=True)
class CacheLayout:
    """The cache of one mode on one GPU, target and draft together."""

    bytes_per_token: int
    """While every layer still keeps every token, padding not counted."""
    bytes_per_block: int
    """What one block id takes: all layers of the widest group."""
    block_tokens: int
    full_groups: int
    """Groups of layers that keep every token; each takes a block for every `block_tokens`."""
    window_groups: int
    """Groups whose layers keep a window."""
    held_tokens: int
    """Most tokens that a window group holds for one request, those of the steps in flight included."""
    size_counts_requests: bool

    def _blocks_per_request(self, tokens: int) -> int:
        full = -(-tokens // self.block_tokens)
        # One more, because a window need not begin where a block does.
        held = -(-min(tokens, self.held_tokens) // self.block_tokens) + 1
        return self.full_groups * full + self.window_groups * held

    def request_bytes(self, tokens: int) -> int:
        """What one request of that length takes, in whole blocks (`max_memory_usage_bytes`)."""
        return self._blocks_per_request(tokens) * self.bytes_per_block

    def tokens_in(self, available_bytes: int, max_model_len: int) -> int:
        """What the engine prints as `GPU KV cache size`, which has another meaning since 0.21."""
        blocks = max(0, available_bytes) // self.bytes_per_block
        if self.size_counts_requests:
            return blocks * max_model_len // self._blocks_per_request(max_model_len)
        return blocks // (self.full_groups + self.window_groups) * self.block_tokens

    def requests_in(self, available_bytes: int, max_model_len: int) -> float:
        """Requests of that length that are held at once."""
        return max(0, available_bytes) // self.bytes_per_block / self._blocks_per_request(max_model_len)


def _head_bytes(heads: int, head_dim: int, gpus: int, element_bytes: int) -> int:
    """Keys and values of one token in one layer on one GPU. Heads are replicated when there are fewer than GPUs."""
    return max(1, heads // gpus) * 2 * head_dim * element_bytes


def _latent_bytes(facts: ModelFacts, rules: Profiling, gpus: int, element_bytes: int) -> int:
    """MLA keeps one latent and the rotary part, whole on every GPU."""
    if not rules.keeps_latent:
        return _head_bytes(facts.num_attention_heads, _PADDED_HEAD_DIM, gpus, element_bytes)
    entry = ((facts.kv_lora_rank or 0) + (facts.qk_rope_head_dim or 0)) * element_bytes
    return -(-entry // rules.latent_alignment_bytes) * rules.latent_alignment_bytes


def layers_of(facts: ModelFacts, rules: Profiling, *, gpus: int, element_bytes: int) -> tuple[Layers, ...]:
    """The layers of one model by what they keep."""
    if facts.kv_lora_rank is not None:
        return (Layers(facts.num_hidden_layers, _latent_bytes(facts, rules, gpus, element_bytes)),)
    full = _head_bytes(facts.num_key_value_heads, facts.head_dim, gpus, element_bytes)
    sliding = 0 if facts.sliding_window is None else facts.num_sliding_layers
    narrow = _head_bytes(
        facts.sliding_num_key_value_heads or facts.num_key_value_heads,
        facts.sliding_head_dim or facts.head_dim,
        gpus,
        element_bytes,
    )
    window = facts.sliding_window if rules.batches_in_flight > 0 else None
    kinds = (Layers(facts.num_hidden_layers - sliding, full), Layers(sliding, narrow, window))
    return tuple(layers for layers in kinds if layers.count > 0)


def _group_size(full: int, windowed: int, factor: float) -> int:
    """Layers of one group (`_get_kv_cache_groups_uniform_page_size`): the smaller count, unless both are close."""
    smaller, larger = min(full, windowed), max(full, windowed)
    return larger if larger < smaller * factor else smaller


def cache_layout(
    layers: tuple[Layers, ...], rules: Profiling, *, batched_tokens: int, block_tokens: int = BLOCK_TOKENS
) -> CacheLayout:
    """Group the layers of a target and its draft as the engine does.

    Layers of one kind share a group whatever their width. Where some keep a window, groups of equal size share one pool
    of blocks, and the last one is padded.
    """
    bytes_per_token = sum(kind.count * kind.bytes_per_token for kind in layers)
    windowed = [kind for kind in layers if kind.window_tokens is not None]
    full = [kind for kind in layers if kind.window_tokens is None]
    window = max((kind.window_tokens or 0 for kind in windowed), default=0)
    held = window - 1 + rules.batches_in_flight * batched_tokens
    size, full_groups, window_groups = _groups(full, windowed, rules.padding_factor)
    return CacheLayout(
        bytes_per_token=bytes_per_token,
        bytes_per_block=size * block_tokens,
        block_tokens=block_tokens,
        full_groups=full_groups,
        window_groups=window_groups,
        held_tokens=held,
        size_counts_requests=rules.size_counts_requests,
    )


def _groups(full: list[Layers], windowed: list[Layers], factor: float) -> tuple[int, int, int]:
    """Bytes per token of one group, and how many groups keep everything and a window."""
    everything, in_window = _bytes(full), _bytes(windowed)
    if not windowed:
        return everything, 1, 0
    if not full:
        return in_window, 0, 1
    page = max(kind.bytes_per_token for kind in (*full, *windowed))
    # Narrower layers, such as a draft's, take larger blocks of the same page: they count by their bytes.
    full_layers, window_layers = -(-everything // page), -(-in_window // page)
    size = _group_size(full_layers, window_layers, factor)
    return size * page, -(-full_layers // size), -(-window_layers // size)


def _bytes(kinds: list[Layers]) -> int:
    return sum(kind.count * kind.bytes_per_token for kind in kinds)
