"""Facts of models that were looked up: a look-up runs beside everything else, and what it found is kept.

    visit ---> ask ---> thread ---> answer ---> visit again

What was found holds for the life of the process. What was not is tried again after five minutes, then ever later.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Thread

from specdecode.api.resource import Problem
from specdecode.api.values import is_commit
from specdecode.engine.models import ModelFacts
from specdecode.lookup.find import Sources, Wanted, look_up
from specdecode.plan.knowledge import ModelKey
from specdecode.store import Key

logger = logging.getLogger("specdecode")

AT_ONCE = 2
LONGEST_SECONDS = 120.0
"""A look-up has time-outs of its own; one that is still not back by then is given up."""
RETRY = timedelta(minutes=5)
LONGEST_RETRY = timedelta(hours=1)

Found = ModelFacts | Problem
Find = Callable[[Wanted], Found | None]
"""Blocks until it has an answer. None: no source that is allowed could have such a model."""


@dataclass(frozen=True)
class Learned:
    """What the library says of the models of one resource."""

    models: Mapping[ModelKey, Found] = field(default_factory=dict)
    awaited: tuple[Problem, ...] = ()
    """Models whose first answer is still out."""


@dataclass
class _Entry:
    """One model."""

    wanted: Wanted
    """As it was asked for first."""
    found: Found | None = None
    """The last answer; it stands while another is sought."""
    is_answered: bool = False
    asked_at: datetime | None = None
    failures: int = 0
    waiting: set[Key] = field(default_factory=set)
    """Resources to visit once the answer is there."""
    is_out: bool = False
    """Whether a look-up is under way."""

    def is_due(self, now: datetime) -> bool:
        """Whether to look it up now."""
        if self.is_out or (self.is_answered and not isinstance(self.found, Problem)):
            return False
        return self.asked_at is None or now - self.asked_at >= min(
            RETRY * 2 ** min(self.failures - 1, 8), LONGEST_RETRY
        )


async def _in_thread(call: Callable[[], Found | None]) -> Found | None:
    """As `asyncio.to_thread`, but in a daemon thread: one that hangs does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Found | None] = loop.create_future()

    def settle(found: Found | None, error: Exception | None) -> None:
        if answer.done():  # given up meanwhile
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def run() -> None:
        found, error = None, None
        try:
            found = call()
        except Exception as raised:  # noqa: BLE001 - handed over to the waiting task
            error = raised
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(settle, found, error)

    Thread(target=run, name="look-up", daemon=True).start()
    return await answer


class Library:
    """Looked-up models by name and revision, shared by all resources."""

    def __init__(self, find: Find | None, enqueue: Callable[[Key], None]) -> None:
        """`find` blocks, and answers for one model; None: nothing is looked up."""
        self._find = find
        self._enqueue = enqueue
        self._entries: dict[ModelKey, _Entry] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def over(cls, sources: Sources, enqueue: Callable[[Key], None]) -> "Library":
        """A library over the sources that are allowed, if any."""
        return cls((lambda wanted: _find(wanted, sources)) if sources.is_any_allowed else None, enqueue)

    def ask(self, key: Key, wanted: Iterable[Wanted], now: datetime) -> Learned:
        """What is known of these models. What is not is looked up from now on, and then `key` is enqueued."""
        if self._find is None:
            return Learned()
        models: dict[ModelKey, Found] = {}
        awaited: list[Problem] = []
        for one in wanted:
            entry = self._entries.setdefault(one.key, _Entry(one))
            if entry.is_due(now):
                self._start(self._find, entry, now)
            if entry.is_out:
                entry.waiting.add(key)
            if not entry.is_answered:
                awaited.append(_awaited(one))
            elif entry.found is not None:
                models[one.key] = _addressed(entry.found, entry.wanted.field, one.field)
        return Learned(models, tuple(awaited))

    def _start(self, find: Find, entry: _Entry, now: datetime) -> None:
        entry.asked_at, entry.is_out = now, True
        task = asyncio.get_running_loop().create_task(self._answer(find, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, find: Find, entry: _Entry) -> None:
        found = await self._look_up(find, entry.wanted)
        if isinstance(found, Problem):
            entry.failures += 1
            logger.warning("a model was not found, it is looked up again: %s", found)
        entry.found, entry.is_answered, entry.is_out = found, True, False
        waiting, entry.waiting = entry.waiting, set()
        for key in sorted(waiting):
            self._enqueue(key)

    async def _look_up(self, find: Find, wanted: Wanted) -> Found | None:
        try:
            async with self._slots, asyncio.timeout(LONGEST_SECONDS):
                return await _in_thread(lambda: find(wanted))
        except TimeoutError:
            message = f"was not found within {LONGEST_SECONDS:.0f} s; it is tried again, or write {wanted.field}.facts"
        except Exception:
            logger.exception("this is a bug; the model is looked up again")
            message = (
                f"could not be looked up, see the operator's log; it is tried again, or write {wanted.field}.facts"
            )
        return Problem(f"{wanted.field}.name", wanted.name, message)


def _find(wanted: Wanted, sources: Sources) -> Found | None:
    """A branch may move: facts that changed between two starts of the operator would roll out pods nobody edited."""
    is_pinned = is_commit(wanted.revision)
    found = look_up((wanted,), sources if is_pinned else replace(sources, is_hub_allowed=False)).get(wanted.key)
    if found is not None or is_pinned or not sources.is_hub_allowed:
        return found
    return Problem(
        f"{wanted.field}.revision",
        wanted.revision or "",
        "must be a commit, 40 hexadecimal digits, for the operator to read the model's facts from the hub: a branch "
        f"that moves would change what runs; set it, or write {wanted.field}.facts",
    )


def _awaited(wanted: Wanted) -> Problem:
    message = "is not in the catalogue and is being looked up; what runs is left alone until the answer is there"
    return Problem(f"{wanted.field}.name", wanted.name, message)


def _addressed(found: Found, asked_for: str, field_path: str) -> Found:
    """The answer in terms of the field that asks now: one model may be target here and draft there."""
    if isinstance(found, ModelFacts):
        return found
    problem_field, message = (text.replace(asked_for, field_path) for text in (found.field, found.message))
    return replace(found, field=problem_field, message=message)
