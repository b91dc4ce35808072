"""The dashboards ask for what is there, in PromQL that is PromQL, and their JSON is what their source says."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from dashboards.expressions import grouped_by, selectors
from dashboards.shown import series

from rehearsal.dashboards.engine_series import edge_of
from rehearsal.dashboards.files import FOLDER, files
from rehearsal.dashboards.read import annotations, filled, legend_of, panels

NAMES = ("fleet.json", "deployment.json")
VARIABLES = {"namespace": "chat", "deployment": "llama", "window": "5m", "datasource": "prometheus"}
SHOWN = series()


def dashboard(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return parsed


def expressions() -> list[Any]:
    found = []
    for name in NAMES:
        for panel in panels(FOLDER / name, VARIABLES):
            found += [
                pytest.param(target.expression, id=f"{name}: {panel.title}, {place}")
                for place, target in enumerate(panel.targets)
            ]
        found += [
            pytest.param(expression, id=f"{name}: decisions") for expression in annotations(FOLDER / name, VARIABLES)
        ]
    return found


def test_the_json_is_what_its_source_says() -> None:
    for name, text in files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run `python -m rehearsal.dashboards`"
    assert {path.name for path in FOLDER.iterdir()} == set(files()) == set(NAMES)


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_series_that_are_shown_by_labels_that_they_have(expression: str) -> None:
    asked = selectors(expression)
    assert asked or expression == "vector(1)"
    for selector in asked:
        assert selector.name in SHOWN, f"nobody shows {selector.name}"
        assert selector.labels <= SHOWN[selector.name], (
            f"{selector.name} has no {selector.labels - SHOWN[selector.name]}"
        )
    for labels, below in grouped_by(expression):
        for name in below:
            assert labels <= SHOWN[name], f"{name} has no {labels - SHOWN[name]}"


def test_a_metric_that_nobody_shows_is_found() -> None:
    (asked,) = selectors('rate(vllm:no_such_thing_total{namespace="a"}[5m])')
    assert asked.name not in SHOWN
    assert asked.labels == {"namespace"}
    assert grouped_by("sum by (colour) (up)") == [({"colour"}, {"up"})]


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_imported_anywhere(name: str) -> None:
    made = dashboard(name)
    assert "id" not in made, "an id of one Grafana means nothing to another"
    assert made["uid"] == f"specdecode-{name.removesuffix('.json')}"
    sources = {json.dumps(panel["datasource"]) for panel in made["panels"] if "datasource" in panel}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([made["panels"], made["annotations"], made["templating"]])))
    known = {variable["name"] for variable in made["templating"]["list"]}
    assert used - {"__all"} <= known
    assert known <= used, "a variable that changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side(name: str) -> None:
    made = dashboard(name)["panels"]
    assert not [number for number, times in Counter(panel["id"] for panel in made).items() if times > 1]
    taken: Counter[tuple[int, int]] = Counter()
    for panel in made:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert max(taken.values()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_overrides_and_headings_name_what_the_queries_return(name: str) -> None:
    for panel in panels(FOLDER / name, VARIABLES):
        legends = {target.legend for target in panel.targets}
        free = any("{{" in legend for legend in legends)
        assert free or set(panel.overrides) <= legends, panel.title
        for target in panel.targets if panel.kind == "table" else ():
            kept = set().union(*(labels for labels, _ in grouped_by(target.expression)))
            assert {label for label, _ in panel.columns} - {"Value"} <= kept, panel.title


def test_quantiles_of_a_histogram_are_edges_and_never_interpolated() -> None:
    for name in NAMES:
        for panel in panels(FOLDER / name, VARIABLES):
            for target in panel.targets:
                if "histogram_quantile" in target.expression:
                    assert ">= bool" in target.expression, panel.title
    assert edge_of("h", 0.99, is_upper=True, matchers="").startswith("histogram_quantile(1, ")


def test_a_variable_that_is_not_given_is_noticed() -> None:
    assert filled("rate(x[$window]) ${namespace}", VARIABLES) == "rate(x[5m]) chat"
    with pytest.raises(KeyError):
        filled("$nobody", VARIABLES)
    assert legend_of("{{a}}/{{b}} now", {"a": "x"}) == "x/ now"
