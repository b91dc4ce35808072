"""What the meter costs a request: the same application with and without it, in turn. Printed, never a gate."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from specdecode.meter.middleware import Instruments, Meter

App = Callable[[Any, Any, Any], Awaitable[None]]

ROUNDS = 200
REQUESTS = 50
"""Per round and side: short enough that a busy moment of the machine spoils few rounds."""
STREAMED_TOKENS = 256

STATISTICS = (
    '"metrics":{"speculative_decoding":{"mean_acceptance_length":2.5,"draft_acceptance_rate":0.5,'
    '"acceptance_histogram":[10,10,10,70],"num_spec_steps":100,"num_accepted_draft_tokens":240,'
    '"num_draft_tokens":300,"num_spec_tokens":3}}'
)


@dataclass(frozen=True)
class Case:
    """One kind of request."""

    name: str
    request_bytes: int
    parts: tuple[bytes, ...]


@dataclass(frozen=True)
class Took:
    """Seconds of one request."""

    answered: float
    """Until the client had its last byte."""
    over: float
    """Until the application was done: the rest holds up nobody but, on the same event loop, others."""


@dataclass(frozen=True)
class Cost:
    """What the meter adds to a request, in microseconds."""

    case: Case
    alone_us: float
    """The application without the meter."""
    answered_us: float
    afterwards_us: float


def _streamed() -> tuple[bytes, ...]:
    token = b'data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":" token"}]}\n\n'
    usage = f'data: {{"id":"cmpl-1","choices":[],"usage":{{"total_tokens":9}},{STATISTICS}}}\n\n'.encode()
    return (*(token for _ in range(STREAMED_TOKENS)), usage, b"data: [DONE]\n\n")


def _whole(text_bytes: int) -> tuple[bytes, ...]:
    text = "x" * text_bytes
    return (f'{{"id":"cmpl-1","choices":[{{"text":"{text}"}}],"usage":{{}},{STATISTICS}}}'.encode(),)


CASES = (
    Case("whole, 1 kB asked, 1 kB answered", 1_000, _whole(1_000)),
    Case("whole, 100 kB asked, 100 kB answered", 100_000, _whole(100_000)),
    Case(f"streamed, {STREAMED_TOKENS} tokens, 1 kB asked", 1_000, _streamed()),
    Case(f"streamed, {STREAMED_TOKENS} tokens, 100 kB asked", 100_000, _streamed()),
)


def _app(parts: tuple[bytes, ...]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return app


async def _took(app: App, body: bytes) -> Took:
    serving = SimpleNamespace(default_sampling_params={})
    state = SimpleNamespace(openai_serving_completion=serving)
    scope = {"type": "http", "path": "/v1/completions", "app": SimpleNamespace(state=state)}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    answered: list[float] = []

    async def send(message: dict[str, Any]) -> None:
        if not message.get("more_body", True):
            answered.append(time.perf_counter())

    began: list[float] = []
    over: list[float] = []
    for _ in range(REQUESTS):
        began.append(time.perf_counter())
        await app(scope, receive, send)
        over.append(time.perf_counter())
    return Took(*(median(end - start for start, end in zip(began, ends, strict=True)) for ends in (answered, over)))


async def _cost(case: Case) -> Cost:
    body = json.dumps({"model": "m", "prompt": "x" * case.request_bytes, "temperature": 0.7}).encode()
    plain = _app(case.parts)
    metered = Meter(plain, Instruments(CollectorRegistry()))
    took: dict[bool, list[Took]] = {False: [], True: []}
    for number in range(ROUNDS):
        # Each side goes first in turn, so that neither always finds the warmer caches.
        for is_metered in (number % 2 == 0, number % 2 == 1):
            took[is_metered].append(await _took(metered if is_metered else plain, body))
    answered = {side: 1e6 * median(each.answered for each in took[side]) for side in took}
    over = {side: 1e6 * median(each.over for each in took[side]) for side in took}
    added = answered[True] - answered[False]
    return Cost(case, answered[False], added, over[True] - over[False] - added)


def measure() -> tuple[Cost, ...]:
    """Every kind of request, some seconds in all."""
    gc.collect()
    return tuple(asyncio.run(_cost(case)) for case in CASES)


def print_meter(console: Console) -> None:
    """A table."""
    table = Table(title="what the meter adds to a request, in microseconds (medians)", title_justify="left")
    table.add_column("request")
    for name in ("without it", "added until the last byte", "per message", "added afterwards"):
        table.add_column(name, justify="right")
    for cost in measure():
        messages = len(cost.case.parts)
        numbers = (cost.alone_us, cost.answered_us, cost.answered_us / messages, cost.afterwards_us)
        table.add_row(cost.case.name, *(f"{number:.2f}" for number in numbers))
    console.print(table)


if __name__ == "__main__":
    print_meter(Console(width=120))
