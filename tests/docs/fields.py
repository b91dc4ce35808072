"""docs/reference-fields.md, made from the CRD, whose texts are those of the types.

make docs     writes it anew
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from specdecode.api import values
from specdecode.api.schema import custom_resource_definition
from specdecode.api.vocabulary import Mode

Schema = Mapping[str, Any]

FILE = Path(__file__).parents[2] / "docs" / "reference-fields.md"
_RULES = "x-kubernetes-validations"
_STRINGS = (
    "ModelName", "Revision", "ServedName", "QuantizationName", "Image", "VersionText", "Quantity", "Duration",
    "Fraction", "ArgumentName", "ArgumentValue", "VariableName", "VariableValue", "ArchitectureName", "FamilyName",
)  # fmt: skip
"""Strings with a form of their own, by their names in specdecode/api/values.py."""
_KUBERNETES = {
    "DnsName": "name of an object",
    "LabelValue": "label value",
    "LabelKey": "label key",
    "SecretKey": "key in a Secret",
    "ResourceName": "extended resource",
}
"""Strings whose form Kubernetes defines, in its words."""
_HEAD = """\
# Every field

Made from the types by `make docs`; a test fails when it is not what they say. `kubectl explain sdd.spec` shows the same
texts in the cluster. What a reason, condition or annotation means stands in [reference-status.md](reference-status.md);
complete resources are in [examples/](../examples/).

* **bold**: required, where the object around it is given.
* `a[].b` is a field of each entry of the list `a`.
* A mode is `QuantizedDraft`, `Draft`, `NGram` or `Off`: [concepts.md](concepts.md). Types that begin with a capital
  letter, such as `Duration`, stand under [Strings](#strings).
* A rule is checked by the API server when a resource is stored, and by `specdecode plan`, which needs no cluster.
"""


def _form(schema: Schema) -> tuple[str, ...]:
    return tuple(rule["message"] for rule in schema.get(_RULES, ()))


def _forms() -> dict[tuple[str, ...], str]:
    """The name of a string's form, by the rules on it."""
    schemas = {name: TypeAdapter(getattr(values, name)).json_schema() for name in _STRINGS}
    return {_form(schema): name for name, schema in schemas.items()}


FORMS = _forms()
KUBERNETES = {TypeAdapter(getattr(values, name)).json_schema()["pattern"]: words for name, words in _KUBERNETES.items()}
MODES = [mode.value for mode in Mode]


def _is_interval(schema: Schema) -> bool:
    return set(schema.get("properties", ())) == {"low", "high"}


def _string(schema: Schema) -> str:
    return KUBERNETES.get(schema.get("pattern", "")) or FORMS.get(_form(schema), "string")


def _choice(schema: Schema) -> str:
    return "mode" if schema["enum"] == MODES else " / ".join(f"`{value}`" for value in schema["enum"])


def _type(schema: Schema) -> str:
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map to {_type(schema['additionalProperties'])}"
    if _is_interval(schema):
        return "interval: `low`, `high`"
    if "enum" in schema:
        return _choice(schema)
    return _string(schema) if schema["type"] == "string" else str(schema["type"])


def _number(value: int) -> str:
    return f"{value:,}"


def _limits(schema: Schema) -> str:
    if schema.get("pattern") in KUBERNETES:
        return ""
    found = []
    if "minimum" in schema or "maximum" in schema:
        found.append(" to ".join(_number(schema[bound]) for bound in ("minimum", "maximum") if bound in schema))
    for bound, words in (("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "entries")):
        if bound in schema and _form(schema) not in FORMS:
            found.append(f"at most {_number(schema[bound])} {words}")
    if "pattern" in schema:
        found.append("`" + schema["pattern"].replace("|", "\\|") + "`")
    if "x-kubernetes-list-map-keys" in schema:
        found.append(f"told apart by `{'`, `'.join(schema['x-kubernetes-list-map-keys'])}`")
    return "; ".join(found)


def _default(schema: Schema) -> str:
    if "default" not in schema or schema["type"] == "object":
        return ""
    value = schema["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _parts(schema: Schema) -> tuple[Schema, str]:
    """The object that a field is made of, and what stands between its name and theirs."""
    return (schema["items"], "[].") if schema["type"] == "array" else (schema, ".")


def _rows(schema: Schema, path: str) -> Iterator[tuple[str, ...]]:
    for name, child in schema.get("properties", {}).items():
        where = f"{path}{name}"
        shown = f"**`{where}`**" if name in schema.get("required", ()) else f"`{where}`"
        if where.endswith("draft.facts"):
            yield shown, "object", "", "", "As `model.facts`, of the draft."
            continue
        yield shown, _type(child), _default(child), _limits(child), child["description"]
        inner, mark = _parts(child)
        if not _is_interval(inner):
            yield from _rows(inner, f"{where}{mark}")


def _rules(schema: Schema, path: str) -> Iterator[str]:
    """Rules on objects; what a string must look like stands in its row."""
    for name, child in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        inner, _ = _parts(child)
        if where.endswith("draft.facts"):
            continue
        if inner["type"] != "string" or _form(inner) not in FORMS:
            yield from (f"* `{where}`: {message}" for message in _form(inner))
        yield from _rules(inner, where)


def _table(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _section(title: str, schema: Schema, *, is_spec: bool) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield f"{schema['description']}\n"
    rows = _rows(schema, "")
    if is_spec:
        yield from _table(("field", "type", "default", "limits", "meaning"), rows)
    else:
        yield from _table(("field", "type", "meaning"), ((name, kind, text) for name, kind, _, _, text in rows))


def _spec(spec: Schema) -> Iterator[str]:
    flat = {name: child for name, child in spec["properties"].items() if not child.get("properties")}
    yield from _section("spec", {**spec, "properties": flat}, is_spec=True)
    for name, child in spec["properties"].items():
        if name not in flat:
            yield from _section(f"spec.{name}", child, is_spec=True)


def _strings() -> Iterator[tuple[str, ...]]:
    for name in _STRINGS:
        schema = TypeAdapter(getattr(values, name)).json_schema()
        yield f"`{name}`", _number(schema["maxLength"]), "; ".join(_form(schema)).replace("|", "\\|")


def reference() -> str:
    """The whole page."""
    root = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec, status = root["properties"]["spec"], root["properties"]["status"]
    lines = [
        _HEAD.rstrip(),
        *_spec(spec),
        "\n## Strings\n",
        *_table(("type", "characters", "form"), _strings()),
        "\n## Rules between fields\n",
        *(f"* `metadata.name`: {message.removeprefix('metadata.name ')}" for message in _form(root)),
        *(f"* `spec`: {message}" for message in _form(spec)),
        *_rules(spec, "spec"),
        *_section("status", status, is_spec=False),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")
