"""The proxy that breaks things, in front of a small server that counts what reaches it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from rehearsal.fault_proxy import (
    WRITES,
    Answer,
    Delay,
    Drop,
    FaultProxy,
    Freeze,
    Gone,
    Hold,
    Replay,
    Request,
    Reset,
    Tell,
)

CUT = (aiohttp.ClientError, ConnectionError)


class Upstream:
    """What reached the server, and a watch that says what it is told to."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.tokens: list[str] = []
        self.news: asyncio.Queue[str] = asyncio.Queue()
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.reached.append(f"{request.method} {request.path_qs}")
        self.tokens.append(request.headers.get("Authorization", ""))
        if "watch" not in request.query:
            return web.json_response({"said": await request.text()}, status=201 if request.method == "POST" else 200)
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (line := await self.news.get()) != "end":
            await answer.write(line.encode() + b"\n")
        return answer


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(upstream.url, seed=7) as made:
        yield made


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as made:
        yield made


async def ask(client: aiohttp.ClientSession, proxy: FaultProxy, method: str = "GET", path: str = "/a") -> int:
    async with client.request(method, proxy.url + path, data=b"x" if method != "GET" else None) as answer:
        await answer.read()
        return answer.status


async def test_without_rules_it_passes_on_query_body_token_and_status(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": "Bearer t"}
    async with client.post(f"{proxy.url}/a%2Fb?x=1%2C2", data=b"body", headers=headers) as answer:
        assert (answer.status, await answer.json()) == (201, {"said": "body"})
    assert upstream.reached == ["POST /a%2Fb?x=1,2"]
    assert upstream.tokens == ["Bearer t"]


async def test_it_counts_writes_and_not_reads(proxy: FaultProxy, client: aiohttp.ClientSession) -> None:
    for method in ("GET", "POST", "PATCH", "GET", "DELETE"):
        await ask(client, proxy, method)
    assert [(write.verb, write.path, write.status) for write in proxy.writes] == [
        ("POST", "/a", 201),
        ("PATCH", "/a", 200),
        ("DELETE", "/a", 200),
    ]


async def test_an_answer_of_its_own_looks_like_the_api_servers_and_reaches_nobody(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    proxy.add(Answer(429, retry_after_seconds=3), times=1)
    async with client.get(f"{proxy.url}/a") as answer:
        said = await answer.json()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert (said["kind"], said["code"], said["reason"]) == ("Status", 429, "TooManyRequests")
    assert upstream.reached == []
    assert await ask(client, proxy) == 200


async def test_only_the_nth_request_that_fits_is_met(proxy: FaultProxy, client: aiohttp.ClientSession) -> None:
    proxy.add(Answer(503), verbs=WRITES, path="^/a$", nth=2)
    seen = [await ask(client, proxy, *each) for each in (("POST",), ("GET",), ("POST", "/b"), ("POST",), ("POST",))]
    assert seen == [201, 200, 201, 503, 201]


async def test_chance_is_the_same_with_the_same_seed(upstream: Upstream, client: aiohttp.ClientSession) -> None:
    async def seen(seed: int) -> list[int]:
        async with FaultProxy(upstream.url, seed=seed) as proxy:
            proxy.add(Answer(503), probability=0.5)
            return [await ask(client, proxy) for _ in range(20)]

    first = await seen(1)
    assert first == await seen(1)
    assert first != await seen(2)
    assert {200, 503} == set(first)


async def test_a_delay_is_waited_for(proxy: FaultProxy, client: aiohttp.ClientSession) -> None:
    proxy.add(Delay(0.3))
    began = time.monotonic()
    assert await ask(client, proxy) == 200
    assert time.monotonic() - began >= 0.3


async def test_what_is_held_goes_on_when_it_is_released(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    rule = proxy.add(Hold())
    asked = asyncio.ensure_future(ask(client, proxy))
    await asyncio.sleep(0.1)
    assert upstream.reached == []
    rule.release()
    assert await asked == 200


async def test_what_is_dropped_is_never_answered(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    proxy.add(Drop())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(client, proxy), 0.3)
    assert upstream.reached == []


@pytest.mark.parametrize(
    ("is_done", "reached"),
    [pytest.param(False, 0, id="before upstream hears of it"), pytest.param(True, 1, id="instead of the answer")],
)
async def test_a_connection_is_cut(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession, *, is_done: bool, reached: int
) -> None:
    proxy.add(Reset(is_done=is_done), times=1)
    with pytest.raises(CUT):
        await ask(client, proxy, "POST")
    assert len(upstream.reached) == reached


async def test_a_replayed_write_reaches_upstream_twice(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    proxy.add(Replay(), verbs=WRITES)
    assert await ask(client, proxy, "POST") == 201
    assert upstream.reached == ["POST /a", "POST /a"]
    assert len(proxy.writes) == 2


@pytest.mark.parametrize("is_delivered", [False, True])
async def test_somebody_is_told_of_the_kth_write_before_or_after_its_answer_is_delivered(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession, *, is_delivered: bool
) -> None:
    told: list[tuple[int, str]] = []

    async def kill(k: int, request: Request) -> None:
        told.append((k, request.verb))

    proxy.add(Tell(kill, is_delivered=is_delivered), verbs=WRITES, nth=2)
    assert await ask(client, proxy, "POST") == 201
    if is_delivered:
        assert await ask(client, proxy, "PATCH") == 200
    else:
        with pytest.raises(CUT):
            await ask(client, proxy, "PATCH")
    await asyncio.sleep(0.05)
    assert told == [(2, "PATCH")]
    assert upstream.reached == ["POST /a", "PATCH /a"]


async def test_a_watch_streams_freezes_while_reads_pass_and_loses_nothing(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{proxy.url}/a?watch=true") as watch:
        upstream.news.put_nowait("one")
        assert await watch.content.readline() == b"one\n"
        rule = proxy.add(Freeze())
        upstream.news.put_nowait("two")
        upstream.news.put_nowait("three")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.content.readline(), 0.3)
        assert await ask(client, proxy) == 200
        proxy.remove(rule)
        assert [await watch.content.readline() for _ in range(2)] == [b"two\n", b"three\n"]
        upstream.news.put_nowait("end")
        assert await watch.content.readline() == b""


async def test_a_running_watch_is_told_that_its_version_is_gone_and_a_new_one_too(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{proxy.url}/a?watch=true") as watch:
        upstream.news.put_nowait("one")
        assert await watch.content.readline() == b"one\n"
        proxy.add(Gone(), times=2)
        last = json.loads(await watch.content.readline())
        assert (last["type"], last["object"]["code"]) == ("ERROR", 410)
        assert await watch.content.readline() == b""
    async with client.get(f"{proxy.url}/a?watch=true") as watch:
        assert json.loads(await watch.content.readline())["object"]["reason"] == "Expired"
    assert await ask(client, proxy) == 200


async def test_a_watch_may_be_told_another_error(
    upstream: Upstream, proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{proxy.url}/a?watch=true") as watch:
        upstream.news.put_nowait("one")
        assert await watch.content.readline() == b"one\n"
        proxy.add(Gone(500))
        assert json.loads(await watch.content.readline())["object"]["code"] == 500
    async with client.get(f"{proxy.url}/a?watch=true") as watch:
        assert json.loads(await watch.content.readline())["object"]["code"] == 500


async def test_a_kubeconfig_leads_through_it_with_the_same_token(proxy: FaultProxy, tmp_path: Path) -> None:
    original = {
        "clusters": [{"name": "c", "cluster": {"server": "https://elsewhere", "certificate-authority-data": "eA=="}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    (tmp_path / "a").write_text(yaml.safe_dump(original))
    written = yaml.safe_load(proxy.kubeconfig(tmp_path / "a", tmp_path / "b").read_text())
    assert written["clusters"][0]["cluster"] == {"server": proxy.url}
    assert written["users"][0]["user"] == {"token": "secret"}
