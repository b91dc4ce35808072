"""`--against FIELD=VALUE`: the same resource with another threshold of its guard. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from specdecode.api.guard import GuardSpec
from specdecode.api.resource import Problem, SpecDecodeDeployment, problems_of

OPTION = "--against"
_PREFIX = ("spec", "guard")


def _model_of(annotation: Any) -> type[BaseModel] | None:
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _fields(model: type[BaseModel], prefix: str) -> list[str]:
    """Paths of all fields, as a spec writes them."""
    found = []
    for name, field in model.model_fields.items():
        path = f"{prefix}.{field.alias or name}"
        inner = _model_of(field.annotation)
        found += [path] if inner is None else _fields(inner, path)
    return found


FIELDS = tuple(_fields(GuardSpec, "guard"))
"""What can be held against history: thresholds. What ran cannot be changed any more."""


def read_changes(texts: Sequence[str]) -> Mapping[str, str] | Problem:
    """Values by field, from `FIELD=VALUE`."""
    changes: dict[str, str] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        path = field.strip().removeprefix("spec.")
        if not equals or not value.strip():
            return Problem(OPTION, text, "must be FIELD=VALUE, for example guard.acceptance.offBelowPercent=40")
        if path not in FIELDS:
            return Problem(
                OPTION, field, f"is no field that can be held against history; choose one of {', '.join(FIELDS)}"
            )
        changes[path] = value.strip()
    return changes


def _with(body: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**body, first: _with(body.get(first) or {}, rest, value) if rest else value}


def changed_resource(
    resource: SpecDecodeDeployment, changes: Mapping[str, str]
) -> SpecDecodeDeployment | tuple[Problem, ...]:
    """The resource with other values, checked by the same rules."""
    guard = resource.spec.guard.model_dump(mode="json", by_alias=True, exclude_none=True)
    for field, text in changes.items():
        guard = _with(guard, field.split(".")[1:], yaml.safe_load(text))
    try:
        changed = GuardSpec.model_validate(guard)
    except ValidationError as error:
        return problems_of(".".join(_PREFIX), error)
    return resource.model_copy(update={"spec": resource.spec.model_copy(update={"guard": changed})})
