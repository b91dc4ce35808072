"""The API server and its storage really end and come back, under two operators with a Lease and one without.

A server that has just started refuses everybody until it has read its roles, answers from caches that are still being
filled, and has forgotten all watches. No proxy says such things by itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from system.faults._world import Process, World, eventually, tell, world
from system.faults.conftest import Faults
from system.faults.test_api_outage import ASLEEP

from rehearsal.binaries import Binaries
from rehearsal.control_plane import ControlPlane
from specdecode.loop import LEASE_LOST

DOWN_SECONDS = 14.0
"""Longer than a holder goes on without renewing its Lease."""
READY_WITHIN = 60.0
CAUGHT_UP_WITHIN = 60.0
"""The Lease of one that was killed runs out first; then the watches are tried again after at most ten seconds."""
NAME = "chat"
ELECTED = {"leader_election": "true", "lease_namespace": "restart"}
QUICK = {"resync_interval_seconds": "10"}

pytestmark = pytest.mark.timeout(900)

Fault = Callable[[ControlPlane], Awaitable[None]]


async def killed(plane: ControlPlane) -> None:
    server = plane.processes["kube-apiserver"]
    server.kill()
    await server.wait()
    await asyncio.sleep(DOWN_SECONDS)
    await server.start()


async def told_to_end(plane: ControlPlane) -> None:
    server = plane.processes["kube-apiserver"]
    await server.stop(DOWN_SECONDS)
    await server.start()


async def without_storage(plane: ControlPlane) -> None:
    storage = plane.processes["etcd"]
    storage.kill()
    await storage.wait()
    await asyncio.sleep(DOWN_SECONDS)
    await storage.start()


async def with_storage_asleep(plane: ControlPlane) -> None:
    storage = plane.processes["etcd"]
    storage.suspend()
    await asyncio.sleep(2 * DOWN_SECONDS)
    storage.resume()


FAULTS: dict[str, Fault] = {"killed": killed}
MORE_FAULTS: dict[str, Fault] = {
    "told to end": told_to_end,
    "without storage": without_storage,
    "storage asleep": with_storage_asleep,
}


@dataclass
class Ward:
    """An operator that is started again when it ends, as a kubelet would, and asked whether it lives."""

    process: Process
    ends: list[int | None] = field(default_factory=list)
    """Exit codes."""
    lives: set[int] = field(default_factory=set)
    """Answers of /healthz."""

    async def run(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            while True:
                await asyncio.sleep(1)
                if not self.process.is_running:
                    self.ends.append(self.process.operator.process.returncode)
                    await self.process.operator.start()
                elif url := self.process.operator.url:
                    with suppress(httpx.TransportError):
                        self.lives.add((await client.get(f"{url}/healthz")).status_code)


@dataclass(frozen=True)
class Round:
    """One end and new beginning of the server."""

    ends: Sequence[Sequence[int | None]]
    """Exit codes of the two with a Lease, and of the one without."""
    lives: Sequence[set[int]]
    generations: tuple[int, ...]
    """By which the specs of the Deployments moved on: one with a Lease, one without."""
    caught_up: float
    """Seconds from when the server was ready."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rounds(
    binaries: Binaries, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[dict[str, Round]]:
    """A control plane of its own: everybody else needs theirs."""
    directory: Path = tmp_path_factory.mktemp("restart")
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(ControlPlane(binaries, directory / "plane", lambda _: None))
        pair = await stack.enter_async_context(world(plane, directory, "restart"))
        alone = await stack.enter_async_context(world(plane, directory, "alone"))
        wards = [
            Ward(await pair.start("first", QUICK | ELECTED)),
            Ward(await pair.start("second", QUICK | ELECTED)),
            Ward(await alone.start("single", QUICK)),
        ]
        await edited((pair, alone), 1)
        await all_are_there(wards[:2])
        found: dict[str, Round] = {}
        for number, (name, fault) in enumerate((FAULTS | (MORE_FAULTS if faults.is_full else {})).items(), start=2):
            found[name] = await play(plane, (pair, alone), wards, fault, number)
            tell(
                f"API server {name}",
                caught_up_after_s=found[name].caught_up,
                ends=[len(each) for each in found[name].ends],
            )
            await all_are_there(wards[:2])
        yield found


async def play(
    plane: ControlPlane, worlds: tuple[World, World], wards: Sequence[Ward], fault: Fault, number: int
) -> Round:
    for ward in wards:
        ward.ends, ward.lives = [], set()
    before = [await generation(each) for each in worlds]
    kubelets = [asyncio.create_task(ward.run()) for ward in wards]
    try:
        await fault(plane)
        await plane.wait_ready(READY_WITHIN)
        over = time.monotonic()
        await edited(worlds, number)
        caught_up = time.monotonic() - over
        await asyncio.gather(*(each.rests() for each in worlds))
    finally:
        for kubelet in kubelets:
            kubelet.cancel()
    after = [await generation(each) for each in worlds]
    moved = tuple(late - early for early, late in zip(before, after, strict=True))
    return Round([ward.ends for ward in wards], [ward.lives for ward in wards], moved, caught_up)


async def edited(worlds: tuple[World, World], number: int) -> None:
    """Somebody edits the resource, as often as the server refuses it, and the operator follows."""

    async def is_taken(each: World) -> bool:
        with suppress(AssertionError, httpx.TransportError):
            await each.apply(NAME, ASLEEP | {"spec.speculation.numSpeculativeTokens": number})
            return True
        return False

    async def follow(each: World) -> None:
        await eventually(lambda: is_taken(each), within=CAUGHT_UP_WITHIN, what="the edit is taken")
        await each.settles([NAME], within=CAUGHT_UP_WITHIN)

    await asyncio.gather(*map(follow, worlds))


async def generation(each: World) -> int:
    found = await each.deployment(NAME)
    assert found is not None
    return int(found["metadata"]["generation"])


async def all_are_there(wards: Sequence[Ward]) -> None:
    """One leads, the other one stands by."""

    async def are_there() -> bool:
        return all(ward.process.operator.url for ward in wards) and any(
            [await ward.process.is_leading() for ward in wards]
        )

    await eventually(are_there, within=CAUGHT_UP_WITHIN, what="one leads and one stands by")


async def test_who_cannot_renew_its_lease_ends_once_and_nobody_else_ends(rounds: dict[str, Round]) -> None:
    for name, one in rounds.items():
        *pair, single = one.ends
        assert single == [], name
        assert sorted(map(list, pair)) in ([[], []], [[], [LEASE_LOST]]), name


async def test_who_runs_says_that_it_lives(rounds: dict[str, Round]) -> None:
    assert {name: one.lives for name, one in rounds.items() if set().union(*one.lives) != {200}} == {}


async def test_what_was_asked_for_is_done_once(rounds: dict[str, Round]) -> None:
    for name, one in rounds.items():
        assert one.generations == (1, 1), name
        assert one.caught_up < CAUGHT_UP_WITHIN, name
