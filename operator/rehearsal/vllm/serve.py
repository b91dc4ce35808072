"""Starts the real vLLM on CPU with a command line of the plan, and keeps what it said: its log and its metrics.

The CPU backend of 0.32 takes the whole command line of a GPU server. What it makes of the memory flags, from its source
(`platforms/cpu.py`, `v1/worker/cpu_worker.py`) and from starts: the KV cache is exactly `--kv-cache-memory-bytes`,
unless VLLM_CPU_KVCACHE_SPACE overrules it; with neither it is the utilisation's share of the NUMA node's memory less
what the worker takes already. A block has 128 tokens unless `--block-size` says otherwise. It does not print what it
loaded.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from rehearsal.processes import Process, ProcessError, free_ports, run
from rehearsal.vllm.ask import offline
from rehearsal.vllm.environment import Engine

_READY_SECONDS = 240.0
"""Measured: 30 s on two idle cores."""
_POLL_SECONDS = 0.5
_TINY_MODELS = Path(__file__).with_name("tiny_models.py")
_PROMPT = "def main() -> None:"


@dataclass(frozen=True)
class TinyPair:
    """Two model directories and what they hold."""

    target: Path
    draft: Path
    target_parameters: int
    draft_parameters: int


@dataclass(frozen=True)
class Start:
    """What an engine left behind that started, answered one request and was stopped."""

    log: str
    metrics: str
    """`/metrics` after the request, in Prometheus' text format."""
    answer: str


async def make_tiny_pair(
    engine: Engine, folder: Path, *, difference: float = 0.05, sharpness: float = 12.0
) -> TinyPair:
    """Make target and draft below `folder`; what the two numbers do is said in `tiny_models`.

    Raises:
        ProcessError: the engine's Python could not make them.
    """
    wanted = (f"--difference={difference}", f"--sharpness={sharpness}")
    command: list[str | Path] = [engine.python, "-P", _TINY_MODELS, folder, *wanted]
    made = await run(command, environment=offline(engine, folder), timeout_seconds=120.0)
    if made.returncode != 0:
        raise ProcessError(f"the tiny models could not be made:\n{made.errors[-2_000:]}")
    counts = json.loads(made.output.splitlines()[-1])
    parameters = (counts[name]["parameters"] for name in ("target", "draft"))
    return TinyPair(folder / "target", folder / "draft", *parameters)


def on_loopback(arguments: Sequence[str], port: int, address: str = "127.0.0.1") -> Iterator[str]:
    """The command line of a pod, listening on this machine only."""
    for argument in arguments:
        match argument.partition("=")[0]:
            case "--host":
                yield f"--host={address}"
            case "--port":
                yield f"--port={port}"
            case _:
                yield argument


async def start_once(engine: Engine, arguments: Sequence[str], folder: Path) -> Start:
    """Start the engine, let it answer one request, read its metrics, stop it.

    Raises:
        ProcessError: it ended, or was not ready in time; with the last lines of its log.
    """
    (port,) = free_ports(1)
    log = folder / "engine.log"
    module = ("-P", "-m", "vllm.entrypoints.openai.api_server")
    command: list[str | Path] = [engine.python, *module, *on_loopback(arguments, port)]
    process = Process(f"vLLM {engine.release}", command, log=log, environment=offline(engine, folder), directory=folder)
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30.0, trust_env=False) as client:
            await _ready(client, process)
            answer, metrics = await _asked(client)
    finally:
        await process.stop()
    return Start(log.read_text(encoding="utf-8", errors="replace"), metrics, answer)


async def _ready(client: httpx.AsyncClient, process: Process) -> None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while process.is_running:
                try:
                    if (await client.get("/health")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        problem = f"was not ready after {_READY_SECONDS:.0f} s"
    else:
        problem = f"ended with {process.returncode}"
    raise ProcessError(f"{process.name} {problem}; its last words:\n{process.log_tail()}")


async def _asked(client: httpx.AsyncClient) -> tuple[str, str]:
    models = (await client.get("/v1/models")).raise_for_status().json()
    body = {"model": models["data"][0]["id"], "prompt": _PROMPT, "max_tokens": 32, "temperature": 0}
    answer = (await client.post("/v1/completions", json=body)).raise_for_status().json()
    metrics = (await client.get("/metrics")).raise_for_status().text
    return answer["choices"][0]["text"], metrics
