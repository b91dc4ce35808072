"""The actions in Argo CD's user interface: what is offered when, and what the API server gets."""

import re
from typing import Any

import pytest
from gitops import argocd
from gitops.states import Walk, state

from specdecode.api.status import ConditionType


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        pytest.param("new", ["pause"], id="new: there is only pause"),
        pytest.param("serving", ["pause", "turn-off"], id="speculating: pause, or turn off"),
        pytest.param("no-speculation-requested", ["pause"], id="there is nothing to turn off"),
        pytest.param("rolled-back", ["pause", "retry"], id="rolled back to Off: try again"),
        pytest.param("rolled-back-to-ngram", ["pause", "retry", "turn-off"], id="it still speculates"),
        pytest.param("paused", ["resume"], id="paused: resume comes first"),
        pytest.param("paused-rolled-back", ["resume"], id="a retry would have no effect while it is paused"),
        pytest.param("forced-off", ["clear-force", "pause"], id="forced: let the operator choose again"),
        pytest.param("forced-and-paused", ["clear-force", "resume"], id="forced and paused"),
        pytest.param("does-not-fit", ["pause"], id="nothing runs"),
    ],
)
def test_what_is_offered(name: str, actions: list[str]) -> None:
    assert argocd.enabled(state(name)) == actions


def test_every_action_is_listed_and_has_a_script() -> None:
    assert [action["name"] for action in argocd.offered(state("serving"))] == argocd.ACTIONS


def patched(body: dict[str, Any], action: str) -> dict[str, str]:
    """The annotations after the API server has taken the patch, which holds nothing else."""
    patch = argocd.patch_of(action, body)
    assert list(patch) == ["metadata"]
    assert list(patch["metadata"]) == ["annotations"]
    change = patch["metadata"]["annotations"]
    kept = body["metadata"].get("annotations", {})
    return {} if change is None else {key: text for key, text in (kept | change).items() if text is not None}


TRACKING = {"argocd.argoproj.io/tracking-id": "serving:specdecode.io/SpecDecodeDeployment:serving/llama-70b"}


@pytest.mark.parametrize("others", [pytest.param({}, id="alone"), pytest.param(TRACKING, id="beside others")])
@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        pytest.param("pause", {}, {"specdecode.io/paused": "true"}, id="pause"),
        pytest.param("resume", {"specdecode.io/paused": "true"}, {}, id="resume"),
        pytest.param("turn-off", {}, {"specdecode.io/force-mode": "Off"}, id="turn-off"),
        pytest.param("clear-force", {"specdecode.io/force-mode": "Draft"}, {}, id="clear-force"),
    ],
)
def test_what_an_action_changes(
    action: str, before: dict[str, str], after: dict[str, str], others: dict[str, str]
) -> None:
    body = state("serving")
    if before | others:
        body["metadata"]["annotations"] = before | others
    assert patched(body, action) == after | others


@pytest.mark.parametrize("action", ["resume", "clear-force"])
def test_taking_back_what_is_not_there_changes_nothing(action: str) -> None:
    assert argocd.patch_of(action, state("serving")) == {}


def test_a_retry_is_a_new_value_that_says_when() -> None:
    after = patched(state("rolled-back"), "retry")
    assert list(after) == ["specdecode.io/retry"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", after["specdecode.io/retry"])


def clicked(walk: Walk, action: str) -> Walk:
    assert action in argocd.enabled(walk.body)
    walk.body["metadata"]["annotations"] = patched(walk.body, action)
    return walk.look()


def answer(walk: Walk, kind: ConditionType) -> tuple[str, str]:
    found = {condition["type"]: condition for condition in walk.body["status"]["conditions"]}
    return found[kind]["status"], found[kind]["reason"]


def test_the_operator_does_what_was_clicked() -> None:
    walk = Walk(**{"spec.speculation.fallbacks": []}).rolled_back()
    assert walk.mode == "Off"
    assert clicked(walk, "retry").mode == "QuantizedDraft"
    walk.applied().look()
    assert clicked(walk, "turn-off").mode == "Off"
    walk.applied().look()
    assert answer(walk, ConditionType.SPECULATION_ACTIVE) == ("False", "Forced")
    assert clicked(walk, "clear-force").mode == "QuantizedDraft"
    walk.applied().look()
    assert answer(clicked(walk, "pause"), ConditionType.PAUSED) == ("True", "Annotation")
    assert argocd.health(walk.body)[0] == "Suspended"
    assert answer(clicked(walk, "resume"), ConditionType.PAUSED) == ("False", "NotPaused")
    assert argocd.health(walk.body)[0] == "Healthy"
