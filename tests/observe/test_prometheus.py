"""The Prometheus client against every way a server can fail to answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from specdecode.errors import SettingsError
from specdecode.observe import prometheus
from specdecode.observe.credentials import Credentials, Token
from specdecode.observe.prometheus import Answer, Failure, Line, Lines, Past, PrometheusClient, Sample, Samples
from specdecode.settings import Settings

AT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
Handler = Callable[[httpx.Request], httpx.Response]


def vector(*values: tuple[dict[str, str], str], **more: Any) -> dict[str, Any]:
    result = [{"metric": labels, "value": [1_795_000_000.0, value]} for labels, value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


def replying(body: Any, status: int = 200) -> Handler:
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return lambda _: httpx.Response(status, content=content)


def by_token(file: Path) -> Credentials:
    return Credentials(Token(file))


def raising(error: Exception) -> Handler:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


async def asked(handler: Handler, **more: Any) -> Answer:
    async with PrometheusClient("http://prometheus:9090/", transport=httpx.MockTransport(handler), **more) as client:
        return await client.query("up", at=AT)


async def test_a_vector_becomes_samples() -> None:
    answer = await asked(replying(vector(({"pod": "a"}, "1.5"), ({"pod": "b"}, "2e-3"))))
    assert answer == Samples((Sample({"pod": "a"}, 1.5), Sample({"pod": "b"}, 0.002)))


async def test_nan_and_infinity_are_counted_and_never_numbers() -> None:
    answer = await asked(replying(vector(({"pod": "a"}, "NaN"), ({"pod": "b"}, "+Inf"), ({"pod": "c"}, "0"))))
    assert answer == Samples((Sample({"pod": "c"}, 0.0),), ({"pod": "a"}, {"pod": "b"}))
    assert isinstance(answer, Samples)
    assert answer.nan_count == 2


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]], **more: Any) -> dict[str, Any]:
    result = [{"metric": labels, "values": values} for labels, values in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}


async def asked_past(handler: Handler) -> Past:
    async with PrometheusClient("http://prometheus:9090", transport=httpx.MockTransport(handler)) as client:
        return await client.query_range("up", start=900.0, end=960.5, step_seconds=15.0)


def points(line: Line) -> list[tuple[float, float]]:
    return list(zip(line.at.tolist(), line.values.tolist(), strict=True))


async def test_a_matrix_becomes_lines_of_finite_values() -> None:
    answer = await asked_past(
        replying(matrix(({"pod": "a"}, [(900.0, "1"), (915.0, "NaN"), (930.0, "2.5")]), ({"pod": "b"}, [])))
    )
    assert isinstance(answer, Lines)
    assert [(line.labels, points(line)) for line in answer.lines] == [
        ({"pod": "a"}, [(900.0, 1.0), (930.0, 2.5)]),
        ({"pod": "b"}, []),
    ]


async def test_the_past_is_asked_for_with_its_ends_and_its_step() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=matrix())

    assert await asked_past(handler) == Lines(())
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "http://prometheus:9090/api/v1/query_range")
    form = parse_qs(request.content.decode())
    assert form == {"query": ["up"], "start": ["900.000"], "end": ["960.500"], "step": ["15.000"], "timeout": ["7s"]}


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        pytest.param(replying(matrix(warnings=["store gateway 3 is down"])), "only in part", id="a partial answer"),
        pytest.param(replying(vector()), "a vector instead of a matrix", id="a vector"),
        pytest.param(replying("", 503), "answered 503 with an error page", id="an error page"),
        pytest.param(raising(httpx.ConnectError("refused")), "cannot be reached", id="refused"),
        pytest.param(lambda _: httpx.Response(302, headers={"Location": "/"}), "redirects", id="a redirect"),
    ],
)
async def test_a_past_that_cannot_be_read_is_a_failure(handler: Handler, cause: str) -> None:
    answer = await asked_past(handler)
    assert isinstance(answer, Failure)
    assert cause in answer.cause


async def test_infos_are_no_warnings() -> None:
    assert await asked(replying(vector(infos=["metric might not be a counter"]))) == Samples(())


async def test_the_query_is_a_form_with_time_and_timeout() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=vector())

    await asked(handler)
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "http://prometheus:9090/api/v1/query")
    assert parse_qs(request.content.decode()) == {"query": ["up"], "time": ["1795348800.000"], "timeout": ["7s"]}
    assert "Authorization" not in request.headers


async def test_the_token_is_read_again_for_every_query(tmp_path: Path) -> None:
    token, seen = tmp_path / "token", []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json=vector())

    async with PrometheusClient(
        "http://p", transport=httpx.MockTransport(handler), credentials=by_token(token)
    ) as client:
        for text in ("first\n", "second\n"):
            token.write_text(text)
            await client.query("up", at=AT)
    assert seen == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        pytest.param(raising(httpx.ConnectError("refused")), "cannot be reached: ConnectError: refused", id="refused"),
        pytest.param(raising(httpx.ReadTimeout("slow")), "did not answer within", id="a phase times out"),
        pytest.param(raising(httpx.RemoteProtocolError("cut")), "RemoteProtocolError: cut", id="cut off"),
        pytest.param(replying("<html>502</html>", 502), "answered 502 with an error page", id="an HTML error page"),
        pytest.param(replying("<html>login</html>"), "answered 200 with no JSON", id="an HTML page with status 200"),
        pytest.param(replying("{"), "answered 200 with no JSON", id="half a JSON text"),
        pytest.param(replying("[]"), "answered 200 with no JSON", id="JSON of something else"),
        pytest.param(replying({"status": "fine"}), "answered 200 with no JSON", id="an unknown status"),
        pytest.param(
            replying({"status": "error", "errorType": "bad_data", "error": "parse error"}, 400),
            "answered 400: parse error",
            id="a query that it does not understand",
        ),
        pytest.param(
            replying({"status": "error", "errorType": "timeout", "error": "query timed out"}),
            "query timed out",
            id="status error with 200",
        ),
        pytest.param(replying({"status": "error"}, 503), "answered 503: no reason given", id="no reason"),
        pytest.param(replying({"status": "success"}), "no reason given", id="success without data"),
        pytest.param(
            replying(vector(({}, "1"), warnings=["store gateway 3 is down"])),
            "only in part: store gateway 3 is down",
            id="a partial answer",
        ),
        pytest.param(
            replying({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}),
            "a scalar instead of a vector",
            id="a scalar",
        ),
        pytest.param(
            replying({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}),
            "cannot be read",
            id="a sample without a value",
        ),
        pytest.param(replying(vector(({}, "many"))), "cannot be read", id="a value that is no number"),
        pytest.param(
            lambda _: httpx.Response(302, headers={"Location": "http://elsewhere"}),
            "redirects are not followed",
            id="a redirect",
        ),
        pytest.param(
            lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"not gzip"),
            "cannot be reached: DecodingError",
            id="a body that cannot be unpacked",
        ),
    ],
)
async def test_failures_are_values(handler: Handler, cause: str) -> None:
    answer = await asked(handler)
    assert isinstance(answer, Failure)
    assert cause in answer.cause


async def test_foreign_text_is_shown_short_and_on_one_line() -> None:
    answer = await asked(replying({"status": "error", "error": "line\n" * 200}, 400))
    assert isinstance(answer, Failure)
    assert "\n" not in answer.cause
    assert len(answer.cause) < 260


async def test_an_endless_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MAX_BODY_BYTES", 1000)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 300

    answer = await asked(lambda _: httpx.Response(200, content=endless()))
    assert isinstance(answer, Failure)
    assert "more than" in answer.cause


async def test_a_trickling_body_hits_the_limit_of_the_whole_call() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    answer = await asked(lambda _: httpx.Response(200, content=trickle()), total_seconds=0.1)
    assert answer == Failure("Prometheus did not answer within 0.1 s or a phase of it")


async def test_a_url_that_is_none_is_a_failure() -> None:
    async with PrometheusClient("http://[::1") as client:
        assert isinstance(await client.query("up", at=AT), Failure)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="it is not there"),
        pytest.param(b"\xff\xfes3cret", id="it is no text"),
        pytest.param(b" \n", id="it is empty"),
        pytest.param(b"s3cret\ns3cret", id="it has two lines"),
        pytest.param(b"s3cret\x00", id="it has control characters"),
        pytest.param("s3cret\u00e9".encode(), id="no header can carry it"),
    ],
)
async def test_a_token_that_cannot_be_read_is_a_failure(tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    answer = await asked(replying(vector()), credentials=by_token(token))
    assert isinstance(answer, Failure)
    assert f"the credentials for Prometheus cannot be read: {token}" in answer.cause
    assert "s3cret" not in answer.cause


async def test_cancellation_is_no_failure() -> None:
    async def hang() -> AsyncIterator[bytes]:
        yield b""
        await asyncio.sleep(60)

    task = asyncio.create_task(asked(lambda _: httpx.Response(200, content=hang())))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_client_that_the_settings_describe() -> None:
    async with PrometheusClient.from_settings(Settings(prometheus_url="http://p:9090")) as client:
        assert isinstance(client, PrometheusClient)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_read_stops_the_start(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(SettingsError, match="prometheus_ca_file"):
        PrometheusClient.from_settings(Settings(prometheus_ca_file=bundle))
