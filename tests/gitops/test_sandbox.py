"""The sandbox of the tests refuses what Argo CD's refuses: a script that needs more would pass here and fail there."""

import lupa.lua51
import pytest
from gitops import argocd

BODY = {"metadata": {"name": "chat"}, "spec": {"replicas": 2}}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("return {os.date()}", id="os is not global"),
        pytest.param('return {string.format("%d", 1)}', id="there is no string library"),
        pytest.param('return {("a"):upper()}', id="strings have no methods"),
        pytest.param("return {math.floor(1.5)}", id="there is no math library"),
        pytest.param('return {require("io")}', id="io cannot be had"),
        pytest.param('return {require("os").execute("true")}', id="nothing can be executed"),
        pytest.param('return {python.eval("1")}', id="the host is out of reach"),
        pytest.param("while true do end", id="an endless loop ends"),
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(lupa.lua51.LuaError):
        argocd.run(text, BODY)


def test_what_is_there() -> None:
    text = 'return {date = require("os").date("!%Y-%m-%dT%XZ"), replicas = obj.spec.replicas, kind = type(obj)}'
    found = argocd.run(text, BODY)
    assert found["date"].startswith("20")
    assert len(found["date"]) == len("2026-11-22T12:00:00Z")
    assert (found["replicas"], found["kind"]) == (2, "table")


def test_an_emptied_map_comes_back() -> None:
    """Why the actions that remove an annotation remove the map with it."""
    body = {"metadata": {"annotations": {"a": "b"}}}
    emptied = argocd.run('obj.metadata.annotations["a"] = nil return obj', body)
    assert emptied == {"metadata": {"annotations": []}}
    assert argocd.merge_patch(body, argocd._cleaned(emptied, body)) == {}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        pytest.param({"a": 1}, {"a": 1}, {}, id="nothing changed"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}, id="a key is gone"),
        pytest.param({"a": {"b": 1}}, {}, {"a": None}, id="a map is gone"),
        pytest.param({}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="a map is new"),
        pytest.param({"a": [1]}, {"a": [2]}, {"a": [2]}, id="lists are replaced"),
    ],
)
def test_a_merge_patch(old: dict[str, object], new: dict[str, object], patch: dict[str, object]) -> None:
    assert argocd.merge_patch(old, new) == patch
