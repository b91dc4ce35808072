"""Two operators and one Lease, and the leader is lost in the middle of a decision: the latch is in status, the
Deployment still speculates. It is killed, or suspended for longer than the Lease, or cut off from the API server.

One writer at any time, by the audit log; the other one finishes what was decided, and nothing is decided twice.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from system.faults._admin import Body
from system.faults._audit import Request
from system.faults._relay import Relay
from system.faults._world import KIND, Process, World, eventually, shown, tell, world
from system.faults.conftest import Faults

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from specdecode.loop import LEASE_LOST

LEASE_SECONDS = 15
ROUNDS = {False: 1, True: 8}
FINISHED_WITHIN = 2.5 * LEASE_SECONDS

pytestmark = pytest.mark.timeout(900)


@dataclass
class Member(Process):
    """An operator behind a network of its own."""

    relay: Relay = field(kw_only=True)


Fault = Callable[[Member], None]


def killed(leader: Member) -> None:
    leader.operator.process.kill()


def asleep(leader: Member) -> None:
    leader.sleep()


def cut_off(leader: Member) -> None:
    leader.relay.cut()


FAULTS: dict[str, Fault] = {"killed": killed, "asleep": asleep, "cut-off": cut_off}


@dataclass(frozen=True)
class Round:
    """One decision with its leader lost."""

    resource: Body
    deployment: Body
    events: list[Body]
    leader: str
    successor: str
    terms: list[Request]
    """All requests of both, those for the Lease included, in the order in which they were answered."""
    last_of_leader: list[str]
    """What it still wrote of its decision."""
    returncode: int | None
    """Of the old leader, at the end."""
    seconds: float
    """From the fault until the decision was carried out."""


@dataclass
class Pair:
    """Two operators in a world of their own."""

    world: World
    members: tuple[Member, Member]

    async def leader(self, *, within: float) -> Member:
        async def the_one() -> Member | None:
            leading = [each for each in self.members if await each.is_leading()]
            return leading[0] if leading else None

        found: Member = await eventually(the_one, within=within, what="somebody leads")
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lost(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[dict[str, list[Round]]]:
    """All faults side by side."""
    rounds = ROUNDS[faults.is_full]
    async with AsyncExitStack() as stack:

        async def play(name: str, fault: Fault) -> list[Round]:
            directory = tmp_path_factory.mktemp(name)
            found = await stack.enter_async_context(world(plane, directory, f"two-{name}"))
            return await rounds_of(found, fault, rounds, stack)

        # One after the other: each enters the same stack. The waits for the Lease are what takes time, side by side.
        plays = await asyncio.gather(*(play(name, fault) for name, fault in FAULTS.items()))
        played = dict(zip(FAULTS, plays, strict=True))
        for name, each in played.items():
            seconds = [one.seconds for one in each]
            tell(f"leader {name} during a decision", rounds=len(each), slowest_s=max(seconds), fastest_s=min(seconds))
        yield played


async def rounds_of(world: World, fault: Fault, count: int, stack: AsyncExitStack) -> list[Round]:
    pair = Pair(world, (await member(world, "first", stack), await member(world, "second", stack)))
    # The networks are the last to go.
    stack.push_async_callback(world.stop)
    return [await play_round(pair, f"chat-{number}", fault) for number in range(count)]


async def member(world: World, name: str, stack: AsyncExitStack) -> Member:
    """An operator whose connection can be cut."""
    relay = await stack.enter_async_context(Relay(world.plane.server))
    values = {"replicas": 2, "watch": {"namespaces": [world.namespace]}}
    direct = world.directory / f"{name}.direct.kubeconfig"
    shutil.copy(await identity(world.plane, world.namespace, values), direct)
    kubeconfig = relay.kubeconfig(direct, world.directory / f"{name}.kubeconfig")
    settings = {"leader_election": "true", "lease_namespace": world.namespace, "max_steps_per_namespace": "1000"}
    process = await world.start(name, settings, kubeconfig)
    made = Member(process.operator, process.credential, relay=relay)
    world.processes[-1] = made
    return made


async def play_round(pair: Pair, name: str, fault: Fault) -> Round:
    world = pair.world
    leader = await pair.leader(within=2 * LEASE_SECONDS)
    successor = next(each for each in pair.members if each is not leader)
    await world.apply(name)
    await eventually(lambda: world.is_settled(name), what="the resource is settled")
    began = len(world.audit.requests)
    striking = asyncio.create_task(_strike(world, name, lambda: fault(leader)))
    await world.crash(name, "QuantizedDraft")
    struck_at = await striking

    async def is_off() -> bool:
        live = await world.deployment(name)
        return live is not None and live["metadata"]["annotations"]["specdecode.io/mode"] == "Off"

    await eventually(is_off, within=FINISHED_WITHIN, what="the decision is carried out")
    seconds = time.monotonic() - struck_at
    await eventually(successor.is_leading, within=FINISHED_WITHIN, what="the other one leads")
    leader.relay.mend()
    leader.wake()
    await eventually(leader.has_ended, within=20, what="the old leader ends")
    await world.rests(seconds=2)
    resource, deployment = await world.resource(name), await world.deployment(name)
    assert resource is not None
    assert deployment is not None
    requests = world.audit.requests
    seen = Round(
        resource=resource,
        deployment=deployment,
        events=[
            event for event in await world.admin.items("Event", world.namespace) if event["reason"] == "RolledBack"
        ],
        leader=leader.credential,
        successor=successor.credential,
        terms=requests,
        last_of_leader=shown(
            each for each in requests[began:] if each.credential == leader.credential and each.resource != "leases"
        ),
        returncode=leader.operator.process.returncode,
        seconds=seconds,
    )
    await world.admin.delete(KIND, world.namespace, name)
    await leader.operator.start()
    return seen


async def _strike(world: World, name: str, strike: Callable[[], None]) -> float:
    """The moment the latch is in status; answers when."""
    async for kind, resource in world.admin.changes(KIND, world.namespace):
        if kind == "MODIFIED" and resource["metadata"]["name"] == name and resource.get("status", {}).get("rollback"):
            strike()
            return time.monotonic()
    raise AssertionError("nothing was decided")


def strangers(requests: Iterable[Request]) -> list[str]:
    """Writes of one who did not hold the Lease when they were answered."""
    holder, found = "", []
    for request in requests:
        if not request.is_done:
            continue
        if request.resource == "leases":
            holder = request.credential
        elif request.credential != holder:
            found.append(str(request))
    return found


async def test_the_measure_bites() -> None:
    def request(resource: str, credential: str) -> Request:
        values: dict[str, Any] = dict.fromkeys(("namespace", "name", "user"), "")
        return Request(verb="patch", resource=resource, credential=credential, code=200, at=None, **values)  # type: ignore[arg-type]  # no time is looked at

    mine, theirs = request("deployments", "a"), request("deployments", "b")
    takes, follows = request("leases", "a"), request("leases", "b")
    assert strangers([takes, mine, follows, theirs]) == []
    assert len(strangers([takes, mine, follows, theirs, mine])) == 1
    assert len(strangers([takes, theirs])) == 1


each_fault = pytest.mark.parametrize("fault", FAULTS)


@each_fault
async def test_one_writer_at_any_time(lost: dict[str, list[Round]], fault: str) -> None:
    for one in lost[fault]:
        assert strangers(one.terms) == []
        writers = {each.credential for each in one.terms if each.resource != "leases"}
        assert writers <= {one.leader, one.successor}


@each_fault
async def test_what_was_decided_is_carried_out_once(lost: dict[str, list[Round]], fault: str) -> None:
    for one in lost[fault]:
        status = one.resource["status"]
        assert [entry["action"] for entry in status["history"]] == ["RolledBack"]
        assert (status["rollback"]["to"], status["rollback"]["attempts"]) == ("Off", 1)
        assert one.deployment["metadata"]["generation"] == 2, "made once, changed once"
        uid = one.resource["metadata"]["uid"]
        assert len([event for event in one.events if event["involvedObject"]["uid"] == uid]) == 1


@each_fault
async def test_the_fault_came_in_the_middle(lost: dict[str, list[Round]], fault: str) -> None:
    """Of most decisions at least the last write was left to the other one; else the test shows nothing."""
    posted = [one for one in lost[fault] if any(write.startswith("create events") for write in one.last_of_leader)]
    assert len(posted) <= len(lost[fault]) / 2


@pytest.mark.parametrize("fault", ["asleep", "cut-off"])
async def test_a_leader_that_lives_on_ends_by_itself(lost: dict[str, list[Round]], fault: str) -> None:
    assert {one.returncode for one in lost[fault]} == {LEASE_LOST}
