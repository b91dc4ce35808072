"""The kinds of verdict on a resource, for the table in `api.cases`, and the sentences that refuse a string."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from builders import ABSENT, body

A_MODEL = "must be a repository (owner/name) or an absolute path below /models"
A_REVISION = "must be a commit, tag or branch"
A_SERVED_NAME = "must be made of letters, digits and . _ - / :"
A_QUANTIZATION = "must be a method as vLLM spells it"
AN_IMAGE = "must be an image reference"
A_VERSION = "must be three numbers with dots between"
A_FRACTION = "must be above 0 and at most 1"
A_QUANTITY = "must be a whole number of bytes above 0"
A_DURATION = "must be one to three whole numbers above 0, each with its unit"
AN_ARCHITECTURE = "must be a class name"
A_FAMILY = "must be made of lower case letters, digits, . and -"
AN_ARGUMENT = "must be the name of one vLLM argument"
A_PLAIN_VALUE = "must be one plain word, number, list or path"
A_VARIABLE = "must be made of upper case letters, digits and _"


@dataclass(frozen=True)
class Case:
    """One resource and the verdict on it."""

    sentence: str
    overrides: Mapping[str, Any]
    says: tuple[str, ...] = ()
    """Empty: the resource is good."""
    server_says: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        """The resource, without what only a stored one has."""
        return body(**{"metadata.uid": ABSENT, "metadata.generation": ABSENT, **deepcopy(dict(self.overrides))})


def good(sentence: str, **overrides: Any) -> Case:
    return Case(sentence, overrides)


def refused(sentence: str, path: str, value: Any, says: str, server_says: str = "") -> Case:
    return Case(sentence, {path: value}, (path, says), (path, server_says or says))


def rule(sentence: str, says: str, **overrides: Any) -> Case:
    """Refused by a rule: both give the same sentence."""
    return Case(sentence, overrides, (says,), (says,))


def pattern(sentence: str, path: str, value: str) -> Case:
    """Refused by a plain pattern: a name that Kubernetes defines."""
    return refused(sentence, path, value, "must match", "should match")


def worded(sentence: str, path: str, value: str, says: str) -> Case:
    """Refused by a rule on the value itself: both point at the field and give the same sentence."""
    return refused(sentence, path, value, says)


def wrong_type(sentence: str, path: str, value: Any, kind: str) -> Case:
    return refused(sentence, path, value, "input should be", f"must be of type {kind}")


def below(sentence: str, path: str, value: int, least: int) -> Case:
    return refused(sentence, path, value, f"greater than or equal to {least}")


def above(sentence: str, path: str, value: int, most: int) -> Case:
    return refused(sentence, path, value, f"less than or equal to {most}")


def too_long(sentence: str, path: str, value: str, most: int) -> Case:
    return refused(sentence, path, value, f"at most {most} characters", f"may not be more than {most}")


def no_choice(sentence: str, path: str, value: str) -> Case:
    return refused(sentence, path, value, "input should be", "Unsupported value")


def unknown(sentence: str, path: str) -> Case:
    return Case(sentence, {path: "x"}, (path, "is unknown"), (f'unknown field "{path}"',))


def required(sentence: str, path: str) -> Case:
    return Case(sentence, {path: ABSENT}, (path, "is required"), (path, "Required value"))
