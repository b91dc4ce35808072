"""The values of the chart with their comments, as values.yaml has them: the source of the table in its README."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

CHART = Path(__file__).parents[2] / "charts" / "specdecode-operator"


@dataclass(frozen=True)
class Value:
    """One value that can be set."""

    name: str
    """Dotted, as after `--set`."""
    default: str
    """As JSON-like YAML."""
    meaning: str
    """The comment above it."""


def documented_values() -> tuple[Value, ...]:
    """Every leaf of values.yaml, in its order. A leaf is what has no comment of its own below it."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return tuple(_leaves(root, "", text.splitlines()))


def _leaves(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        comment = _comment_above(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not comment:
            yield from _leaves(value, f"{name}.", lines)
        else:
            shown = yaml.safe_dump(yaml.safe_load(yaml.serialize(value)), default_flow_style=True, width=1000)
            yield Value(name, shown.removesuffix("\n...\n").strip(), comment)


def _comment_above(lines: list[str], number: int) -> str:
    """The lines of comment directly above a line, joined."""
    found: list[str] = []
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        found.insert(0, lines[number].lstrip().removeprefix("#").strip())
    return " ".join(found)


def table() -> str:
    """The table of the chart's README."""
    rows = [f"| `{value.name}` | `{value.default}` | {value.meaning} |" for value in documented_values()]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())  # noqa: T201 - it is a program here
