"""Facts of a model that is neither in the catalogue nor on a mounted path: config.json's own keys, in camelCase."""

from typing import Annotated, ClassVar

from pydantic import Field

from specdecode.api.base import ApiModel, Rule
from specdecode.api.values import ArchitectureName, FamilyName, Integer, Quantity, Switch

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
    max_position_embeddings: Count | None = None
    """Longest context the model was made for."""
    tie_word_embeddings: Switch = False
    """Whether input and output embedding are one matrix."""
    parameters: Annotated[Integer, Field(ge=1_000_000, le=100_000_000_000_000)] | None = None
    """How many weights, all together."""
    weight_bytes: Quantity | None = None
    """What the weights take in the checkpoint as it is served; overrules `parameters`."""
    family: FamilyName | None = None
    """Model family, for example `llama-3`. Target and draft should agree."""
