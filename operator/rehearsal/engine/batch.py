"""Continuous batching: one loop that takes a step after the other and gives every running request its tokens.

A request starts when there is a free sequence and room in the KV cache for all that it may need, so nothing is ever
preempted. Its first step computes the prompt and yields one token; every later step yields one token and those of the
draft that are accepted. Time passes by sleeping: the clock of the steps is the schedule, and a late wake-up of a busy
machine does not show in the metrics unless the loop falls `_MAX_LAG_SECONDS` behind.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random

from rehearsal.engine.arguments import EngineArguments
from rehearsal.engine.behaviour import Behaviour, BehaviourFile, DraftKind
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.engine.model import Step, accepted_tokens, log_acceptance, step_seconds
from rehearsal.engine.recorder import Recorder, SpeculationRecorder
from rehearsal.engine.request import Asked, Request

_MAX_LAG_SECONDS = 0.25


@dataclass(frozen=True)
class _Turn:
    """The requests of one step."""

    began_at: float
    starting: list[Request]
    decoding: list[Request]
    drafting: list[bool]
    """For each decoding request: whether something was proposed for it."""
    proposed: int
    """Tokens, for each request that something was proposed for."""
    seconds: float


class Batch:
    """The engine core. `run` never returns; the other methods are called by the server between steps."""

    def __init__(
        self, arguments: EngineArguments, file: BehaviourFile, metrics: EngineMetrics, kv_cache_tokens: int
    ) -> None:
        self._arguments = arguments
        self._file = file
        self._kv_cache_tokens = kv_cache_tokens
        self._kind = arguments.draft_kind
        self._recorder = Recorder(metrics, counts_prefix_queries=arguments.enable_prefix_caching)
        self._speculation = SpeculationRecorder(metrics) if arguments.speculation else None
        self._random = Random(arguments.seed)
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []
        self._reserved_tokens = 0
        self._used_tokens = 0
        self._work = asyncio.Event()
        self._behaviour = Behaviour()
        self._log_acceptance: dict[float, float] = {}

    def add(self, asked: Asked) -> Request:
        """Queue a request."""
        now = asyncio.get_running_loop().time()
        random = self._random if asked.seed is None else Random(asked.seed)
        request = Request(asked, random, now)
        self._waiting.append(request)
        self._show_load()
        self._work.set()
        return request

    def abort(self, request: Request) -> None:
        """Drop a request whose client is gone. One that ended already is no error.

        vLLM counts its tokens and its first token's time, but never that it ended.
        """
        if request.reason:
            return
        if request in self._waiting:
            self._waiting.remove(request)
        else:
            self._leave(request)
        request.end("abort")
        self._show_load()

    async def run(self) -> None:
        """Take steps while there is work."""
        loop = asyncio.get_running_loop()
        clock = loop.time()
        while True:
            if not self._waiting and not self._running:
                self._work.clear()
                await self._work.wait()
                clock = loop.time()
            self._look_at_behaviour(clock)
            turn = self._begin(clock)
            clock = max(clock + turn.seconds, loop.time() - _MAX_LAG_SECONDS)
            await asyncio.sleep(max(0.0, clock - loop.time()))
            self._complete(turn, clock)

    def _look_at_behaviour(self, now: float) -> None:
        behaviour = self._file.at(now)
        if behaviour is not self._behaviour:
            self._behaviour = behaviour
            self._log_acceptance.clear()

    def _begin(self, now: float) -> _Turn:
        decoding = list(self._running)
        starting = self._admit(now)
        proposed = self._tokens_to_propose(len(decoding) + len(starting))
        drafting = self._find_drafts(len(decoding)) if proposed else [False] * len(decoding)
        prompt_tokens = sum(request.asked.prompt_tokens for request in starting)
        drafts = sum(drafting)
        step = Step(
            tokens=prompt_tokens + len(decoding) + proposed * drafts,
            kv_tokens=self._used_tokens - prompt_tokens,
            draft_passes=proposed if drafts else 0,
            drafter=self._kind,
        )
        self._show_load()
        return _Turn(now, starting, decoding, drafting, proposed, step_seconds(self._behaviour, step))

    def _admit(self, now: float) -> list[Request]:
        starting: list[Request] = []
        while self._waiting and len(self._running) < self._arguments.max_num_seqs:
            request = self._waiting[0]
            if self._running and self._reserved_tokens + request.reserved_tokens > self._kv_cache_tokens:
                break
            self._waiting.popleft()
            # A request may arrive after the scheduled begin of the step that takes it in.
            request.started_at = max(now, request.arrived_at)
            self._reserved_tokens += request.reserved_tokens
            self._used_tokens += request.used_tokens
            self._running.append(request)
            starting.append(request)
        return starting

    def _tokens_to_propose(self, batch_size: int) -> int:
        return self._arguments.speculation.tokens_at(batch_size) if self._arguments.speculation else 0

    def _find_drafts(self, requests: int) -> list[bool]:
        """Which requests get a draft: all of them, but n-gram finds a match only now and then."""
        if self._kind is not DraftKind.NGRAM:
            return [True] * requests
        return [self._random.random() < self._behaviour.ngram_match for _ in range(requests)]

    def _complete(self, turn: _Turn, now: float) -> None:
        tokens = self._start_all(turn, now)
        accepted: list[int] = []
        decoded = 0
        for request, has_draft in zip(turn.decoding, turn.drafting, strict=True):
            if request.reason:
                continue  # aborted meanwhile
            count = self._accepted(request, turn.proposed) if has_draft else 0
            if has_draft:
                accepted.append(count)
                request.draft_tokens += turn.proposed
                request.accepted_tokens += count
            tokens += self._emit(request, 1 + count, now)
            decoded += 1
        self._recorder.step(sum(request.asked.prompt_tokens for request in turn.starting), tokens)
        if decoded:
            self._recorder.decoded(now - turn.began_at, decoded)
        if self._speculation is not None and accepted:
            self._speculation.step(turn.proposed, accepted)
        self._show_load()

    def _start_all(self, turn: _Turn, now: float) -> int:
        """Give every starting request its first token; returns the number of tokens."""
        tokens = 0
        for request in turn.starting:
            if request.reason:
                continue
            request.first_token_at = max(now, request.started_at)
            self._recorder.first_token(request)
            tokens += self._emit(request, 1, now)
        return tokens

    def _accepted(self, request: Request, proposed: int) -> int:
        temperature = request.asked.temperature
        if temperature not in self._log_acceptance:
            self._log_acceptance[temperature] = log_acceptance(self._behaviour, self._kind, temperature)
        return accepted_tokens(request.random, self._log_acceptance[temperature], proposed)

    def _emit(self, request: Request, tokens: int, now: float) -> int:
        """Add tokens to a request, as many as it still may have; returns how many."""
        tokens = request.add(tokens)
        self._used_tokens += tokens
        if self._behaviour.empty_replies or request.generated_tokens >= request.asked.max_tokens:
            self._leave(request)
            self._end(request, "stop" if self._behaviour.empty_replies else "length", max(now, request.first_token_at))
        return tokens

    def _leave(self, request: Request) -> None:
        self._running.remove(request)
        self._reserved_tokens -= request.reserved_tokens
        self._used_tokens -= request.used_tokens

    def _end(self, request: Request, reason: str, now: float) -> None:
        request.end(reason)
        self._recorder.finished(request, reason, now)

    def _show_load(self) -> None:
        usage = min(1.0, self._used_tokens / self._kv_cache_tokens)
        self._recorder.load(len(self._running), len(self._waiting), usage)
