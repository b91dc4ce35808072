"""`kubectl specdecode` on the real API server: as a person who may only read, and as one who may also annotate."""

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from cli.stored import CASES

from rehearsal.control_plane import ControlPlane
from rehearsal.processes import Answer, run
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import connect

NAMESPACE = "plugin"
STORED = {"chat": "rolled-back-helped", "chat-eu": "healthy", "summaries": "paused"}
PERSONS = f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader, namespace: {NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {NAMESPACE}}}
rules:
- {{apiGroups: [specdecode.io], resources: [specdecodedeployments], verbs: [get, list]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {NAMESPACE}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {NAMESPACE}}}]
"""
Plugin = Callable[..., Awaitable[Answer]]


def resource(name: str) -> dict[str, object]:
    """As a person would apply it."""
    body = CASES[STORED[name]]().body
    annotations = body["metadata"]["annotations"]
    placed = {"name": name, "namespace": NAMESPACE, "annotations": annotations}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": placed, "spec": body["spec"]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reader(plane: ControlPlane) -> AsyncIterator[Path]:
    """The kubeconfig of somebody who may only read, with three deployments to look at."""
    await plane.kubectl("create", "namespace", NAMESPACE)
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()
    await plane.apply(yaml.safe_dump_all([*yaml.safe_load_all(PERSONS), *map(resource, STORED)]))
    async with connect(str(plane.kubeconfig)) as kube:
        for name, case in STORED.items():
            stored = json.loads(await plane.kubectl("get", "sdd", name, "-n", NAMESPACE, "-o", "json"))
            status = CASES[case]().status | {"observedGeneration": stored["metadata"]["generation"]}
            metadata = {key: stored["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
            body = {"apiVersion": stored["apiVersion"], "kind": stored["kind"], "metadata": metadata}
            await kube.apply_status(body | {"status": status})
    yield await plane.kubeconfig_for(NAMESPACE, "reader")
    await plane.kubectl("delete", "sdd", "--all", "-n", NAMESPACE)


@pytest.fixture
def plugin(plane: ControlPlane, reader: Path) -> Plugin:
    """kubectl, which finds the plugin beside the interpreter of these tests."""

    async def ask(*words: str, kubeconfig: Path = reader, stdin: str | None = None) -> Answer:
        path = os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"))
        environment = {"PATH": path, "HOME": str(plane.directory), "KUBECONFIG": str(kubeconfig)}
        command = [plane.binaries.kubectl, "specdecode", *words]
        return await run(command, environment=environment, stdin=stdin, timeout_seconds=30)

    return ask


async def test_one_screen_for_whoever_may_only_read(plugin: Plugin) -> None:
    answer = await plugin("status", "sdd/chat")
    assert answer.returncode == 0, answer.errors
    assert "rolled back from QuantizedDraft to Off" in answer.output
    assert "it helped: mean TPOT 28.3ms -> 18.7ms at the same load" in " ".join(answer.output.split())
    assert f"kubectl specdecode retry chat -n {NAMESPACE}" in answer.output


async def test_the_decision_is_stored_with_its_rules(plugin: Plugin) -> None:
    """What the operator writes passes the real schema, and is read back whole."""
    answer = await plugin("explain", "chat", "-o", "json")
    rules = {rule["rule"]: rule for rule in json.loads(answer.output)["step"]["rules"]}
    assert rules["AcceptanceCollapsed"]["outcome"] == "Acts"
    assert "limit 1.1" in rules["AcceptanceCollapsed"]["saw"]


async def test_all_of_the_namespace(plugin: Plugin) -> None:
    answer = await plugin("status")
    assert all(name in answer.output for name in STORED)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["status", "chat-us"], "there is: chat-eu, chat. Another namespace: -n", id="not found"),
        pytest.param(["status", "-A"], "you may not list specdecodedeployments.specdecode.io in the whole", id="all"),
        pytest.param(["pause", "chat"], "you may read chat but not change it", id="forbidden"),
        pytest.param(["retry", "chat", "--dry-run=server"], "ask for the verb patch", id="not even a dry run"),
    ],
)
async def test_what_is_refused_is_one_line(plugin: Plugin, words: list[str], said: str) -> None:
    answer = await plugin(*words)
    assert answer.returncode == 1
    assert said in answer.errors
    assert answer.errors.count("\n") == 1


async def annotations(plane: ControlPlane, name: str) -> tuple[dict[str, str], int]:
    metadata = json.loads(await plane.kubectl("get", "sdd", name, "-n", NAMESPACE, "-o", "json"))["metadata"]
    return metadata.get("annotations", {}), metadata["generation"]


async def test_only_annotations_are_written(plane: ControlPlane, plugin: Plugin) -> None:
    before, generation = await annotations(plane, "chat")
    admin, place = plane.kubeconfig, ("-n", NAMESPACE)
    tried = await plugin("force", "chat", "Off", "--dry-run=server", *place, kubeconfig=admin)
    assert tried.returncode == 0, tried.errors
    assert (await annotations(plane, "chat")) == (before, generation)
    assert (await plugin("retry", "chat", *place, kubeconfig=admin)).returncode == 0
    assert (await plugin("pause", "chat", *place, kubeconfig=admin)).returncode == 0
    after, same = await annotations(plane, "chat")
    assert set(after) - set(before) == {"specdecode.io/retry", "specdecode.io/paused"}
    assert same == generation
    assert (await plugin("resume", "chat", *place, kubeconfig=admin)).returncode == 0
    assert "specdecode.io/paused" not in (await annotations(plane, "chat"))[0]


async def test_a_change_is_held_against_what_runs(plugin: Plugin) -> None:
    """The API server's defaults are no differences."""
    same = resource("chat-eu")
    assert (await plugin("diff", "-f", "-", stdin=yaml.safe_dump(same))).returncode == 0
    changed = yaml.safe_load(yaml.safe_dump(same))
    changed["spec"]["engine"]["maxModelLen"] = 16384
    answer = await plugin("diff", "-f", "-", stdin=yaml.safe_dump(changed))
    assert answer.returncode == 1, answer.errors
    assert "spec.engine.maxModelLen" in answer.output
    assert "2 pods restart one after the other" in " ".join(answer.output.split())
