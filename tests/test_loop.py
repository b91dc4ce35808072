"""The loop: one resource cannot stop the others, and a deaf watch is noticed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from builders import NOW, body, with_overrides
from exposed import sample

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability
from specdecode.engine.models import catalogue
from specdecode.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SettingsError,
    UnavailableError,
)
from specdecode.judge import prepare
from specdecode.kube import Kube
from specdecode.lookup.find import Sources, Wanted
from specdecode.loop import Operator, require_crd
from specdecode.observe.prometheus import Failure, PrometheusClient
from specdecode.reconcile import Measured
from specdecode.settings import Settings

KEY = ("serving", "llama-70b")
NAMED = "meta-llama/Llama-3.1-70B-Instruct"
DEPLOYMENT = {
    "name": KEY[1],
    "namespace": KEY[0],
    "uid": "u",
    "generation": 1,
    "labels": {"specdecode.io/deployment": KEY[1]},
    "annotations": {"specdecode.io/mode": "Draft"},
}


def operator() -> Operator:
    """An operator whose cluster and Prometheus are never asked."""
    nothing = cast("Any", None)
    return Operator(Settings(), cast("Kube", nothing), cast("PrometheusClient", nothing))


def with_resource(version: str) -> Operator:
    running = operator()
    running.store.take_resource(body(**{"metadata.resourceVersion": version}), is_deleted=False)
    return running


@pytest.mark.parametrize(
    ("error", "went_well", "result"),
    [
        pytest.param(None, True, "ok", id="all is well"),
        pytest.param(ConflictError("changed"), True, "conflict", id="changed under our hands: due again at once"),
        pytest.param(UnavailableError("503"), False, "cluster_error", id="the API server is away: backed off"),
        pytest.param(ZeroDivisionError("bug"), False, "bug", id="a bug: counted, logged, backed off"),
    ],
)
async def test_a_visit_never_raises(
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
    went_well: bool,  # noqa: FBT001 - a column of the table
    result: str,
) -> None:
    running = operator()

    async def visit(*_: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(running.reconciler, "visit", visit)
    assert await running.visit(KEY) is went_well
    assert running.metrics.registry.get_sample_value("specdecode_reconcile_total", {"result": result}) == 1


def test_it_is_ready_once_everything_listed_has_arrived() -> None:
    running = operator()
    running._compare({KEY: "1"})
    assert not running.health.is_listed
    running = with_resource("1")
    running._compare({KEY: "1"})
    assert running.health.is_listed


def test_a_resource_that_the_list_no_longer_has_is_dropped_and_visited() -> None:
    running = with_resource("1")
    running._compare({})
    assert running.store.known() == []
    assert running.queue._waiting == {KEY}


def test_a_watch_that_stays_behind_for_a_whole_interval_is_deaf() -> None:
    running = with_resource("1")
    running._compare({KEY: "1"})
    running._compare({KEY: "2"})
    assert running.health.problem() is None, "a change of this moment is still on its way"
    running._compare({KEY: "2"})
    assert running.health.problem() == "the watch no longer delivers changes"
    running.store.take_resource(body(**{"metadata.resourceVersion": "2"}), is_deleted=False)
    running._compare({KEY: "2"})
    assert running.health.problem() is None, "it hears again"


def test_a_busy_resource_is_no_deaf_watch() -> None:
    running = with_resource("1")
    running._compare({KEY: "1"})
    for version in ("2", "3", "4"):
        running._compare({KEY: version})
        assert running.health.problem() is None


async def test_a_tick_without_resources_asks_prometheus_nothing() -> None:
    running = operator()
    await running.tick()
    assert running.metrics.registry.get_sample_value("specdecode_resources") == 0


async def test_a_resource_that_breaks_the_plan_does_not_break_the_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise RecursionError

    monkeypatch.setattr("specdecode.reconcile.prepare", breaks)
    running = with_resource("1")
    running.store.put_deployment({"metadata": DEPLOYMENT}, is_deleted=False)
    await running.tick()
    assert running.queue._waiting == {KEY}
    assert not await running.visit(KEY)


class Deaf:
    """A Prometheus that never answers, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.asked_ranges = 0

    async def query(self, *_: Any, **__: Any) -> Failure:
        self.asked += 1
        return Failure("Prometheus did not answer")

    async def query_range(self, *_: Any, **__: Any) -> Failure:
        self.asked_ranges += 1
        return Failure("Prometheus did not answer")


async def serving() -> tuple[Operator, Deaf]:
    """An operator that knows a resource whose Deployment runs `Draft`, and has visited it."""
    cluster, deaf = Cluster(**{"spec.model.name": NAMED, "spec.guard.baseline.controlReplicas": 1}), Deaf()
    running = Operator(Settings(), cast("Kube", cluster), cast("PrometheusClient", deaf))
    running.store.take_resource(cluster.body, is_deleted=False)
    await running.visit(KEY)
    running.store.put_deployment({"metadata": DEPLOYMENT, "spec": {"replicas": 2}}, is_deleted=False)
    return running, deaf


async def test_what_to_measure_follows_from_the_deployment_and_from_the_newest_status() -> None:
    running, deaf = await serving()
    settled = [
        {"type": kind, "status": word, "reason": "Test", "lastTransitionTime": "2026-11-22T12:00:00Z"}
        for kind, word in (("Reconciling", "False"), ("MetricsAvailable", "True"))
    ]
    grown = body(**{"metadata.resourceVersion": "2", "status.conditions": settled})
    running.store.take_resource(grown, is_deleted=False)
    subject = running.wards.subject(KEY)
    assert subject is not None
    assert (subject.mode, subject.settled_since, subject.days_per_false_step) == (Mode.DRAFT, NOW.timestamp(), 30)
    assert subject.control_names is not None
    await running.tick()
    assert deaf.asked == 2
    assert running.reconciler.memory(KEY).measured == Measured(), "one failure after a start is no outage yet"
    await running.tick()
    measured = running.reconciler.memory(KEY).measured
    assert (measured.measurement.availability, measured.measurement.cause) == (
        Availability.UNREACHABLE,
        "Prometheus did not answer",
    )
    failed = running.metrics.registry.get_sample_value("specdecode_prometheus_query_total", {"outcome": "failed"})
    assert failed == 4


async def test_what_cannot_be_measured_is_not_what_was_not_measured_yet() -> None:
    running = with_resource("1")
    await running.tick()
    assert running.reconciler.memory(KEY).measured == Measured(), "no visit has prepared it"
    running, _ = await serving()
    running.store.put_deployment({"metadata": {**DEPLOYMENT, "annotations": {}}, "spec": {}}, is_deleted=False)
    await running.tick()
    assert "nothing runs in a known mode" in running.reconciler.memory(KEY).measured.measurement.cause


async def test_a_past_that_cannot_be_read_is_logged_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running, deaf = await serving()
    answer = await running._observer._client.query_range("up", start=0, end=1, step_seconds=1)
    assert answer == Failure("Prometheus did not answer")
    assert deaf.asked_ranges == 1

    async def tick(*_: Any, **__: Any) -> dict[Any, Any]:
        running._observer.problem = "the past could not be read"
        return {}

    monkeypatch.setattr(running._observer, "tick", tick)
    await running.tick()
    assert "the past could not be read; the judgement goes on without" in caplog.text


UNHEARD_OF = "acme/unheard-of"
FACTS = replace(catalogue()["meta-llama/Llama-3.1-70B-Instruct"], name=UNHEARD_OF, source="hub")


class Cluster:
    """An API server that has one resource and takes everything; what was written is kept."""

    def __init__(self, **overrides: Any) -> None:
        self.body = body(**{"metadata.resourceVersion": "1", "spec.model.name": UNHEARD_OF} | overrides)
        self.applied: list[dict[str, Any]] = []

    async def get(self, _: str) -> dict[str, Any]:
        return self.body

    async def find(self, _: str) -> None:
        return None

    async def apply(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self.applied.append(wanted)
        return wanted

    async def apply_status(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self.body = self.body | {"status": wanted["status"]}
        return {"metadata": {"resourceVersion": "2"}}

    async def create_event(self, _: dict[str, Any]) -> None:
        """Events are not looked at here."""

    def planned(self) -> tuple[str, str]:
        found = next(c for c in self.body["status"]["conditions"] if c["type"] == "Planned")
        return found["status"], found["reason"]


class HangingHub:
    """A look-up that blocks its thread until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any = FACTS) -> None:
        self.answer, self.opened, self.asked = answer, Event(), 0
        monkeypatch.setattr("specdecode.library.look_up", self.look_up)

    def look_up(self, wanted: tuple[Wanted, ...], _: Sources) -> dict[Any, Any]:
        self.asked += 1
        self.opened.wait(10)
        return {one.key: self.answer for one in wanted}


def looking_up(cluster: Cluster, settings: Settings) -> Operator:
    running = Operator(settings, cast("Kube", cluster), cast("PrometheusClient", None))
    running.store.take_resource(cluster.body, is_deleted=False)
    return running


async def settle(running: Operator) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(*running.reconciler._library._tasks)


async def test_a_look_up_that_hangs_is_said_and_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, cluster = HangingHub(monkeypatch), Cluster()
    running = looking_up(cluster, Settings(hub=True))
    started = asyncio.get_running_loop().time()
    assert await running.visit(KEY)
    assert await running.visit(KEY)
    await running.tick()
    other = body(**{"metadata.resourceVersion": "1", "metadata.name": "other"})
    running.store.take_resource(other, is_deleted=False)
    cluster.body, waiting = other, cluster.body
    assert await running.visit((KEY[0], "other"))
    assert cluster.planned() == ("True", "Fits")
    assert cluster.applied, "the other resource is served meanwhile"
    assert asyncio.get_running_loop().time() - started < 5
    cluster.body = waiting
    assert cluster.planned() == ("Unknown", "LookingUp")
    hub.opened.set()
    await settle(running)
    assert KEY in running.queue._waiting, "the answer makes its resource due"
    assert await running.visit(KEY)
    assert cluster.planned() == ("True", "Fits")
    assert hub.asked == 1


async def test_what_was_not_found_refuses_the_spec_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, cluster = HangingHub(monkeypatch, Problem("spec.model.name", UNHEARD_OF, "is gated; give a token")), Cluster()
    hub.opened.set()
    running = looking_up(cluster, Settings(models_directory=Path("/models")))
    assert await running.visit(KEY)
    await settle(running)
    assert await running.visit(KEY)
    assert cluster.planned() == ("False", "ModelFactsMissing")
    assert cluster.applied == []
    assert "give a token" in str(cluster.body["status"]["conditions"])


async def test_without_a_source_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, cluster = HangingHub(monkeypatch), Cluster()
    running = looking_up(cluster, Settings())
    assert await running.visit(KEY)
    assert cluster.planned() == ("False", "ModelFactsMissing")
    assert hub.asked == 0


async def test_a_restarted_operator_waits_for_the_answer_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, cluster = HangingHub(monkeypatch), Cluster()
    hub.opened.set()
    first = looking_up(cluster, Settings(hub=True))
    await first.visit(KEY)
    await settle(first)
    await first.visit(KEY)
    written = cluster.body["status"]
    hub.opened.clear()
    second = looking_up(cluster, Settings(hub=True))
    assert await second.visit(KEY)
    assert cluster.body["status"] is written
    assert second.metrics.registry.get_sample_value("specdecode_writes_total", {"kind": "status"}) is None
    hub.opened.set()
    await settle(second)


async def test_a_plan_is_made_again_only_for_something_new(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def counting(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return prepare(*arguments)

    monkeypatch.setattr("specdecode.reconcile.prepare", counting)
    cluster = Cluster(**{"spec.model.name": "meta-llama/Llama-3.1-70B-Instruct"})
    running = looking_up(cluster, Settings())
    for _ in range(3):
        await running.visit(KEY)
    assert made == 1
    entry = {"shape": "s", "specHash": "h", "mode": "Off", "errorPercent": "0.0", "at": "2026-11-22T12:00:00Z"}
    sizes = {"plannedKvCache": "1Mi", "measuredKvCache": "1Mi", "nonKvCache": "1Mi"}
    grown = cluster.body | {"status": cluster.body["status"] | {"calibration": [entry | sizes]}}
    for _ in range(2):
        running.reconciler.prepared(KEY, grown, NOW)
    assert made == 2
    running.reconciler.prepared(KEY, with_overrides(grown, {"metadata.generation": 2}), NOW)
    assert made == 3


async def test_the_size_of_the_cache_is_shown_and_goes_with_the_resource() -> None:
    cluster = Cluster(**{"spec.model.name": "meta-llama/Llama-3.1-70B-Instruct"})
    running = looking_up(cluster, Settings())
    await running.visit(KEY)
    labels = {"namespace": KEY[0], "name": KEY[1], "mode": "Off"}
    planned = sample(running.metrics, "specdecode_plan_kv_cache_bytes", labels)
    assert planned is not None
    assert planned > 0
    running.store.drop_resource(KEY)
    await running.visit(KEY)
    assert sample(running.metrics, "specdecode_plan_kv_cache_bytes", labels) is None


class _Listing:
    """An API server of which only the CRD is asked; an answer is an error, or None."""

    def __init__(self, *answers: ClusterError | None) -> None:
        self.answers = list(answers)

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/apis/specdecode.io/v1alpha1/specdecodedeployments?limit=1"
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return {}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param([None], "", id="it is there"),
        pytest.param([UnavailableError("503")], "", id="nobody answers: the watches wait for it"),
        pytest.param([ForbiddenError("no")] * 3 + [None], "", id="the server has just started"),
        pytest.param([NotFoundError("no")], "is not installed; run: specdecode crd", id="it is not there"),
        pytest.param([ForbiddenError("no")] * 7, "may not list", id="no rights, for half a minute"),
        pytest.param([ForbiddenError("no"), NotFoundError("no")], "is not installed", id="it is not there after all"),
    ],
)
async def test_the_crd_is_asked_for_once_at_the_start(
    monkeypatch: pytest.MonkeyPatch, answers: list[ClusterError | None], said: str
) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("specdecode.loop.time.monotonic", lambda: now)
    monkeypatch.setattr("specdecode.loop.asyncio.sleep", sleep)
    listing = _Listing(*answers)
    asked = require_crd(cast("Kube", listing), Settings())
    if said:
        with pytest.raises(SettingsError, match=said):
            await asked
    else:
        await asked
    assert listing.answers == []
