"""vLLM's quantisation methods: what a weight takes, and which releases know the name.

`Online` methods quantise a 16-bit checkpoint while it loads; `checkpoint` methods only name what the checkpoint already
is, and fail on a 16-bit one (`Cannot find the config file for awq`, measured on vLLM 0.32.0). Only linear layers are
quantised: embedding and lm_head stay in 16 bit.
"""

from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.resource import Problem
from specdecode.engine.version import EngineVersion

UNQUANTIZED_BITS = 16.0


class Kind(StrEnum):
    """Where the quantisation happens."""

    ONLINE = "online"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Quantization:
    """One method, as vLLM spells it."""

    name: str
    kind: Kind
    bits: float
    """Per weight of a linear layer, scales included."""
    since: EngineVersion
    gone_in: EngineVersion | None = None
    """First release without it."""
    family: str = ""
    """Methods of one family read the same checkpoints."""


_FIRST = EngineVersion(0, 6)
"""The oldest release that was read; most names are older."""
_ONLINE_NAMES = EngineVersion(0, 20)  # vllm-project/vllm#38138

# 4 bits, and per group of 128 a 16-bit scale and a 4-bit zero point: 4 + 20/128. It reproduces the 5.68 GiB of
# Qwen3-8B-AWQ as vLLM 0.29.0 loads it. Formats with a scale per 32 weights carry 8 bits for it: + 8/32.
_GROUP_128_BITS = 4 + 20 / 128
_MX_SCALE_BITS = 8 / 32
DOUBLE_QUANTIZED_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""NF4 with compressed statistics (`bitsandbytes_loader.py`): an 8-bit scale per 64 weights, a 32-bit one per 256
scales. phi-4 loads 8.63 GiB (vLLM 0.8), 8.47 of it by this rule; its checkpoint leaves some layers in 16 bit."""


def _online(name: str, bits: float, since: EngineVersion = _ONLINE_NAMES) -> Quantization:
    return Quantization(name, Kind.ONLINE, bits, since)


def _checkpoint(
    name: str, bits: float, *, family: str = "", since: EngineVersion = _FIRST, gone_in: EngineVersion | None = None
) -> Quantization:
    return Quantization(name, Kind.CHECKPOINT, bits, since, gone_in, family or name)


_ALL = (
    _online("fp8_per_tensor", 8),
    _online("fp8_per_block", 8),
    _online("fp8_per_channel", 8, EngineVersion(0, 24)),
    _online("mxfp8", 8 + _MX_SCALE_BITS, EngineVersion(0, 19)),
    # The name is older, but read only the checkpoints of gpt-oss until then.
    _online("mxfp4", 4 + _MX_SCALE_BITS, EngineVersion(0, 28)),
    # On a 16-bit checkpoint it is the online method, since 0.20 an alias of fp8_per_tensor.
    _online("fp8", 8, _FIRST),
    Quantization("bitsandbytes", Kind.ONLINE, DOUBLE_QUANTIZED_BITS, _FIRST, gone_in=EngineVersion(0, 28)),
    _checkpoint("awq", _GROUP_128_BITS, family="awq"),
    _checkpoint("auto_awq", _GROUP_128_BITS, family="awq", since=EngineVersion(0, 24)),
    _checkpoint("awq_marlin", _GROUP_128_BITS, family="awq"),
    _checkpoint("gptq", _GROUP_128_BITS, family="gptq"),
    _checkpoint("auto_gptq", _GROUP_128_BITS, family="gptq", since=EngineVersion(0, 22)),
    _checkpoint("gptq_marlin", _GROUP_128_BITS, family="gptq"),
    _checkpoint("gptq_marlin_24", _GROUP_128_BITS, family="gptq", gone_in=EngineVersion(0, 16)),
    _checkpoint(
        "gptq_bitblas", _GROUP_128_BITS, family="gptq", since=EngineVersion(0, 8, 5), gone_in=EngineVersion(0, 16)
    ),
    _checkpoint("marlin", _GROUP_128_BITS, gone_in=EngineVersion(0, 10, 2)),
    _checkpoint("squeezellm", _GROUP_128_BITS, gone_in=EngineVersion(0, 6, 2)),
    _checkpoint("qqq", _GROUP_128_BITS, gone_in=EngineVersion(0, 10, 2)),
    _checkpoint("hqq", _GROUP_128_BITS, since=EngineVersion(0, 6, 5), gone_in=EngineVersion(0, 16)),
    _checkpoint("auto-round", _GROUP_128_BITS, since=EngineVersion(0, 9), gone_in=EngineVersion(0, 16)),
    # These carry several widths; without weightBytes the widest common one is assumed, so that a plan errs to refusing.
    _checkpoint("compressed-tensors", 8),
    _checkpoint("modelopt", 8, since=EngineVersion(0, 6, 2)),
    _checkpoint("modelopt_mixed", 8, family="modelopt", since=EngineVersion(0, 17)),
    _checkpoint("nvfp4", 4.5, family="modelopt", since=EngineVersion(0, 8), gone_in=EngineVersion(0, 9)),
    _checkpoint("modelopt_fp4", 4.5, family="modelopt", since=EngineVersion(0, 9)),
    _checkpoint("modelopt_mxfp8", 8 + _MX_SCALE_BITS, family="modelopt", since=EngineVersion(0, 16)),
    _checkpoint("quark", 8, since=EngineVersion(0, 7)),
    _checkpoint("torchao", 8, since=EngineVersion(0, 8, 4)),
    _checkpoint("inc", _GROUP_128_BITS, since=EngineVersion(0, 10)),
    _checkpoint("humming", 8, since=EngineVersion(0, 20)),
    _checkpoint("gpt_oss_mxfp4", 4 + _MX_SCALE_BITS, family="mxfp4", since=EngineVersion(0, 20)),
    _checkpoint("deepseek_v4_fp8", 8, family="fp8", since=EngineVersion(0, 20)),
    _checkpoint("fbgemm_fp8", 8),
    _checkpoint("gguf", 8, gone_in=EngineVersion(0, 24)),
)

QUANTIZATIONS: dict[str, Quantization] = {quantization.name: quantization for quantization in _ALL}


def online_fp8(version: EngineVersion) -> str:
    """How a release spells FP8 from a 16-bit checkpoint."""
    return "fp8_per_tensor" if version >= _ONLINE_NAMES else "fp8"


def find(version: EngineVersion, name: str, field: str) -> Quantization | Problem:
    """The method of that name in a release, or why there is none and what to write instead."""
    way_out = (
        f"use {online_fp8(version)} on a 16-bit checkpoint, or leave the field out and name a repository whose "
        "checkpoint is already quantised"
    )
    quantization = QUANTIZATIONS.get(name)
    if quantization is None:
        return Problem(field, name, f"vLLM has no such method, or none that is planned here; {way_out}")
    if version < quantization.since:
        return Problem(field, name, f"needs vLLM {quantization.since} or newer, the engine is {version}; {way_out}")
    if quantization.gone_in is not None and version >= quantization.gone_in:
        return Problem(field, name, f"removed in vLLM {quantization.gone_in}; {way_out}")
    return quantization


def _reads(quantization: Quantization, checkpoint: str) -> bool:
    return checkpoint in (quantization.name, quantization.family)


def checkpoint_problem(quantization: Quantization, checkpoint: str | None, field: str) -> Problem | None:
    """Why a method cannot read a checkpoint whose config.json says `checkpoint` (None: 16 bit), if it cannot."""
    if checkpoint is None and quantization.kind is Kind.CHECKPOINT:
        return Problem(
            field,
            quantization.name,
            "the checkpoint is in 16 bit and this method only reads checkpoints made for it; name such a repository, "
            "or use a method that quantises while it loads: fp8_per_tensor, before vLLM 0.20 fp8",
        )
    if checkpoint is not None and not _reads(quantization, checkpoint):
        return Problem(
            field,
            quantization.name,
            f"contradicts the checkpoint, which is {checkpoint} (vllm-project/vllm#19050); leave the field out",
        )
    return None
