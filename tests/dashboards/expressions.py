"""PromQL, walked: which series an expression asks for, and by which labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser


@dataclass(frozen=True)
class Asked:
    """One selector."""

    name: str
    labels: frozenset[str]
    """That it matches on."""


def _children(node: Any) -> Iterator[Any]:
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str | float | int):
            yield child
    yield from getattr(node, "args", None) or ()


def selectors(expression: str) -> list[Asked]:
    """Every selector. Raises ValueError for what is no PromQL."""
    found: list[Asked] = []
    pending = [promql_parser.parse(expression)]
    while pending:
        node = pending.pop()
        if isinstance(node, promql_parser.VectorSelector):
            matchers = node.matchers.matchers
            assert node.name, f"a selector without a metric name: {expression}"
            found.append(Asked(node.name, frozenset(matcher.name for matcher in matchers)))
        pending.extend(_children(node))
    return found


def grouped_by(expression: str) -> list[tuple[frozenset[str], frozenset[str]]]:
    """For every aggregation: the labels that it keeps, and the series below it."""
    found: list[tuple[frozenset[str], frozenset[str]]] = []
    pending = [promql_parser.parse(expression)]
    while pending:
        node = pending.pop()
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
            below = frozenset(asked.name for asked in selectors(node.expr.prettify()))
            found.append((frozenset(modifier.labels), below))
        pending.extend(_children(node))
    return found
