"""Text that a regular expression of the CRD allows."""

import random
import re._constants as op
import re._parser as parser
from functools import cache
from typing import Any

_MOST = 6
"""Times that something without an upper bound is repeated."""


@cache
def _parsed(pattern: str) -> Any:
    return parser.parse(pattern)


def _one_of(items: Any, rng: random.Random) -> str:
    kind, value = rng.choice([item for item in items if item[0] is not op.NEGATE])
    return chr(rng.randint(*value)) if kind is op.RANGE else chr(value)


def _text(nodes: Any, rng: random.Random) -> str:
    return "".join(_part(kind, value, rng) for kind, value in nodes)


def _part(kind: Any, value: Any, rng: random.Random) -> str:
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.IN:
        return _one_of(value, rng)
    if kind is op.BRANCH:
        return _text(rng.choice(value[1]), rng)
    if kind is op.SUBPATTERN:
        return _text(value[-1], rng)
    if kind is op.AT:
        return ""
    assert kind is op.MAX_REPEAT, f"{kind} has no place in the CRD"
    low, high, inner = value
    most = low + _MOST if high is op.MAXREPEAT else int(high)
    return "".join(_text(inner, rng) for _ in range(rng.randint(low, min(most, low + _MOST) if high > 100 else most)))


def matching(pattern: str, rng: random.Random) -> str:
    """Some text that matches the whole of `pattern`."""
    return _text(_parsed(pattern), rng)
