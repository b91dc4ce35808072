"""What the plan must know of a model: dimensions and weights, from the spec or from the shipped catalogue.

Lookup is by exact repository name: a near miss is another model. It reads no hub and no mounted path.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from pydantic.alias_generators import to_snake

from specdecode.api.facts import ModelFactsSpec
from specdecode.api.resource import Problem
from specdecode.api.values import bytes_of
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
    """Per weight of a linear layer in the checkpoint."""
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
    """Width of the rotary table where only a part of a head is rotated; None is the whole head."""
    is_multimodal: bool = False
    """Whether an encoder for images or sound is loaded and profiled as well."""

    @property
    def is_head(self) -> bool:
        """Whether it is a head that borrows the target's embedding, and its lm_head unless it has a smaller one."""
        return "eagle" in self.architecture.lower() or self.architecture == DERIVED_HEAD

    def splits_over(self, gpus: int) -> bool:
        """Whether vLLM can shard it: query heads are split, KV heads are split, or replicated when there are fewer."""
        kv_heads = self.num_key_value_heads
        return self.num_attention_heads % gpus == 0 and (kv_heads % gpus == 0 or gpus % kv_heads == 0)

    @property
    def embedding_parameters(self) -> int:
        """Weights of embedding and lm_head, which quantisation leaves in 16 bit."""
        if self.is_head:
            return (self.draft_vocab_size or 0) * self.hidden_size
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def linear_parameters(self) -> int:
        """Weights that quantisation shrinks; derived from the size on disk when only that is known."""
        if self.parameters is not None:
            return max(0, self.parameters - self.embedding_parameters)
        linear_bytes = max(0, (self.weight_bytes or 0) - self.embedding_parameters * BYTES_16_BIT)
        return int(linear_bytes * 8 / self.weight_bits)

    @property
    def total_parameters(self) -> int:
        """All weights."""
        return self.parameters or self.linear_parameters + self.embedding_parameters


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
        parameters=target.linear_parameters // target.num_hidden_layers,
        weight_bytes=None,
        draft_vocab_size=None,
        source="one layer of the target, whose checkpoint holds the head",
    )


def from_spec(name: str, facts: ModelFactsSpec) -> ModelFacts:
    """The facts that a user wrote."""
    return ModelFacts(
        name=name,
        architecture=facts.architecture,
        family=facts.family,
        num_hidden_layers=facts.num_hidden_layers,
        hidden_size=facts.hidden_size,
        intermediate_size=facts.intermediate_size or 4 * facts.hidden_size,
        num_attention_heads=facts.num_attention_heads,
        num_key_value_heads=facts.num_key_value_heads,
        head_dim=facts.head_dim or facts.hidden_size // facts.num_attention_heads,
        vocab_size=facts.vocab_size,
        max_position_embeddings=facts.max_position_embeddings,
        tie_word_embeddings=facts.tie_word_embeddings,
        parameters=facts.parameters,
        weight_bytes=None if facts.weight_bytes is None else bytes_of(facts.weight_bytes),
        source="spec",
    )


def _entry(name: str, entry: Mapping[str, Any]) -> ModelFacts:
    values = {to_snake(key): value for key, value in entry.items() if key not in {"names", "source"}}
    return ModelFacts(name=name, source=f"catalogue: {entry['source']}", **values)


@cache
def catalogue() -> Mapping[str, ModelFacts]:
    """Every model that is shipped with its facts, by repository name."""
    text = resources.files("specdecode.engine").joinpath("data/models.json").read_text(encoding="utf-8")
    document = json.loads(text)
    models = {name: _entry(name, entry) for entry in document["models"] for name in entry["names"]}
    for checkpoint in document["checkpoints"]:
        models[checkpoint["name"]] = replace(
            models[checkpoint["of"]],
            name=checkpoint["name"],
            quantization=checkpoint["quantization"],
            weight_bits=checkpoint["weightBits"],
            source=f"catalogue: {checkpoint['source']}",
        )
    return models


def model_facts(
    field: str, name: str, facts: ModelFactsSpec | None, looked_up: ModelFacts | Problem | None = None
) -> ModelFacts | Problem:
    """Facts of a model: those of the spec first, then the catalogue, then what was read from a path or the hub.

    `field` is the path of the model in the spec, for example `spec.model`; the way out is named below it.
    """
    if facts is not None:
        return from_spec(name, facts)
    known = catalogue().get(name)
    return (
        known
        or looked_up
        or Problem(
            f"{field}.name",
            name,
            f"is not in the catalogue, so its memory cannot be planned; copy the keys of its config.json to {field}.facts: "
            "{architecture: LlamaForCausalLM, numHiddenLayers: 32, hiddenSize: 4096, intermediateSize: 14336, "
            "numAttentionHeads: 32, numKeyValueHeads: 8, vocabSize: 128256, parameters: 8030261248}",
        )
    )
