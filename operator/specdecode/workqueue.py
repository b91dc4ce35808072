"""A queue of keys: each key at most once in the queue, never worked on twice at a time, retried with back-off."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from specdecode.store import Key

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0


def backoff_seconds(failures: int, jitter: float) -> float:
    """Wait after that many failures in a row: 1, 2, 4 … 300 s; `jitter` in [0, 1) spreads it by up to a quarter."""
    wait = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_RETRY_SECONDS)
    return wait * (1 + jitter / 4)


class WorkQueue:
    """Keys that are due. A key that is added while it is being worked on runs once more afterwards."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Make a key due."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def is_idle(self, key: Key) -> bool:
        """Whether a key is neither due nor being worked on."""
        return key not in self._waiting and key not in self._active

    def is_active(self, key: Key) -> bool:
        """Whether a key is being worked on."""
        return key in self._active

    def add_later(self, key: Key, seconds: float) -> None:
        """Make a key due after a while."""
        asyncio.get_running_loop().call_later(seconds, self.add, key)

    async def work(self, run: Callable[[Key], Awaitable[bool]]) -> None:
        """Work off keys until cancelled. `run` answers whether it succeeded; a failure is retried with back-off."""
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            self._active.add(key)
            try:
                succeeded = await run(key)
            finally:
                self._active.discard(key)
            self._settle(key, succeeded=succeeded)

    def _settle(self, key: Key, *, succeeded: bool) -> None:
        if succeeded:
            self._failures.pop(key, None)
        else:
            self._failures[key] = self._failures.get(key, 0) + 1
            self.add_later(key, backoff_seconds(self._failures[key], random.random()))  # noqa: S311 - only spreads load
        if key in self._again:
            self._again.discard(key)
            self.add(key)
