"""vLLM itself loads the meter with the flags of a plan, and the histogram is what the answers and the counters say."""

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import resource
from contract.served import one_at_a_time
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.processes import Process, free_ports
from rehearsal.vllm import serve
from rehearsal.vllm.ask import offline
from rehearsal.vllm.environment import Engine, EngineEnvironment
from rehearsal.vllm.serve import TinyPair, make_tiny_pair, on_loopback
from specdecode.api.vocabulary import CACHE_MOUNT
from specdecode.manifests.build import build
from specdecode.meter import FILE
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

RATE, OUTCOMES = "specdecode:request_acceptance_rate", "specdecode:meter_requests_total"
ROUNDS = 4
PROMPT = "def main() -> None:"


def facts(parameters: int, layers: int) -> dict[str, Any]:
    """What the two config.json say."""
    return {
        "architecture": "LlamaForCausalLM",
        "numHiddenLayers": layers,
        "parameters": parameters,
        "hiddenSize": 256,
        "intermediateSize": 512,
        "headDim": 64,
        "numAttentionHeads": 4,
        "numKeyValueHeads": 2,
        "vocabSize": 1024,
        "maxPositionEmbeddings": 2048,
    }


def metered_plan(pair: TinyPair) -> tuple[Plan, Mapping[str, str]]:
    """A plan with the meter, and the files of its ConfigMap."""
    speculating = resource(
        **{
            "spec.model": {"name": f"{CACHE_MOUNT}/target", "facts": facts(pair.target_parameters, 6)},
            "spec.engine": {
                "image": "vllm/vllm-openai:v0.32.0",
                "maxModelLen": 2048,
                "maxNumSeqs": 16,
                "gpuMemoryUtilization": "0.7",
                "maxNumBatchedTokens": 2048,
                "enforceEager": True,
                "pinKvCache": True,
            },
            "spec.accelerator": {"product": "as-small-as-the-pair", "memory": "2Gi", "count": 1},
            "spec.speculation": {
                "method": "draft_model",
                "numSpeculativeTokens": 3,
                "draft": {"name": f"{CACHE_MOUNT}/draft", "facts": facts(pair.draft_parameters, 1)},
            },
            "spec.cache": {"claimName": "models"},
            "spec.guard": {"meter": True},
        }
    )
    plan = make_plan(speculating)
    assert isinstance(plan, Plan), str(plan)
    meter = build(speculating, plan)[plan.requested_mode].meter
    assert meter is not None
    return plan, meter["data"]


@dataclass
class Answers:
    """What the answers said of themselves, and the engine's metrics before and after."""

    rates: dict[str, list[float]] = field(default_factory=lambda: {"0": [], "0.7-1": []})
    proposed: int = 0
    accepted: int = 0
    metered: str = ""
    """`/metrics` after the requests that have statistics."""
    final: str = ""
    """And after those that have none."""

    def take(self, temperatures: str, answer: Mapping[str, Any]) -> None:
        said = answer["metrics"]["speculative_decoding"]
        self.proposed += said["num_draft_tokens"]
        self.accepted += said["num_accepted_draft_tokens"]
        self.rates[temperatures].append(said["num_accepted_draft_tokens"] / said["num_draft_tokens"])


def value(metrics: str, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


class Client:
    """Asks one engine for 48 tokens at a time."""

    def __init__(self, http: httpx.AsyncClient, model: str) -> None:
        self._http = http
        self._model = model

    async def metrics(self) -> str:
        return (await self._http.get("/metrics")).raise_for_status().text

    async def completion(self, **settings: Any) -> httpx.Response:
        body = {"model": self._model, "prompt": PROMPT, "max_tokens": 48, "ignore_eos": True, **settings}
        return await self._http.post("/v1/completions", json=body)

    async def chat(self, **settings: Any) -> httpx.Response:
        message = {"role": "user", "content": PROMPT}
        body = {"model": self._model, "messages": [message], "max_tokens": 48, "ignore_eos": True, **settings}
        return await self._http.post("/v1/chat/completions", json=body)


def last_event(response: httpx.Response) -> dict[str, Any]:
    *_, usage, done = response.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    parsed: dict[str, Any] = json.loads(usage.removeprefix("data: "))
    return parsed


async def ask(client: Client) -> Answers:
    answers, with_usage = Answers(), {"stream": True, "stream_options": {"include_usage": True}}
    for number in range(ROUNDS):
        for label, settings in (("0", {"temperature": 0}), ("0.7-1", {"temperature": 1})):
            answers.take(label, (await client.completion(seed=number, **settings)).raise_for_status().json())
            answers.take(label, (await client.chat(seed=number, **settings)).raise_for_status().json())
            answers.take(label, last_event(await client.completion(seed=number, **settings, **with_usage)))
            answers.take(label, last_event(await client.chat(seed=number, **settings, **with_usage)))
        # The engine's own default: 1 for a model without generation_config.json.
        answers.take("0.7-1", (await client.completion(seed=number)).raise_for_status().json())
    answers.metered = await client.metrics()
    assert (await client.completion(temperature=0, stream=True)).text.endswith("data: [DONE]\n\n")
    (await client.completion(temperature=1, n=2)).raise_for_status()
    assert (await client.completion(temperature=-1)).status_code == 400
    assert (await client.completion(max_tokens="many")).status_code == 400
    answers.final = await client.metrics()
    return answers


async def serve_and_ask(engine: Engine, folder: Path) -> Answers:
    pair = await make_tiny_pair(engine, folder / "models")
    plan, files = metered_plan(pair)
    mounted = folder / "meter"
    mounted.mkdir()
    (mounted / FILE).write_text(files[FILE])
    (port,) = free_ports(1)
    arguments = [text.replace(CACHE_MOUNT, str(folder / "models")) for text in plan.requested.arguments]
    module = ("-P", "-m", "vllm.entrypoints.openai.api_server")
    process = Process(
        "vLLM with the meter",
        [engine.python, *module, *on_loopback(arguments, port)],
        log=folder / "engine.log",
        environment=offline(engine, folder) | {"PYTHONPATH": str(mounted)},
        directory=folder,
    )
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False) as http:
            await serve._ready(http, process)
            models = (await http.get("/v1/models")).raise_for_status().json()
            return await ask(Client(http, models["data"][0]["id"]))
    finally:
        await process.stop()


@pytest.fixture(scope="module")
def answers(engine_environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    engine = engine_environment.running
    with one_at_a_time(engine):
        return asyncio.run(serve_and_ask(engine, tmp_path_factory.mktemp("meter")))


@pytest.mark.parametrize(
    ("temperatures", "requests"),
    [
        pytest.param("0", 4 * ROUNDS, id="greedy: whole and streamed, completions and chats"),
        pytest.param("0.7-1", 5 * ROUNDS, id="at 1, and where the request leaves it to the engine"),
    ],
)
def test_every_request_is_counted_under_its_temperature(answers: Answers, temperatures: str, requests: int) -> None:
    rates, labels = answers.rates[temperatures], {"temperature_bucket": temperatures}
    assert value(answers.metered, f"{RATE}_count", **labels) == len(rates) == requests
    assert value(answers.metered, f"{RATE}_sum", **labels) == pytest.approx(math.fsum(rates))
    for edge in (0.0, 0.3, 0.6, 1.0):
        below = sum(rate <= edge for rate in rates)
        assert value(answers.metered, f"{RATE}_bucket", **labels, le=str(edge)) == below, edge


def test_the_answers_add_up_to_the_engine_s_own_counters(answers: Answers) -> None:
    assert answers.proposed == value(answers.metered, "vllm:spec_decode_num_draft_tokens_total") > 0
    assert answers.accepted == value(answers.metered, "vllm:spec_decode_num_accepted_tokens_total") > 0


def test_acceptance_falls_when_the_temperature_rises(answers: Answers) -> None:
    greedy, sampled = (math.fsum(rates) / len(rates) for rates in answers.rates.values())
    assert sampled < greedy - 0.1, f"{greedy:.3f} at temperature 0, {sampled:.3f} at 1"


def test_what_has_no_statistics_is_counted_apart_and_errors_are_not_counted(answers: Answers) -> None:
    outcomes = {
        outcome: value(answers.final, OUTCOMES, outcome=outcome)
        for outcome in ("measured", "no_statistics", "no_draft", "failed")
    }
    assert outcomes == {"measured": 9 * ROUNDS, "no_statistics": 2, "no_draft": 0, "failed": 0}
    assert value(answers.final, f"{RATE}_count") == 9 * ROUNDS
