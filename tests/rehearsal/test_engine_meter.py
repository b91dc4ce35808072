"""The simulated engine with the meter, as vLLM has it: it is loaded by name, and counts what the answers say."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.engine.behaviour import Behaviour, write_behaviour
from rehearsal.processes import Process, free_ports
from specdecode.meter import FILE, MIDDLEWARE, source

DRAFT = json.dumps({"method": "draft_model", "model": "d", "num_speculative_tokens": 3})
METERED = (f"--middleware={MIDDLEWARE}", "--per-request-spec-decode-metrics=summary")
RATE = "specdecode:request_acceptance_rate"


@asynccontextmanager
async def engine(folder: Path, *words: str) -> AsyncIterator[httpx.AsyncClient]:
    """An engine in a process of its own, with the meter's file where its ConfigMap would be."""
    (folder / "meter").mkdir()
    (folder / "meter" / FILE).write_text(source())
    write_behaviour(folder / "behaviour.json", Behaviour(start_seconds=0.0, c0_ms=1.0, draft=0.7))
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "rehearsal.engine", "m", f"--port={port}", "--host=127.0.0.1", *words]
    path = os.pathsep.join((str(folder / "meter"), str(Path(__file__).parents[2] / "operator")))
    environment = {**os.environ, "PYTHONPATH": path, "REHEARSAL_BEHAVIOUR": str(folder / "behaviour.json")}
    process = Process("engine", command, log=folder / "engine.log", environment=environment, directory=folder)
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10.0, trust_env=False) as client:
            for _ in range(200):
                try:
                    await client.get("/health")
                    break
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
            yield client
    finally:
        await process.stop()


def value(page: str, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(page)
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def statistics(answer: httpx.Response) -> dict[str, Any]:
    if answer.headers["content-type"].startswith("application/json"):
        last = answer.json()
    else:
        last = json.loads(answer.text.strip().split("\n\n")[-2].removeprefix("data: "))
    found: dict[str, Any] = last["metrics"]["speculative_decoding"]
    return found


async def test_it_counts_what_the_answers_say(tmp_path: Path) -> None:
    async with engine(tmp_path, f"--speculative-config={DRAFT}", *METERED) as client:
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        said = [
            statistics(await client.post("/v1/completions", json={"prompt": "x", "max_tokens": 40, **settings}))
            for settings in ({"temperature": 0}, {"temperature": 0, **streamed}, {})
        ]
        page = (await client.get("/metrics")).text
    proposed = sum(each["num_draft_tokens"] for each in said)
    accepted = sum(each["num_accepted_draft_tokens"] for each in said)
    assert 0 < accepted == value(page, "vllm:spec_decode_num_accepted_tokens_total")
    assert proposed == value(page, "vllm:spec_decode_num_draft_tokens_total")
    assert value(page, f"{RATE}_count", temperature_bucket="0") == 2
    assert value(page, f"{RATE}_count", temperature_bucket="0.7-1") == 1, "the default of an engine is 1"
    rates = [each["num_accepted_draft_tokens"] / each["num_draft_tokens"] for each in said]
    assert value(page, f"{RATE}_sum") == pytest.approx(sum(rates))
    assert value(page, "specdecode:meter_requests_total", outcome="measured") == 3


async def test_without_the_arguments_nothing_is_said_of_it(tmp_path: Path) -> None:
    async with engine(tmp_path, f"--speculative-config={DRAFT}") as client:
        answer = (await client.post("/v1/completions", json={"prompt": "x", "max_tokens": 20})).json()
        page = (await client.get("/metrics")).text
    assert "metrics" not in answer
    assert "specdecode:" not in page
