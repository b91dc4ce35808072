"""Two hundred edits of specs, and how long it takes until the status says that each was seen."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from specdecode.api.vocabulary import PLURAL

from .client import RESOURCES, Client
from .names import Member

_COLLECTION = f"{RESOURCES}/{PLURAL}"
_LOW_PERCENT = 60
"""Nothing accepts so little: another limit changes the status, and nothing else."""


@dataclass
class _Edit:
    generation: int = 0
    sent: float = 0.0
    accepted: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True)
class Latencies:
    """In seconds, sorted."""

    edits: int
    from_sending: tuple[float, ...] = field(repr=False)
    from_acceptance: tuple[float, ...] = field(repr=False)
    """From the API server's answer to the edit; 0 where the status was faster."""
    accepting: tuple[float, ...] = field(repr=False)
    """From sending to that answer: what the API server and the machine take for themselves."""

    @property
    def missed(self) -> int:
        """Edits that nothing was said about in time."""
        return self.edits - len(self.from_sending)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so many do not exceed; NaN of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass
class Burst:
    """One burst on some deployments of a fleet."""

    client: Client
    members: Sequence[Member]
    writers: int
    percent: int
    _edits: dict[tuple[str, str], _Edit] = field(default_factory=dict)
    _left: int = 0

    async def run(self, within_seconds: float) -> Latencies:
        """Edit, and wait until every status has followed, or the time is over."""
        self._edits = {member.key: _Edit() for member in self.members}
        self._left = len(self._edits)
        listed = await self.client.get(f"{_COLLECTION}?limit=1")
        watch = asyncio.create_task(self._watch(listed["metadata"]["resourceVersion"]))
        todo = iter(self.members)
        try:
            async with asyncio.timeout(within_seconds):
                await asyncio.gather(*(self._write(todo) for _ in range(self.writers)))
                await watch
        except TimeoutError:
            pass
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        done = [edit for edit in self._edits.values() if edit.answered and edit.accepted]
        return Latencies(
            len(self._edits),
            tuple(sorted(edit.answered - edit.sent for edit in done)),
            tuple(sorted(max(0.0, edit.answered - edit.accepted) for edit in done)),
            tuple(sorted(edit.accepted - edit.sent for edit in self._edits.values() if edit.accepted)),
        )

    async def _write(self, todo: Iterator[Member]) -> None:
        for member in todo:
            edit = self._edits[member.key]
            edit.sent = time.perf_counter()
            path = f"{RESOURCES}/namespaces/{member.namespace}/{PLURAL}/{member.name}"
            change = {"spec": {"guard": {"acceptance": {"reviewBelowPercent": self.percent}}}}
            stored = await self.client.merge(path, change)
            edit.accepted = time.perf_counter()
            edit.generation = stored["metadata"]["generation"]

    async def _watch(self, resource_version: str) -> None:
        async for event in self.client.watch(_COLLECTION, resource_version):
            metadata = event["object"]["metadata"]
            edit = self._edits.get((metadata.get("namespace", ""), metadata.get("name", "")))
            if edit is None or edit.answered:
                continue
            spec = event["object"]["spec"]["guard"].get("acceptance") or {}
            is_after = spec.get("reviewBelowPercent") == self.percent
            if is_after and event["object"].get("status", {}).get("observedGeneration") == metadata["generation"]:
                edit.answered = time.perf_counter()
                self._left -= 1
                if not self._left:
                    return


async def burst(
    client: Client, fleet: Sequence[Member], number: int, *, writers: int, edits: int, within_seconds: float
) -> Latencies:
    """One burst on deployments that chance picks, the same in every run."""
    chosen = random.Random(number).sample(fleet, min(edits, len(fleet)))
    return await Burst(client, chosen, writers, _LOW_PERCENT + number).run(within_seconds)
