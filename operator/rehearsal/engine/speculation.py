"""What `--speculative-config` may say in vLLM 0.32.0, and which simulated draft it stands for.

Checks in the order and with the words of the engine, so that a wrong configuration fails here as it would on a GPU.
Nothing is loaded: a model that does not exist is not noticed.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from rehearsal.engine.behaviour import DraftKind

_NGRAM = frozenset({"ngram", "ngram_gpu", "suffix"})
_WITHOUT_MODEL = _NGRAM | {"mtp", "custom_class", "extract_hidden_states"}

# Registry of 0.32; gguf left it with 0.24.0 and bitsandbytes with 0.28.0.
_QUANTIZATIONS = frozenset(
    {
        "awq",
        "auto_awq",
        "awq_marlin",
        "gptq",
        "auto_gptq",
        "gptq_marlin",
        "fp8",
        "fp8_per_tensor",
        "fp8_per_block",
        "fp8_per_channel",
        "mxfp8",
        "mxfp4",
        "gpt_oss_mxfp4",
        "deepseek_v4_fp8",
        "modelopt",
        "modelopt_fp4",
        "modelopt_mxfp8",
        "modelopt_mixed",
        "compressed-tensors",
        "quark",
        "moe_wna16",
        "experts_int8",
        "int8_per_channel_weight_only",
        "nvfp4_per_token",
        "torchao",
        "inc",
        "humming",
        "online",
        "fbgemm_fp8",
        "fp_quant",
    }
)


class ConfigError(Exception):
    """The engine refuses its configuration: it says so and ends with 1."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SpeculativeConfig:
    """The keys that 0.32 knows. Another one is pydantic's `Unexpected keyword argument` (measured on vLLM 0.32.0)."""

    num_speculative_tokens: Annotated[int, Field(gt=0)] | None = None
    method: str | None = None
    model: str | None = None
    draft_tensor_parallel_size: Annotated[int, Field(ge=1)] | None = None
    tensor_parallel_size: int | None = None
    quantization: str | None = None
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    revision: str | None = None
    code_revision: str | None = None
    prompt_lookup_min: Annotated[int, Field(ge=1)] | None = None
    prompt_lookup_max: Annotated[int, Field(ge=1)] | None = None
    num_speculative_tokens_per_batch_size: list[list[int]] | None = None
    parallel_drafting: bool = False
    rejection_sample_method: str = "standard"
    synthetic_acceptance_rates: list[float] | None = None
    synthetic_acceptance_length: float | None = None
    draft_sample_method: str = "greedy"
    attention_backend: str | None = None
    moe_backend: str | None = None
    kv_cache_dtype: str | None = None
    use_heterogeneous_vocab: bool = False
    disable_padded_drafter_batch: bool = False
    enforce_eager: bool | None = None
    draft_load_config: dict[str, Any] | None = None
    use_local_argmax_reduction: bool = False
    suffix_decoding_max_tree_depth: int | None = None
    suffix_decoding_max_cached_requests: int | None = None
    suffix_decoding_max_spec_factor: float | None = None
    suffix_decoding_min_token_prob: float | None = None
    dspark_draft_topk: int | None = None
    enable_adaptive_verification: bool = False
    index_share_for_mtp_iteration: bool | None = None
    disable_eagle_block_drop: bool = False

    @property
    def kind(self) -> DraftKind:
        """Which of the simulated drafts this is."""
        if self.method in _NGRAM:
            return DraftKind.NGRAM
        if self.quantization is not None:
            return DraftKind.QUANTIZED_DRAFT
        return DraftKind.DRAFT if self.method == "draft_model" else DraftKind.EAGLE

    def tokens_at(self, batch_size: int) -> int:
        """Tokens to propose for each of so many running requests; 0 stops speculation for the step."""
        most = self.num_speculative_tokens or 0
        for start, end, tokens in self.num_speculative_tokens_per_batch_size or ():
            if start <= batch_size <= end:
                return min(tokens, most)
        return most


def speculative_config(keys: dict[str, Any], methods: tuple[str, ...], tensor_parallel_size: int) -> SpeculativeConfig:
    """The checked configuration of a target that runs on so many GPUs.

    Raises:
        ConfigError: vLLM would not start with it.
    """
    try:
        config = SpeculativeConfig(**keys)
    except ValidationError as error:
        raise ConfigError(str(error)) from None
    for complaint in (
        _method_complaint(config, methods),
        _size_complaint(config, tensor_parallel_size),
        _value_complaint(config),
    ):
        if complaint:
            raise ConfigError(f"1 validation error for SpeculativeConfig\n  Value error, {complaint}")
    return config


def _method_complaint(config: SpeculativeConfig, methods: tuple[str, ...]) -> str:
    if config.method is not None and config.method not in methods:
        return f"Input should be one of {', '.join(methods)}, got {config.method}"
    if config.method is None and config.model is None:
        return "num_speculative_tokens was provided but without speculative model."
    if config.method is None:
        return "the simulated engine does not look into a checkpoint: name the method"
    if config.model is None and config.method not in _WITHOUT_MODEL and not config.method.endswith("_mtp"):
        return "num_speculative_tokens was provided but without speculative model."
    if config.num_speculative_tokens is None:
        return "A speculative model was provided, but `num_speculative_tokens` was not provided"
    return ""


def _size_complaint(config: SpeculativeConfig, tensor_parallel_size: int) -> str:
    if config.tensor_parallel_size is not None:
        return (
            "'tensor_parallel_size' is not a valid argument in the speculative_config. "
            "Please pass 'draft_tensor_parallel_size' instead."
        )
    size = config.draft_tensor_parallel_size
    if size not in (None, 1, tensor_parallel_size):
        return (
            f"speculative_draft_tensor_parallel_size={size} cannot be other value than 1 "
            "or target model tensor_parallel_size"
        )
    return ""


def _value_complaint(config: SpeculativeConfig) -> str:
    low, high = config.prompt_lookup_min, config.prompt_lookup_max
    if low is not None and high is not None and low > high:
        return f"prompt_lookup_min={low} must be <= prompt_lookup_max={high}"
    if config.quantization is not None and config.quantization not in _QUANTIZATIONS:
        return f"Unknown quantization method: {config.quantization}. Must be one of {sorted(_QUANTIZATIONS)}."
    if config.rejection_sample_method not in ("standard", "synthetic", "block"):
        return f"Unknown rejection_sample_method: {config.rejection_sample_method}"
    return _table_complaint(config.num_speculative_tokens_per_batch_size)


def _table_complaint(table: list[list[int]] | None) -> str:
    """Ranges of batch sizes `[first, last, tokens]`: from 1 on, and each after the one before it."""
    last = 0
    for row in table or ():
        if len(row) != 3 or row[0] != last + 1 or row[1] < row[0] or row[2] < 0:
            return f"num_speculative_tokens_per_batch_size must be adjoining ranges [start, end, tokens], got {table}"
        last = row[1]
    return ""
