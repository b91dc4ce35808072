"""The node's calls to the API server: its Node object, its pods, what they take from secrets and ConfigMaps, their
tokens. Decides nothing.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from specdecode.errors import NotFoundError, UnavailableError
from specdecode.kube import Kube, collection_path, object_path

_NODES = "/api/v1/nodes"
_PODS = collection_path("v1", "pods", None)
_MERGE_PATCH = "application/merge-patch+json"
_WATCH_SECONDS = 60
"""The server ends a watch after this; the node then lists anew, which repairs whatever it may have missed."""
_MAX_CONNECTIONS = 100

Body = dict[str, Any]


class NodeApi(Kube):
    """What a kubelet asks of the API server. Raises only `ClusterError` and its children."""

    @property
    def server(self) -> str:
        """Address of the API server."""
        return str(self._client.configuration.host)

    async def create_node(self, body: Body) -> None:
        """Register a node and remove the taints that admission may have put on it: nobody else would."""
        created = await self._request("POST", _NODES, body=body)
        if created["spec"].get("taints"):
            path = f"{_NODES}/{body['metadata']['name']}"
            await self._request("PATCH", path, body={"spec": {"taints": None}}, content_type=_MERGE_PATCH)

    async def delete_node(self, name: str) -> None:
        """Remove the node; one that is gone already is no error."""
        try:
            await self._request("DELETE", f"{_NODES}/{name}")
        except NotFoundError:
            return

    async def list_pods(self, node: str) -> tuple[list[Body], str]:
        """The pods bound to a node, and the resource version to watch from."""
        answer = await self._request("GET", _PODS, query=_bound_to(node))
        return answer["items"], answer["metadata"]["resourceVersion"]

    async def watch_pods(self, node: str, resource_version: str) -> AsyncIterator[tuple[str, Body]]:
        """Changes of the pods bound to a node: (ADDED | MODIFIED | DELETED, pod).

        Ends when the server says so, also because `resource_version` is too old: list anew then.
        """
        query = _bound_to(node) | {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        serialized = await self._client.param_serialize(
            "GET", _PODS, query_params=list(query.items()), auth_settings=["BearerToken"]
        )
        try:
            answer = await self._client.call_api(*serialized, _request_timeout=_WATCH_SECONDS + 10)
            async with answer.response:
                async for line in answer.response.content:
                    event = json.loads(line)
                    if event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
                        return
                    yield event["type"], event["object"]
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(f"watch of {node}: {str(error) or type(error).__name__}") from error

    async def patch_pod_status(self, pod: Body, status: Body) -> None:
        """Write a pod's status. The uid makes it fail for another pod of the same name."""
        metadata = pod["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await self._request("PATCH", f"{_pod_path(pod)}/status", body=body, content_type=_MERGE_PATCH)

    async def delete_pod(self, pod: Body) -> None:
        """Remove the object of a pod whose containers have ended. Only this frees what the pod had requested."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._request("DELETE", _pod_path(pod), body=body)

    async def secret(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The decoded data of a secret; None when there is none."""
        found = await self.find(object_path("v1", "secrets", namespace, name))
        if found is None:
            return None
        return {
            key: base64.b64decode(value).decode(errors="replace") for key, value in (found.get("data") or {}).items()
        }

    async def token(self, pod: Body, audience: str, seconds: int) -> str:
        """A token of the pod's service account that is valid for as long as the pod is there, at most `seconds`."""
        metadata = pod["metadata"]
        name = pod["spec"].get("serviceAccountName") or "default"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        wish = {"audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound}
        path = f"{object_path('v1', 'serviceaccounts', metadata['namespace'], name)}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wish}
        return str((await self._request("POST", path, body=body))["status"]["token"])

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The text data of a ConfigMap; None when there is none."""
        found = await self.find(object_path("v1", "configmaps", namespace, name))
        return None if found is None else found.get("data") or {}


def _bound_to(node: str) -> dict[str, str]:
    return {"fieldSelector": f"spec.nodeName={node}"}


def _pod_path(pod: Body) -> str:
    metadata = pod["metadata"]
    return object_path("v1", "pods", metadata["namespace"], metadata["name"])


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[NodeApi]:
    """A client with the rights of `kubeconfig`."""
    # The API server is on this machine: no proxy.
    configuration = Configuration(retries=None, client_session_kwargs={"trust_env": False})
    configuration.connection_pool_maxsize = _MAX_CONNECTIONS
    await kube_config.load_kube_config(  # type: ignore[no-untyped-call]  # theirs
        config_file=str(kubeconfig), client_configuration=configuration
    )
    async with ApiClient(configuration) as client:
        try:
            yield NodeApi(client)
        finally:
            # aiohttp closes TLS connections in the next rounds of the loop; without them it warns of open transports.
            await asyncio.sleep(0)
