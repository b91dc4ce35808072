"""Finds the text model inside a config.json: plain, wrapped for images, or in the format of a speculator."""

from collections.abc import Mapping
from dataclasses import dataclass

_TEXT_KEYS = ("text_config", "llm_config", "language_config", "thinker_config")
_ENCODER_KEYS = ("vision_config", "audio_config", "visual", "vision_tower", "mm_vision_tower")

_OTHER_KINDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"_diffusers_version"}), "describes a pipeline of diffusers, not a language model"),
    (frozenset({"_class_name"}), "describes a part of a diffusers pipeline, not a language model"),
    (
        frozenset({"peft_type"}),
        "describes an adapter (adapter_config.json); name the model that it was made for, and load it with LoRA",
    ),
    (frozenset({"tokenizer_class", "added_tokens_decoder"}), "describes a tokenizer (tokenizer_config.json)"),
    (frozenset({"weight_map"}), "is the index of the weights (model.safetensors.index.json)"),
    (frozenset({"feature_extractor_type"}), "describes a preprocessor"),
    (frozenset({"medusa_num_heads"}), "describes Medusa heads, which have no attention; write their sizes to `facts`"),
)


@dataclass(frozen=True)
class TextModel:
    """The part of a config.json that describes the decoder."""

    architecture: str
    """First of `architectures`, of the whole model; empty when there is none."""
    model_type: str
    """Of the text model."""
    config: Mapping[str, object]
    quantization: Mapping[str, object] | None
    is_tied: bool | None
    """As the wrapper says it, for a text model that does not."""
    is_multimodal: bool


def kind_problem(config: Mapping[str, object]) -> str | None:
    """Why a JSON object is no config.json of a model; None when it may be one."""
    for keys, kind in _OTHER_KINDS:
        if keys <= config.keys():
            return f"its config.json {kind}; give the repository or directory of the model itself"
    signs = {"hidden_size", "d_model", "n_embd", "architectures", "model_type", "transformer_layer_config", *_TEXT_KEYS}
    if signs.isdisjoint(config.keys()):
        return (
            "its config.json has neither architectures, model_type nor hidden_size, so it describes no language model; "
            "give the repository or directory of the model itself"
        )
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _first_architecture(config: Mapping[str, object]) -> str:
    listed = config.get("architectures")
    return _text(listed[0]) if isinstance(listed, list) and listed else ""


def _mapping(value: object) -> Mapping[str, object] | None:
    return value if isinstance(value, Mapping) and value else None


_SPECULATORS = {
    "eagle": "EagleLlamaForCausalLM",
    "eagle3": "Eagle3LlamaForCausalLM",
    "peagle": "PEagleDraftModel",
    "dflash": "DFlashDraftModel",
}


def _speculator(config: Mapping[str, object], layer: Mapping[str, object]) -> TextModel:
    """The format of the library `speculators`: one layer's configuration inside, the head's own keys outside."""
    inner = {**layer, **{key: value for key, value in config.items() if key in _SPECULATOR_KEYS}}
    kind = _text(config.get("speculators_model_type"))
    return TextModel(
        architecture=_SPECULATORS.get(kind, f"{kind.capitalize()}Speculator"),
        model_type=_text(layer.get("model_type")) or "llama",
        config=inner,
        quantization=_mapping(config.get("quantization_config")),
        is_tied=False,
        is_multimodal=False,
    )


_SPECULATOR_KEYS = frozenset({"draft_vocab_size", "target_hidden_size", "norm_before_fc", "aux_hidden_state_layer_ids"})


def text_model(config: Mapping[str, object]) -> TextModel:
    """The decoder of a config.json, whatever is wrapped around it."""
    layer = _mapping(config.get("transformer_layer_config"))
    if layer is not None:
        return _speculator(config, layer)
    inner = next((found for key in (*_TEXT_KEYS, "model") if (found := _mapping(config.get(key))) is not None), None)
    text = config if inner is None else inner
    # Qwen3-Omni wraps twice.
    text = _mapping(text.get("text_config")) or text
    tied = config.get("tie_word_embeddings")
    return TextModel(
        architecture=_first_architecture(config) or _first_architecture(text),
        model_type=_text(text.get("model_type")),
        config=text if inner is None else {**_head_keys(config), **text},
        quantization=_mapping(config.get("quantization_config")) or _mapping(text.get("quantization_config")),
        is_tied=tied if isinstance(tied, bool) else None,
        is_multimodal=any(_mapping(config.get(key)) is not None for key in _ENCODER_KEYS),
    )


def _head_keys(config: Mapping[str, object]) -> dict[str, object]:
    """EAGLE's older format keeps the decoder below `model` and the head's keys beside it."""
    return {key: config[key] for key in ("draft_vocab_size", "target_hidden_size") if key in config}
