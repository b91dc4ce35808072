"""Measures one cell: warm-up, counters, requests one after the other in each of its lanes, counters again."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from specdecode.sweep.counters import Counters, fell, finished_between, gained, remark_on_bursts, remarks
from specdecode.sweep.endpoint import Endpoint, Reply
from specdecode.sweep.options import Grid
from specdecode.sweep.prompts import Question, Sampling, questions, request_of
from specdecode.sweep.types import Answer, Cell, Drafted, Measured

Advance = Callable[[], None]

_COUNTED_SECONDS = 6.0
"""The engine counts a request when it has answered it, up to a moment later; before 0.8 every five seconds."""
_POLL_SECONDS = 0.1
INTERRUPTED = "ended before its last request"


class EndedError(Exception):
    """Nothing more can be measured at this endpoint; the message says why."""


@dataclass
class CellRun:
    """One cell while it is measured. What it has when it is cut short is still there."""

    endpoint: Endpoint
    cell: Cell
    grid: Grid
    model: str
    salt: str = ""
    """Keeps the engine from answering out of its prefix cache: every request has its own. Empty: the engine cannot."""
    advance: Advance = lambda: None
    answers: list[Answer] = field(default_factory=list)
    drafted: Drafted | None = None
    notes: tuple[str, ...] = ()
    is_doubtful: bool = False
    is_whole: bool = False

    async def measure(self) -> None:
        """Ask everything once.

        Raises:
            EndedError: the endpoint is gone, or refuses all that it is asked.
        """
        warm_up = [reply for _, reply in await self._ask_all(range(-self.grid.warm_up, 0), keep=False)]
        if warm_up and all(reply.is_refusal for reply in warm_up):
            raise EndedError(f"every request of the warm-up was refused; {warm_up[0].error}")
        before = await self.endpoint.counters()
        await self._ask_all(range(self.grid.requests), keep=True)
        await self._count(before)
        if not any(not answer.error for answer in self.answers):
            raise EndedError(f"every request failed; {self.answers[0].error}")
        self.is_whole = True

    def measured(self) -> Measured:
        """What there is by now."""
        ends = [answer.started_at + answer.e2e_seconds for answer in self.answers if not answer.error]
        began = min((answer.started_at for answer in self.answers), default=0.0)
        return Measured(
            cell=self.cell,
            seconds=max(ends, default=began) - began,
            answers=tuple(sorted(self.answers, key=lambda answer: answer.started_at)),
            drafted=self.drafted,
            is_whole=self.is_whole,
            is_doubtful=self.is_doubtful,
            notes=self.notes if self.is_whole else (*self.notes, INTERRUPTED),
        )

    async def _ask_all(self, numbers: range, *, keep: bool) -> list[tuple[Question, Reply]]:
        """Each lane takes the next question when it has its answer. Raises EndedError."""
        waiting = questions(self.grid.kind(self.cell.kind), self.grid.seed, numbers)
        done: list[tuple[Question, Reply]] = []
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(self.cell.concurrency, len(numbers))):
                    lanes.create_task(self._lane(waiting, done, keep=keep))
        except* EndedError as errors:
            raise errors.exceptions[0] from None
        return done

    async def _lane(self, waiting: Iterator[Question], done: list[tuple[Question, Reply]], *, keep: bool) -> None:
        for question in waiting:
            started_at = time.time()
            reply = await self._ask(question)
            done.append((question, reply))
            if keep:
                self.answers.append(_answer(question, started_at, reply))
            self.advance()
            if reply.error and not reply.is_refusal and not await self.endpoint.is_alive():
                raise EndedError(f"the endpoint {self.endpoint.url} is gone; {reply.error}")

    async def _ask(self, question: Question) -> Reply:
        prompt = self.grid.kind(self.cell.kind).prompts[question.prompt]
        sampling = Sampling(self.model, self.cell.temperature, self.grid.max_tokens, self.grid.api)
        path, body = request_of(prompt, question, sampling)
        if self.salt:
            # vLLM takes 128 characters at most, and neither a slash nor an at sign.
            body["cache_salt"] = hashlib.sha256(f"{self.salt} {self.cell} {question.number}".encode()).hexdigest()
        return await self.endpoint.ask(path, body)

    async def _count(self, before: Counters | None) -> None:
        """Read the counters once the engine has counted what it answered."""
        answered = sum(not answer.error for answer in self.answers)
        after = await self.endpoint.counters()
        if before is None or after is None:
            self.notes += ("/metrics could not be read: acceptance unknown",)
            return
        deadline = time.monotonic() + _COUNTED_SECONDS
        while _is_behind(before, after, answered) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            after = await self.endpoint.counters() or after
        self.drafted = gained(before, after)
        doubts = remarks(before, after, sent=len(self.answers), answered=answered)
        tpots = [answer.tpot_seconds for answer in self.answers if not answer.error and answer.output_tokens > 1]
        if tpots and not doubts:
            doubts = remark_on_bursts(before, after, sum(tpots) / len(tpots))
        self.notes += doubts
        self.is_doubtful = bool(doubts)


def _is_behind(before: Counters, after: Counters, answered: int) -> bool:
    finished = finished_between(before, after)
    return finished is not None and finished < answered and not fell(before, after)


def _answer(question: Question, started_at: float, reply: Reply) -> Answer:
    answer = Answer(question.prompt, question.seed, started_at, error=reply.error)
    if reply.error:
        return answer
    return replace(
        answer,
        ttft_seconds=reply.ttft_seconds,
        e2e_seconds=reply.e2e_seconds,
        prompt_tokens=reply.prompt_tokens,
        output_tokens=reply.output_tokens,
    )
