"""GPU memory by product label: what `nvidia.com/gpu.product` means in bytes, as CUDA reports it.

vLLM budgets against `total_memory` of CUDA, which is below the number on the label: the driver and ECC keep a part.
Measured totals are marked; the others are the label's memory times 0.985, the lowest ratio among the measured ones
of their generation, so that a plan errs towards refusing.
"""

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class Accelerator:
    """One GPU product."""

    memory_bytes: int
    """Per GPU, as CUDA reports `total_memory`."""
    label_bytes: int
    """Per GPU, the decimal size people quote: 80 GB, 141 GB."""
    is_measured: bool
    compute_capability: tuple[int, int]
    """CUDA's: (9, 0) is Hopper, (8, 9) Ada, (8, 0) Ampere, (7, 5) Turing."""
    has_nvlink: bool = False
    """Whether the GPUs of a node are joined by NVLink switches; communication keeps buffers of its own there."""


TURING, AMPERE, AMPERE_SMALL, ADA, HOPPER = (7, 5), (8, 0), (8, 6), (8, 9), (9, 0)
VOLTA, BLACKWELL, BLACKWELL_ULTRA, BLACKWELL_SMALL, BLACKWELL_SPARK = (7, 0), (10, 0), (10, 3), (12, 0), (12, 1)

FP8_SINCE = ADA
"""First compute capability with FP8 arithmetic; older cards compute FP8 weights in 16 bit."""

Capability = tuple[int, int]


def _measured(capability: Capability, total_gib: float, label_gb: int, *, has_nvlink: bool = False) -> Accelerator:
    return Accelerator(int(total_gib * GIB), label_gb * 1000**3, True, capability, has_nvlink)


def _derived(capability: Capability, label_gib: float, label_gb: int, *, has_nvlink: bool = False) -> Accelerator:
    return Accelerator(int(label_gib * GIB * 0.985), label_gb * 1000**3, False, capability, has_nvlink)


ACCELERATORS: dict[str, Accelerator] = {
    # Measured by CUDA on the card (start-up logs of vLLM).
    "NVIDIA-H100-80GB-HBM3": _measured(HOPPER, 79.18, 80, has_nvlink=True),
    "NVIDIA-H200": _measured(HOPPER, 139.81, 141, has_nvlink=True),
    "NVIDIA-B300-SXM6-AC": _measured(BLACKWELL_ULTRA, 267.69, 288, has_nvlink=True),
    "NVIDIA-A100-SXM4-80GB": _measured(AMPERE, 79.15, 80, has_nvlink=True),
    "NVIDIA-A100-80GB-PCIe": _measured(AMPERE, 79.15, 80),
    "NVIDIA-L40S": _measured(ADA, 44.42, 48),
    "NVIDIA-A10G": _measured(AMPERE_SMALL, 22.07, 24),
    "NVIDIA-A10": _measured(AMPERE_SMALL, 22.07, 24),
    "NVIDIA-L4": _measured(ADA, 22.07, 24),
    "NVIDIA-GeForce-RTX-5090": _measured(BLACKWELL_SMALL, 31.37, 32),
    "NVIDIA-GeForce-RTX-4090": _measured(ADA, 23.52, 24),
    "NVIDIA-GeForce-RTX-3090": _measured(AMPERE_SMALL, 23.58, 24),
    "NVIDIA-GeForce-RTX-2060": _measured(TURING, 12.00, 12),
    "NVIDIA-RTX-PRO-4500-Blackwell": _measured(BLACKWELL_SMALL, 31.38, 32),
    "NVIDIA-GB10": _measured(BLACKWELL_SPARK, 119.63, 128),
    "Quadro-RTX-6000": _measured(TURING, 23.47, 24),
    "Tesla-T4": _measured(TURING, 14.56, 16),
    # From the label.
    "NVIDIA-H100-PCIe": _derived(HOPPER, 80, 80),
    "NVIDIA-H100-NVL": _derived(HOPPER, 94, 94),
    "NVIDIA-GH200-480GB": _derived(HOPPER, 96, 96),
    "NVIDIA-H20": _derived(HOPPER, 96, 96, has_nvlink=True),
    "NVIDIA-H800": _derived(HOPPER, 80, 80, has_nvlink=True),
    "NVIDIA-B200": _derived(BLACKWELL, 180, 180, has_nvlink=True),
    "NVIDIA-GB200": _derived(BLACKWELL, 185, 186, has_nvlink=True),
    "NVIDIA-A100-SXM4-40GB": _derived(AMPERE, 40, 40, has_nvlink=True),
    "NVIDIA-A100-PCIE-40GB": _derived(AMPERE, 40, 40),
    "NVIDIA-A30": _derived(AMPERE, 24, 24),
    "NVIDIA-A40": _derived(AMPERE_SMALL, 45, 48),
    "NVIDIA-L40": _derived(ADA, 45, 48),
    "NVIDIA-RTX-A6000": _derived(AMPERE_SMALL, 48, 48),
    "NVIDIA-RTX-6000-Ada-Generation": _derived(ADA, 48, 48),
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": _derived(BLACKWELL_SMALL, 96, 96),
    "NVIDIA-RTX-PRO-6000-Blackwell-Workstation-Edition": _derived(BLACKWELL_SMALL, 96, 96),
    "Tesla-V100-SXM2-32GB": _derived(VOLTA, 32, 32, has_nvlink=True),
    "Tesla-V100-SXM2-16GB": _derived(VOLTA, 16, 16, has_nvlink=True),
}


def stated(product: str, memory_bytes: int) -> Accelerator:
    """A product whose memory the user states. What else is not known of it is taken as of today's data centre cards."""
    known = ACCELERATORS.get(product)
    capability = HOPPER if known is None else known.compute_capability
    has_nvlink = "SXM" in product if known is None else known.has_nvlink
    return Accelerator(memory_bytes, memory_bytes, False, capability, has_nvlink)
