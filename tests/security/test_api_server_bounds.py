"""What answers in place of the API server, or an API server that means harm: a ClusterError in time, within a stated
growth of memory, in one line.
"""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from security.bounded import bounded
from security.hostile import HOSTILE, unsafe_in_a_line
from security.sockets import Reply, answering, endless, http, trickle

from specdecode import kube
from specdecode.errors import ClusterError, UnavailableError
from specdecode.kube import Kube

MIB = 1024**2
SECONDS, GROWTH_MIB = 4.0, 250.0
"""Of one answer."""
Question = Callable[[Kube], Awaitable[Any]]


def asked(url: str, question: Question) -> tuple[str, str]:
    """The kind of the error, and its words; of an answer its type."""

    async def ask() -> tuple[str, str]:
        async with ApiClient(Configuration(host=url, retries=None)) as client:
            try:
                answer = await question(Kube(client))
            except ClusterError as error:
                return type(error).__name__, str(error)
            return "", type(answer).__name__

    return asyncio.run(ask())


async def get(client: Kube) -> Any:
    return await client.get("/api/v1/x")


async def listed(client: Kube) -> Any:
    return [body async for body in client.list_resources(None)]


async def names(client: Kube) -> Any:
    return [body async for body in client.list_metadata(None)]


def bomb(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block * mebibytes


def sent(body: bytes, *headers: str, status: str = "200 OK") -> Callable[[], Reply]:
    def reply() -> Reply:
        content = http(body, *headers, status=status)
        return lambda _: [content]

    return reply


CASES: dict[str, tuple[Callable[[], Reply], str]] = {
    "a login page": (sent(b"<html>please log in</html>"), "is no JSON object that can be read; does a proxy answer?"),
    "nothing": (sent(b""), "is no JSON object"),
    "null": (sent(b"null"), "is no JSON object"),
    "a list": (sent(b"[]"), "is no JSON object"),
    "no UTF-8": (sent(b'{"a":"\xff"}'), "is no JSON object"),
    "a list in a list, a million deep": (sent(b'{"a":' + b"[" * MIB), "is no JSON object"),
    "an object in an object": (sent(b'{"a":' * MIB), "is no JSON object"),
    "an integer of 10,000 digits": (sent(b'{"a":' + b"9" * 10_000 + b"}"), "is no JSON object"),
    "four million empty lists": (sent(b'{"a":[' + b"[]," * (4 * MIB) + b"[]]}"), "is no JSON object that can be read"),
    "a million empty lists": (sent(b'{"items":[' + b"[]," * 990_000 + b"[]]}"), "the API server sent"),
    "no end": (lambda: lambda _: endless(b" " * 65_536), "the API server sent more than 64 MiB"),
    "4 GiB in 4 MiB of gzip": (sent(bomb(4096), "Content-Encoding: gzip"), "the API server sent more than 64 MiB"),
    "gzip that is none": (sent(b"nonsense", "Content-Encoding: gzip"), "GET /api/v1/x: "),
    "an error without an end": (
        lambda: (
            lambda _: (
                piece.replace(b"200 OK", b"503 Busy") for piece in endless(b"\x1b[2J" * 20_000, "Retry-After: 1")
            )
        ),
        "[2J [2J",
    ),
    "an error of lists in lists": (sent(b"[" * MIB, status="400 Bad Request"), "[[["),
    "an error that is a list": (sent(b'["no"]', status="409 Conflict"), '["no"]'),
    "an error without a word": (sent(b"", status="500 Oh"), "HTTP 500"),
    "not HTTP": (lambda: lambda _: [b"\x15\x03\x01\x00\x02\x02\x16"], "GET /api/v1/x: "),
    "the end of the connection": (lambda: lambda _: [], "GET /api/v1/x: "),
    "a byte in fifty milliseconds": (lambda: lambda _: trickle(b"{}" * 100, 0.05), "GET /api/v1/x: TimeoutError"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_ends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, words = CASES[name]
    monkeypatch.setattr(kube, "CALL_SECONDS", 1.0 if "millisecond" in name else kube.CALL_SECONDS)
    with answering(make()) as url:
        question = listed if "million empty" in name else get
        kind, said = bounded(lambda: asked(url, question), seconds=SECONDS, mebibytes=GROWTH_MIB)
    assert kind.endswith("Error")
    assert words in said
    assert len(said) <= 2100
    assert not unsafe_in_a_line(said)


@pytest.mark.parametrize(
    "items", [{}, 7, "x", [None], ["x"], [[]], [{}], [{"metadata": None}], [{"metadata": []}]], ids=repr
)
def test_a_list_that_is_none(items: Any) -> None:
    with answering(lambda _: [http(json.dumps({"items": items}).encode())]) as url:
        for question in (listed, names):
            kind, _ = asked(url, question)
            assert kind == ("UnavailableError" if items else "")


@pytest.mark.parametrize(
    "metadata", [None, [], "x", {"continue": None}, {"continue": 7}, {"continue": ["x"]}], ids=repr
)
def test_a_list_without_a_next_page_ends(metadata: Any) -> None:
    with answering(lambda _: [http(json.dumps({"metadata": metadata, "items": None}).encode())]) as url:
        assert asked(url, listed) == ("", "list")


def test_a_list_that_goes_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "MAX_PAGES", 20)
    with answering(lambda _: [http(b'{"metadata":{"continue":"more"},"items":[]}')]) as url:
        kind, words = asked(url, listed)
    assert (kind, "more than 20 pages" in words) == ("UnavailableError", True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1.0), ("007", 7.0), ("3600", 60.0), ("9" * 400, None), ("-1", None), ("1.5", None), ("\xb2", None),
        ("1_0", None), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("", None),
    ],
)  # fmt: skip
def test_how_long_to_wait(header: str, seconds: float | None) -> None:
    async def ask(url: str) -> float | None:
        async with ApiClient(Configuration(host=url, retries=None)) as client:
            with pytest.raises(UnavailableError) as caught:
                await Kube(client).get("/x")
            return caught.value.retry_after_seconds

    with answering(lambda _: [http(b"{}", f"Retry-After: {header}", status="429 Busy")]) as url:
        assert asyncio.run(ask(url)) == seconds


def test_no_text_of_the_server_gets_out_of_its_line() -> None:
    replies = iter([json.dumps({"message": text}).encode() for text in HOSTILE])

    def reply(_: bytes) -> Iterable[bytes]:
        return [http(next(replies), status="422 No")]

    with answering(reply) as url:
        for _ in HOSTILE:
            kind, words = asked(url, get)
            assert kind == "RefusedError"
            assert words
            assert not unsafe_in_a_line(words)
            assert len(words) <= 2000
