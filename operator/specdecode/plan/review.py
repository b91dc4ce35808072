"""What the advice looks at: the understood spec and its planned ladder, with the numbers that several rules share."""

from dataclasses import dataclass

from specdecode.api.accelerators import GIB
from specdecode.api.guard import GuardSpec
from specdecode.api.spec import SpecDecodeDeploymentSpec, SpeculationSpec
from specdecode.api.vocabulary import Mode
from specdecode.engine.models import ModelFacts
from specdecode.plan.types import Advice, ModePlan
from specdecode.plan.workload import Workload


def gib(size_bytes: float) -> str:
    """Bytes as `74.2 GiB`, the unit of vLLM's own log lines."""
    return f"{size_bytes / GIB:.1f} GiB"


def gb(size_bytes: float) -> str:
    """Bytes as `74 GB`, the decimal unit of labels and model names."""
    return f"{size_bytes / 1000**3:.0f} GB"


@dataclass(frozen=True)
class Review:
    """One plan to advise on."""

    workload: Workload
    guard: GuardSpec
    ladder: tuple[ModePlan, ...]

    @property
    def spec(self) -> SpecDecodeDeploymentSpec:
        """The spec under review."""
        return self.workload.spec

    @property
    def speculation(self) -> SpeculationSpec | None:
        """What is asked for."""
        return self.workload.spec.speculation

    @property
    def requested(self) -> ModePlan:
        """The plan of the requested mode."""
        return self.ladder[0]

    @property
    def off(self) -> ModePlan:
        """The plan without speculation."""
        return self.ladder[-1]

    @property
    def draft(self) -> ModelFacts | None:
        """The draft of the requested mode."""
        return self.workload.draft

    def taken(self, mode: ModePlan, name: str) -> int:
        """Bytes per GPU that a line of the ledger takes; 0 when the mode has no such line."""
        return -sum(line.bytes for line in mode.ledger if line.name == name)

    def share_of_gpu(self, size_bytes: int) -> float:
        """Share of one GPU's memory, as CUDA reports it."""
        return size_bytes / self.workload.gpu.memory_bytes

    @property
    def is_speculating(self) -> bool:
        """Whether the requested mode speculates."""
        return self.requested.mode is not Mode.OFF


Said = Advice | None
"""What one rule says: something, or nothing."""
