"""Sizes of a checkpoint from the headers of its safetensors files; the tensors themselves are never read.

A file is 8 bytes of length (little endian), so many bytes of JSON, then the tensors.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TypeGuard

from specdecode.api.json_text import read_json
from specdecode.api.resource import Problem

LENGTH_BYTES = 8
MAX_FILES = 1000
"""Of one checkpoint; the largest published ones have a few hundred."""
MAX_HEADER_BYTES = 100_000_000
"""As the format itself limits it."""

_BITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
        **dict.fromkeys(("F32", "I32", "U32"), 32),
        **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
        **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
        **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
        **dict.fromkeys(("F4", "F4_E2M1"), 4),
    }
)

PLAIN_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
"""What is loaded in the engine's own 16-bit type, whatever the width in the file."""

EMBEDDING, LM_HEAD, ENCODER, FUSION, BUFFERS, MTP, REST = (
    "embed_tokens",
    "lm_head",
    "encoder",
    "fc",
    "buffers",
    "mtp",
    "rest",
)
_BEFORE_LAYERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (BUFFERS, re.compile(r"(^|\.)(d2t|t2d|inv_freq|position_ids|[kv]_scale|masked_bias)$")),
    (MTP, re.compile(r"(^|\.)mtp[._]")),
    (
        ENCODER,
        re.compile(
            r"(^|\.)(visual|vision|vision_\w+|image_newline|multi_modal_projector|mm_projector|mlp1|audio_\w+"
            r"|embed_vision|embed_audio|patch_merger|img_projection|connector)(\.|$)"
        ),
    ),
)
"""An encoder has numbered layers of its own."""

_MOST_DIMENSIONS = 16
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.([0-9]{1,6})\.")
_BESIDE_LAYERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (EMBEDDING, re.compile(r"(^|\.)(embed_tokens|wte|tok_embeddings|word_embeddings)\.")),
    (LM_HEAD, re.compile(r"(^|\.)(lm_head|output)\.")),
    (FUSION, re.compile(r"^(model\.)?fc\.")),
)


@dataclass(frozen=True)
class Tensors:
    """Tensors of one part and one type, added up."""

    part: str
    """A part of the model by its names, or `layer 12`."""
    dtype: str
    elements: int
    size_bytes: int


@dataclass(frozen=True)
class CheckpointWeights:
    """What lies in the files of a checkpoint."""

    tensors: tuple[Tensors, ...]

    @property
    def total_bytes(self) -> int:
        """Of all tensors."""
        return sum(entry.size_bytes for entry in self.tensors)

    @property
    def parameters(self) -> int:
        """Elements of all tensors; packed types hold several weights in one."""
        return sum(entry.elements for entry in self.tensors)

    @property
    def bytes_by_dtype(self) -> Mapping[str, int]:
        """Sizes by type, as the format names it."""
        sizes: dict[str, int] = {}
        for entry in self.tensors:
            sizes[entry.dtype] = sizes.get(entry.dtype, 0) + entry.size_bytes
        return sizes

    @property
    def parts(self) -> frozenset[str]:
        """Which parts there are."""
        return frozenset(entry.part for entry in self.tensors)

    def of(self, *parts: str) -> "CheckpointWeights":
        """Only these parts."""
        return CheckpointWeights(tuple(entry for entry in self.tensors if entry.part in parts))

    def without(self, parts: Iterable[str]) -> "CheckpointWeights":
        """All but these parts."""
        left_out = frozenset(parts)
        return CheckpointWeights(tuple(entry for entry in self.tensors if entry.part not in left_out))

    def layers_from(self, first: int) -> frozenset[str]:
        """Parts that are layers with that number or a higher one."""
        return frozenset(part for part in self.parts if part.startswith("layer ") and int(part[6:]) >= first)


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to, by its name."""
    for part, pattern in _BEFORE_LAYERS:
        if pattern.search(name):
            return part
    layer = _LAYER.search(name)
    if layer is not None:
        return f"layer {int(layer.group(1))}"
    return next((part for part, pattern in _BESIDE_LAYERS if pattern.search(name)), REST)


def header_length(prefix: bytes, source: str) -> int | Problem:
    """Bytes of the JSON header, from the first eight bytes of a file."""
    if len(prefix) < LENGTH_BYTES:
        return Problem(source, "", f"is no safetensors file: it has {len(prefix)} bytes, the header alone needs more")
    length = int.from_bytes(prefix[:LENGTH_BYTES], "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        return Problem(
            source,
            str(length),
            f"is no length of a safetensors header (at most {MAX_HEADER_BYTES} bytes); the file is of another kind, a "
            "Git LFS pointer or broken: download it again",
        )
    return length


def _tensor(name: str, entry: object) -> Tensors | str:
    if not isinstance(entry, Mapping):
        return "is no object"
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        return f"has the type {dtype!r}, which is unknown here"
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        return "has no shape or no offsets"
    elements, size = prod(shape), offsets[1] - offsets[0]
    if size * 8 != elements * _BITS[dtype]:
        return f"has {size} bytes for {elements} elements of {dtype}"
    return Tensors(part_of(name), dtype, elements, size)


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_DIMENSIONS
        and all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**63 for item in value)
    )


def read_header(text: bytes, source: str) -> tuple[Tensors, ...] | Problem:
    """The tensors of one file, from its JSON header without the length before it."""
    try:
        document = read_json(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return Problem(source, "", "has a header that is no JSON object; the file is broken: download it again")
    tensors = []
    for name, entry in document.items():
        if name == "__metadata__":
            continue
        tensor = _tensor(name, entry)
        if isinstance(tensor, str):
            return Problem(source, name[:80], f"{tensor}; the file is broken or newer than this operator")
        tensors.append(tensor)
    return tuple(tensors)


def add_up(tensors: Iterable[Tensors]) -> CheckpointWeights:
    """One entry for each part and type, over all files."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for tensor in tensors:
        elements, size = sums.get((tensor.part, tensor.dtype), (0, 0))
        sums[tensor.part, tensor.dtype] = elements + tensor.elements, size + tensor.size_bytes
    return CheckpointWeights(tuple(Tensors(*key, *amount) for key, amount in sorted(sums.items())))


def files_of_index(text: bytes, source: str) -> tuple[str, ...] | Problem:
    """Names of the files that a `model.safetensors.index.json` lists, each once and in order."""
    try:
        document = read_json(text)
    except ValueError:
        document = None
    files = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(files, dict) or not files:
        return Problem(source, "", "has no weight_map; it is of another kind or broken: download it again")
    names = sorted({str(name) for name in files.values()})
    strange = [name for name in names if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*\.safetensors", name)]
    if strange:
        return Problem(source, strange[0][:80], "is no file name of a safetensors file beside the index")
    if len(names) > MAX_FILES:
        return Problem(source, "", f"lists {len(names)} files, more than the {MAX_FILES} that are read")
    return tuple(names)
