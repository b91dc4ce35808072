"""The simulated engine as clients see it: its endpoints in this process, and the whole program in another."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.engine.arguments import parse_arguments
from rehearsal.engine.batch import Batch
from rehearsal.engine.behaviour import Behaviour, BehaviourFile, write_behaviour
from rehearsal.engine.cache import kv_cache_tokens
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.engine.server import Server
from rehearsal.traffic import Traffic

FAST = Behaviour(start_seconds=0, c0_ms=2, c1_us_per_token=0, ckv_ns_per_token=0, draft_ms_per_token=0, overhead_ms=0)
SPECULATING = '--speculative-config={"method":"draft_model","model":"d","num_speculative_tokens":3}'
TPOT = "vllm:request_time_per_output_token_seconds"
ITL = "vllm:inter_token_latency_seconds"


@asynccontextmanager
async def _engine(path: Path, behaviour: Behaviour, *words: str) -> AsyncIterator[httpx.AsyncClient]:
    """The engine without a socket; its behaviour is in `path`."""
    write_behaviour(path, behaviour)
    arguments = parse_arguments(["m", *words])
    tokens = behaviour.kv_cache_tokens or kv_cache_tokens(arguments)
    metrics = EngineMetrics(arguments, tokens, created=0)
    file = BehaviourFile(path)
    batch = Batch(arguments, file, metrics, tokens)
    steps = asyncio.create_task(batch.run())
    transport = httpx.ASGITransport(Server(arguments, batch, metrics, file).application())
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client
    steps.cancel()
    with suppress(asyncio.CancelledError):
        await steps


async def _total(client: httpx.AsyncClient, name: str) -> float:
    """Sum of all samples of that name on /metrics."""
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def _mean(client: httpx.AsyncClient, histogram: str) -> float:
    return await _total(client, f"{histogram}_sum") / await _total(client, f"{histogram}_count")


@pytest.fixture
def behaviour_file(tmp_path: Path) -> Path:
    return tmp_path / "behaviour.json"


async def test_the_quiet_endpoints(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST, "--served-model-name=chat") as client:
        assert [(await client.get(path)).status_code for path in ("/health", "/ping")] == [200, 200]
        assert (await client.get("/version")).json() == {"version": "0.32.0"}
        (model,) = (await client.get("/v1/models")).json()["data"]
        assert (model["id"], model["root"]) == ("chat", "m")


async def test_a_completion(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST) as client:
        answer = (await client.post("/v1/completions", json={"prompt": "x" * 40, "max_tokens": 5})).json()
        assert answer["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["choices"][0]["text"].split() == ["token"] * 5
        assert await _total(client, "vllm:generation_tokens_total") == 5
        assert await _total(client, "vllm:prompt_tokens_total") == 10
        assert await _total(client, "vllm:request_success_total") == 1


async def test_a_chat_streams_a_piece_for_each_step(behaviour_file: Path) -> None:
    everything_accepted = FAST.model_copy(update={"draft": 1.0})
    async with _engine(behaviour_file, everything_accepted, SPECULATING) as client:
        body = {
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 9,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        lines = (await client.post("/v1/chat/completions", json=body)).text.split("\n\n")
        *events, done = [line.removeprefix("data: ") for line in lines if line]
        assert done == "[DONE]"
        announcement, *pieces, usage = map(json.loads, events)
        assert announcement["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        tokens = [len(piece["choices"][0]["delta"]["content"].split()) for piece in pieces]
        assert tokens == [1, 4, 4], "the prompt's step gives one token, each other one three accepted and one more"
        assert usage["usage"]["completion_tokens"] == 9


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param({"model": "other"}, 404, "does not exist", id="another model"),
        pytest.param({"max_tokens": 200}, 400, "greater than max_model_len=128", id="longer than the model allows"),
        pytest.param({"prompt": "x" * 512}, 400, "maximum context length is 128", id="a prompt that fills the context"),
        pytest.param({"max_tokens": -1}, 400, "at least 1", id="less than nothing"),
        pytest.param(
            {"min_p": 0.1, "temperature": 1},
            400,
            "not yet supported with speculative",
            id="a parameter that drafts exclude",
        ),
        pytest.param({"logit_bias": {"5": 1}}, 400, "not yet supported with speculative", id="another one"),
        pytest.param({"prompt": ["a", "b"]}, 400, "one prompt", id="two prompts"),
        pytest.param({"prompt": ""}, 400, "prompt_embeds must be provided", id="no prompt"),
        pytest.param({"temperature": -1}, 400, "must be non-negative", id="colder than greedy"),
        pytest.param({"temperature": "hot"}, 400, "hot", id="a word for a number"),
    ],
)
async def test_a_request_that_is_refused(behaviour_file: Path, body: dict[str, Any], status: int, message: str) -> None:
    async with _engine(behaviour_file, FAST, SPECULATING, "--max-model-len=128") as client:
        response = await client.post("/v1/completions", json={"prompt": "hello"} | body)
        assert response.status_code == status
        assert message in response.json()["error"]["message"]


async def test_min_p_is_forgotten_without_sampling(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST, SPECULATING) as client:
        body = {"prompt": "hello", "min_p": 0.1, "temperature": 0}
        assert (await client.post("/v1/completions", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        pytest.param("/v1/completions", {"prompt": "x" * 40, "max_tokens": 64}, 54, id="no more than is left"),
        pytest.param("/v1/completions", {"prompt": "x" * 40}, 16, id="a completion that names no number"),
        pytest.param("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 40}]}, 54, id="a chat"),
    ],
)
async def test_how_long_an_answer_is(behaviour_file: Path, path: str, body: dict[str, Any], tokens: int) -> None:
    async with _engine(behaviour_file, FAST, "--max-model-len=64") as client:
        assert (await client.post(path, json=body)).json()["usage"]["completion_tokens"] == tokens


async def _ask(client: httpx.AsyncClient, requests: int, **body: Any) -> None:
    posts = (client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 30} | body) for _ in range(requests))
    assert {response.status_code for response in await asyncio.gather(*posts)} == {200}


async def test_more_requests_than_sequences_wait(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST.model_copy(update={"c0_ms": 20}), "--max-num-seqs=2") as client:
        asking = asyncio.create_task(_ask(client, 5, max_tokens=10))
        await asyncio.sleep(0.1)
        assert await _total(client, "vllm:num_requests_running") == 2
        assert await _total(client, "vllm:num_requests_waiting") == 3
        await asking
        assert await _total(client, "vllm:num_requests_running") == 0
        assert await _total(client, "vllm:request_queue_time_seconds_sum") > 10 * 0.02, "one waited for another"


async def test_steps_take_what_the_model_says(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST.model_copy(update={"c0_ms": 12})) as client:
        await _ask(client, 4)
        assert await _mean(client, TPOT) == pytest.approx(0.012, rel=0.03)
        assert await _mean(client, ITL) == pytest.approx(0.012, rel=0.03)


async def test_under_speculation_tokens_come_faster_and_steps_slower(behaviour_file: Path) -> None:
    behaviour = FAST.model_copy(update={"c0_ms": 12, "draft_ms_per_token": 2, "draft": 1.0})
    async with _engine(behaviour_file, behaviour, SPECULATING) as client:
        await _ask(client, 4, temperature=0, max_tokens=29)
        assert await _mean(client, ITL) == pytest.approx(0.018, rel=0.03), "12 ms and three passes of the draft"
        assert await _mean(client, TPOT) == pytest.approx(0.018 / 4, rel=0.03), "28 tokens in seven steps"


async def test_a_temperature_lowers_acceptance(behaviour_file: Path) -> None:
    async with _engine(
        behaviour_file, FAST.model_copy(update={"temperature_sensitivity": 50.0}), SPECULATING
    ) as client:
        await _ask(client, 4, temperature=1.0)
        assert await _total(client, "vllm:spec_decode_num_accepted_tokens_total") == 0
        await _ask(client, 4, temperature=0)
        assert await _total(client, "vllm:spec_decode_num_accepted_tokens_total") > 0


async def test_the_same_seed_gives_the_same_answer(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST, SPECULATING) as client:
        accepted = [0.0]
        for _ in range(2):
            await _ask(client, 1, seed=7)
            accepted.append(await _total(client, "vllm:spec_decode_num_accepted_tokens_total"))
        assert accepted[2] - accepted[1] == accepted[1] - accepted[0]


async def test_empty_replies(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST.model_copy(update={"empty_replies": True})) as client:
        (choice,) = (await client.post("/v1/completions", json={"prompt": "hello"})).json()["choices"]
        assert (choice["text"], choice["finish_reason"]) == ("", "stop")


async def test_frozen_metrics(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST.model_copy(update={"freeze_metrics": True})) as client:
        before = (await client.get("/metrics")).text
        await _ask(client, 1)
        assert (await client.get("/metrics")).text == before


async def test_a_client_that_leaves_frees_its_place(behaviour_file: Path) -> None:
    async with _engine(behaviour_file, FAST.model_copy(update={"c0_ms": 20})) as client:
        asking = asyncio.create_task(_ask(client, 1))
        await asyncio.sleep(0.1)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert await _total(client, "vllm:num_requests_running") == 0
        await _ask(client, 1)
        assert await _total(client, "vllm:request_success_total") == 1, "vLLM never counts the one that went away"
        assert await _total(client, "vllm:time_to_first_token_seconds_count") == 2, "though it had its first token"


# The program

Start = Callable[..., Awaitable[tuple[asyncio.subprocess.Process, str]]]


@pytest.fixture
async def start(behaviour_file: Path) -> AsyncIterator[Start]:
    """Starts the program on a loopback address of its own; returns it and its `ip:port`."""
    started: list[asyncio.subprocess.Process] = []

    async def run(behaviour: Behaviour, words: Sequence[str] = ()) -> tuple[asyncio.subprocess.Process, str]:
        write_behaviour(behaviour_file, behaviour)
        random = SystemRandom()
        address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rehearsal.engine", "--model=m", *words, "--host=0.0.0.0", "--port=8000"),
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": "operator",
                "REHEARSAL_POD_IP": address,
                "REHEARSAL_BEHAVIOUR": str(behaviour_file),
            },
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process, f"{address}:8000"

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until_healthy(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/health")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def _acceptance(client: httpx.AsyncClient, address: str, requests: int) -> float:
    """Share of the proposed tokens that are accepted while so many requests are answered."""

    async def totals() -> tuple[float, float]:
        accepted = await _total(client, "vllm:spec_decode_num_accepted_tokens_total")
        return accepted, await _total(client, "vllm:spec_decode_num_draft_tokens_total")

    before = await totals()
    async with Traffic(lambda: [address], concurrency=16) as traffic, asyncio.timeout(30):
        while traffic.ok < requests:  # noqa: ASYNC110  a counter tells nobody that it changed
            await asyncio.sleep(0.02)
    assert (traffic.failed, traffic.retried) == (0, 0)
    after = await totals()
    return (after[0] - before[0]) / (after[1] - before[1])


def _expected_acceptance(conditional: float, proposed: int = 3) -> float:
    return sum(conditional**position for position in range(1, proposed + 1)) / proposed


async def test_acceptance_is_that_of_the_behaviour_and_follows_it(start: Start, behaviour_file: Path) -> None:
    process, address = await start(FAST, [SPECULATING])
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        await _until_healthy(client)
        assert await _acceptance(client, address, 600) == pytest.approx(_expected_acceptance(0.87), abs=0.02)
        write_behaviour(behaviour_file, FAST.model_copy(update={"draft": 0.08}))
        await asyncio.sleep(0.6)
        assert await _acceptance(client, address, 300) == pytest.approx(_expected_acceptance(0.08), abs=0.02)
    assert process.returncode is None


async def test_sigterm_lets_running_requests_end(start: Start) -> None:
    process, address = await start(FAST.model_copy(update={"c0_ms": 20}))
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        await _until_healthy(client)
        asking = asyncio.create_task(_ask(client, 3, max_tokens=40))
        await asyncio.sleep(0.3)
        process.terminate()
        await asking
    _, errors = await asyncio.wait_for(process.communicate(), timeout=10)
    assert (process.returncode, errors) == (0, b"")


async def test_it_answers_only_when_it_has_loaded(start: Start) -> None:
    _, address = await start(FAST.model_copy(update={"start_seconds": 1.0}))
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")
        await _until_healthy(client)


@pytest.mark.parametrize(
    ("behaviour", "words", "code", "error"),
    [
        pytest.param(
            FAST.model_copy(update={"exit_code_at_start": 137, "stderr_at_start": "CUDA out of memory"}),
            [],
            137,
            "CUDA out of memory",
            id="killed while it loads",
        ),
        pytest.param(FAST, ["--foo"], 2, "unrecognized arguments: --foo", id="an unknown argument"),
        pytest.param(
            FAST,
            ['--speculative-config={"method":"ngram","num_speculative_tokens":3,"foo":1}'],
            1,
            "Unexpected keyword argument",
            id="an unknown key",
        ),
    ],
)
async def test_it_fails_to_start(
    start: Start, behaviour: Behaviour, words: Sequence[str], code: int, error: str
) -> None:
    process, _ = await start(behaviour, words)
    _, errors = await asyncio.wait_for(process.communicate(), timeout=20)
    assert process.returncode == code
    assert error in errors.decode()
