"""What each vLLM release understands of speculative decoding, as tables.

A stale key is a boot failure, not a warning (`Unexpected keyword argument`, measured on vLLM 0.32.0), so whatever is
rendered is looked up here first. Read from the sources of the releases 0.6.0 to 0.33.0. It renders nothing itself.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Method
from specdecode.engine.version import EngineVersion


@dataclass(frozen=True)
class Span:
    """Releases in a row."""

    since: EngineVersion
    gone_in: EngineVersion | None = None
    """First release without it."""

    def holds(self, version: EngineVersion) -> bool:
        """Whether a release lies in it."""
        return self.since <= version and (self.gone_in is None or version < self.gone_in)


@dataclass(frozen=True)
class Availability:
    """When a method can be used."""

    spans: tuple[Span, ...]
    """Oldest first."""
    note: str
    """Why not outside them, and the way out."""


def _since(minor: int, patch: int = 0, *, gone_in: EngineVersion | None = None, note: str = "") -> Availability:
    return Availability((Span(EngineVersion(0, minor, patch), gone_in),), note)


METHODS: dict[Method, Availability] = {
    Method.NGRAM: _since(6),
    Method.NGRAM_GPU: _since(18, note="use ngram, which every version has"),
    Method.EAGLE: _since(6),
    # 0.8.5 reads the name already but falls back to the first generation, which has no EAGLE-3.
    Method.EAGLE3: _since(9, note="use eagle with an EAGLE head, or ngram"),
    Method.MEDUSA: _since(6, gone_in=EngineVersion(0, 33), note="use eagle3 or draft_model"),
    # Later releases keep the name until 0.33 but have no proposer for it.
    Method.MLP_SPECULATOR: _since(6, gone_in=EngineVersion(0, 10), note="use eagle3, medusa or ngram"),
    Method.MTP: _since(7, 3, note="use eagle or ngram"),
    Method.SUFFIX: _since(11, 1, note="use ngram"),
    Method.DFLASH: _since(20, note="use eagle3"),
    Method.DSPARK: _since(25, note="use eagle3"),
    # The first generation runs it up to 0.9. The releases 0.10 to 0.14 refuse it ("Speculative decoding with draft
    # model is not supported yet"); it came back with vllm-project/vllm#24322, and 0.15.1 is the first release seen to
    # run it (vllm-project/vllm#35091).
    Method.DRAFT_MODEL: Availability(
        (Span(EngineVersion(0, 6), EngineVersion(0, 10)), Span(EngineVersion(0, 15, 1))),
        "use eagle or ngram, or an engine of 0.16 or newer",
    ),
}


def method_problem(version: EngineVersion, method: Method) -> Problem | None:
    """Why `version` cannot run `method`, if it cannot."""
    availability = METHODS[method]
    if any(span.holds(version) for span in availability.spans):
        return None
    field = "spec.speculation.method"
    later = next((span.since for span in availability.spans if version < span.since), None)
    if later is not None:
        needed = f"it needs {later} or newer"
        return Problem(field, method, f"vLLM {version} does not run it, {needed}: {availability.note}")
    return Problem(field, method, f"removed in vLLM {availability.spans[-1].gone_in}; {availability.note}")


_MTP_ARCHITECTURES: tuple[tuple[EngineVersion, frozenset[str]], ...] = (
    (EngineVersion(0, 7, 3), frozenset({"DeepseekV3ForCausalLM"})),
    (EngineVersion(0, 9), frozenset({"MiMoForCausalLM"})),
    (EngineVersion(0, 10, 2), frozenset({"Ernie4_5_MoeForCausalLM", "Qwen3NextForCausalLM"})),
)
_MTP_FOR_ALL = EngineVersion(0, 11)


def built_in_head_problem(version: EngineVersion, architecture: str) -> Problem | None:
    """Why a release does not find the multi-token-prediction head inside a target's own checkpoint, if it does not.

    Before 0.11 it looks for one only in a few families ("num_speculative_tokens was provided without speculative
    model").
    """
    known = [name for since, names in _MTP_ARCHITECTURES if version >= since for name in sorted(names)]
    if version >= _MTP_FOR_ALL or architecture in known:
        return None
    return Problem(
        "spec.speculation.method",
        Method.MTP,
        f"vLLM {version} finds the head only inside {', '.join(known)} and not inside {architecture}; use 0.11 or "
        "newer, or method ngram",
    )


def spelling(version: EngineVersion, method: Method) -> str:
    """How a method is spelled in `--speculative-config`. The family of `*_mtp` names became `mtp` in 0.11."""
    return "deepseek_mtp" if method is Method.MTP and version < _MTP_FOR_ALL else str(method)


def takes_speculative_config(version: EngineVersion) -> bool:
    """Whether speculation is asked for with `--speculative-config`; before, with one flag for each setting.

    0.8.2 accepts both, but chooses the engine generation by the old flags alone: with the new one it starts the second
    generation for methods that only the first one runs, and dies ("Currently, only ngram spec decode is supported").
    """
    return version >= EngineVersion(0, 8, 3)


def needs_v2_block_manager(version: EngineVersion) -> bool:
    """Whether speculation asks for `--use-v2-block-manager`; later it is the default, then the only one."""
    return version < EngineVersion(0, 6, 3)


def needs_eagle_name(version: EngineVersion) -> bool:
    """Whether the method is guessed from the draft even where it is stated, so that a head must look like one."""
    return version < EngineVersion(0, 8, 5)


def needs_load_format(version: EngineVersion, quantization: str) -> bool:
    """Whether `--load-format` must repeat the quantisation; 0.8.2 and newer set it themselves."""
    return quantization == "bitsandbytes" and version < EngineVersion(0, 8, 2)


def has_typical_acceptance(version: EngineVersion, method: Method) -> bool:
    """Whether the typical-acceptance sampler runs. Only the first engine generation has it; the second one reads its
    settings up to 0.9.2 and ignores them.
    """
    return runs_v0(version, method)


class BatchLimit(StrEnum):
    """How a release stops speculating when many requests run: the key of `--speculative-config`."""

    BY_BATCH_SIZE = "disable_by_batch_size"
    PER_BATCH_SIZE = "num_speculative_tokens_per_batch_size"


def batch_limit(version: EngineVersion, method: Method) -> BatchLimit | None:
    """The key that carries maxBatchSize. None: nothing stops speculation.

    Only the first engine generation honours `disable_by_batch_size`; the second one reads it up to 0.16 and no code
    asks for it. The successor exists since 0.24.
    """
    if runs_v0(version, method):
        return BatchLimit.BY_BATCH_SIZE
    return BatchLimit.PER_BATCH_SIZE if version >= EngineVersion(0, 24) else None


def knows_kv_cache_memory_bytes(version: EngineVersion) -> bool:
    """Whether `--kv-cache-memory-bytes` exists (vllm-project/vllm#21489)."""
    return version >= EngineVersion(0, 10, 2)


REQUEST_STATISTICS_SINCE = EngineVersion(0, 29)
"""First release with `--per-request-spec-decode-metrics`, which the meter reads (vllm-project/vllm#48915)."""


def has_request_statistics(version: EngineVersion) -> bool:
    """Whether an answer can carry what the request accepted of its draft tokens."""
    return version >= REQUEST_STATISTICS_SINCE


def trusts_remote_code(version: EngineVersion) -> bool:
    """Whether `trust_remote_code=False` can be bypassed (CVE-2025-66448, CVE-2026-22807, CVE-2026-27893)."""
    return version < EngineVersion(0, 18)


_V1_SINCE: dict[Method | None, EngineVersion] = {
    None: EngineVersion(0, 8),
    # The second generation could run these two earlier, but fell back unless VLLM_USE_V1 was set.
    Method.NGRAM: EngineVersion(0, 9),
    Method.EAGLE: EngineVersion(0, 9),
    Method.MEDUSA: EngineVersion(0, 9),
    # Not with the second generation; from 0.10 on they are refused instead.
    Method.DRAFT_MODEL: EngineVersion(0, 10),
    Method.MLP_SPECULATOR: EngineVersion(0, 10),
}
_METHODS_V1_SINCE = EngineVersion(0, 9)


def runs_v0(version: EngineVersion, method: Method | None) -> bool:
    """Whether the first engine generation runs, on a GPU of compute capability 8.0 or newer.

    Source: `EngineArgs._is_v1_supported_oracle` of 0.8.0 to 0.9.2; 0.10.0 removed the old speculation workers. It also
    falls back for older GPUs, and for an FP8 cache before 0.8.2; those are not counted here.
    """
    return version < _V1_SINCE.get(method, _METHODS_V1_SINCE)


_V2_SINCE: dict[Method | None, EngineVersion | None] = {
    None: EngineVersion(0, 22),
    Method.EAGLE: EngineVersion(0, 22),
    Method.EAGLE3: EngineVersion(0, 22),
    Method.MTP: EngineVersion(0, 22),
    Method.DFLASH: EngineVersion(0, 24),
    Method.DSPARK: EngineVersion(0, 25),
    Method.DRAFT_MODEL: EngineVersion(0, 31),
    Method.NGRAM: EngineVersion(0, 32),
    Method.NGRAM_GPU: EngineVersion(0, 32),
    Method.SUFFIX: None,
    Method.MEDUSA: None,
    Method.MLP_SPECULATOR: None,
}

_V2_QUANTIZED_SINCE = EngineVersion(0, 24)

_V2_ARCHITECTURES: tuple[tuple[EngineVersion, frozenset[str]], ...] = (
    (EngineVersion(0, 22), frozenset({"Qwen3ForCausalLM"})),
    (EngineVersion(0, 23), frozenset({"LlamaForCausalLM", "MistralForCausalLM"})),
    (EngineVersion(0, 24), frozenset({"DeepseekV2ForCausalLM", "GraniteMoeForCausalLM", "Qwen2MoeForCausalLM"})),
    (
        EngineVersion(0, 26),
        frozenset({"InklingForCausalLM", "InklingForConditionalGeneration", "LongcatFlashNgramForCausalLM"}),
    ),
    (EngineVersion(0, 27), frozenset({"KimiK3ForConditionalGeneration"})),
    (EngineVersion(0, 28), frozenset({"DeepseekV4ForCausalLM"})),
)
"""What each release added to the architectures that take the second runner (`DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES`).
The dense ones left that list in 0.25, when every dense model took it.
"""

_NOT_DENSE = re.compile(
    "Moe|MoE|Mixtral|Dbrx|Arctic|Deepseek(?!OCR|VL)|GptOss|Kimi|Olmoe|FlexOlmo|AXK1|Laguna|Llama4|Longcat|MiniMax"
    "|MiMoV2|HYV3|MistralLarge3|Sarvam|Step3|Aria|InternS1Pro|InternS2Mobius|Dots3|Inkling"
    "|Mamba|Jamba|Bamba|Zamba|FalconH1|Qwen3Next|Qwen3_5|Hybrid|Lfm2|NemotronH|MiniCPMV4_6"
)
"""Mixtures of experts and models with linear attention, by name, from the registry of vLLM 0.28.0."""


def _defaults_to_v2(version: EngineVersion, architecture: str) -> bool:
    if version >= EngineVersion(0, 29):
        return True
    listed = any(version >= since and architecture in names for since, names in _V2_ARCHITECTURES)
    return listed or (version >= EngineVersion(0, 25) and _NOT_DENSE.search(architecture) is None)


def uses_v2_runner(
    version: EngineVersion, method: Method | None, architecture: str, *, is_quantized: bool = False
) -> bool:
    """Whether vLLM's second model runner is used. Its sampler takes a fraction of the first one's memory.

    `architecture` is the target's, as its config.json says; `is_quantized` whether that has a `quantization_config`,
    which 0.22 and 0.23 leave to the first runner. Source: `VllmConfig.use_v2_model_runner` of 0.22.1 to 0.33.0.
    """
    since = _V2_SINCE[method]
    if since is None or version < since or (is_quantized and version < _V2_QUANTIZED_SINCE):
        return False
    return method is Method.DSPARK or _defaults_to_v2(version, architecture)


def counts_cuda_graphs(version: EngineVersion, *, v2_runner: bool) -> bool:
    """Whether the graph memory is estimated and subtracted before the KV cache is sized."""
    return version >= (EngineVersion(0, 29) if v2_runner else EngineVersion(0, 20))


def knows_draft_kv_cache_dtype(version: EngineVersion) -> bool:
    """Whether the draft's cache can have a type of its own."""
    return version >= EngineVersion(0, 26)
