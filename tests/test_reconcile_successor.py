"""A resource that was deleted and made again under its name, while objects of the first one still stand."""

from typing import Any

import pytest
from builders import body
from test_reconcile import KEY, World

from specdecode.kube import object_path

CHILDREN = {
    "Deployment": object_path("apps/v1", "deployments", *KEY),
    "Service": object_path("v1", "services", *KEY),
}
OTHER_UID = "4f5e2c1a-0000-4000-8000-000000000009"


async def recreated() -> tuple[World, dict[str, dict[str, Any]]]:
    """A world with the second resource, and the objects of the first as they still stand."""
    world = World()
    world.server.put(body())
    await world.visit()
    world.store.drop_resource(KEY)
    world.server.put(body(**{"metadata.uid": OTHER_UID}))
    return world, {path: world.server.objects[path] for path in CHILDREN.values()}


def collect(world: World, kind: str) -> None:
    """As the garbage collector does."""
    live = world.server.objects.pop(CHILDREN[kind])
    put = world.store.put_deployment if kind == "Deployment" else world.store.put_service
    put(live, is_deleted=True)


def said(world: World) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in world.status().conditions}


def owners(world: World) -> set[str]:
    live = [world.server.objects[path] for path in CHILDREN.values()]
    return {reference["uid"] for each in live for reference in each["metadata"]["ownerReferences"]}


async def test_it_waits_and_says_so_and_adopts_nothing() -> None:
    world, left = await recreated()
    for _ in range(3):
        await world.visit()
    assert {path: world.server.objects[path] for path in left} == left
    assert said(world)["Reconciling"] == ("True", "AwaitingDeletion")
    assert said(world)["Stalled"] == ("False", "Progressing")
    assert said(world)["Ready"] == ("False", "NotCreated")
    assert any("Deployment serving/llama-70b belongs to a deleted" in c.message for c in world.status().conditions)


@pytest.mark.parametrize("first", CHILDREN, ids=lambda kind: f"the {kind} goes first")
async def test_it_takes_their_place_only_when_all_are_gone(first: str) -> None:
    world, _ = await recreated()
    await world.visit()
    collect(world, first)
    await world.visit()
    (other,) = set(CHILDREN) - {first}
    assert CHILDREN[first] not in world.server.objects
    assert said(world)["Reconciling"] == ("True", "AwaitingDeletion")
    collect(world, other)
    await world.visit()
    assert owners(world) == {OTHER_UID}
    await world.visit()
    assert said(world)["Reconciling"] == ("False", "RolledOut")
    assert not world.server.deleted, "the garbage collector did it"


async def test_what_only_a_person_can_remove_is_said_first() -> None:
    world, _ = await recreated()
    service = CHILDREN["Service"]
    live = world.server.objects[service]
    world.server.objects[service] = {**live, "metadata": {**live["metadata"], "ownerReferences": []}}
    await world.visit()
    assert said(world)["Stalled"] == ("True", "OwnershipConflict")
    assert any("Service serving/llama-70b exists" in c.message for c in world.status().conditions)


async def test_a_latch_of_the_one_before_is_not_inherited() -> None:
    world, left = await recreated()
    deployment = left[CHILDREN["Deployment"]]
    record = {
        "specdecode.io/mode": "Off",
        "specdecode.io/rolled-back-for": deployment["metadata"]["annotations"]["specdecode.io/spec-hash"],
        "specdecode.io/rolled-back-from": "QuantizedDraft",
        "specdecode.io/reason": "AcceptanceCollapsed",
    }
    deployment["metadata"]["annotations"] |= record
    await world.visit()
    assert world.status().rollback is None
    assert world.status().mode == "QuantizedDraft"
