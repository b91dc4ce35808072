"""How many weights a decoder has, by its dimensions. Exact for the architectures that `architectures` names.

Formulas follow the modules of each model in transformers; the tests hold them against published totals.
"""

from dataclasses import dataclass, replace

from specdecode.engine.checkpoint.architectures import Architecture
from specdecode.engine.checkpoint.keys import ConfigKeys


@dataclass(frozen=True)
class Dimensions:
    """What every decoder states, defaults filled in."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    """Of a layer that keeps every token."""
    head_dim: int
    vocab: int
    is_tied: bool
    sliding_layers: int = 0
    sliding_kv_heads: int = 0
    sliding_head_dim: int = 0


@dataclass(frozen=True)
class Parameters:
    """Weights by what quantisation does with them."""

    embedding: int = 0
    """Embedding and lm_head."""
    attention: int = 0
    mlp: int = 0
    """Of layers without experts, or beside them."""
    experts: int = 0
    """Routed."""
    shared_experts: int = 0
    plain: int = 0
    """Norms, biases, routers."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.attention + self.mlp + self.experts + self.shared_experts + self.plain


def moe_layers(keys: ConfigKeys, layers: int) -> int:
    """Layers with experts."""
    if keys.experts == 0:
        return 0
    if keys.n_routed_experts:
        first, step = keys.first_k_dense_replace or 0, keys.moe_layer_freq or 1
        return sum(layer >= first and layer % step == 0 for layer in range(layers))
    dense, step = keys.mlp_only_layers or (), keys.decoder_sparse_step or 1
    return sum(layer not in dense and (layer + 1) % step == 0 for layer in range(layers))


def expert_width(keys: ConfigKeys, dimensions: Dimensions) -> int:
    """Width of one routed expert."""
    return keys.moe_intermediate_size or dimensions.intermediate


def shared_width(keys: ConfigKeys) -> int:
    """Width of the shared experts together."""
    if keys.n_shared_experts:
        return keys.n_shared_experts * (keys.moe_intermediate_size or 0)
    return keys.shared_expert_intermediate_size or 0


def visited_width(keys: ConfigKeys, dimensions: Dimensions) -> int:
    """Width of everything that one token visits in the widest layer."""
    sparse = moe_layers(keys, dimensions.layers)
    if sparse == 0:
        return dimensions.intermediate
    experts = keys.experts_per_token * expert_width(keys, dimensions) + shared_width(keys)
    if _has_mlp_beside_experts(keys):
        return experts + dimensions.intermediate
    return max(experts, dimensions.intermediate) if sparse < dimensions.layers else experts


def _has_mlp_beside_experts(keys: ConfigKeys) -> bool:
    return keys.model_type.startswith("gemma4")


def latent_projections(keys: ConfigKeys, dimensions: Dimensions) -> tuple[int, int]:
    """Down and up projections of all MLA layers: to the latents of queries and keys, and from the latent to keys and
    values of every head. Nothing for ordinary attention.
    """
    latent = keys.kv_lora_rank or 0
    if not latent:
        return 0, 0
    down = dimensions.hidden * ((keys.q_lora_rank or 0) + latent + (keys.qk_rope_head_dim or 0))
    up = latent * dimensions.heads * ((keys.qk_nope_head_dim or 0) + (keys.v_head_dim or 0))
    return dimensions.layers * down, dimensions.layers * up


def _latent_attention(keys: ConfigKeys, dimensions: Dimensions) -> tuple[int, int]:
    """Projections and norms of one MLA layer (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""
    hidden, heads = dimensions.hidden, dimensions.heads
    latent, query = keys.kv_lora_rank or 0, keys.q_lora_rank or 0
    rope, nope, value = keys.qk_rope_head_dim or 0, keys.qk_nope_head_dim or 0, keys.v_head_dim or 0
    queries = heads * (nope + rope)
    down_and_up = hidden * query + query * queries if query else hidden * queries
    keys_and_values = hidden * (latent + rope) + latent * heads * (nope + value)
    return down_and_up + keys_and_values + heads * value * hidden, query + latent


def _attention(
    keys: ConfigKeys, known: Architecture, dimensions: Dimensions, *, kv_heads: int, head_dim: int, shares_values: bool
) -> tuple[int, int]:
    """Projections of one layer, and its norms, biases and sinks."""
    hidden, queries, cached = dimensions.hidden, dimensions.heads * head_dim, kv_heads * head_dim
    linear = 2 * hidden * queries + hidden * cached * (1 if shares_values else 2)
    plain = 2 * head_dim if known.query_key_norm or keys.use_qk_norm else 0
    if known.query_key_value_bias or keys.attention_bias:
        plain += queries + 2 * cached
    if keys.attention_bias and known.output_bias and not known.query_key_value_bias:
        plain += hidden
    return linear, plain + (dimensions.heads if known.attention_sinks else 0)


def _all_attention(keys: ConfigKeys, known: Architecture, dimensions: Dimensions) -> tuple[int, int]:
    if keys.kv_lora_rank:
        linear, plain = _latent_attention(keys, dimensions)
        return dimensions.layers * linear, dimensions.layers * plain
    full = _attention(
        keys,
        known,
        dimensions,
        kv_heads=dimensions.kv_heads,
        head_dim=dimensions.head_dim,
        shares_values=bool(keys.attention_k_eq_v),
    )
    sliding = _attention(
        keys,
        known,
        dimensions,
        kv_heads=dimensions.sliding_kv_heads or dimensions.kv_heads,
        head_dim=dimensions.sliding_head_dim or dimensions.head_dim,
        shares_values=False,
    )
    counts = (dimensions.layers - dimensions.sliding_layers, dimensions.sliding_layers)
    linear = counts[0] * full[0] + counts[1] * sliding[0]
    return linear, counts[0] * full[1] + counts[1] * sliding[1]


def _experts(keys: ConfigKeys, known: Architecture, dimensions: Dimensions) -> Parameters:
    """Of one layer with experts."""
    hidden, count, width, shared = dimensions.hidden, keys.experts, expert_width(keys, dimensions), shared_width(keys)
    plain = hidden * count
    if known.expert_bias:
        plain += count + count * (2 * width + hidden)
    if keys.topk_method == "noaux_tc" or keys.model_type == "glm4_moe":
        plain += count
    if keys.shared_expert_intermediate_size:
        plain += hidden
    if _has_mlp_beside_experts(keys):
        # Scales of the router and of each expert, and three norms.
        plain += hidden + count + 3 * hidden
    return Parameters(experts=3 * hidden * width * count, shared_experts=3 * hidden * shared, plain=plain)


def count_parameters(keys: ConfigKeys, known: Architecture, dimensions: Dimensions) -> Parameters:
    """Weights of a whole decoder without its multi-token-prediction layers."""
    hidden, layers = dimensions.hidden, dimensions.layers
    attention, attention_plain = _all_attention(keys, known, dimensions)
    sparse = moe_layers(keys, layers)
    dense = layers if _has_mlp_beside_experts(keys) else layers - sparse
    experts = _experts(keys, known, dimensions) if sparse else Parameters()
    plain = attention_plain + layers * known.norms_per_layer * hidden + hidden
    if keys.mlp_bias:
        plain += dense * (2 * dimensions.intermediate + hidden)
    if keys.model_type.startswith("gemma4"):
        plain += layers  # one scale per layer
    return Parameters(
        embedding=dimensions.vocab * hidden * (1 if dimensions.is_tied else 2),
        attention=attention,
        mlp=dense * 3 * hidden * dimensions.intermediate,
        experts=sparse * experts.experts,
        shared_experts=sparse * experts.shared_experts,
        plain=plain + sparse * experts.plain,
    )


def count_mtp(keys: ConfigKeys, known: Architecture, dimensions: Dimensions) -> int:
    """Weights of the multi-token-prediction layers, without embedding and lm_head, which they share with the target."""
    count = keys.num_nextn_predict_layers or 0
    if count == 0:
        return 0
    # Such a layer is like the last one, which has experts.
    one = replace(dimensions, layers=1, sliding_layers=0)
    layer = keys.model_copy(update={"first_k_dense_replace": 0})
    parts = count_parameters(layer, known, one)
    joining = 2 * dimensions.hidden * dimensions.hidden + 2 * dimensions.hidden
    return count * (parts.total - parts.embedding + joining)
