"""One OpenAI-compatible endpoint of vLLM over HTTP: who it is, one streamed request, its counters. Only this module
talks to an engine.

What an endpoint does wrong comes back as a value. No request is ever sent a second time.
"""

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from specdecode.api.resource import Problem
from specdecode.sweep.counters import Counters, names_of, read_counters, version_of

FIELD = "URL"

_CONNECT_SECONDS = 10.0
_QUICK_SECONDS = 10.0
"""For pages that answer at once."""
_KEEP_ALIVE_SECONDS = 3.0
"""Shorter than the 5 s of uvicorn, so that no request is sent into a connection that the engine is closing."""
_SHOWN = 300
_UNAUTHORISED = (401, 403)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Identity:
    """Who answers at an endpoint."""

    model: str
    """The one to ask, of those served."""
    version: str
    """Empty: it does not say."""
    counters: Counters | None
    """Of the beginning; None: /metrics cannot be read."""

    @property
    def speculates(self) -> bool | None:
        """None: nobody knows."""
        return None if self.counters is None or not self.counters.has_engine else self.counters.speculates


@dataclass(frozen=True)
class Reply:
    """One request, answered or failed. Seconds since it was sent."""

    ttft_seconds: float = math.nan
    e2e_seconds: float = math.nan
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""
    is_refusal: bool = False
    """The endpoint lives and does not want this request."""


def check_url(field: str, url: str) -> str | Problem:
    """The address without /v1 and a slash at its end, or why it cannot be asked."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
        parts = urlsplit("")
    if not is_web:
        return Problem(field, url, "must be an address of an endpoint, for example http://127.0.0.1:8000")
    if "@" in parts.netloc:
        shown = url.replace(parts.netloc, f"…@{parts.netloc.rpartition('@')[2]}")
        return Problem(field, shown, "holds credentials; put the key into the environment and name it: --api-key-env")
    if parts.query or parts.fragment:
        return Problem(field, url.partition("?")[0], "must end before ? and #; keys go through --api-key-env")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _may_need_proxy(url: str) -> bool:
    """A proxy between this machine and itself is never meant."""
    return urlsplit(url).hostname not in _LOOPBACK


class _Stream:
    """The events of one answer, as they come."""

    def __init__(self) -> None:
        self.first_at = math.nan
        self.last_at = math.nan
        self.prompt_tokens = 0
        self.output_tokens = 0
        self.is_done = False
        self.error = ""

    def take(self, line: str, at: float) -> None:
        """One line of the stream. Raises ValueError or TypeError for what is no event."""
        if not line.startswith("data:"):
            return
        data = line[5:].strip()
        if data == "[DONE]":
            self.is_done = True
            return
        event = json.loads(data)
        if not isinstance(event, dict):
            raise TypeError(data)
        if event.get("error"):
            self.error = _said(event)
        if isinstance(usage := event.get("usage"), Mapping):
            self.prompt_tokens = int(usage.get("prompt_tokens") or 0)
            self.output_tokens = int(usage.get("completion_tokens") or 0)
        choices = event.get("choices")
        if choices and not _is_announcement(choices[0]):
            # A piece without text is a token as well: half a character, or the end of the answer.
            self.first_at = at if math.isnan(self.first_at) else self.first_at
            self.last_at = at


def _is_announcement(choice: Mapping[str, Any]) -> bool:
    """Whether a piece only says who speaks: the first of a chat, which some servers send before there is a token."""
    delta = choice.get("delta")
    if choice.get("finish_reason") or not isinstance(delta, Mapping):
        return False
    return "role" in delta and not any(value for name, value in delta.items() if name != "role")


def _said(answer: object) -> str:
    """The message in an error object of vLLM, OpenAI or a gateway."""
    found = answer
    while isinstance(found, Mapping):
        found = next((found[key] for key in ("error", "message", "detail") if found.get(key)), "")
    return " ".join(str(found).split())[:_SHOWN]


def _refusal(response: httpx.Response, content: bytes) -> str:
    try:
        said = _said(json.loads(content))
    except ValueError:
        said = " ".join(content.decode(errors="replace").split())[:_SHOWN]
    return f"HTTP {response.status_code}: {said or response.reason_phrase}"


def _broken(error: Exception) -> str:
    """A failure of the transport, in words."""
    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        ((httpx.TimeoutException, TimeoutError), "no answer in time"),
        (httpx.ConnectError, "cannot be reached"),
        (httpx.RemoteProtocolError, "the connection broke off"),
        (httpx.TransportError, "the connection failed"),
    )
    said = next((words for kind, words in kinds if isinstance(error, kind)), "the answer cannot be read")
    details = " ".join(str(error).split())[:_SHOWN]
    return f"{said}: {details}" if details else said


class Endpoint:
    """`async with Endpoint(url) as endpoint`. The key goes to the endpoint alone, and into no message.

    `version` decides which counters are looked for; `identify` finds it out.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        metrics_url: str = "",
        timeout_seconds: float = 120.0,
        field: str = FIELD,
        version: str = "",
    ) -> None:
        self.url = url
        self.field = field
        self._key = key
        self._metrics_url = metrics_url or f"{url}/metrics"
        self._is_metrics_elsewhere = bool(metrics_url)
        self._timeout_seconds = timeout_seconds
        self._names = names_of(version_of(version))
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_SECONDS),
            trust_env=_may_need_proxy(url),
        )
        self._other = self._client
        if metrics_url:
            self._other = httpx.AsyncClient(timeout=_QUICK_SECONDS, trust_env=_may_need_proxy(metrics_url))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()
        await self._other.aclose()

    async def identify(self, model: str = "") -> Identity | Problem:
        """Who is there, and which model to ask: the named one, or the first."""
        served = await self._served()
        if isinstance(served, Problem):
            return served
        if model and model not in served:
            return Problem("--model", model, f"is not served by {self.url}; choose one of {', '.join(served)}")
        version = await self._version()
        self._names = names_of(version_of(version))
        counters = await self.counters()
        has_engine = counters is not None and counters.has_engine
        if self._is_metrics_elsewhere and not has_engine:
            return Problem("--metrics-url", self._metrics_url, "shows no series of vLLM; name its /metrics")
        if not version and not has_engine:
            message = (
                "is not vLLM: /version does not answer and /metrics has no series that begin with vllm:; name the "
                "engine itself, or where its metrics are: --metrics-url"
            )
            return Problem(self.field, self.url, message)
        return Identity(model or served[0], version, counters)

    async def _served(self) -> tuple[str, ...] | Problem:
        example = "name the address of the engine, for example http://127.0.0.1:8000"
        try:
            response = await self._client.get("/v1/models", timeout=_QUICK_SECONDS)
        except (httpx.HTTPError, OSError) as error:
            return Problem(self.field, self.url, f"{_broken(error)}; is the engine up? Otherwise {example}")
        if response.status_code in _UNAUTHORISED:
            way_out = "name the variable that holds the key: --api-key-env"
            return Problem(self.field, self.url, f"wants another key ({response.status_code}); {way_out}")
        try:
            names = tuple(str(entry["id"]) for entry in response.raise_for_status().json()["data"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            names = ()
        if names:
            return names
        says = f"/v1/models answers {response.status_code} without a list of models"
        return Problem(self.field, self.url, f"is no OpenAI-compatible endpoint: {says}; {example}")

    async def _version(self) -> str:
        try:
            response = await self._client.get("/version", timeout=_QUICK_SECONDS)
            return str(response.raise_for_status().json()["version"])
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError):
            return ""

    async def counters(self) -> Counters | None:
        """What /metrics says now; None when it says nothing that can be read."""
        try:
            response = await self._other.get(self._metrics_url, timeout=_QUICK_SECONDS)
            return read_counters(response.raise_for_status().text, self._names)
        except (httpx.HTTPError, OSError):
            return None

    async def is_alive(self) -> bool:
        """Whether the engine serves on. A gateway without /health is taken as alive while it answers."""
        try:
            response = await self._client.get("/health", timeout=_QUICK_SECONDS)
        except (httpx.HTTPError, OSError):
            return False
        return not response.is_server_error

    async def ask(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Send one request and follow its answer to the end."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._asked(path, body)
        except (httpx.HTTPError, OSError) as error:
            # TimeoutError is an OSError.
            is_late = isinstance(error, TimeoutError | httpx.TimeoutException)
            return Reply(error=f"no answer within {self._timeout_seconds:g} s" if is_late else _broken(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Reply(error=f"the answer is no stream of completions: {type(error).__name__}", is_refusal=True)

    async def _asked(self, path: str, body: Mapping[str, Any]) -> Reply:
        stream = _Stream()
        started = time.perf_counter()
        async with self._client.stream("POST", path, json=dict(body)) as response:
            if not response.is_success:
                said = _refusal(response, await response.aread())
                return Reply(error=self._without_key(said), is_refusal=not response.is_server_error)
            async for line in response.aiter_lines():
                stream.take(line, time.perf_counter() - started)
        error = self._without_key(_missing(stream))
        if error:
            return Reply(error=error)
        return Reply(stream.first_at, stream.last_at, stream.prompt_tokens, stream.output_tokens)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _missing(stream: _Stream) -> str:
    """What a stream lacks to be an answer."""
    if stream.error:
        return stream.error
    if not stream.is_done:
        return "the answer broke off before its end"
    if math.isnan(stream.first_at):
        return "the answer has no token"
    if stream.output_tokens < 1:
        return "the answer does not say how many tokens it has: the endpoint ignores stream_options.include_usage"
    return ""
