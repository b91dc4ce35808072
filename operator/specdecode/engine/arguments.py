"""The vLLM command line of one mode. Last step of the engine's knowledge: it decides nothing and only writes.

Every flag is one list item `--flag=value`, in a fixed order, with everything explicit that has a default which moved
between releases (vllm-project/vllm gpu_memory_utilization 0.90 -> 0.92 in 0.20). It never joins a shell line.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from specdecode.api.resource import Problem
from specdecode.api.spec import ExtraArgument, SpecDecodeDeploymentSpec
from specdecode.api.vocabulary import METHODS_WITHOUT_DRAFT, Method
from specdecode.engine.flags import BatchLimit, batch_limit, knows_kv_cache_memory_bytes, spelling
from specdecode.engine.version import EngineVersion

PORT = 8000
"""Where the server listens, vLLM's own default."""


@dataclass(frozen=True)
class KnownArgument:
    """One argument of a release."""

    is_switch: bool
    """Takes no value."""
    choices: tuple[str, ...]
    """Empty: any value."""


_LISTED_SINCE = EngineVersion(0, 32)


@cache
def _listed() -> Mapping[str, KnownArgument]:
    text = resources.files("specdecode.engine").joinpath("data/vllm-0.32.0-arguments.json").read_text(encoding="utf-8")
    return {
        name: KnownArgument(entry.get("switch", False), tuple(entry.get("choices", ())))
        for name, entry in json.loads(text).items()
    }


def known_arguments(version: EngineVersion) -> Mapping[str, KnownArgument] | None:
    """The arguments of a release by name without dashes. None: no list of that release is at hand."""
    return _listed() if version >= _LISTED_SINCE else None


def extra_argument_problem(version: EngineVersion, argument: ExtraArgument) -> Problem | None:
    """Why an extra argument would stop the engine from starting, if it would."""
    known = known_arguments(version)
    if known is None:
        return None
    field = f"spec.engine.extraArgs[name={argument.name}]"
    entry = known.get(argument.name)
    if entry is None:
        near = difflib.get_close_matches(argument.name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        return Problem(field, argument.name, f"vLLM {version} has no argument --{argument.name}; {hint}")
    value = argument.value
    if entry.is_switch and value is not None:
        return Problem(f"{field}.value", value, f"--{argument.name} is a switch; leave the value out")
    if not entry.is_switch and value is None:
        return Problem(f"{field}.value", "", f"--{argument.name} needs a value; add it")
    if entry.choices and value not in entry.choices:
        return Problem(f"{field}.value", str(value), f"must be one of {', '.join(entry.choices)}")
    return None


@dataclass(frozen=True)
class ActiveSpeculation:
    """How a mode proposes tokens: what `--speculative-config` says."""

    method: Method
    num_speculative_tokens: int
    max_batch_size: int | None = None
    draft_name: str | None = None
    """None: the method loads no weights, or the head ships inside the target's checkpoint."""
    draft_revision: str | None = None
    draft_quantization: str | None = None
    """None: as the checkpoint is. The target's method is not inherited by a draft model."""
    prompt_lookup_min: int = 2
    prompt_lookup_max: int = 5

    @property
    def loads_weights(self) -> bool:
        """Whether a draft model or head takes memory."""
        return self.method not in METHODS_WITHOUT_DRAFT


def limits_batch_size(active: ActiveSpeculation, max_num_seqs: int) -> bool:
    """Whether maxBatchSize says anything: at or above maxNumSeqs it can never be exceeded."""
    return active.max_batch_size is not None and active.max_batch_size < max_num_seqs


def _batch_limit_keys(active: ActiveSpeculation, version: EngineVersion, max_num_seqs: int) -> dict[str, Any]:
    key, limit = batch_limit(version), active.max_batch_size
    if key is None or limit is None or not limits_batch_size(active, max_num_seqs):
        return {}
    if key is BatchLimit.BY_BATCH_SIZE:
        return {key: limit}
    # Ranges of batch sizes with the tokens to propose: the first starts at 1, and none may overlap.
    return {key: [[1, limit, active.num_speculative_tokens], [limit + 1, max_num_seqs, 0]]}


def speculative_config(
    active: ActiveSpeculation, version: EngineVersion, *, tensor_parallel_size: int, max_num_seqs: int
) -> dict[str, Any]:
    """The object of `--speculative-config`, with an explicit method and no key the version does not know."""
    config: dict[str, Any] = {
        "method": spelling(version, active.method),
        "num_speculative_tokens": active.num_speculative_tokens,
    }
    draft = {
        "model": active.draft_name,
        "revision": active.draft_revision,
        "quantization": active.draft_quantization,
    }
    config |= {key: value for key, value in draft.items() if value is not None}
    if active.method is Method.DRAFT_MODEL:
        # The first model runner refuses anything but the target's size (vllm-project/vllm#24322).
        config["draft_tensor_parallel_size"] = tensor_parallel_size
    if active.method in {Method.NGRAM, Method.NGRAM_GPU}:
        config |= {"prompt_lookup_min": active.prompt_lookup_min, "prompt_lookup_max": active.prompt_lookup_max}
    return config | _batch_limit_keys(active, version, max_num_seqs)


def _model_flags(spec: SpecDecodeDeploymentSpec) -> Iterator[str]:
    model = spec.model
    yield f"--model={model.name}"
    yield f"--served-model-name={model.served_name or model.name}"
    if model.revision is not None:
        yield f"--revision={model.revision}"
    yield f"--dtype={model.dtype}"
    if model.quantization is not None:
        yield f"--quantization={model.quantization}"


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
    rendered = [*_model_flags(spec), *_memory_flags(spec, version, pinned_bytes)]
    if active is not None:
        config = speculative_config(
            active,
            version,
            tensor_parallel_size=spec.accelerator.count,
            max_num_seqs=spec.engine.max_num_seqs,
        )
        rendered.append(f"--speculative-config={json.dumps(config, sort_keys=True, separators=(',', ':'))}")
    rendered += ["--host=0.0.0.0", f"--port={PORT}"]
    extra = [
        f"--{argument.name}" if argument.value is None else f"--{argument.name}={argument.value}"
        for argument in spec.engine.extra_args
    ]
    return (*rendered, *extra)
