"""A model for vLLM's config classes: a directory with nothing but a config.json, made from the plan's own facts.

The dimensions are the real ones, so that vLLM's checks of vocabulary, heads, context and quantisation see what they
would see in production; only the weights are missing, which no config class opens.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specdecode.engine.facts import DERIVED_HEAD, ModelFacts

_MODEL_TYPES = {
    "DeepseekV3ForCausalLM": "deepseek_v3",
    "EagleLlamaForCausalLM": "llama",
    "Gemma2ForCausalLM": "gemma2",
    "LlamaForCausalLM": "llama",
    "LlamaForCausalLMEagle3": "llama",
    "MistralForCausalLM": "mistral",
    "MixtralForCausalLM": "mixtral",
    "Phi3ForCausalLM": "phi3",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3_moe",
}
_QUANTIZATION_CONFIGS: dict[str, dict[str, Any]] = {
    "awq": {"bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "gptq": {"bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "fp8": {"activation_scheme": "dynamic"},
    "compressed-tensors": {"format": "int-quantized", "config_groups": {}, "ignore": ["lm_head"]},
}

_LATENT_ATTENTION = {"q_lora_rank": 1536, "qk_nope_head_dim": 128, "v_head_dim": 128}
"""Of DeepSeek-V3's config.json; no plan needs them apart."""


def config_json(facts: ModelFacts) -> dict[str, Any]:
    """What the checkpoint's config.json says, as far as the plan knows it."""
    config: dict[str, Any] = {
        "architectures": [facts.architecture],
        "model_type": _MODEL_TYPES[facts.architecture],
        "hidden_size": facts.hidden_size,
        "intermediate_size": facts.intermediate_size,
        "num_hidden_layers": facts.num_hidden_layers,
        "num_attention_heads": facts.num_attention_heads,
        "num_key_value_heads": facts.num_key_value_heads,
        "head_dim": facts.head_dim,
        "vocab_size": facts.vocab_size,
        "max_position_embeddings": facts.max_position_embeddings or 131_072,
        "tie_word_embeddings": facts.tie_word_embeddings,
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    if facts.kv_lora_rank is not None:
        config |= _LATENT_ATTENTION | {
            "num_key_value_heads": facts.num_attention_heads,
            "kv_lora_rank": facts.kv_lora_rank,
            "qk_rope_head_dim": facts.qk_rope_head_dim,
        }
    if facts.mtp_parameters is not None:
        config["num_nextn_predict_layers"] = 1
    if facts.draft_vocab_size is not None:
        config["draft_vocab_size"] = facts.draft_vocab_size
    if facts.quantization is not None:
        config["quantization_config"] = {
            "quant_method": facts.quantization,
            **_QUANTIZATION_CONFIGS[facts.quantization],
        }
    return config


def make_model(folder: Path, config: dict[str, Any]) -> Path:
    """A directory for one config.json; the same config gives the same directory."""
    text = json.dumps(config, sort_keys=True)
    model = folder / f"{config['architectures'][0]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(text)
    return model


@dataclass(frozen=True)
class StandIns:
    """Directories in place of the two models of a command line."""

    target: Path
    draft: Path | None

    def put_into(self, arguments: tuple[str, ...]) -> Iterator[str]:
        """The command line with the models' names replaced and nothing else changed."""
        for argument in arguments:
            name, _, value = argument.partition("=")
            if name == "--model":
                yield f"--model={self.target}"
            elif name == "--speculative-config":
                yield f"--speculative-config={json.dumps(self._with_draft(json.loads(value)))}"
            else:
                yield argument

    def _with_draft(self, speculation: dict[str, Any]) -> dict[str, Any]:
        return speculation | {"model": str(self.draft)} if "model" in speculation else speculation


def stand_ins(folder: Path, target: ModelFacts, draft: ModelFacts | None) -> StandIns:
    """Both models of a plan."""
    has_checkpoint = draft is not None and draft.architecture != DERIVED_HEAD  # a head of the target's own has none
    return StandIns(
        make_model(folder, config_json(target)), make_model(folder, config_json(draft)) if has_checkpoint else None
    )
