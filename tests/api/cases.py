"""Good and bad resources, as sentences. The types and the real API server must agree on every one of them.

A case changes the good body of `builders.body` at dotted paths. A bad one names words that the refusal must contain:
`says` in the operator's own, `server_says` in the API server's, where its schema words it otherwise.
"""

from collections.abc import Mapping
from typing import Any

from api.verdicts import (
    A_DURATION,
    A_FAMILY,
    A_FRACTION,
    A_MODEL,
    A_PLAIN_VALUE,
    A_QUANTITY,
    A_QUANTIZATION,
    A_REVISION,
    A_SERVED_NAME,
    A_VARIABLE,
    A_VERSION,
    AN_ARCHITECTURE,
    AN_ARGUMENT,
    AN_IMAGE,
    Case,
    above,
    below,
    good,
    no_choice,
    pattern,
    refused,
    required,
    rule,
    too_long,
    unknown,
    worded,
    wrong_type,
)
from builders import ABSENT


def argument(name: str, value: str | None = None) -> dict[str, Any]:
    return {"spec.engine.extraArgs": [{"name": name} | ({} if value is None else {"value": value})]}


def variable(name: str, **rest: Any) -> dict[str, Any]:
    return {"spec.engine.env": [{"name": name, **(rest or {"value": "x"})}]}


NGRAM = {"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4}}
FACTS = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 128256,
    "parameters": 8_030_261_248,
}
SECRET = {"secretName": "hf", "key": "token"}
INJECTION = 'x"}[5m])) or vector(1) or sum(rate(m{a="'


def fact(sentence: str, field: str, value: str, says: str) -> Case:
    """All other facts are given, because the server checks no rule while a field is missing."""
    path = f"spec.model.facts.{field}"
    return Case(sentence, {"spec.model.facts": FACTS | {field: value}}, (path, says), (path, says))


GOOD = (
    good("the good resource itself"),
    good("the least that can be written", **{"spec.speculation": ABSENT, "spec.replicas": ABSENT}),
    good("n-gram needs no draft", **NGRAM),
    good("typical acceptance with vLLM's own bounds", **{"spec.speculation.typicalAcceptance": {}}),
    good("typical acceptance with other bounds", **{
        "spec.speculation.typicalAcceptance": {"posteriorThreshold": "0.2", "posteriorAlpha": "1"}}),
    good("a draft with a cache type of its own", **{"spec.speculation.draft.kvCacheDtype": "fp8"}),
    good("the head of mtp ships with the target", **{"spec.speculation": {"method": "mtp", "numSpeculativeTokens": 1}}),
    good("no replicas at all", **{"spec.replicas": 0}),
    good("a name of 45 characters", **{"metadata.name": "a" * 45}),
    good("a digest with a version", **{"spec.engine": {
        "image": "vllm/vllm-openai@sha256:" + "a" * 64, "version": "0.32.0", "maxModelLen": 1}}),
    good("a tag with a suffix names a version", **{"spec.engine.image": "registry.local:5000/vllm:v0.32.0-cu130"}),
    good("a tag and a digest", **{"spec.engine.image": "vllm:0.32.0@sha256:" + "a" * 64}),
    good("utilisation of exactly one", **{"spec.engine.gpuMemoryUtilization": "1"}),
    good("an unknown GPU with its memory", **{"spec.accelerator": {"product": "NVIDIA-X1", "memory": "96Gi"}}),
    good("a model on the cache claim", **{"spec.model.name": "/models/a/b", "spec.cache": {"claimName": "models"}}),
    good("facts of an unknown model", **{"spec.model.facts": FACTS}),
    good("facts with the bytes on disk", **{
        "spec.model.facts": FACTS, "spec.model.facts.parameters": ABSENT, "spec.model.facts.weightBytes": "16Gi"}),
    good("facts of a model with windows", **{
        "spec.model.facts": FACTS | {"slidingWindow": 1024, "numSlidingLayers": 32, "partialRotaryFactor": "0.5"}}),
    good("facts of a model with a latent", **{"spec.model.facts": FACTS | {"kvLoraRank": 512, "qkRopeHeadDim": 64}}),
    good("facts of a quantised model with experts", **{"spec.model.facts": FACTS | {
        "numExperts": 8, "numExpertsPerTok": 8, "moeIntermediateSize": 768, "quantization": "compressed-tensors"}}),
    good("an argument with a value", **argument("seed", "42")),
    good("an argument with a negative number", **argument("seed", "-1")),
    good("a switch", **argument("enable-prefix-caching")),
    good("the no- form of a harmless switch", **argument("no-enable-prefix-caching")),
    good("reasoning-parser begins a refused name, and is none", **argument("reasoning-parser", "deepseek_r1")),
    good("a variable", **variable("NCCL_DEBUG", value="WARN")),
    good("an empty variable", **variable("NCCL_DEBUG", value="")),
    good("a variable from a Secret", **variable("TOKEN", secret=SECRET)),
    good("review floor equal to the off floor", **{
        "spec.guard.acceptance": {"offBelowPercent": 50, "reviewBelowPercent": 50}}),
    good("the shortest window", **{"spec.guard.window": "10s"}),
    good("the longest window", **{"spec.guard.window": "1h"}),
    good("latency limits", **{"spec.guard.latency": {"tpotP99": "40ms", "ttftP99": "1m30s", "e2eP99": "2h"}}),
    good("the meter", **{"spec.guard.meter": True}),
    good("a retry with its defaults", **{"spec.guard.retry": {}}),
    good("a retry after exactly one window", **{"spec.guard.retry": {"after": "5m"}}),
    good("a false step a year, and a draft that must qualify", **{
        "spec.guard.daysPerFalseStep": 365, "spec.guard.qualify": True}),
    good("a toleration of every taint", **{"spec.podTemplate.tolerations": [{"operator": "Exists"}]}),
    good("a toleration with seconds", **{"spec.podTemplate.tolerations": [
        {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}]}),
    good("labels of one's own", **{"spec.podTemplate.labels": {"example.com/team": "search", "plain": ""}}),
    good("a zone", **{"spec.podTemplate.nodeSelector": {"topology.kubernetes.io/zone": "eu-1a"}}),
    good("a field left empty is a field left out", **{
        "spec.model.dtype": None, "spec.engine.env": None, "spec.guard": {"window": None}, "spec.podTemplate": None}),
    good("a label left empty is a label left out", **{"spec.podTemplate.labels": {"team": None}}),
    good("a whole number with a fraction of zero", **{"spec.speculation.numSpeculativeTokens": 5.0}),
    good("the n-gram bounds may be equal", **{"spec.speculation.ngram": {"promptLookupMin": 3, "promptLookupMax": 3}}),
)  # fmt: skip

_NAMES = (
    rule("a name over 45 characters", "at most 45 characters", **{"metadata.name": "a" * 46}),
    Case("an upper-case name", {"metadata.name": "Llama"}, ("metadata.name", "lower case"), ("metadata.name",)),
    rule("a name that starts with a digit", "must start with a letter", **{"metadata.name": "7b"}),
    rule("a name that would break the other pods", "must not be vllm", **{"metadata.name": "vllm"}),
    rule("a dotted name", "only lower case letters, digits and '-'", **{"metadata.name": "llama.70b"}),
    worded("shell in the model's name", "spec.model.name", "meta/llama; rm -rf /", A_MODEL),
    worded("a variable in the model's name", "spec.model.name", "$(HF_TOKEN)", A_MODEL),
    worded("JSON in the model's name", "spec.model.name", '{"a": 1}', A_MODEL),
    worded("PromQL in the model's name", "spec.model.name", INJECTION, A_MODEL),
    worded("a line break in the model's name", "spec.model.name", "meta/llama\n", A_MODEL),
    worded("a model name that is an option", "spec.model.name", "--trust-remote-code", A_MODEL),
    worded("a model name that begins with dots", "spec.model.name", "../secrets", A_MODEL),
    worded("a model name of three parts", "spec.model.name", "a/b/c", A_MODEL),
    rule("an option inside the model's name", "must not contain '--'", **{"spec.model.name": "meta/llama--port"}),
    rule("a path that climbs", "must not contain '--' or '..'", **{
        "spec.model.name": "/models/../etc", "spec.cache": {"claimName": "m"}}),
    worded("an empty model name", "spec.model.name", "", A_MODEL),
    worded("a model as a link", "spec.model.name", "https://huggingface.co/openai-community/gpt2", A_MODEL),
    worded("an empty revision", "spec.model.revision", "", A_REVISION),
    worded("an empty served name", "spec.model.servedName", "", A_SERVED_NAME),
    worded("an empty quantisation", "spec.model.quantization", "", A_QUANTIZATION),
    worded("an empty image", "spec.engine.image", "", AN_IMAGE),
    worded("an empty version", "spec.engine.version", "", A_VERSION),
    worded("a version with its v", "spec.engine.version", "v0.32.0", A_VERSION),
    fact("an empty architecture", "architecture", "", AN_ARCHITECTURE),
    fact("an upper-case family", "family", "Llama", A_FAMILY),
    fact("an empty family", "family", "", A_FAMILY),
    too_long("a model name without end", "spec.model.name", "a" * 201, 200),
    worded("shell in the draft's name", "spec.speculation.draft.name", "a/b|c", A_MODEL),
    worded("shell in the revision", "spec.model.revision", "main; id", A_REVISION),
    worded("a revision that is an option", "spec.model.revision", "--port", A_REVISION),
    worded("PromQL in the served name", "spec.model.servedName", INJECTION, A_SERVED_NAME),
    worded("quotes in the served name", "spec.model.servedName", 'a"b', A_SERVED_NAME),
    worded("JSON in the quantisation", "spec.model.quantization", '{"a":1}', A_QUANTIZATION),
    worded("an upper-case quantisation", "spec.model.quantization", "FP8", A_QUANTIZATION),
    worded("an image with a blank", "spec.engine.image", "vllm/vllm-openai:v0.32.0 --privileged", AN_IMAGE),
    worded("an image with an upper-case repository", "spec.engine.image", "VLLM/vllm:v0.32.0", AN_IMAGE),
    worded("a version that is no version", "spec.engine.version", "latest", A_VERSION),
    pattern("a GPU product with shell", "spec.accelerator.product", "H100; id"),
    pattern("a resource without a vendor", "spec.accelerator.resourceName", "gpu"),
    pattern("a claim with shell", "spec.cache.claimName", "models;id"),
    pattern("a Secret name with a slash", "spec.huggingFaceToken.secretName", "../hf"),
    pattern("a service account with a blank", "spec.podTemplate.serviceAccountName", "a b"),
    fact("an architecture with a dot", "architecture", "os.system", AN_ARCHITECTURE),
)  # fmt: skip

_NUMBERS = (
    below("no speculative tokens", "spec.speculation.numSpeculativeTokens", 0, 1),
    below("negative speculative tokens", "spec.speculation.numSpeculativeTokens", -3, 1),
    above("absurdly many speculative tokens", "spec.speculation.numSpeculativeTokens", 65, 64),
    wrong_type("speculative tokens as text", "spec.speculation.numSpeculativeTokens", "5", "integer"),
    wrong_type("speculative tokens as a fraction", "spec.speculation.numSpeculativeTokens", 2.5, "integer"),
    wrong_type("speculative tokens as a truth value", "spec.speculation.numSpeculativeTokens", True, "int"),
    below("negative replicas", "spec.replicas", -1, 0),
    above("absurdly many replicas", "spec.replicas", 1001, 1000),
    below("no context", "spec.engine.maxModelLen", 0, 1),
    above("an absurd context", "spec.engine.maxModelLen", 10**9, 16_777_216),
    below("no sequences", "spec.engine.maxNumSeqs", 0, 1),
    above("absurdly many sequences", "spec.engine.maxNumSeqs", 10**6, 65_536),
    below("no batched tokens", "spec.engine.maxNumBatchedTokens", 0, 1),
    below("no GPU", "spec.accelerator.count", 0, 1),
    above("absurdly many GPUs", "spec.accelerator.count", 65, 64),
    below("a batch size of zero", "spec.speculation.maxBatchSize", 0, 1),
    below("a negative floor", "spec.guard.acceptance.offBelowPercent", -1, 0),
    above("a floor over 100", "spec.guard.acceptance.reviewBelowPercent", 101, 100),
    wrong_type("a floor as a share", "spec.guard.acceptance.offBelowPercent", 0.5, "integer"),
    below("a tolerance of zero points", "spec.guard.acceptance.maxQuantizationDropPoints", 0, 1),
    above("two control replicas", "spec.guard.baseline.controlReplicas", 2, 1),
    below("a false step every day and more", "spec.guard.daysPerFalseStep", 0, 1),
    above("no false step for years", "spec.guard.daysPerFalseStep", 366, 365),
    above("retries without end", "spec.guard.retry.maxAttempts", 11, 10),
    below("no retry at all", "spec.guard.retry.maxAttempts", 0, 1),
    rule("a utilisation of zero", "must be above 0 and at most 1", **{"spec.engine.gpuMemoryUtilization": "0"}),
    rule("a utilisation over one", "must be above 0 and at most 1", **{"spec.engine.gpuMemoryUtilization": "1.5"}),
    worded("a utilisation in words", "spec.engine.gpuMemoryUtilization", "abc", A_FRACTION),
    worded("an empty utilisation", "spec.engine.gpuMemoryUtilization", "", A_FRACTION),
    worded("a utilisation in percent", "spec.engine.gpuMemoryUtilization", "92%", A_FRACTION),
    worded("a negative utilisation", "spec.engine.gpuMemoryUtilization", "-0.5", A_FRACTION),
    wrong_type("a utilisation as a float", "spec.engine.gpuMemoryUtilization", 0.92, "string"),
    worded("a negative memory", "spec.accelerator.memory", "-80Gi", A_QUANTITY),
    worded("a memory with a blank", "spec.accelerator.memory", "80 GB", A_QUANTITY),
    worded("an empty memory", "spec.accelerator.memory", "", A_QUANTITY),
    worded("a memory of zero", "spec.accelerator.memory", "0", A_QUANTITY),
    wrong_type("a memory as a number", "spec.accelerator.memory", 80, "string"),
    wrong_type("a switch as text", "spec.engine.enforceEager", "yes", "boolean"),
    wrong_type("a switch as a number", "spec.engine.pinKvCache", 1, "boolean"),
    wrong_type("a model as text", "spec.model", "meta/llama", "object"),
    wrong_type("arguments as text", "spec.engine.extraArgs", "--seed=1", "array"),
    wrong_type("an image as a number", "spec.engine.image", 5, "string"),
    wrong_type("a label that is a number", "spec.podTemplate.labels", {"cost": 4711}, "string"),
    below("a model without layers", "spec.model.facts.numHiddenLayers", 0, 1),
    below("a model with a negative width", "spec.model.facts.hiddenSize", -4096, 1),
    below("a model of no size", "spec.model.facts.parameters", 7, 1_000_000),
)

_ENGINE = (
    rule("an image that names no version", "version is required", **{"spec.engine.image": "vllm:latest"}),
    rule("an image without a tag", "version is required", **{"spec.engine.image": "registry.local:5000/vllm"}),
    rule("a digest alone", "version is required", **{"spec.engine.image": "vllm@sha256:" + "a" * 64}),
    rule("an unknown GPU without its memory", "memory is required", **{"spec.accelerator.product": "NVIDIA-X1"}),
    Case("an empty GPU product", {"spec.accelerator": {"product": "", "memory": "80Gi"}},
         ("spec.accelerator.product", "at least 1 character"), ("spec.accelerator.product", "at least 1 chars")),
    no_choice("a data type that vLLM has not", "spec.model.dtype", "fp32"),
    no_choice("a KV cache type that vLLM has not", "spec.engine.kvCacheDtype", "int4"),
    no_choice("a cache type of the draft that vLLM has not", "spec.speculation.draft.kvCacheDtype", "int4"),
    worded("a threshold above one", "spec.speculation.typicalAcceptance.posteriorThreshold", "1.5", A_FRACTION),
    worded("a scale of nothing", "spec.speculation.typicalAcceptance.posteriorAlpha", "0", A_FRACTION),
    unknown("a typical acceptance of another kind", "spec.speculation.typicalAcceptance.method"),
    no_choice("an action that is none", "spec.guard.action", "Delete"),
    no_choice("a method that vLLM has not", "spec.speculation.method", "lookahead"),
    rule("a path outside the cache mount", "must lie below the cache mount", **{
        "spec.model.name": "/etc/passwd", "spec.cache": {"claimName": "models"}}),
    rule("a path whose first folder only looks like the mount", "must lie below the cache mount", **{
        "spec.model.name": "/models-of-others/a", "spec.cache": {"claimName": "models"}}),
    rule("a path without a cache claim", "spec.cache.claimName must be set", **{"spec.model.name": "/models/a"}),
    rule("a draft path without a cache claim", "spec.cache.claimName must be set", **{
        "spec.speculation.draft.name": "/models/a"}),
    rule("facts without a size", "one of parameters", **{
        "spec.model.facts": {key: value for key, value in FACTS.items() if key != "parameters"}}),
    rule("facts whose heads do not divide the width", "headDim is required", **{
        "spec.model.facts": FACTS | {"numAttentionHeads": 33}}),
    rule("a window that no layer has", "slidingWindow (tokens) and numSlidingLayers", **{
        "spec.model.facts": FACTS | {"slidingWindow": 1024}}),
    rule("layers with a window of no width", "slidingWindow (tokens) and numSlidingLayers", **{
        "spec.model.facts": FACTS | {"numSlidingLayers": 16}}),
    rule("more layers with a window than layers", "numSlidingLayers must be at most numHiddenLayers", **{
        "spec.model.facts": FACTS | {"slidingWindow": 1024, "numSlidingLayers": 33}}),
    rule("a latent without its rotated part", "kvLoraRank and qkRopeHeadDim must be set together", **{
        "spec.model.facts": FACTS | {"kvLoraRank": 512}}),
    rule("experts of no width", "numExperts, numExpertsPerTok and moeIntermediateSize must be set together", **{
        "spec.model.facts": FACTS | {"numExperts": 8, "numExpertsPerTok": 2}}),
    rule("a width of no experts", "numExperts, numExpertsPerTok and moeIntermediateSize must be set together", **{
        "spec.model.facts": FACTS | {"moeIntermediateSize": 768}}),
    rule("a token that visits more experts than there are", "numExpertsPerTok must be at most numExperts", **{
        "spec.model.facts": FACTS | {"numExperts": 8, "numExpertsPerTok": 9, "moeIntermediateSize": 768}}),
)  # fmt: skip

_REFUSED_NAMES = (
    ("what the operator renders", "model"),
    ("the speculative configuration", "speculative-config"),
    ("a prefix of it that vLLM would complete", "speculative-conf"),
    ("a short prefix of --host", "hos"),
    ("a short prefix of --quantization", "quant"),
    ("the shortcut for the method", "spec-method"),
    ("parallelism", "tensor-parallel-size"),
    ("parallelism over nodes", "data-parallel-address"),
    ("the memory share", "gpu-memory-utilization"),
    ("code from the repository", "trust-remote-code"),
    ("its no- form", "no-trust-remote-code"),
    ("code in the server", "middleware"),
    ("a class of the worker", "worker-cls"),
    ("a plugin", "reasoning-parser-plugin"),
    ("a file with arguments", "config"),
    ("local files for requests", "allowed-local-media-path"),
    ("another port", "port"),
    ("no metrics", "disable-log-stats"),
    ("half of that name", "disable-log-st"),
    ("its no- form", "no-disable-log-stats"),
    ("a key on the command line", "api-key"),
)
_ARGUMENTS = (
    *(
        rule(f"an argument: {sentence} ({name})", "this argument is rendered by the operator", **argument(name, "x"))
        for sentence, name in _REFUSED_NAMES
    ),
    *(
        Case(
            sentence,
            argument(name),
            ("spec.engine.extraArgs[0].name", AN_ARGUMENT),
            ("spec.engine.extraArgs[0].name", AN_ARGUMENT),
        )
        for sentence, name in (
            ("an argument with its dashes", "--seed"),
            ("an argument with its value", "seed=1"),
            ("an argument with a key inside", "compilation-config.level"),
            ("an argument with an underscore", "trust_remote_code"),
            ("an argument with a blank", "seed 1"),
            ("an upper-case argument", "SEED"),
            ("an argument of one letter", "o"),
            ("an argument with two dashes inside", "max--logprobs"),
            ("an argument that ends with a dash", "max-"),
            ("an empty argument", ""),
        )
    ),
    *(
        Case(
            sentence,
            argument("seed", value),
            ("spec.engine.extraArgs[0].value", A_PLAIN_VALUE),
            ("spec.engine.extraArgs[0].value", A_PLAIN_VALUE),
        )
        for sentence, value in (
            ("a value with shell", "1; id"),
            ("a value with a variable", "$(HF_TOKEN)"),
            ("a value with JSON", '{"a":1}'),
            ("a value with a back-tick", "`id`"),
            ("a value that is an option", "--port=1"),
            ("an empty value", ""),
        )
    ),
    rule("a value with an option inside", "must not contain '--'", **argument("seed", "1--port")),
    Case(
        "the same argument twice",
        {"spec.engine.extraArgs": [{"name": "seed", "value": "1"}, {"name": "seed", "value": "2"}]},
        ("spec.engine.extraArgs", "listed twice"),
        ("spec.engine.extraArgs[1]", "Duplicate value"),
    ),
)

_VARIABLES = (
    *(
        rule(f"the variable {name}", "may not be set", **variable(name))
        for name in ("VLLM_SERVER_DEV_MODE", "LD_PRELOAD", "PYTHONPATH", "HF_HOME", "HF_TOKEN", "HOME", "PATH",
                     "CUDA_VISIBLE_DEVICES", "CUDA_INJECTION64_PATH", "KUBERNETES_SERVICE_HOST")
    ),
    rule("a value and a Secret", "exactly one of value and secret", **variable("A", value="x", secret=SECRET)),
    Case("neither a value nor a Secret", {"spec.engine.env": [{"name": "A"}]},
         ("exactly one of value and secret",), ("exactly one of value and secret",)),
    Case("a lower-case variable", variable("http_proxy"), ("spec.engine.env[0].name", A_VARIABLE),
         ("spec.engine.env[0].name", A_VARIABLE)),
    Case("a variable that refers to another", variable("A", value="$(HF_TOKEN)"),
         ("spec.engine.env[0].value", A_PLAIN_VALUE), ("spec.engine.env[0].value", A_PLAIN_VALUE)),
    Case("an empty variable name", variable(""), ("spec.engine.env[0].name", A_VARIABLE),
         ("spec.engine.env[0].name", A_VARIABLE)),
    Case("the same variable twice", {"spec.engine.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
         ("spec.engine.env", "listed twice"), ("spec.engine.env[1]", "Duplicate value")),
)  # fmt: skip

_SPECULATION = (
    rule("a draft model without a draft", "draft is required", **{
        "spec.speculation": {"method": "draft_model", "numSpeculativeTokens": 5}}),
    rule("eagle without its head", "draft is required", **{
        "spec.speculation": {"method": "eagle3", "numSpeculativeTokens": 3}}),
    rule("n-gram with a draft", "draft must be omitted", **{
        "spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4, "draft": {"name": "a/b"}}}),
    rule("the fallback Draft without a quantised draft", "fallback Draft means", **{
        "spec.speculation.draft.quantization": ABSENT}),
    rule("the fallback Draft without a draft", "fallback Draft means", **{
        "spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4, "fallbacks": ["Draft"]}}),
    rule("n-gram as its own fallback", "fallback NGram is the requested method itself", **{
        "spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4, "fallbacks": ["NGram"]}}),
    rule("n-gram as the fallback of n-gram on the GPU", "fallback NGram is the requested method itself", **{
        "spec.speculation": {"method": "ngram_gpu", "numSpeculativeTokens": 4, "fallbacks": ["NGram"]}}),
    Case("Off as a fallback", {"spec.speculation.fallbacks": ["Off"]},
         ("spec.speculation.fallbacks[0]", "'Draft' or 'NGram'"), ("spec.speculation.fallbacks[0]", "Unsupported")),
    Case("the same fallback twice", {"spec.speculation.fallbacks": ["NGram", "NGram"]},
         ("spec.speculation.fallbacks", "listed twice"), ("spec.speculation.fallbacks[1]", "Duplicate value")),
    rule("an n-gram whose bounds are crossed", "promptLookupMin must not exceed promptLookupMax", **{
        "spec.speculation.ngram": {"promptLookupMin": 6, "promptLookupMax": 5}}),
    rule("a lower bound above the default upper one", "promptLookupMin must not exceed promptLookupMax", **{
        "spec.speculation.ngram": {"promptLookupMin": 6}}),
)  # fmt: skip

_GUARD = (
    rule("off above review", "offBelowPercent must not exceed", **{
        "spec.guard.acceptance": {"offBelowPercent": 70, "reviewBelowPercent": 65}}),
    rule("off above the default review", "offBelowPercent must not exceed", **{
        "spec.guard.acceptance": {"offBelowPercent": 66}}),
    rule("a retry within the window", "retry.after must not be shorter than window", **{
        "spec.guard.retry": {"after": "4m"}}),
    rule("a window of 5 s", "window must lie between 10s and 1h", **{"spec.guard.window": "5s"}),
    rule("a window of 2 h", "window must lie between 10s and 1h", **{"spec.guard.window": "2h"}),
    worded("a window without a unit", "spec.guard.window", "300", A_DURATION),
    worded("a window in words", "spec.guard.window", "5 minutes", A_DURATION),
    worded("an empty window", "spec.guard.window", "", A_DURATION),
    worded("a negative window", "spec.guard.window", "-5m", A_DURATION),
    wrong_type("a window as a number", "spec.guard.window", 300, "string"),
    worded("a limit of zero", "spec.guard.latency.tpotP99", "0ms", A_DURATION),
    worded("a limit in words", "spec.guard.latency.ttftP99", "two seconds", A_DURATION),
    worded("a limit with a fraction", "spec.guard.latency.e2eP99", "1.5s", A_DURATION),
    worded("a retry after days", "spec.guard.retry.after", "1d", A_DURATION),
)  # fmt: skip


def _keys(sentence: str, field: str, keys: Mapping[str, str]) -> Case:
    return rule(sentence, f"{field} must be valid label keys", **{f"spec.podTemplate.{field}": keys})


def _toleration(sentence: str, says: str, **toleration: Any) -> Case:
    return rule(sentence, says, **{"spec.podTemplate.tolerations": [toleration]})


_POD = (
    _keys("our own label", "labels", {"specdecode.io/mode": "Off"}),
    _keys("a recommended label", "labels", {"app.kubernetes.io/instance": "x"}),
    _keys("Argo CD's label", "labels", {"argocd.argoproj.io/instance": "x"}),
    _keys("Argo CD's annotation", "annotations", {"argocd.argoproj.io/tracking-id": "x"}),
    _keys("Flux's annotation", "annotations", {"kustomize.toolkit.fluxcd.io/reconcile": "enabled"}),
    _keys("Helm's annotation", "annotations", {"meta.helm.sh/release-name": "x"}),
    _keys("kubectl's annotation", "annotations", {"kubectl.kubernetes.io/restartedAt": "x"}),
    _keys("a label key with a blank", "labels", {"a b": "x"}),
    _keys("a label key without end", "labels", {"a" * 64: "x"}),
    _keys("a label key without a name", "labels", {"example.com/": "x"}),
    _keys("a label key with an empty part", "annotations", {"a..b/c": "x"}),
    _keys("a node label with a blank", "nodeSelector", {"a b": "x"}),
    _keys("another GPU product than the accelerator's", "nodeSelector", {"nvidia.com/gpu.product": "Tesla-T4"}),
    Case("a label value with a blank", {"spec.podTemplate.labels": {"team": "a b"}},
         ("spec.podTemplate.labels.team", "must match"), ("spec.podTemplate.labels.team", "should match")),
    Case("an annotation without end", {"spec.podTemplate.annotations": {"note": "x" * 1025}},
         ("spec.podTemplate.annotations.note", "at most 1024"), ("spec.podTemplate.annotations.note", "1024")),
    _toleration("a toleration without a key", "must have operator Exists", value="x"),
    _toleration("a toleration with a value it ignores", "must have no value", key="a", operator="Exists", value="x"),
    _toleration("seconds without NoExecute", "needs effect NoExecute", key="a", effect="NoSchedule",
                tolerationSeconds=5),
    Case("a toleration with an operator of its own", {"spec.podTemplate.tolerations": [{"operator": "Like"}]},
         ("spec.podTemplate.tolerations[0].operator", "must match"),
         ("spec.podTemplate.tolerations[0].operator", "should match")),
    Case("labels without end", {"spec.podTemplate.labels": {f"key-{number}": "x" for number in range(33)}},
         ("spec.podTemplate.labels", "at most 32"), ("spec.podTemplate.labels", "Too many")),
)  # fmt: skip

_SHAPE = (
    unknown("a field that does not exist", "spec.turbo"),
    unknown("a field of another type", "spec.speculation.draft.numSpeculativeTokens"),
    unknown("a misspelt field", "spec.engine.maxModelLenght"),
    unknown("a field in vLLM's own spelling", "spec.engine.max_model_len"),
    unknown("a secret in plain text", "spec.huggingFaceToken.value"),
    required("no model", "spec.model"),
    Case("a model left empty", {"spec.model": None}, ("spec.model", "is required"), ("spec.model", "Required value")),
    refused("an empty entry in a list", "spec.speculation.fallbacks", [None], "input should be", "must be of type"),
    required("no image", "spec.engine.image"),
    required("no context length", "spec.engine.maxModelLen"),
    required("no GPU product", "spec.accelerator.product"),
    required("no number of tokens", "spec.speculation.numSpeculativeTokens"),
    required("a draft without a name", "spec.speculation.draft.name"),
)

BAD = (*_NAMES, *_NUMBERS, *_ENGINE, *_ARGUMENTS, *_VARIABLES, *_SPECULATION, *_GUARD, *_POD, *_SHAPE)
