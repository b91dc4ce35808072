"""The meter around real ASGI applications: what it counts, and that nothing else changes."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry

from specdecode.meter.middleware import MAX_REQUEST_BYTES, TAIL_BYTES, Instruments, Meter, bucket_of, shared

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
STATISTICS = {
    "mean_acceptance_length": 2.5,
    "draft_acceptance_rate": 0.5,
    "acceptance_histogram": [1, 0, 0, 1],
    "num_spec_steps": 2,
    "num_accepted_draft_tokens": 3,
    "num_draft_tokens": 6,
    "num_spec_tokens": 3,
}
Messages = Sequence[dict[str, Any]]
App = Callable[[Any, Any, Any], Awaitable[None]]


def answer(text: str = "def", **statistics: Any) -> bytes:
    """A whole answer, with its fields in vLLM's order."""
    metrics = {"time_to_first_token_ms": None, "speculative_decoding": STATISTICS | statistics}
    body = {"id": "cmpl-1", "choices": [{"index": 0, "text": text}], "usage": {"total_tokens": 9}, "metrics": metrics}
    return json.dumps(body, separators=(",", ":")).encode()


def events(*, has_usage: bool = True) -> list[bytes]:
    """A streamed answer, one event a part."""
    tokens = [b'data: {"choices":[{"index":0,"text":"%d"}]}\n\n' % number for number in range(40)]
    usage = [
        b'data: {"choices":[],"usage":{},"metrics":{"speculative_decoding":%b}}\n\n' % json.dumps(STATISTICS).encode()
    ]
    return [*tokens, *(usage if has_usage else []), b"data: [DONE]\n\n"]


def serving(*parts: bytes, status: int = 200) -> App:
    """An application that reads the whole request and then answers in parts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": status, "headers": [(b"x", b"y")]})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return app


def scope(path: str = COMPLETIONS, **sampling: Any) -> dict[str, Any]:
    """Of a request to an engine whose model has these sampling parameters of its own."""
    serves = SimpleNamespace(default_sampling_params=sampling)
    state = SimpleNamespace(openai_serving_completion=serves, openai_serving_chat=serves)
    return {"type": "http", "method": "POST", "path": path, "app": SimpleNamespace(state=state)}


async def exchanged(app: App, request: Sequence[bytes], around: dict[str, Any]) -> Messages:
    """What a client receives."""
    last = len(request) - 1
    sent = iter([{"type": "http.request", "body": part, "more_body": n < last} for n, part in enumerate(request)])
    received: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(sent, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        received.append(dict(message))

    await app(around, receive, send)
    return received


class Metered:
    """One meter with a registry of its own."""

    def __init__(self, app: App) -> None:
        self.registry = CollectorRegistry()
        self.app = Meter(app, Instruments(self.registry))

    def ask(self, *request: bytes, around: dict[str, Any] | None = None) -> Messages:
        return asyncio.run(exchanged(self.app, request, around or scope()))

    def counted(self) -> dict[str, tuple[int, float]]:
        """Requests and the sum of their rates, by temperature."""
        samples = {(s.name, s.labels.get("temperature_bucket")): s.value for s in self._samples()}
        name = "specdecode:request_acceptance_rate"
        labels = sorted(label for found, label in samples if found == f"{name}_count" and label is not None)
        return {label: (int(samples[f"{name}_count", label]), samples[f"{name}_sum", label]) for label in labels}

    def outcomes(self) -> dict[str, int]:
        return {
            s.labels["outcome"]: int(s.value) for s in self._samples() if s.name == "specdecode:meter_requests_total"
        }

    def _samples(self) -> Iterator[Any]:
        return (sample for family in self.registry.collect() for sample in family.samples)


def asking(**settings: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "def", **settings}).encode()


@pytest.mark.parametrize(
    ("temperature", "label"),
    [
        pytest.param(0, "0", id="greedy"),
        pytest.param(1e-9, "0-0.3", id="nearly 0 is sampled: vLLM raises it to 0.01"),
        pytest.param(0.3, "0-0.3", id="an edge belongs to the range below it"),
        pytest.param(0.31, "0.3-0.7", id="above the edge"),
        pytest.param(0.7, "0.3-0.7", id="what many clients set"),
        pytest.param(1, "0.7-1", id="the default of vLLM"),
        pytest.param(2, ">1", id="the most that others allow"),
        pytest.param(float("inf"), ">1", id="beyond all"),
        pytest.param(float("nan"), "unknown", id="no number"),
    ],
)
def test_temperatures_fall_into_six_ranges(temperature: float, label: str) -> None:
    assert bucket_of(temperature) == label


@pytest.mark.parametrize(
    ("request_body", "sampling", "label"),
    [
        pytest.param(asking(temperature=0), {"temperature": 0.6}, "0", id="the request decides"),
        pytest.param(asking(temperature="0.5"), {}, "0.3-0.7", id="vLLM reads a number in quotes"),
        pytest.param(asking(), {"temperature": 0.6}, "0.3-0.7", id="left out: the model's own default"),
        pytest.param(asking(temperature=None), {"temperature": 0.6}, "0.3-0.7", id="null is left out"),
        pytest.param(asking(), {}, "0.7-1", id="left out, and the model has no default: 1"),
        pytest.param(asking(prompt='"temperature": 0'), {}, "0.7-1", id="a prompt that looks like it"),
        pytest.param(asking(tools={"temperature": 0}), {}, "0.7-1", id="a field of the same name further down"),
        pytest.param(asking(prompt="x" * MAX_REQUEST_BYTES), {}, "unknown", id="too long to be read"),
    ],
)
@pytest.mark.parametrize("path", [COMPLETIONS, CHATS])
def test_the_temperature_is_the_one_that_was_sampled_at(
    request_body: bytes, sampling: dict[str, Any], label: str, path: str
) -> None:
    metered = Metered(serving(answer()))
    metered.ask(request_body[:7], request_body[7:], around=scope(path, **sampling))
    assert metered.counted() == {label: (1, 0.5)}
    assert metered.outcomes() == {"measured": 1}


def test_an_engine_that_keeps_its_defaults_elsewhere_is_still_measured() -> None:
    metered = Metered(serving(answer()))
    metered.ask(asking(), around=scope() | {"app": None})
    assert metered.counted() == {"unknown": (1, 0.5)}


LOOKS_LIKE_STATISTICS = '"speculative_decoding":{"num_draft_tokens":1,"num_accepted_draft_tokens":1}'


@pytest.mark.parametrize(
    ("parts", "outcomes"),
    [
        pytest.param([answer()], {"measured": 1}, id="whole"),
        pytest.param([answer(LOOKS_LIKE_STATISTICS)], {"measured": 1}, id="a text that looks like statistics"),
        pytest.param([answer("x" * 3_000_000)], {"measured": 1}, id="long"),
        pytest.param([answer()[:-40], answer()[-40:], b""], {"measured": 1}, id="cut inside the statistics"),
        pytest.param(events(), {"measured": 1}, id="streamed with usage"),
        pytest.param(events(has_usage=False), {"no_statistics": 1}, id="streamed without usage"),
        pytest.param([b'{"metrics":null}'], {"no_statistics": 1}, id="several choices have none"),
        pytest.param([answer(num_draft_tokens=0)], {"no_draft": 1}, id="nothing was proposed: no rate"),
        pytest.param([b""], {"no_statistics": 1}, id="empty"),
        pytest.param([b'{"speculative_decoding":{}}'], {"failed": 1}, id="statistics of another shape"),
        pytest.param([b'{"speculative_decoding":{no}}'], {"failed": 1}, id="no JSON"),
        pytest.param([memoryview(answer())], {"measured": 1}, id="Starlette may send views"),
    ],
)
def test_every_answer_is_counted_once(parts: list[bytes], outcomes: dict[str, int]) -> None:
    metered = Metered(serving(*parts))
    metered.ask(asking(temperature=0))
    assert metered.outcomes() == outcomes
    assert metered.counted() == ({"0": (1, 0.5)} if "measured" in outcomes else {})


@pytest.mark.parametrize(
    ("metered", "around"),
    [
        pytest.param(Metered(serving(answer(), status=400)), scope(), id="an error answer"),
        pytest.param(Metered(serving(answer())), scope("/v1/embeddings"), id="a path without statistics"),
        pytest.param(Metered(serving(answer())), scope("/metrics"), id="Prometheus"),
    ],
)
def test_what_is_no_generation_is_not_counted(metered: Metered, around: dict[str, Any]) -> None:
    metered.ask(asking(temperature=0), around=around)
    assert (metered.outcomes(), metered.counted()) == ({}, {})


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(asking(temperature={}), id="a temperature that is none"),
    ],
)
def test_a_request_that_cannot_be_read_costs_one_measurement(request_body: bytes) -> None:
    metered = Metered(serving(answer()))
    assert metered.ask(request_body)[-1]["body"] == answer()
    assert metered.outcomes() == {"failed": 1}
    metered.ask(asking(temperature=0))
    assert metered.counted() == {"0": (1, 0.5)}


def test_lifespan_and_websockets_go_by() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        asyncio.run(exchanged(Metered(app).app, [b""], {"type": kind, "path": COMPLETIONS}))
    assert seen == ["lifespan", "websocket"]


def test_a_defect_of_the_application_is_its_own() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    metered = Metered(app)
    with pytest.raises(ZeroDivisionError):
        metered.ask(asking())
    assert metered.outcomes() == {}


async def test_a_client_that_goes_away_ends_the_application_as_without_the_meter() -> None:
    """Uvicorn's send returns silently then; hypercorn's and a test's may raise. Cancellation passes too."""
    metered, waits = Metered(serving(*events())), asyncio.Event()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": asking(), "more_body": False}

    async def broken(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await metered.app(scope(), receive, broken)
    waiting = asyncio.create_task(metered.app(scope(), receive, lambda _: waits.wait()))  # type: ignore[arg-type,return-value]  # any awaitable
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert metered.outcomes() == {}


def test_an_application_that_listens_for_the_end_of_the_connection_hears_it() -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await serving(answer())(scope, receive, send)
        heard.append((await receive())["type"])

    metered = Metered(app)
    metered.ask(asking(temperature=0))
    assert heard == ["http.disconnect"]
    assert metered.counted() == {"0": (1, 0.5)}


def test_all_meters_of_a_process_count_where_vllm_looks() -> None:
    """Starlette may build its stack of middleware anew; a second histogram of the name would be refused."""
    first, second = Meter(serving()), Meter(serving())
    assert first._instruments is second._instruments is shared()
    shared().requests.labels("measured")
    assert REGISTRY.get_sample_value("specdecode:meter_requests_total", {"outcome": "measured"}) == 0


async def test_each_message_is_passed_on_before_it_is_looked_at() -> None:
    metered, order = Metered(serving(answer())), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": asking(temperature=0), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        order.append((message["type"], metered.outcomes()))

    await metered.app(scope(), receive, send)
    assert order == [("http.response.start", {}), ("http.response.body", {})]
    assert metered.outcomes() == {"measured": 1}


def chunked(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)
BODIES = st.one_of(
    st.binary(max_size=400),
    st.just(answer()),
    st.just(b"".join(events())),
    st.integers(0, 2 * TAIL_BYTES).map(lambda length: answer("x" * length)),
)


@given(asked=st.one_of(st.binary(max_size=200), st.just(asking(temperature=0))), answered=BODIES, cuts=CUTS, parts=CUTS)
def test_a_client_receives_the_same_messages_with_and_without_it(
    asked: bytes, answered: bytes, cuts: list[int], parts: list[int]
) -> None:
    app, request = serving(*chunked(answered, cuts)), chunked(asked, parts)
    without = asyncio.run(exchanged(app, request, scope()))
    metered = Metered(app)
    assert metered.ask(*request) == without
    assert sum(metered.outcomes().values()) == 1


@given(length=st.integers(0, 3 * TAIL_BYTES), cuts=CUTS)
def test_however_an_answer_is_cut_it_is_measured(length: int, cuts: list[int]) -> None:
    metered = Metered(serving(*chunked(answer("x" * length), cuts)))
    metered.ask(asking(temperature=0))
    assert metered.counted() == {"0": (1, 0.5)}


def test_of_a_long_stream_only_the_end_is_kept_and_measured() -> None:
    metered = Metered(serving(*[b"data: " + b"x" * 1000 + b"\n\n"] * 100, *events()))
    metered.ask(asking(temperature=0))
    assert metered.counted() == {"0": (1, 0.5)}
