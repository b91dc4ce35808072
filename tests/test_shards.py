"""Replicas that share the resources: who looks after what, who gets what when one comes, goes or dies, and that nobody
writes for a shard that is not surely his.

The Leases lie in a store as strict as the API server's. The story on the real API server is a system test.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from specdecode.errors import ConflictError, LeaseLostError, UnavailableError
from specdecode.leader import Election, Terms
from specdecode.shards import Shards, shard_of, visiting
from specdecode.store import Key

QUICK = Terms(lease_seconds=0.6, renew_seconds=0.4, retry_seconds=0.02)
KEYS: list[Key] = [(f"team-{number % 7}", f"chat-{number}") for number in range(10_000)]


class Leases:
    """All Leases, as the API server keeps them."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.cut_off: set[str] = set()

    async def find(self, path: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        return self.kept.get(path.rpartition("/")[2])

    async def create_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._written(body, None)

    async def replace_lease(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._written(body, body["metadata"]["resourceVersion"])

    async def _written(self, body: dict[str, Any], expected: str | None) -> dict[str, Any]:
        await asyncio.sleep(0)
        name = body["metadata"]["name"]
        known = self.kept.get(name)
        if (None if known is None else known["metadata"]["resourceVersion"]) != expected:
            raise ConflictError("changed", status=409)
        self.version += 1
        self.kept[name] = {**body, "metadata": {**body["metadata"], "uid": name, "resourceVersion": str(self.version)}}
        return self.kept[name]


class OfOne:
    """The Leases as one replica reaches them."""

    def __init__(self, leases: Leases, name: str) -> None:
        self._leases, self._name = leases, name

    def __getattr__(self, method: str) -> Any:
        async def asked(*arguments: Any) -> Any:
            if self._name in self._leases.cut_off:
                raise UnavailableError("cut off")
            return await getattr(self._leases, method)(*arguments)

        return asked


class Replica:
    """One process."""

    def __init__(self, leases: Leases, name: str, count: int) -> None:
        self.name, self.gained, self.left = name, [], list[int]()
        self.busy: set[int] = set()
        kube: Any = OfOne(leases, name)
        elections = [
            Election(
                kube,
                namespace="ops",
                name=f"specdecode-shard-{shard}",
                identity=name,
                clock=time.monotonic,
                now=lambda: datetime.now(UTC),  # noqa: TID251 - only written down
                terms=QUICK,
            )
            for shard in range(count)
        ]
        self.shards = Shards(
            elections,
            gained=self.gained.append,
            leaving=self._leaving,
            retry_seconds=QUICK.retry_seconds,
            patience_seconds=QUICK.lease_seconds,
        )
        self.life = asyncio.create_task(self.shards.run())

    gained: list[int]

    async def _leaving(self, shard: int) -> None:
        while shard in self.busy:  # noqa: ASYNC110 - a visit under way, as a worker has it
            await asyncio.sleep(0.01)
        self.left.append(shard)

    async def stop(self) -> None:
        """As on SIGTERM."""
        self.life.cancel()
        await asyncio.gather(self.life, return_exceptions=True)
        await self.shards.release()

    async def die(self) -> None:
        """As on SIGKILL: nothing is given back."""
        self.life.cancel()
        await asyncio.gather(self.life, return_exceptions=True)


class Fleet:
    """Replicas over the same Leases."""

    def __init__(self, count: int) -> None:
        self.count, self.leases = count, Leases()
        self.replicas: dict[str, Replica] = {}

    def start(self, *names: str) -> None:
        for name in names:
            self.replicas[name] = Replica(self.leases, name, self.count)

    def owned(self) -> dict[str, int]:
        return {name: len(replica.shards.owned) for name, replica in self.replicas.items()}

    def at_most_one_owns_each(self) -> None:
        owners = Counter(shard for replica in self.replicas.values() for shard in replica.shards.owned)
        assert not [shard for shard, number in owners.items() if number > 1]

    async def until(self, is_so: Callable[[], bool], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, self.owned()
            self.at_most_one_owns_each()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def fleet(count: int, *names: str) -> AsyncIterator[Fleet]:
    running = Fleet(count)
    running.start(*names)
    try:
        yield running
    finally:
        for replica in running.replicas.values():
            await replica.die()


def test_a_resource_belongs_to_the_same_shard_for_ever() -> None:
    assert [shard_of(key, 5) for key in KEYS[:8]] == [shard_of((*key,), 5) for key in KEYS[:8]]
    assert [shard_of(("serving", f"chat-{number}"), 3) for number in range(8)] == [0, 2, 2, 2, 0, 0, 1, 0]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_shards_are_of_one_size(count: int) -> None:
    sizes = Counter(shard_of(key, count) for key in KEYS)
    assert max(sizes.values()) < 1.07 * len(KEYS) / count
    assert len(sizes) == count


async def test_one_replica_looks_after_everything() -> None:
    async with fleet(3, "a") as running:
        await running.until(lambda: running.owned() == {"a": 3})
        assert running.replicas["a"].gained == [0, 1, 2]
        assert all(running.replicas["a"].shards.owns(key) for key in KEYS[:100])


async def test_three_that_start_at_once_share() -> None:
    async with fleet(3, "a", "b", "c") as running:
        await running.until(lambda: running.owned() == {"a": 1, "b": 1, "c": 1})
        for key in KEYS[:200]:
            assert sum(replica.shards.owns(key) for replica in running.replicas.values()) == 1


async def test_one_that_joins_gets_its_share_and_the_giver_finishes_first() -> None:
    async with fleet(4, "a") as running:
        await running.until(lambda: running.owned() == {"a": 4})
        running.replicas["a"].busy = {0, 1, 2, 3}
        running.start("b")
        await asyncio.sleep(0.3)
        assert running.owned()["b"] == 0, "a visit is still under way"
        assert running.owned()["a"] == 3, "but nothing new is begun for it"
        running.replicas["a"].busy.clear()
        await running.until(lambda: running.owned() == {"a": 2, "b": 2})
        assert len(running.replicas["a"].left) == 2


async def test_what_one_that_dies_held_is_taken_over() -> None:
    async with fleet(3, "a", "b", "c") as running:
        await running.until(lambda: running.owned() == {"a": 1, "b": 1, "c": 1})
        await running.replicas.pop("b").die()
        began = time.monotonic()
        await running.until(lambda: sum(running.owned().values()) == 3)
        assert time.monotonic() - began > QUICK.lease_seconds - 0.2, "not before it surely writes no more"


async def test_one_that_is_stopped_hands_over_at_once() -> None:
    async with fleet(2, "a", "b") as running:
        await running.until(lambda: running.owned() == {"a": 1, "b": 1})
        began = time.monotonic()
        await running.replicas.pop("a").stop()
        await running.until(lambda: running.owned() == {"b": 2})
        assert time.monotonic() - began < QUICK.lease_seconds


async def test_one_that_is_cut_off_ends_before_another_takes_its_shards() -> None:
    async with fleet(2, "a", "b") as running:
        await running.until(lambda: running.owned() == {"a": 1, "b": 1})
        (shard,) = running.replicas["a"].shards.owned
        key = next(key for key in KEYS if shard_of(key, 2) == shard)
        running.leases.cut_off.add("a")
        cut, left = running.replicas.pop("a"), asyncio.get_running_loop().time()
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(cut.life, 5)
        assert asyncio.get_running_loop().time() - left < QUICK.lease_seconds + 0.2
        visiting.set(key)
        with pytest.raises(LeaseLostError):
            cut.shards.check()
        await running.until(lambda: running.owned() == {"b": 2})
        running.replicas["b"].shards.check()


async def test_who_asks_and_goes_away_leaves_nothing_unattended() -> None:
    async with fleet(2, "a") as running:
        await running.until(lambda: running.owned() == {"a": 2})
        running.replicas["a"].busy = {0, 1}
        running.start("b")
        await running.until(lambda: running.owned()["a"] == 1)
        await running.replicas.pop("b").die()
        running.replicas["a"].busy.clear()
        await running.until(lambda: running.owned() == {"a": 2})


async def test_a_write_for_nobody_or_for_a_shard_of_another_is_refused() -> None:
    async with fleet(2, "a", "b") as running:
        await running.until(lambda: running.owned() == {"a": 1, "b": 1})
        visiting.set(None)
        with pytest.raises(LeaseLostError, match="for no resource"):
            running.replicas["a"].shards.check()
        (mine,) = running.replicas["a"].shards.owned
        visiting.set(next(key for key in KEYS if shard_of(key, 2) == mine))
        running.replicas["a"].shards.check()
        with pytest.raises(LeaseLostError):
            running.replicas["b"].shards.check()
