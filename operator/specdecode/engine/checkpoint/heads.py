"""Heads that start from the target's hidden states: EAGLE, EAGLE-3, P-EAGLE, DFlash, DSpark.

They share the target's embedding, and its lm_head unless they have one of their own. Their config.json often names the
class of an ordinary decoder, so the files or the vocabulary give them away.
"""

from collections.abc import Mapping

from specdecode.engine.checkpoint.architectures import Architecture
from specdecode.engine.checkpoint.keys import ConfigKeys
from specdecode.engine.checkpoint.parameters import Dimensions, Parameters, count_parameters
from specdecode.engine.checkpoint.safetensors import FUSION, CheckpointWeights

EAGLE, EAGLE_3 = "EagleLlamaForCausalLM", "Eagle3LlamaForCausalLM"

_MARKS = ("eagle", "dflash", "dspark")
_EAGLE_3_FEATURES = 3
"""Layers of the target whose hidden states an EAGLE-3 head joins (arXiv 2503.01840)."""


def head_of(
    architecture: str, keys: ConfigKeys, config: Mapping[str, object], weights: CheckpointWeights | None
) -> str | None:
    """Class of the head that a config.json describes; None for a decoder that stands alone."""
    lowered = architecture.lower()
    if any(mark in lowered for mark in _MARKS):
        return architecture
    if keys.draft_vocab_size is not None or "eagle_config" in config:
        return EAGLE_3
    return EAGLE if weights is not None and FUSION in weights.parts else None


def has_lm_head(head: str) -> bool:
    """Whether a class of heads brings its own lm_head along, over the whole vocabulary when it states none: EAGLE-3."""
    lowered = head.lower()
    return "eagle3" in lowered or "peagle" in lowered


def count_head(
    head: str, keys: ConfigKeys, known: Architecture, dimensions: Dimensions, config: Mapping[str, object]
) -> Parameters:
    """Weights of a head without what it shares with the target. Its lm_head counts as embedding."""
    body = count_parameters(keys, known, dimensions)
    hidden, features = dimensions.hidden, keys.target_hidden_size or dimensions.hidden
    lowered = head.lower()
    if "dflash" in lowered or "dspark" in lowered:
        joined, attention, norms = _target_layers(config, dimensions.layers), 0, hidden
    elif has_lm_head(head):
        # The first layer attends to the embedding and the features side by side.
        queries = dimensions.head_dim * (dimensions.heads + 2 * dimensions.kv_heads)
        joined, attention, norms = _EAGLE_3_FEATURES, hidden * queries, hidden
    else:
        # The first layer has no norm before it, and nothing follows the last; the embedding is joined to the features.
        joined, attention, norms = 1, 0, -2 * hidden
    fusion = hidden * features * joined + (hidden * hidden if joined == 1 else 0)
    rank = keys.markov_rank or 0
    vocab = keys.draft_vocab_size or dimensions.vocab
    return Parameters(
        embedding=(keys.draft_vocab_size or (vocab if has_lm_head(head) else 0)) * hidden,
        attention=body.attention + attention,
        mlp=body.mlp + fusion,
        plain=body.plain + norms + rank * (dimensions.vocab + vocab),
    )


def _target_layers(config: Mapping[str, object], layers: int) -> int:
    """How many layers of the target a DFlash or DSpark draft looks at; without a list, as many as it has itself."""
    own = config.get("dflash_config")
    listed = own.get("target_layer_ids") if isinstance(own, Mapping) else config.get("aux_hidden_state_layer_ids")
    return len(listed) if isinstance(listed, list) and listed else layers
