"""The loop: one resource cannot stop the others, and a deaf watch is noticed."""

from typing import Any, cast

import pytest
from builders import body

from specdecode.errors import ConflictError, UnavailableError
from specdecode.kube import Kube
from specdecode.loop import Operator
from specdecode.observe.prometheus import PrometheusClient
from specdecode.settings import Settings

KEY = ("serving", "llama-70b")


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
    deployment = {"name": KEY[1], "namespace": KEY[0], "labels": {"specdecode.io/deployment": KEY[1]}}
    running.store.put_deployment({"metadata": deployment}, is_deleted=False)
    await running.tick()
    assert running.queue._waiting == {KEY}
    assert not await running.visit(KEY)
