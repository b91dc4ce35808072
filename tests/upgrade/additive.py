"""Whether a CRD only grew: every object that the old one stored is still valid, means the same, and loses no field."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_LOWER_BOUNDS = ("minimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "maxLength", "maxItems", "maxProperties")
_FIXED = (
    *("type", "format", "nullable", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"),
)
_ALLOWED = re.compile(r"(?<!!\()(?<!!)(self[\w.]* in )\[([^\]]*)\]")
"""A list of what is allowed in a CEL rule; a list of what is not has a `!` before it."""


def breaks(old: Schema, new: Schema) -> tuple[str, ...]:
    """What an object or a client of the old CRD would trip over; both are whole CRDs."""
    return tuple(_of_names(old["spec"], new["spec"]))


def _of_names(old: Schema, new: Schema) -> Iterator[str]:
    for field in ("group", "scope"):
        if old[field] != new[field]:
            yield f"{field} was {old[field]} and is {new[field]}"
    for field in ("plural", "kind"):
        if old["names"][field] != new["names"][field]:
            yield f"names.{field} was {old['names'][field]} and is {new['names'][field]}"
    for short in set(old["names"].get("shortNames", ())) - set(new["names"].get("shortNames", ())):
        yield f"the short name {short} is gone"
    yield from _of_versions(old, new)


def _of_versions(old: Schema, new: Schema) -> Iterator[str]:
    versions = {version["name"]: version for version in new["versions"]}
    for version in old["versions"]:
        now = versions.get(version["name"])
        if now is None or not now["served"]:
            yield f"{version['name']} is no longer served"
            continue
        for name, subresource in version.get("subresources", {}).items():
            if now.get("subresources", {}).get(name) != subresource:
                yield f"the subresource {name} is gone or another"
        yield from _of_schema(version["schema"]["openAPIV3Schema"], now["schema"]["openAPIV3Schema"], "")


def _of_schema(old: Schema, new: Schema, path: str) -> Iterator[str]:
    where = path or "(root)"
    for field in _FIXED:
        if old.get(field) != new.get(field):
            yield f"{where}: {field} was {old.get(field)} and is {new.get(field)}"
    yield from _of_values(old, new, where)
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{where}: {name} is required now"
    if not _is_same_default(old.get("default"), new.get("default")):
        yield f"{where}: the default was {old.get('default')} and is {new.get('default')}"
    rules = [rule["rule"] for rule in old.get("x-kubernetes-validations", ())]
    for rule in new.get("x-kubernetes-validations", ()):
        if not any(_is_no_narrower(known, rule["rule"]) for known in rules):
            yield f"{where}: a new rule: {rule['rule']}"
    yield from _of_children(old, new, path)


def _is_same_default(old: Any, new: Any) -> bool:
    """The default of an object may gain the default of a field that is new."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(name in new and _is_same_default(value, new[name]) for name, value in old.items())
    return bool(old == new)


def _is_no_narrower(old: str, new: str) -> bool:
    """The same rule, or one whose lists of allowed words have grown."""
    if _ALLOWED.sub(r"\1[]", old) != _ALLOWED.sub(r"\1[]", new):
        return False
    lists = zip(_ALLOWED.findall(old), _ALLOWED.findall(new), strict=True)
    return all(set(before.split(", ")) <= set(after.split(", ")) for (_, before), (_, after) in lists)


def _of_values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for value in old.get("enum", ()):
        if value not in new.get("enum", (value,)):
            yield f"{where}: the value {value} is gone"
    if "enum" in new and "enum" not in old:
        yield f"{where}: only some values are allowed now"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where}: the pattern was {old.get('pattern')} and is {new['pattern']}"
    for bounds, is_narrower in ((_LOWER_BOUNDS, lambda a, b: b > a), (_UPPER_BOUNDS, lambda a, b: b < a)):
        for bound in bounds:
            if bound in new and (bound not in old or is_narrower(old[bound], new[bound])):
                yield f"{where}: {bound} was {old.get(bound)} and is {new[bound]}"


def _of_children(old: Schema, new: Schema, path: str) -> Iterator[str]:
    now = new.get("properties", {})
    for name, schema in old.get("properties", {}).items():
        child = f"{path}.{name}".lstrip(".")
        if name in now:
            yield from _of_schema(schema, now[name], child)
        else:
            yield f"{child}: the field is gone"
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(old.get(key), Mapping):
            if isinstance(new.get(key), Mapping):
                yield from _of_schema(old[key], new[key], f"{path}{mark}")
            else:
                yield f"{path}{mark}: the schema is gone"
