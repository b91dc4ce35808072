"""The operator as a process with its own identity on a real API server. No pod runs here: it is about writes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from builders import body

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.operator_process import OperatorProcess
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import Kube, connect, object_path, resource_path
from specdecode.manifests.meter import meter_digest

NAME = "llama-70b"


class Cluster:
    """A namespace with an operator, and what a person does in it."""

    def __init__(self, plane: ControlPlane, kube: Kube, operator: OperatorProcess, namespace: str) -> None:
        self.plane, self.kube, self.operator, self.namespace = plane, kube, operator, namespace

    async def apply(self, **overrides: Any) -> None:
        wanted = body(**{"metadata.namespace": self.namespace} | overrides)
        wanted["metadata"].pop("uid")
        wanted["metadata"].pop("generation")
        await self.plane.apply(yaml.safe_dump(wanted))

    async def status(self) -> dict[str, Any]:
        return dict((await self.kube.get(resource_path(self.namespace, NAME))).get("status") or {})

    async def conditions(self) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in (await self.status()).get("conditions", [])}

    async def message(self, kind: str) -> str:
        found = [c["message"] for c in (await self.status()).get("conditions", []) if c["type"] == kind]
        return str(found[0]) if found else ""

    async def deployment(self, name: str = NAME) -> dict[str, Any] | None:
        return await self.kube.find(object_path("apps/v1", "deployments", self.namespace, name))

    async def replicas(self) -> tuple[int | None, int | None]:
        """That the main and the control arm are asked for."""
        arms = [await self.deployment(name) for name in (NAME, f"{NAME}-control")]
        main, control = (None if arm is None else arm["spec"]["replicas"] for arm in arms)
        return main, control

    def writes(self) -> list[str]:
        """What the operator wrote, from the audit log of the API server."""
        entries = [json.loads(line) for line in self.plane.audit_log.read_text().splitlines()]
        identity = f"system:serviceaccount:{self.namespace}:specdecode-operator"
        return [
            f"{e['verb']} {e['objectRef']['resource']}/{e['objectRef'].get('subresource', '')}"
            for e in entries
            if e["user"].get("username") == identity
        ]


async def eventually(probe: Callable[[], Awaitable[Any]], *, seconds: float = 20) -> Any:
    """The first true answer of `probe`."""
    end = asyncio.get_running_loop().time() + seconds
    while not (answer := await probe()):
        assert asyncio.get_running_loop().time() < end, f"not within {seconds} s; last answer: {answer}"
        await asyncio.sleep(0.2)
    return answer


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(plane: ControlPlane, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    namespace = f"op-{abs(hash(request.node.name)) % 10**8}"
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()
    kubeconfig = await identity(plane, namespace)
    operator = OperatorProcess(tmp_path, kubeconfig, "http://127.0.0.1:9", namespace)
    await operator.start()
    try:
        async with connect(str(plane.kubeconfig)) as kube:
            yield Cluster(plane, kube, operator, namespace)
    finally:
        await operator.stop()
        sys.stdout.write(operator.process.log_tail(30))


def condition(cluster: Cluster, kind: str, *answer: str) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return (await cluster.conditions()).get(kind) == answer

    return probe


async def test_a_resource_becomes_a_deployment_and_a_service_that_it_owns(cluster: Cluster) -> None:
    await cluster.apply()
    deployment = await eventually(cluster.deployment)
    assert deployment["metadata"]["ownerReferences"][0]["kind"] == "SpecDecodeDeployment"
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    await eventually(condition(cluster, "Planned", "True", "Fits"))
    await eventually(condition(cluster, "Ready", "False", "NoReadyReplica"))


async def test_a_converged_resource_costs_no_write(cluster: Cluster) -> None:
    await cluster.apply()
    await eventually(cluster.deployment)
    await asyncio.sleep(6)
    before = cluster.writes()
    await asyncio.sleep(10)
    assert cluster.writes() == before
    assert sorted(set(before)) == [
        "patch deployments/",
        "patch services/",
        "patch specdecodedeployments/status",
    ]


async def test_drift_is_taken_back_and_what_is_deleted_comes_back(cluster: Cluster) -> None:
    await cluster.apply()
    first = await eventually(cluster.deployment)
    in_namespace = f"--namespace={cluster.namespace}"
    await cluster.plane.kubectl("set", "image", f"deployment/{NAME}", "vllm=vllm/vllm-openai:v0.1.0", in_namespace)

    async def image_is_back() -> bool:
        live = await cluster.deployment()
        return live is not None and live["spec"]["template"]["spec"]["containers"][0]["image"].endswith("v0.32.0")

    await eventually(image_is_back)
    await cluster.plane.kubectl("delete", "service", NAME, in_namespace)
    await eventually(lambda: cluster.kube.find(object_path("v1", "services", cluster.namespace, NAME)))
    await cluster.plane.kubectl("delete", "deployment", NAME, in_namespace)

    async def is_another() -> bool:
        live = await cluster.deployment()
        return live is not None and live["metadata"]["uid"] != first["metadata"]["uid"]

    await eventually(is_another)


async def test_annotations_of_others_and_replicas_left_to_an_autoscaler_are_not_touched(cluster: Cluster) -> None:
    wanted = body(**{"metadata.namespace": cluster.namespace})
    del wanted["spec"]["replicas"], wanted["metadata"]["uid"], wanted["metadata"]["generation"]
    await cluster.plane.apply(yaml.safe_dump(wanted))
    await eventually(cluster.deployment)
    in_namespace = f"--namespace={cluster.namespace}"
    await cluster.plane.kubectl("scale", f"deployment/{NAME}", "--replicas=3", in_namespace)
    await cluster.plane.kubectl("annotate", f"deployment/{NAME}", "team=search", in_namespace)
    await asyncio.sleep(6)
    live = await cluster.deployment()
    assert live is not None
    assert live["spec"]["replicas"] == 3
    assert live["metadata"]["annotations"]["team"] == "search"


async def test_the_scale_subresource_sets_the_replicas(cluster: Cluster) -> None:
    await cluster.apply()
    await eventually(cluster.deployment)
    await cluster.plane.kubectl("scale", f"sdd/{NAME}", "--replicas=1", f"--namespace={cluster.namespace}")

    async def is_scaled() -> bool:
        live = await cluster.deployment()
        return live is not None and live["spec"]["replicas"] == 1

    await eventually(is_scaled)


async def test_a_deployment_of_the_same_name_that_is_not_ours_is_never_touched(cluster: Cluster) -> None:
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": cluster.namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "c", "image": "theirs:1"}]},
            },
        },
    }
    await cluster.plane.apply(yaml.safe_dump(foreign))
    await cluster.apply()
    await eventually(condition(cluster, "Stalled", "True", "OwnershipConflict"))
    assert "belongs to somebody else" in await cluster.message("Stalled")
    assert (await cluster.conditions())["Ready"][0] == "False"
    live = await cluster.deployment()
    assert live is not None
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "theirs:1"
    await cluster.plane.kubectl("delete", "deployment", NAME, f"--namespace={cluster.namespace}")
    await eventually(condition(cluster, "Stalled", "False", "Progressing"))


@pytest.mark.parametrize(
    ("overrides", "reason", "words"),
    [
        pytest.param(
            {"spec.model.name": "acme/unheard-of"}, "ModelFactsMissing", "spec.model.facts", id="missing model facts"
        ),
        pytest.param(
            {"spec.engine.image": "vllm/vllm-openai:v0.12.0"},
            "MethodNotInVersion",
            "spec.speculation.method",
            id="draft_model on an engine that refuses it",
        ),
        pytest.param(
            {"spec.speculation.draft.name": "Qwen/Qwen2.5-0.5B-Instruct"},
            "VocabularyMismatch",
            "vocabulary",
            id="another vocabulary",
        ),
        pytest.param(
            {"spec.engine.extraArgs": [{"name": "no-such-flag"}]},
            "ArgumentUnknown",
            "no-such-flag",
            id="an argument the version does not know",
        ),
        pytest.param({"spec.accelerator.count": 1}, "DoesNotFit", "short by", id="it does not fit"),
    ],
)
async def test_what_only_the_plan_can_know_is_a_condition_and_leaves_what_runs_alone(
    cluster: Cluster, overrides: dict[str, Any], reason: str, words: str
) -> None:
    await cluster.apply()
    before = await eventually(cluster.deployment)
    await cluster.apply(**overrides)
    await eventually(condition(cluster, "Planned", "False", reason))
    assert words in await cluster.message("Planned")
    assert (await cluster.conditions())["Stalled"] == ("True", reason)
    await asyncio.sleep(4)
    after = await cluster.deployment()
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_a_lost_status_is_rebuilt_from_the_deployment(cluster: Cluster) -> None:
    await cluster.apply()
    await eventually(condition(cluster, "Planned", "True", "Fits"))
    await eventually(cluster.deployment)
    spec_hash = (await cluster.status())["specHash"]
    await cluster.operator.stop()
    # As after a restore from a backup: the Deployment still says that it was rolled back, the resource says nothing.
    record = {
        "specdecode.io/mode": "Off",
        "specdecode.io/rolled-back-for": spec_hash,
        "specdecode.io/rolled-back-from": "QuantizedDraft",
        "specdecode.io/reason": "AcceptanceCollapsed",
    }
    words = [f"{key}={value}" for key, value in record.items()]
    in_namespace = f"--namespace={cluster.namespace}"
    await cluster.plane.kubectl("annotate", "--overwrite", f"deployment/{NAME}", *words, in_namespace)
    await cluster.plane.kubectl(
        "patch",
        "sdd",
        NAME,
        in_namespace,
        "--subresource=status",
        "--type=json",
        '--patch=[{"op": "replace", "path": "/status", "value": {}}]',
    )
    await cluster.operator.start()

    async def is_rolled_back() -> bool:
        rollback = (await cluster.status()).get("rollback") or {}
        return (rollback.get("to"), rollback.get("reason")) == ("Off", "AcceptanceCollapsed")

    await eventually(is_rolled_back)


def counted(cluster: Cluster, *counts: int | None) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return await cluster.replicas() == counts

    return probe


CONTROL = {"spec.guard": {"baseline": {"controlReplicas": 1}}}


async def test_a_control_arm_comes_is_kept_and_goes_with_the_wish_for_it(cluster: Cluster) -> None:
    await cluster.apply(**CONTROL)
    await eventually(counted(cluster, 1, 1))
    in_namespace = f"--namespace={cluster.namespace}"
    await cluster.plane.kubectl("delete", "deployment", f"{NAME}-control", in_namespace)
    await eventually(counted(cluster, 1, 1))
    await cluster.plane.kubectl("annotate", "sdd", NAME, "specdecode.io/force-mode=Off", in_namespace)
    await eventually(counted(cluster, 2, None))
    await cluster.plane.kubectl("annotate", "sdd", NAME, "specdecode.io/force-mode-", in_namespace)
    await eventually(counted(cluster, 1, 1))
    await cluster.apply(**CONTROL, **{"spec.replicas": 1})
    await eventually(counted(cluster, 1, None))
    assert "delete deployments/" in cluster.writes()


async def test_the_meter_comes_back_when_it_is_deleted_and_goes_when_it_is_not_wanted(cluster: Cluster) -> None:
    """With no replica the Deployment is always rolled out: the ConfigMap goes as soon as nothing mounts it."""
    await cluster.apply(**{"spec.guard": {"meter": True}, "spec.replicas": 0})
    meter = object_path("v1", "configmaps", cluster.namespace, f"{NAME}-meter-{meter_digest()}")
    first = await eventually(lambda: cluster.kube.find(meter))
    assert first["immutable"] is True
    await eventually(cluster.deployment)
    await cluster.kube.delete(first)

    async def is_another() -> bool:
        live = await cluster.kube.find(meter)
        return live is not None and live["metadata"]["uid"] != first["metadata"]["uid"]

    async def is_gone() -> bool:
        return await cluster.kube.find(meter) is None

    await eventually(is_another)
    await cluster.apply(**{"spec.guard": {"meter": False}, "spec.replicas": 0})
    await eventually(is_gone)
    assert "delete configmaps/" in cluster.writes()


async def test_a_deployment_of_the_control_arms_name_that_is_not_ours_is_never_touched(cluster: Cluster) -> None:
    name = f"{NAME}-control"
    in_namespace = f"--namespace={cluster.namespace}"
    await cluster.plane.kubectl("create", "deployment", name, "--image=theirs:1", in_namespace)
    await cluster.apply(**CONTROL)
    await eventually(counted(cluster, 2, 1))

    async def is_said() -> bool:
        return [finding["reason"] for finding in (await cluster.status()).get("findings", [])] == ["ControlNotRunning"]

    await eventually(is_said)
    await asyncio.sleep(4)
    theirs = await cluster.deployment(name)
    assert theirs is not None
    assert theirs["spec"]["template"]["spec"]["containers"][0]["image"] == "theirs:1"
    assert (await cluster.conditions())["Stalled"] == ("False", "Progressing")


async def test_a_deleted_resource_takes_its_children_with_it_and_nothing_hangs(cluster: Cluster) -> None:
    await cluster.apply()
    await eventually(cluster.deployment)
    await cluster.operator.stop()
    await cluster.plane.kubectl("delete", "sdd", NAME, f"--namespace={cluster.namespace}", "--timeout=10s")

    async def is_gone() -> bool:
        return await cluster.deployment() is None

    await eventually(is_gone)


async def test_it_answers_for_its_health_and_stops_when_told(cluster: Cluster) -> None:
    await cluster.apply()
    await eventually(cluster.deployment)
    assert await cluster.operator.metric("specdecode_resources") <= 1
    await eventually(lambda: cluster.operator.metric("specdecode_resources"))
    assert await cluster.operator.metric("specdecode_effective", mode="QuantizedDraft") == 1
    await cluster.operator.stop()
    assert cluster.operator.process.returncode == 0


async def test_a_missing_crd_is_said_at_once(plane: ControlPlane, tmp_path: Path) -> None:
    await plane.kubectl("delete", "crd", "specdecodedeployments.specdecode.io", "--ignore-not-found")
    operator = OperatorProcess(tmp_path, plane.kubeconfig, "http://127.0.0.1:9", "default")
    await operator.start()
    assert await asyncio.wait_for(operator.process.wait(), 20) == 3
    assert "the CRD specdecodedeployments.specdecode.io is not installed" in operator.process.log_tail()
