"""The Prometheus client: one PromQL text in, one answer out, for one instant or for a stretch of the past. It never
raises on what the server says, and never reads a missing, partial or broken answer as a number.
"""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Annotated, Literal, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from specdecode.errors import SettingsError
from specdecode.observe.credentials import Credentials, CredentialsError
from specdecode.settings import Settings

TIMEOUT = httpx.Timeout(connect=2.0, read=8.0, write=2.0, pool=2.0)
TOTAL_SECONDS = 10.0
"""For a whole call: the timeouts above are per phase, and a server that trickles bytes never trips them."""
MAX_BODY_BYTES = 64 * 1024**2
"""Some 200,000 series: what a thousand pods expose to us, more than twice."""

_SERVER_TIMEOUT = "7s"
"""The server gives up before the client does, and says so."""
_SHOWN = 200


@dataclass(frozen=True)
class Sample:
    """One series at the instant of the query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Samples:
    """A complete answer."""

    samples: tuple[Sample, ...]
    """Finite values only."""
    not_finite: tuple[Mapping[str, str], ...] = ()
    """Labels of the series whose value was NaN or infinite: known to be unknown."""

    @property
    def nan_count(self) -> int:
        """Series without a finite value."""
        return len(self.not_finite)


@dataclass(frozen=True)
class Failure:
    """No answer, or one that must not be used."""

    cause: str
    """One sentence that stays the same while the cause does."""


Answer = Samples | Failure


@dataclass(frozen=True, eq=False)
class Line:
    """One series over a stretch of time."""

    labels: Mapping[str, str]
    at: NDArray[np.float64]
    """Unix seconds of the evaluations, ascending."""
    values: NDArray[np.float64]
    """Finite values only; an evaluation without one is left out."""


@dataclass(frozen=True)
class Lines:
    """A complete answer about a stretch of time."""

    lines: tuple[Line, ...]


Past = Lines | Failure


class _Series(BaseModel):
    metric: dict[str, str]
    value: tuple[float, float]
    """Time and value. Values are strings on the wire; NaN and Inf are legal."""


class _Vector(BaseModel):
    """A complete answer, read in one pass: at a thousand deployments it has 160,000 series."""

    class Data(BaseModel):
        """`data` of an instant query."""

        result_type: Literal["vector"] = Field(alias="resultType")
        result: list[_Series]

    status: Literal["success"]
    data: Data
    warnings: Annotated[tuple[str, ...], Field(max_length=0)] = ()


class _Stretch(BaseModel):
    metric: dict[str, str]
    values: list[tuple[float, float]]


class _Matrix(BaseModel):
    """A complete answer about a stretch of time."""

    class Data(BaseModel):
        """`data` of a range query."""

        result_type: Literal["matrix"] = Field(alias="resultType")
        result: list[_Stretch]

    status: Literal["success"]
    data: Data
    warnings: Annotated[tuple[str, ...], Field(max_length=0)] = ()


_Kind = TypeVar("_Kind", _Vector, _Matrix)


class _Reply(BaseModel):
    """Any other answer, read to say what is wrong with it."""

    class Data(BaseModel):
        """`data` of any query."""

        result_type: str = Field(alias="resultType")

    status: Literal["success", "error"]
    data: Data | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


def _shown(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _samples(vector: _Vector) -> Samples:
    values = [(series.metric, series.value[1]) for series in vector.data.result]
    return Samples(
        samples=tuple(Sample(labels, value) for labels, value in values if math.isfinite(value)),
        not_finite=tuple(labels for labels, value in values if not math.isfinite(value)),
    )


def _line(stretch: _Stretch) -> Line:
    points = np.array(stretch.values, dtype=np.float64).reshape(-1, 2)
    finite = points[np.isfinite(points[:, 1])]
    return Line(stretch.metric, finite[:, 0], finite[:, 1])


def _why_not(status_code: int, body: bytes, wanted: str) -> Failure:
    """Why an answer cannot be used."""
    try:
        reply = _Reply.model_validate_json(body)
    except ValidationError:
        what = "no JSON of its query API" if status_code == httpx.codes.OK else "an error page"
        return Failure(f"Prometheus answered {status_code} with {what}; is the URL right, is a proxy in between?")
    if status_code != httpx.codes.OK or reply.status != "success" or reply.data is None:
        return Failure(f"Prometheus answered {status_code}: {_shown(reply.error) or 'no reason given'}")
    if reply.warnings:
        return Failure(f"Prometheus answered only in part: {_shown(reply.warnings[0])}")
    if reply.data.result_type != wanted:
        return Failure(f"Prometheus answered with a {_shown(reply.data.result_type)} instead of a {wanted}")
    return Failure(f"Prometheus sent a {wanted} that cannot be read")


def _read(kind: type[_Kind], status_code: int, body: bytes) -> _Kind | Failure:
    wanted = kind.__name__.lstrip("_").lower()
    if status_code != httpx.codes.OK:
        return _why_not(status_code, body, wanted)
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return _why_not(status_code, body, wanted)


def read_answer(status_code: int, body: bytes) -> Answer:
    """What an HTTP response to a query says."""
    vector = _read(_Vector, status_code, body)
    return vector if isinstance(vector, Failure) else _samples(vector)


def read_past(status_code: int, body: bytes) -> Past:
    """What an HTTP response to a range query says."""
    matrix = _read(_Matrix, status_code, body)
    return matrix if isinstance(matrix, Failure) else Lines(tuple(_line(stretch) for stretch in matrix.data.result))


class _TooLargeError(Exception):
    """The body is larger than MAX_BODY_BYTES."""


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError
    return bytes(body)


@dataclass(eq=False)
class _Pool:
    """Connections under one state of the TLS files."""

    client: httpx.AsyncClient
    calls: int = 0
    """Under way."""


class PrometheusClient:
    """Queries against one Prometheus, or anything that speaks its API.

    It ignores the proxy variables of the environment and follows no redirects: metrics are asked for where the
    settings say, or not at all. Use it as an async context manager.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        credentials: Credentials | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        """Raises CredentialsError when a file of TLS cannot be read."""
        self._base = f"{url.rstrip('/')}/api/v1"
        self._transport = transport
        self._credentials = credentials or Credentials()
        self._timeout = timeout
        self._total_seconds = total_seconds
        tls = self._credentials.tls
        self._tls_version = tls.version() if tls is not None else None
        self._pool = self._new_pool()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The client that the settings describe.

        Raises SettingsError when they contradict each other or a file of TLS cannot be read. Token and password may
        come later: they are read when they are needed.
        """
        credentials = Credentials.from_settings(settings)
        try:
            return cls(str(settings.prometheus_url), credentials=credentials)
        except CredentialsError as error:
            raise SettingsError(str(error)) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.client.aclose()

    def _new_pool(self) -> _Pool:
        tls = self._credentials.tls
        client = httpx.AsyncClient(
            transport=self._transport,
            verify=tls.context() if tls is not None else True,
            timeout=self._timeout,
            trust_env=False,
            follow_redirects=False,
        )
        return _Pool(client)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[httpx.AsyncClient]:
        """The client for one call: a new one when files of TLS were replaced; the old one ends with its calls."""
        await self._follow_tls()
        pool = self._pool
        pool.calls += 1
        try:
            yield pool.client
        finally:
            pool.calls -= 1
            await self._close_if_done(pool)

    async def _follow_tls(self) -> None:
        tls = self._credentials.tls
        if tls is None or (version := tls.version()) == self._tls_version:
            return
        old, self._pool, self._tls_version = self._pool, self._new_pool(), version
        await self._close_if_done(old)

    async def _close_if_done(self, pool: _Pool) -> None:
        if pool is not self._pool and not pool.calls:
            await pool.client.aclose()

    async def query(self, promql: str, *, at: datetime) -> Answer:
        """Evaluate `promql` at one instant."""
        reply = await self._reply("query", {"query": promql, "time": f"{at.timestamp():.3f}"})
        return reply if isinstance(reply, Failure) else read_answer(*reply)

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        """Evaluate `promql` every `step_seconds` from `start` to `end`, both in Unix seconds."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:.3f}"}
        reply = await self._reply("query_range", {"query": promql, **times})
        return reply if isinstance(reply, Failure) else read_past(*reply)

    async def _reply(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, bytes] | Failure:
        """Status and body, or why there are none."""
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._sent(endpoint, form)
        except (TimeoutError, httpx.TimeoutException):
            return Failure(f"Prometheus did not answer within {self._total_seconds:g} s or a phase of it")
        except _TooLargeError:
            return Failure(f"Prometheus sent more than {MAX_BODY_BYTES // 1024**2} MiB")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = ": ".join(word for word in (type(error).__name__, _shown(str(error))) if word)
            return Failure(f"Prometheus cannot be reached: {words}")
        except ssl.SSLError as error:
            # Mostly httpx wraps it. It does not when a server refuses our certificate after the handshake, which under
            # TLS 1.3 is only told with the first answer.
            return Failure(f"Prometheus refused the TLS connection: {_shown(str(error))}")
        except CredentialsError as error:
            return Failure(f"the credentials for Prometheus cannot be read: {error}")

    async def _sent(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, bytes] | Failure:
        data = {**form, "timeout": _SERVER_TIMEOUT}
        async with self._connected() as client:
            request = client.build_request(
                "POST", f"{self._base}/{endpoint}", data=data, headers=self._credentials.headers()
            )
            response = await client.send(request, stream=True)
            try:
                if response.is_redirect:
                    return Failure(
                        f"Prometheus answered {response.status_code}: redirects are not followed; set its URL"
                    )
                return response.status_code, await _body(response)
            finally:
                await response.aclose()
