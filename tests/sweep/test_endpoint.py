"""One endpoint over real HTTP: who is there, and one answer followed to its end."""

import math
from typing import Any

import pytest
from sweep.moody_engine import Mood, moody_engine

from specdecode.api.resource import Problem
from specdecode.sweep.endpoint import Endpoint, Identity, check_url

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
TEXT: dict[str, Any] = {"model": "m", "prompt": "hi", "max_tokens": 4}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://127.0.0.1:8000", "http://127.0.0.1:8000", id="as it is"),
        pytest.param("http://engine:8000/v1/", "http://engine:8000", id="clients of OpenAI add /v1"),
        pytest.param("https://gateway/models/a/v1", "https://gateway/models/a", id="behind a path"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert check_url("URL", url) == address


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        pytest.param("127.0.0.1:8000", "must be an address", id="without a scheme"),
        pytest.param("ftp://engine", "must be an address", id="another scheme"),
        pytest.param("http://", "must be an address", id="no host"),
        pytest.param("http://engine:99999999", "must be an address", id="no port"),
        pytest.param("http://me:secret@engine", "--api-key-env", id="a password in it"),
        pytest.param("http://engine/?key=secret", "--api-key-env", id="a key in it"),
    ],
)
def test_addresses_that_are_refused(url: str, sentence: str) -> None:
    found = check_url("URL", url)
    assert isinstance(found, Problem)
    assert sentence in str(found)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("mood", "speculates", "tokens"),
    [
        pytest.param(Mood(), True, 3, id="an engine that speculates says with how many tokens"),
        pytest.param(Mood(speculates=False), False, 0, id="an engine without the series does not speculate"),
        pytest.param(Mood(version=None), True, 3, id="the series are enough to know vLLM"),
    ],
)
async def test_who_is_there(mood: Mood, *, speculates: bool, tokens: int) -> None:
    with moody_engine(mood) as engine:
        async with Endpoint(engine.url) as endpoint:
            found = await endpoint.identify()
    assert isinstance(found, Identity)
    assert (found.model, found.speculates) == ("m", speculates)
    assert found.counters is not None
    assert found.counters.num_speculative_tokens == tokens


async def test_without_metrics_nobody_knows_whether_it_speculates() -> None:
    with moody_engine(Mood(shows_metrics=False)) as engine:
        async with Endpoint(engine.url) as endpoint:
            found = await endpoint.identify()
    assert isinstance(found, Identity)
    assert found.speculates is None


@pytest.mark.parametrize(
    ("mood", "model", "sentence"),
    [
        pytest.param(Mood(version=None, shows_metrics=False), "", "is not vLLM", id="neither a version nor series"),
        pytest.param(Mood(serves=()), "", "is no OpenAI-compatible endpoint", id="no list of models"),
        pytest.param(Mood(), "gpt", "--model is gpt: is not served", id="a model that is not served"),
        pytest.param(Mood(key="k"), "", "--api-key-env", id="a key is wanted"),
        pytest.param(Mood(dies_after=0), "", "is the engine up?", id="nobody answers"),
    ],
)
async def test_who_is_refused(mood: Mood, model: str, sentence: str) -> None:
    with moody_engine(mood) as engine:
        async with Endpoint(engine.url) as endpoint:
            found = await endpoint.identify(model)
    assert isinstance(found, Problem)
    assert sentence in str(found)


async def test_metrics_that_are_elsewhere_get_no_key() -> None:
    with moody_engine(Mood(version=None, shows_metrics=False, key="k")) as engine, moody_engine() as exporter:
        async with Endpoint(engine.url, key="k", metrics_url=f"{exporter.url}/metrics") as endpoint:
            found = await endpoint.identify()
            assert "authorization" not in endpoint._other.headers
    assert isinstance(found, Identity)
    assert found.speculates


async def test_metrics_that_are_not_where_they_were_said_to_be() -> None:
    with moody_engine() as engine:
        async with Endpoint(engine.url, metrics_url=f"{engine.url}/health") as endpoint:
            found = await endpoint.identify()
    assert isinstance(found, Problem)
    assert found.field == "--metrics-url"


@pytest.mark.parametrize(
    ("path", "body"),
    [pytest.param("/v1/completions", TEXT, id="a text"), pytest.param("/v1/chat/completions", CHAT, id="a chat")],
)
async def test_an_answer(path: str, body: dict[str, Any]) -> None:
    with moody_engine(Mood(token_seconds=0.03, announces=0.05)) as engine:
        async with Endpoint(engine.url) as endpoint:
            reply = await endpoint.ask(path, body)
    assert not reply.error
    assert (reply.prompt_tokens, reply.output_tokens) == (7, 4)
    announced = 0.05 if "chat" in path else 0.0
    assert announced + 0.03 <= reply.ttft_seconds < reply.e2e_seconds, "who speaks is no token"
    assert reply.e2e_seconds >= announced + 4 * 0.03


@pytest.mark.parametrize(
    ("mood", "error", "is_refusal"),
    [
        pytest.param(Mood(refuses="too long"), "HTTP 400: too long", True, id="refused, in the engine's words"),
        pytest.param(Mood(without_usage=True), "include_usage", False, id="without token counts"),
        pytest.param(Mood(breaks_off=True), "broke off", False, id="the stream ends too early"),
        pytest.param(Mood(error_in_stream="EngineDeadError"), "EngineDeadError", False, id="an error in the stream"),
        pytest.param(Mood(hangs=True), "no answer within 0.3 s", False, id="later than its time"),
        pytest.param(Mood(dies_after=0), "the connection", False, id="the connection breaks"),
        pytest.param(Mood(key="k"), "HTTP 401: no Bearer ***", True, id="its key is in no message"),
    ],
)
async def test_an_answer_that_failed(mood: Mood, error: str, *, is_refusal: bool) -> None:
    with moody_engine(mood) as engine:
        async with Endpoint(engine.url, timeout_seconds=0.3, key="s3cret") as endpoint:
            reply = await endpoint.ask("/v1/completions", TEXT)
    assert error in reply.error
    assert "s3cret" not in reply.error
    assert reply.is_refusal is is_refusal
    assert math.isnan(reply.e2e_seconds)
    assert len(engine.bodies) <= 1, "nothing is sent again"
