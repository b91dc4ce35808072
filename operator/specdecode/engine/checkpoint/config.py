"""Reads the config.json of a model as Hugging Face publishes it. One reader for catalogue, mounted path and hub.

It answers with facts, or with the one reason why there are none; it never guesses a dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from specdecode.api.resource import Problem
from specdecode.engine.checkpoint import architectures, parameters
from specdecode.engine.checkpoint.architectures import BY_CLASS, BY_MODEL_TYPE, Architecture, Windows
from specdecode.engine.checkpoint.heads import count_head, has_lm_head, head_of
from specdecode.engine.checkpoint.keys import ConfigKeys
from specdecode.engine.checkpoint.parameters import Dimensions, Parameters
from specdecode.engine.checkpoint.safetensors import (
    BUFFERS,
    EMBEDDING,
    ENCODER,
    LM_HEAD,
    MTP,
    PLAIN_DTYPES,
    CheckpointWeights,
)
from specdecode.engine.checkpoint.stored import Part, Stored, stored_as
from specdecode.engine.checkpoint.text import TextModel, kind_problem, text_model
from specdecode.engine.facts import BYTES_16_BIT, ModelFacts

_REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")
_REQUIRED_LATENT = ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")


@dataclass(frozen=True)
class _Model:
    """A config.json, understood."""

    text: TextModel
    keys: ConfigKeys
    known: Architecture
    dimensions: Dimensions
    stored: Stored
    head: str | None
    """Class of a head that borrows the target's embedding."""


def facts_of_config(
    name: str,
    config: Mapping[str, object],
    *,
    source: str,
    weights: CheckpointWeights | None = None,
    field: str = "config.json",
) -> ModelFacts | Problem:
    """Facts of a model from its config.json and, where known, the sizes of its files.

    `field` is where a refusal points. Without `weights` the parameters are counted from the dimensions.
    """
    model = _understand(config, weights)
    if isinstance(model, str):
        return Problem(field, name, model)
    facts = _facts(name, model, source)
    counted = _counted(model)
    return _with_counted(facts, model, counted) if weights is None else _with_files(facts, model, counted, weights)


def _understand(config: Mapping[str, object], weights: CheckpointWeights | None) -> _Model | str:
    other_kind = kind_problem(config)
    if other_kind is not None:
        return other_kind
    text = text_model(config)
    reason = architectures.class_reason(text.architecture) or architectures.config_reason(text.config)
    if reason is not None:
        return f"{text.architecture} {reason}, so its memory cannot be planned; {architectures.WAY_OUT}"
    known = BY_MODEL_TYPE.get(text.model_type) or BY_CLASS.get(text.architecture)
    if known is None:
        shown = text.architecture or text.model_type or "a model without architectures and model_type"
        return (
            f"{shown} is not known to this version of the operator, so its config.json is not read; if each of its "
            "layers keeps keys and values for every token, write its dimensions and weightBytes to `facts`"
        )
    keys = ConfigKeys.read(dict(known.defaults) | _present(text.config))
    if isinstance(keys, str):
        return f"its config.json cannot be used: {keys}"
    return _checked(text, keys, known, weights)


def _present(config: Mapping[str, object]) -> dict[str, object]:
    """Keys with a value; null is as good as absent."""
    return {key: value for key, value in config.items() if value is not None}


def _checked(text: TextModel, keys: ConfigKeys, known: Architecture, weights: CheckpointWeights | None) -> _Model | str:
    required = (*_REQUIRED, *(_REQUIRED_LATENT if keys.kv_lora_rank else ()))
    missing = [key for key in required if getattr(keys, key) is None]
    if missing:
        return f"its config.json lacks {', '.join(missing)}; complete it, or write the dimensions to `facts`"
    dimensions = _dimensions(keys, known, is_tied=text.is_tied)
    if dimensions.head_dim == 0:
        return "its hidden_size is smaller than num_attention_heads and it has no head_dim; the config.json is broken"
    head = head_of(text.architecture, keys, text.config, weights)
    return _Model(text, keys, known, dimensions, stored_as(text.quantization, dimensions.layers), head)


def _dimensions(keys: ConfigKeys, known: Architecture, *, is_tied: bool | None) -> Dimensions:
    layers, hidden, heads = keys.num_hidden_layers or 0, keys.hidden_size or 0, keys.num_attention_heads or 0
    own_tied = keys.tie_word_embeddings if keys.tie_word_embeddings is not None else is_tied
    kv_heads, head_dim = keys.num_key_value_heads or heads, keys.head_dim or hidden // heads
    dimensions = Dimensions(
        layers=layers,
        hidden=hidden,
        intermediate=keys.intermediate_size or 0,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=keys.vocab_size or 0,
        is_tied=known.ties_embeddings if own_tied is None else own_tied,
        sliding_layers=_sliding_layers(keys, known, layers),
    )
    if not keys.global_head_dim and not keys.num_global_key_value_heads:
        return dimensions
    # Gemma 4: the plain keys are those of the sliding layers.
    return replace(
        dimensions,
        kv_heads=keys.num_global_key_value_heads or kv_heads,
        head_dim=keys.global_head_dim or head_dim,
        sliding_kv_heads=kv_heads,
        sliding_head_dim=head_dim,
    )


def _sliding_layers(keys: ConfigKeys, known: Architecture, layers: int) -> int:
    if not keys.sliding_window or keys.use_sliding_window is False:
        return 0
    if keys.layer_types is not None:
        return min(layers, sum(kind == "sliding_attention" for kind in keys.layer_types))
    if keys.sliding_window >= (keys.max_position_embeddings or keys.sliding_window + 1):
        return 0
    if known.windows is Windows.PATTERN:
        return layers - layers // (keys.sliding_window_pattern or known.window_pattern)
    if known.windows is Windows.UPPER:
        return max(0, layers - (keys.max_window_layers or 0)) if keys.use_sliding_window else 0
    return layers if known.windows is Windows.EVERY else 0


def _rotary_dim(keys: ConfigKeys, known: Architecture, head_dim: int) -> int | None:
    stated = (keys.rope_parameters or {}).get("partial_rotary_factor")
    factor = keys.partial_rotary_factor or (float(stated) if isinstance(stated, float | int) else 1.0)
    rotary = int(head_dim * factor) * known.rotary_tables
    return None if rotary == head_dim or not 0 < factor <= 1 else rotary


def _longest_context(keys: ConfigKeys) -> int | None:
    """YaRN states how far it stretches; max_position_embeddings may be from before."""
    limit = keys.max_position_embeddings
    scaling = keys.rope_scaling or keys.rope_parameters or {}
    factor, original = scaling.get("factor"), scaling.get("original_max_position_embeddings")
    is_yarn = "yarn" in (scaling.get("rope_type"), scaling.get("type"))
    if limit is None or not is_yarn or not isinstance(factor, float | int) or not isinstance(original, int):
        return limit
    return max(limit, int(factor * original))


def _facts(name: str, model: _Model, source: str) -> ModelFacts:
    keys, dimensions = model.keys, model.dimensions
    whole, unpacked = parameters.latent_projections(keys, dimensions)
    return ModelFacts(
        name=name,
        architecture=model.head or model.text.architecture or model.known.classes[0],
        family=None,
        num_hidden_layers=dimensions.layers,
        hidden_size=dimensions.hidden,
        intermediate_size=parameters.visited_width(keys, dimensions),
        num_attention_heads=dimensions.heads,
        num_key_value_heads=dimensions.kv_heads,
        head_dim=dimensions.head_dim,
        vocab_size=dimensions.vocab,
        source=source,
        max_position_embeddings=_longest_context(keys),
        tie_word_embeddings=dimensions.is_tied,
        draft_vocab_size=_draft_vocab(model),
        quantization=model.stored.quantization,
        weight_bits=model.stored.bits,
        whole_parameters=whole,
        unpacked_parameters=unpacked,
        num_experts=keys.experts,
        sliding_window=keys.sliding_window if dimensions.sliding_layers else None,
        num_sliding_layers=dimensions.sliding_layers,
        sliding_num_key_value_heads=dimensions.sliding_kv_heads or None,
        sliding_head_dim=dimensions.sliding_head_dim or None,
        kv_lora_rank=keys.kv_lora_rank or None,
        qk_rope_head_dim=keys.qk_rope_head_dim if keys.kv_lora_rank else None,
        rotary_dim=_rotary_dim(keys, model.known, dimensions.sliding_head_dim or dimensions.head_dim),
        is_multimodal=model.text.is_multimodal,
    )


def _draft_vocab(model: _Model) -> int | None:
    """An EAGLE-3 head without a vocabulary of its own has an lm_head over the whole one."""
    if model.head is None:
        return None
    own = model.keys.draft_vocab_size
    return own or (model.dimensions.vocab if has_lm_head(model.head) else None)


def _counted(model: _Model) -> Parameters:
    if model.head is not None:
        return count_head(model.head, model.keys, model.known, model.dimensions, model.text.config)
    return parameters.count_parameters(model.keys, model.known, model.dimensions)


def _left_plain(stored: Stored, counted: Parameters) -> int:
    left = {Part.ATTENTION: counted.attention, Part.MLP: counted.mlp, Part.SHARED_EXPERTS: counted.shared_experts}
    return counted.plain + sum(left[part] for part in stored.plain)


def _with_counted(facts: ModelFacts, model: _Model, counted: Parameters) -> ModelFacts:
    mtp = None if model.head else parameters.count_mtp(model.keys, model.known, model.dimensions)
    return replace(
        facts,
        parameters=counted.total,
        plain_parameters=_left_plain(model.stored, counted),
        mtp_parameters=mtp or None,
    )


def _with_files(facts: ModelFacts, model: _Model, counted: Parameters, weights: CheckpointWeights) -> ModelFacts:
    """Sizes as the files have them, without what is not loaded or is shared with the target."""
    mtp = weights.of(MTP, *weights.layers_from(facts.num_hidden_layers))
    loaded = weights.without({BUFFERS, *mtp.parts, *_shared(facts)})
    encoder = loaded.of(ENCODER)
    plain = _left_plain(model.stored, counted) + encoder.parameters
    facts = replace(
        facts, mtp_parameters=mtp.parameters or None, is_multimodal=facts.is_multimodal or bool(encoder.parts)
    )
    facts = replace(facts, source=f"{facts.source}{_note(facts, weights, mtp)}")
    missing = _missing_lm_head(facts, weights)
    if facts.quantization is None:
        # Loaded in 16 bit, whatever the files hold.
        floats = missing + sum(entry.elements for entry in loaded.tensors if entry.dtype in PLAIN_DTYPES)
        return replace(facts, parameters=floats, plain_parameters=min(plain, floats))
    return replace(
        facts,
        parameters=counted.total + encoder.parameters,
        plain_parameters=plain,
        weight_bytes=loaded.total_bytes + missing * BYTES_16_BIT,
    )


def _missing_lm_head(facts: ModelFacts, weights: CheckpointWeights) -> int:
    """An lm_head that is neither stored nor tied is allocated all the same."""
    is_missing = not facts.is_head and not facts.tie_word_embeddings and LM_HEAD not in weights.parts
    return facts.vocab_size * facts.hidden_size if is_missing else 0


def _shared(facts: ModelFacts) -> set[str]:
    """Parts of the files that take no memory of their own."""
    if facts.is_head:
        return {EMBEDDING} if facts.draft_vocab_size else {EMBEDDING, LM_HEAD}
    return {LM_HEAD} if facts.tie_word_embeddings else set()


def _note(facts: ModelFacts, weights: CheckpointWeights, mtp: CheckpointWeights) -> str:
    notes = []
    if facts.is_head and EMBEDDING in weights.parts:
        notes.append("its embedding is shared with the target and not counted")
    if mtp.parts:
        gigabytes = mtp.total_bytes / 1e9
        notes.append(f"{gigabytes:.2f} GB of multi-token-prediction layers are not counted")
    return "".join(f"; {note}" for note in notes)
