"""Facts of one model, as the plan uses them. A value only: where it comes from is the business of `models`."""

from dataclasses import dataclass, replace

from specdecode.engine.quantization import UNQUANTIZED_BITS

BYTES_16_BIT = 2


@dataclass(frozen=True)
class ModelFacts:
    """Facts of one checkpoint, named like the keys of its config.json."""

    name: str
    architecture: str
    family: str | None
    """Models of one family share tokenizer and training; a draft of another family is accepted less."""
    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    """Of the experts that one token visits, all together, for a mixture of experts."""
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    source: str
    """Where the facts come from."""
    max_position_embeddings: int | None = None
    tie_word_embeddings: bool = False
    draft_vocab_size: int | None = None
    """Rows of an EAGLE-3 head's own lm_head."""
    parameters: int | None = None
    weight_bytes: int | None = None
    """What the weights take as served; overrules `parameters`."""
    quantization: str | None = None
    """`quant_method` of the checkpoint; None is 16 bit."""
    weight_bits: float = UNQUANTIZED_BITS
    """Per weight of a linear layer in the checkpoint, scales included."""
    plain_parameters: int = 0
    """Weights beside embedding and lm_head that stay in 16 bit under every quantisation: norms, biases, routers, an
    encoder, and what the checkpoint leaves out by name."""
    mtp_parameters: int | None = None
    """Weights of the multi-token-prediction layers inside the checkpoint, which are loaded by method mtp only; they are
    not part of `parameters`."""
    whole_parameters: int = 0
    """Linear weights that every GPU holds whole: the down projections of MLA (`ReplicatedLinear`)."""
    unpacked_parameters: int = 0
    """Linear weights that a quantised checkpoint keeps a second time in 16 bit: the up projections of MLA, which
    attention multiplies into queries and outputs (`W_UK`, `W_UV`)."""
    num_experts: int = 0
    sliding_window: int | None = None
    """Tokens that a sliding layer attends to."""
    num_sliding_layers: int = 0
    """Of `num_hidden_layers`, those with a window."""
    sliding_num_key_value_heads: int | None = None
    """KV heads of the sliding layers, where they differ from the others (Gemma 4)."""
    sliding_head_dim: int | None = None
    """Head width of the sliding layers, where it differs."""
    kv_lora_rank: int | None = None
    """Width of the latent that MLA caches instead of keys and values; None is ordinary attention."""
    qk_rope_head_dim: int | None = None
    """Rotary part that MLA caches beside the latent."""
    rotary_dim: int | None = None
    """Width of the rotary tables together, where it is not that of one head: only a part of a head is rotated, or
    sliding layers have a table of their own."""
    is_multimodal: bool = False
    """Whether an encoder for images or sound is loaded and profiled as well."""

    @property
    def is_head(self) -> bool:
        """Whether it is a head that borrows the target's embedding, and its lm_head unless it has a smaller one."""
        name = self.architecture.lower()
        return self.architecture == DERIVED_HEAD or any(mark in name for mark in _HEAD_MARKS)

    def splits_over(self, gpus: int) -> bool:
        """Whether vLLM can shard it: query heads are split, KV heads are split, or replicated when there are fewer."""
        if self.num_attention_heads % gpus != 0:
            return False
        # MLA keeps one latent, whole on every GPU.
        kv_heads = self.num_key_value_heads
        return self.kv_lora_rank is not None or kv_heads % gpus == 0 or gpus % kv_heads == 0

    @property
    def embedding_parameters(self) -> int:
        """Weights of embedding and lm_head, which quantisation leaves in 16 bit."""
        if self.is_head:
            return (self.draft_vocab_size or 0) * self.hidden_size
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def unquantized_parameters(self) -> int:
        """Everything that quantisation leaves in 16 bit."""
        return self.embedding_parameters + self.plain_parameters

    @property
    def linear_parameters(self) -> int:
        """Weights that quantisation shrinks; derived from the size on disk when only that is known."""
        if self.parameters is not None:
            return max(0, self.parameters - self.unquantized_parameters)
        linear_bytes = max(0, (self.weight_bytes or 0) - self.unquantized_parameters * BYTES_16_BIT)
        return int(linear_bytes * 8 / self.weight_bits)

    @property
    def total_parameters(self) -> int:
        """All weights."""
        return self.parameters or self.linear_parameters + self.unquantized_parameters


_HEAD_MARKS = ("eagle", "dflash", "dspark")
"""What the class names of the heads that share the target's embedding have in common."""

DERIVED_HEAD = "OneLayerOfTheTarget"
"""Stand-in architecture of a multi-token-prediction head that ships inside the target's checkpoint."""


def derived_head(target: ModelFacts) -> ModelFacts:
    """Facts of a head inside the target's checkpoint: one decoder layer of the target, embedding shared."""
    return replace(
        target,
        name=f"{target.name} (its own head)",
        architecture=DERIVED_HEAD,
        num_hidden_layers=1,
        num_sliding_layers=0,
        parameters=target.mtp_parameters or target.linear_parameters // target.num_hidden_layers,
        weight_bytes=None,
        draft_vocab_size=None,
        plain_parameters=0,
        whole_parameters=target.whole_parameters // target.num_hidden_layers,
        unpacked_parameters=target.unpacked_parameters // target.num_hidden_layers,
        mtp_parameters=None,
        is_multimodal=False,
        source="one layer of the target, whose checkpoint holds the head",
    )
