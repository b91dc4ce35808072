"""The chart on a node: two replicas, of which one works. One replica's whole life is the story `install`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
import yaml
from builders import body

from rehearsal.chart import RELEASE, Chart
from rehearsal.control_plane import ControlPlane
from rehearsal.node import Node, PodView
from rehearsal.operator_pod import IMAGE, PROGRAM
from rehearsal.operator_process import OperatorPods
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import Kube, connect, object_path

HOME, WORK = "two-operators-system", "two-operators"
NAME = "llama-70b"
LEASE = object_path("coordination.k8s.io/v1", "leases", HOME, RELEASE)
DEPLOYMENT = object_path("apps/v1", "deployments", HOME, RELEASE)


@dataclass(frozen=True)
class Installed:
    """The chart with two replicas, and the node that runs them."""

    plane: ControlPlane
    kube: Kube
    node: Node
    pods: OperatorPods
    chart: Chart

    async def holder(self) -> str:
        """The pod that holds the Lease; a process says which of its pod's lives it is after the name."""
        lease = await self.kube.find(LEASE)
        identity = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
        return identity.partition("_")[0]

    async def is_available(self) -> bool:
        """Whether both replicas are ready, as the API server sees it, and as many as asked for."""
        status = (await self.kube.get(DEPLOYMENT)).get("status", {})
        return bool(status.get("readyReplicas") == status.get("replicas") == status.get("updatedReplicas") == 2)


def values(**changes: Any) -> dict[str, Any]:
    return {
        "replicas": 2,
        "watch": {"namespaces": [WORK]},
        "prometheus": {"url": "http://127.0.0.1:9"},
        "logFormat": "text",
        "nodeSelector": {"kubernetes.io/hostname": HOME},
    } | changes


async def eventually(probe: Callable[[], Awaitable[Any]], *, seconds: float = 30) -> Any:
    """The first true answer of `probe`."""
    end = asyncio.get_running_loop().time() + seconds
    while not (answer := await probe()):
        assert asyncio.get_running_loop().time() < end, f"not within {seconds} s; last answer: {answer}"
        await asyncio.sleep(0.2)
    return answer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installed(plane: ControlPlane, tmp_path_factory: Any) -> AsyncIterator[Installed]:
    directory: Path = tmp_path_factory.mktemp("install")
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.kubectl("create", "namespace", WORK)
    node = Node(kubeconfig=plane.kubeconfig, name=HOME, programs={IMAGE: PROGRAM}, directory=directory, compression=5.0)
    chart = Chart(plane, directory / "helm")
    async with node, connect(str(plane.kubeconfig)) as kube:
        await chart.install(HOME, values(crds={"install": False}))
        try:
            found = Installed(plane, kube, node, OperatorPods(node, directory, HOME), chart)
            await eventually(found.is_available)
            yield found
        finally:
            await chart.uninstall(HOME)
            await plane.kubectl("delete", "namespace", HOME, WORK, "--wait=false")


async def metric(pod: PodView, name: str) -> float:
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        text = (await client.get(f"http://{pod.ip}:8080/metrics")).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.split()[0].partition("{")[0] == name)


async def test_both_replicas_are_ready_and_one_of_them_leads(installed: Installed) -> None:
    holder = await eventually(installed.holder)
    leads = {pod.name: await metric(pod, "specdecode_leader") for pod in installed.pods.pods}
    assert len(leads) == 2
    assert leads.pop(holder) == 1
    assert list(leads.values()) == [0]


async def test_the_leader_s_pod_is_deleted_and_the_other_one_goes_on(installed: Installed) -> None:
    wanted = body(**{"metadata.namespace": WORK, "spec.replicas": 0})
    del wanted["metadata"]["uid"], wanted["metadata"]["generation"]
    await installed.plane.apply(yaml.safe_dump(wanted))
    child = object_path("apps/v1", "deployments", WORK, NAME)
    first = await eventually(lambda: installed.kube.find(child))
    leader = await installed.holder()
    await installed.plane.kubectl("delete", "pod", leader, f"--namespace={HOME}")
    await installed.kube.delete(first)

    async def is_another() -> bool:
        found = await installed.kube.find(child)
        return found is not None and found["metadata"]["uid"] != first["metadata"]["uid"]

    await eventually(is_another)
    assert await installed.holder() not in ("", leader)
    await eventually(installed.is_available)


async def test_an_upgrade_replaces_both_and_somebody_leads_all_the_time(installed: Installed) -> None:
    before = {pod.name for pod in installed.pods.pods}
    child = object_path("apps/v1", "deployments", WORK, NAME)
    uid = (await installed.kube.get(child))["metadata"]["uid"]
    least = 2

    async def is_replaced() -> bool:
        nonlocal least
        least = min(least, sum(pod.ready for pod in installed.pods.pods))
        names = {pod.name for pod in installed.pods.pods}
        return len(names) == 2 and not names & before and await installed.is_available()

    await installed.chart.upgrade(HOME, values(crds={"install": False}, evaluationIntervalSeconds=7))
    await eventually(is_replaced, seconds=60)
    assert least >= 1, "a replica was ready at every moment"
    names = {pod.name for pod in installed.pods.pods}

    async def one_of_them_leads() -> bool:
        with suppress(httpx.HTTPError):
            return await installed.holder() in names and 1 in [
                await metric(pod, "specdecode_leader") for pod in installed.pods.pods
            ]
        return False

    await eventually(one_of_them_leads)
    assert (await installed.kube.get(child))["metadata"]["uid"] == uid, "what runs was not touched"
