"""The generator emits a structural schema, or raises; tests/system asks the API server about the result."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from specdecode.api.base import ApiModel, Rule
from specdecode.api.schema import UnsupportedSchemaError, custom_resource_definition, structural_schema

CRD = custom_resource_definition()
VERSION = CRD["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]
SPEC, STATUS = ROOT["properties"]["spec"], ROOT["properties"]["status"]


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below and including this one, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "[*]")):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], path + mark)


ALL = [*nodes(SPEC, "spec"), *nodes(STATUS, "status")]


def test_every_property_explains_itself() -> None:
    silent = [path for path, node in ALL if not node.get("description") and not path.endswith(("[]", "[*]"))]
    assert silent == []


def test_descriptions_are_one_line_of_plain_sentences() -> None:
    assert [path for path, node in ALL if "\n" in node.get("description", "")] == []
    assert [path for path, node in ALL if not node.get("description", ".").endswith((".", "`"))] == []


def test_only_words_of_a_structural_schema_are_used() -> None:
    words = {word for _, node in ALL for word in node}
    assert words <= {
        "additionalProperties", "default", "description", "enum", "format", "items", "maximum", "maxItems", "maxLength",
        "maxProperties", "minimum", "minLength", "pattern", "properties", "required", "type",
        "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-validations",
    }  # fmt: skip


def test_every_node_has_a_type() -> None:
    assert [path for path, node in ALL if "type" not in node] == []


def test_every_list_says_how_it_is_merged() -> None:
    kinds = {path: node.get("x-kubernetes-list-type") for path, node in ALL if node["type"] == "array"}
    assert None not in kinds.values()
    assert kinds["spec.engine.extraArgs"] == kinds["spec.engine.env"] == kinds["status.conditions"] == "map"
    assert kinds["spec.speculation.fallbacks"] == "set"


def test_everything_in_the_spec_has_an_end() -> None:
    """The API server's estimate of a rule's cost needs it, and so does a person's patience."""
    ends = {"string": ("maxLength", "enum"), "array": ("maxItems",), "integer": ("maximum",)}
    endless = [
        path
        for path, node in nodes(SPEC, "spec")
        if node["type"] in ends and not any(end in node for end in ends[node["type"]])
    ]
    assert endless == []


def test_the_api_has_no_floats() -> None:
    assert [path for path, node in ALL if node["type"] == "number"] == []


def test_the_server_writes_no_defaults_into_the_status() -> None:
    assert [path for path, node in nodes(STATUS, "status") if "default" in node] == []


def test_defaults_hold_neither_null_nor_empty_lists() -> None:
    def empties(value: Any) -> bool:
        if isinstance(value, dict):
            return any(child in (None, [], {}) or empties(child) for child in value.values())
        return value in (None, [])

    assert [path for path, node in ALL if "default" in node and empties(node["default"])] == []


def test_the_crd_says_what_the_design_promises() -> None:
    names = CRD["spec"]["names"]
    assert (CRD["metadata"]["name"], names["kind"], names["shortNames"]) == (
        "specdecodedeployments.specdecode.io",
        "SpecDecodeDeployment",
        ["sdd"],
    )
    assert CRD["spec"]["scope"] == "Namespaced"
    assert set(VERSION["subresources"]) == {"status", "scale"}


def test_generating_twice_gives_the_same() -> None:
    assert custom_resource_definition() == CRD


class _Inner(ApiModel):
    """The inner type."""

    rules: ClassVar = (Rule(cel="self.a > 0", message="a must be positive", holds=lambda inner: inner.a > 0),)

    a: Annotated[int, Field(gt=0, lt=10)] = 1
    """A number."""


class _Outer(ApiModel):
    rules: ClassVar = (Rule(cel="has(self.x)", message="x", holds=lambda _: True, field_path=".x"),)

    x: Annotated[_Inner, Field(json_schema_extra={"x-kubernetes-validations": [{"rule": "true", "message": "m"}]})]
    """The field's own words."""
    one: Literal["v"] = "v"
    """A constant."""
    free: dict[str, str] | None = None
    """A map."""


def test_a_reference_is_inlined_with_the_fields_words_and_both_rules() -> None:
    schema = structural_schema(_Outer)
    field = schema["properties"]["x"]
    assert field["description"] == "The field's own words."
    assert [rule["rule"] for rule in field["x-kubernetes-validations"]] == ["self.a > 0", "true"]
    assert schema["x-kubernetes-validations"] == [{"rule": "has(self.x)", "message": "x", "fieldPath": ".x"}]


def test_words_are_translated_for_the_api_server() -> None:
    properties = structural_schema(_Outer)["properties"]
    assert properties["x"]["properties"]["a"] == {
        "type": "integer",
        "format": "int64",
        "description": "A number.",
        "default": 1,
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 10,
        "exclusiveMaximum": True,
    }
    assert properties["one"] == {"type": "string", "enum": ["v"], "default": "v", "description": "A constant."}
    assert properties["free"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "A map.",
    }
    assert structural_schema(_Outer)["required"] == ["x"]


class _Union(BaseModel):
    value: int | str


class _Tuple(BaseModel):
    value: tuple[int, str]


class _Unique(BaseModel):
    value: set[str]


class _Enum(BaseModel):
    value: Literal["a", 1]


class _Nested(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    inner: _Union


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(_Union, "_Union.value: a union has no structural schema", id="a union"),
        pytest.param(_Nested, "_Nested.inner.value: a union", id="a union further in"),
        pytest.param(_Tuple, "_Tuple.value: prefixItems is not allowed", id="a tuple"),
        pytest.param(_Unique, "_Unique.value: uniqueItems is not allowed", id="a set"),
        pytest.param(_Enum, "_Enum.value: an enum needs a type", id="a mixed enum"),
    ],
)
def test_what_has_no_structural_schema_is_refused_when_it_is_generated(model: type[BaseModel], says: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=says):
        structural_schema(model)
