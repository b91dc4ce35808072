"""Every order in which an installation can go. There is no finalizer, so nothing may be stuck in Terminating, and what
serves goes on serving until somebody deletes it.

A control plane of its own: one of the orders takes the CRD away, and with it the resources of everybody else.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from system.faults._admin import Admin, Body, administrator
from system.faults._world import KIND, OWNED, eventually, install_crd, tell, wanted

from rehearsal.binaries import Binaries
from rehearsal.chart import RELEASE, Chart
from rehearsal.control_plane import ControlPlane
from rehearsal.engine.behaviour import Behaviour, write_behaviour
from rehearsal.engines import IMAGE, SIMULATED
from rehearsal.node import Node
from rehearsal.operator_pod import IMAGE as OPERATOR_IMAGE
from rehearsal.operator_pod import PROGRAM

HOME = "uninstall-system"
NODE = "node-uninstall"
NAME = "chat"
CRD = "specdecodedeployments.specdecode.io"
GONE_WITHIN = 60.0
"""The garbage collector learns of a new CRD within 30 s; a namespace is looked at again after some seconds."""

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Site:
    """A cluster with a node, the operator from its chart, and engines."""

    plane: ControlPlane
    admin: Admin
    node: Node
    chart: Chart

    async def install(self) -> None:
        values = {
            "prometheus": {"url": "http://127.0.0.1:9"},
            "evaluationIntervalSeconds": 3,
            "logFormat": "text",
            "crds": {"install": False},
            "nodeSelector": {"kubernetes.io/hostname": NODE},
        }
        await self.chart.install(HOME, values)
        await eventually(self.is_operator_ready, what="the operator is ready")

    async def uninstall(self) -> None:
        await self.chart.uninstall(HOME)
        await eventually(self.is_operator_gone, what="the operator is gone")

    def operator_pods(self) -> list[str]:
        return [pod.name for pod in self.node.pods(HOME, {"app.kubernetes.io/name": RELEASE}) if pod.ready]

    async def is_operator_ready(self) -> bool:
        return bool(self.operator_pods())

    async def is_operator_gone(self) -> bool:
        return not self.node.pods(HOME, {"app.kubernetes.io/name": RELEASE})

    async def restarts(self) -> int:
        """Of the operator's pods."""
        pods = await self.admin.items("Pod", HOME)
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", ()))

    async def serve(self, namespace: str) -> None:
        """A namespace with a resource that serves."""
        await self.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        await self.admin.apply(resource(namespace))
        await eventually(lambda: self.is_serving(namespace), within=60, what=f"{namespace} serves")

    async def is_serving(self, namespace: str) -> bool:
        return [pod.ready for pod in self.node.pods(namespace, {})] == [True]

    async def pods(self, namespace: str) -> list[str]:
        return [pod.name for pod in self.node.pods(namespace, {})]

    async def is_empty(self, namespace: str) -> bool:
        """No resource, no child, no pod."""
        kinds = [KIND, *OWNED, "Pod"]
        found = [item for kind in kinds for item in await self.admin.items(kind, namespace) if not is_everywhere(item)]
        return not found

    async def is_gone(self, namespace: str) -> bool:
        return await self.admin.find("Namespace", "", namespace) is None

    async def is_crd_gone(self) -> bool:
        return "NotFound" in await self.plane.kubectl("get", "crd", CRD, check=False)


def is_everywhere(item: Body) -> bool:
    return bool(item["metadata"]["name"] == "kube-root-ca.crt")


def resource(namespace: str) -> Body:
    return wanted(
        namespace,
        NAME,
        **{
            "spec.replicas": 1,
            "spec.accelerator.count": 1,
            "spec.model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
            "spec.speculation.draft": {"name": "meta-llama/Llama-3.2-1B-Instruct"},
            "spec.podTemplate": {"nodeSelector": {"kubernetes.io/hostname": NODE}},
        },
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    directory: Path = tmp_path_factory.mktemp("uninstall")
    behaviour = directory / "behaviour.json"
    write_behaviour(behaviour, Behaviour(start_seconds=0.5))
    async with ControlPlane(binaries, directory / "plane", lambda _: None) as plane:
        await install_crd(plane)
        node = Node(
            kubeconfig=plane.kubeconfig,
            name=NODE,
            gpus=8,
            programs={IMAGE: SIMULATED.program, OPERATOR_IMAGE: PROGRAM},
            directory=directory / "node",
            compression=30.0,
            behaviour=lambda _: behaviour,
        )
        async with node, administrator(plane) as admin:
            made = Site(plane, admin, node, Chart(plane, directory / "helm"))
            await made.install()
            await asyncio.gather(*(made.serve(namespace) for namespace in ("first", "second", "third", "fourth")))
            yield made


async def test_a_namespace_goes_while_the_operator_runs(site: Site) -> None:
    await site.admin.delete("Namespace", "", "first")
    began = time.monotonic()
    await eventually(lambda: site.is_gone("first"), within=GONE_WITHIN, what="the namespace is gone")
    tell("uninstall", namespace_with_a_running_operator_s=time.monotonic() - began)
    assert await site.restarts() == 0
    assert site.operator_pods()


async def test_what_serves_outlives_the_operator(site: Site) -> None:
    namespaces = ("second", "third", "fourth")
    before = [await site.pods(namespace) for namespace in namespaces]
    await site.uninstall()
    await asyncio.sleep(2)
    assert [await site.pods(namespace) for namespace in namespaces] == before
    assert all([await site.is_serving(namespace) for namespace in namespaces])
    assert not await site.is_crd_gone()


async def test_a_resource_and_a_namespace_go_while_the_operator_is_gone(site: Site) -> None:
    await site.admin.delete(KIND, "second", NAME)
    await site.admin.delete("Namespace", "", "third")
    began = time.monotonic()
    await eventually(lambda: site.is_gone("third"), within=GONE_WITHIN, what="the namespace is gone")
    tell("uninstall", namespace_without_an_operator_s=time.monotonic() - began)
    await eventually(lambda: site.is_empty("second"), within=GONE_WITHIN, what="nothing is left of the resource")
    tell("uninstall", resource_without_an_operator_s=time.monotonic() - began)


async def test_the_crd_goes_first_and_comes_back(site: Site) -> None:
    """All resources go with it, as Kubernetes has it. The operator outlives that, and works again with the CRD."""
    await site.install()
    began = time.monotonic()
    await site.plane.kubectl("delete", "crd", CRD, "--timeout=30s")
    crd_seconds = time.monotonic() - began

    async def is_collected() -> bool:
        return not [
            item for kind in OWNED for item in await site.admin.items(kind, "fourth") if not is_everywhere(item)
        ]

    await eventually(is_collected, within=GONE_WITHIN, what="what it owned is gone")
    tell("uninstall", crd_s=crd_seconds, its_children_s=time.monotonic() - began)
    await asyncio.sleep(4)
    assert await site.restarts() == 0
    await install_crd(site.plane)
    back = time.monotonic()
    await site.admin.apply(resource(HOME))

    async def is_serving() -> bool:
        return [pod.ready for pod in site.node.pods(HOME, {"specdecode.io/deployment": NAME})] == [True]

    await eventually(is_serving, within=60, what="the operator works again")
    tell("uninstall", works_again_s=time.monotonic() - back)


async def test_the_home_of_the_operator_goes_with_it_and_a_resource_inside(site: Site) -> None:
    await site.admin.delete("Namespace", "", HOME)
    began = time.monotonic()
    await eventually(lambda: site.is_gone(HOME), within=GONE_WITHIN, what="the namespace is gone")
    tell("uninstall", namespace_with_the_operator_inside_s=time.monotonic() - began)
    assert not site.node.pods(HOME, {}), "nothing of it is left on the node"
