"""A stale view: the watches of resources and Deployments are silent while reads and writes pass, and people go on.

Then the watches tell everything at once; one of them is told that it is too old to go on; and every write of a while is
sent twice, as by a client that lost the answer. Afterwards all is as if the operator had seen everything in time.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from system.faults._audit import Request
from system.faults._same import differences, in_namespace, masked
from system.faults._world import World, eventually, shown, tell, world
from system.faults.conftest import Faults
from system.faults.test_unobserved import CASES, COLLECTED_WITHIN, end_state, happens, identities, own

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.fault_proxy import WRITES, FaultProxy, Freeze, Gone, Replay

HOME, DIRECT = "stale", "stale-direct"
STALE_SECONDS = {False: 5.0, True: 60.0}
OTHER: dict[str, Any] = {"spec.speculation.numSpeculativeTokens": 3}
GONE, REPLAYED = "told-that-it-is-too-old", "written-twice"
"""Resources that are edited after their watch was told 410, and while every write is sent twice."""

pytestmark = pytest.mark.timeout(420)


@dataclass(frozen=True)
class Seen:
    """Before and after."""

    world: World
    before: dict[str, list[dict[str, Any]]]
    """Children by resource."""
    writes: list[Request]
    """From the moment the watches fell silent."""
    is_running: bool


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults) -> AsyncIterator[Seen]:
    directory = tmp_path_factory.mktemp("stale")
    async with (
        FaultProxy(plane.server, ca=plane.ca_file) as proxy,
        world(plane, directory, HOME, DIRECT) as made,
    ):
        own_kubeconfig = directory / "direct.kubeconfig"
        shutil.copy(await identity(plane, HOME, {"watch": {"namespaces": [HOME, DIRECT]}}), own_kubeconfig)
        settings = {"resync_interval_seconds": "10"}
        process = await made.start("operator", settings, proxy.kubeconfig(own_kubeconfig, directory / "own.kubeconfig"))
        there = {name: case.before for name, case in CASES.items() if case.before is not None}
        there |= {GONE: {}, REPLAYED: {}}
        await asyncio.gather(*(made.apply(name, before) for name, before in there.items()))
        await made.settles(there)
        await made.rests()
        children = await made.children()
        count = len(made.audit.writes)

        frozen = proxy.add(Freeze(), path="/(specdecodedeployments|deployments)", is_watch=True)
        silent_at = time.monotonic()
        await asyncio.gather(*(happens(made, name, case.unseen) for name, case in CASES.items()))
        await asyncio.sleep(max(0.0, STALE_SECONDS[faults.is_full] - (time.monotonic() - silent_at)))
        silent_seconds, blind_writes = time.monotonic() - silent_at, len(made.audit.writes) - count
        proxy.remove(frozen)
        seconds = await caught_up(made, [name for name, case in CASES.items() if case.after is not None])

        gone = proxy.add(Gone(), path="/specdecodedeployments", is_watch=True, times=1)
        await made.apply(GONE, OTHER)
        seconds_gone = await caught_up(made, [GONE])
        assert gone.met == 1, "the watch was told"
        replay = proxy.add(Replay(), verbs=WRITES)
        await made.apply(REPLAYED, OTHER)
        await caught_up(made, [REPLAYED])
        assert replay.met > 0, "something was written twice"
        proxy.clear()

        direct = {name: case.after for name, case in CASES.items() if case.after is not None}
        direct |= {GONE: OTHER, REPLAYED: OTHER}
        writes = made.audit.writes[count:]
        await asyncio.gather(*(made.apply(name, after, DIRECT) for name, after in direct.items()))
        await made.settles(direct, DIRECT)
        await made.rests()
        tell(
            "stale view",
            cases=len(CASES) + 2,
            silent_s=silent_seconds,
            writes_meanwhile=blind_writes,
            settled_after_s=seconds,
            settled_after_410_s=seconds_gone,
        )
        before = {name: own(children, name) for name in there}
        yield Seen(made, before, writes, process.is_running)


async def caught_up(world: World, names: list[str]) -> float:
    """How long it takes until nothing is left to do for these."""
    began = time.monotonic()
    await world.settles(names, within=COLLECTED_WITHIN)
    seconds = time.monotonic() - began
    await world.rests()
    return seconds


@pytest.mark.parametrize("name", [*(name for name, case in CASES.items() if case.after is not None), GONE, REPLAYED])
async def test_the_end_is_that_of_a_direct_apply(seen: Seen, name: str) -> None:
    stale, direct = await end_state(seen.world, name, HOME), await end_state(seen.world, name, DIRECT)
    assert stale.keys() == direct.keys()
    assert differences(masked(stale), masked(in_namespace(direct, DIRECT, HOME))) == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.after is None])
async def test_of_what_is_gone_nothing_is_left(seen: Seen, name: str) -> None:
    async def is_all_gone() -> bool:
        return not own(await seen.world.children(), name)

    await eventually(is_all_gone, within=COLLECTED_WITHIN)
    assert await seen.world.resource(name) is None


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_untouched])
async def test_the_children_are_still_the_same_ones(seen: Seen, name: str) -> None:
    """Unlike one that was asleep this process may have seen a change by chance, and have followed it there and back."""
    uids = {(child["kind"], child["metadata"]["uid"]) for child in seen.before[name]}
    assert {(child["kind"], child["metadata"]["uid"]) for child in own(await seen.world.children(), name)} == uids


async def test_nobody_stepped(seen: Seen) -> None:
    """Nothing was wrong with any engine, and what is seen late is no evidence."""
    for name, case in CASES.items():
        if case.after is not None:
            status = await seen.world.status(name)
            steps = [each for each in status.get("history", ()) if each["action"] in ("RolledBack", "Recommended")]
            assert (steps, status.get("rollback")) == ([], None), name


async def test_a_write_that_is_sent_twice_makes_nothing_twice(seen: Seen) -> None:
    (deployment,) = [child for child in own(await seen.world.children(), REPLAYED) if child["kind"] == "Deployment"]
    before = next(child for child in seen.before[REPLAYED] if child["kind"] == "Deployment")
    assert deployment["metadata"]["uid"] == before["metadata"]["uid"]
    assert deployment["metadata"]["generation"] == before["metadata"]["generation"] + 1
    deleted = [write for write in seen.writes if write.verb == "delete" and write.name.startswith(REPLAYED)]
    assert shown(deleted) == []
    assert identities([deployment]) != identities([before])


async def test_the_process_goes_on(seen: Seen) -> None:
    assert seen.is_running
