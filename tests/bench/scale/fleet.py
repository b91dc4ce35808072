"""A fleet of converged deployments in a real API server: one of each kind through its front door, the others as copies
of what it stored.

    example ---> API server ---> library: status, objects ---> API server ---> as stored ---> copies ---> etcd
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from rehearsal.control_plane import ControlPlane
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.schema import custom_resource_definition
from specdecode.api.vocabulary import API_VERSION, KIND, PLURAL
from specdecode.kube import connect
from specdecode.manifests.build import build

from .client import RESOURCES, Client
from .etcd import Etcd
from .kinds import Converged, kinds, rolled_out, walked
from .names import KINDS, NAMESPACES, Member, members

Body = dict[str, Any]

_FIRST_TEMPLATE = 99_990
"""Beyond every fleet; the copies are made by replacing texts that occur nowhere else."""
_OBJECTS = ("resource", "deployment", "service", "pod")
_IN_ETCD = {
    "resource": "/registry/specdecode.io/specdecodedeployments",
    "deployment": "/registry/deployments",
    "service": "/registry/services/specs",
    "pod": "/registry/pods",
}


def _template_member(kind: int) -> Member:
    """One whose number says the kind: they go round every `NAMESPACES` numbers."""
    found = next(
        number for number in range(_FIRST_TEMPLATE, 100_000 + KINDS * NAMESPACES) if Member(number).kind == kind
    )
    return Member(found)


@dataclass(frozen=True)
class Template:
    """One deployment as the API server stored it, in the order of `_OBJECTS`."""

    member: Member
    converged: Converged
    texts: tuple[str, ...]
    uids: tuple[str, ...]
    address: str
    """Of the Service."""

    def copies(self, member: Member) -> Iterator[tuple[str, str]]:
        """The objects of another deployment of this kind, with their keys in etcd."""
        own = {self.member.name: member.name, self.member.pod: member.pod}
        own |= {uid: member.uid(what) for what, uid in zip(_OBJECTS, self.uids, strict=True)}
        own |= {self.member.namespace: member.namespace, self.member.address: member.address}
        own[self.converged.objects.intent_hash] = self._intent_hash(member)
        if self.address != "None":
            own[self.address] = f"10.96.{128 + (member.number >> 8)}.{member.number & 255}"
        pattern = re.compile("|".join(map(re.escape, sorted(own, key=len, reverse=True))))
        for what, text in zip(_OBJECTS, self.texts, strict=True):
            name = member.pod if what == "pod" else member.name
            yield f"{_IN_ETCD[what]}/{member.namespace}/{name}", pattern.sub(lambda found: own[found[0]], text)

    def _intent_hash(self, member: Member) -> str:
        """It stands for the whole text of the objects, so it is another one for every deployment."""
        resource = self.converged.resource
        identity = {"namespace": member.namespace, "name": member.name, "uid": member.uid("resource")}
        metadata = resource.metadata.model_copy(update=identity)
        own: SpecDecodeDeployment = resource.model_copy(update={"metadata": metadata})
        return build(own, self.converged.plan)[self.converged.mode].intent_hash


def _as_stored(body: Body, api_version: str, kind: str) -> str:
    metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
    return json.dumps({"apiVersion": api_version, "kind": kind} | body | {"metadata": metadata}, separators=(",", ":"))


def _pod(deployment: Body, member: Member) -> Body:
    template = deployment["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": member.pod.rsplit("-", 1)[0], "controller": True}
    metadata = template["metadata"] | {
        "name": member.pod,
        "namespace": member.namespace,
        "ownerReferences": [owner | {"uid": member.uid("replica set")}],
    }
    spec = {key: value for key, value in template["spec"].items() if value is not None} | {"nodeName": "gpu-node"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _running(pod: Body, address: str, now: str) -> Body:
    """As the kubelet says it of a pod that serves."""
    kinds_of = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    container = pod["spec"]["containers"][0]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": "10.255.0.1",
        "startTime": now,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds_of],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
        ],
    }


class _Maker:
    """Takes one deployment of a kind through the front door."""

    def __init__(self, plane: ControlPlane, client: Client, now: datetime) -> None:
        self._plane = plane
        self._client = client
        self._now = now
        self._text = now.strftime("%Y-%m-%dT%H:%M:%SZ")

    async def make(self, written: Body, member: Member) -> Template:
        namespace, name = member.key
        own = written | {"metadata": {"namespace": namespace, "name": name}}
        collection = f"{RESOURCES}/namespaces/{namespace}/{PLURAL}"
        stored = await self._client.create(collection, own)
        found = await walked(stored, self._now)
        async with connect(str(self._plane.kubeconfig)) as kube:
            service = await kube.apply(found.objects.service)
            deployment = await kube.apply(found.objects.deployment)
            identity = {key: stored["metadata"][key] for key in ("namespace", "name", "uid", "resourceVersion")}
            status = {"apiVersion": API_VERSION, "kind": KIND, "metadata": identity, "status": found.status}
            stored = await kube.apply_status(status)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status"
        deployment = await self._client.merge(path, {"status": rolled_out(deployment)})
        pod = await self._client.create(f"/api/v1/namespaces/{namespace}/pods", _pod(deployment, member))
        path = f"/api/v1/namespaces/{namespace}/pods/{member.pod}/status"
        pod = await self._client.merge(path, {"status": _running(pod, member.address, self._text)})
        bodies = (stored, deployment, service, pod)
        types = ((API_VERSION, KIND), ("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Pod"))
        texts = tuple(_as_stored(body, *of) for body, of in zip(bodies, types, strict=True))
        uids = tuple(body["metadata"]["uid"] for body in bodies)
        return Template(member, found, texts, uids, service["spec"].get("clusterIP", "None"))

    async def remove(self, member: Member) -> None:
        """Nothing is left of it."""
        namespace, name = member.key
        for collection, of in (
            (RESOURCES, f"{PLURAL}/{name}"),
            ("/apis/apps/v1", f"deployments/{name}"),
            ("/api/v1", f"services/{name}"),
            ("/api/v1", f"pods/{member.pod}"),
        ):
            await self._client.delete(f"{collection}/namespaces/{namespace}/{of}")


async def prepare_plane(plane: ControlPlane) -> None:
    """The CRD and the namespaces; without controllers, which would start ten thousand rollouts."""
    for name in ("kube-controller-manager", "kube-scheduler"):
        await plane.processes[name].stop(1.0)
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()
    names = {Member(number).namespace for number in range(NAMESPACES)}
    homes = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(names)]
    account = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        for name in sorted(names)
    ]
    await plane.apply(yaml.safe_dump_all([*homes, *account]))


@dataclass(frozen=True)
class Fleet:
    """What is in the cluster."""

    members: tuple[Member, ...]
    kinds: tuple[Converged, ...]
    bytes_each: int
    """Of one resource as stored, in JSON."""


async def populate(plane: ControlPlane, client: Client, count: int, now: datetime) -> Fleet:
    """Fill a plane that was prepared."""
    maker = _Maker(plane, client, now)
    templates = [await maker.make(body, _template_member(kind)) for kind, body in enumerate(kinds())]
    fleet = members(count)
    urls = (word for word in plane.processes["etcd"].command if word.startswith("--listen-client-urls="))
    async with Etcd(next(urls).partition("=")[2]) as etcd:
        await etcd.put(pair for member in fleet for pair in templates[member.kind].copies(member))
    for template in templates:
        await maker.remove(template.member)
    return Fleet(fleet, tuple(each.converged for each in templates), len(templates[0].texts[0]))
