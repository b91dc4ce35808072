"""States that the operator never saw: it was suspended while a spec went on and off, while a resource was deleted and
made again under its name, while children vanished. Afterwards everything is as if it had seen all of it.

The measure is a direct apply: the last spec, given to a new resource of the same name in another namespace.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from builders import ABSENT
from system.faults._admin import Body
from system.faults._audit import Request
from system.faults._same import differences, in_namespace, masked
from system.faults._world import KIND, World, eventually, shown, tell, world
from system.faults.conftest import Faults

from rehearsal.control_plane import ControlPlane

HOME, DIRECT = "unobserved", "unobserved-direct"
ASLEEP_SECONDS = {False: 3.0, True: 80.0}
"""Beyond the operator's own limit for a silent watch, 70 s. After two minutes a pod without a node is a finding."""
COLLECTED_WITHIN = 45
"""The garbage collector learns of a new CRD within 30 s."""

pytestmark = pytest.mark.timeout(420)

Overrides = dict[str, Any]
Step = Callable[[World, str], Awaitable[Any]]

OFF: Overrides = {"spec.speculation": ABSENT}
OTHER: Overrides = {"spec.speculation.numSpeculativeTokens": 3}
TOO_LARGE: Overrides = {"spec.accelerator.count": 1}
CONTROLLED: Overrides = {"spec.guard": {"baseline": {"controlReplicas": 1}}}
METERED: Overrides = {"spec.guard": {"meter": True}}


def applied(**overrides: Any) -> Step:
    return lambda world, name: world.apply(name, overrides)


def annotated(value: str | None) -> Step:
    change = {"metadata": {"annotations": {"specdecode.io/force-mode": value}}}
    return lambda world, name: world.admin.patch(KIND, world.namespace, name, change)


def scaled(replicas: int) -> Step:
    change = {"spec": {"replicas": replicas}}
    return lambda world, name: world.admin.patch(KIND, world.namespace, name, change, subresource="scale")


def edited(change: Any) -> Step:
    return lambda world, name: world.admin.patch("Deployment", world.namespace, name, change)


def without(kind: str, suffix: str = "") -> Step:
    return lambda world, name: world.admin.delete(kind, world.namespace, name + suffix)


def deleted(policy: str = "Background") -> Step:
    async def step(world: World, name: str) -> None:
        await world.admin.delete(KIND, world.namespace, name, policy=policy)

        async def is_gone() -> bool:
            return await world.resource(name) is None

        await eventually(is_gone, what=f"{name} is deleted", within=COLLECTED_WITHIN)

    return step


@dataclass(frozen=True)
class Case:
    """What is there before, what happens unseen, and what a person would have applied to have the same."""

    unseen: tuple[Step, ...]
    before: Overrides | None = field(default_factory=dict)
    """None: it is not there."""
    after: Overrides | None = field(default_factory=dict)
    """None: it is gone."""
    is_untouched: bool = False
    """Whether nothing at all has to be done to the children."""


SAME = applied()
CASES = {
    "on-off-on": Case((applied(**OFF), SAME), is_untouched=True),
    "changed-and-back": Case((applied(**OTHER), applied(**TOO_LARGE), SAME), is_untouched=True),
    "forced-and-released": Case((annotated("Off"), annotated(None)), is_untouched=True),
    "scaled-and-back": Case((scaled(5), scaled(2)), is_untouched=True),
    "changed-twice": Case((applied(**OTHER), applied(**OFF)), after=OFF),
    "changed-to-what-does-not-fit-and-on": Case((applied(**TOO_LARGE), applied(**OTHER)), after=OTHER),
    "made-again": Case((deleted(), SAME)),
    "made-again-as-another": Case((deleted(), applied(**OTHER)), after=OTHER),
    "made-again-with-an-arm": Case((deleted(), applied(**CONTROLLED)), before=CONTROLLED, after=CONTROLLED),
    "made-again-with-a-meter": Case((deleted(), applied(**METERED)), before=METERED, after=METERED),
    "made-again-twice": Case((deleted(), applied(**OFF), deleted(), SAME)),
    "made": Case((SAME,), before=None),
    "made-and-deleted": Case((SAME, deleted()), before=None, after=None),
    "deleted": Case((deleted(),), after=None),
    "deleted-in-the-foreground": Case((deleted("Foreground"),), after=None),
    "without-its-deployment": Case((without("Deployment"),)),
    "without-its-service": Case((without("Service"),)),
    "without-its-control-arm": Case((without("Deployment", "-control"),), before=CONTROLLED, after=CONTROLLED),
    "control-arm-not-wanted": Case((SAME,), before=CONTROLLED),
    "edited-by-hand": Case((edited({"spec": {"replicas": 7, "minReadySeconds": 1}}),)),
}
ORPHANED = "orphaned-and-made-again"
"""Its children were left to nobody, and stand in the way of a new one of the name."""
CRASHED = "crashing-and-made-again"
"""The pods of the first one crash in a loop while the second one begins."""


@dataclass(frozen=True)
class Slept:
    """Before and after."""

    world: World
    before: dict[str, list[Body]]
    """Children by resource."""
    writes: list[Request]
    """From the moment it woke up."""
    crashed_history: list[Body]


def own(children: list[Body], name: str) -> list[Body]:
    return [child for child in children if child["metadata"]["labels"]["specdecode.io/deployment"] == name]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slept(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults) -> AsyncIterator[Slept]:
    """All cases side by side: one operator, one sleep."""
    async with world(plane, tmp_path_factory.mktemp("unobserved"), HOME, DIRECT) as made:
        process = await made.start("operator")
        there = {name: case.before for name, case in CASES.items() if case.before is not None}
        there |= {ORPHANED: {}, CRASHED: {}}
        await asyncio.gather(*(made.apply(name, before) for name, before in there.items()))
        await made.settles(there)
        await made.rests()
        children = await made.children()
        before = {name: own(children, name) for name in there}

        process.sleep()
        asleep_at = time.monotonic()
        await asyncio.gather(*(happens(made, name, case.unseen) for name, case in CASES.items()))
        await happens(made, ORPHANED, (deleted("Orphan"), SAME))
        await made.crash(CRASHED, "QuantizedDraft")
        await happens(made, CRASHED, (deleted(), SAME))
        await asyncio.sleep(max(0.0, ASLEEP_SECONDS[faults.is_full] - (time.monotonic() - asleep_at)))
        asleep_seconds = time.monotonic() - asleep_at
        count = len(made.audit.writes)
        process.wake()

        woke_at = time.monotonic()
        alive = [name for name, case in CASES.items() if case.after is not None]
        await made.settles([*alive, CRASHED], within=COLLECTED_WITHIN)
        seconds = time.monotonic() - woke_at
        await made.rests()
        writes = made.audit.writes[count:]
        direct = {name: case.after for name, case in CASES.items() if case.after is not None}
        await asyncio.gather(*(made.apply(name, after, DIRECT) for name, after in direct.items()))
        await made.settles(alive, DIRECT)
        await made.rests()
        tell(
            "unobserved states",
            cases=len(CASES) + 2,
            asleep_s=asleep_seconds,
            settled_after_s=seconds,
            writes=len(writes),
        )
        history = (await made.status(CRASHED)).get("history", [])
        yield Slept(made, before, writes, history)


async def happens(world: World, name: str, steps: tuple[Step, ...]) -> None:
    for step in steps:
        await step(world, name)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.after is not None])
async def test_the_end_is_that_of_a_direct_apply(slept: Slept, name: str) -> None:
    seen, direct = await end_state(slept.world, name, HOME), await end_state(slept.world, name, DIRECT)
    assert seen.keys() == direct.keys()
    assert differences(masked(seen), masked(in_namespace(direct, DIRECT, HOME))) == []


async def end_state(world: World, name: str, namespace: str) -> Body:
    """Spec and status of the resource and whole children, but for what the real controllers say of these."""
    resource = await world.resource(name, namespace)
    assert resource is not None
    found = {KIND: {"spec": resource["spec"], "status": remembered(resource["status"])}}
    for child in own(await world.children(namespace), name):
        found[f"{child['kind']} {child['metadata']['name']}"] = {key: child[key] for key in child if key != "status"}
    return found


def remembered(status: Body) -> Body:
    """Without what only tells how it came to this: that it was another spec before."""
    return {key: value for key, value in status.items() if key not in ("history", "decision")}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.after is None])
async def test_of_what_is_gone_nothing_is_left(slept: Slept, name: str) -> None:
    async def is_all_gone() -> bool:
        return not own(await slept.world.children(), name)

    await eventually(is_all_gone, within=COLLECTED_WITHIN)
    assert await slept.world.resource(name) is None


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_untouched])
async def test_what_was_changed_and_changed_back_costs_its_children_nothing(slept: Slept, name: str) -> None:
    now = own(await slept.world.children(), name)
    assert differences(identities(slept.before[name]), identities(now)) == []
    of_children = [
        write for write in slept.writes if write.name == name and not write.resource.startswith("specdecode")
    ]
    assert shown(of_children) == []


def identities(children: list[Body]) -> Any:
    """What no edit leaves as it was."""
    return sorted((child["kind"], child["metadata"]["uid"], child["metadata"].get("generation")) for child in children)


async def test_every_child_belongs_to_the_living_resource_of_its_name(slept: Slept) -> None:
    """None is an orphan, and none was adopted for its name."""

    async def strays() -> list[str]:
        return [stray for stray in await slept.world.orphans() if ORPHANED not in stray]

    async def are_none() -> bool:
        return not await strays()

    await eventually(are_none, within=COLLECTED_WITHIN)
    resources = await slept.world.admin.items(KIND, HOME)
    uids = {resource["metadata"]["name"]: resource["metadata"]["uid"] for resource in resources}
    for child in await slept.world.children():
        name = child["metadata"]["labels"]["specdecode.io/deployment"]
        owners = [owner["uid"] for owner in child["metadata"].get("ownerReferences", ())]
        assert owners == ([] if name == ORPHANED else [uids[name]]), child["metadata"]["name"]


async def test_children_that_were_left_to_nobody_are_not_adopted_for_their_name(slept: Slept) -> None:
    assert await slept.world.condition(ORPHANED, "Stalled") == ("True", "OwnershipConflict")
    now = own(await slept.world.children(), ORPHANED)
    assert identities(now) == identities(slept.before[ORPHANED])
    assert shown([write for write in slept.writes if write.name == ORPHANED and "/" not in write.resource]) == []


async def test_pods_of_the_one_before_are_not_held_against_a_new_one(slept: Slept) -> None:
    status = await slept.world.status(CRASHED)
    assert slept.crashed_history == []
    assert (status["mode"], status.get("rollback")) == ("QuantizedDraft", None)
