"""Users of the served model: a closed loop of workers, each with one request at a time, over the ready pods.

It balances as a Service would, without one: the rehearsal has no kube-proxy. It knows nothing of speculation and reads
no metrics; what it remembers is what users see. Only loopback addresses are ever sent to.
"""

import asyncio
import ipaddress
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp

MAX_CONCURRENCY = 256

_PROMPT = "Say it once more, please"
"""Six tokens for the simulated engine: as many as a speculating request brings to a step, so that prompts do not blur
what a step costs."""
_REQUEST_SECONDS = 60.0
_PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Before a request is sent again; after the last one it has failed."""
_LOOK_SECONDS = 0.1
"""Between two looks for a ready pod."""
_KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s of uvicorn, so that no request is sent into a connection that the engine is closing."""
_REMEMBERED = 4096
_SEEDS = 2**31


class _Outcome(Enum):
    ANSWERED = auto()
    REFUSED = auto()
    """The request itself is wrong: another pod would refuse it too."""
    UNAVAILABLE = auto()


@dataclass(frozen=True)
class Questions:
    """What users ask."""

    prompts: tuple[str, ...] = (_PROMPT,)
    """One of them by chance each time: an acceptance should not be that of one prompt."""
    model: str = ""
    """Named in every request; empty: the simulated engine serves one model, and is not told which."""
    is_seeded: bool = False
    """Whether each request brings a seed of its own, so that a rehearsal asks the same things in the same order."""


class Traffic:
    """`async with Traffic(targets) as traffic`; its settings may change at any time.

    `targets` returns the ready addresses, each `ip:port`, and is asked before every request. While it returns none,
    workers wait. A request whose pod goes away, does not answer or answers with 5xx is sent again, to another pod if
    there is one; it has failed when that was in vain for about three seconds of ready pods.
    """

    def __init__(
        self,
        targets: Callable[[], Sequence[str]],
        concurrency: int = 0,
        *,
        temperature: float = 0.0,
        max_tokens: int = 30,
        seed: int = 0,
        questions: Questions | None = None,
    ) -> None:
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.hot_share = 0.0
        """Share of the requests that are sent at `hot_temperature` instead."""
        self.hot_temperature = 1.0
        self.pause_seconds = 0.0
        """How long a user thinks between an answer and the next question."""
        self.ok = 0
        """Requests that were answered in full."""
        self.failed = 0
        """Requests that no pod answered, or that were refused."""
        self.retried = 0
        """How often a request had to be sent again."""
        self.latencies_seconds: deque[float] = deque(maxlen=_REMEMBERED)
        """Of the newest answered requests, all their attempts and waits for a pod included."""
        self._targets = targets
        self._questions = questions or Questions()
        self._random = Random(seed)
        self._in_flight: Counter[str] = Counter()
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._client: aiohttp.ClientSession | None = None
        self.concurrency = concurrency

    @property
    def concurrency(self) -> int:
        """Requests at a time, over all pods. Lowered, it lets running requests end."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, concurrency: int) -> None:
        if not 0 <= concurrency <= MAX_CONCURRENCY:
            raise ValueError(f"{concurrency} requests at a time: 0 to {MAX_CONCURRENCY} are possible")
        self._concurrency = concurrency
        if self._client is not None:
            self._start_workers(self._client)

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(_REQUEST_SECONDS),
            trust_env=False,
        )
        self._start_workers(self._client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        client, self._client = self._client, None
        for worker in self._workers.values():
            worker.cancel()
        results = await asyncio.gather(*self._workers.values(), return_exceptions=True)
        await client.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _start_workers(self, client: aiohttp.ClientSession) -> None:
        for number in range(self._concurrency):
            if number not in self._workers:
                self._workers[number] = asyncio.create_task(self._work(number, client))

    async def _work(self, number: int, client: aiohttp.ClientSession) -> None:
        while number < self._concurrency:
            await self._ask(client)
            await asyncio.sleep(self.pause_seconds)
        del self._workers[number]

    async def _ask(self, client: aiohttp.ClientSession) -> None:
        """One request, until it is answered or has failed."""
        started = time.monotonic()
        address = ""
        for pause_seconds in (*_PAUSES_SECONDS, None):
            address = await self._choose(address)
            outcome = await self._send(client, address)
            if outcome is _Outcome.ANSWERED:
                self.ok += 1
                self.latencies_seconds.append(time.monotonic() - started)
                return
            if outcome is _Outcome.REFUSED or pause_seconds is None:
                break
            self.retried += 1
            await asyncio.sleep(pause_seconds)
        self.failed += 1
        # A pod that refuses at once must not be asked thousands of times a second.
        await asyncio.sleep(_LOOK_SECONDS)

    async def _choose(self, failed: str) -> str:
        """The least busy ready pod, by chance among equals, and not the one that just failed if there is another."""
        while not (ready := self._targets()):  # noqa: ASYNC110  targets are asked, they do not tell
            await asyncio.sleep(_LOOK_SECONDS)
        others = [address for address in ready if address != failed] or ready
        fewest = min(self._in_flight[address] for address in others)
        return self._random.choice([address for address in others if self._in_flight[address] == fewest])

    async def _send(self, client: aiohttp.ClientSession, address: str) -> _Outcome:
        _check_loopback(address)
        body = self._body()
        self._in_flight[address] += 1
        try:
            async with client.post(f"http://{address}/v1/completions", json=body, allow_redirects=False) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return _Outcome.UNAVAILABLE
        finally:
            self._in_flight[address] -= 1
        if response.status == 200:
            return _Outcome.ANSWERED
        return _Outcome.UNAVAILABLE if response.status >= 500 else _Outcome.REFUSED

    def _body(self) -> dict[str, Any]:
        is_hot = self._random.random() < self.hot_share
        body: dict[str, Any] = {
            "prompt": self._random.choice(self._questions.prompts),
            "max_tokens": self.max_tokens,
            "temperature": self.hot_temperature if is_hot else self.temperature,
        }
        if self._questions.model:
            body["model"] = self._questions.model
        if self._questions.is_seeded:
            body["seed"] = self._random.randrange(_SEEDS)
        return body


def _check_loopback(address: str) -> None:
    """ValueError unless it is `ip:port` in 127.0.0.0/8: load is for processes that the rehearsal started."""
    host, _, _ = address.rpartition(":")
    if not ipaddress.IPv4Address(host).is_loopback:
        raise ValueError(f"{address} is not a loopback address: nothing is sent there")
