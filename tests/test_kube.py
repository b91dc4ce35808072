"""The client of the API server against a real HTTP server that misbehaves on request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from specdecode.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    SettingsError,
    UnavailableError,
)
from specdecode.kube import Kube, connect, resource_path

Handler = Callable[[web.Request], Awaitable[web.Response]]
PATH = resource_path("serving", "chat")


class Server:
    """Answers with `handler`, and counts."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[str] = []
        self.handler: Handler

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.bodies.append(await request.text())
        return await self.handler(request)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[tuple[Server, Kube]]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with ApiClient(Configuration(host=f"http://{host}:{port}", retries=None)) as client:
        yield server, Kube(client)
    await runner.cleanup()


def answering(status: int, body: str = '{"message": "no"}', headers: dict[str, str] | None = None) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers=headers, content_type="application/json")

    return handler


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, NotFoundError),
        (422, RefusedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_every_answer_has_one_meaning(
    server: tuple[Server, Kube], status: int, error: type[ClusterError]
) -> None:
    remote, kube = server
    remote.handler = answering(status, headers={"Retry-After": "7"})
    with pytest.raises(error, match="no") as caught:
        await kube.get(PATH)
    assert (caught.value.status, caught.value.retry_after_seconds) == (status, 7.0)
    assert len(remote.requests) == 1, "nothing is retried here"


async def test_an_answer_that_is_no_json_is_still_an_error_with_its_text(server: tuple[Server, Kube]) -> None:
    remote, kube = server
    remote.handler = answering(502, body="<html>bad gateway</html>")
    with pytest.raises(UnavailableError, match="bad gateway"):
        await kube.get(PATH)


async def test_a_server_that_hangs_is_out_of_reach(
    server: tuple[Server, Kube], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, kube = server
    monkeypatch.setattr("specdecode.kube.CALL_SECONDS", 0.2)

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.Response()

    remote.handler = hang
    started = asyncio.get_running_loop().time()
    with pytest.raises(UnavailableError, match="GET"):
        await kube.get(PATH)
    assert asyncio.get_running_loop().time() - started < 1.5


async def test_nobody_listens() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:1", retries=None)) as client:
        with pytest.raises(UnavailableError):
            await Kube(client).get(PATH)


async def test_what_may_be_absent_is_none(server: tuple[Server, Kube]) -> None:
    remote, kube = server
    remote.handler = answering(404)
    assert await kube.find(PATH) is None


async def test_an_apply_names_the_one_field_manager_and_forces(server: tuple[Server, Kube]) -> None:
    remote, kube = server
    remote.handler = answering(200, body="{}")
    await kube.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "serving", "name": "chat"}}
    )
    (request,) = remote.requests
    assert request.method == "PATCH"
    assert request.path == "/apis/apps/v1/namespaces/serving/deployments/chat"
    assert dict(request.query) == {"fieldManager": "specdecode-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"namespace": "serving", "name": "chat-control", "uid": "u7"},
}


async def test_what_is_deleted_is_exactly_what_was_read(server: tuple[Server, Kube]) -> None:
    remote, kube = server
    remote.handler = answering(200, body="{}")
    await kube.delete(DEPLOYMENT)
    (request,) = remote.requests
    assert (request.method, request.path) == (
        "DELETE",
        "/apis/apps/v1/namespaces/serving/deployments/chat-control",
    )
    options = json.loads(remote.bodies[0])
    assert options["preconditions"] == {"uid": "u7"}
    assert options["propagationPolicy"] == "Background"


async def test_what_is_gone_already_need_not_be_deleted(server: tuple[Server, Kube]) -> None:
    remote, kube = server
    remote.handler = answering(404)
    await kube.delete(DEPLOYMENT)
    remote.handler = answering(409)
    with pytest.raises(ConflictError):
        await kube.delete(DEPLOYMENT)


async def test_an_event_that_is_there_already_is_no_error(server: tuple[Server, Kube]) -> None:
    remote, kube = server
    remote.handler = answering(409)
    await kube.create_event({"metadata": {"namespace": "serving", "name": "chat.1"}})
    assert remote.requests[0].path == "/api/v1/namespaces/serving/events"


async def test_a_list_is_read_page_by_page_and_only_its_metadata(server: tuple[Server, Kube]) -> None:
    remote, kube = server

    async def pages(request: web.Request) -> web.Response:
        is_first = "continue" not in request.query
        name, token = ("a", "more") if is_first else ("b", "")
        return web.json_response({"metadata": {"continue": token}, "items": [{"metadata": {"name": name}}]})

    remote.handler = pages
    assert [item["name"] async for item in kube.list_metadata(None)] == ["a", "b"]
    assert all("PartialObjectMetadataList" in request.headers["Accept"] for request in remote.requests)


async def test_names_cannot_leave_their_place_in_the_path() -> None:
    assert resource_path("../x", "a/b") == (
        "/apis/specdecode.io/v1alpha1/namespaces/..%2Fx/specdecodedeployments/a%2Fb"
    )


async def test_no_cluster_is_said_with_the_way_out() -> None:
    with pytest.raises(SettingsError, match="KUBECONFIG"):
        async with connect("/nowhere/kubeconfig"):
            pass
    with pytest.raises(SettingsError, match="KUBECONFIG"):
        async with connect(None):
            pass
