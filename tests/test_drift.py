"""Whether a live object already says what we would say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.drift import covers, is_as_wanted

JSON = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)

OURS, THEIRS = {"name": "vllm", "image": "a"}, {"name": "proxy", "image": "c"}
MOUNT = {"name": "home", "mountPath": "/a"}


@pytest.mark.parametrize(
    ("live", "wanted", "is_covered"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="what others added does not matter"),
        pytest.param({"a": 2}, {"a": 1}, False, id="a changed value is drift"),
        pytest.param({"b": 2}, {"a": 1}, False, id="a missing field is drift"),
        pytest.param({}, {"a": {}, "b": [], "c": None}, True, id="the server drops what is empty"),
        pytest.param({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True, id="items of a list are compared one by one"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="a longer list is drift: somebody added an argument"),
        pytest.param([{"x": 1}, {"x": 2}], [{"x": 1}], False, id="a longer list that is not merged is drift"),
        pytest.param([OURS, THEIRS], [OURS], True, id="somebody added a container: it stays, whatever we apply"),
        pytest.param([THEIRS, OURS], [OURS], True, id="and may stand before ours"),
        pytest.param([THEIRS], [OURS], False, id="ours is gone"),
        pytest.param([OURS | {"image": "b"}, THEIRS], [OURS], False, id="ours was changed"),
        pytest.param(
            [MOUNT, MOUNT | {"mountPath": "/b"}], [MOUNT | {"mountPath": "/b"}], True, id="mounts go by their path"
        ),
        pytest.param([MOUNT | {"mountPath": "/c"}], [MOUNT], False, id="a mount that was moved is drift"),
        pytest.param({"a": "ab"}, {"a": ["a", "b"]}, False, id="a string is no list"),
        pytest.param({"a": 1}, {"a": {"b": 1}}, False, id="a number is no object"),
        pytest.param({"a": 1}, {"a": [1]}, False, id="a number is no list"),
    ],
)
def test_covers(live: Any, wanted: Any, is_covered: bool) -> None:  # noqa: FBT001 - a column of the table
    assert covers(live, wanted) is is_covered


@given(JSON)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(value, value)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.text(max_size=3), JSON)
def test_adding_a_field_to_the_live_object_is_no_drift(wanted: dict[str, Any], key: str, value: Any) -> None:
    assert covers({key: value} | wanted, wanted)


MAP: dict[str, Any] = {"kind": "ConfigMap", "data": {"a": "1"}}
SERVICE: dict[str, Any] = {
    "kind": "Service",
    "metadata": {"name": "chat", "labels": {"app.kubernetes.io/name": "vllm"}},
    "spec": {"type": "ClusterIP", "selector": {"app": "chat"}, "ports": [{"name": "http", "port": 8000}]},
}


def with_spec(**changes: Any) -> dict[str, Any]:
    return SERVICE | {"spec": {**SERVICE["spec"], **changes}}


@pytest.mark.parametrize(
    ("live", "wanted", "is_as_it_should_be"),
    [
        pytest.param(SERVICE | {"status": {}}, SERVICE, True, id="what the server says of it does not matter"),
        pytest.param(with_spec(selector={"app": "chat", "team": "a"}), SERVICE, False, id="a selector of two labels"),
        pytest.param(with_spec(selector={"app": "other"}), SERVICE, False, id="another selector"),
        pytest.param(with_spec(clusterIP="10.0.0.1"), SERVICE, True, id="what the server chose"),
        pytest.param(
            {"kind": "ConfigMap", "data": {"a": "1", "b": "2"}},
            {"kind": "ConfigMap", "data": {"a": "1"}},
            True,
            id="another key",
        ),
        pytest.param(
            {"kind": "ConfigMap", "data": {"a": "2"}},
            {"kind": "ConfigMap", "data": {"a": "1"}},
            False,
            id="another value",
        ),
    ],
)
def test_what_is_as_it_should_be_needs_no_write(
    live: dict[str, Any], wanted: dict[str, Any], *, is_as_it_should_be: bool
) -> None:
    assert is_as_wanted(live, wanted) is is_as_it_should_be
