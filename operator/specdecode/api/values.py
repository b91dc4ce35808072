"""Strings with a meaning: names, sizes, durations. Each is a pattern with bounds, so that nothing that reaches a
command line, PromQL or YAML was ever free text.

What vLLM and this API define is refused with a sentence and an example, by a rule. The names that Kubernetes defines
keep a plain pattern, as in its own types.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, Strict

from specdecode.api.base import Rule, ruled, rules_in_schema
from specdecode.api.vocabulary import CACHE_MOUNT

_BINARY_UNITS = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_DECIMAL_UNITS = {"k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h)")


_COMMIT = re.compile(r"[0-9a-f]{40}")


def bytes_of(quantity: str) -> int:
    """Bytes of a Kubernetes quantity such as `80Gi`, `500M` or `1024`."""
    for units in (_BINARY_UNITS, _DECIMAL_UNITS):
        for suffix, factor in units.items():
            if quantity.endswith(suffix):
                return int(quantity.removesuffix(suffix)) * factor
    return int(quantity)


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, 40 hexadecimal digits, which never moves."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


@lru_cache(maxsize=1024)
def seconds_of(duration: str) -> float:
    """Seconds of a duration such as `40ms`, `5m` or `1h30m`."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(duration))


def is_fraction(value: str) -> bool:
    """Whether a decimal string lies in (0, 1]."""
    return Decimal(0) < Decimal(value) <= Decimal(1)


def matching(pattern: str, message: str) -> Rule:
    """The rule that a whole string matches `pattern`, which is anchored and holds no single quote.

    The dialect is what RE2 and Python share. Unlike a pattern in the schema, a rule can say in words what is allowed.
    """
    return Rule(
        cel=f"self.matches(r'{pattern}')",
        message=message,
        holds=lambda value: re.fullmatch(pattern, value) is not None,
    )


def text(*rules: Rule, max_length: int) -> tuple[Any, ...]:
    """Markers of a bounded string under rules. The server needs the bound to estimate what a rule costs."""
    return Field(max_length=max_length), rules_in_schema(*rules), ruled(*rules)


DURATION = r"^([1-9][0-9]{0,5}(ms|s|m|h)){1,3}$"
"""The form of a `Duration`. What does not match, CEL's `duration()` may fail on."""
_DECIMAL = r"^[0-9]{1,3}(\.[0-9]{1,4})?$"

_IS_FRACTION = Rule(
    # One rule, because double() fails on what is no number.
    cel=f"self.matches(r'{_DECIMAL}') && double(self) > 0.0 && double(self) <= 1.0",
    message="must be above 0 and at most 1, written as a decimal of at most four places in quotes; "
    'for example "0.92" for 92 percent',
    holds=lambda value: re.fullmatch(_DECIMAL, value) is not None and is_fraction(value),
)
_NO_TRAVERSAL = Rule(
    cel="!self.contains('--') && !self.contains('..')",
    message="must not contain '--' or '..': write a repository as owner/name or an absolute path below the cache mount",
    holds=lambda value: "--" not in value and ".." not in value,
)
_NO_DOUBLE_DASH = Rule(
    cel="!self.contains('--')",
    message="must not contain '--': one argument per entry, its name without dashes in `name`, its value here",
    holds=lambda value: "--" not in value,
)
_PLAIN = "must be one plain word, number, list or path without quotes, braces, blanks or shell characters"

Integer = Annotated[int, Strict()]
"""An integer. Strict, as the API server is: neither `"5"` nor `true` is a number."""

Switch = Annotated[bool, Strict()]
"""true or false. Strict, as the API server is: neither `"yes"` nor 1 is true."""

Quantity = Annotated[
    str,
    *text(
        matching(
            r"^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$",
            "must be a whole number of bytes above 0, with at most one of the units Ki, Mi, Gi, Ti, k, M, G, T behind "
            "it and no blank between; for example 80Gi",
        ),
        max_length=20,
    ),
]
"""A size in bytes, as Kubernetes writes it: `80Gi`, `512M`."""

Duration = Annotated[
    str,
    *text(
        matching(
            DURATION,
            "must be one to three whole numbers above 0, each with its unit h, m, s or ms, without blanks; for "
            "example 5m, 1h30m, 1500ms for one and a half seconds or 24h for a day",
        ),
        max_length=20,
    ),
]
"""A time span above zero: `40ms`, `5m`, `1h30m`."""

Fraction = Annotated[str, *text(_IS_FRACTION, max_length=8)]
"""A decimal string in (0, 1]; no floats in the API, so that every client prints what was written."""

ModelName = Annotated[
    str,
    *text(
        matching(
            r"^([A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9_.\-]+)?|(/[A-Za-z0-9_.\-]+)+)$",
            f"must be a repository (owner/name) or an absolute path below {CACHE_MOUNT}, made of letters, digits and "
            ". _ -; for example meta-llama/Llama-3.1-8B-Instruct",
        ),
        _NO_TRAVERSAL,
        max_length=200,
    ),
]
"""A repository (`owner/name`) or an absolute path below the cache mount."""

Revision = Annotated[
    str,
    *text(
        matching(
            r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$",
            "must be a commit, tag or branch made of letters, digits and . _ -, beginning with a letter or digit; name "
            "a branch with other characters by its commit, for example 1605565b47bb9346c5515c34102e054115b4f98b",
        ),
        max_length=64,
    ),
]
"""A branch, tag or, better, the 40 hex digits of a commit."""

ServedName = Annotated[
    str,
    *text(
        matching(
            r"^[A-Za-z0-9][A-Za-z0-9_.\-/:]*$",
            "must be made of letters, digits and . _ - / :, beginning with a letter or digit; for example llama-70b, "
            "or leave it out to serve under the model's name",
        ),
        max_length=128,
    ),
]
"""The name that clients send as `model`."""

QuantizationName = Annotated[
    str,
    *text(
        matching(
            r"^[a-z0-9][a-z0-9_\-]*$",
            "must be a method as vLLM spells it, in lower case letters, digits, _ and -; for example fp8_per_tensor, "
            "or leave it out to take the checkpoint as it is",
        ),
        max_length=40,
    ),
]
"""A quantisation method as vLLM spells it, for example `fp8_per_tensor`, `awq`, `compressed-tensors`."""

IMAGE = (
    r"^[a-z0-9][a-z0-9._\-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._\-]*)*(:[A-Za-z0-9_][A-Za-z0-9_.\-]*)?"
    r"(@sha256:[a-f0-9]{64})?$"
)
"""Pattern of an image reference."""

Image = Annotated[
    str,
    *text(
        matching(
            IMAGE,
            "must be an image reference: a repository in lower case, then a tag or a sha256 digest, without blanks; "
            "for example vllm/vllm-openai:v0.32.0",
        ),
        max_length=300,
    ),
]
"""A container image reference."""

VersionText = Annotated[
    str,
    *text(
        matching(
            r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$",
            "must be three numbers with dots between, without a v before or a suffix behind; for example 0.32.0",
        ),
        max_length=11,
    ),
]
"""An engine version: `0.32.0`."""

DnsName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9\-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]*[a-z0-9])?)*$", max_length=253)
]
"""A DNS-1123 subdomain, the name of a Kubernetes object."""

SecretKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]+$", max_length=253)]
"""A key inside a Secret."""

ResourceName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?$", max_length=120),
]
"""An extended resource such as `nvidia.com/gpu`."""

LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?)?$", max_length=63)]
"""The value of a label."""

LABEL_KEY = (
    r"^([a-z0-9]([a-z0-9\-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?$"
)
"""A label key: an optional DNS prefix and a name of at most 63 characters."""
MAX_LABEL_KEY = 180

LabelKey = Annotated[str, Field(pattern=LABEL_KEY, max_length=MAX_LABEL_KEY)]
"""The key of a label or annotation."""

ArgumentName = Annotated[
    str,
    *text(
        matching(
            r"^[a-z](-?[a-z0-9])+$",
            "must be the name of one vLLM argument in lower case letters, digits and single dashes, without its "
            "leading dashes; for example enable-prefix-caching; a value belongs into `value`",
        ),
        max_length=80,
    ),
]
"""A vLLM argument without its leading dashes: `enable-prefix-caching`."""

ArgumentValue = Annotated[
    str,
    *text(
        matching(
            r"^(-?[0-9]+(\.[0-9]+)?|[A-Za-z0-9/][A-Za-z0-9._:/,=+@\-]*)$",
            f'{_PLAIN}; for example hermes or "42"; for a switch leave it out',
        ),
        _NO_DOUBLE_DASH,
        max_length=256,
    ),
]
"""A plain word, number, list or path: no quotes, braces, blanks or shell characters."""

VariableName = Annotated[
    str,
    *text(
        matching(
            r"^[A-Z][A-Z0-9_]*$",
            "must be made of upper case letters, digits and _, beginning with a letter; for example NCCL_DEBUG",
        ),
        max_length=80,
    ),
]
"""The name of an environment variable."""

VariableValue = Annotated[
    str,
    *text(
        matching(
            r"^[A-Za-z0-9._:/,=+@\-]*$",
            f"{_PLAIN}; for example WARN; anything else belongs into a Secret, named in `secret`",
        ),
        max_length=256,
    ),
]
"""The value of an environment variable: a plain word, number, list or path."""

ArchitectureName = Annotated[
    str,
    *text(
        matching(
            r"^[A-Za-z0-9_]+$",
            "must be a class name of letters, digits and _; copy the first of `architectures` from config.json, for "
            "example LlamaForCausalLM",
        ),
        max_length=80,
    ),
]
"""A model's class, as in the `architectures` of its config.json."""

FamilyName = Annotated[
    str,
    *text(
        matching(
            r"^[a-z0-9][a-z0-9.\-]*$",
            "must be made of lower case letters, digits, . and -, beginning with a letter or digit; for example "
            "llama-3, or leave it out",
        ),
        max_length=40,
    ),
]
"""A model family."""

Percent = Annotated[Integer, Field(ge=0, le=100)]
"""An integer percentage."""
