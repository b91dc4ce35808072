"""Somebody else edits, scales and deletes each child. What is ours comes back, what is theirs stays, and then there is
rest: an edit that is not ours to undo must not be written against for ever.
"""

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from builders import ABSENT, with_overrides
from system.faults._admin import Admin, Body
from system.faults._audit import Request
from system.faults._same import differences, masked
from system.faults._world import World, shown, tell, world
from system.faults.conftest import Faults

from rehearsal.control_plane import ControlPlane
from specdecode.manifests.meter import meter_digest

NAMESPACE = "drift"
RESTORED_WITHIN = 10.0
WATCHED_SECONDS = {False: 7.0, True: 60.0}
"""Of rest afterwards: evaluations come every 3 s. After two minutes a pod without a node is a finding."""

pytestmark = pytest.mark.timeout(420)

Overrides = dict[str, Any]
Act = Callable[[Admin, str, str], Awaitable[Any]]
"""What somebody does to the child of a kind and a name."""

AUTOSCALED: Overrides = {"spec.replicas": ABSENT}
CONTROLLED: Overrides = {"spec.guard": {"baseline": {"controlReplicas": 1}}}
METERED: Overrides = {"spec.guard": {"meter": True}}
CONTAINER = "/spec/template/spec/containers/0"
THEIRS = ("their-sidecar", "THEIR_VARIABLE", "their-volume")


def merged(change: Body) -> Act:
    return lambda admin, kind, name: admin.patch(kind, NAMESPACE, name, change)


def replaced(path: str, value: Any) -> Act:
    return lambda admin, kind, name: admin.patch(
        kind, NAMESPACE, name, [{"op": "replace", "path": path, "value": value}]
    )


def added(path: str, value: Any) -> Act:
    return lambda admin, kind, name: admin.patch(kind, NAMESPACE, name, [{"op": "add", "path": path, "value": value}])


def removed(path: str) -> Act:
    return lambda admin, kind, name: admin.patch(kind, NAMESPACE, name, [{"op": "remove", "path": path}])


def deleted(admin: Admin, kind: str, name: str) -> Awaitable[None]:
    return admin.delete(kind, NAMESPACE, name)


def scaled(replicas: int) -> Act:
    change = {"spec": {"replicas": replicas}}
    return lambda admin, kind, name: admin.patch(kind, NAMESPACE, name, change, subresource="scale")


def both(*acts: Act) -> Act:
    async def act(admin: Admin, kind: str, name: str) -> None:
        for each in acts:
            await each(admin, kind, name)

    return act


@dataclass(frozen=True)
class Case:
    """What somebody does to a child, and what of it stays."""

    act: Act
    kind: str = "Deployment"
    suffix: str = ""
    """Of the child's name after the resource's."""
    spec: Overrides = field(default_factory=dict)
    stays: Mapping[str, Any] = field(default_factory=dict)
    """Theirs: dotted paths below the child."""


METER = f"-meter-{meter_digest()}"
NOTE = {"metadata": {"annotations": {"team": "search"}, "labels": {"cost-centre": "7"}}}
NOTED = {"metadata.annotations.team": "search", "metadata.labels.cost-centre": "7"}

CASES = {
    "image": Case(replaced(f"{CONTAINER}/image", "vllm/vllm-openai:v0.1.0")),
    "arguments": Case(added(f"{CONTAINER}/args/-", "--enforce-eager")),
    "one-argument-less": Case(removed(f"{CONTAINER}/args/0")),
    "scaled-by-hand": Case(scaled(5)),
    "scaled-to-nothing": Case(scaled(0)),
    "strategy": Case(merged({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}})),
    "mode-record": Case(merged({"metadata": {"annotations": {"specdecode.io/mode": "Off"}}})),
    "deployment-deleted": Case(deleted),
    "noted": Case(merged(NOTE), stays=NOTED),
    "noted-and-edited": Case(both(merged(NOTE), replaced(f"{CONTAINER}/image", "theirs:1")), stays=NOTED),
    "restarted": Case(
        merged({"spec": {"template": {"metadata": {"annotations": {"kubectl/restartedAt": "now"}}}}}),
        stays={"spec.template.metadata.annotations.kubectl/restartedAt": "now"},
    ),
    "autoscaled": Case(scaled(3), spec=AUTOSCALED, stays={"spec.replicas": 3}),
    "autoscaled-and-edited": Case(
        both(scaled(3), replaced(f"{CONTAINER}/image", "theirs:1")), spec=AUTOSCALED, stays={"spec.replicas": 3}
    ),
    "arm-scaled": Case(scaled(4), suffix="-control", spec=CONTROLLED),
    "arm-edited": Case(replaced(f"{CONTAINER}/image", "theirs:1"), suffix="-control", spec=CONTROLLED),
    "arm-deleted": Case(deleted, suffix="-control", spec=CONTROLLED),
    "arm-noted": Case(merged(NOTE), suffix="-control", spec=CONTROLLED, stays=NOTED),
    "service-target-port": Case(replaced("/spec/ports/0/targetPort", 9000), kind="Service"),
    "service-selector": Case(merged({"spec": {"selector": {"specdecode.io/deployment": "other"}}}), kind="Service"),
    "service-deleted": Case(deleted, kind="Service"),
    "service-noted": Case(merged(NOTE), kind="Service", stays=NOTED),
    "meter-deleted": Case(deleted, kind="ConfigMap", suffix=METER, spec=METERED),
    "meter-noted": Case(merged(NOTE), kind="ConfigMap", suffix=METER, spec=METERED, stays=NOTED),
    "label-changed": Case(merged({"metadata": {"labels": {"app.kubernetes.io/part-of": "theirs"}}})),
    "label-removed": Case(merged({"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})),
    "service-label-removed": Case(merged({"metadata": {"labels": {"specdecode.io/deployment": None}}}), kind="Service"),
}
REFUSED = {"service-port": Case(replaced("/spec/ports/0/port", 9000), kind="Service")}
"""The API server merges ports by their number, and takes no two of one name: ours cannot come back beside theirs."""
SIDECARS = {
    "sidecar": added("/spec/template/spec/containers/-", {"name": "their-sidecar", "image": "theirs:1"}),
    "variable": added(f"{CONTAINER}/env/-", {"name": "THEIR_VARIABLE", "value": "1"}),
    "volume": added("/spec/template/spec/volumes/-", {"name": "their-volume", "emptyDir": {}}),
}
"""Items that others add to lists which the API server merges by name: they stay, beside ours."""


@dataclass(frozen=True)
class Drifted:
    """Children before and after, by case."""

    world: World
    before: dict[str, Body]
    after: dict[str, Body]
    seconds: dict[str, float]
    """Until what is ours was back."""
    later: list[Request]
    """Writes once everything that comes back was back."""


def expected(before: Body, case: Case) -> Body:
    """What was there, and what is theirs on top."""
    return with_overrides(copy.deepcopy(before), case.stays)


def own_part(child: Body) -> Body:
    """Without what the real controllers say of it."""
    read: Body = masked({key: value for key, value in child.items() if key not in ("status", "kind", "apiVersion")})
    return read


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def drifted(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[Drifted]:
    """All cases side by side, each on a resource of its own."""
    async with world(plane, tmp_path_factory.mktemp("drift"), NAMESPACE) as made:
        await made.start("operator")
        every = {**CASES, **REFUSED, **{name: Case(act) for name, act in SIDECARS.items()}}
        await asyncio.gather(*(made.apply(name, case.spec) for name, case in every.items()))
        await made.settles(every)
        await made.rests(seconds=3.5)
        before = {name: await child(made, name, case) for name, case in every.items()}
        await asyncio.gather(*(case.act(made.admin, case.kind, name + case.suffix) for name, case in every.items()))
        times = await asyncio.gather(*(_restored(made, name, case, before[name]) for name, case in CASES.items()))
        await asyncio.sleep(1)
        count = len(made.audit.writes)
        await asyncio.sleep(WATCHED_SECONDS[faults.is_full])
        later = made.audit.writes[count:]
        after = {name: await child(made, name, case) for name, case in every.items()}
        seconds = dict(zip(CASES, times, strict=True))
        back = [each for each in seconds.values() if each < RESTORED_WITHIN]
        tell("drift", cases=len(every), restored=len(back), slowest_s=max(back), writes_at_rest=len(later))
        yield Drifted(made, before, after, seconds, later)


async def child(world: World, name: str, case: Case) -> Body:
    return await world.admin.find(case.kind, NAMESPACE, name + case.suffix) or {}


async def _restored(world: World, name: str, case: Case, before: Body) -> float:
    """How long it took; or the limit, which a test then speaks of."""
    began = time.monotonic()
    wanted = own_part(expected(before, case))
    while (seconds := time.monotonic() - began) < RESTORED_WITHIN:
        live = await child(world, name, case)
        if live and own_part(live) == wanted:
            return seconds
        await asyncio.sleep(0.2)
    return seconds


@pytest.mark.parametrize("name", CASES)
async def test_what_is_ours_comes_back_and_what_is_theirs_stays(drifted: Drifted, name: str) -> None:
    before, after = drifted.before[name], drifted.after[name]
    assert after, "it is there"
    assert differences(own_part(expected(before, CASES[name])), own_part(after)) == []


@pytest.mark.parametrize("name", [*CASES, *REFUSED, *SIDECARS])
async def test_then_there_is_rest(drifted: Drifted, name: str) -> None:
    case = CASES.get(name, Case(deleted))
    names = {name, name + case.suffix}
    assert shown(write for write in drifted.later if write.name in names) == []


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_taken_back_is_said(drifted: Drifted, name: str) -> None:
    assert await drifted.world.condition(name, "Stalled") == ("True", "ApplyRefused")


@pytest.mark.parametrize("name", SIDECARS)
async def test_what_others_added_to_a_list_stays_and_takes_nothing_away(drifted: Drifted, name: str) -> None:
    before, after = (own_part(each[name]) for each in (drifted.before, drifted.after))
    assert before != after, "theirs is there"
    assert differences(before, without_theirs(after)) == []


def without_theirs(node: Any) -> Any:
    """Without the items of lists that others added."""
    if isinstance(node, dict):
        return {key: without_theirs(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_theirs(item) for item in node if not (isinstance(item, dict) and item.get("name") in THEIRS)]
    return node
