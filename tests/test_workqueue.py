"""The queue of due resources."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.store import Key
from specdecode.workqueue import LONGEST_RETRY_SECONDS, WorkQueue, backoff_seconds

A, B = ("ns", "a"), ("ns", "b")


async def worked(queue: WorkQueue, run: Callable[[Key], Awaitable[bool]], *, seconds: float = 0.05) -> None:
    tasks = [asyncio.create_task(queue.work(run)) for _ in range(3)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_key_added_twice_is_worked_on_once() -> None:
    queue, seen = WorkQueue(), list[Key]()

    async def run(key: Key) -> bool:
        seen.append(key)
        return True

    for key in (A, A, B, A):
        queue.add(key)
    await worked(queue, run)
    assert sorted(seen) == [A, B]


async def test_a_key_added_while_it_is_worked_on_runs_once_more_and_never_twice_at_a_time() -> None:
    queue, active, most, runs = WorkQueue(), 0, 0, 0

    async def run(key: Key) -> bool:
        nonlocal active, most, runs
        active, runs = active + 1, runs + 1
        most = max(most, active)
        if runs == 1:
            queue.add(key)
            queue.add(key)
        await asyncio.sleep(0.01)
        active -= 1
        return True

    queue.add(A)
    await worked(queue, run, seconds=0.1)
    assert (runs, most) == (2, 1)


async def test_a_failure_is_tried_again_and_a_success_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdecode.workqueue.FIRST_RETRY_SECONDS", 0.01)
    queue, runs = WorkQueue(), 0

    async def run(_: Key) -> bool:
        nonlocal runs
        runs += 1
        return runs == 3

    queue.add(A)
    await worked(queue, run, seconds=0.3)
    assert runs == 3


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_to_a_limit(failures: int, jitter: float) -> None:
    wait = backoff_seconds(failures, jitter)
    assert 1 <= wait <= LONGEST_RETRY_SECONDS * 1.25
    assert backoff_seconds(failures + 1, jitter) >= wait
