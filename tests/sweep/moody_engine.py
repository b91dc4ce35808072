"""A small engine on this machine: real HTTP and streams, exact counters, and whatever a test wants to go wrong."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

K = 3


@dataclass
class Mood:
    """What is wrong with the engine; by default nothing."""

    version: str | None = "0.32.0"
    speculates: bool = True
    shows_metrics: bool = True
    serves: tuple[str, ...] = ("m",)
    key: str = ""
    dies_after: int | None = None
    """Requests after which it closes every connection and answers nothing."""
    refuses: str = ""
    """What it says to every request."""
    hangs: bool = False
    without_usage: bool = False
    breaks_off: bool = False
    """Streams end without [DONE]."""
    error_in_stream: str = ""
    announces: float = 0.0
    """Seconds between saying who speaks and the first token."""
    others_per_request: int = 0
    """Requests of other people that finish while one of ours does."""
    token_seconds: float = 0.0005
    restarts_at: int | None = None
    """Number of the request at which all counters are 0 again."""


@dataclass
class Engine:
    """What it saw."""

    mood: Mood
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    finished: int = 0
    drafts: int = 0
    began_at: float = 1.0

    @property
    def is_dead(self) -> bool:
        return self.mood.dies_after is not None and len(self.bodies) >= self.mood.dies_after

    def wait_for(self, requests: int) -> None:
        """Until so many requests have come; raises AssertionError when they do not."""
        deadline = time.monotonic() + 30
        while len(self.bodies) < requests and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.bodies) >= requests

    def metrics(self) -> str:
        """Of 3 draft tokens the first is always accepted, the second every time at temperature 0."""
        lines = [f'vllm:request_success_total{{engine="0",finished_reason="length"}} {self.finished}']
        lines += [f'vllm:request_success_created{{engine="0",finished_reason="length"}} {self.began_at}']
        lines += [f'vllm:num_requests_running{{engine="0"}} {self.at_once}']
        if self.mood.speculates:
            lines += [
                f"vllm:spec_decode_num_drafts_total {self.drafts}",
                f"vllm:spec_decode_num_draft_tokens_total {K * self.drafts}",
                f"vllm:spec_decode_num_accepted_tokens_total {2 * self.drafts}",
                "vllm:spec_decode_num_accepted_tokens_total_created 1.7e9",
            ]
            lines += [
                f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{position="{position}"}} {value}'
                for position, value in enumerate((self.drafts, self.drafts, 0))
            ]
        return "\n".join(lines) + "\n"


class _Handlers:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mood = engine.mood

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/v1/models", self.models)
        application.router.add_get("/version", self.version)
        application.router.add_get("/health", self.health)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_post("/v1/completions", self.answer)
        application.router.add_post("/v1/chat/completions", self.answer)
        return application

    def _check(self, request: web.Request) -> None:
        if self._engine.is_dead:
            assert request.transport is not None
            request.transport.abort()
            raise asyncio.CancelledError
        if self._mood.key and request.headers.get("Authorization") != f"Bearer {self._mood.key}":
            raise web.HTTPUnauthorized(text=f'{{"error": "no {request.headers.get("Authorization")}"}}')

    async def models(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"data": [{"id": name} for name in self._mood.serves]})

    async def version(self, _: web.Request) -> web.Response:
        if self._mood.version is None:
            raise web.HTTPNotFound
        return web.json_response({"version": self._mood.version})

    async def health(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response()

    async def metrics(self, _: web.Request) -> web.Response:
        if not self._mood.shows_metrics:
            raise web.HTTPNotFound
        return web.Response(text=self._engine.metrics())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        engine, body = self._engine, await request.json()
        engine.bodies.append(body)
        engine.paths.append(request.path)
        engine.headers.append(dict(request.headers))
        if self._mood.refuses:
            return web.json_response({"error": {"message": self._mood.refuses}}, status=400)
        engine.at_once += 1
        engine.most_at_once = max(engine.most_at_once, engine.at_once)
        try:
            return await self._stream(request, body)
        finally:
            engine.at_once -= 1

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        engine, mood = self._engine, self._mood
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        is_chat = "messages" in body
        if mood.hangs:
            await asyncio.sleep(60)
        if is_chat:
            await self._event(response, {"choices": [{"delta": {"role": "assistant", "content": ""}}]})
            await asyncio.sleep(mood.announces)
        for _ in range(body["max_tokens"]):
            await asyncio.sleep(mood.token_seconds)
            piece = {"delta": {"content": "x"}} if is_chat else {"text": "x"}
            await self._event(response, {"choices": [piece]})
        if mood.error_in_stream:
            await self._event(response, {"error": {"message": mood.error_in_stream}})
        if not mood.without_usage:
            usage = {"prompt_tokens": 7, "completion_tokens": body["max_tokens"]}
            await self._event(response, {"choices": [], "usage": usage})
        engine.finished += 1 + mood.others_per_request
        engine.drafts += 5
        if mood.restarts_at is not None and len(engine.bodies) >= mood.restarts_at and engine.began_at == 1.0:
            engine.finished, engine.drafts, engine.began_at = 0, 0, 2.0
        if not mood.breaks_off:
            await response.write(b"data: [DONE]\n\n")
        return response

    @staticmethod
    async def _event(response: web.StreamResponse, event: dict[str, Any]) -> None:
        await response.write(f"data: {json.dumps(event)}\n\n".encode())


@contextmanager
def moody_engine(mood: Mood | None = None) -> Iterator[Engine]:
    """The engine, in a thread of its own while the block runs."""
    engine = Engine(mood or Mood())
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(_Handlers(engine).application(), handler_cancellation=True, shutdown_timeout=0.2)

    async def serve() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
