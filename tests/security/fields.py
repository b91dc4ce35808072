"""Every text field of the resource, found by walking the CRD's own schema: a new field is covered by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from specdecode.api.schema import custom_resource_definition

Schema = Mapping[str, Any]
EACH = "*"
"""In a path: an item of a list, or a value of a map."""
KEY = "<key>"
"""In a path: a key of a map."""


@dataclass(frozen=True)
class TextField:
    """One place for text."""

    path: tuple[str, ...]
    """From the root of the resource; see EACH and KEY."""
    schema: Schema = field(compare=False)

    def __str__(self) -> str:
        return ".".join(self.path)


@cache
def spec_schema() -> Schema:
    """Of `spec`, as the API server has it."""
    root = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: Schema = root["properties"]["spec"]
    return found


def _walk(schema: Schema, path: tuple[str, ...]) -> Iterator[TextField]:
    if schema["type"] == "string":
        yield TextField(path, schema)
    elif schema["type"] == "array":
        yield from _walk(schema["items"], (*path, EACH))
    elif "properties" in schema:
        for name, child in schema["properties"].items():
            yield from _walk(child, (*path, name))
    elif schema["type"] == "object":
        yield TextField((*path, KEY), {"type": "string"})
        yield from _walk(schema["additionalProperties"], (*path, EACH))


def text_fields() -> tuple[TextField, ...]:
    """All of them, words with a fixed choice among them."""
    return tuple(_walk(spec_schema(), ("spec",)))
