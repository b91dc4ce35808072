"""Visits against an API server that keeps what is written: the control arm, and many that want to step at once."""

import asyncio
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from builders import NOW, batches_of, body, measurement, with_overrides
from exposed import sample

from specdecode.api.resource import read_status
from specdecode.decide.facts import Measurement
from specdecode.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError, RefusedError
from specdecode.kube import Kube, object_path, path_of, resource_path
from specdecode.library import Library
from specdecode.lookup.find import Sources
from specdecode.manifests.build import Options
from specdecode.reconcile import Measured, Reconciler
from specdecode.store import Key, Store
from specdecode.telemetry import Metrics

KEY = ("serving", "llama-70b")
CONTROL = {"spec.guard": {"baseline": {"controlReplicas": 1}}}
LATER = NOW + timedelta(seconds=120)


class Server:
    """The objects by path. Deployments are rolled out as soon as they are applied; the watch is never behind."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.objects: dict[str, dict[str, Any]] = {}
        self.refuses: dict[str, ClusterError] = {}
        """By path of the object that is refused."""
        self.events: list[str] = []
        self.deleted: list[str] = []
        self.applied: list[dict[str, Any]] = []
        self._version = 0

    def put(self, wanted: Mapping[str, Any]) -> None:
        """As if a person had applied it."""
        self._version += 1
        metadata = wanted["metadata"] | {"resourceVersion": str(self._version)}
        self.objects[resource_path(metadata["namespace"], metadata["name"])] = {**wanted, "metadata": metadata}
        self.store.take_resource({**wanted, "metadata": metadata}, is_deleted=False)

    async def get(self, path: str) -> dict[str, Any]:
        found = await self.find(path)
        if found is None:
            raise NotFoundError(path, status=404)
        return found

    async def find(self, path: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        return self.objects.get(path)

    async def apply(self, wanted: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        path = path_of(wanted)
        if path in self.refuses:
            raise self.refuses[path]
        asked = wanted["metadata"].get("resourceVersion")
        if asked is not None and asked != self.objects[path]["metadata"]["resourceVersion"]:
            raise ConflictError(path, status=409)
        self.applied.append(wanted)
        self._version += 1
        count = wanted.get("spec", {}).get("replicas", 1)
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        metadata = {"uid": path, "generation": 1, **wanted["metadata"], "resourceVersion": str(self._version)}
        live = {**wanted, "metadata": metadata, "status": {"observedGeneration": 1, **counts}}
        self.objects[path] = live
        self._watched(live, is_deleted=False)
        return live

    def _watched(self, live: Mapping[str, Any], *, is_deleted: bool) -> None:
        puts = {"Service": self.store.put_service, "ConfigMap": self.store.put_config_map}
        puts.get(live["kind"], self.store.put_deployment)(live, is_deleted=is_deleted)

    async def apply_status(self, wanted: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        metadata = wanted["metadata"]
        self.put({**self.objects[resource_path(metadata["namespace"], metadata["name"])], "status": wanted["status"]})
        return self.objects[resource_path(metadata["namespace"], metadata["name"])]

    def edit(self, path: str, **overrides: Any) -> None:
        """As if a person had edited one of our objects."""
        self._version += 1
        edited = with_overrides(
            deepcopy(self.objects[path]), {"metadata.resourceVersion": str(self._version), **overrides}
        )
        self.objects[path] = edited
        self._watched(edited, is_deleted=False)

    async def delete(self, live: dict[str, Any]) -> None:
        path = path_of(live)
        self.deleted.append(live["metadata"]["name"])
        self._watched(self.objects.pop(path), is_deleted=True)

    async def create_event(self, event: dict[str, Any]) -> None:
        self.events.append(event["reason"])


class World:
    """A reconciler with its server, and what a test asks of them."""

    def __init__(self, *, max_namespace_steps: int = 100) -> None:
        self.store, self.metrics = Store(), Metrics()
        self.server = Server(self.store)
        self.reconciler = self._reconciler(max_namespace_steps)

    def _reconciler(self, max_namespace_steps: int) -> Reconciler:
        library = Library.over(Sources(models_directory=None, is_hub_allowed=False), lambda _: None)
        kube = cast("Kube", self.server)
        return Reconciler(
            self.store, kube, self.metrics, Options(), library, 60.0, max_namespace_steps=max_namespace_steps
        )

    def restart(self) -> None:
        """Another process takes over."""
        self.metrics = Metrics()
        self.reconciler = self._reconciler(100)

    async def visit(self, key: Key = KEY, now: datetime = NOW) -> None:
        await self.reconciler.visit(key, now)

    def deployment(self, name: str) -> dict[str, Any] | None:
        return self.server.objects.get(object_path("apps/v1", "deployments", "serving", name))

    def replicas(self) -> tuple[int | None, int | None]:
        """Of the main and of the control arm."""
        arms = (self.deployment(name) for name in ("llama-70b", "llama-70b-control"))
        main, control = (None if arm is None else arm["spec"]["replicas"] for arm in arms)
        return main, control

    def status(self, key: Key = KEY) -> Any:
        return read_status(self.server.objects[resource_path(*key)])

    def reason(self, key: Key) -> str:
        return next(str(c.reason) for c in self.status(key).conditions if c.type == "SpeculationActive")


def change(world: World, **overrides: Any) -> None:
    """As if a person had edited the resource, which raises its generation."""
    live = world.server.objects[resource_path(*KEY)]
    world.server.put(with_overrides({**live, "spec": dict(live["spec"])}, {"metadata.generation": 2, **overrides}))


async def controlled() -> World:
    world = World()
    world.server.put(body(**CONTROL))
    await world.visit()
    return world


SERVICE = object_path("v1", "services", *KEY)


async def running() -> World:
    world = World()
    world.server.put(body())
    await world.visit()
    world.server.applied.clear()
    return world


async def test_what_is_as_it_should_be_is_not_applied_with_the_rest() -> None:
    world = await running()
    change(world, **{"spec.speculation.numSpeculativeTokens": 2})
    await world.visit(now=LATER)
    assert [each["kind"] for each in world.server.applied] == ["Deployment"]


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"spec.selector": {"app": "mine"}}, id="another selector"),
        pytest.param({"spec.type": "NodePort"}, id="another type"),
        pytest.param({"metadata.labels": {}}, id="no labels"),
    ],
)
async def test_what_was_edited_is_put_back(edit: dict[str, Any]) -> None:
    world = await running()
    wanted = world.server.objects[SERVICE]
    world.server.edit(SERVICE, **edit)
    await world.visit(now=LATER)
    found = world.server.objects[SERVICE]
    assert found["spec"] == wanted["spec"]
    assert found["metadata"]["labels"] == wanted["metadata"]["labels"]


async def test_a_write_that_arrives_when_a_successor_has_written_is_refused() -> None:
    """A leader may be cut off with a request on its way, and the network mends when another one leads."""
    world = await running()
    world.server.edit(SERVICE, **{"spec.type": "NodePort"})
    change(world, **{"spec.speculation.numSpeculativeTokens": 2})
    await world.visit(now=LATER)
    late = list(world.server.applied)
    assert {each["kind"] for each in late} == {"Service", "Deployment"}
    for each in late:
        with pytest.raises(ConflictError):
            await world.server.apply(each)


async def test_both_arms_come_and_then_nothing_is_written() -> None:
    world = await controlled()
    assert world.replicas() == (1, 1)
    await world.visit()
    before = world.metrics.registry.get_sample_value("specdecode_writes_total", {"kind": "objects"})
    await world.visit()
    assert world.metrics.registry.get_sample_value("specdecode_writes_total", {"kind": "objects"}) == before
    assert world.status().replicas == 2


async def test_it_goes_when_nobody_asks_for_it_any_more() -> None:
    world = await controlled()
    change(world, **{"spec.guard": {}})
    await world.visit()
    assert world.replicas() == (2, None)
    assert world.server.deleted == ["llama-70b-control"]
    await world.visit()
    assert world.server.deleted == ["llama-70b-control"]


async def test_it_goes_while_speculation_is_off_and_comes_back_with_it() -> None:
    world = await controlled()
    change(world, **{"metadata.annotations": {"specdecode.io/force-mode": "Off"}})
    await world.visit()
    assert world.replicas() == (2, None)
    change(world, **{"metadata.annotations": {}})
    await world.visit()
    assert world.replicas() == (1, 1)


async def test_a_strangers_deployment_of_its_name_is_not_touched_and_stops_nobody() -> None:
    world = World()
    path = object_path("apps/v1", "deployments", "serving", "llama-70b-control")
    metadata = {"name": "llama-70b-control", "namespace": "serving", "uid": "t", "generation": 1}
    theirs = {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 7}}
    world.server.objects[path] = theirs
    world.server.put(body(**CONTROL))
    await world.visit()
    await world.visit()
    assert world.replicas() == (2, 7)
    assert world.server.objects[path] is theirs
    assert [finding.reason for finding in world.status().findings] == ["ControlNotRunning"]
    assert "ControlNotRunning" in world.server.events


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RefusedError("no such field", status=422), id="refused"),
        pytest.param(ForbiddenError("exceeded quota", status=403), id="forbidden"),
    ],
)
async def test_a_refused_control_arm_leaves_all_replicas_to_the_main_arm(error: ClusterError) -> None:
    world = World()
    path = object_path("apps/v1", "deployments", "serving", "llama-70b-control")
    world.server.refuses[path] = error
    world.server.put(body(**CONTROL))
    await world.visit()
    assert world.replicas() == (2, None)
    (finding,) = world.status().findings
    assert str(error) in finding.message
    world.server.refuses.clear()
    await world.visit()
    assert world.replicas() == (2, None), "it is not asked again under this spec"
    change(world, **{"spec.replicas": 3})
    await world.visit()
    assert world.replicas() == (2, 1)
    assert world.server.events.count("ControlNotRunning") == 1


async def test_a_control_arm_that_is_refused_later_is_simply_missing() -> None:
    world = await controlled()
    world.server.refuses[object_path("apps/v1", "deployments", "serving", "llama-70b-control")] = RefusedError("no")
    await world.server.delete(cast("dict[str, Any]", world.deployment("llama-70b-control")))
    await world.visit()
    await world.visit()
    assert world.replicas() == (2, None)


async def test_a_refused_main_arm_is_said_and_raised() -> None:
    world = World()
    world.server.refuses[object_path("apps/v1", "deployments", "serving", "llama-70b")] = RefusedError("no", status=422)
    world.server.put(body())
    with pytest.raises(RefusedError):
        await world.visit()
    stalled = next(c for c in world.status().conditions if c.type == "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "ApplyRefused")


def collapsed(at: datetime) -> Measurement:
    good = measurement()
    assert good.fast is not None
    assert good.slow is not None
    fast, slow = replace(good.fast, accepted_tokens=10.0), replace(good.slow, accepted_tokens=50.0)
    return replace(good, fast=fast, slow=slow, batches=batches_of(slow, fast, at))


def keys(count: int) -> list[Key]:
    return [("serving", f"chat-{number}") for number in range(count)]


async def fleet_of(count: int, **options: Any) -> World:
    """Deployments that have served and been measured for a while."""
    world = World(**options)
    for key in keys(count):
        world.server.put(body(**{"metadata.name": key[1], "metadata.uid": f"uid-{key[1]}"}))
        world.reconciler.memory(key).measured = Measured(measurement(), NOW)
        await world.visit(key)
        await world.visit(key)
    return world


def collapse(world: World, count: int, at: datetime = LATER) -> None:
    """The first `count` deployments accept nothing any more; the others are measured and well."""
    for number, key in enumerate(keys(len(world.store.known()))):
        seen = collapsed(at) if number < count else measurement()
        world.reconciler.memory(key).measured = Measured(seen, at)


def modes(world: World) -> list[str]:
    return [str(world.status(key).mode) for key in keys(len(world.store.known()))]


async def visit_all(world: World, now: datetime = LATER) -> None:
    """All at once, as the workers do."""
    await asyncio.gather(*(world.visit(key, now) for key in keys(len(world.store.known()))))


async def test_two_of_ten_step_each_for_itself() -> None:
    world = await fleet_of(10)
    collapse(world, 2)
    await visit_all(world)
    assert modes(world) == ["NGram"] * 2 + ["QuantizedDraft"] * 8
    assert world.metrics.registry.get_sample_value("specdecode_circuit_breaker_open") == 0


async def test_four_of_ten_at_once_are_held_all_of_them() -> None:
    world = await fleet_of(10)
    collapse(world, 4)
    await visit_all(world)
    assert modes(world) == ["QuantizedDraft"] * 10
    assert [world.reason(key) for key in keys(5)] == ["CircuitBreakerOpen"] * 4 + ["AsRequested"]
    assert all(world.status(key).rollback is None for key in keys(10))
    assert world.server.events.count("CircuitBreakerOpen") == 4
    assert world.metrics.registry.get_sample_value("specdecode_circuit_breaker_open") == 1
    collapse(world, 1, LATER + timedelta(hours=1))
    await visit_all(world, LATER + timedelta(hours=1))
    assert world.reason(keys(1)[0]) == "CircuitBreakerOpen", "the others are well; a person must say why"
    assert world.server.events.count("CircuitBreakerOpen") == 4
    collapse(world, 0, LATER + timedelta(hours=2))
    await visit_all(world, LATER + timedelta(hours=2))
    assert world.reason(keys(1)[0]) == "AsRequested"
    assert world.metrics.registry.get_sample_value("specdecode_circuit_breaker_open") == 0


async def test_a_restart_forgets_neither_the_hold_nor_the_steps() -> None:
    world = await fleet_of(10)
    collapse(world, 4)
    await visit_all(world)
    world.restart()
    collapse(world, 1, LATER + timedelta(minutes=1))
    await visit_all(world, LATER + timedelta(minutes=1))
    assert world.reason(keys(1)[0]) == "CircuitBreakerOpen"
    assert world.metrics.registry.get_sample_value("specdecode_circuit_breaker_open") == 1

    stepped = await fleet_of(10)
    collapse(stepped, 2)
    await visit_all(stepped)
    stepped.restart()
    collapse(stepped, 3, LATER + timedelta(minutes=5))
    await stepped.visit(keys(3)[2], LATER + timedelta(minutes=5))
    assert stepped.reason(keys(3)[2]) == "CircuitBreakerOpen", "two stepped five minutes ago, their statuses say so"


async def test_a_person_may_force_a_held_one() -> None:
    world = await fleet_of(4)
    collapse(world, 4)
    await visit_all(world)
    key = keys(1)[0]
    live = world.server.objects[resource_path(*key)]
    world.server.put(with_overrides(live, {"metadata.annotations": {"specdecode.io/force-mode": "Off"}}))
    await world.visit(key, LATER)
    assert modes(world) == ["Off"] + ["QuantizedDraft"] * 3


async def test_no_more_than_the_limit_step_in_one_namespace_however_many_visits_run_at_once() -> None:
    world = await fleet_of(20, max_namespace_steps=3)
    collapse(world, 5)
    await visit_all(world)
    assert modes(world).count("NGram") == 3
    assert sum(world.reason(key) == "TooManySteps" for key in keys(5)) == 2
    assert world.server.events.count("TooManySteps") == 2
    soon = LATER + timedelta(minutes=11)
    collapse(world, 5, soon)
    for key in keys(5):
        if world.reason(key) == "TooManySteps":
            await world.visit(key, soon)
    assert modes(world).count("NGram") == 5, "ten minutes later the next may"


async def test_one_that_breaks_the_judgement_does_not_break_the_survey() -> None:
    world = await fleet_of(3)
    collapse(world, 1)
    broken = world.reconciler.memory(keys(3)[1])
    broken.measured = cast("Measured", replace(broken.measured, measurement=cast("Measurement", None)))
    await world.visit(keys(1)[0], LATER)
    assert modes(world)[0] == "NGram"


async def test_a_deleted_deployment_is_held_no_longer() -> None:
    world = await fleet_of(4)
    collapse(world, 4)
    await visit_all(world)
    for key in keys(4):
        world.store.drop_resource(key)
        await world.visit(key, LATER)
    assert world.metrics.registry.get_sample_value("specdecode_circuit_breaker_open") == 0


async def test_the_metrics_show_what_status_says_and_are_not_made_again_while_it_stays() -> None:
    world = await controlled()
    mode = {"namespace": KEY[0], "name": KEY[1], "mode": "QuantizedDraft"}
    await world.visit()
    await world.visit()
    assert sample(world.metrics, "specdecode_effective", mode) == 1
    shown = world.metrics._of_resources._shown[KEY]
    await world.visit()
    assert world.metrics._of_resources._shown[KEY] is shown
    change(world, **{"metadata.annotations": {"specdecode.io/force-mode": "Off"}})
    await world.visit()
    await world.visit()
    assert sample(world.metrics, "specdecode_effective", mode) == 0
    world.store.drop_resource(KEY)
    await world.visit()
    assert sample(world.metrics, "specdecode_effective", mode) is None
