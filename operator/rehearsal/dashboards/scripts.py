"""The deployments that the dashboards are shown and tested with: one of every kind that a fleet has."""

from typing import Any

from rehearsal.dashboards.world import Chapter, Script
from rehearsal.engine.behaviour import Behaviour

COLLAPSES = ("chat", "llama-70b")
"""Namespace and name of the one that the picture shows: its users change, and speculation is turned off."""

_H100 = "NVIDIA-H100-80GB-HBM3"
_LLAMA_8B, _LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
_MIXED = (0.0, 0.0, 0.0, 0.2, 0.6, 1.0)


def _body(namespace: str, name: str, model: dict[str, Any], **spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    engine = {"image": "vllm/vllm-openai:v0.32.0", "maxModelLen": 8192, "maxNumSeqs": 64, **spec.pop("engine", {})}
    accelerator = {"product": _H100, "count": spec.pop("gpus", 1)}
    return {
        "apiVersion": "specdecode.io/v1alpha1",
        "kind": "SpecDecodeDeployment",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
        "spec": {"replicas": 1, "model": model, "engine": engine, "accelerator": accelerator, **spec},
    }


def _large(**changes: Any) -> Behaviour:
    """Steps of a large model: 48 ms without speculation, as for a 70B on two H100 with some load."""
    return Behaviour(**{"c0_ms": 45.0, "draft_ms_per_token": 3.0, "c1_us_per_token": 80.0, **changes})


def _draft(**settings: Any) -> dict[str, Any]:
    return {"method": "draft_model", "numSpeculativeTokens": 4, "draft": {"name": _LLAMA_8B, **settings}}


def scripts(minutes: float) -> tuple[Script, ...]:
    """What happens within so many minutes."""
    middle = 0.6 * minutes
    target = {"name": _LLAMA_70B, "quantization": "fp8_per_tensor"}
    fp8 = {"quantization": "fp8_per_tensor"}
    chat = _body(
        *COLLAPSES,
        target,
        gpus=2,
        replicas=2,
        speculation=_draft(),
        guard={
            "meter": True,
            "latency": {"tpotP99": "75ms", "ttftP99": "500ms"},
            "baseline": {"controlReplicas": 1},
            "retry": {"after": "24h"},
        },
    )
    rag = _body("rag", "summaries", target, gpus=2, speculation={"method": "ngram", "numSpeculativeTokens": 4})
    code = _body(
        "code",
        "completion",
        target,
        gpus=2,
        speculation=_draft(**fp8) | {"fallbacks": ["Draft"]},
        guard={"qualify": True, "window": "3m"},
    )
    eagle = {"name": "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"}
    small = _body(
        "chat",
        "llama-8b",
        {"name": _LLAMA_8B},
        engine={"maxModelLen": 2048},
        speculation={"method": "eagle3", "numSpeculativeTokens": 3, "draft": eagle},
    )
    advised = _body(
        "research",
        "stories",
        target,
        gpus=2,
        speculation=_draft(),
        guard={"action": "Recommend", "latency": {"tpotP99": "50ms"}},
    )
    idle = _body("research", "night", target, gpus=2, speculation=_draft(**fp8))
    paused = _body("code", "review", target, gpus=2, speculation=_draft(), annotations={"specdecode.io/paused": "true"})
    too_large = _body("research", "too-large", {"name": _LLAMA_70B}, speculation=_draft())
    nobody = (Chapter(0, _large(), 0),)
    return (
        Script(
            chat,
            (
                Chapter(0, _large(draft=0.88, temperature_sensitivity=0.7), 6, _MIXED),
                Chapter(middle, _large(draft=0.04), 8, (1.0, 1.0, 0.6)),
            ),
        ),
        Script(rag, (Chapter(0, _large(ngram=0.75), 3),)),
        Script(code, (Chapter(0, _large(draft=0.85, quantized_draft=0.66), 4),)),
        Script(small, (Chapter(0, _large(c0_ms=30.0, eagle=0.78), 4),), kv_cache_share=0.82),
        Script(advised, (Chapter(0, _large(draft=0.3), 3),)),
        Script(idle, nobody),
        Script(paused, nobody),
        Script(too_large, nobody),
    )
