"""The control arm: when it is built, how it is counted, and that it changes nothing else."""

from datetime import UTC, datetime
from typing import Any

import pytest
from builders import ABSENT, mode_plan, plan, resource

from specdecode.api.status import RollbackStatus
from specdecode.api.vocabulary import Mode
from specdecode.manifests.build import Objects, Options, build, latched, without_control

CONTROL = {"spec.guard": {"baseline": {"controlReplicas": 1}}}
SPECULATING = (Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.NGRAM)
ROLLBACK = RollbackStatus(
    from_mode=Mode.QUANTIZED_DRAFT,
    to=Mode.NGRAM,
    reason="AcceptanceCollapsed",
    message="acceptance length 1.04",
    at=datetime(2026, 11, 22, 12, tzinfo=UTC),
    spec_hash="703283bf22",
)


def built(**overrides: Any) -> dict[Mode, Objects]:
    return build(resource(**CONTROL | overrides), plan())


def replicas(objects: Objects) -> tuple[int | None, int | None]:
    """Of the main and of the control arm."""
    control = None if objects.control is None else objects.control["spec"]["replicas"]
    return objects.deployment["spec"].get("replicas"), control


@pytest.mark.parametrize(
    ("overrides", "counts"),
    [
        pytest.param({"spec.replicas": 4}, (3, 1), id="one of four"),
        pytest.param({"spec.replicas": 2}, (1, 1), id="one of two"),
        pytest.param({"spec.replicas": 1}, (1, None), id="never the only one"),
        pytest.param({"spec.replicas": 0}, (0, None), id="scaled to zero: none"),
        pytest.param({"spec.replicas": ABSENT}, (None, 1), id="an autoscaler owns the main arm: on top of it"),
        pytest.param({"spec.guard": ABSENT}, (2, None), id="not asked for"),
    ],
)
def test_how_it_is_counted(overrides: dict[str, Any], counts: tuple[int | None, int | None]) -> None:
    objects = built(**overrides)
    assert {replicas(objects[mode]) for mode in SPECULATING} == {counts}


def test_a_mode_without_speculation_needs_none_and_has_all_replicas() -> None:
    assert replicas(built()[Mode.OFF]) == (2, None)


@pytest.mark.parametrize(
    "ladder",
    [
        pytest.param(plan(Mode.QUANTIZED_DRAFT, mode_plan(Mode.OFF, fits=False)), id="Off does not fit"),
        pytest.param(plan(Mode.QUANTIZED_DRAFT), id="Off is not planned"),
    ],
)
def test_what_does_not_fit_is_not_started(ladder: Any) -> None:
    assert replicas(build(resource(**CONTROL), ladder)[Mode.QUANTIZED_DRAFT]) == (2, None)


def test_it_runs_the_plan_of_off_behind_the_same_service() -> None:
    objects = built()[Mode.QUANTIZED_DRAFT]
    control = objects.control
    assert control is not None
    assert control["metadata"]["name"] == "llama-70b-control"
    pod = control["spec"]["template"]
    off = plan().mode(Mode.OFF)
    assert off is not None
    assert tuple(pod["spec"]["containers"][0]["args"]) == off.arguments
    labels = pod["metadata"]["labels"]
    assert (labels["specdecode.io/arm"], labels["specdecode.io/mode"]) == ("control", "Off")
    assert objects.service["spec"]["selector"].items() <= labels.items()
    assert control["spec"]["selector"]["matchLabels"].items() <= labels.items()
    main = objects.deployment["spec"]["selector"]["matchLabels"]
    assert not main.items() <= labels.items(), "no pod belongs to both Deployments"
    assert control["spec"]["strategy"] == objects.deployment["spec"]["strategy"]


def test_it_is_the_same_beside_every_mode_so_that_a_step_restarts_it_never() -> None:
    objects = built()
    assert all(objects[mode].control == objects[Mode.DRAFT].control for mode in SPECULATING)


def test_it_comes_before_the_main_deployment_whose_hash_vouches_for_it() -> None:
    with_it = build(resource(**CONTROL), plan(), Options(pod_monitor=True))[Mode.DRAFT]
    names = [f"{body['kind']} {body['metadata']['name']}" for body in with_it.all()]
    assert names == [
        "Service llama-70b",
        "PodMonitor llama-70b",
        "Deployment llama-70b-control",
        "Deployment llama-70b",
    ]
    assert with_it.intent_hash != build(resource(), plan())[Mode.DRAFT].intent_hash


def test_without_it_the_objects_are_those_of_a_spec_that_asks_for_none() -> None:
    plain = build(resource(), plan())
    assert without_control(plain[Mode.DRAFT]) == plain[Mode.DRAFT]
    assert without_control(built()[Mode.DRAFT]) == plain[Mode.DRAFT]
    assert without_control(latched(built()[Mode.DRAFT], ROLLBACK)) == latched(plain[Mode.DRAFT], ROLLBACK)
    scaled = {"spec.replicas": ABSENT}
    assert without_control(built(**scaled)[Mode.DRAFT]) == build(resource(**scaled), plan())[Mode.DRAFT]


def test_a_rollback_is_recorded_on_the_main_deployment_alone() -> None:
    recorded = latched(built()[Mode.NGRAM], ROLLBACK)
    assert recorded.control == built()[Mode.NGRAM].control
    assert "specdecode.io/rolled-back-for" in recorded.deployment["metadata"]["annotations"]
