"""Several replicas that work at once: each looks after a part of the resources, and a Lease per part says which.

A resource belongs to a shard by a hash of its namespace and name, which no restart and no release changes. A replica
takes what is free, and gives back what another one that has less asks for:

    nobody holds it            whoever has the fewest takes it; after a while anybody does
    its holder is silent       the same, as for any Lease
    one has two more than I    I ask for one of its shards; it finishes what it is at, and gives it back

Every replica watches everything and keeps it packed, so that a shard that it gains costs no list. What it may not
write it does not look at. A Lease that is lost, and not given back, ends the process, as with one Lease.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from hashlib import blake2b

from specdecode.errors import ClusterError, LeaseLostError
from specdecode.leader import Election, Standing
from specdecode.store import Key

logger = logging.getLogger("specdecode")

visiting: ContextVar[Key | None] = ContextVar("visiting", default=None)
"""The resource that this task writes for."""


def shard_of(key: Key, count: int) -> int:
    """Which of `count` shards a resource belongs to: the same in every process and every release."""
    text = "/".join(key).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") % count


class Shards:
    """The shards that this process holds, out of as many as there are elections."""

    def __init__(
        self,
        elections: Sequence[Election],
        *,
        gained: Callable[[int], None],
        leaving: Callable[[int], Awaitable[None]],
        retry_seconds: float = 2.0,
        patience_seconds: float = 15.0,
    ) -> None:
        """`gained` is told of a shard once it is held; `leaving` before it is given back, and returns when nothing is
        under way for it any more. What nobody takes for `patience_seconds` anybody may.
        """
        self._elections = elections
        self._gained, self._leaving = gained, leaving
        self._retry_seconds, self._patience_seconds = retry_seconds, patience_seconds
        self._owned: set[int] = set()
        self._holds: dict[int, asyncio.Task[None]] = {}
        self._given: set[int] = set()
        """Given back to somebody who has not taken it yet."""

    @property
    def count(self) -> int:
        """How many there are in all."""
        return len(self._elections)

    @property
    def owned(self) -> frozenset[int]:
        """Those that this process looks after."""
        return frozenset(self._owned)

    def owns(self, key: Key) -> bool:
        """Whether a resource is one of ours."""
        return shard_of(key, self.count) in self._owned

    def check(self) -> None:
        """Whether the task that asks may write. Raises LeaseLostError unless the shard that it visits is surely held.

        A shard that is being given back may still be written to: what is under way is finished first.
        """
        key = visiting.get()
        if key is None:
            raise LeaseLostError("a write for no resource: nothing is written")
        self._elections[shard_of(key, self.count)].check()

    async def run(self) -> None:
        """Take, hold and give back for ever. Raises LeaseLostError as soon as one is lost."""
        try:
            while True:
                await self._round()
                done = [task for task in self._holds.values() if task.done()]
                for task in done:
                    task.result()
                await asyncio.sleep(self._retry_seconds)
        finally:
            for task in self._holds.values():
                task.cancel()

    async def release(self) -> None:
        """Give everything back, so that the others need not wait."""
        self._owned.clear()
        for task in self._holds.values():
            task.cancel()
        await asyncio.gather(*(self._elections[shard].release() for shard in self._holds))
        self._holds.clear()

    async def _round(self) -> None:
        for shard in sorted(self._owned):
            if not self._elections[shard].wanted_by:
                continue
            if len(self._owned) > 1:
                await self._give_back(shard)
            else:
                self._elections[shard].wanted_by = ""  # it was asked when there was more to give
        try:
            seen = {shard: await election.look() for shard, election in enumerate(self._elections)}
        except (ClusterError, TimeoutError) as error:
            logger.warning("the Leases of the shards cannot be looked at, trying again: %s", str(error) or "no answer")
            return
        load = Counter({self._me: len(self._owned)})
        load.update(each.holder for shard, each in seen.items() if each is not None and self._is_of_others(shard, each))
        for shard, standing in seen.items():
            if shard not in self._owned and self._may_take(shard, standing, load):
                await self._take(shard)
                load[self._me] = len(self._owned)
        await self._ask(seen, load)

    @property
    def _me(self) -> str:
        return self._elections[0].identity

    def _is_of_others(self, shard: int, standing: Standing) -> bool:
        return shard not in self._owned and not standing.is_free

    def _may_take(self, shard: int, standing: Standing | None, load: Mapping[str, int]) -> bool:
        """Whether a shard is free, and this replica is one of those that have the fewest."""
        if standing is None:
            return True
        if not standing.is_free:
            self._given.discard(shard)
            return False
        has_fewest = load[self._me] <= min(load.values()) and shard not in self._given
        return has_fewest or standing.unchanged_seconds >= self._patience_seconds

    async def _take(self, shard: int) -> None:
        election = self._elections[shard]
        if not await election.try_once():
            return
        self._holds[shard] = asyncio.create_task(election.hold(), name=f"shard {shard}")
        self._owned.add(shard)
        self._given.discard(shard)
        logger.info("shard %d of %d is looked after by %s", shard, self.count, self._me)
        self._gained(shard)

    async def _give_back(self, shard: int) -> None:
        wanted_by = self._elections[shard].wanted_by
        self._owned.discard(shard)
        self._given.add(shard)
        await self._leaving(shard)
        self._holds.pop(shard).cancel()
        await self._elections[shard].release()
        logger.info("shard %d of %d is given to %s", shard, self.count, wanted_by)

    async def _ask(self, seen: Mapping[int, Standing | None], load: Mapping[str, int]) -> None:
        """Ask the one that has the most for one of its shards, if it has two more; one at a time."""
        most = max(load, key=lambda holder: (load[holder], holder))
        if load[most] < load[self._me] + 2 or any(each is not None and each.wanted_by for each in seen.values()):
            return
        shard = next(shard for shard, each in seen.items() if each is not None and each.holder == most)
        try:
            await self._elections[shard].ask()
        except (ClusterError, TimeoutError) as error:
            logger.warning("shard %d could not be asked for: %s", shard, str(error) or "no answer")
