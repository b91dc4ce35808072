"""The models that a mode loads, as they are kept in memory and as they are read. It counts bytes of weights only."""

import re
from dataclasses import dataclass

from specdecode.engine.arguments import ActiveSpeculation
from specdecode.engine.models import BYTES_16_BIT, ModelFacts
from specdecode.engine.quantization import QUANTIZATIONS, UNQUANTIZED_BITS
from specdecode.plan import memory
from specdecode.plan.estimate import Estimate
from specdecode.plan.workload import Workload

_NAMED_SIZE = re.compile(r"(?<![0-9A-Za-z.])([0-9]+(?:\.[0-9]+)?)B(?![0-9A-Za-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Loaded:
    """One model in the memory of a mode."""

    facts: ModelFacts
    bits: float
    """Per weight of a linear layer, as it is kept."""

    @property
    def kept_bytes(self) -> int:
        """Every weight once, all GPUs together."""
        unpacked = self.facts.unpacked_parameters * BYTES_16_BIT if self.bits < UNQUANTIZED_BITS else 0
        return memory.weight_bytes(self.facts, self.bits) + unpacked

    def share(self, gpus: int) -> Estimate:
        """What one of so many GPUs keeps."""
        whole = int(self.facts.whole_parameters * self.bits / 8)
        return memory.weights_per_gpu(self.kept_bytes, gpus, whole_bytes=whole)

    @property
    def read_bytes(self) -> int:
        """What is read: a 16-bit checkpoint quantised while loading is still read in 16 bit."""
        return memory.weight_bytes(self.facts, self.facts.weight_bits)

    @property
    def quoted_bytes(self) -> int:
        """The arithmetic people quote: the size in the name times the bytes per weight, "70B in INT8 is 70 GB"."""
        if self.facts.parameters is None and self.facts.weight_bytes is not None:
            return self.kept_bytes
        return int(quoted_parameters(self.facts) * round(self.bits) / 8)


def quoted_parameters(facts: ModelFacts) -> int:
    """The size in a model's name, when it is within 15 % of its weights; else the weights."""
    exact = facts.total_parameters
    found = _NAMED_SIZE.search(facts.name.rpartition("/")[2].replace("-", " "))
    if found is None:
        return exact
    named = int(float(found.group(1)) * 1000**3)
    return named if abs(named - exact) <= 0.15 * exact else exact


def _bits(facts: ModelFacts, quantization: str | None) -> float:
    """Bits per linear weight: those of the checkpoint, unless a method quantises 16 bit while it loads."""
    if quantization is None or facts.weight_bits != UNQUANTIZED_BITS:
        return facts.weight_bits
    return QUANTIZATIONS[quantization].bits


def target_of(workload: Workload) -> Loaded:
    """The target as it is kept in memory."""
    return Loaded(workload.target, _bits(workload.target, workload.spec.model.quantization))


def draft_of(workload: Workload, active: ActiveSpeculation | None) -> Loaded | None:
    """The draft of a mode as it is kept in memory; None when the mode loads none."""
    if active is None or not active.loads_weights or workload.draft is None:
        return None
    return Loaded(workload.draft, _bits(workload.draft, active.draft_quantization))
