"""Engines that serve, real and simulated, under the same command line and with the same questions.

One engine is started, asked, and stopped; what it said is kept and looked at by many tests. Real engines of two test
runs would share two cores and time out, so they hold a lock.
"""

import asyncio
import fcntl
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from contract.pages import Page

from rehearsal.processes import Process, ProcessError
from rehearsal.vllm.ask import offline
from rehearsal.vllm.environment import Engine
from rehearsal.vllm.serve import TinyPair

MODEL = "tiny"
MAX_MODEL_LEN = 512
MAX_NUM_SEQS = 2
DRAFT_TOKENS = {"draft": 3, "ngram": 4, "off": 0}
KV_CACHE_BYTES = 100_000_000

_READY_SECONDS = 240.0
"""Measured: 25 s on two idle cores."""
_BUSY_SECONDS = 60.0
_OPERATOR = Path(__file__).parents[2] / "operator"
_LONG = 150
"""Tokens of a request that is to be seen while it runs."""
_LEFT = 400
"""Tokens of an answer that nobody waits for."""


def arguments(kind: str, pair: TinyPair) -> list[str]:
    """A pod's command line, with speculation of some kind."""
    speculation: dict[str, Any] = {
        "draft": {"method": "draft_model", "model": str(pair.draft)},
        "ngram": {"method": "ngram", "prompt_lookup_min": 1, "prompt_lookup_max": 3},
    }.get(kind, {})
    speculation |= {"num_speculative_tokens": DRAFT_TOKENS[kind]}
    common = [
        f"--model={pair.target}",
        f"--served-model-name={MODEL}",
        f"--max-model-len={MAX_MODEL_LEN}",
        f"--max-num-seqs={MAX_NUM_SEQS}",
        f"--kv-cache-memory-bytes={KV_CACHE_BYTES}",
        "--enforce-eager",
    ]
    return common if kind == "off" else [*common, f"--speculative-config={json.dumps(speculation)}"]


@contextmanager
def one_at_a_time(engine: Engine) -> Iterator[None]:
    """No other test run on this machine serves the real engine meanwhile."""
    folder = engine.python.parents[2]
    with (folder / ".serving.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def real(engine: Engine, words: Sequence[str], folder: Path, port: int) -> Process:
    """The real vLLM, not yet started."""
    command: list[str | Path] = [engine.python, "-P", "-m", "vllm.entrypoints.openai.api_server", *words]
    return Process(
        f"vLLM {engine.release}",
        [*command, "--host=127.0.0.1", f"--port={port}"],
        log=folder / "engine.log",
        environment=offline(engine, folder),
        directory=folder,
    )


def simulated(words: Sequence[str], folder: Path, port: int) -> Process:
    """The simulated engine of the rehearsal, not yet started."""
    command: list[str | Path] = [sys.executable, "-m", "rehearsal.engine", *words]
    return Process(
        "the simulated engine",
        [*command, "--host=127.0.0.1", f"--port={port}"],
        log=folder / "engine.log",
        environment={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_OPERATOR)},
        directory=folder,
    )


async def _healthy(client: httpx.AsyncClient, process: Process) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.is_running and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if (await client.get("/health")).is_success:
                return
        await asyncio.sleep(0.25)
    raise ProcessError(f"{process.name} does not serve; its last words:\n{process.log_tail()}")


@asynccontextmanager
async def serving(process: Process, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """An engine while the block runs."""
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False) as client:
            await _healthy(client, process)
            yield client
    finally:
        await process.stop()


@dataclass(frozen=True)
class Reply:
    """One answer, as far as it came."""

    status: int
    body: Any
    """The object; of a stream, None."""
    events: tuple[Any, ...] = ()
    """Of a stream, without its end."""
    is_done: bool = False
    """Whether the stream said that it ended."""
    seconds: float = 0.0
    content_type: str = ""

    @property
    def choice(self) -> dict[str, Any]:
        """The first choice; of a stream, that of the last piece that has one."""
        found: dict[str, Any] = [each["choices"][0] for each in self.events or (self.body,) if each["choices"]][-1]
        return found

    @property
    def finish_reason(self) -> str:
        """Why the answer ended."""
        return str(self.choice["finish_reason"])

    @property
    def is_single(self) -> bool:
        """Whether it has one token, and so no time between tokens."""
        return self.usage["completion_tokens"] == 1

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of prompt and answer, by OpenAI's names."""
        found: dict[str, int] = self.events[-1]["usage"] if self.events else self.body["usage"]
        return found


@dataclass(frozen=True)
class Record:
    """All that one engine said."""

    kind: str
    """What proposes tokens: draft or ngram."""
    start: Page
    asked: Page
    """After `replies`, when nothing ran any more."""
    busy: Page
    """While more requests were there than it takes at once."""
    drained: Page
    """After those, before a client went away."""
    aborted: Page
    """After a client went away in the middle of its answer."""
    clamped: Reply
    """To more tokens than are left after the prompt."""
    replies: tuple[Reply, ...]
    quiet: dict[str, Reply]
    """Endpoints that are only read."""
    refused: dict[str, Reply]
    """By the words of `REFUSED`."""

    @property
    def draft_tokens(self) -> int:
        """K of the command line."""
        return DRAFT_TOKENS[self.kind]

    @property
    def is_ngram(self) -> bool:
        """Whether a draft is proposed only now and then."""
        return self.kind == "ngram"

    def gained(self, name: str, **labels: str) -> float:
        """By how much a counter rose while `replies` were given."""
        return self.asked.total(name, **labels) - self.start.total(name, **labels)


COMPLETION: dict[str, Any] = {"model": MODEL, "prompt": "def main(self):", "max_tokens": 24, "temperature": 0}
CHAT: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "return self"}],
    "max_tokens": 24,
    "temperature": 0,
}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
HOT = {"temperature": 1, "seed": 5}
QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", COMPLETION),
    ("/v1/completions", COMPLETION | {"prompt": "import re\nimport re\nimport re\nimport", "max_tokens": 40}),
    ("/v1/completions", COMPLETION | HOT),
    ("/v1/completions", COMPLETION | {"max_tokens": 1}),
    ("/v1/completions", COMPLETION | HOT | STREAMED),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | HOT | STREAMED),
)
"""What both engines are asked and must answer: both temperatures, streamed and not, and an answer of one token."""
REFUSED: dict[str, tuple[str, Any]] = {
    "another model": ("/v1/completions", COMPLETION | {"model": "other"}),
    "more tokens than the model takes": ("/v1/completions", COMPLETION | {"max_tokens": 5_000}),
    "the same, streamed": ("/v1/completions", COMPLETION | STREAMED | {"max_tokens": 5_000}),
    "a prompt that is too long": ("/v1/completions", COMPLETION | {"prompt": "def main(self): " * 600}),
    "no tokens at all": ("/v1/completions", COMPLETION | {"max_tokens": 0}),
    "a negative temperature": ("/v1/completions", COMPLETION | {"temperature": -1}),
    "a word for a temperature": ("/v1/completions", COMPLETION | {"temperature": "hot"}),
    "no prompt": ("/v1/completions", {"model": MODEL}),
    "no messages": ("/v1/chat/completions", {"model": MODEL}),
    "a list for an object": ("/v1/completions", [1]),
    "no JSON": ("/v1/completions", b"{nope"),
    "min_p while sampling": ("/v1/completions", COMPLETION | HOT | {"min_p": 0.1}),
    "logit_bias": ("/v1/completions", COMPLETION | {"logit_bias": {"5": 3}}),
    "a path that is none": ("/v1/nothing", COMPLETION),
}
QUIET = ("/health", "/ping", "/version", "/v1/models", "/metrics")


async def _ask(client: httpx.AsyncClient, path: str, body: Any) -> Reply:
    """One request, and all of its answer."""
    sent = {"json": body} if not isinstance(body, bytes) else {"content": body}
    began = time.monotonic()
    response = await client.post(path, headers={"content-type": "application/json"}, **sent)
    seconds, kind = time.monotonic() - began, response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        return Reply(response.status_code, response.json(), seconds=seconds, content_type=kind)
    data = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    events = tuple(json.loads(line) for line in data if line != "[DONE]")
    return Reply(response.status_code, None, events, data[-1] == "[DONE]", seconds, kind)


async def _read(client: httpx.AsyncClient, path: str) -> Reply:
    response = await client.get(path)
    kind = response.headers.get("content-type", "")
    return Reply(response.status_code, response.json() if "json" in kind else response.text, content_type=kind)


async def _page(client: httpx.AsyncClient) -> Page:
    return Page((await client.get("/metrics")).raise_for_status().text)


async def _quiet_page(client: httpx.AsyncClient) -> Page:
    """The page when nothing runs and nothing is counted any more: the engine counts a moment after it has answered."""
    before = -1.0
    async with asyncio.timeout(_BUSY_SECONDS):
        while True:
            page = await _page(client)
            left = page.total("vllm:num_requests_running") + page.total("vllm:num_requests_waiting")
            counted = page.total("vllm:request_success_total") + page.total("vllm:generation_tokens_total")
            if not left and counted == before:
                return page
            before = counted
            await asyncio.sleep(0.5)


async def _busy_page(client: httpx.AsyncClient) -> Page:
    """The page while as many requests run as may and more wait.

    A fast engine with n-grams can be through with them between two looks at its page: then it is asked again.
    """
    long = COMPLETION | HOT | {"max_tokens": _LONG, "ignore_eos": True}
    async with asyncio.timeout(_BUSY_SECONDS):
        while True:
            asking = [asyncio.create_task(_ask(client, "/v1/completions", long)) for _ in range(3 * MAX_NUM_SEQS)]
            try:
                while not all(task.done() for task in asking):
                    page = await _page(client)
                    if page.total("vllm:num_requests_running") == MAX_NUM_SEQS and page.total(
                        "vllm:num_requests_waiting"
                    ):
                        return page
            finally:
                await asyncio.gather(*asking)


async def _leave(client: httpx.AsyncClient) -> None:
    """Go away at the beginning of an answer that would take seconds."""
    long = COMPLETION | HOT | STREAMED | {"max_tokens": _LEFT, "ignore_eos": True}
    async with client.stream("POST", "/v1/completions", json=long) as response:
        lines = response.aiter_lines()
        for _ in range(2):
            await anext(lines)


async def _left_page(client: httpx.AsyncClient, drained: Page) -> tuple[Page, Page]:
    """The pages before and after a client went away in the middle of its answer.

    A fast engine can be through with the answer before it sees that nobody listens: then another client goes away.
    """
    async with asyncio.timeout(_BUSY_SECONDS):
        while True:
            await _leave(client)
            page = await _quiet_page(client)
            if page.total("vllm:generation_tokens_total") - drained.total("vllm:generation_tokens_total") < _LEFT:
                return drained, page
            drained = page


async def record(client: httpx.AsyncClient, kind: str) -> Record:
    """Ask everything there is to ask."""
    start = await _page(client)
    replies = tuple([await _ask(client, path, body) for path, body in QUESTIONS])
    asked = await _quiet_page(client)
    busy = await _busy_page(client)
    drained, aborted = await _left_page(client, await _quiet_page(client))
    clamped = await _ask(client, "/v1/completions", COMPLETION | {"max_tokens": MAX_MODEL_LEN, "ignore_eos": True})
    return Record(
        kind,
        start,
        asked,
        busy,
        drained,
        aborted,
        clamped,
        replies,
        quiet={path: await _read(client, path) for path in QUIET},
        refused={what: await _ask(client, path, body) for what, (path, body) in REFUSED.items()},
    )
