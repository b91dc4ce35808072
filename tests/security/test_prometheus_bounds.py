"""A Prometheus that means harm, or something else that answers in its place: each answer ends in time, within a stated
growth of memory, with a value or with one sentence.
"""

import asyncio
import itertools
import json
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest
from security.bounded import bounded
from security.hostile import HOSTILE, unsafe_in_a_line
from security.sockets import Reply, answering, endless, http, trickle

from specdecode.observe.prometheus import Failure, Lines, PrometheusClient, Samples, read_answer, read_past

AT = datetime(2026, 11, 22, tzinfo=UTC)
MIB = 1024**2
HEAD, TAIL = b'{"status":"success","data":{"resultType":"vector","result":[', b"]}}"
MATRIX = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":'
ONE = b'{"metric":{},"value":[0,"1"]}'
SECONDS, GROWTH_MIB = 4.0, 400.0
"""Most that one answer may take. The pod's limit is 384 MiB; what 64 MiB of honest series take is below 300."""


def squeezed(pieces: Iterable[bytes]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(piece) for piece in pieces) + packer.flush()


def bomb(mebibytes: int) -> bytes:
    """Zeros in gzip: one block again and again, without the end that nobody should reach."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b"\0" * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block * mebibytes


def labels(count: int) -> Callable[[], bytes]:
    """One series with so many."""
    return lambda: vector(b'[0,"1"]', b"{" + b",".join(b'"l%d":"v"' % number for number in range(count)) + b"}")


def vector(value: bytes, metric: bytes = b"{}") -> bytes:
    return HEAD + b'{"metric":' + metric + b',"value":' + value + b"}" + TAIL


def warned(count: int) -> bytes:
    return b'{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["w"' + b',"w"' * count + b"]}"


def asked(url: str, total_seconds: float) -> str:
    """What the client makes of it, in short: the whole would have to go through a pipe."""

    async def ask() -> Samples | Failure:
        async with PrometheusClient(url, total_seconds=total_seconds) as client:
            return await client.query("up", at=AT)

    answer = asyncio.run(ask())
    return answer.cause if isinstance(answer, Failure) else f"{len(answer.samples)} samples, {answer.nan_count} unknown"


def series(number: int) -> bytes:
    labels = f'"namespace":"serving-{number % 50}","specdecode_io_deployment":"chat-{number // 16}","le":"0.05"'
    return f'{{"metric":{{"__name__":"vllm:x_bucket",{labels}}},"value":[1795000000.123,"{number}"]}}'.encode()


def whole(*pieces: bytes) -> Callable[[], Reply]:
    return lambda: lambda _: [http(HEAD + b",".join(pieces) + TAIL)]


def sent(make: Callable[[], bytes], *headers: str, status: str = "200 OK") -> Callable[[], Reply]:
    """Made only when it is asked for, and once."""

    def reply() -> Reply:
        content = http(make(), *headers, status=status)
        return lambda _: [content]

    return reply


TOO_MUCH = "Prometheus sent more series, points or labels than can be read"
CANNOT = "Prometheus sent a vector that cannot be read"
CASES = {
    "100,000 series": (sent(lambda: HEAD + b",".join(map(series, range(100_000))) + TAIL), "100000 samples, 0 unknown"),
    "20,000 series, compressed": (
        sent(lambda: squeezed([HEAD, b",".join(map(series, range(20_000))), TAIL]), "Content-Encoding: gzip"),
        "20000 samples, 0 unknown",
    ),
    "two million of the smallest series": (sent(lambda: HEAD + b",".join([ONE] * 2 * MIB) + TAIL), TOO_MUCH),
    "four million empty lists": (sent(lambda: b"[" + b"[]," * (4 * MIB) + b"[]]"), TOO_MUCH),
    "a list in a list in a list": (sent(lambda: b"[" * (8 * MIB)), TOO_MUCH),
    "a list in a list, a million deep": (sent(lambda: b'{"x":' + b"[" * MIB), "200 with no JSON of its query API"),
    "100,000 labels": (
        sent(labels(100_000)),
        "1 samples, 0 unknown",
    ),
    "two million labels": (
        sent(labels(2 * MIB)),
        TOO_MUCH,
    ),
    "1.7 million labels": (
        sent(labels(1_700_000)),
        "1 samples, 0 unknown",
    ),
    "a number of 20 million digits": (
        sent(lambda: vector(b"[0," + b"9" * (20 * MIB) + b"]")), CANNOT,
    ),
    "the same as text": (
        sent(lambda: vector(b'[0,"' + b"9" * (20 * MIB) + b'"]')), "0 samples, 1 unknown",
    ),
    "an error of a million escapes": (
        sent(lambda: b'{"status":"error","error":"' + b"\\u001b[31m" * MIB + b'"}', status="400 Bad Request"),
        "Prometheus answered 400: [31m [31m",
    ),
    "a million warnings": (
        sent(lambda: warned(MIB)),
        'Prometheus answered only in part: ["w","w"',
    ),
    "no end": (lambda: lambda _: endless(b" " * 65_536), "Prometheus sent more than 64 MiB"),
    "no end of headers": (
        lambda: lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"A: b\r\n")),
        "Prometheus cannot be reached",
    ),
    "4 GiB in 4 MiB of gzip": (
        sent(lambda: bomb(4096), "Content-Encoding: gzip"),
        "Prometheus sent more than 64 MiB",
    ),
    "4 GiB in a few KiB of gzip in gzip": (
        sent(lambda: squeezed([bomb(4096)]), "Content-Encoding: gzip, gzip"),
        "Prometheus sent an answer encoded as gzip, gzip, which was not asked for",
    ),
    "gzip that is none": (
        sent(lambda: b"nonsense", "Content-Encoding: gzip"), "Prometheus sent an answer that is not gzip, as it says",
    ),
    "an encoding that is a screen": (
        sent(lambda: b"", "Content-Encoding: \x1b[2Jbr"), "Prometheus sent an answer encoded as [2jbr, which was not",
    ),
    "a byte in twenty milliseconds": (lambda: lambda _: trickle(HEAD + TAIL, 0.02), "did not answer within 1 s"),
    "nothing": (lambda: lambda _: [], "Prometheus cannot be reached"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_answer_ends(name: str) -> None:
    make, expected = CASES[name]
    total_seconds = 1.0 if "millisecond" in name else 10.0
    with answering(make()) as url:
        answer = bounded(lambda: asked(url, total_seconds), seconds=SECONDS, mebibytes=GROWTH_MIB)
    assert expected in answer
    assert len(answer) < 400
    assert not unsafe_in_a_line(answer)


@pytest.mark.parametrize(
    "value",
    [
        *(b"null", b"{}", b"[]", b"[0]", b"7", b'"ab"', b'[0,"1",2]', b'["0","1"]', b'[null,"1"]', b"[0,1]"),
        *(b"[0,true]", b'[0,"1,5"]', '[0,"\u0661"]'.encode(), b'[0,"one"]', b'[0,"1\\u0000"]', b"[0,NaN]"),
        *(b"[0,null]", b'[0,["1"]]', b'[0,""]', b'[0," 1"]', b'[0,"1\\n"]', b'[0,"1_0"]', b'[0,"0x10"]'),
        *(b"[0,Infinity]", b'[0,"\xff"]', b'[0,"\\ud800"]'),
    ],
)  # fmt: skip
def test_what_is_no_number_is_none(value: bytes) -> None:
    answer = read_answer(200, vector(value))
    assert isinstance(answer, Failure)
    past = MATRIX + b'{},"values":[' + value + b"]}]}}"
    assert isinstance(read_past(200, past), Failure)


@pytest.mark.parametrize("text", ["NaN", "nan", "+Inf", "-Inf", "Inf", "inf", "Infinity", "1e999", "-1e999", "9" * 400])
def test_what_is_not_finite_is_known_to_be_unknown(text: str) -> None:
    answer = read_answer(200, vector(b'[0,"%s"]' % text.encode()))
    assert isinstance(answer, Samples)
    assert (answer.samples, answer.nan_count) == ((), 1)


@pytest.mark.parametrize("text", ["0", "-0", "1", "1.5", ".5", "5.", "2e-3", "1E+2", "+1", "4.9e-324"])
def test_a_number_is_read_as_it_is_written(text: str) -> None:
    answer = read_answer(200, vector(b'[0,"%s"]' % text.encode()))
    assert isinstance(answer, Samples)
    assert [sample.value for sample in answer.samples] == [float(text)]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"0", b'"x"', b"{}", b"<html>", b"\xff\xfe", b"\x00", b'{"status":"success"}',
        b'{"status":"success","data":null}', b'{"status":"success","data":[]}', b'{"status":true,"data":{}}',
        b'{"status":"success","data":{"resultType":"vector"}}',
        b'{"status":"success","data":{"resultType":"vector","result":null}}',
        b'{"status":"success","data":{"resultType":"vector","result":{}}}',
        b'{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[]},"warnings":"x"}',
        b'{"status":"success","data":{"resultType":"vector","result":[]},"warnings":[null]}',
        b'{"status":"success","data":{"resultType":"vector","result":[]}} {}',
        b'{"status":"success","status":"error","error":"no","data":{"resultType":"vector","result":[]}}',
        vector(b'[0,"1"]', b'{"a":1}'), vector(b'[0,"1"]', b'{"a":null}'), vector(b'[0,"1"]', b'["a"]'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400, 503])
def test_what_is_no_answer_is_one_sentence(body: bytes, status: int) -> None:
    for answer in (read_answer(status, body), read_past(status, body)):
        assert isinstance(answer, Failure)
        assert answer.cause.startswith("Prometheus ")
        assert not unsafe_in_a_line(answer.cause)


def test_the_last_of_two_equal_names_counts() -> None:
    answer = read_answer(200, vector(b'[0,"1"],"value":[0,"2"]', b'{"a":"b","a":"c"}'))
    assert isinstance(answer, Samples)
    assert [(dict(sample.labels), sample.value) for sample in answer.samples] == [({"a": "c"}, 2.0)]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_of_the_server_gets_out_of_its_sentence(text: str) -> None:

    bodies = (
        {"status": "error", "error": text},
        {"status": "success", "data": {"resultType": text, "result": []}},
        {"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": [text]},
    )
    for body in bodies:
        answer = read_answer(200, json.dumps(body).encode())
        assert isinstance(answer, Failure)
        assert not unsafe_in_a_line(answer.cause)
        assert len(answer.cause) < 300


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_labels_stay_labels(text: str) -> None:

    metric = json.dumps({"job": text}).encode()
    answer = read_answer(200, vector(b'[0,"1"]', metric))
    past = (
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":' + metric + b',"values":[[0,"1"]]}]}}'
    )
    lines = read_past(200, past)
    if isinstance(answer, Failure):
        assert "\ud800" in text
        assert isinstance(lines, Failure)
    else:
        assert [dict(sample.labels) for sample in answer.samples] == [{"job": text}]
        assert isinstance(lines, Lines)
        assert [dict(line.labels) for line in lines.lines] == [{"job": text}]
