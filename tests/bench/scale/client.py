"""The front door of the API server for the bench itself: plain requests as administrator, and a watch of raw lines."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from rehearsal.control_plane import ControlPlane

Body = dict[str, Any]

RESOURCES = "/apis/specdecode.io/v1alpha1"
_MERGE = {"Content-Type": "application/merge-patch+json"}


class Client:
    """One connection pool."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    async def _ask(self, method: str, path: str, **asked: Any) -> Body:
        async with self._session.request(method, f"{self._server}{path}", **asked) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {await answer.text()}")
            read: Body = await answer.json()
            return read

    async def get(self, path: str) -> Body:
        """One object."""
        return await self._ask("GET", path)

    async def create(self, path: str, body: Body) -> Body:
        """A new object of a collection."""
        return await self._ask("POST", path, json=body)

    async def merge(self, path: str, body: Body) -> Body:
        """A merge patch."""
        return await self._ask("PATCH", path, data=json.dumps(body), headers=_MERGE)

    async def delete(self, path: str) -> None:
        """Delete an object at once."""
        await self._ask("DELETE", path, json={"gracePeriodSeconds": 0, "propagationPolicy": "Background"})

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[Body]:
        """Events of a collection after a version, until the caller leaves."""
        query = {"watch": "1", "resourceVersion": resource_version}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(f"{self._server}{path}", params=query, timeout=timeout) as answer:
            async for line in answer.content:
                yield json.loads(line)


@asynccontextmanager
async def client_of(plane: ControlPlane) -> AsyncIterator[Client]:
    """As administrator of a control plane."""
    credentials = ssl.create_default_context(cafile=str(plane.ca_file))
    pki = plane.ca_file.parent
    credentials.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    connector = aiohttp.TCPConnector(ssl=credentials, limit=64)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**20) as session:
        yield Client(session, plane.server)
