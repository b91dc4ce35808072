"""Strings with a meaning: names, sizes, durations. Each is a pattern with bounds, so that nothing that reaches a
command line, PromQL or YAML was ever free text.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import Field, Strict

from specdecode.api.base import Rule, ruled, rules_in_schema

_BINARY_UNITS = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_DECIMAL_UNITS = {"k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h)")


def bytes_of(quantity: str) -> int:
    """Bytes of a Kubernetes quantity such as `80Gi`, `500M` or `1024`."""
    for units in (_BINARY_UNITS, _DECIMAL_UNITS):
        for suffix, factor in units.items():
            if quantity.endswith(suffix):
                return int(quantity.removesuffix(suffix)) * factor
    return int(quantity)


def seconds_of(duration: str) -> float:
    """Seconds of a duration such as `40ms`, `5m` or `1h30m`."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(duration))


def is_fraction(value: str) -> bool:
    """Whether a decimal string lies in (0, 1]."""
    return Decimal(0) < Decimal(value) <= Decimal(1)


_IS_FRACTION = Rule(
    cel="double(self) > 0.0 && double(self) <= 1.0",
    message="must be above 0 and at most 1, for example 0.92",
    holds=is_fraction,
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

Integer = Annotated[int, Strict()]
"""An integer. Strict, as the API server is: neither `"5"` nor `true` is a number."""

Switch = Annotated[bool, Strict()]
"""true or false. Strict, as the API server is: neither `"yes"` nor 1 is true."""

Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?$", max_length=20)]
"""A size in bytes, as Kubernetes writes it: `80Gi`, `512M`."""

Duration = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,5}(ms|s|m|h)){1,3}$", max_length=20)]
"""A time span above zero: `40ms`, `5m`, `1h30m`."""

Fraction = Annotated[
    str,
    Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$", max_length=8),
    rules_in_schema(_IS_FRACTION),
    ruled(_IS_FRACTION),
]
"""A decimal string in (0, 1]; no floats in the API, so that every client prints what was written."""

ModelName = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9_.\-]+)?|(/[A-Za-z0-9_.\-]+)+)$",
        min_length=1,
        max_length=200,
    ),
    rules_in_schema(_NO_TRAVERSAL),
    ruled(_NO_TRAVERSAL),
]
"""A repository (`owner/name`) or an absolute path below the cache mount."""

Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=64)]
"""A branch, tag or, better, the 40 hex digits of a commit."""

ServedName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-/:]*$", max_length=128)]
"""The name that clients send as `model`."""

QuantizationName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_\-]*$", max_length=40)]
"""A quantisation method as vLLM spells it, for example `fp8_per_tensor`, `awq`, `compressed-tensors`."""

Image = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._\-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._\-]*)*(:[A-Za-z0-9_][A-Za-z0-9_.\-]*)?(@sha256:[a-f0-9]{64})?$",
        max_length=300,
    ),
]
"""A container image reference."""

VersionText = Annotated[str, Field(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$", max_length=11)]
"""An engine version: `0.32.0`."""

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9\-]*[a-z0-9])?$", max_length=63)]
"""A DNS-1123 label, the name of a Kubernetes object."""

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

ArgumentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=80)]
"""A vLLM argument without its leading dashes: `enable-prefix-caching`."""

ArgumentValue = Annotated[
    str,
    Field(pattern=r"^(-?[0-9]+(\.[0-9]+)?|[A-Za-z0-9/][A-Za-z0-9._:/,=+@\-]*)$", max_length=256),
    rules_in_schema(_NO_DOUBLE_DASH),
    ruled(_NO_DOUBLE_DASH),
]
"""A plain word, number, list or path: no quotes, braces, blanks or shell characters."""

VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=80)]
"""The name of an environment variable."""

VariableValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/,=+@\-]*$", max_length=256)]
"""The value of an environment variable: a plain word, number, list or path."""

Percent = Annotated[Integer, Field(ge=0, le=100)]
"""An integer percentage."""
