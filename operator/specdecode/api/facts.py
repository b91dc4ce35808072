"""Facts of a model that is neither in the catalogue nor on a mounted path: config.json's own keys, in camelCase."""

from typing import Annotated, ClassVar

from pydantic import Field

from specdecode.api.base import ApiModel, Rule
from specdecode.api.values import (
    ArchitectureName,
    FamilyName,
    Fraction,
    Integer,
    Quantity,
    QuantizationName,
    Switch,
)

Count = Annotated[Integer, Field(ge=1, le=1_000_000_000)]


class ModelFactsSpec(ApiModel):
    """What the plan must know of a model. Copy the keys from its config.json."""

    rules: ClassVar = (
        Rule(
            cel="has(self.parameters) || has(self.weightBytes)",
            message="one of parameters (how many weights) and weightBytes (what they take on disk) must be set",
            holds=lambda facts: facts.parameters is not None or facts.weight_bytes is not None,
        ),
        Rule(
            cel="has(self.headDim) || self.hiddenSize % self.numAttentionHeads == 0",
            message="headDim is required when hiddenSize is no multiple of numAttentionHeads",
            holds=lambda facts: facts.head_dim is not None or facts.hidden_size % facts.num_attention_heads == 0,
        ),
        Rule(
            cel="has(self.slidingWindow) == has(self.numSlidingLayers)",
            message="slidingWindow (tokens) and numSlidingLayers (layers that keep only so many) must be set together",
            holds=lambda facts: (facts.sliding_window is None) == (facts.num_sliding_layers is None),
        ),
        Rule(
            cel="!has(self.numSlidingLayers) || self.numSlidingLayers <= self.numHiddenLayers",
            message="numSlidingLayers must be at most numHiddenLayers, of which they are a part",
            holds=lambda facts: (facts.num_sliding_layers or 0) <= facts.num_hidden_layers,
            field_path=".numSlidingLayers",
        ),
        Rule(
            cel="has(self.kvLoraRank) == has(self.qkRopeHeadDim)",
            message="kvLoraRank and qkRopeHeadDim must be set together: both are cached by multi-head latent attention "
            "(DeepSeek: 512 and 64)",
            holds=lambda facts: (facts.kv_lora_rank is None) == (facts.qk_rope_head_dim is None),
        ),
        Rule(
            cel="has(self.numExperts) == has(self.numExpertsPerTok) && "
            "has(self.numExperts) == has(self.moeIntermediateSize)",
            message="numExperts, numExpertsPerTok and moeIntermediateSize must be set together",
            holds=lambda facts: (
                (facts.num_experts is None)
                == (facts.num_experts_per_tok is None)
                == (facts.moe_intermediate_size is None)
            ),
        ),
        Rule(
            cel="!has(self.numExperts) || !has(self.numExpertsPerTok) || self.numExpertsPerTok <= self.numExperts",
            message="numExpertsPerTok must be at most numExperts",
            holds=lambda facts: facts.num_experts is None or (facts.num_experts_per_tok or 0) <= facts.num_experts,
            field_path=".numExpertsPerTok",
        ),
    )

    architecture: ArchitectureName
    """First entry of `architectures`, for example `LlamaForCausalLM`."""
    num_hidden_layers: Annotated[Integer, Field(ge=1, le=1000)]
    """Layers with attention."""
    hidden_size: Count
    """Width of the residual stream."""
    intermediate_size: Count | None = None
    """Width of the feed-forward layer; four times hiddenSize when omitted."""
    num_attention_heads: Annotated[Integer, Field(ge=1, le=1024)]
    """Query heads."""
    num_key_value_heads: Annotated[Integer, Field(ge=1, le=1024)]
    """KV heads; equal to numAttentionHeads without grouped-query attention."""
    head_dim: Annotated[Integer, Field(ge=1, le=4096)] | None = None
    """Width of one head; hiddenSize / numAttentionHeads when omitted."""
    vocab_size: Count
    """Rows of the embedding. Target and draft must agree."""
    sliding_window: Count | None = None
    """Tokens that a layer with a window keeps. Leave it out when every layer keeps all tokens."""
    num_sliding_layers: Annotated[Integer, Field(ge=1, le=1000)] | None = None
    """Layers with a window: the `sliding_attention` entries of `layer_types`."""
    kv_lora_rank: Annotated[Integer, Field(ge=1, le=65_536)] | None = None
    """Width of the latent that multi-head latent attention (DeepSeek, Kimi-K2) caches instead of keys and values."""
    qk_rope_head_dim: Annotated[Integer, Field(ge=1, le=4096)] | None = None
    """Rotated part that multi-head latent attention caches beside the latent."""
    num_experts: Annotated[Integer, Field(ge=1, le=100_000)] | None = None
    """Routed experts of a layer (`num_local_experts`, `n_routed_experts`). Leave it out without experts."""
    num_experts_per_tok: Annotated[Integer, Field(ge=1, le=1000)] | None = None
    """Routed experts that one token visits."""
    moe_intermediate_size: Count | None = None
    """Width of one expert."""
    partial_rotary_factor: Fraction | None = None
    """Part of a head that is rotated, for example "0.5"; the whole when omitted."""
    max_position_embeddings: Count | None = None
    """Longest context the model was made for."""
    tie_word_embeddings: Switch = False
    """Whether input and output embedding are one matrix."""
    parameters: Annotated[Integer, Field(ge=1_000_000, le=100_000_000_000_000)] | None = None
    """How many weights, all together."""
    weight_bytes: Quantity | None = None
    """What the weights take in the checkpoint as it is served; overrules `parameters`."""
    quantization: QuantizationName | None = None
    """`quant_method` of the checkpoint's `quantization_config`; omitted: 16 bit."""
    family: FamilyName | None = None
    """Model family, for example `llama-3`. Target and draft should agree."""
