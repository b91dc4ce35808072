"""Which further arguments and environment variables a user may not set, and why.

Three kinds are refused: what the operator renders itself, what loads code or opens files, and what moves the server
or hides its metrics. Naming a repository in a resource is already code execution on a GPU node where the engine trusts
it (CVE-2025-66448, CVE-2026-22807, CVE-2026-27893): nothing here may widen that.
"""

from specdecode.api.base import Rule, cel_list

RENDERED_ARGUMENTS = (
    "model",
    "served-model-name",
    "revision",
    "quantization",
    "dtype",
    "max-model-len",
    "max-num-seqs",
    "max-num-batched-tokens",
    "gpu-memory-utilization",
    "kv-cache-memory-bytes",
    "kv-cache-dtype",
    "enforce-eager",
    "tensor-parallel-size",
    "speculative-config",
    "host",
    "port",
)
"""What the operator renders: set the field of the spec instead."""

DENIED_ARGUMENTS = (
    # Speculation, parallelism and memory: they would make the plan a lie.
    "spec-method",
    "spec-model",
    "spec-tokens",
    "speculative-model",
    "speculative-model-quantization",
    "speculative-max-model-len",
    "speculative-draft-tensor-parallel-size",
    "speculative-disable-by-batch-size",
    "speculative-disable-mqa-scorer",
    "num-speculative-tokens",
    "ngram-prompt-lookup-max",
    "ngram-prompt-lookup-min",
    "spec-decoding-acceptance-method",
    "typical-acceptance-sampler-posterior-threshold",
    "typical-acceptance-sampler-posterior-alpha",
    "disable-logprobs-during-spec-decoding",
    "per-request-spec-decode-metrics",
    "pipeline-parallel-size",
    "data-parallel-size",
    "data-parallel-size-local",
    "data-parallel-address",
    "data-parallel-backend",
    "data-parallel-external-lb",
    "data-parallel-hybrid-lb",
    "data-parallel-multi-port-external-lb",
    "data-parallel-rank",
    "data-parallel-rpc-port",
    "data-parallel-start-rank",
    "enable-elastic-ep",
    "master-addr",
    "master-port",
    "nnodes",
    "node-rank",
    "device-ids",
    "decode-context-parallel-size",
    "prefill-context-parallel-size",
    "data-parallel-supervisor-port",
    "worker-use-ray",
    "engine-use-ray",
    "device",
    "num-scheduler-steps",
    "num-lookahead-slots",
    "rope-scaling",
    "rope-theta",
    "num-gpu-blocks-override",
    "kv-cache-memory",
    "cpu-offload-gb",
    "cpu-offload-params",
    "offload-backend",
    "offload-params",
    "kv-offloading-backend",
    "kv-offloading-size",
    "device-memory-utilization",
    "enable-sleep-mode",
    "swap-space",
    "block-size",
    "quantization-config",
    "hf-overrides",
    "download-dir",
    "tokenizer",
    "tokenizer-revision",
    "code-revision",
    "hf-config-path",
    # Loads code, opens files or reaches out.
    "trust-remote-code",
    "trust-request-mm-kwargs",
    "middleware",
    "config",
    "worker-cls",
    "worker-extension-cls",
    "scheduler-cls",
    "logits-processors",
    "logits-processor-pattern",
    "io-processor-plugin",
    "reasoning-parser-plugin",
    "tool-parser-plugin",
    "model-class-overrides",
    "additional-config",
    "distributed-executor-backend",
    "kv-transfer-config",
    "ec-transfer-config",
    "kv-events-config",
    "weight-transfer-config",
    "profiler-config",
    "tool-server",
    "enable-prompt-embeds",
    "mm-encoder-fp8-scale-path",
    "mm-encoder-fp8-scale-save-path",
    "allowed-local-media-path",
    "allowed-media-domains",
    "model-loader-extra-config",
    "load-format",
    "lora-modules",
    "qlora-adapter-name-or-path",
    "prompt-adapters",
    "quantization-param-path",
    "tokenizer-pool-extra-config",
    "chat-template",
    "log-config-file",
    "logging-config",
    "hf-token",
    "api-key",
    "root-path",
    "uds",
    "ssl-keyfile",
    "ssl-certfile",
    "ssl-ca-certs",
    "ssl-cert-reqs",
    "ssl-ciphers",
    "enable-ssl-refresh",
    "headless",
    "grpc",
    "grpc-port",
    "enable-scale-out",
    "help",
    # Hides what the guard must see.
    "disable-log-stats",
    "disable-fastapi-docs",
    "show-hidden-metrics-for-version",
    "otlp-traces-endpoint",
)
"""What nobody may set."""

_REFUSED = tuple(dict.fromkeys(RENDERED_ARGUMENTS + DENIED_ARGUMENTS))

_PREFIXES_OF_THEIR_OWN = ("reasoning-parser",)
"""Arguments that are allowed although a refused name begins with them."""

_VARIABLE_PREFIXES = ("VLLM_", "LD_", "PYTHON", "KUBERNETES_")
_VARIABLES = (
    "HF_HOME",
    "HF_TOKEN",
    "HOME",
    "PATH",
    "CUDA_INJECTION64_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)


def is_refused_argument(name: str) -> bool:
    """Whether an argument, without dashes, is one that only the operator, or nobody, may set.

    vLLM's parser completes unambiguous prefixes (`--speculative-conf`, `--hos`), so a prefix of a refused name is
    refused too, and so is the `no-` form of a switch.
    """
    plain = name.removeprefix("no-")
    return plain not in _PREFIXES_OF_THEIR_OWN and any(refused.startswith(plain) for refused in _REFUSED)


def is_refused_variable(name: str) -> bool:
    """Whether an environment variable could load code or change the engine behind the plan's back."""
    return name in _VARIABLES or name.startswith(_VARIABLE_PREFIXES)


_CEL_PLAIN = "(self.name.startsWith('no-') ? self.name.substring(3) : self.name)"

EXTRA_ARGUMENT_RULES = (
    Rule(
        cel=f"{_CEL_PLAIN} in {cel_list(_PREFIXES_OF_THEIR_OWN)} || "
        f"!{cel_list(_REFUSED)}.exists(refused, refused.startsWith({_CEL_PLAIN}))",
        message="this argument is rendered by the operator, or loads code, opens files, moves the server or hides "
        "its metrics; use the field of the spec that stands for it, or leave it out",
        holds=lambda argument: not is_refused_argument(argument.name),
        field_path=".name",
    ),
)

VARIABLE_RULES = (
    Rule(
        cel=f"!(self.name in {cel_list(_VARIABLES)}) && "
        f"!{cel_list(_VARIABLE_PREFIXES)}.exists(prefix, self.name.startsWith(prefix))",
        message="VLLM_*, LD_*, PYTHON*, KUBERNETES_* and the variables that the operator sets may not be set: "
        "they load code or change the engine behind the plan",
        holds=lambda variable: not is_refused_variable(variable.name),
        field_path=".name",
    ),
    Rule(
        cel="has(self.value) != has(self.secret)",
        message="exactly one of value and secret must be set",
        holds=lambda variable: (variable.value is None) != (variable.secret is None),
    ),
)
