"""What the chart says of its values is true: comments, table and schema name the same ones, and the CRD is the CRD."""

import json
from pathlib import Path
from typing import Any

import pytest
from charts.values import CHART, Value, documented_values, table

_CRD = Path(__file__).parents[2] / "crds" / "specdecodedeployments.yaml"
VALUES = documented_values()


def _schema_of(name: str) -> dict[str, Any] | None:
    node: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    for word in name.split("."):
        if word not in node.get("properties", {}):
            return None
        node = node["properties"][word]
    return node


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.name)
def test_a_value_has_a_sentence_and_a_schema(value: Value) -> None:
    assert value.meaning.endswith("."), "a comment above it in values.yaml"
    assert _schema_of(value.name) is not None, "values.schema.json refuses it"


def test_the_schema_knows_no_value_that_is_not_there() -> None:
    def names(node: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for word, child in node.get("properties", {}).items():
            assert child.get("additionalProperties") is not True, f"{prefix}{word}: a typo would pass"
            is_leaf = any(value.name == f"{prefix}{word}" for value in VALUES)
            found |= {f"{prefix}{word}"} if is_leaf or "properties" not in child else names(child, f"{prefix}{word}.")
        return found

    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    # `global` is Helm's own, for charts that have this one as a part.
    assert names(schema) - {"global"} == {value.name for value in VALUES}


def test_the_table_of_the_readme_is_that_of_the_values() -> None:
    assert table() in (CHART / "README.md").read_text(encoding="utf-8"), "run: python tests/charts/values.py"


def test_the_charts_crd_is_the_crd() -> None:
    carried = (CHART / "files" / _CRD.name).read_text(encoding="utf-8")
    assert carried == _CRD.read_text(encoding="utf-8"), f"run: cp {_CRD.name} into the chart's files/"


def test_no_secret_has_a_value() -> None:
    """A password in values would end in the release's Secret, in Git and in a terminal's history."""
    said = {value.name.rsplit(".", 1)[-1].lower() for value in VALUES}
    assert not said & {"password", "bearertoken", "secret", "certificate", "privatekey"}
