"""Other thresholds for the same resource."""

import pytest
from builders import resource

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.backtest.against import FIELDS, changed_resource, read_changes


@pytest.mark.parametrize(
    ("texts", "path", "value"),
    [
        pytest.param(["guard.acceptance.offBelowPercent=40"], "acceptance.offBelowPercent", 40, id="a number"),
        pytest.param(["spec.guard.window = 2m"], "window", "2m", id="a duration, with the path of the spec"),
        pytest.param(["guard.retry.after=1h"], "retry.after", "1h", id="a part that the resource leaves out"),
        pytest.param(["guard.qualify=true"], "qualify", True, id="a switch"),
        pytest.param(["guard.latency.tpotP99=40ms"], "latency.tpotP99", "40ms", id="an alias"),
    ],
)
def test_a_changed_field(texts: list[str], path: str, value: object) -> None:
    changes = read_changes(texts)
    assert not isinstance(changes, Problem)
    changed = changed_resource(resource(), changes)
    assert isinstance(changed, SpecDecodeDeployment)
    found = changed.spec.guard.model_dump(by_alias=True)
    for part in path.split("."):
        found = found[part]
    assert found == value
    assert changed.spec_hash == resource().spec_hash


def test_several_are_changed_together() -> None:
    changes = read_changes(["guard.acceptance.offBelowPercent=70", "guard.acceptance.reviewBelowPercent=80"])
    assert not isinstance(changes, Problem)
    assert isinstance(changed_resource(resource(), changes), SpecDecodeDeployment)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("guard.window", "must be FIELD=VALUE", id="no value"),
        pytest.param("guard.window=", "must be FIELD=VALUE", id="an empty value"),
        pytest.param("guard.windows=5m", "choose one of guard.action", id="no such field"),
        pytest.param("replicas=5", "is no field that can be held against history", id="what ran cannot be changed"),
    ],
)
def test_what_cannot_be_changed(text: str, sentence: str) -> None:
    found = read_changes([text])
    assert isinstance(found, Problem)
    assert sentence in str(found)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        pytest.param(
            "guard.acceptance.offBelowPercent", "80", "must not exceed reviewBelowPercent", id="contradiction"
        ),
        pytest.param("guard.daysPerFalseStep", "0", "spec.guard.daysPerFalseStep is 0", id="out of range"),
        pytest.param("guard.window", "soon", "spec.guard.window", id="no duration"),
    ],
)
def test_values_are_checked_as_in_a_spec(field: str, value: str, sentence: str) -> None:
    found = changed_resource(resource(), {field: value})
    assert isinstance(found, tuple)
    assert sentence in "; ".join(map(str, found))


def test_every_threshold_can_be_changed() -> None:
    assert {"guard.daysPerFalseStep", "guard.retry.maxAttempts", "guard.latency.maxRegressionPercent"} <= set(FIELDS)
