"""The customization's own tests, laid out as in Argo CD's resource_customizations, so that they can be sent there.

The resources in them are what the core writes; `UPDATE_GOLDEN=1 pytest tests/gitops` writes all of them anew.
"""

import os
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from gitops import argocd
from gitops.states import state

HEALTH_CASES = (
    *("new", "behind", "starting", "serving", "metrics-missing", "rolled-back", "forced-off"),
    *("paused", "paused-and-down", "does-not-fit", "does-not-fit-old-serves", "does-not-start"),
)
DISCOVERY_CASES = ("serving", "rolled-back", "paused", "forced-off")
ACTION_CASES = {
    "retry": ("rolled-back", "retried"),
    "pause": ("serving", "paused"),
    "resume": ("paused", "resumed"),
    "turn-off": ("serving", "turned-off"),
    "clear-force": ("forced-off", "force-cleared"),
}
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
STATUS = ("observedGeneration", "specHash", "mode", "replicas", "readyReplicas", "rollback", "conditions")
"""The part of status that anything here reads; the rest is long and changes with the plan."""
ROLLBACK = ("from", "to", "reason", "message", "at", "specHash", "attempts")
SOMETIME = "0001-01-01T00:00:00Z"
"""What the time of a retry is compared as; Argo CD's own tests normalise such annotations the same way."""


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and nothing as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def dumped(value: Any) -> str:
    """YAML as a person would write it."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def stored(name: str) -> dict[str, Any]:
    """A state as it is kept in a file."""
    body = state(name)
    metadata = {key: value for key, value in body["metadata"].items() if key != "uid"}
    kept = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": body["spec"]}
    if "status" not in body:
        return kept
    status = {key: body["status"][key] for key in STATUS if key in body["status"]}
    if "rollback" in status:
        status["rollback"] = {key: status["rollback"][key] for key in ROLLBACK}
    return kept | {"status": status}


def normalised(body: Mapping[str, Any]) -> dict[str, Any]:
    """A resource in which a retry was asked for sometime."""
    annotations = body["metadata"].get("annotations") or {}
    if "specdecode.io/retry" not in annotations:
        return dict(body)
    annotations = annotations | {"specdecode.io/retry": SOMETIME}
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def golden(path: str, wanted: Any) -> Any:
    """What the file has, after writing it when that is asked for."""
    file = argocd.CUSTOMIZATION / path
    if UPDATE:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dumped(wanted), encoding="utf-8")
    return argocd.load(path)


@pytest.mark.parametrize("name", HEALTH_CASES)
def test_a_resource_in_the_test_data_is_what_the_operator_writes(name: str) -> None:
    assert golden(f"testdata/{name}.yaml", stored(name)) == stored(name)


def test_health_tests() -> None:
    wanted = [
        {
            "healthStatus": dict(zip(("status", "message"), argocd.health(stored(name)), strict=True)),
            "inputPath": f"testdata/{name}.yaml",
        }
        for name in HEALTH_CASES
    ]
    tests = golden("health_test.yaml", {"tests": wanted})["tests"]
    assert [test["inputPath"] for test in tests] == [f"testdata/{name}.yaml" for name in HEALTH_CASES]
    for test in tests:
        expected = test["healthStatus"]
        assert argocd.health(argocd.load(test["inputPath"])) == (expected["status"], expected["message"])


@pytest.mark.parametrize("action", ACTION_CASES)
def test_a_result_in_the_test_data_is_what_the_action_returns(action: str) -> None:
    before, after = ACTION_CASES[action]
    wanted = normalised(argocd.act(action, stored(before)))
    assert golden(f"actions/testdata/{after}.yaml", wanted) == wanted


def test_action_tests() -> None:
    discovery = [
        {"inputPath": f"../testdata/{name}.yaml", "result": argocd.offered(stored(name))} for name in DISCOVERY_CASES
    ]
    actions = [
        {"action": name, "inputPath": f"../testdata/{before}.yaml", "expectedOutputPath": f"testdata/{after}.yaml"}
        for name, (before, after) in ACTION_CASES.items()
    ]
    tests = golden("actions/action_test.yaml", {"discoveryTests": discovery, "actionTests": actions})
    for test in tests["discoveryTests"]:
        assert argocd.offered(argocd.load(f"actions/{test['inputPath']}")) == test["result"]
    assert {test["action"] for test in tests["actionTests"]} == set(argocd.ACTIONS)
    for test in tests["actionTests"]:
        after = argocd.act(test["action"], argocd.load(f"actions/{test['inputPath']}"))
        assert normalised(after) == argocd.load(f"actions/{test['expectedOutputPath']}")


def test_every_file_of_the_test_data_is_used() -> None:
    used = {f"testdata/{name}.yaml" for name in HEALTH_CASES}
    used |= {f"actions/testdata/{after}.yaml" for _, after in ACTION_CASES.values()}
    found = {str(path.relative_to(argocd.CUSTOMIZATION)) for path in argocd.CUSTOMIZATION.rglob("testdata/*")}
    assert found == used
