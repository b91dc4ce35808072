"""What people, other tools and the kubelet do to the API server, without the third of a second that kubectl takes."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import yaml

from rehearsal.control_plane import ControlPlane
from specdecode.kube import collection_path

Body = dict[str, Any]

KINDS: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("v1", "configmaps"),
    "Deployment": ("apps/v1", "deployments"),
    "Event": ("v1", "events"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    "Namespace": ("v1", "namespaces"),
    "Node": ("v1", "nodes"),
    "Pod": ("v1", "pods"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "Service": ("v1", "services"),
    "SpecDecodeDeployment": ("specdecode.io/v1alpha1", "specdecodedeployments"),
}
_GONE = 404
_SECONDS = 30.0


def path_to(kind: str, namespace: str, name: str = "") -> str:
    """Path of an object, or of all of a kind in a namespace."""
    api_version, plural = KINDS[kind]
    collection = collection_path(api_version, plural, namespace or None)
    return f"{collection}/{name}" if name else collection


class Admin:
    """An administrator: for acting and for looking, never for the operator."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def _ask(self, method: str, path: str, **asked: Any) -> Body:
        answer = await self._client.request(method, path, **asked)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        read: Body = answer.json()
        return read

    async def find(self, kind: str, namespace: str, name: str) -> Body | None:
        """An object that may be absent."""
        answer = await self._client.get(path_to(kind, namespace, name))
        if answer.status_code == _GONE:
            return None
        assert answer.is_success, answer.text
        read: Body = answer.json()
        return read

    async def items(self, kind: str, namespace: str, selector: str = "") -> list[Body]:
        """All of a kind in a namespace, by a selector of labels."""
        answer = await self._ask("GET", path_to(kind, namespace), params={"labelSelector": selector})
        return list(answer["items"])

    async def apply(self, body: Mapping[str, Any], *, manager: str = "person") -> Body:
        """Server-side apply of a whole object, under the name of a tool."""
        metadata = body["metadata"]
        return await self._ask(
            "PATCH",
            path_to(body["kind"], metadata.get("namespace", ""), metadata["name"]),
            params={"fieldManager": manager, "force": "true"},
            content=yaml.safe_dump(dict(body)),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    async def patch(
        self, kind: str, namespace: str, name: str, change: Any, *, subresource: str = "", manager: str = "kubectl-edit"
    ) -> Body:
        """A merge patch, or a JSON patch when it is a list; as `kubectl edit` and `kubectl patch` send them."""
        form = "json-patch" if isinstance(change, list) else "merge-patch"
        path = path_to(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._ask(
            "PATCH",
            path,
            params={"fieldManager": manager},
            content=json.dumps(change),
            headers={"Content-Type": f"application/{form}+json"},
        )

    async def create(self, path: str, body: Mapping[str, Any]) -> Body:
        return await self._ask("POST", path, json=dict(body))

    async def delete(self, kind: str, namespace: str, name: str, *, policy: str = "Background") -> None:
        """Ask for its deletion; what it owns follows unless the policy says otherwise."""
        answer = await self._client.request(
            "DELETE", path_to(kind, namespace, name), json={"propagationPolicy": policy}
        )
        assert answer.is_success or answer.status_code == _GONE, answer.text

    async def remove(self, pod: Body) -> None:
        """Take a pod away without waiting for a kubelet."""
        metadata = pod["metadata"]
        path = path_to("Pod", metadata["namespace"], metadata["name"])
        await self._client.request("DELETE", path, json={"gracePeriodSeconds": 0})

    async def changes(self, kind: str, namespace: str, *, seconds: int = 60) -> AsyncIterator[tuple[str, Body]]:
        """A raw watch, from what is there now on."""
        params = {"watch": "true", "timeoutSeconds": str(seconds)}
        async with self._client.stream("GET", path_to(kind, namespace), params=params, timeout=seconds + 5.0) as answer:
            async for line in answer.aiter_lines():
                event = json.loads(line)
                yield event["type"], event["object"]

    async def metrics(self) -> str:
        """The API server's own."""
        return (await self._client.get("/metrics")).text


@asynccontextmanager
async def administrator(plane: ControlPlane) -> AsyncIterator[Admin]:
    """An administrator of a running control plane."""
    keys = plane.directory / "pki"
    credentials = ssl.create_default_context(cafile=plane.ca_file)
    credentials.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(
        base_url=plane.server, verify=credentials, trust_env=False, timeout=_SECONDS, limits=limits
    ) as client:
        yield Admin(client)
