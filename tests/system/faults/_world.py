"""A namespace with operators in it and no node: it is about what is written. Pods are made by the real controllers and
say what the tests have them say.
"""

import asyncio
import base64
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from builders import ABSENT, body
from system.faults._admin import Admin, Body, administrator
from system.faults._audit import Audit, Request

from rehearsal.chart import RELEASE, identity
from rehearsal.control_plane import ControlPlane
from rehearsal.operator_process import OperatorProcess
from specdecode.api.schema import custom_resource_definition

KIND = "SpecDecodeDeployment"
PROMETHEUS = "http://127.0.0.1:9"
"""Nobody listens there."""
OWNED = ("Deployment", "Service", "ConfigMap")
_OURS = "app.kubernetes.io/managed-by=specdecode-operator"


def wanted(namespace: str, name: str, **overrides: Any) -> Body:
    """A good resource as a person writes it; the operator runs it as `QuantizedDraft`, which may only step to `Off`."""
    changes = {"metadata.namespace": namespace, "metadata.name": name, "spec.speculation.fallbacks": ABSENT}
    written = body(**changes | overrides)
    for ours in ("uid", "generation"):
        del written["metadata"][ours]
    return written


async def eventually(probe: Callable[[], Awaitable[Any]], *, within: float = 30, what: str = "") -> Any:
    """The first true answer of `probe`."""
    end = time.monotonic() + within
    while not (answer := await probe()):
        assert time.monotonic() < end, f"not within {within:.0f} s: {what or probe}; last answer: {answer}"
        await asyncio.sleep(0.1)
    return answer


def tell(case: str, **figures: Any) -> None:
    """A line of figures for the report."""
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:.1f}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in figures.items()
    )
    sys.stdout.write(f"\nfaults: {case}: {shown}\n")


@dataclass
class Process:
    """One operator process with a token of its own."""

    operator: OperatorProcess
    credential: str
    """As the audit log has it."""
    is_asleep: bool = False

    def sleep(self) -> None:
        """SIGSTOP: connections stay open and nothing is read."""
        self.operator.process.suspend()
        self.is_asleep = True

    def wake(self) -> None:
        self.operator.process.resume()
        self.is_asleep = False

    @property
    def pid(self) -> int:
        found = self.operator.process.pid
        assert found is not None
        return found

    @property
    def is_running(self) -> bool:
        return self.operator.process.is_running

    async def has_ended(self) -> bool:
        return not self.is_running

    async def is_leading(self) -> bool:
        return self.is_running and not self.is_asleep and await self.operator.metric("specdecode_leader") == 1


@dataclass
class World:
    """Namespaces that operators look after, and what is done to them."""

    plane: ControlPlane
    admin: Admin
    directory: Path
    namespaces: Sequence[str]
    audit: Audit
    processes: list[Process] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """The first one, where the operators' account is."""
        return self.namespaces[0]

    async def start(
        self, name: str, settings: Mapping[str, str] | None = None, kubeconfig: Path | None = None, *flags: str
    ) -> Process:
        """Another operator, with a token of its own. The last of several equal flags counts."""
        values = {"replicas": 2, "watch": {"namespaces": list(self.namespaces)}}
        own = kubeconfig or self.directory / f"{name}.kubeconfig"
        if kubeconfig is None:
            shutil.copy(await identity(self.plane, self.namespace, values), own)
        folder = self.directory / name
        folder.mkdir()
        watched = {"namespaces": json.dumps(list(self.namespaces))}
        operator = OperatorProcess(folder, own, PROMETHEUS, "", watched | dict(settings or {}))
        operator.process.command += flags
        process = Process(operator, credential_of(own))
        self.processes.append(process)
        await operator.start()
        return process

    async def stop(self) -> None:
        """Let all end, and tell their last words."""
        for process in self.processes:
            process.wake()
        await asyncio.gather(*(process.operator.stop() for process in self.processes))
        while self.processes:
            sys.stdout.write(self.processes.pop().operator.log_tail(15) + "\n")

    @property
    def work(self) -> list[Request]:
        """What the operators wrote, or tried to, but for Leases."""
        return [request for request in self.audit.requests if request.resource != "leases"]

    # What people do.

    async def apply(self, name: str, overrides: Mapping[str, Any] | None = None, namespace: str = "") -> Body:
        """A person's resource, whole; a good one but for dotted paths."""
        return await self.admin.apply(wanted(namespace or self.namespace, name, **dict(overrides or {})))

    async def resource(self, name: str, namespace: str = "") -> Body | None:
        return await self.admin.find(KIND, namespace or self.namespace, name)

    async def status(self, name: str, namespace: str = "") -> Body:
        return dict((await self.resource(name, namespace) or {}).get("status") or {})

    async def deployment(self, name: str, namespace: str = "") -> Body | None:
        return await self.admin.find("Deployment", namespace or self.namespace, name)

    async def condition(self, name: str, kind: str, namespace: str = "") -> tuple[str, str]:
        """Status and reason."""
        conditions = (await self.status(name, namespace)).get("conditions", [])
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))

    async def children(self, namespace: str = "") -> list[Body]:
        """Everything that an operator made in a namespace, pods left out."""
        found = []
        for kind in OWNED:
            items = await self.admin.items(kind, namespace or self.namespace, _OURS)
            found += [item | {"kind": kind} for item in items]
        return found

    async def pods(self, name: str, namespace: str = "") -> list[Body]:
        """Of the engine, without those that are on their way out."""
        selector = f"specdecode.io/deployment={name}"
        items = await self.admin.items("Pod", namespace or self.namespace, selector)
        return [item for item in items if not item["metadata"].get("deletionTimestamp")]

    async def crash(self, name: str, mode: str, namespace: str = "") -> None:
        """The pods of a mode crash in a loop, as a kubelet would say it."""

        async def are_there() -> list[Body]:
            found = await self.pods(name, namespace)
            return [pod for pod in found if pod["metadata"]["labels"].get("specdecode.io/mode") == mode]

        for pod in await eventually(are_there, what=f"pods of {name} in {mode}"):
            await self._crash(pod)

    async def _crash(self, pod: Body) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        node = f"no-kubelet-{self.namespace}"
        await self.admin.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self.admin.create(f"/api/v1/namespaces/{namespace}/pods/{name}/binding", binding)
        long_ago = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - a kubelet's clock
        ended = {"exitCode": 1, "reason": "Error", "message": "RuntimeError: the draft cannot be loaded"}
        container = {
            "name": "vllm",
            "image": "vllm",
            "imageID": "",
            "ready": False,
            "restartCount": 5,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": ended},
        }
        ready = {"type": "Ready", "status": "False", "lastTransitionTime": long_ago}
        status = {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}
        await self.admin.patch("Pod", namespace, name, {"status": status}, subresource="status", manager="kubelet")

    # What must hold.

    async def settles(self, names: Iterable[str], namespace: str = "", *, within: float = 60) -> None:
        """All of them, within a time."""
        for name in names:
            await eventually(partial(self.is_settled, name, namespace), within=within, what=f"{name} is settled")

    async def is_settled(self, name: str, namespace: str = "") -> bool:
        """Whether the operator has said what it makes of the spec as it stands, and nothing is under way but pods."""
        resource = await self.resource(name, namespace)
        if resource is None:
            return True
        status = resource.get("status") or {}
        reconciling = next((c["reason"] for c in status.get("conditions", ()) if c["type"] == "Reconciling"), "")
        is_current = status.get("observedGeneration") == resource["metadata"]["generation"]
        return is_current and reconciling in ("RolloutRunning", "RolledOut", "Stalled", "Paused")

    async def rests(self, *, seconds: float = 2, within: float = 60) -> float:
        """Until no operator has written anything for a while but its Lease; answers how long that took, the while not
        counted.
        """
        began = since = time.monotonic()
        count = len(self.work)
        while time.monotonic() - since < seconds:
            assert time.monotonic() - began < within, f"it does not come to rest: {shown(self.work[-10:])}"
            await asyncio.sleep(0.2)
            if len(self.work) != count:
                count, since = len(self.work), time.monotonic()
        return since - began

    async def orphans(self, namespace: str = "") -> list[str]:
        """Children whose owner does not exist."""
        resources = await self.admin.items(KIND, namespace or self.namespace)
        alive = {resource["metadata"]["uid"] for resource in resources}
        return [
            f"{child['kind']} {child['metadata']['name']}"
            for child in await self.children(namespace)
            if not alive & {owner["uid"] for owner in child["metadata"].get("ownerReferences", ())}
        ]


def shown(requests: Iterable[Request]) -> list[str]:
    return [str(request) for request in requests]


def credential_of(kubeconfig: Path) -> str:
    """The id of the token in a kubeconfig, as the audit log writes it."""
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    claims = token.split(".")[1]
    return "JTI=" + str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"])


async def install_crd(plane: ControlPlane) -> None:
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()


@asynccontextmanager
async def world(plane: ControlPlane, directory: Path, *namespaces: str) -> AsyncIterator[World]:
    """Namespaces, and no operator yet; all that are started end with it, and the namespaces with them."""
    await install_crd(plane)
    for namespace in namespaces:
        await plane.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
    accounts = {f"system:serviceaccount:{namespaces[0]}:{RELEASE}"}
    async with administrator(plane) as admin:
        audit = Audit(plane.audit_log, lambda request: request.user in accounts and request.is_write)
        made = World(plane, admin, directory, namespaces, audit)
        try:
            yield made
        finally:
            await made.stop()
            await admin.delete("Node", "", f"no-kubelet-{namespaces[0]}")
            for namespace in namespaces:
                for pod in await admin.items("Pod", namespace):
                    await admin.remove(pod)
                await admin.delete("Namespace", "", namespace)
