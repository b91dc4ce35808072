"""A resource with every part of the spec filled in, and one text put into one field of it."""

from copy import deepcopy
from typing import Any

import yaml
from security.fields import EACH, KEY, TextField

_FACTS = """
  architecture: LlamaForCausalLM
  numHiddenLayers: 32
  hiddenSize: 4096
  intermediateSize: 14336
  numAttentionHeads: 32
  numKeyValueHeads: 8
  vocabSize: 128256
  weightBytes: 16Gi
"""

_FULL = f"""
apiVersion: specdecode.io/v1alpha1
kind: SpecDecodeDeployment
metadata: {{name: chat, namespace: serving, uid: 4f5e2c1a-0000-4000-8000-000000000001, generation: 1}}
spec:
  replicas: 2
  model:
    name: acme/target
    revision: main
    servedName: chat
    facts: {{{", ".join(_FACTS.split(chr(10))[1:-1])}}}
  engine:
    image: registry.example/vllm:v0.32.0
    version: 0.32.0
    maxModelLen: 8192
    maxNumSeqs: 64
    extraArgs: [{{name: tool-call-parser, value: hermes}}]
    env: [{{name: NCCL_DEBUG, value: WARN}}]
  accelerator: {{product: NVIDIA-H100-80GB-HBM3, memory: 79Gi, count: 2, resourceName: nvidia.com/gpu}}
  speculation:
    method: draft_model
    numSpeculativeTokens: 4
    draft:
      name: acme/draft
      revision: main
      facts: {{{", ".join(_FACTS.split(chr(10))[1:-1])}}}
    fallbacks: [NGram]
  guard: {{window: 5m, latency: {{tpotP99: 50ms}}, retry: {{after: 24h}}, meter: true}}
  cache: {{claimName: models}}
  huggingFaceToken: {{secretName: hub, key: token}}
  podTemplate:
    labels: {{team: chat}}
    annotations: {{note: hello}}
    nodeSelector: {{zone: a}}
    tolerations: [{{key: gpu, operator: Equal, value: "yes", effect: NoSchedule}}]
    serviceAccountName: engine
    priorityClassName: high
    runtimeClassName: nvidia
"""

_BODY = yaml.safe_load(_FULL)


def full() -> dict[str, Any]:
    """Accepted, and it fits; what excludes something else is left out."""
    found: dict[str, Any] = deepcopy(_BODY)
    return found


def _child(node: Any, part: str) -> Any:
    if part != EACH:
        return node.setdefault(part, {})
    return node[0] if isinstance(node, list) else node


def placed(field: TextField, text: Any) -> dict[str, Any]:
    """The full resource with `text` in one field."""
    body = full()
    if str(field).startswith("spec.engine.env.*.secret"):
        body["spec"]["engine"]["env"] = [{"name": "TOKEN", "secret": {"secretName": "s", "key": "k"}}]
    node: Any = body
    *parents, last = field.path
    for part in parents:
        node = _child(node, part)
    if last == KEY:
        node.clear()
        node[text] = "x"
    elif last == EACH and isinstance(node, list):
        node[0] = text
    elif last == EACH:
        node[next(iter(node))] = text
    else:
        node[last] = text
    return body


def named(field: TextField) -> str:
    """How a refusal begins to name the field: up to the first list or map on the way."""
    stops = [number for number, part in enumerate(field.path) if part in {EACH, KEY}]
    return ".".join(field.path[: stops[0]] if stops else field.path)
