"""What the plan may use beyond the spec and the shipped catalogue. All of it was read before: the plan asks nobody."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from specdecode.api.resource import Problem
from specdecode.engine.models import ModelFacts

ModelKey = tuple[str, str | None]
"""Name and revision, as the spec writes them."""


@dataclass(frozen=True)
class Calibration:
    """What an engine of one shape really took, read from `vllm:cache_config_info` after it had started."""

    shape: str
    """Digest of everything that decides the memory beside the KV cache (`ModePlan.shape`)."""
    planned_kv_cache_bytes: int
    """Per GPU, as the plan had it before it knew better."""
    measured_kv_cache_bytes: int
    """Per GPU, as the engine sized it."""
    non_kv_bytes: int
    """Per GPU: the engine's budget less the measured KV cache."""


@dataclass(frozen=True)
class Knowledge:
    """Facts of models that were looked up, and measurements of engines that ran."""

    models: Mapping[ModelKey, ModelFacts | Problem] = field(default_factory=dict)
    """From a mounted path or the hub. A Problem says why a look-up gave nothing."""
    calibrations: tuple[Calibration, ...] = ()


NOTHING_MORE = Knowledge()
"""Spec and catalogue only."""
