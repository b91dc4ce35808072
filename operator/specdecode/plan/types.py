"""The values of the plan: a ledger per mode, the ladder, and the advice."""

from dataclasses import dataclass

from specdecode.api.vocabulary import Mode


@dataclass(frozen=True)
class LedgerLine:
    """One line of the memory of one GPU."""

    name: str
    """Stable camelCase name: memory, budget, targetWeights, draftWeights, activationPeak, nonTorch, cudaGraphs …"""
    bytes: int
    """Positive gives, negative takes."""
    low_bytes: int
    """Lower bound of `bytes`."""
    high_bytes: int
    """Upper bound of `bytes`."""
    source: str
    """Where the number comes from: a formula, the catalogue, a measurement."""


@dataclass(frozen=True)
class ModePlan:
    """What one mode needs, and the flags that follow."""

    mode: Mode
    fits: bool
    short_bytes: int
    """Missing per GPU; 0 when it fits."""
    ledger: tuple[LedgerLine, ...]
    kv_cache_bytes_per_gpu: int
    """What is left for the KV cache; may be negative when the mode does not fit."""
    bytes_per_token: int
    """KV bytes per token and GPU, target and draft together."""
    kv_cache_tokens: int
    """Tokens that the KV cache of one replica holds; 0 when it does not fit."""
    requests_at_max_model_len: float
    """Requests of maxModelLen tokens that fit at once."""
    bytes_per_block: int
    """KV bytes per GPU of one block of `block_size_tokens`; an engine's block count times it is its KV cache."""
    block_size_tokens: int
    """Tokens of a block that `bytes_per_block` is for."""
    request_bytes: int
    """KV bytes per GPU of one request of maxModelLen; the engine does not start with less."""
    shape: str
    """Digest of what decides the memory beside the KV cache: a measured engine corrects plans of the same shape."""
    load_bytes: int
    """Weights that one pod reads at its start, all GPUs together; sizes the start-up budget."""
    arguments: tuple[str, ...]
    """The vLLM command line, `--flag=value`, in a fixed order."""
    remedies: tuple[str, ...]
    """What would make it fit, each tried by the plan: "draft quantization fp8_per_tensor"."""


@dataclass(frozen=True)
class Advice:
    """What a careful colleague would say."""

    reason: str
    """Stable CamelCase name."""
    message: str
    """One sentence with the numbers and the way out."""


@dataclass(frozen=True)
class Plan:
    """Everything that follows from a spec alone."""

    requested_mode: Mode
    ladder: tuple[ModePlan, ...]
    """Best first, the requested mode first, `Off` last."""
    advice: tuple[Advice, ...]
    engine_version: str
    """The version the flags are for."""
    gpu_memory_bytes: int
    """Of one GPU, as CUDA reports it."""
    gpu_label_bytes: int
    """Of one GPU, the decimal size people quote."""
    gpu_count: int
    """GPUs of one replica."""
    sources: tuple[str, ...]
    """Where the facts of target and draft come from."""
    baseline_key: str
    """What a baseline without speculation is bound to: model, engine and accelerator."""
    draft_key: str
    """What an acceptance baseline is bound to: target and draft without the draft's quantisation. Empty: no draft."""

    def mode(self, mode: Mode) -> ModePlan | None:
        """The plan of a mode, if it is on the ladder."""
        return next((candidate for candidate in self.ladder if candidate.mode is mode), None)

    @property
    def requested(self) -> ModePlan:
        """The plan of the requested mode."""
        return self.ladder[0]

    def fitting_below(self, mode: Mode) -> tuple[Mode, ...]:
        """Modes after `mode` on the ladder that fit, best first."""
        names = [candidate.mode for candidate in self.ladder]
        start = names.index(mode) + 1 if mode in names else 0
        return tuple(candidate.mode for candidate in self.ladder[start:] if candidate.fits)
