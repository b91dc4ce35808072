"""How a checkpoint is quantised, by its `quantization_config`: method, bits per weight, and what is left out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod

from specdecode.engine.quantization import DOUBLE_QUANTIZED_BITS, QUANTIZATIONS, UNQUANTIZED_BITS


class Part(StrEnum):
    """Linear layers that a checkpoint may leave in 16 bit."""

    ATTENTION = "attention"
    MLP = "mlp"
    SHARED_EXPERTS = "shared_experts"


@dataclass(frozen=True)
class Stored:
    """How the linear layers of a checkpoint are kept."""

    quantization: str | None = None
    """As vLLM names it; None is 16 bit."""
    bits: float = UNQUANTIZED_BITS
    """Per weight, scales and zero points included."""
    plain: frozenset[Part] = frozenset()
    """Left in 16 bit."""


_MODELOPT = {"FP8": "modelopt", "NVFP4": "modelopt_fp4", "MXFP8": "modelopt_mxfp8", "MIXED_PRECISION": "modelopt_mixed"}
_MODELOPT_BITS = {"FP8": 8.0, "NVFP4": 4.5, "MXFP8": 8.25, "MIXED_PRECISION": 8.0}

_LEAVES_OUT = ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers", "llm_int8_skip_modules")
_MARKS = {
    Part.ATTENTION: re.compile(r"attn|attention"),
    Part.SHARED_EXPERTS: re.compile(r"shared_expert(?!_gate)"),
    Part.MLP: re.compile(r"mlp(?!\W*gate\W*$)(?!.*(expert|router))"),
}
_LAYER = re.compile(r"layers\.(\d+)\.")


def stored_as(config: Mapping[str, object] | None, layers: int) -> Stored:
    """Read a `quantization_config`; a method that vLLM does not know is kept by its name and counted in 16 bit."""
    if not config:
        return Stored()
    method, bits = _method(config)
    return Stored(method, bits, frozenset(_left_out(config, layers)))


def _method(config: Mapping[str, object]) -> tuple[str, float]:
    name = str(config.get("quant_method") or "").lower()
    algorithm = str(config.get("quant_algo") or "").upper()
    if algorithm in _MODELOPT:
        return _MODELOPT[algorithm], _MODELOPT_BITS[algorithm]
    readers = {"awq": _packed_bits, "gptq": _packed_bits, "compressed-tensors": _compressed_bits, "fp8": _block_bits}
    known = QUANTIZATIONS.get(name)
    default = UNQUANTIZED_BITS if known is None else known.bits
    if name in readers:
        return name, readers[name](config)
    if name == "mxfp4":
        return name, 4.25
    if name == "bitsandbytes":
        return name, 8.0 if config.get("load_in_8bit") else _bitsandbytes_bits(config)
    return name or "unknown", default


def _number(config: Mapping[str, object], key: str, otherwise: float) -> float:
    value = config.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else otherwise


def _bitsandbytes_bits(config: Mapping[str, object]) -> float:
    """NF4; without double quantisation the scale of 64 weights has 32 bits."""
    return DOUBLE_QUANTIZED_BITS if config.get("bnb_4bit_use_double_quant") else 4 + 32 / 64


def _packed_bits(config: Mapping[str, object]) -> float:
    """A 16-bit scale and a zero point as wide as the weights, per group; without groups they are not worth counting."""
    bits = _number(config, "bits", _number(config, "w_bit", 4))
    group = _number(config, "group_size", _number(config, "q_group_size", 0))
    return bits + (16 + bits) / group if group else bits


def _block_bits(config: Mapping[str, object]) -> float:
    """A 32-bit scale for each block."""
    block = config.get("weight_block_size")
    if not isinstance(block, list) or not all(isinstance(side, int) and side > 0 for side in block):
        return 8.0
    weights: int = prod(block)
    return 8 + 32 / weights


def _compressed_bits(config: Mapping[str, object]) -> float:
    """The widest group; where several are mixed a plan errs to refusing."""
    groups = config.get("config_groups")
    weights = [
        group["weights"]
        for group in (groups.values() if isinstance(groups, Mapping) else ())
        if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping)
    ]
    return max((_group_bits(weight) for weight in weights), default=8.0)


def _group_bits(weights: Mapping[str, object]) -> float:
    bits = _number(weights, "num_bits", 8)
    if weights.get("strategy") not in {"group", "tensor_group"}:
        return bits
    group = _number(weights, "group_size", 128)
    is_float = weights.get("type") == "float"
    scale = 8 if is_float and bits == 4 else 16
    zero_point = 0 if is_float or weights.get("symmetric", True) else bits
    return bits + (scale + zero_point) / group


def _names(config: Mapping[str, object]) -> Iterator[str]:
    for key in _LEAVES_OUT:
        listed = config.get(key)
        if isinstance(listed, list):
            yield from (name for name in listed if isinstance(name, str))


def _left_out(config: Mapping[str, object], layers: int) -> Iterator[Part]:
    """A part is left out when a pattern without a layer's number names it, or the patterns name nearly all layers."""
    names = [name for name in _names(config) if not re.search(r"vis(ion|ual)|audio|mtp|nextn", name)]
    for part, mark in _MARKS.items():
        matching = [name for name in names if mark.search(name.replace("\\", ""))]
        numbers = {found.group(1) for name in matching if (found := _LAYER.search(name))}
        is_general = any(_LAYER.search(name) is None for name in matching)
        if is_general or len(numbers) >= max(1, 0.9 * layers):
            yield part


def with_modelopt(config: Mapping[str, object], document: Mapping[str, object] | None) -> Mapping[str, object]:
    """A config.json completed by the `hf_quant_config.json` beside it, where ModelOpt writes the quantisation."""
    quantization = None if document is None else document.get("quantization")
    if not isinstance(quantization, Mapping) or config.get("quantization_config"):
        return config
    return {**config, "quantization_config": {"quant_method": "modelopt", **quantization}}
