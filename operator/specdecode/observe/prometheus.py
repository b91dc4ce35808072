"""The Prometheus client: one PromQL text in, one answer out, for one instant or for a stretch of the past. It never
raises on what the server says, and never reads a missing, partial or broken answer as a number.
"""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Self, TypeVar

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from specdecode.api.words import one_line
from specdecode.errors import SettingsError
from specdecode.http_body import ENCODING, EncodingError, pieces
from specdecode.observe.credentials import Credentials, CredentialsError
from specdecode.settings import Settings

TIMEOUT = httpx.Timeout(connect=2.0, read=8.0, write=2.0, pool=2.0)
TOTAL_SECONDS = 10.0
"""For a whole call: the timeouts above are per phase, and a server that trickles bytes never trips them."""
MAX_BODY_BYTES = 64 * 1024**2
"""Some 200,000 series: what a thousand pods expose to us, more than twice."""
MAX_OBJECTS, MAX_LISTS, MAX_STRINGS = 500_000, 1_500_000, 3_500_000
"""Of one answer: two objects a series, one list a series or point. Small values take more memory than the text they are
read from: 64 MiB of the smallest series took 868 MiB, and takes 130 up to this limit; of nothing but labels 300 (tests/
security). 160,000 series of ours have 320,000 objects and 3,040,000 strings.
"""
MAX_VALUE = 1e15
"""Either way. No engine counts that far in a life, and statistics overflow on what is much more: such a value is as
good as NaN.
"""

_SERVER_TIMEOUT = "7s"
"""The server gives up before the client does, and says so."""
_SHOWN = 200
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_WARNINGS_BYTES = 16_384
_NO_WARNINGS = msgspec.Raw(b"[]")


@dataclass(frozen=True, slots=True)
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
    """Labels of the series whose value was NaN, infinite or beyond MAX_VALUE: known to be unknown."""

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


# Answers are read by msgspec: at ten thousand deployments a glance has 60,000 series, and models of pydantic take three
# times as long and three times the memory for them.


class _Series(msgspec.Struct, gc=False):
    metric: dict[str, str]
    value: tuple[float, str]
    """Time and value. Values are strings on the wire; NaN and Inf are legal."""


class _VectorData(msgspec.Struct, gc=False):
    result_type: Literal["vector"] = msgspec.field(name="resultType")
    result: list[_Series]


class _Vector(msgspec.Struct, gc=False):
    """A complete answer."""

    status: Literal["success"]
    data: _VectorData
    warnings: msgspec.Raw = _NO_WARNINGS


class _Stretch(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _MatrixData(msgspec.Struct, gc=False):
    result_type: Literal["matrix"] = msgspec.field(name="resultType")
    result: list[_Stretch]


class _Matrix(msgspec.Struct, gc=False):
    """A complete answer about a stretch of time."""

    status: Literal["success"]
    data: _MatrixData
    warnings: msgspec.Raw = _NO_WARNINGS


_Kind = TypeVar("_Kind", _Vector, _Matrix)


class _ReplyData(msgspec.Struct):
    result_type: str = msgspec.field(name="resultType")


class _Reply(msgspec.Struct):
    """Any other answer, read to say what is wrong with it. What is not named here is passed over."""

    status: Literal["success", "error"]
    data: _ReplyData | None = None
    error: str = ""
    warnings: msgspec.Raw = _NO_WARNINGS


def _shown(text: str) -> str:
    return one_line(text, _SHOWN)


def _first_warning(warnings: msgspec.Raw) -> str | None:
    """None: there is none, and the answer is whole."""
    text = bytes(memoryview(warnings)[:_WARNINGS_BYTES]).strip()
    if text in (b"[]", b"null"):
        return None
    try:
        return _shown(msgspec.json.decode(text, type=list[str])[0])
    except (msgspec.MsgspecError, ValueError, IndexError, RecursionError):
        return _shown(text.decode(errors="replace"))


def _number(text: str) -> float:
    """As Prometheus writes it. Python also reads blanks, underscores and digits of other scripts. Raises ValueError."""
    if "_" in text or not text.isascii() or text != text.strip():
        raise ValueError(text)
    return float(text)


def _samples(vector: _Vector) -> Samples:
    values = [(series.metric, _number(series.value[1])) for series in vector.data.result]
    return Samples(
        samples=tuple(Sample(labels, value) for labels, value in values if abs(value) <= MAX_VALUE),
        not_finite=tuple(labels for labels, value in values if not abs(value) <= MAX_VALUE),
    )


def _line(stretch: _Stretch) -> Line:
    points = np.array([(at, _number(value)) for at, value in stretch.values], dtype=np.float64).reshape(-1, 2)
    finite = points[np.abs(points[:, 1]) <= MAX_VALUE]
    return Line(stretch.metric, finite[:, 0], finite[:, 1])


def _unreadable(wanted: str) -> Failure:
    return Failure(f"Prometheus sent a {wanted} that cannot be read")


def _why_not(status_code: int, body: bytes, wanted: str) -> Failure:
    """Why an answer cannot be used."""
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except _UNREADABLE:
        what = "no JSON of its query API" if status_code == httpx.codes.OK else "an error page"
        return Failure(f"Prometheus answered {status_code} with {what}; is the URL right, is a proxy in between?")
    if status_code != httpx.codes.OK or reply.status != "success" or reply.data is None:
        return Failure(f"Prometheus answered {status_code}: {_shown(reply.error) or 'no reason given'}")
    warning = _first_warning(reply.warnings)
    if warning is not None:
        return Failure(f"Prometheus answered only in part: {warning}")
    if reply.data.result_type != wanted:
        return Failure(f"Prometheus answered with a {_shown(reply.data.result_type)} instead of a {wanted}")
    return _unreadable(wanted)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Hundreds of thousands of objects are made at once, and none of them is garbage: with a collector that looks for
    some among them again and again it would take thrice as long.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _has_too_much(body: bytes) -> bool:
    """Whether its values would take too much memory, counted before one is made."""
    return body.count(b"{") > MAX_OBJECTS or body.count(b"[") > MAX_LISTS or body.count(b'"') // 2 > MAX_STRINGS


def _read(kind: type[_Kind], status_code: int, body: bytes) -> _Kind | Failure:
    wanted = kind.__name__.lstrip("_").lower()
    if _has_too_much(body):
        return Failure("Prometheus sent more series, points or labels than can be read")
    if status_code != httpx.codes.OK:
        return _why_not(status_code, body, wanted)
    try:
        with _without_collector():
            found = msgspec.json.decode(body, type=kind)
    except _UNREADABLE:
        return _why_not(status_code, body, wanted)
    return found if _first_warning(found.warnings) is None else _why_not(status_code, body, wanted)


def read_answer(status_code: int, body: bytes) -> Answer:
    """What an HTTP response to a query says."""
    vector = _read(_Vector, status_code, body)
    try:
        return vector if isinstance(vector, Failure) else _samples(vector)
    except ValueError:
        return _unreadable("vector")


def read_past(status_code: int, body: bytes) -> Past:
    """What an HTTP response to a range query says."""
    matrix = _read(_Matrix, status_code, body)
    try:
        return matrix if isinstance(matrix, Failure) else Lines(tuple(_line(stretch) for stretch in matrix.data.result))
    except ValueError:
        return _unreadable("matrix")


class _TooLargeError(Exception):
    """The body is larger than MAX_BODY_BYTES."""


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in pieces(response):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError(f"more than {MAX_BODY_BYTES // 1024**2} MiB")
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
        answer = reply if isinstance(reply, Failure) else read_answer(*reply)
        return self._told(answer) if isinstance(answer, Failure) else answer

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        """Evaluate `promql` every `step_seconds` from `start` to `end`, both in Unix seconds."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:.3f}"}
        reply = await self._reply("query_range", {"query": promql, **times})
        past = reply if isinstance(reply, Failure) else read_past(*reply)
        return self._told(past) if isinstance(past, Failure) else past

    def _told(self, failure: Failure) -> Failure:
        return Failure(self._credentials.hidden(failure.cause))

    async def _reply(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, bytes] | Failure:
        """Status and body, or why there are none."""
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._sent(endpoint, form)
        except (TimeoutError, httpx.TimeoutException):
            return Failure(f"Prometheus did not answer within {self._total_seconds:g} s or a phase of it")
        except (_TooLargeError, EncodingError) as error:
            return Failure(f"Prometheus sent {error}")
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
                "POST",
                f"{self._base}/{endpoint}",
                data=data,
                headers={"Accept-Encoding": ENCODING, **self._credentials.headers()},
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
