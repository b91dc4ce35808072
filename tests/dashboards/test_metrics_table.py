"""docs/metrics.md lists every metric of the operator, as it is."""

from pathlib import Path

from dashboards.shown import Declared, declared

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
HEADING = "| metric | type | labels | meaning |\n|---|---|---|---|\n"


def row(metric: Declared) -> str:
    name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{name}` | {metric.kind} | {labels} | {metric.meaning} |\n"


def table() -> str:
    return HEADING + "".join(row(metric) for metric in declared())


def test_the_table_is_what_the_operator_shows() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), f"put this into docs/metrics.md:\n\n{table()}"
