"""Counts what each request accepts of its draft tokens, by temperature, on the engine's own /metrics.

vLLM loads this file with `--middleware specdecode_meter.Meter`; it needs the standard library and prometheus_client,
nothing else. With `--per-request-spec-decode-metrics summary` vLLM writes the statistics of a request into its answer:
at the end of a whole answer, or into the last event of a streamed one, which exists only where the client (or
`--enable-force-include-usage`) asks for usage. A request for several choices or prompts has none.

It changes nothing: every message is passed on first, as it is, and looked at afterwards. It keeps at most the request's
first megabyte and the answer's last sixteen kilobytes (and the one message they begin in), and reads them only when the
answer is over. Whatever goes wrong in here is counted and costs one measurement, never a request.
"""

import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SERVING = {"/v1/completions": "openai_serving_completion", "/v1/chat/completions": "openai_serving_chat"}
"""What has statistics, and where vLLM keeps the object that answers it."""

MAX_REQUEST_BYTES = 1 << 20
"""A longer request is measured under the temperature `unknown`: reading it would hold up the others."""
TAIL_BYTES = 1 << 14
"""The statistics are the last field of an answer; they and what follows take less than a kilobyte."""

RATE_EDGES = tuple(tenth / 10 for tenth in range(11))
UNKNOWN = "unknown"
TEMPERATURES = ((0.0, "0"), (0.3, "0-0.3"), (0.7, "0.3-0.7"), (1.0, "0.7-1"))
"""Upper edges, which belong to their range; above the last it is `>1`. At 0 sampling is greedy, and only there."""
ABOVE = ">1"
ENGINE_DEFAULT = 1.0
"""vLLM's temperature where neither the request nor the model's generation_config.json names one."""

_STATISTICS = re.compile(rb'"speculative_decoding"\s*:\s*(\{[^{}]*\})')
"""Inside a JSON string every quote is escaped, so no text of a client or a model can look like this."""


def bucket_of(temperature: float) -> str:
    """The label of a temperature: one of six, whatever clients send."""
    if temperature != temperature:  # noqa: PLR0124 - NaN, which the engine refuses
        return UNKNOWN
    return next((label for edge, label in TEMPERATURES if temperature <= edge), ABOVE)


def default_temperature(scope: Scope) -> float:
    """What vLLM takes for a request that names no temperature: the model's own default, or 1.

    Read where vLLM itself reads it, once per request, because models are loaded after this file.
    """
    serving = getattr(scope["app"].state, SERVING[scope["path"]])
    return float(serving.default_sampling_params.get("temperature", ENGINE_DEFAULT))


class Instruments:
    """What is counted. In a registry of one process, or by prometheus_client's files where there are several."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rate = Histogram(
            "specdecode:request_acceptance_rate",
            "Accepted / proposed draft tokens of a request, by the temperature it was sampled at",
            ["temperature_bucket"],
            buckets=RATE_EDGES,
            registry=registry,
        )
        self.requests = Counter(
            "specdecode:meter_requests",
            "Answered requests: measured; without statistics (streamed without usage, several choices); without a "
            "draft token; or failed, when the meter itself did",
            ["outcome"],
            registry=registry,
        )


@cache
def shared() -> Instruments:
    """The one set of instruments of this process, on the registry that vLLM shows."""
    return Instruments(REGISTRY)


class Exchange:
    """One request and its answer, as far as they are kept."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._request: list[bytes] = []
        self._request_bytes = 0
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.is_answered = False
        """Whether this is an answer and not an error."""
        self.is_over = False

    def take_request(self, message: Message) -> None:
        """Keep a part of the request, unless it grows too long."""
        if message["type"] != "http.request" or self._request_bytes > MAX_REQUEST_BYTES:
            return
        body = message.get("body", b"")
        self._request.append(body)
        self._request_bytes += len(body)
        if self._request_bytes > MAX_REQUEST_BYTES:
            self._request.clear()

    def take_answer(self, message: Message) -> None:
        """Keep the end of the answer."""
        if message["type"] == "http.response.start":
            self.is_answered = message["status"] == 200
        if message["type"] != "http.response.body":
            return
        self.is_over = self.is_over or not message.get("more_body", False)
        if self.is_answered:
            self._keep(message.get("body", b""))

    def _keep(self, body: bytes) -> None:
        self._tail.append(body)
        self._tail_bytes += len(body)
        while self._tail_bytes - len(self._tail[0]) >= TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())

    def statistics(self) -> tuple[int, int] | None:
        """Proposed and accepted draft tokens; None where the answer does not have them."""
        # Alone, a message is not copied; cut here it is, so that a long answer is not searched from its beginning.
        answer = self._tail[0] if len(self._tail) == 1 else b"".join(self._tail)
        found = _STATISTICS.findall(answer[-TAIL_BYTES:])
        if not found:
            return None
        statistics = json.loads(found[-1])
        return int(statistics["num_draft_tokens"]), int(statistics["num_accepted_draft_tokens"])

    def temperature_bucket(self) -> str:
        """The range that the request was sampled in."""
        if self._request_bytes > MAX_REQUEST_BYTES:
            return UNKNOWN
        named = json.loads(b"".join(self._request)).get("temperature")
        if named is not None:
            return bucket_of(float(named))
        try:
            return bucket_of(default_temperature(self._scope))
        except (AttributeError, KeyError, TypeError, ValueError):
            # Another release may keep its defaults elsewhere; the rate is worth counting all the same.
            return UNKNOWN


class Meter:
    """The middleware, a plain ASGI application around another. Raises only what that one raises."""

    def __init__(self, app: App, instruments: Instruments | None = None) -> None:
        self.app = app
        self._instruments = instruments or shared()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, and measure afterwards."""
        if scope["type"] != "http" or scope["path"] not in SERVING:
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope)

        async def receive_and_keep() -> Message:
            message = await receive()
            self._safely(exchange.take_request, message)
            return message

        async def send_and_keep(message: Message) -> None:
            await send(message)
            was_over = exchange.is_over
            self._safely(exchange.take_answer, message)
            if exchange.is_over and not was_over and exchange.is_answered:
                self._safely(self._measure, exchange)

        await self.app(scope, receive_and_keep, send_and_keep)

    def _measure(self, exchange: Exchange) -> None:
        statistics = exchange.statistics()
        if statistics is None:
            self._instruments.requests.labels("no_statistics").inc()
            return
        proposed, accepted = statistics
        if proposed <= 0:
            self._instruments.requests.labels("no_draft").inc()
            return
        self._instruments.rate.labels(exchange.temperature_bucket()).observe(accepted / proposed)
        self._instruments.requests.labels("measured").inc()

    def _safely(self, step: Callable[[Any], None], value: Any) -> None:
        try:
            step(value)
        except Exception:  # noqa: BLE001 - a defect in here must cost a measurement and never a request
            self._instruments.requests.labels("failed").inc()
