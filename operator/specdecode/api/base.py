"""What every type of the resource shares: frozen, camelCase on the wire, and rules that hold in two places.

A `Rule` is written once and checked twice: as CEL by the API server at admission, and as Python by the plan, which
also runs offline. The table in tests/api holds both to the same verdict.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class Rule:
    """One sentence about a value that a structural schema cannot say."""

    cel: str
    """The rule for the API server; `self` is the value."""
    message: str
    """What is wrong and the way out, for a person. It names the field, because CEL names only the value it sits on."""
    holds: Callable[[Any], bool]
    """The same rule in Python."""
    field_path: str = ""
    """Where the server should point, relative to the value, as JSON path (`.version`)."""

    def as_validation(self) -> dict[str, str]:
        """The entry for `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


def check(rule: Rule, value: Any) -> None:
    """Raise the error pydantic collects when `rule` does not hold for `value`."""
    if not rule.holds(value):
        # Braces would be taken for the template fields of PydanticCustomError.
        raise PydanticCustomError("rule", "{message}", {"message": rule.message, "field_path": rule.field_path})


def ruled(*rules: Rule) -> Any:
    """A marker for `Annotated` that puts rules on a plain value, for pydantic and for the schema alike."""

    def holds_all(value: Any) -> Any:
        for rule in rules:
            check(rule, value)
        return value

    return AfterValidator(holds_all)


def rules_in_schema(*rules: Rule) -> Any:
    """The schema half of `ruled`: pydantic ignores it, the CRD generator reads it."""
    validations: JsonDict = {"x-kubernetes-validations": [{**rule.as_validation()} for rule in rules]}
    return Field(json_schema_extra=validations)


def cel_list(words: Iterable[str]) -> str:
    """A CEL list of words. They come from this package, never from a user, and hold no quotes."""
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _without_duplicates(key: Callable[[Any], Any]) -> AfterValidator:
    def unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen = [key(item) for item in items]
        for value in seen:
            if seen.count(value) > 1:
                raise PydanticCustomError("duplicate", "{value} is listed twice; keep one", {"value": str(value)})
        return items

    return AfterValidator(unique)


def map_list(*, key: str, max_items: int) -> tuple[Any, ...]:
    """Markers of a list whose items are told apart by `key`, so that server-side apply merges item by item."""
    schema: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return Field(max_length=max_items, json_schema_extra=schema), _without_duplicates(lambda item: getattr(item, key))


def set_list(*, max_items: int) -> tuple[Any, ...]:
    """Markers of a list of unique words."""
    schema: JsonDict = {"x-kubernetes-list-type": "set"}
    return Field(max_length=max_items, json_schema_extra=schema), _without_duplicates(lambda item: item)


class ApiModel(BaseModel):
    """Base of all spec types. Unknown fields are refused: a field that a newer CRD knows must not be ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in type(self).rules:
            check(rule, self)
        return self


class StatusModel(BaseModel):
    """Base of all status types. Unknown fields are dropped: status written by another version must stay readable."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """The object as the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
