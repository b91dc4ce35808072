"""Which architectures the plan can count, how their config.json is meant, and which it must refuse.

The plan's arithmetic holds for decoders whose layers keep keys and values, or one latent, for each token. What keeps
anything else is refused by name, with the reason: a wrong number would be believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.resource import Problem


class Windows(StrEnum):
    """Which layers slide when config.json has no `layer_types`."""

    NONE = "none"
    """The key is not read."""
    EVERY = "every"
    """All of them, where `sliding_window` is a number."""
    UPPER = "upper"
    """Those from `max_window_layers` on, where `use_sliding_window` is true."""
    PATTERN = "pattern"
    """All but each n-th."""


@dataclass(frozen=True)
class Architecture:
    """What the class of a model fixes and config.json does not say."""

    model_types: tuple[str, ...]
    """Of a text model; a wrapper for images is recognised by that of its text."""
    classes: tuple[str, ...]
    query_key_value_bias: bool = False
    """Always, whatever `attention_bias` says."""
    output_bias: bool = True
    """Whether `attention_bias` means the output projection too."""
    query_key_norm: bool = False
    norms_per_layer: int = 2
    ties_embeddings: bool = False
    """When `tie_word_embeddings` is left out, as a key at its default is."""
    windows: Windows = Windows.NONE
    window_pattern: int = 2
    """Without `sliding_window_pattern`: each n-th layer keeps every token."""
    rotary_tables: int = 1
    """Sliding layers have their own where they rotate by another base."""
    expert_bias: bool = False
    attention_sinks: bool = False
    defaults: tuple[tuple[str, int], ...] = ()
    """Keys that published configurations leave out, because transformers has them as its defaults."""


_GEMMA_3 = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
}

_KNOWN = (
    Architecture(("llama",), ("LlamaForCausalLM", "LLaMAForCausalLM")),
    Architecture(("mistral", "ministral3"), ("MistralForCausalLM", "Ministral3ForCausalLM"), windows=Windows.EVERY),
    Architecture(("mixtral",), ("MixtralForCausalLM",), windows=Windows.EVERY),
    Architecture(
        ("qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
        ("Qwen2ForCausalLM", "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"),
        query_key_value_bias=True,
        windows=Windows.UPPER,
    ),
    Architecture(("qwen2_moe",), ("Qwen2MoeForCausalLM",), query_key_value_bias=True, windows=Windows.UPPER),
    Architecture(("qwen3", "qwen3_vl_text"), ("Qwen3ForCausalLM",), query_key_norm=True, windows=Windows.UPPER),
    Architecture(("qwen3_moe", "qwen3_vl_moe_text"), ("Qwen3MoeForCausalLM",), query_key_norm=True),
    Architecture(("gemma",), ("GemmaForCausalLM",), ties_embeddings=True),
    Architecture(("gemma2",), ("Gemma2ForCausalLM",), norms_per_layer=4, ties_embeddings=True, windows=Windows.PATTERN),
    Architecture(
        ("gemma3_text",),
        ("Gemma3ForCausalLM",),
        query_key_norm=True,
        norms_per_layer=4,
        ties_embeddings=True,
        windows=Windows.PATTERN,
        window_pattern=6,
        rotary_tables=2,
        defaults=tuple(_GEMMA_3.items()),
    ),
    Architecture(
        ("gemma4_text",),
        ("Gemma4ForCausalLM",),
        query_key_norm=True,
        norms_per_layer=4,
        ties_embeddings=True,
        windows=Windows.PATTERN,
        window_pattern=6,
    ),
    Architecture(("phi3",), ("Phi3ForCausalLM",), windows=Windows.EVERY),
    Architecture(("gpt_oss",), ("GptOssForCausalLM",), windows=Windows.PATTERN, expert_bias=True, attention_sinks=True),
    Architecture(("deepseek_v2",), ("DeepseekV2ForCausalLM",)),
    Architecture(("deepseek_v3", "kimi_k2"), ("DeepseekV3ForCausalLM", "KimiK2ForCausalLM")),
    Architecture(("glm4_moe",), ("Glm4MoeForCausalLM",), output_bias=False),
    Architecture(("granite",), ("GraniteForCausalLM",), ties_embeddings=True),
)

BY_CLASS: Mapping[str, Architecture] = {name: known for known in _KNOWN for name in known.classes}
BY_MODEL_TYPE: Mapping[str, Architecture] = {name: known for known in _KNOWN for name in known.model_types}

_STATE = "keeps a recurrent state beside the KV cache, and its size per request follows other rules"
_SPARSE = "selects and compresses what it caches (an indexer beside MLA), and each release lays that out anew"
_CHUNKED = "attends within chunks, which bounds its cache in a way that releases count differently"
_CROSS = "is an encoder-decoder: its cross-attention keeps a second cache"
_ENCODER = "is an encoder: it generates no tokens, so there is nothing to speculate on"
_SHARED = "shares the cache between layers"

_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        _STATE,
        (
            "Qwen3Next", "Qwen3_5", "Qwen3_6", "Qwen4Exp", "Mamba", "FalconMamba", "Jamba", "Bamba", "NemotronH",
            "NemotronHPuzzle", "Nemotron_Nano", "KimiLinear", "KimiK3", "GraniteMoeHybrid", "FalconH1", "Zamba", "Lfm2",
            "MiniMaxText01", "MiniMaxM1", "Plamo2", "BailingMoeV2_5", "BailingMoeV3", "OlmoHybrid", "RecurrentGemma",
            "Rwkv", "Phi4Flash", "AliceAI", "MiniCPMV4_6",
        ),
    ),
    (_SPARSE, ("DeepseekV32", "DeepseekV4", "GlmMoeDsa", "Glm5Next", "MiniMaxM3")),
    (_CHUNKED, ("Llama4",)),
    (_CROSS, ("T5", "MT5", "UMT5", "Bart", "MBart", "Whisper", "Mllama", "Florence2", "Pegasus", "M2M100", "Marian")),
    (
        _ENCODER,
        (
            "Bert", "Roberta", "XLMRoberta", "ModernBert", "DistilBert", "Albert", "Electra", "Deberta", "DebertaV2",
            "NomicBert", "GteModel", "GteNewModel", "MPNet", "CLIP", "Siglip", "ViT",
        ),
    ),
    (_SHARED, ("Gemma3n",)),
)  # fmt: skip

# Longest first, so that Qwen3NextForCausalLM is not taken for a Qwen3.
_REASONS = sorted(
    ((prefix, reason) for reason, prefixes in _REFUSED for prefix in prefixes), key=lambda entry: -len(entry[0])
)

_STATE_LAYERS = frozenset({"linear_attention", "mamba", "mamba2", "recurrent", "conv", "gated_delta_net", "hybrid"})

_KEYS: tuple[tuple[str, str], ...] = (
    *((key, _STATE) for key in ("linear_num_value_heads", "ssm_state_size", "state_size", "linear_attn_config")),
    *((key, _STATE) for key in ("mamba_d_state", "mamba_d_ssm", "mamba_num_heads", "hybrid_override_pattern")),
    *((key, _SPARSE) for key in ("index_topk", "index_n_heads", "compress_ratios")),
    ("attention_chunk_size", _CHUNKED),
    ("is_encoder_decoder", _CROSS),
    ("cross_attention_layers", _CROSS),
    ("num_kv_shared_layers", _SHARED),
)
"""A key that is set, and what it gives away."""

WAY_OUT = "serve it without this operator, or choose a model whose layers all keep keys and values"


def class_reason(architecture: str) -> str | None:
    """Why models of a class cannot be planned; None when nothing is known against them."""
    for prefix, reason in _REASONS:
        rest = architecture.removeprefix(prefix)
        # The prefix ends where a word does: BartForX, not Bartholomew; T5ForX, not T5x.
        if rest != architecture and (not rest or rest[0].isupper() or not rest[0].isalpha()):
            return reason
    return None


def config_reason(config: Mapping[str, object]) -> str | None:
    """Why a config.json cannot be planned by what its keys say, whatever the class is called."""
    layers = config.get("layer_types")
    if isinstance(layers, list) and not _STATE_LAYERS.isdisjoint(layer for layer in layers if isinstance(layer, str)):
        return _STATE
    return next((reason for key, reason in _KEYS if config.get(key)), None)


def refused(field: str, value: str, architecture: str, reason: str) -> Problem:
    """The refusal of one model."""
    return Problem(field, value, f"{architecture} {reason}, so its memory cannot be planned; {WAY_OUT}")


def class_problem(field: str, value: str, architecture: str) -> Problem | None:
    """Why models of a class cannot be planned, as a refusal of `value` at `field`."""
    reason = class_reason(architecture)
    return None if reason is None else refused(field, value, architecture, reason)
