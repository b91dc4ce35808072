"""pydantic types to a structural CRD. It emits what apiextensions/v1 accepts, or raises.

Descriptions are the attribute docstrings, so that a reader of the code, `kubectl explain` and the documentation see one
text. `$ref` is inlined with its siblings merged: a field's description wins, CEL lists are concatenated.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from specdecode.api.base import ApiModel
from specdecode.api.resource import ROOT_RULES
from specdecode.api.spec import SpecDecodeDeploymentSpec
from specdecode.api.status import SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR, VERSION

_VALIDATIONS = "x-kubernetes-validations"
_DROPPED = frozenset({"title"})
_FORBIDDEN = frozenset({"uniqueItems", "prefixItems", "patternProperties", "discriminator", "oneOf", "not", "$defs"})


class UnsupportedSchemaError(Exception):
    """A type has no structural schema; it must be written another way."""


class _Generator(GenerateJsonSchema):
    """pydantic's generator without null: an optional field is absent, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = super().default_schema(schema)
        if generated.get("default", ...) is None:
            generated.pop("default")
        return generated


def _merged(target: Mapping[str, Any], siblings: Mapping[str, Any]) -> dict[str, Any]:
    validations = [*target.get(_VALIDATIONS, []), *siblings.get(_VALIDATIONS, [])]
    merged = {**target, **siblings}
    return merged | ({_VALIDATIONS: validations} if validations else {})


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return _inline(_merged(target, siblings), definitions)
    return {key: _inline(value, definitions) for key, value in node.items() if key != "$defs"}


def _bounds(node: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Numbers as apiextensions/v1 writes them, and the bounds that CEL's cost estimate needs."""
    changed: dict[str, Any] = {}
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            changed |= {inclusive: node[exclusive], exclusive: True}
    if "const" in node:
        changed["enum"] = [node["const"]]
    if node.get("type") == "integer":
        changed["format"] = "int64"
    if "anyOf" in node:
        raise UnsupportedSchemaError(f"{path}: a union has no structural schema; use optional members and a rule")
    return changed


def _structural(node: dict[str, Any], path: str) -> dict[str, Any]:
    forbidden = _FORBIDDEN & node.keys()
    if forbidden:
        raise UnsupportedSchemaError(f"{path}: {', '.join(sorted(forbidden))} is not allowed in a structural schema")
    result = {key: value for key, value in node.items() if key not in _DROPPED and key != "const"}
    if "default" in result:
        result |= _default({**result, "default": result.pop("default")})
    result |= _bounds(node, path)
    if "properties" in result:
        result.pop("additionalProperties", None)
        result["properties"] = {
            name: _structural(child, f"{path}.{name}") for name, child in result["properties"].items()
        }
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(result["additionalProperties"], f"{path}[*]")
    if isinstance(result.get("items"), dict):
        result["items"] = _structural(result["items"], f"{path}[]")
        result.setdefault("x-kubernetes-list-type", "atomic")
    if result.get("enum") and result.get("type") is None:
        raise UnsupportedSchemaError(f"{path}: an enum needs a type")
    return {key: " ".join(value.split()) if key == "description" else value for key, value in result.items()}


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_empty(child) for key, child in value.items() if child not in (None, [], {})}


def _default(node: Mapping[str, Any]) -> dict[str, Any]:
    """The default as the server should write it: without null, and without what says no more than its absence.

    An object's default is written out, because the server checks the object's rules on it before it fills in the
    defaults of the members.
    """
    default = _without_empty(node["default"])
    return {} if default in ({}, []) and "properties" not in node else {"default": default}


def _without_defaults(node: Any) -> Any:
    """Status carries no defaults: they would be written by the server, not by the operator."""
    if isinstance(node, list):
        return [_without_defaults(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _without_defaults(child) for name, child in value.items()}
        if key == "properties"
        else _without_defaults(value)
        for key, value in node.items()
        if key != "default"
    }


def _add_model_rules(model: type[BaseModel], schema: dict[str, Any]) -> None:
    if issubclass(model, ApiModel) and model.rules:
        schema[_VALIDATIONS] = [rule.as_validation() for rule in model.rules]


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Every model reachable from `model`, by class name."""
    found: dict[str, type[BaseModel]] = {}

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation.__name__ not in found:
                found[annotation.__name__] = annotation
                for field in annotation.model_fields.values():
                    visit(field.annotation)
            return
        for argument in getattr(annotation, "__args__", ()):
            visit(argument)

    visit(model)
    return found


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model.

    Raises UnsupportedSchemaError for what apiextensions/v1 cannot express.
    """
    generated = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = dict(generated.get("$defs", {}))
    models = _models(model)
    for name, definition in definitions.items():
        if name in models:
            _add_model_rules(models[name], definition)
    _add_model_rules(model, generated)
    inlined = _inline(generated, definitions)
    return _structural(inlined, model.__name__)


def _columns() -> list[dict[str, Any]]:
    def column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
        return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})

    def condition(kind: str, field: str) -> str:
        return f'.status.conditions[?(@.type=="{kind}")].{field}'

    return [
        column("Model", ".spec.model.name"),
        column("Mode", ".status.mode"),
        column("Speculating", condition("SpeculationActive", "status")),
        column("Reason", condition("SpeculationActive", "reason")),
        column("Ready", condition("Ready", "status")),
        column("Age", ".metadata.creationTimestamp", "date"),
        column("Acceptance", ".status.observed.acceptanceRatePercent", "integer", wide=True),
        column("Speedup", ".status.observed.speedup", wide=True),
        column("KV-Tokens", ".status.plan.modes[0].kvCacheTokens", "integer", wide=True),
    ]


def _root_schema() -> dict[str, Any]:
    spec = structural_schema(SpecDecodeDeploymentSpec)
    status = _without_defaults(structural_schema(SpecDecodeDeploymentStatus))
    return {
        "type": "object",
        "description": spec["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        _VALIDATIONS: [rule.as_validation() for rule in ROOT_RULES],
    }


def custom_resource_definition() -> dict[str, Any]:
    """The CRD, ready for `kubectl apply`."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": ["inference"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root_schema()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": _columns(),
                }
            ],
        },
    }
