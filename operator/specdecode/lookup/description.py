"""What a source has of a model: its config.json and the sizes in its files; and the refusals that sources share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from specdecode.api.json_text import read_json
from specdecode.api.resource import Problem
from specdecode.engine.checkpoint.config import facts_of_config
from specdecode.engine.checkpoint.safetensors import MAX_FILES, CheckpointWeights
from specdecode.engine.facts import ModelFacts

CONFIG, INDEX, QUANTIZATION = "config.json", "model.safetensors.index.json", "hf_quant_config.json"

MAX_JSON_BYTES = 10_000_000
MAX_INDEX_BYTES = 50_000_000


class LookupFailure(Exception):  # noqa: N818 - it never leaves this package, where it carries one sentence to `Problem`
    """Why a source cannot describe a model."""


@dataclass(frozen=True)
class Wanted:
    """One model without facts in the spec or the catalogue."""

    field: str
    """Where the spec names it, for example `spec.speculation.draft`."""
    name: str
    revision: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """As `Knowledge.models` is keyed."""
        return self.name, self.revision

    @property
    def is_path(self) -> bool:
        """Whether it names a directory below the cache mount, not a repository."""
        return self.name.startswith("/")

    def problem(self, message: str) -> Problem:
        """The refusal of this model."""
        return Problem(f"{self.field}.name", self.name, message)


@dataclass(frozen=True)
class Description:
    """A model as a source has it."""

    config: Mapping[str, object]
    weights: CheckpointWeights
    source: str

    def facts(self, wanted: Wanted) -> ModelFacts | Problem:
        """Its facts, or why it cannot be planned."""
        return facts_of_config(
            wanted.name, self.config, source=self.source, weights=self.weights, field=f"{wanted.field}.name"
        )


def json_object(text: bytes, what: str) -> dict[str, Any]:
    """The JSON object in a file; `what` names the file for the failure."""
    if text.lstrip()[:1] == b"<":
        message = (
            f"{what} is HTML, not JSON: a proxy or a login page answered; check HF_ENDPOINT and the proxy settings"
        )
        raise LookupFailure(message)
    if text.startswith(b"version https://git-lfs"):
        raise LookupFailure(f"{what} is a Git LFS pointer, not the file itself; download it with git lfs pull")
    try:
        document = read_json(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LookupFailure(f"{what} is no JSON object; it is broken or of another kind: download it again")
    return document


T = TypeVar("T")


def unwrapped(value: T | Problem) -> T:
    """The value, or the problem as a failure of this source."""
    if isinstance(value, Problem):
        raise LookupFailure(str(value))
    return value


def checkpoint_files(names: list[str]) -> tuple[str, ...]:
    """The safetensors files of a checkpoint without an index: not Mistral's second copy, `consolidated`."""
    files = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    usual = tuple(name for name in files if not name.startswith("consolidated"))
    found = usual or tuple(files)
    if not found:
        others = sorted({name.rpartition(".")[2] for name in names if name.endswith((".gguf", ".bin", ".pt", ".pth"))})
        kinds = f" but files of the kind {', '.join(others)}" if others else ""
        message = (
            f"it has no .safetensors files{kinds}, so its size cannot be read; name a repository with safetensors, or "
            "write the dimensions and weightBytes to `facts`"
        )
        raise LookupFailure(message)
    if len(found) > MAX_FILES:
        raise LookupFailure(f"it has {len(found)} .safetensors files, more than the {MAX_FILES} that are read")
    return found
