"""Traffic: so many clients at a time, each sending its next request when the last one is answered.

It balances over the ready engines as a Service would, and tries again elsewhere when the connection breaks, as a client
behind a Service does when a pod goes away. It talks to loopback addresses only, and measures what clients feel; what
the engine feels is on its own `/metrics`.
"""

import asyncio
import ipaddress
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self

import httpx

MAX_CONCURRENCY = 512
_REMEMBERED = 20_000
_ATTEMPTS = 5
_WAIT_SECONDS = 0.1
_NO_TARGET_SECONDS = 120.0
"""A request that was sent once and finds no other engine for so long has failed."""
_TIMEOUT = httpx.Timeout(connect=2.0, read=60.0, write=5.0, pool=None)
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_PROMPTS = 8
_PROMPT_WORDS = 40


class TrafficError(Exception):
    """Traffic was asked to go where it must not, or to become too much."""


@dataclass(frozen=True)
class Reply:
    """One answered request, as its client saw it."""

    at: float
    """Unix time of the answer."""
    seconds: float
    """From the first attempt to the answer."""
    tokens: int


def checked_address(address: str) -> str:
    """`127.x.y.z:port`, unchanged.

    Raises:
        TrafficError: it is anything else.
    """
    host, _, port = address.rpartition(":")
    try:
        is_loopback = ipaddress.ip_address(host) in _LOOPBACK and 0 < int(port) < 65536
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise TrafficError(f"traffic goes to 127.0.0.0/8 only, not to {address!r}")
    return address


def pick(addresses: Sequence[str], in_flight: Counter[str], random: Random, avoided: str = "") -> str | None:
    """The address with the fewest requests in flight, by chance among equals; the avoided one only as the last."""
    candidates = [address for address in addresses if address != avoided] or list(addresses)
    if not candidates:
        return None
    fewest = min(in_flight[address] for address in candidates)
    return random.choice([address for address in candidates if in_flight[address] == fewest])


class Traffic:
    """`async with Traffic(targets, concurrency=8) as traffic`; everything may be changed while it runs.

    `targets` answers with the ready addresses, `127.x.y.z:port`; it is asked before each request.
    """

    def __init__(
        self,
        targets: Callable[[], Iterable[str]],
        concurrency: int,
        *,
        temperature: float = 0.0,
        max_tokens: int = 30,
        seed: int = 0,
    ) -> None:
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.ok = 0
        self.failed = 0
        """Requests that were never answered, or with an error."""
        self.retried = 0
        """Attempts that broke and were made again elsewhere."""
        self.failures: deque[str] = deque(maxlen=100)
        """Why requests failed, newest last."""
        self.replies: deque[Reply] = deque(maxlen=_REMEMBERED)
        """Answers, newest last."""
        self._targets = targets
        self._random = Random(seed)
        words = ("measure", "draft", "target", "token", "batch", "cache", "queue", "step")
        self._prompts = [" ".join(self._random.choices(words, k=_PROMPT_WORDS)) for _ in range(_PROMPTS)]
        self._in_flight: Counter[str] = Counter()
        self._clients: list[asyncio.Task[None]] = []
        self._http: httpx.AsyncClient | None = None
        self._concurrency = 0
        self.concurrency = concurrency

    @property
    def concurrency(self) -> int:
        """Clients. Fewer of them: the superfluous finish the request they wait for. TrafficError: too many."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, clients: int) -> None:
        if not 0 <= clients <= MAX_CONCURRENCY:
            raise TrafficError(f"between 0 and {MAX_CONCURRENCY} requests at a time, not {clients}")
        self._concurrency = clients
        if self._http is not None:
            self._start_clients()

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=MAX_CONCURRENCY, keepalive_expiry=2.0)
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, limits=limits, trust_env=False)
        self._start_clients()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._concurrency = 0
        for client in self._clients:
            client.cancel()
        outcomes = await asyncio.gather(*self._clients, return_exceptions=True)
        assert self._http is not None
        await self._http.aclose()
        self._http = None
        # A client ends by itself only with a mistake of ours; it must not go unseen.
        for outcome in outcomes:
            if isinstance(outcome, Exception) and error is None:
                raise outcome

    def latencies(self, since: float = 0.0) -> list[float]:
        """Seconds of the remembered answers since a Unix time."""
        return [reply.seconds for reply in self.replies if reply.at >= since]

    def _start_clients(self) -> None:
        while len(self._clients) < self._concurrency:
            self._clients.append(asyncio.create_task(self._client(len(self._clients))))
        for number in range(self._concurrency):
            if self._clients[number].done() and not self._clients[number].cancelled():
                self._clients[number].result()
                self._clients[number] = asyncio.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        while number < self._concurrency:
            if await self._next_target("") is None:
                continue
            started = time.monotonic()
            tokens = await self._request()
            if tokens is None:
                self.failed += 1
                await asyncio.sleep(_WAIT_SECONDS)
            else:
                self.ok += 1
                self.replies.append(Reply(time.time(), time.monotonic() - started, tokens))

    async def _next_target(self, avoided: str) -> str | None:
        """An address to go to; None after a short wait without one."""
        addresses = [checked_address(address) for address in self._targets()]
        address = pick(addresses, self._in_flight, self._random, avoided)
        if address is None:
            await asyncio.sleep(_WAIT_SECONDS)
        return address

    async def _request(self) -> int | None:
        """Send one request, if need be several times; returns the tokens of the answer, None if it failed."""
        body = json.dumps(
            {
                "prompt": self._random.choice(self._prompts),
                "max_tokens": self.max_tokens,
                "temperature": self.temperature,
            }
        ).encode()
        tried, give_up_at = "", time.monotonic() + _NO_TARGET_SECONDS
        for attempt in range(_ATTEMPTS):
            while (address := await self._next_target(tried)) is None:
                if time.monotonic() > give_up_at:
                    self.failures.append("no engine is ready")
                    return None
            if attempt:
                self.retried += 1
                # Until readiness has followed, the broken engine may be the only one on the list.
                await asyncio.sleep(_WAIT_SECONDS * (2**attempt if address == tried else 0))
            try:
                return await self._attempt(address, body)
            except httpx.TransportError as error:
                tried, last = address, f"{address}: {type(error).__name__} {error}"
            except _RefusedError as error:
                self.failures.append(f"{address}: {error}")
                return None
        self.failures.append(last)
        return None

    async def _attempt(self, address: str, body: bytes) -> int:
        assert self._http is not None
        self._in_flight[address] += 1
        try:
            response = await self._http.post(
                f"http://{address}/v1/completions", content=body, headers={"Content-Type": "application/json"}
            )
        finally:
            self._in_flight[address] -= 1
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise httpx.ReadError("503 Service Unavailable")
        if response.is_error:
            raise _RefusedError(f"HTTP {response.status_code}: {response.text[:200]}")
        return int(response.json()["usage"]["completion_tokens"])


class _RefusedError(Exception):
    """The engine answered with an error: trying elsewhere would not help."""
