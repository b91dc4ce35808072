"""What the plan must know of a model: the spec's facts, the shipped catalogue, or what was looked up before.

This module reads no hub and no mounted path.
"""

import re
from dataclasses import replace
from decimal import Decimal
from functools import cache

from specdecode.api.facts import ModelFactsSpec
from specdecode.api.resource import Problem
from specdecode.api.values import bytes_of
from specdecode.engine.catalogue import catalogue, refused_models
from specdecode.engine.checkpoint import architectures
from specdecode.engine.facts import BYTES_16_BIT, DERIVED_HEAD, ModelFacts, derived_head
from specdecode.engine.quantization import QUANTIZATIONS, UNQUANTIZED_BITS

__all__ = [
    "BYTES_16_BIT",
    "DERIVED_HEAD",
    "ModelFacts",
    "architecture_problem",
    "catalogue",
    "derived_head",
    "from_spec",
    "model_facts",
    "refused_models",
    "with_likely_family",
]

_LARGEST_FACTOR = 2
"""Between a stated count of weights and that of the dimensions; what a formula leaves out is far less."""

_LATENT = re.compile(r"Deepseek(V2|V3)|KimiK2")

_FEWEST_BYTES, _MOST_BYTES = Decimal("0.25"), Decimal(5)
"""Per weight in a checkpoint: 2 bits, and 32 with room for scales."""


def _quantization_bits(name: str | None) -> float:
    method = QUANTIZATIONS.get(name or "")
    return UNQUANTIZED_BITS if method is None else method.bits


def _visited_width(facts: ModelFactsSpec) -> int:
    if facts.moe_intermediate_size is None:
        return facts.intermediate_size or 4 * facts.hidden_size
    return max((facts.num_experts_per_tok or 1) * facts.moe_intermediate_size, facts.intermediate_size or 0)


def from_spec(name: str, facts: ModelFactsSpec) -> ModelFacts:
    """The facts that a user wrote."""
    head_dim = facts.head_dim or facts.hidden_size // facts.num_attention_heads
    factor = facts.partial_rotary_factor
    return ModelFacts(
        name=name,
        architecture=facts.architecture,
        family=facts.family,
        num_hidden_layers=facts.num_hidden_layers,
        hidden_size=facts.hidden_size,
        intermediate_size=_visited_width(facts),
        num_attention_heads=facts.num_attention_heads,
        num_key_value_heads=facts.num_key_value_heads,
        head_dim=head_dim,
        vocab_size=facts.vocab_size,
        max_position_embeddings=facts.max_position_embeddings,
        tie_word_embeddings=facts.tie_word_embeddings,
        parameters=facts.parameters,
        weight_bytes=None if facts.weight_bytes is None else bytes_of(facts.weight_bytes),
        quantization=facts.quantization,
        weight_bits=_quantization_bits(facts.quantization),
        num_experts=facts.num_experts or 0,
        sliding_window=facts.sliding_window,
        num_sliding_layers=facts.num_sliding_layers or 0,
        kv_lora_rank=facts.kv_lora_rank,
        qk_rope_head_dim=facts.qk_rope_head_dim,
        rotary_dim=None if factor is None else int(head_dim * Decimal(factor)),
        source="spec",
    )


def architecture_problem(field: str, facts: ModelFacts) -> Problem | None:
    """Why facts of that architecture cannot be planned; `field` is the path of the model, for example `spec.model`."""
    return architectures.class_problem(f"{field}.facts.architecture", facts.architecture, facts.architecture)


def _is_counted(facts: ModelFactsSpec) -> bool:
    """Whether the dimensions tell the size: not for a head, nor for experts of which nothing is said."""
    name = facts.architecture.lower()
    is_partial = any(mark in name for mark in ("eagle", "dflash", "dspark", "medusa", "speculator", "mtp"))
    has_experts = any(mark in name for mark in ("moe", "mixtral", "deepseek", "gptoss", "kimi", "llama4", "minimax"))
    return not is_partial and (facts.num_experts is not None or not has_experts)


def _by_dimensions(facts: ModelFactsSpec, known: ModelFacts) -> int:
    """Roughly: attention as if ordinary, every layer with experts where there are any."""
    hidden, queries = known.hidden_size, known.num_attention_heads * known.head_dim
    attention = 2 * hidden * queries + 2 * hidden * known.num_key_value_heads * known.head_dim
    feed_forward = (facts.num_experts or 1) * (facts.moe_intermediate_size or known.intermediate_size)
    return known.embedding_parameters + known.num_hidden_layers * (attention + 3 * hidden * feed_forward)


def _size_problem(field: str, facts: ModelFactsSpec, known: ModelFacts) -> Problem | None:
    """A slip of a digit or a unit in what a user wrote, found by the other numbers."""
    counted = _by_dimensions(facts, known) if _is_counted(facts) else None
    stated = facts.parameters
    if stated is not None and counted is not None and not _is_near(stated, counted):
        return Problem(
            f"{field}.facts.parameters",
            str(stated),
            f"contradicts the dimensions, which give about {counted}; they may differ by a factor of {_LARGEST_FACTOR} "
            "at most. Check both against config.json and the model card",
        )
    weights, size = stated or counted, known.weight_bytes
    if weights is None or size is None or _FEWEST_BYTES <= Decimal(size) / weights <= _MOST_BYTES:
        return None
    return Problem(
        f"{field}.facts.weightBytes",
        str(facts.weight_bytes),
        f"is {Decimal(size) / weights:.3g} bytes for each of {weights} weights; a checkpoint has {_FEWEST_BYTES} to "
        f"{_MOST_BYTES}. Add up the sizes of its .safetensors files",
    )


def _is_near(stated: int, counted: int) -> bool:
    return stated <= _LARGEST_FACTOR * counted and counted <= _LARGEST_FACTOR * stated


def _latent_problem(field: str, facts: ModelFactsSpec) -> Problem | None:
    """As ordinary attention such a model would seem to need seventy times its KV cache."""
    if facts.kv_lora_rank is not None or _LATENT.match(facts.architecture) is None:
        return None
    return Problem(
        f"{field}.facts.kvLoraRank",
        "",
        f"is required for {facts.architecture}, which caches a latent instead of keys and values; copy kv_lora_rank "
        "and qk_rope_head_dim from its config.json",
    )


def _stated(field: str, name: str, facts: ModelFactsSpec) -> ModelFacts | Problem:
    known = from_spec(name, facts)
    problem = architecture_problem(field, known) or _latent_problem(field, facts)
    return problem or _size_problem(field, facts, known) or with_likely_family(known)


def model_facts(
    field: str, name: str, facts: ModelFactsSpec | None, looked_up: ModelFacts | Problem | None = None
) -> ModelFacts | Problem:
    """Facts of a model: those of the spec first, then the catalogue, then what was read from a path or the hub.

    `field` is the path of the model in the spec, for example `spec.model`; the way out is named below it.
    """
    if facts is not None:
        return _stated(field, name, facts)
    refused = refused_models().get(name)
    if refused is not None:
        return replace(refused, field=f"{field}.name")
    known = catalogue().get(name)
    if known is not None or looked_up is None:
        return known or _unknown(field, name)
    return looked_up if isinstance(looked_up, Problem) else with_likely_family(looked_up)


@cache
def _families(architecture: str, vocab_size: int) -> frozenset[str]:
    same = (known for known in catalogue().values() if known.architecture == architecture)
    return frozenset(known.family for known in same if known.family is not None and known.vocab_size == vocab_size)


def with_likely_family(facts: ModelFacts) -> ModelFacts:
    """A config.json does not name its family; class and vocabulary together do, where the catalogue knows only one."""
    families = _families(facts.architecture, facts.vocab_size)
    return replace(facts, family=next(iter(families))) if facts.family is None and len(families) == 1 else facts


def _unknown(field: str, name: str) -> Problem:
    return Problem(
        f"{field}.name",
        name,
        "is not in the catalogue, so its memory cannot be planned; let it be looked up (--hub, or --models-directory "
        f"for a mounted cache), or copy the keys of its config.json to {field}.facts: "
        "{architecture: LlamaForCausalLM, numHiddenLayers: 32, hiddenSize: 4096, intermediateSize: 14336, "
        "numAttentionHeads: 32, numKeyValueHeads: 8, vocabSize: 128256, parameters: 8030261248}",
    )
