"""The keys of a config.json that the plan reads, checked for kind and size. What it does not name is ignored."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

Size = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]


class ConfigKeys(BaseModel):
    """One text model. Every key is optional here; which are needed depends on the architecture."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_type: StrictStr = ""
    architectures: tuple[StrictStr, ...] | None = None
    hidden_size: Size | None = None
    intermediate_size: Size | None = None
    num_hidden_layers: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None
    num_attention_heads: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None
    num_key_value_heads: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None
    head_dim: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    vocab_size: Size | None = None
    max_position_embeddings: Size | None = None
    tie_word_embeddings: StrictBool | None = None
    attention_bias: StrictBool | None = None
    mlp_bias: StrictBool | None = None
    # Windows
    sliding_window: Count | None = None
    use_sliding_window: StrictBool | None = None
    max_window_layers: Count | None = None
    sliding_window_pattern: Size | None = None
    layer_types: tuple[StrictStr, ...] | None = None
    global_head_dim: Size | None = None
    num_global_key_value_heads: Size | None = None
    attention_k_eq_v: StrictBool | None = None
    # Rotation
    partial_rotary_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    rope_scaling: dict[str, object] | None = None
    rope_parameters: dict[str, object] | None = None
    # Experts
    num_experts: Count | None = None
    num_local_experts: Count | None = None
    n_routed_experts: Count | None = None
    n_shared_experts: Count | None = None
    num_experts_per_tok: Count | None = None
    top_k_experts: Count | None = None
    moe_intermediate_size: Size | None = None
    shared_expert_intermediate_size: Count | None = None
    decoder_sparse_step: Size | None = None
    mlp_only_layers: tuple[Count, ...] | None = None
    first_k_dense_replace: Count | None = None
    moe_layer_freq: Size | None = None
    topk_method: StrictStr | None = None
    use_qk_norm: StrictBool | None = None
    num_nextn_predict_layers: Count | None = None
    # Multi-head latent attention
    q_lora_rank: Count | None = None
    kv_lora_rank: Count | None = None
    qk_nope_head_dim: Size | None = None
    qk_rope_head_dim: Size | None = None
    v_head_dim: Size | None = None
    # Heads that propose
    draft_vocab_size: Size | None = None
    target_hidden_size: Size | None = None
    markov_rank: Size | None = None
    bias: StrictBool | None = None

    @property
    def experts(self) -> int:
        """Routed experts of a layer; 0 without."""
        return self.n_routed_experts or self.num_local_experts or self.num_experts or 0

    @property
    def experts_per_token(self) -> int:
        """Routed experts that one token visits."""
        return self.num_experts_per_tok or self.top_k_experts or 1

    @classmethod
    def read(cls, config: Mapping[str, object]) -> Self | str:
        """The keys, or what is wrong with them."""
        try:
            return cls.model_validate(config)
        except ValidationError as error:
            return "; ".join(
                f"{'.'.join(str(part) for part in details['loc'])} is {_shown(details['input'])}: {details['msg']}"
                for details in error.errors(include_url=False)[:5]
            )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
