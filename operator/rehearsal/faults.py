"""What can go wrong between the operator and Prometheus: a reverse proxy that fails on request.

It never invents a measurement: an answer is the real one, the real one with a stated defect, or none.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self, get_args

import aiohttp
from aiohttp import web

Mode = Literal[
    "pass",
    "refuse",
    "hang",
    "unavailable",
    "empty",
    "nan",
    "infinite",
    "late",
    "early",
    "twice",
    "partial",
    "truncated",
    "html",
]
"""
    pass         the real answer
    refuse       the TCP connection is reset
    hang         the connection stays open and nothing comes
    unavailable  503
    empty        success without a series
    nan          the real answer with "NaN" as every value
    infinite     the real answer with "+Inf" as every value
    late         the real answer, of pods that were scraped last six minutes ago
    early        the real answer, of pods that were scraped in a minute, as with clocks that disagree
    twice        the real answer with every series there a second time
    truncated    the first half of the real answer
    partial      the real answer with `warnings`, as from a federation that lost a part
    html         200 with a login page, as from an ingress in front of Prometheus
"""

_UPSTREAM_SECONDS = 30.0
_WORDS: Final[Mapping[str, str]] = MappingProxyType({"nan": "NaN", "infinite": "+Inf"})
_SHIFTS: Final[Mapping[str, float]] = MappingProxyType({"late": -360.0, "early": 60.0})
"""Seconds by which the moments in an answer are moved."""
_RESULT_TYPES: Final[Mapping[str, str]] = MappingProxyType({"query": "vector", "query_range": "matrix"})


class FaultProxy:
    """`async with FaultProxy(upstream_url) as proxy`; set `proxy.mode` at any time, for the requests that follow.

    A request that hangs goes on hanging after the mode changed: its answer is lost.
    """

    def __init__(self, upstream_url: str) -> None:
        self.url = ""
        """`http://127.0.0.1:<port>`, known once the proxy runs."""
        self.requests = 0
        """Requests that arrived, whatever became of them."""
        self.token = ""
        """Who does not bring this bearer token is refused with 401; empty: everybody is welcome."""
        self.refused = 0
        """Requests without it."""
        self._mode: Mode = "pass"
        self._upstream = upstream_url.rstrip("/")
        self._closing = asyncio.Event()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"{mode} is none of {', '.join(get_args(Mode))}")
        self._mode = mode

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_UPSTREAM_SECONDS), trust_env=False)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = "http://127.0.0.1:{1}".format(*self._runner.addresses[0])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._runner.cleanup()
        await self._client.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            self.refused += 1
            return web.Response(status=401, text="Unauthorized")
        match self._mode:
            case "refuse":
                return _reset(request)
            case "hang":
                await self._closing.wait()
                return _reset(request)
            case "unavailable":
                return web.Response(status=503, text="Service Unavailable")
            case "html":
                return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")
            case _:
                return await self._forward(request)

    async def _forward(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": request.headers["Content-Type"]} if "Content-Type" in request.headers else {}
        body = await request.read()
        try:
            async with self._client.request(
                request.method, self._upstream + request.path_qs, data=body or None, headers=headers
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return web.Response(status=502, text=f"{type(error).__name__}: {error}")
        if answer.status == web.HTTPOk.status_code and answer.content_type == "application/json":
            content = self._defective(request.path.rpartition("/")[2], content)
        return web.Response(status=answer.status, body=content, content_type=answer.content_type)

    def _defective(self, endpoint: str, content: bytes) -> bytes:
        """An answer of Prometheus' API with the defect of the mode; only queries have one."""
        if self._mode == "pass" or endpoint not in _RESULT_TYPES:
            return content
        answer: dict[str, Any] = json.loads(content)
        match self._mode:
            case "empty":
                answer["data"] = {"resultType": _RESULT_TYPES[endpoint], "result": []}
            case "nan" | "infinite" as mode:
                answer["data"]["result"] = [_with_values(_WORDS[mode], series) for series in answer["data"]["result"]]
            case "late" | "early" as mode:
                answer["data"]["result"] = [_moved(_SHIFTS[mode], series) for series in answer["data"]["result"]]
            case "twice":
                answer["data"]["result"] *= 2
            case "truncated":
                return content[: len(content) // 2]
            case "partial":
                answer["warnings"] = ["a part of the data could not be fetched"]
        return json.dumps(answer).encode()


def _moved(seconds: float, series: Any) -> Any:
    """The answer to `timestamp()` by that much, by the label that the operator gives it; anything else as it is."""
    match series:
        case {"metric": {"fact": "scraped_at"}, "value": [at, moment]}:
            return {**series, "value": [at, str(float(moment) + seconds)]}
        case {"metric": {"fact": "scraped_at"}, "values": values}:
            return {**series, "values": [[at, str(float(moment) + seconds)] for at, moment in values]}
        case _:
            return series


def _with_values(value: str, series: Any) -> Any:
    """A series of a vector or matrix with one word for every value; anything else as it is."""
    match series:
        case {"value": [at, _]}:
            return {**series, "value": [at, value]}
        case {"values": values}:
            return {**series, "values": [[at, value] for at, _ in values]}
        case _:
            return series


def _reset(request: web.Request) -> web.Response:
    """Close with RST instead of FIN: the client sees a reset, not an empty answer."""
    if request.transport is not None:
        linger = struct.pack("ii", 1, 0)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()
    return web.Response()
