"""The spec of a `SpecDecodeDeployment`: what a user writes. Field docstrings are the CRD's descriptions."""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from specdecode.api.accelerators import ACCELERATORS
from specdecode.api.arguments import EXTRA_ARGUMENT_RULES, VARIABLE_RULES
from specdecode.api.base import ApiModel, Rule, cel_list, map_list, set_list
from specdecode.api.facts import ModelFactsSpec
from specdecode.api.guard import GuardSpec
from specdecode.api.podtemplate import PodTemplateSpec
from specdecode.api.values import (
    IMAGE,
    ArgumentName,
    ArgumentValue,
    DnsName,
    Fraction,
    Image,
    Integer,
    LabelValue,
    ModelName,
    Quantity,
    QuantizationName,
    ResourceName,
    Revision,
    SecretKey,
    ServedName,
    Switch,
    VariableName,
    VariableValue,
    VersionText,
)
from specdecode.api.vocabulary import (
    CACHE_MOUNT,
    METHODS_NGRAM,
    METHODS_WITH_OPTIONAL_DRAFT,
    METHODS_WITHOUT_DRAFT,
    Dtype,
    Fallback,
    KvCacheDtype,
    Method,
)

VERSION_IN_TAG = r":v?([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})([.\-_][A-Za-z0-9_.\-]*)?(@sha256:[a-f0-9]{64})?$"
"""A tag that names an engine version: `v0.32.0`, `0.32.0-cu130`, with or without a digest behind it."""

WITHOUT_DRAFT = sorted(METHODS_WITHOUT_DRAFT)
OPTIONAL_DRAFT = sorted(METHODS_WITH_OPTIONAL_DRAFT)
NGRAM_METHODS = sorted(METHODS_NGRAM)


class ModelSpec(ApiModel):
    """The served model, the target of speculation."""

    name: ModelName
    """Repository (`owner/name`), or an absolute path below the cache mount `/models`."""
    revision: Revision | None = None
    """Commit, tag or branch. Pin the commit: a moved branch changes the model without a rollout."""
    quantization: QuantizationName | None = None
    """As vLLM spells it, for example `fp8_per_tensor`. Omitted: as the checkpoint is."""
    dtype: Dtype = Dtype.BFLOAT16
    """Type of the weights that are not quantised."""
    served_name: ServedName | None = None
    """The name that clients send as `model`. Omitted: the model's name."""
    facts: ModelFactsSpec | None = None
    """What the plan must know of the model, when neither the catalogue nor the hub does."""


class DraftSpec(ApiModel):
    """The small model, or head, that proposes tokens."""

    name: ModelName
    """Repository (`owner/name`), or an absolute path below the cache mount `/models`."""
    revision: Revision | None = None
    """Commit, tag or branch. Pin the commit."""
    quantization: QuantizationName | None = None
    """As vLLM spells it. Quantise the draft before you relax the model family; the operator takes it back when it
    costs acceptance. Omitted: as the checkpoint is."""
    kv_cache_dtype: KvCacheDtype | None = None
    """How the draft's own KV cache is stored; vLLM 0.26 and newer. Omitted: as the target's."""
    facts: ModelFactsSpec | None = None
    """What the plan must know of the draft, when neither the catalogue nor the hub does."""


class ExtraArgument(ApiModel):
    """One further vLLM argument."""

    rules: ClassVar = EXTRA_ARGUMENT_RULES

    name: ArgumentName
    """Without the leading dashes: `enable-prefix-caching`."""
    value: ArgumentValue | None = None
    """Omitted for a switch."""


class SecretKeyReference(ApiModel):
    """A key of a Secret in the same namespace. The operator never reads it; the kubelet does."""

    secret_name: DnsName
    """Name of the Secret."""
    key: SecretKey = "token"
    """Key inside the Secret."""


class Variable(ApiModel):
    """One environment variable of the engine."""

    rules: ClassVar = VARIABLE_RULES

    name: VariableName
    """Upper case. Names that load code or open the engine (`VLLM_*`, `LD_*`, `PYTHON*`) are refused."""
    value: VariableValue | None = None
    """A plain value. Secrets belong into `secret`."""
    secret: SecretKeyReference | None = None
    """Take the value from a Secret."""


class EngineSpec(ApiModel):
    """The vLLM server. Field names are vLLM's argument names."""

    rules: ClassVar = (
        Rule(
            # A malformed image has its own message.
            cel=f"has(self.version) || self.image.matches(r'{VERSION_IN_TAG}') || !self.image.matches(r'{IMAGE}')",
            message="version is required when the image's tag does not name it (a digest or an own tag); "
            "set spec.engine.version, for example 0.32.0",
            holds=lambda engine: engine.version is not None or re.search(VERSION_IN_TAG, engine.image) is not None,
            field_path=".version",
        ),
    )

    image: Image
    """Container image of vLLM's OpenAI server."""
    version: VersionText | None = None
    """vLLM's version. Read from the image's tag when omitted; required with a digest or an own tag."""
    max_model_len: Annotated[Integer, Field(ge=1, le=16_777_216)]
    """Longest request, prompt and answer together, in tokens."""
    max_num_seqs: Annotated[Integer, Field(ge=1, le=65_536)] = 256
    """Most requests in one engine step."""
    max_num_batched_tokens: Annotated[Integer, Field(ge=1, le=4_194_304)] = 8192
    """Most tokens in one engine step. Engines up to 0.9 that take whole prompts get maxModelLen where that is more and
    this is left at its default."""
    gpu_memory_utilization: Fraction = "0.92"
    """Share of each GPU's memory that vLLM may use, as a decimal string in (0, 1]."""
    kv_cache_dtype: KvCacheDtype = KvCacheDtype.AUTO
    """How the KV cache is stored. `fp8` doubles the tokens that fit."""
    pin_kv_cache: Switch = False
    """Emit `--kv-cache-memory-bytes` from the plan: the token count becomes exact, and a wrong plan an out-of-memory
    failure instead of a smaller cache."""
    enforce_eager: Switch = False
    """Run without CUDA graphs: less memory, slower."""
    extra_args: Annotated[tuple[ExtraArgument, ...], *map_list(key="name", max_items=32)] = ()
    """Further vLLM arguments. Refused: what the operator renders itself, and what loads code, opens files, moves the
    server or hides the metrics."""
    env: Annotated[tuple[Variable, ...], *map_list(key="name", max_items=32)] = ()
    """Environment variables of the engine."""


class AcceleratorSpec(ApiModel):
    """The GPUs of one replica."""

    rules: ClassVar = (
        Rule(
            cel=f"has(self.memory) || self.product in {cel_list(sorted(ACCELERATORS))}",
            message="memory is required for a GPU product the operator does not know; set spec.accelerator.memory to "
            "the memory of one GPU as CUDA reports it, for example 80Gi",
            holds=lambda accelerator: accelerator.memory is not None or accelerator.product in ACCELERATORS,
            field_path=".memory",
        ),
    )

    product: Annotated[LabelValue, Field(min_length=1)]
    """The node label `nvidia.com/gpu.product`; pods run only on nodes that carry it, and the memory follows from it."""
    memory: Quantity | None = None
    """Memory of one GPU as CUDA reports it. Only for a product the operator does not know, or to overrule it."""
    count: Annotated[Integer, Field(ge=1, le=64)] = 1
    """GPUs of one replica, which is the tensor parallel size."""
    resource_name: ResourceName = "nvidia.com/gpu"
    """The extended resource that a pod asks for."""


class NgramSpec(ApiModel):
    """Bounds of the n-gram that is looked up in the prompt."""

    rules: ClassVar = (
        Rule(
            cel="self.promptLookupMin <= self.promptLookupMax",
            message="promptLookupMin must not exceed promptLookupMax",
            holds=lambda ngram: ngram.prompt_lookup_min <= ngram.prompt_lookup_max,
        ),
    )

    prompt_lookup_min: Annotated[Integer, Field(ge=1, le=64)] = 2
    """Shortest n-gram that is looked up, in tokens."""
    prompt_lookup_max: Annotated[Integer, Field(ge=1, le=64)] = 5
    """Longest n-gram that is looked up, in tokens."""


class TypicalAcceptanceSpec(ApiModel):
    """The typical-acceptance sampler: a token is accepted when the target finds it likely enough, not only when the
    target would have said it. It is lossy, and only the first engine generation (up to vLLM 0.9.2) has it.
    """

    posterior_threshold: Fraction = "0.09"
    """Lower bound on the target's probability of an accepted token, as a decimal string in (0, 1]."""
    posterior_alpha: Fraction = "0.3"
    """Scale of the bound that follows the entropy, as a decimal string in (0, 1]. Usually the root of the threshold."""


class SpeculationSpec(ApiModel):
    """How tokens are proposed, and what may run instead. Speculation shortens the time per output token, not the time
    to the first one, and pays least when many requests run at once: measure at production temperature and load.
    """

    rules: ClassVar = (
        Rule(
            cel=f"has(self.draft) || self.method in {cel_list(WITHOUT_DRAFT + OPTIONAL_DRAFT)}",
            message="draft is required for this method; set spec.speculation.draft.name, or use method ngram, "
            "which needs none",
            holds=lambda speculation: (
                speculation.draft is not None
                or speculation.method in METHODS_WITHOUT_DRAFT | METHODS_WITH_OPTIONAL_DRAFT
            ),
            field_path=".draft",
        ),
        Rule(
            cel=f"!has(self.draft) || !(self.method in {cel_list(WITHOUT_DRAFT)})",
            message="draft must be omitted for ngram, ngram_gpu and suffix: they load no draft model",
            holds=lambda speculation: speculation.draft is None or speculation.method not in METHODS_WITHOUT_DRAFT,
            field_path=".draft",
        ),
        Rule(
            cel="!has(self.fallbacks) || !('Draft' in self.fallbacks) || "
            "(has(self.draft) && has(self.draft.quantization))",
            message="fallback Draft means the draft without its quantisation; set spec.speculation.draft.quantization "
            "or remove Draft from spec.speculation.fallbacks",
            holds=lambda speculation: (
                Fallback.DRAFT not in speculation.fallbacks
                or (speculation.draft is not None and speculation.draft.quantization is not None)
            ),
            field_path=".fallbacks",
        ),
        Rule(
            cel=f"!has(self.fallbacks) || !('NGram' in self.fallbacks) || !(self.method in {cel_list(NGRAM_METHODS)})",
            message="fallback NGram is the requested method itself; remove it from spec.speculation.fallbacks",
            holds=lambda speculation: (
                Fallback.NGRAM not in speculation.fallbacks or speculation.method not in METHODS_NGRAM
            ),
            field_path=".fallbacks",
        ),
    )

    method: Method
    """As vLLM spells it. Which methods exist depends on the engine's version."""
    num_speculative_tokens: Annotated[Integer, Field(ge=1, le=64)]
    """Tokens proposed per step."""
    max_batch_size: Annotated[Integer, Field(ge=1, le=65_536)] | None = None
    """More running requests than this stop speculation, by whatever the engine version offers. Many requests at once
    make speculation cost more than it gives."""
    draft: DraftSpec | None = None
    """The draft model or head. A draft a tenth of the target's size, of the same family and tokenizer, pays most."""
    ngram: NgramSpec = NgramSpec()
    """Used by method `ngram` and by the fallback `NGram`. Needs no memory and fits summarising and retrieval."""
    typical_acceptance: TypicalAcceptanceSpec | None = None
    """Accept by likelihood instead of by rejection sampling. Lossy; refused where the engine does not have it."""
    fallbacks: Annotated[tuple[Fallback, ...], *set_list(max_items=2)] = ()
    """What may run instead, best first. `Off` is always last and never written. A mode that does not fit into memory
    is no fallback."""


class CacheSpec(ApiModel):
    """Where model files are kept."""

    claim_name: DnsName
    """PersistentVolumeClaim in the same namespace, mounted at `/models` and used as HF_HOME."""


def _path_is_cached(spec: "SpecDecodeDeploymentSpec") -> bool:
    names = [spec.model.name]
    if spec.speculation is not None and spec.speculation.draft is not None:
        names.append(spec.speculation.draft.name)
    paths = [name for name in names if name.startswith("/")]
    return not paths or (spec.cache is not None and all(path.startswith(f"{CACHE_MOUNT}/") for path in paths))


def _cel_path_is_cached(name: str) -> str:
    return f"(!{name}.startsWith('/') || (has(self.cache) && {name}.startsWith('{CACHE_MOUNT}/')))"


class SpecDecodeDeploymentSpec(ApiModel):
    """A vLLM server with speculative decoding that is planned before it runs, watched while it runs, and taken back by
    the operator when speculation does more harm than good.
    """

    rules: ClassVar = (
        Rule(
            cel=_cel_path_is_cached("self.model.name")
            + " && (!has(self.speculation) || !has(self.speculation.draft) || "
            + _cel_path_is_cached("self.speculation.draft.name")
            + ")",
            message="a model path must lie below the cache mount /models, and spec.cache.claimName must be set",
            holds=_path_is_cached,
        ),
    )

    replicas: Annotated[Integer, Field(ge=0, le=1000)] | None = None
    """Pods to run. With it an autoscaler may target this resource's scale subresource; without it the operator never
    sets it, and an autoscaler may own the Deployment's."""
    model: ModelSpec
    """The served model."""
    engine: EngineSpec
    """The vLLM server."""
    accelerator: AcceleratorSpec
    """The GPUs of one replica."""
    speculation: SpeculationSpec | None = None
    """Omitted: plain vLLM, still planned and watched."""
    guard: GuardSpec = GuardSpec()
    """When the operator steps in."""
    cache: CacheSpec | None = None
    """Where model files are kept. Omitted: every pod downloads its own copy."""
    hugging_face_token: SecretKeyReference | None = None
    """Token for gated models."""
    pod_template: PodTemplateSpec = PodTemplateSpec()
    """What is added to the pods."""
