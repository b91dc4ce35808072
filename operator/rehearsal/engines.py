"""What stands for vLLM's image on the nodes of a rehearsal: the simulated engine, or the real one."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.traffic import Questions

IMAGE = "vllm/vllm-openai"


@dataclass(frozen=True)
class Engines:
    """The engine of a rehearsal, the GPU that its nodes say they have, and how its users ask."""

    program: tuple[str, ...]
    """What a node starts; the pod's arguments are appended."""
    product: str
    memory_mib: int
    questions: Questions = field(default_factory=Questions)
    claim_name: str = ""
    """A claim that every stage has, for pods that name it; what is on it is the program's business."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`facts` of the models on the claim, by name below the mount."""


SIMULATED = Engines((sys.executable, "-m", "rehearsal.engine"), "NVIDIA-H100-80GB-HBM3", 81_559)
