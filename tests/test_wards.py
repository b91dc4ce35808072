"""A large fleet comes to rest and wakes up: what a process does with hundreds of deployments, against a cluster that
counts what it is asked and a Prometheus that answers glances.
"""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from cli.stored import CASES, Life

from specdecode.kube import Kube
from specdecode.loop import Operator
from specdecode.manifests.labels import selector_text
from specdecode.observe.glance import Glance
from specdecode.observe.prometheus import Failure, PrometheusClient
from specdecode.settings import Settings
from specdecode.store import Key
from specdecode.wards import ROUND_SECONDS

AWAKE, COUNT = 5, 12
LIFE: Life = CASES["healthy"]()
LIFE.now += timedelta(hours=2)


class Untouched:
    """A cluster of which nothing is asked, or it is a failure."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def asked(*_: Any, **__: Any) -> Any:
            self.asked.append(name)
            return None

        return asked


class Blind:
    """A Prometheus that does not answer."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    async def query(self, promql: str, **_: Any) -> Failure:
        self.queries.append(promql)
        return Failure("Prometheus did not answer")

    query_range = query


class Fleet:
    """An operator and its deployments, all of them as a predecessor left them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = COUNT) -> None:
        self.now = LIFE.now
        monkeypatch.setattr("specdecode.loop.utc_now", lambda: self.now)
        self.cluster, self.prometheus = Untouched(), Blind()
        self.operator = Operator(Settings(), cast("Kube", self.cluster), cast("PrometheusClient", self.prometheus))
        self.keys: list[Key] = [("serving", f"chat-{number:03}") for number in range(count)]
        self.glances: dict[Any, Glance] = {}
        self.deployment = deepcopy(LIFE.deployment)
        assert self.deployment is not None
        self.deployment["metadata"]["ownerReferences"][0]["uid"] = LIFE.body["metadata"]["uid"]

    def body(self, key: Key) -> dict[str, Any]:
        body = deepcopy(LIFE.body)
        body["metadata"] |= {"namespace": key[0], "name": key[1], "resourceVersion": "7"}
        body["status"]["selector"] = selector_text(key[1])
        return body

    def child(self, key: Key) -> dict[str, Any]:
        child = deepcopy(self.deployment) or {}
        child["metadata"] |= {"namespace": key[0], "name": key[1]}
        child["metadata"]["labels"] = child["metadata"]["labels"] | {"specdecode.io/deployment": key[1]}
        return child

    def hear(self, key: Key) -> None:
        """What the watches say of one."""
        store = self.operator.store
        store.take_resource(self.body(key), is_deleted=False)
        store.put_deployment(self.child(key), is_deleted=False)
        store.put_service(self.child(key), is_deleted=False)

    async def start(self) -> None:
        self.operator._begun.set()
        for key in self.keys:
            self.hear(key)
            assert await self.operator.visit(key)

    def at_rest(self) -> set[Key]:
        return set(self.operator.wards.dormitory.at_rest())


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    # They are about who is looked at, not about objects that differ only by their names.
    monkeypatch.setattr("specdecode.judge.covers", lambda *_: True)
    for module in ("reconcile", "store", "wards"):
        monkeypatch.setattr(f"specdecode.{module}.service_digest", lambda _: "")
    monkeypatch.setattr("specdecode.wards.AWAKE", AWAKE)
    return Fleet(monkeypatch)


async def test_what_a_predecessor_left_in_order_rests_at_once_beyond_those_that_are_looked_at(fleet: Fleet) -> None:
    await fleet.start()
    assert fleet.at_rest() == set(fleet.keys[AWAKE:])
    assert fleet.cluster.asked == [], "nothing was read and nothing written"
    shown = fleet.operator.metrics.page().decode()
    assert f'name="{fleet.keys[-1][1]}"' in shown


async def test_what_is_heard_of_one_at_rest_does_not_wake_it_up_if_nothing_changed(fleet: Fleet) -> None:
    await fleet.start()
    key = fleet.keys[-1]
    fleet.hear(key)
    assert await fleet.operator.visit(key)
    assert key in fleet.at_rest()
    assert not fleet.operator.reconciler.knows(key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"metadata.annotations": {"specdecode.io/force-mode": "Off"}}, id="a person forces a mode"),
        pytest.param({"metadata.generation": 2, "spec.replicas": 3}, id="another spec"),
        pytest.param({"metadata.annotations": {"specdecode.io/paused": "true"}}, id="a person pauses it"),
    ],
)
async def test_a_change_of_the_resource_wakes_it_up(fleet: Fleet, change: dict[str, Any]) -> None:
    await fleet.start()
    key = fleet.keys[-1]
    body = fleet.body(key)
    for path, value in change.items():
        part, name = path.split(".")
        body[part][name] = value
    fleet.operator.store.take_resource(body, is_deleted=False)
    await fleet.operator.visit(key)
    assert key not in fleet.at_rest()


async def test_a_deployment_that_somebody_edited_is_visited(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    await fleet.start()
    key, child = fleet.keys[-1], fleet.child(fleet.keys[-1])
    child["metadata"]["generation"] = child["status"]["observedGeneration"] = 2
    fleet.operator.store.put_deployment(child, is_deleted=False)
    visited: list[Key] = []
    visit = fleet.operator.reconciler.visit

    async def noted(key: Key, now: datetime) -> None:
        visited.append(key)
        await visit(key, now)

    monkeypatch.setattr(fleet.operator.reconciler, "visit", noted)
    await fleet.operator.visit(key)
    assert visited == [key]
    assert key in fleet.at_rest(), "the edit did not matter"


async def test_a_deleted_one_is_forgotten(fleet: Fleet) -> None:
    await fleet.start()
    key = fleet.keys[-1]
    fleet.operator.store.drop_resource(key)
    await fleet.operator.visit(key)
    assert key not in fleet.at_rest()
    assert not fleet.operator.reconciler.knows(key)


async def test_when_prometheus_does_not_answer_those_at_rest_wake_up_to_say_so(fleet: Fleet) -> None:
    await fleet.start()
    await fleet.operator.tick()
    assert len(fleet.prometheus.queries) <= 8
    assert fleet.at_rest() == set(), "seven are few enough"
    assert fleet.operator.queue._waiting == set(fleet.keys)


async def test_a_glance_that_says_nothing_new_costs_one_request_and_wakes_nobody_up(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.start()
    resting = fleet.at_rest()
    usual = Glance(4.75, 0.02, 8, 2, fleet.now.timestamp())
    mode = LIFE.mode.value
    glances = {(*key, mode): usual for key in resting}

    async def glance(*_: Any) -> dict[Any, Glance]:
        return glances

    monkeypatch.setattr(fleet.operator._observer, "glance", glance)
    await fleet.operator.tick()
    assert fleet.at_rest() == resting
    fallen = fleet.keys[-1]
    glances[*fallen, mode] = replace(usual, acceptance_length=1.02)
    await fleet.operator.tick()
    assert fleet.at_rest() == resting - {fallen}
    assert fallen in fleet.operator.queue._waiting
    assert fleet.operator.reconciler.memory(fallen).prepared is not None, "it was planned for this very tick"


async def test_everybody_at_rest_is_visited_once_in_an_hour(fleet: Fleet) -> None:
    await fleet.start()
    interval = 15.0
    seen = [key for _ in range(round(ROUND_SECONDS / interval) + 1) for key in fleet.operator.wards.turn(interval)]
    assert set(seen) == fleet.at_rest()
    assert max(len(fleet.operator.wards.turn(interval)) for _ in range(9)) <= 1


async def test_of_a_large_fleet_nobody_is_visited_before_the_watches_have_spoken_of_all(fleet: Fleet) -> None:
    running = fleet.operator
    for key in fleet.keys:
        running.store.take_resource(fleet.body(key), is_deleted=False)
        running._heard(key)
        running.queue._waiting.discard(key)
        await running.visit(key)
    assert running.reconciler.awake == AWAKE, "the first hundred are, whatever is late"
    asked = len(fleet.cluster.asked)
    await running.tick()
    late = set(fleet.keys[AWAKE:])
    assert not late & running.queue._waiting
    assert len(fleet.cluster.asked) == asked
    for key in fleet.keys:
        fleet.hear(key)
    running.health.is_listed = True
    await running.begin()
    assert late <= running.queue._waiting
    for key in late:
        await running.visit(key)
    assert fleet.at_rest() == late
    assert len(fleet.cluster.asked) == asked


async def test_a_deployment_that_no_watch_has_spoken_of_is_not_one_that_is_not_there(fleet: Fleet) -> None:
    key, running = fleet.keys[0], fleet.operator
    running.store.take_resource(fleet.body(key), is_deleted=False)
    await running.visit(key)
    await running.tick()
    assert running.reconciler.memory(key).measured.at is None


async def test_a_small_fleet_never_rests(fleet: Fleet) -> None:
    fleet.keys = fleet.keys[:AWAKE]
    await fleet.start()
    await fleet.operator.tick()
    assert fleet.at_rest() == set()
