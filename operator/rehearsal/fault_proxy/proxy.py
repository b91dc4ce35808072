"""The server: takes a request, asks the rules, passes it on, and streams what comes back.

Watches are streamed line by line as they come. Nothing is retried and nothing is cached: what goes wrong is what the
rules say and nothing else.
"""

import asyncio
import json
import random
import ssl
from collections.abc import Mapping
from contextlib import suppress
from inspect import isawaitable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from rehearsal.fault_proxy.kubeconfig import redirect, show_certificate
from rehearsal.fault_proxy.rules import (
    Action,
    Answer,
    Delay,
    Drop,
    Freeze,
    Gone,
    Hold,
    Replay,
    Request,
    Reset,
    Rule,
    Tell,
    Write,
)

_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired"} | {
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class _CutError(Exception):
    """The connection ends here, without an answer."""


def status_body(status: int) -> bytes:
    """What the API server would say."""
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"the fault proxy says {status}",
        "reason": _REASONS.get(status, "Unknown"),
        "code": status,
    }
    return json.dumps(said).encode()


class FaultProxy:
    """`async with FaultProxy(plane.server, ca=plane.ca_file) as proxy`; `ca` only where the target speaks TLS."""

    def __init__(self, target_url: str, *, ca: Path | None = None, seed: int = 0) -> None:
        self.url = ""
        """Known once it runs."""
        self.rules: list[Rule] = []
        """Asked in this order; use `add` and `remove`."""
        self.writes: list[Write] = []
        """That upstream has answered, in the order of the answers."""
        self.requests: list[Request] = []
        """All that came in."""
        self._target = URL(target_url)
        self._chance = random.Random(seed)
        self._tls = ssl.create_default_context(cafile=ca) if ca is not None else None
        self._interrupts: dict[asyncio.Future[int], Request] = {}
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls is not None else True)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.clear()
        await self._runner.cleanup()
        await self._session.close()

    def kubeconfig(self, original: Path, to: Path) -> Path:
        """Write a kubeconfig that leads through this proxy, with the same rights."""
        user = redirect(original, to, self.url)
        if self._tls is not None:
            show_certificate(self._tls, user)
        return to

    def add(self, action: Action, **meets: object) -> Rule:
        """A new rule, the last to be asked; `meets` are the fields of Rule. Watches that run feel it at once."""
        rule = Rule(action, **meets)  # type: ignore[arg-type]  # checked by the dataclass's own signature at run time
        self.rules.append(rule)
        if isinstance(action, Gone):
            for interrupt, request in self._interrupts.items():
                if rule.meets(request, self._chance) and not interrupt.done():
                    interrupt.set_result(action.status)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule away; what it holds goes on."""
        rule.release()
        with suppress(ValueError):
            self.rules.remove(rule)

    def clear(self) -> None:
        """Take all rules away."""
        for rule in list(self.rules):
            self.remove(rule)

    async def _serve(self, incoming: web.BaseRequest) -> web.StreamResponse:
        request = Request(incoming.method, incoming.path, incoming.query.get("watch") in ("true", "1"))
        self.requests.append(request)
        met = [rule for rule in list(self.rules) if rule.meets(request, self._chance)]
        try:
            refusal = await self._before(met)
            return refusal if refusal is not None else await self._pass(incoming, request, met)
        except (_CutError, aiohttp.ClientError, ConnectionError):
            if incoming.transport is not None:
                incoming.transport.abort()
            return web.Response(status=502)

    async def _before(self, met: list[Rule]) -> web.StreamResponse | None:
        """What happens before upstream hears of it; an answer ends it."""
        for rule in met:
            match rule.action:
                case Delay(seconds):
                    await asyncio.sleep(seconds)
                case Hold():
                    await rule.released.wait()
                case Drop():
                    await self._over.wait()
                    raise _CutError
                case Reset(is_done=False):
                    raise _CutError
                case Answer() as answer:
                    return _answer(answer)
                case Gone(status):
                    return web.Response(body=_gone(status), content_type="application/json")
        return None

    async def _pass(self, incoming: web.BaseRequest, request: Request, met: list[Rule]) -> web.StreamResponse:
        body = await incoming.read()
        if any(isinstance(rule.action, Replay) for rule in met):
            async with self._ask(incoming, body) as first:
                await first.read()
            self._note(request, first.status)
        async with self._ask(incoming, body) as upstream:
            if request.is_watch:
                return await self._stream(incoming, request, upstream)
            content = await upstream.read()
            self._note(request, upstream.status)
            await _tell(met, request, is_delivered=False)
            if any(isinstance(rule.action, Reset) for rule in met):
                raise _CutError
            answer = web.Response(status=upstream.status, headers=_passed(upstream.headers), body=content)
            await answer.prepare(incoming)
            await answer.write_eof()
            await _tell(met, request, is_delivered=True)
            return answer

    def _ask(self, incoming: web.BaseRequest, body: bytes) -> "aiohttp.client._RequestContextManager":
        url = self._target.join(URL(incoming.raw_path, encoded=True))
        return self._session.request(
            incoming.method, url, headers=_passed(incoming.headers), data=body or None, allow_redirects=False
        )

    def _note(self, request: Request, status: int) -> None:
        if request.is_write:
            now = asyncio.get_running_loop().time()
            self.writes.append(Write(request.verb, request.path, status, now))

    async def _stream(
        self, incoming: web.BaseRequest, request: Request, upstream: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        answer = web.StreamResponse(status=upstream.status, headers=_passed(upstream.headers))
        answer.enable_chunked_encoding()
        await answer.prepare(incoming)
        interrupt: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._interrupts[interrupt] = request
        try:
            await self._pump(answer, request, upstream, interrupt)
        finally:
            del self._interrupts[interrupt]
        with suppress(ConnectionError):
            await answer.write_eof()
        return answer

    async def _pump(
        self,
        answer: web.StreamResponse,
        request: Request,
        upstream: aiohttp.ClientResponse,
        interrupt: asyncio.Future[int],
    ) -> None:
        """Whole lines only, so that a word of ours never stands within one of theirs."""
        while True:
            reading = asyncio.ensure_future(upstream.content.readany())
            both: set[asyncio.Future[Any]] = {reading, interrupt}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if interrupt.done():
                reading.cancel()
                await answer.write(_gone(interrupt.result()))
                return
            chunk = reading.result()
            if not chunk:
                return
            if not chunk.endswith(b"\n"):
                chunk += await _line(upstream.content)
            await self._thaw(request)
            await answer.write(chunk)

    async def _thaw(self, request: Request) -> None:
        """Wait for every rule that keeps this watch back."""
        while frozen := [
            rule
            for rule in self.rules
            if isinstance(rule.action, Freeze) and rule.fits(request) and not rule.released.is_set()
        ]:
            await frozen[0].released.wait()


async def _line(content: aiohttp.StreamReader) -> bytes:
    """The rest of a line, however long: `readline` has a limit."""
    rest = b""
    while chunk := await content.readany():
        rest += chunk
        if rest.endswith(b"\n"):
            break
    return rest


async def _tell(met: list[Rule], request: Request, *, is_delivered: bool) -> None:
    for rule in met:
        action = rule.action
        if isinstance(action, Tell) and action.is_delivered == is_delivered:
            said = action.call(rule.fitted, request)
            if isawaitable(said):
                await said
            if not is_delivered:
                raise _CutError


def _answer(answer: Answer) -> web.Response:
    body = status_body(answer.status) if answer.body is None else answer.body
    after = answer.retry_after_seconds
    headers = {} if after is None else {"Retry-After": str(after)}
    return web.Response(status=answer.status, body=body, content_type="application/json", headers=headers)


def _gone(status: int) -> bytes:
    return b'{"type":"ERROR","object":' + status_body(status) + b"}\n"


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)
