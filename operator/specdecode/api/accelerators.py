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


def _measured(total_gib: float, label_gb: int) -> Accelerator:
    return Accelerator(int(total_gib * GIB), label_gb * 1000**3, is_measured=True)


def _derived(label_gib: float, label_gb: int) -> Accelerator:
    return Accelerator(int(label_gib * GIB * 0.985), label_gb * 1000**3, is_measured=False)


ACCELERATORS: dict[str, Accelerator] = {
    # Measured by CUDA on the card (start-up logs of vLLM).
    "NVIDIA-H100-80GB-HBM3": _measured(79.18, 80),
    "NVIDIA-H200": _measured(139.81, 141),
    "NVIDIA-L40S": _measured(44.42, 48),
    "NVIDIA-GeForce-RTX-5090": _measured(31.37, 32),
    "NVIDIA-GeForce-RTX-3090": _measured(23.58, 24),
    "Tesla-T4": _measured(14.56, 16),
    "NVIDIA-B300-SXM6-AC": _measured(267.69, 288),
    # From the label.
    "NVIDIA-H100-PCIe": _derived(80, 80),
    "NVIDIA-H100-NVL": _derived(94, 94),
    "NVIDIA-GH200-480GB": _derived(96, 96),
    "NVIDIA-H20": _derived(96, 96),
    "NVIDIA-B200": _derived(180, 180),
    "NVIDIA-GB200": _derived(185, 186),
    "NVIDIA-A100-SXM4-80GB": _derived(80, 80),
    "NVIDIA-A100-80GB-PCIe": _derived(80, 80),
    "NVIDIA-A100-SXM4-40GB": _derived(40, 40),
    "NVIDIA-A100-PCIE-40GB": _derived(40, 40),
    "NVIDIA-A10": _derived(22.5, 24),
    "NVIDIA-A10G": _derived(22.5, 24),
    "NVIDIA-A30": _derived(24, 24),
    "NVIDIA-A40": _derived(45, 48),
    "NVIDIA-L4": _derived(22.5, 24),
    "NVIDIA-L40": _derived(45, 48),
    "NVIDIA-RTX-A6000": _derived(48, 48),
    "NVIDIA-RTX-6000-Ada-Generation": _derived(48, 48),
    "NVIDIA-GeForce-RTX-4090": _derived(24, 24),
    "Tesla-V100-SXM2-32GB": _derived(32, 32),
}
