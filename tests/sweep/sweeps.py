"""Sweeps by hand: a test states only what it is about."""

import random
from collections.abc import Callable
from dataclasses import replace

from specdecode.sweep.types import Answer, Cell, Drafted, Measured, Sweep

START = 1_780_000_000.0
TTFT_SECONDS = 0.05


def cell(
    temperature: float = 0.0, concurrency: int = 4, *, mode: str = "Draft", tokens: int = 3, kind: str = "code"
) -> Cell:
    """A point that speculates."""
    return Cell(mode, tokens, kind, temperature, concurrency)


def off(of: Cell) -> Cell:
    """The same place without speculation."""
    return replace(of, mode="Off", num_speculative_tokens=0)


def answer(number: int, tpot_seconds: float, *, output_tokens: int = 101, prompts: int = 1000) -> Answer:
    """One of a row, each a second after the last."""
    return Answer(
        prompt=number % prompts,
        seed=number,
        started_at=START + number,
        ttft_seconds=TTFT_SECONDS,
        e2e_seconds=TTFT_SECONDS + (output_tokens - 1) * tpot_seconds,
        prompt_tokens=20,
        output_tokens=output_tokens,
    )


def failed(number: int, error: str) -> Answer:
    """One that was not answered."""
    return Answer(number, number, START + number, error=error)


def drafted(rate: float, drafts: float = 20_000, tokens: int = 3) -> Drafted:
    """Counters that gained so much; every position accepts alike."""
    accepted = rate * tokens * drafts
    return Drafted(drafts, tokens * drafts, accepted, (accepted / tokens,) * tokens)


def steady(mean_seconds: float, spread: float = 0.1, *, seed: int = 1) -> Callable[[int], float]:
    """Times per output token, the same for the same number."""
    return lambda number: mean_seconds * random.Random(seed * 100_003 + number).uniform(1 - spread, 1 + spread)


def measured(
    of: Cell,
    tpot_seconds: Callable[[int], float],
    requests: int = 100,
    *,
    counters: Drafted | None = None,
    output_tokens: int = 101,
    prompts: int = 1000,
) -> Measured:
    """A whole cell. Its place has always as many requests at once as it asks for."""
    answers = tuple(
        answer(number, tpot_seconds(number), output_tokens=output_tokens, prompts=prompts) for number in range(requests)
    )
    return Measured(of, sum(one.e2e_seconds for one in answers) / of.concurrency, answers, counters)


def sweep(*cells: Measured, model: str = "meta-llama/Llama-3.1-8B-Instruct", version: str = "0.32.0") -> Sweep:
    """Some cells at one endpoint."""
    return Sweep("http://127.0.0.1:8000", model, version, START, {"requests": "100"}, cells)


def pair(
    of: Cell, *, on_ms: float, off_ms: float, requests: int = 100, rate: float = 0.7, spread: float = 0.1
) -> tuple[Measured, Measured]:
    """A cell with speculation and its baseline, whose times differ by a factor and by noise."""
    return (
        measured(of, steady(on_ms / 1000, spread, seed=1), requests, counters=drafted(rate)),
        measured(off(of), steady(off_ms / 1000, spread, seed=2), requests),
    )
