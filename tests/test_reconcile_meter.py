"""The meter's ConfigMap comes, comes back, and goes when no pod needs it."""

from typing import Any

import pytest
from builders import UID, body
from test_reconcile import World, change

from specdecode.act import unused_meters
from specdecode.kube import object_path
from specdecode.manifests.meter import meter_digest

NAME = f"llama-70b-meter-{meter_digest()}"
OLD = "llama-70b-meter-0123456789"
METERED = {"spec.guard": {"meter": True}}


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    owner = [{"controller": True, "uid": UID}]
    labels = {"specdecode.io/deployment": "llama-70b"}
    found = {"name": name, "namespace": "serving", "uid": name, "labels": labels, "ownerReferences": owner}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": found | metadata, "data": {}}


def meters(world: World) -> list[str]:
    kept = world.server.objects.values()
    return [found["metadata"]["name"] for found in kept if found["kind"] == "ConfigMap"]


def put(world: World, found: dict[str, Any]) -> None:
    metadata = found["metadata"]
    world.server.objects[object_path("v1", "configmaps", metadata["namespace"], metadata["name"])] = found
    world.store.put_config_map(found, is_deleted=False)


async def metered(**overrides: Any) -> World:
    world = World()
    world.server.put(body(**METERED, **overrides))
    await world.visit()
    return world


async def test_it_comes_with_the_deployment_and_then_nothing_is_written() -> None:
    world = await metered()
    assert meters(world) == [NAME]
    await world.visit()
    before = world.metrics.registry.get_sample_value("specdecode_writes_total", {"kind": "objects"})
    await world.visit()
    assert world.metrics.registry.get_sample_value("specdecode_writes_total", {"kind": "objects"}) == before
    assert world.server.deleted == []


async def test_deleted_by_somebody_it_comes_back() -> None:
    world = await metered()
    found = world.server.objects[object_path("v1", "configmaps", "serving", NAME)]
    await world.server.delete(found)
    await world.visit()
    assert meters(world) == [NAME]


async def test_it_goes_when_nobody_asks_for_it_any_more() -> None:
    world = await metered()
    change(world, **{"spec.guard": {}})
    await world.visit()
    assert meters(world) == [NAME], "the Deployment was changed in this visit, and its pods still mount it"
    await world.visit()
    assert meters(world) == []
    assert world.server.deleted == [NAME]


async def test_it_stays_while_speculation_is_off() -> None:
    world = await metered()
    change(world, **{"metadata.annotations": {"specdecode.io/force-mode": "Off"}})
    for _ in range(3):
        await world.visit()
    assert meters(world) == [NAME]


async def test_that_of_an_older_operator_goes_after_its_successor_came() -> None:
    world = await metered()
    put(world, config_map(OLD))
    await world.visit()
    assert meters(world) == [NAME]


async def test_paused_means_hands_off() -> None:
    world = await metered()
    put(world, config_map(OLD))
    change(world, **{"metadata.annotations": {"specdecode.io/paused": "true"}})
    await world.visit()
    assert meters(world) == [NAME, OLD]


async def test_a_stranger_under_its_name_is_not_touched_and_said() -> None:
    world = World()
    put(world, theirs := config_map(NAME, ownerReferences=[]))
    world.server.put(body(**METERED))
    await world.visit()
    assert world.server.objects[object_path("v1", "configmaps", "serving", NAME)] is theirs
    assert world.deployment("llama-70b") is None
    said = [condition.message for condition in world.status().conditions]
    assert any(f"ConfigMap serving/{NAME} exists and belongs to somebody else" in message for message in said), said


def deployment(*, volumes: list[dict[str, Any]], is_rolled_out: bool = True) -> dict[str, Any]:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    return {
        "metadata": {"name": "llama-70b", "namespace": "serving", "uid": "d", "generation": 2 if is_rolled_out else 3},
        "spec": {"replicas": 2, "template": {"spec": {"volumes": volumes}}},
        "status": {"observedGeneration": 2, **counts},
    }


MOUNTED = [{"name": "home", "emptyDir": {}}, {"name": "meter", "configMap": {"name": OLD}}]


@pytest.mark.parametrize(
    ("live", "found", "unused"),
    [
        pytest.param(deployment(volumes=[]), config_map(OLD), [OLD], id="nothing mounts it: it goes"),
        pytest.param(deployment(volumes=MOUNTED), config_map(OLD), [], id="pods mount it, whatever the spec says now"),
        pytest.param(deployment(volumes=[], is_rolled_out=False), config_map(OLD), [], id="older pods may still do"),
        pytest.param(None, config_map(OLD), [OLD], id="there is no Deployment"),
        pytest.param(deployment(volumes=[]), config_map(OLD, ownerReferences=[]), [], id="a stranger's"),
    ],
)
def test_what_goes(live: dict[str, Any] | None, found: dict[str, Any], unused: list[str]) -> None:
    gone = unused_meters({found["metadata"]["name"]: found["metadata"]}, live, [], UID)
    assert [(each["kind"], each["metadata"]["name"]) for each in gone] == [("ConfigMap", name) for name in unused]
