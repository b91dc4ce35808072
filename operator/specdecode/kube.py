"""The one way to the API server for everything but watching: reads, server-side apply, Events.

Bodies are plain dicts: typed models would drop fields that a newer API server knows. Every call has a time limit of its
own, and nothing is retried here: the work queue retries, and applying again is idempotent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from specdecode.api.json_text import read_json
from specdecode.api.vocabulary import FIELD_MANAGER, GROUP, KIND, PLURAL, VERSION
from specdecode.api.words import one_line, without
from specdecode.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    SettingsError,
    UnavailableError,
)

CALL_SECONDS = 15.0
"""Most a single request may take, connection included."""
PAGE_SIZE = 500
"""Objects per page of a list."""
MAX_PAGES = 2000
"""Of one list: a million objects."""
MAX_ANSWER_BYTES = 64 * 1024**2
"""A page of resources, each as large as the schema allows."""
MAX_ERROR_BYTES = 1024**2
MAX_RETRY_AFTER_SECONDS = 60.0

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Lease": "leases",
    "PodMonitor": "podmonitors",
    "Service": "services",
}

_UNREADABLE = (
    kube_config.ConfigException,
    yaml.YAMLError,
    OSError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)
"""What the library raises for a kubeconfig that is absent, no YAML, or other YAML."""

Body = dict[str, Any]


def collection_path(api_version: str, plural: str, namespace: str | None) -> str:
    """Path of a collection: of one namespace, or of the whole cluster."""
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    return f"{root}/{plural}" if namespace is None else f"{root}/namespaces/{quote(namespace, safe='')}/{plural}"


def object_path(api_version: str, plural: str, namespace: str, name: str) -> str:
    """Path of one object."""
    return f"{collection_path(api_version, plural, namespace)}/{quote(name, safe='')}"


def path_of(body: Body) -> str:
    """Path of an object of ours, from its body."""
    metadata = body["metadata"]
    return object_path(body["apiVersion"], _PLURALS[body["kind"]], metadata["namespace"], metadata["name"])


def resource_path(namespace: str, name: str) -> str:
    """Path of one SpecDecodeDeployment."""
    return object_path(f"{GROUP}/{VERSION}", PLURAL, namespace, name)


def _retry_after_seconds(header: str) -> float | None:
    """As asked for, if it was in seconds; the queue waits no longer than it is worth."""
    is_number = header.isascii() and header.isdigit() and len(header) < 10
    return min(float(header), MAX_RETRY_AFTER_SECONDS) if is_number else None


def _secrets(configuration: Configuration) -> list[str]:
    """What we prove ourselves with; an answer that quotes it ends in logs and in status."""
    stated = [*(configuration.api_key or {}).values(), configuration.password]
    return [secret.removeprefix("Bearer ").strip() for secret in stated if secret and len(secret) > len("Bearer ")]


def _error(status: int, content: bytes, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> ClusterError:
    text = without(content.decode(errors="replace"), secrets)
    try:
        message = str(read_json(text.encode()).get("message", text))
    except (ValueError, AttributeError):
        message = text
    kinds: dict[int, type[ClusterError]] = {
        400: RefusedError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        410: NotFoundError,
        422: RefusedError,
    }
    return kinds.get(status, UnavailableError)(
        one_line(message, 2000) or f"HTTP {status}",
        status=status,
        retry_after_seconds=_retry_after_seconds(headers.get("Retry-After", "")),
    )


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, or as much of an error as is worth reading."""
    is_error = response.status >= 400
    limit = MAX_ERROR_BYTES if is_error else MAX_ANSWER_BYTES
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > limit:
            if is_error:
                break
            raise UnavailableError(f"the API server sent more than {limit // 1024**2} MiB")
    return bytes(content[:limit])


def _object(content: bytes, asked: str) -> Body:
    """The JSON object that every answer is."""
    try:
        parsed = read_json(content)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise UnavailableError(f"{asked}: the answer is no JSON object that can be read; does a proxy answer?")
    return parsed


def _items(page: Body) -> list[Body]:
    """Of a list; null when there is none."""
    items = page.get("items") or []
    if not isinstance(items, list) or not all(map(_has_metadata, items)):
        raise UnavailableError("the API server sent a list that is none")
    return items


def _has_metadata(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("metadata"), dict)


def _next_page(page: Body) -> str:
    """The token for it; empty: this was the last."""
    metadata = page.get("metadata")
    token = metadata.get("continue") if isinstance(metadata, dict) else None
    return token if isinstance(token, str) else ""


class Kube:
    """A thin client. Raises only `ClusterError` and its children."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.may_write: Callable[[], None] | None = None
        """Asked before every write but that of a Lease; it raises where another process is the writer."""

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Body:
        serialized = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            async with asyncio.timeout(CALL_SECONDS):
                response = await self._client.call_api(*serialized, _request_timeout=CALL_SECONDS)
                content = await _content(response.response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            why = one_line(without(str(error), _secrets(self._client.configuration)), 500) or type(error).__name__
            raise UnavailableError(f"{method} {path}: {why}") from error
        if response.status >= 400:
            raise _error(response.status, content, response.headers, _secrets(self._client.configuration))
        return _object(content, f"{method} {path}")

    async def _write(self, method: str, path: str, **asked: Any) -> Body:
        if self.may_write is not None:
            self.may_write()
        return await self._request(method, path, **asked)

    async def get(self, path: str) -> Body:
        """A quorum read of one object."""
        return await self._request("GET", path)

    async def find(self, path: str) -> Body | None:
        """A quorum read of one object that may be absent."""
        try:
            return await self.get(path)
        except NotFoundError:
            return None

    async def apply(self, body: Body) -> Body:
        """Server-side apply of one whole object of ours, as its one field manager."""
        return await self._apply(path_of(body), body)

    async def apply_status(self, body: Body) -> Body:
        """Server-side apply of the whole status we own. `metadata.resourceVersion` makes a late writer fail."""
        metadata = body["metadata"]
        return await self._apply(f"{resource_path(metadata['namespace'], metadata['name'])}/status", body)

    async def _apply(self, path: str, body: Body) -> Body:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._write("PATCH", path, query=query, body=body, content_type=_APPLY)

    async def delete(self, body: Body) -> None:
        """Delete exactly this object, as it was read; what it owns follows. One that is gone already is no error."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": body["metadata"]["uid"]},
        }
        with suppress(NotFoundError):
            await self._write("DELETE", path_of(body), body=options)

    async def create_event(self, body: Body) -> None:
        """Create an Event. Its name is deterministic, so a second attempt is no second Event."""
        path = collection_path("v1", "events", body["metadata"]["namespace"])
        try:
            await self._write("POST", path, query={"fieldManager": FIELD_MANAGER}, body=body)
        except ConflictError:
            return

    async def create_lease(self, body: Body) -> Body:
        """Create a Lease. Raises ConflictError when somebody was faster."""
        path = collection_path(body["apiVersion"], "leases", body["metadata"]["namespace"])
        return await self._request("POST", path, query={"fieldManager": FIELD_MANAGER}, body=body)

    async def replace_lease(self, body: Body) -> Body:
        """Replace a Lease, which must be as it was read: the body carries that version. Raises ConflictError."""
        return await self._request("PUT", path_of(body), query={"fieldManager": FIELD_MANAGER}, body=body)

    async def annotate(
        self, namespace: str, name: str, annotations: Mapping[str, str | None], *, manager: str, is_dry_run: bool
    ) -> Body:
        """Set annotations of a SpecDecodeDeployment, or take them away (None). Nothing else of it is touched."""
        query = {"fieldManager": manager} | ({"dryRun": "All"} if is_dry_run else {})
        body: Body = {"metadata": {"annotations": dict(annotations)}}
        path = resource_path(namespace, name)
        return await self._request("PATCH", path, query=query, body=body, content_type=_MERGE)

    async def list_resources(self, namespace: str | None) -> AsyncIterator[Body]:
        """Every SpecDecodeDeployment as it is stored, page by page."""
        async for item in self._pages(namespace, "application/json"):
            # Items of a list do not say what they are.
            yield {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND} | item

    async def list_metadata(self, namespace: str | None) -> AsyncIterator[Body]:
        """`metadata` of every SpecDecodeDeployment, page by page."""
        async for item in self._pages(namespace, _METADATA_ONLY):
            yield item["metadata"]

    async def _pages(self, namespace: str | None, accept: str) -> AsyncIterator[Body]:
        path = collection_path(f"{GROUP}/{VERSION}", PLURAL, namespace)
        token = ""
        for _ in range(MAX_PAGES):
            query = {"limit": str(PAGE_SIZE)} | ({"continue": token} if token else {})
            page = await self._request("GET", path, query=query, accept=accept)
            for item in _items(page):
                yield item
            token = _next_page(page)
            if not token:
                return
        raise UnavailableError(f"a list of {path} has more than {MAX_PAGES} pages")


def namespace_of(kubeconfig: str, context: str | None) -> str:
    """The namespace of a context, or of the current one. Raises SettingsError when the kubeconfig cannot be read."""
    try:
        contexts, current = kube_config.list_kube_config_contexts(config_file=kubeconfig)  # type: ignore[no-untyped-call]  # theirs
        found = next((each for each in contexts if each["name"] == context), current)
        return str((found.get("context") or {}).get("namespace") or "default")
    except _UNREADABLE as error:
        raise _no_cluster(error) from error


def _no_cluster(error: Exception) -> SettingsError:
    first_line = one_line(next(iter(str(error).splitlines()), ""), 500) or type(error).__name__
    return SettingsError(f"no cluster to talk to: {first_line}; run inside a pod, or set KUBECONFIG")


@asynccontextmanager
async def connect(kubeconfig: str | None, context: str | None = None) -> AsyncIterator[Kube]:
    """A client for the cluster of `kubeconfig`, in its current context unless one is named, or of this pod.

    Raises SettingsError when there is neither.
    """
    configuration = Configuration(retries=None)
    try:
        if kubeconfig is None:
            kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # theirs
        else:
            await kube_config.load_kube_config(  # type: ignore[no-untyped-call]  # theirs
                config_file=kubeconfig, context=context, client_configuration=configuration
            )
    except _UNREADABLE as error:
        raise _no_cluster(error) from error
    async with ApiClient(configuration) as client:
        yield Kube(client)
