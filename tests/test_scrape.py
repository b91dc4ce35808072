"""How a scrape is answered: format, compression, and that nothing else has to wait for it."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus

import httpx
import pytest
from exposed import everything_of, everything_of_shared, lines
from prometheus_client.exposition import choose_encoder

from specdecode import scrape
from specdecode.scrape import OPENMETRICS, OPENMETRICS_1, TEXT, TEXT_1, Format, format_for, is_gzip_accepted
from specdecode.telemetry import Health, Metrics, serve

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        pytest.param("", TEXT, id="nothing is asked for: the oldest text"),
        pytest.param("*/*", TEXT, id="anything"),
        pytest.param("text/plain", TEXT, id="text of any version"),
        pytest.param("text/plain; version=0.0.4", TEXT, id="the oldest text"),
        pytest.param("text/plain; version=1.0.0", TEXT_1, id="the newer text"),
        pytest.param("application/openmetrics-text", OPENMETRICS, id="OpenMetrics of any version"),
        pytest.param("application/openmetrics-text; version=0.0.1", TEXT, id="of a version that is not spoken"),
        pytest.param(
            "application/openmetrics-text;version=0.0.1, text/plain;version=1.0.0", TEXT_1, id="the second best"
        ),
        pytest.param("application/openmetrics-text; version=1.0.0", OPENMETRICS_1, id="OpenMetrics"),
        pytest.param(PROMETHEUS_2, OPENMETRICS_1, id="Prometheus 2"),
        pytest.param("application/json, text/html;q=0.9", TEXT, id="what is not known"),
    ],
)
def test_the_format_is_the_one_that_the_client_library_would_choose(accept: str, chosen: Format) -> None:
    assert format_for(accept) is chosen
    assert choose_encoder(accept)[1] == chosen.content_type


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        pytest.param(PROMETHEUS_3, OPENMETRICS_1, id="Prometheus 3: names need no escaping"),
        pytest.param(
            "application/openmetrics-text; version=2.0.0", OPENMETRICS_1, id="later: the latest that is spoken"
        ),
        pytest.param('application/openmetrics-text; version="1.0"', TEXT, id="not a version: the library fails"),
        pytest.param("application/openmetrics-text; version=①.0", TEXT, id="not a number"),
        pytest.param(";;;=,,version==;text/plain", TEXT, id="nonsense"),
    ],
)
def test_where_the_library_promises_too_much_or_fails(accept: str, chosen: Format) -> None:
    assert format_for(accept) is chosen


@pytest.mark.parametrize(
    ("accept_encoding", "is_accepted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=1.0, *;q=0.5", True),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_used_when_asked_for(accept_encoding: str, *, is_accepted: bool) -> None:
    assert is_gzip_accepted(accept_encoding) is is_accepted


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    everything_of(metrics, "serving", "chat")
    metrics.count_rollback("serving", "chat", "AcceptanceCollapsed")
    return metrics


@pytest.fixture
async def address(metrics: Metrics) -> AsyncIterator[tuple[str, int]]:
    runner = await serve("127.0.0.1", 0, metrics, Health(tick_limit_seconds=10))
    host, port = runner.addresses[0][:2]
    yield host, port
    await runner.cleanup()


@pytest.fixture
async def client(address: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    host, port = address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        yield client


@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS_3])
async def test_a_scrape_gets_the_whole_page(
    client: httpx.AsyncClient, metrics: Metrics, accept: str, accept_encoding: str
) -> None:
    answer = await client.get("/metrics", headers={"Accept": accept, "Accept-Encoding": accept_encoding})
    asked = format_for(accept)
    assert answer.headers["Content-Type"] == asked.content_type
    assert answer.headers.get("Content-Encoding", "identity") == accept_encoding
    expected = b"".join(metrics.pieces(asked)).decode()
    is_openmetrics = asked.is_openmetrics
    assert lines(answer.text, is_openmetrics=is_openmetrics) == lines(expected, is_openmetrics=is_openmetrics)
    assert 'specdecode_effective{mode="Draft",name="chat",namespace="serving"} 1.0\n' in answer.text


async def raw(address: tuple[str, int], request: str) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request.replace("\n", "\r\n").encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_client_without_chunks_gets_the_page_too(address: tuple[str, int]) -> None:
    head, _, page = (await raw(address, "GET /metrics HTTP/1.0\nAccept-Encoding: gzip\n\n")).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert b'specdecode_effective{mode="Draft",name="chat"' in gzip.decompress(page)


async def test_a_head_has_no_page(client: httpx.AsyncClient) -> None:
    answer = await client.head("/metrics")
    assert (answer.status_code, answer.content) == (HTTPStatus.OK, b"")
    assert answer.headers["Content-Type"] == TEXT.content_type


async def test_others_have_their_turn_between_two_pieces(client: httpx.AsyncClient, metrics: Metrics) -> None:
    for number in range(3000):
        everything_of_shared(metrics, f"deployment-{number:05}")
    pieces = sum(1 for _ in metrics.pieces())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with client.stream("GET", "/metrics") as answer:
        counting = asyncio.ensure_future(count())
        async for _ in answer.aiter_raw():
            pass
        counting.cancel()
    assert turns >= pieces > 200


async def test_who_leaves_in_the_middle_leaves_no_trace(
    client: httpx.AsyncClient, address: tuple[str, int], metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3000):
        everything_of_shared(metrics, f"deployment-{number:05}")
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: operator\r\n\r\n")
    await reader.readexactly(100_000)
    writer.transport.abort()
    assert "specdecode_resources 0.0" in (await client.get("/metrics")).text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_who_does_not_read_is_given_up(
    client: httpx.AsyncClient,
    address: tuple[str, int],
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(3000):
        everything_of_shared(metrics, f"deployment-{number:05}")
    monkeypatch.setattr(scrape, "LONGEST_SECONDS", 0.5)
    caplog.set_level(logging.INFO, "specdecode")
    reader, writer = await asyncio.open_connection(*address, limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: operator\r\n\r\n")
    async with asyncio.timeout(10):
        while "is given up" not in caplog.text:
            assert (await client.get("/healthz")).status_code == HTTPStatus.OK
            await asyncio.sleep(0.05)
    page = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(5):
            page = await reader.read()
    assert not page.endswith(b"\r\n0\r\n\r\n"), "part of a page must not look like all of it"
    writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_reader_that_does_not_read_does_not_keep_the_process_from_ending(metrics: Metrics) -> None:
    for number in range(3000):
        everything_of_shared(metrics, f"deployment-{number:05}")
    runner = await serve("127.0.0.1", 0, metrics, Health(tick_limit_seconds=10))
    _, writer = await asyncio.open_connection(*runner.addresses[0][:2], limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: operator\r\n\r\n")
    await asyncio.sleep(0.5)
    async with asyncio.timeout(10):
        await runner.cleanup()
    writer.transport.abort()
