"""The vLLM command line of one mode. Last step of the engine's knowledge: it decides nothing and only writes.

Every flag is one list item `--flag=value`, in a fixed order, with everything explicit that has a default which moved
between releases (vllm-project/vllm gpu_memory_utilization 0.90 -> 0.92 in 0.20). It never joins a shell line.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from specdecode.api.spec import SpecDecodeDeploymentSpec
from specdecode.api.vocabulary import METHODS_NGRAM, METHODS_WITHOUT_DRAFT, KvCacheDtype, Method
from specdecode.engine.flags import (
    BatchLimit,
    batch_limit,
    has_typical_acceptance,
    knows_draft_kv_cache_dtype,
    knows_kv_cache_memory_bytes,
    needs_load_format,
    needs_v2_block_manager,
    runs_v0,
    spelling,
    takes_speculative_config,
)
from specdecode.engine.version import EngineVersion
from specdecode.meter import MIDDLEWARE

PORT = 8000
"""Where the server listens, vLLM's own default."""


@dataclass(frozen=True)
class ActiveSpeculation:
    """How a mode proposes tokens: what `--speculative-config`, or the flags before it, say."""

    method: Method
    num_speculative_tokens: int
    max_batch_size: int | None = None
    draft_name: str | None = None
    """None: the method loads no weights, or the head ships inside the target's checkpoint."""
    draft_revision: str | None = None
    draft_quantization: str | None = None
    """None: as the checkpoint is. The target's method is not inherited by a draft model."""
    draft_kv_cache_dtype: KvCacheDtype | None = None
    """None: as the target's."""
    prompt_lookup_min: int = 2
    prompt_lookup_max: int = 5
    posterior_threshold: str | None = None
    """Of the typical-acceptance sampler, as a decimal number. None: rejection sampling."""
    posterior_alpha: str | None = None

    @property
    def loads_weights(self) -> bool:
        """Whether a draft model or head takes memory."""
        return self.method not in METHODS_WITHOUT_DRAFT


def limits_batch_size(active: ActiveSpeculation, max_num_seqs: int) -> bool:
    """Whether maxBatchSize says anything: at or above maxNumSeqs it can never be exceeded."""
    return active.max_batch_size is not None and active.max_batch_size < max_num_seqs


def _batch_limit_keys(active: ActiveSpeculation, version: EngineVersion, max_num_seqs: int) -> dict[str, Any]:
    key, limit = batch_limit(version, active.method), active.max_batch_size
    if key is None or limit is None or not limits_batch_size(active, max_num_seqs):
        return {}
    if key is BatchLimit.BY_BATCH_SIZE:
        # It stops at this number of running requests, not above it.
        return {key: limit + 1}
    # Ranges of batch sizes with the tokens to propose: the first starts at 1, and none may overlap.
    return {key: [[1, limit, active.num_speculative_tokens], [limit + 1, max_num_seqs, 0]]}


def _draft_tensor_parallel_size(active: ActiveSpeculation, version: EngineVersion, target_size: int) -> int | None:
    """How many GPUs the draft is split over. None: as the release does by itself.

    The first model runner refuses a draft model of another size than the target's (vllm-project/vllm#24322). The first
    engine generation splits no EAGLE head ("does not support TP > 1 yet") and no MLP speculator.
    """
    if active.method is Method.DRAFT_MODEL:
        return target_size
    if active.method in {Method.EAGLE, Method.MLP_SPECULATOR} and runs_v0(version, active.method):
        return 1
    return None


def _typical_acceptance_keys(active: ActiveSpeculation, version: EngineVersion) -> dict[str, Any]:
    if active.posterior_threshold is None or not has_typical_acceptance(version, active.method):
        return {}
    return {
        "acceptance_method": "typical_acceptance_sampler",
        "posterior_threshold": float(active.posterior_threshold),
        "posterior_alpha": None if active.posterior_alpha is None else float(active.posterior_alpha),
    }


def speculative_config(
    active: ActiveSpeculation, version: EngineVersion, *, tensor_parallel_size: int, max_num_seqs: int
) -> dict[str, Any]:
    """The object of `--speculative-config`, with an explicit method and no key the version does not know."""
    config: dict[str, Any] = {
        "method": spelling(version, active.method),
        "num_speculative_tokens": active.num_speculative_tokens,
        "model": active.draft_name,
        "revision": active.draft_revision,
        "quantization": active.draft_quantization,
        "draft_tensor_parallel_size": _draft_tensor_parallel_size(active, version, tensor_parallel_size),
    }
    if knows_draft_kv_cache_dtype(version):
        config["kv_cache_dtype"] = active.draft_kv_cache_dtype
    if active.method in METHODS_NGRAM:
        config |= {"prompt_lookup_min": active.prompt_lookup_min, "prompt_lookup_max": active.prompt_lookup_max}
    config |= _typical_acceptance_keys(active, version) | _batch_limit_keys(active, version, max_num_seqs)
    return {key: value for key, value in config.items() if value is not None}


_FLAGS_OF_KEYS = {
    "model": "speculative-model",
    "num_speculative_tokens": "num-speculative-tokens",
    "quantization": "speculative-model-quantization",
    "draft_tensor_parallel_size": "speculative-draft-tensor-parallel-size",
    "prompt_lookup_max": "ngram-prompt-lookup-max",
    "prompt_lookup_min": "ngram-prompt-lookup-min",
    "acceptance_method": "spec-decoding-acceptance-method",
    "posterior_threshold": "typical-acceptance-sampler-posterior-threshold",
    "posterior_alpha": "typical-acceptance-sampler-posterior-alpha",
    "disable_by_batch_size": "speculative-disable-by-batch-size",
}
"""The keys of `--speculative-config` as the flags that were there before it. There is none for the method, which is
read from the draft's config.json, and none for the draft's revision.
"""


def _old_speculative_flags(config: dict[str, Any], version: EngineVersion) -> Iterator[str]:
    if config["method"] in METHODS_NGRAM:
        yield "--speculative-model=[ngram]"
    for key, flag in _FLAGS_OF_KEYS.items():
        if key in config:
            yield f"--{flag}={config[key]}"
    if needs_v2_block_manager(version):
        yield "--use-v2-block-manager"


def _speculative_flags(
    spec: SpecDecodeDeploymentSpec, version: EngineVersion, active: ActiveSpeculation
) -> Iterator[str]:
    config = speculative_config(
        active, version, tensor_parallel_size=spec.accelerator.count, max_num_seqs=spec.engine.max_num_seqs
    )
    if takes_speculative_config(version):
        yield f"--speculative-config={json.dumps(config, sort_keys=True, separators=(',', ':'))}"
    else:
        yield from _old_speculative_flags(config, version)


def _model_flags(spec: SpecDecodeDeploymentSpec, version: EngineVersion) -> Iterator[str]:
    model = spec.model
    yield f"--model={model.name}"
    yield f"--served-model-name={model.served_name or model.name}"
    if model.revision is not None:
        yield f"--revision={model.revision}"
    yield f"--dtype={model.dtype}"
    if model.quantization is not None:
        yield f"--quantization={model.quantization}"
        if needs_load_format(version, model.quantization):
            yield f"--load-format={model.quantization}"


def _memory_flags(spec: SpecDecodeDeploymentSpec, version: EngineVersion, pinned_bytes: int | None) -> Iterator[str]:
    engine = spec.engine
    yield f"--tensor-parallel-size={spec.accelerator.count}"
    yield f"--max-model-len={engine.max_model_len}"
    yield f"--max-num-seqs={engine.max_num_seqs}"
    yield f"--max-num-batched-tokens={engine.max_num_batched_tokens}"
    yield f"--gpu-memory-utilization={engine.gpu_memory_utilization}"
    yield f"--kv-cache-dtype={engine.kv_cache_dtype}"
    if pinned_bytes is not None and knows_kv_cache_memory_bytes(version):
        yield f"--kv-cache-memory-bytes={pinned_bytes}"
    if engine.enforce_eager:
        yield "--enforce-eager"


def _meter_flags() -> Iterator[str]:
    yield f"--middleware={MIDDLEWARE}"
    yield "--per-request-spec-decode-metrics=summary"


def command_line(
    spec: SpecDecodeDeploymentSpec,
    version: EngineVersion,
    active: ActiveSpeculation | None,
    pinned_bytes: int | None = None,
) -> tuple[str, ...]:
    """The whole command line of one mode.

    `active` None is a server without speculation. `pinned_bytes` is the KV cache per GPU that the plan fixes, None when
    the engine sizes it itself.
    """
    rendered = [*_model_flags(spec, version), *_memory_flags(spec, version, pinned_bytes)]
    if active is not None:
        rendered += _speculative_flags(spec, version, active)
        if spec.guard.meter:
            rendered += _meter_flags()
    rendered += ["--host=0.0.0.0", f"--port={PORT}"]
    extra = [
        f"--{argument.name}" if argument.value is None else f"--{argument.name}={argument.value}"
        for argument in spec.engine.extra_args
    ]
    return (*rendered, *extra)
