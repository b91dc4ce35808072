"""The resource as a whole: reading it from what the API server sends, and its identity.

`parse` is the only way in. It answers with the resource or with every problem at once; it never raises for bad input.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from specdecode.api.base import ApiModel, Rule
from specdecode.api.spec import SpecDecodeDeploymentSpec
from specdecode.api.status import SpecDecodeDeploymentStatus
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import (
    ANNOTATION_PAUSED,
    ANNOTATION_RETRY,
    API_VERSION,
    KIND,
    MAX_NAME_LENGTH,
    METHODS_NGRAM,
    Mode,
)
from specdecode.api.words import plain

_DNS_1035 = r"^[a-z]([a-z0-9\-]*[a-z0-9])?$"

_PROBLEM_LIMITS = {"field": 300, "value": 300, "message": 2000}
"""Characters. A path may hold a key, and a message an answer, that somebody else wrote."""
_RETRY_LIMIT = 128
_MOST_PROBLEMS = 20
"""Told of one input; the others are counted."""
_MOST_NODES, _MOST_LEVELS = 50_000, 50
"""Of a spec: the largest that the schema allows has a few hundred values on ten levels. A few aliases of aliases in a
YAML file are more than all memory.
"""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input."""

    field: str
    """Path, for example `spec.engine.image`."""
    value: str
    """What was found there, shortened."""
    message: str
    """What is allowed and the way out."""

    def __post_init__(self) -> None:
        for name, limit in _PROBLEM_LIMITS.items():
            object.__setattr__(self, name, plain(getattr(self, name), limit))

    def __str__(self) -> str:
        found = f" is {self.value}" if self.value else ""
        return f"{self.field}{found}: {self.message}"


@dataclass(frozen=True)
class Rejection:
    """An input that is refused, with everything that is wrong with it, as far as a person reads."""

    reason: str
    """Stable CamelCase name, used as the reason of the condition `Planned`."""
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "; ".join(str(problem) for problem in self.problems)


class Metadata(BaseModel):
    """The part of ObjectMeta that the operator reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = Field(default="", alias="resourceVersion")
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = Field(default=None, alias="deletionTimestamp")

    @property
    def is_paused(self) -> bool:
        """Whether a person asked that nothing be changed."""
        return self.annotations.get(ANNOTATION_PAUSED) == "true"

    @property
    def retry(self) -> str:
        """What stands for the value of `specdecode.io/retry`; empty: none. Status keeps it, and an annotation may be as
        large as the object itself: of a long or unprintable one only a digest is kept.
        """
        value = self.annotations.get(ANNOTATION_RETRY, "")
        return value if len(value) <= _RETRY_LIMIT and value.isprintable() else digest(value)


class _Named(ApiModel):
    """Carries the rules on the name, which CEL can only state at the root."""

    rules: ClassVar = (
        Rule(
            cel=f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
            message=f"metadata.name must be at most {MAX_NAME_LENGTH} characters, so that the names of its pods fit "
            "into labels; choose a shorter name",
            holds=lambda named: len(named.name) <= MAX_NAME_LENGTH,
        ),
        Rule(
            cel=f"self.metadata.name.matches(r'{_DNS_1035}')",
            message="metadata.name must start with a letter and contain only lower case letters, digits and '-', "
            "because it names a Service",
            holds=lambda named: re.fullmatch(_DNS_1035, named.name) is not None,
        ),
        Rule(
            # A Service `vllm` gives every pod of the namespace VLLM_PORT=tcp://…, and the server dies of it
            # (vllm-project/vllm#34199).
            cel="self.metadata.name != 'vllm'",
            message="metadata.name must not be vllm: a Service of that name sets VLLM_PORT in every other pod of the "
            "namespace, and vLLM does not start with it; choose another name",
            holds=lambda named: named.name != "vllm",
        ),
    )

    name: str


ROOT_RULES = _Named.rules
"""Rules on `metadata`, for the root of the CRD's schema."""


class SpecDecodeDeployment(BaseModel):
    """A resource that passed every rule."""

    model_config = ConfigDict(frozen=True, ignored_types=(cached_property,))

    metadata: Metadata
    spec: SpecDecodeDeploymentSpec
    status: SpecDecodeDeploymentStatus

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    @property
    def window_seconds(self) -> float:
        """The slow window of the guard."""
        return seconds_of(self.spec.guard.window)

    @cached_property
    def spec_hash(self) -> str:
        """What a latch is bound to: the fields that decide what runs, not replicas, guard or pod labels.

        Values equal to their defaults are left out, so that a field added by a later version does not re-arm every
        latch in the cluster.
        """
        return digest(
            self.spec.model_dump(
                mode="json",
                by_alias=True,
                exclude_defaults=True,
                include={"model", "engine", "accelerator", "speculation"},
            )
        )

    @property
    def requested_mode(self) -> Mode:
        """The mode that the spec asks for: the first rung of the ladder."""
        speculation = self.spec.speculation
        if speculation is None:
            return Mode.OFF
        if speculation.draft is not None and speculation.draft.quantization is not None:
            return Mode.QUANTIZED_DRAFT
        return Mode.NGRAM if speculation.method in METHODS_NGRAM else Mode.DRAFT


def digest(value: Any) -> str:
    """Ten hex digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _shown(value: object) -> str:
    if isinstance(value, (dict, list, tuple, BaseModel)) or value is None:
        return ""
    try:
        text = json.dumps(value, ensure_ascii=True, default=str)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _problem(prefix: str, error: ErrorDetails) -> Problem:
    context = error.get("ctx", {})
    location = _path((prefix, *error["loc"])) + str(context.get("field_path", ""))
    hints = {
        "missing": "is required; add it",
        "extra_forbidden": "is unknown to this version of the operator; check the spelling, or upgrade the operator",
        "string_pattern_mismatch": f"must match {context.get('pattern')}",
        "string_too_long": f"must be at most {context.get('max_length')} characters",
    }
    value = "" if error["type"] == "missing" else _shown(error["input"])
    message = hints.get(error["type"], error["msg"][:1].lower() + error["msg"][1:])
    return Problem(location, value, message)


def problems_of(prefix: str, error: ValidationError) -> tuple[Problem, ...]:
    """What pydantic found, with full field paths."""
    found = error.errors(include_url=False)
    told = tuple(_problem(prefix, details) for details in found[:_MOST_PROBLEMS])
    more = len(found) - len(told)
    return (*told, Problem(prefix, "", f"{more} more problems; mend these first")) if more else told


def read_status(body: Mapping[str, Any]) -> SpecDecodeDeploymentStatus:
    """The stored status. One that cannot be read is treated as lost; it is rebuilt from the owned Deployment."""
    try:
        return SpecDecodeDeploymentStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return SpecDecodeDeploymentStatus()


def read_metadata(body: Mapping[str, Any]) -> Metadata:
    """The metadata of a stored object, which the API server guarantees."""
    return Metadata.model_validate(body["metadata"])


class _TooLargeError(Exception):
    """More values, or more levels, than a spec can have."""


@dataclass
class _Stored:
    """A document as the API server stores it: a field that is written as null is absent, and 5.0 is 5."""

    left: int = _MOST_NODES

    def of(self, node: Any, level: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or level > _MOST_LEVELS:
            raise _TooLargeError
        if isinstance(node, Mapping):
            return {key: self.of(child, level + 1) for key, child in node.items() if child is not None}
        if isinstance(node, list):
            return [self.of(item, level + 1) for item in node]
        return int(node) if isinstance(node, float) and node.is_integer() else node


def _read_spec(body: Mapping[str, Any]) -> SpecDecodeDeploymentSpec | tuple[Problem, ...]:
    try:
        return SpecDecodeDeploymentSpec.model_validate(_Stored().of(body.get("spec") or {}))
    except ValidationError as error:
        return problems_of("spec", error)
    except _TooLargeError:
        limits = f"more than {_MOST_NODES} values or {_MOST_LEVELS} levels"
        return (
            Problem("spec", "", f"has {limits}, which no resource has; is it another file, or aliases of aliases?"),
        )


def _kind_problem(body: Mapping[str, Any]) -> Problem | None:
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if (api_version, kind) == (API_VERSION, KIND):
        return None
    found = "/".join(part if isinstance(part, str) else str(None) for part in (api_version, kind))
    return Problem("kind", found, f"must be {API_VERSION} {KIND}")


def parse(body: Mapping[str, Any]) -> SpecDecodeDeployment | Rejection:
    """Read a resource as the API server, or a file, has it."""
    another_kind = _kind_problem(body)
    if another_kind is not None:
        return Rejection("InvalidSpec", (another_kind,))
    problems: tuple[Problem, ...] = ()
    metadata = None
    try:
        metadata = Metadata.model_validate(body.get("metadata") or {})
        _Named(name=metadata.name)
    except ValidationError as error:
        problems += problems_of("metadata" if metadata is None else "metadata.name", error)
    spec = _read_spec(body)
    if not isinstance(spec, SpecDecodeDeploymentSpec):
        problems += spec
    if metadata is None or not isinstance(spec, SpecDecodeDeploymentSpec) or problems:
        return Rejection("InvalidSpec", problems)
    return SpecDecodeDeployment(metadata=metadata, spec=spec, status=read_status(body))
