"""The fault proxy: each mode does to a client what it says, and the real answer comes back afterwards."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, get_args

import httpx
import pytest
from aiohttp import web

from rehearsal.faults import FaultProxy, Mode

_VECTOR = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {"pod": "a"}, "value": [1700000000, "0.42"]}]},
}
_MATRIX = {
    "status": "success",
    "data": {"resultType": "matrix", "result": [{"metric": {"pod": "a"}, "values": [[1, "0.1"], [2, "0.2"]]}]},
}


async def _prometheus(request: web.Request) -> web.Response:
    """A stand-in that answers with what it was asked, so that forwarding can be seen."""
    if request.path.endswith("/query_range"):
        return web.json_response(_MATRIX)
    if request.path.endswith("/query"):
        asked = (await request.post()).get("query", request.query.get("query"))
        return web.json_response({**_VECTOR, "infos": [asked]})
    return web.Response(status=404, text="nothing here")


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _prometheus)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with FaultProxy("http://127.0.0.1:{1}".format(*runner.addresses[0])) as proxy:
            yield proxy
    finally:
        await runner.cleanup()


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=0.5) as client:
        yield client


async def _query(client: httpx.AsyncClient, endpoint: str = "query") -> Any:
    return (await client.post(f"/api/v1/{endpoint}", data={"query": "up"})).json()


async def test_who_does_not_bring_the_token_is_refused(client: httpx.AsyncClient, proxy: FaultProxy) -> None:
    proxy.token = "secret"
    answers = [
        (await client.get("/api/v1/query?query=up", headers=headers)).status_code
        for headers in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": "Bearer secret"})
    ]
    assert answers == [401, 401, 200]
    assert (proxy.requests, proxy.refused) == (3, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_pass_forwards_the_query_and_the_real_answer(client: httpx.AsyncClient, method: str) -> None:
    where = {"params": {"query": "up"}} if method == "GET" else {"data": {"query": "up"}}

    answer = await client.request(method, "/api/v1/query", **where)  # type: ignore[arg-type]  # one of two keywords

    assert answer.json() == {**_VECTOR, "infos": ["up"]}


async def test_pass_forwards_failures_as_they_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/elsewhere")

    assert (answer.status_code, answer.text) == (404, "nothing here")


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        pytest.param("refuse", httpx.ReadError, id="refuse: the connection is reset"),
        pytest.param("hang", httpx.ReadTimeout, id="hang: nothing comes until the client gives up"),
    ],
)
async def test_no_answer(proxy: FaultProxy, client: httpx.AsyncClient, mode: Mode, error: type[Exception]) -> None:
    proxy.mode = mode

    with pytest.raises(error):
        await _query(client)


@pytest.mark.parametrize(
    ("mode", "status", "content_type"),
    [
        pytest.param("unavailable", 503, "text/plain", id="unavailable: 503"),
        pytest.param("html", 200, "text/html", id="html: a page instead of JSON, with status 200"),
    ],
)
async def test_answers_that_are_no_json(
    proxy: FaultProxy, client: httpx.AsyncClient, mode: Mode, status: int, content_type: str
) -> None:
    proxy.mode = mode

    answer = await client.get("/api/v1/query?query=up")

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(content_type)


@pytest.mark.parametrize(
    ("mode", "endpoint", "data"),
    [
        pytest.param("empty", "query", {"resultType": "vector", "result": []}, id="empty: a vector without series"),
        pytest.param(
            "empty", "query_range", {"resultType": "matrix", "result": []}, id="empty: a matrix without series"
        ),
        pytest.param(
            "nan",
            "query",
            {"resultType": "vector", "result": [{"metric": {"pod": "a"}, "value": [1700000000, "NaN"]}]},
            id="nan: the real series and time, no number",
        ),
        pytest.param(
            "nan",
            "query_range",
            {"resultType": "matrix", "result": [{"metric": {"pod": "a"}, "values": [[1, "NaN"], [2, "NaN"]]}]},
            id="nan: every value of a range",
        ),
        pytest.param(
            "infinite",
            "query",
            {"resultType": "vector", "result": [{"metric": {"pod": "a"}, "value": [1700000000, "+Inf"]}]},
            id="infinite: the real series and time, and more than any number",
        ),
        pytest.param(
            "twice",
            "query",
            {"resultType": "vector", "result": 2 * _VECTOR["data"]["result"]},
            id="twice: every series, and again",
        ),
        pytest.param("partial", "query", _VECTOR["data"], id="partial: the real data"),
    ],
)
async def test_defective_answers(
    proxy: FaultProxy, client: httpx.AsyncClient, mode: Mode, endpoint: str, data: object
) -> None:
    proxy.mode = mode

    answer = await _query(client, endpoint)

    assert answer["status"] == "success"
    assert answer["data"] == data
    assert bool(answer.get("warnings")) == (mode == "partial")


@pytest.mark.parametrize(("mode", "moment"), [("late", "1699999640.0"), ("early", "1700000060.0")])
async def test_answers_of_another_time(
    proxy: FaultProxy, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, mode: Mode, moment: str
) -> None:
    """Only of what tells a moment; the numbers beside it are the real ones."""
    scraped = {"metric": {"pod": "a", "fact": "scraped_at"}, "value": [1700000000, "1700000000"]}
    real = _VECTOR["data"]["result"]
    monkeypatch.setitem(_VECTOR["data"], "result", [*real, scraped])
    proxy.mode = mode

    answer = await _query(client)

    assert answer["data"]["result"] == [*real, {**scraped, "value": [1700000000, moment]}]


async def test_half_an_answer_is_no_json(proxy: FaultProxy, client: httpx.AsyncClient) -> None:
    proxy.mode = "truncated"

    answer = await client.get("/api/v1/query?query=up")

    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_the_real_answer_is_back_after_every_fault(proxy: FaultProxy, client: httpx.AsyncClient) -> None:
    faults: tuple[Mode, ...] = tuple(mode for mode in get_args(Mode) if mode != "pass")
    for mode in faults:
        proxy.mode = mode
        with suppress(httpx.HTTPError):
            await client.get("/api/v1/query?query=up")
        proxy.mode = "pass"

        assert (await _query(client))["data"] == _VECTOR["data"], mode
    assert proxy.requests == 2 * len(faults)


async def test_an_upstream_that_is_gone_is_a_bad_gateway() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with (
            FaultProxy(f"http://127.0.0.1:{unused.getsockname()[1]}") as proxy,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            assert (await client.get(f"{proxy.url}/api/v1/query")).status_code == 502


async def test_the_end_does_not_wait_for_a_request_that_hangs() -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        async with FaultProxy("http://127.0.0.1:1") as proxy:
            proxy.mode = "hang"
            hanging = asyncio.create_task(client.get(proxy.url))
            await asyncio.sleep(0.2)
            assert proxy.requests == 1
        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(hanging, 5)


async def test_an_unknown_mode_is_a_mistake_of_the_story(proxy: FaultProxy) -> None:
    with pytest.raises(ValueError, match="broken is none of pass, refuse"):
        proxy.mode = "broken"  # type: ignore[assignment]  # what mypy would refuse is what is tested
