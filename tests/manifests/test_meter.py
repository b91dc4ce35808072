"""The meter in the objects: where it runs, what it changes, and what it leaves as it was."""

import json
from typing import Any

import pytest
from builders import ABSENT, mode_plan, plan, resource

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import Mode
from specdecode.manifests.build import Objects, build
from specdecode.manifests.meter import meter_digest
from specdecode.manifests.names import METER_MOUNT, is_meter_name
from specdecode.meter import FILE, MIDDLEWARE, source
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

METERED = {"spec.guard": {"meter": True}}
CONTROLLED = {"spec.guard": {"meter": True, "baseline": {"controlReplicas": 1}}}
FLAGS = {f"--middleware={MIDDLEWARE}", "--per-request-spec-decode-metrics=summary"}


def planned(built: SpecDecodeDeployment) -> dict[Mode, Objects]:
    """The objects under the real plan."""
    made = make_plan(built)
    assert isinstance(made, Plan), str(made)
    return build(built, made)


def pod(deployment: dict[str, Any] | None) -> dict[str, Any]:
    assert deployment is not None
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def traces(deployment: dict[str, Any] | None) -> list[str]:
    """Everything in a pod that is there for the meter."""
    (container,) = (spec := pod(deployment))["containers"]
    return [
        *(argument for argument in container["args"] if argument in FLAGS),
        *(f"env {variable['name']}" for variable in container["env"] if variable["name"] == "PYTHONPATH"),
        *(f"mount {mount['mountPath']}" for mount in container["volumeMounts"] if mount["name"] == "meter"),
        *(f"volume {volume['configMap']['name']}" for volume in spec["volumes"] if "configMap" in volume),
    ]


ALL = [*sorted(FLAGS), "env PYTHONPATH", f"mount {METER_MOUNT}", f"volume llama-70b-meter-{meter_digest()}"]


@pytest.mark.parametrize("mode", [Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.NGRAM])
def test_modes_that_speculate_run_it(mode: Mode) -> None:
    small = {"spec.accelerator.count": 4}
    assert traces(planned(resource(**METERED, **small))[mode].deployment) == ALL


def test_without_speculation_there_is_nothing_to_measure() -> None:
    """The argument would stop vLLM then. The ConfigMap is there all the same, so that going back brings nothing new."""
    off = planned(resource(**METERED))[Mode.OFF]
    assert traces(off.deployment) == []
    assert off.meter is not None
    assert traces(planned(resource(**CONTROLLED))[Mode.QUANTIZED_DRAFT].control) == []


def test_a_resource_that_never_speculates_has_no_meter() -> None:
    plain = planned(resource(**METERED, **{"spec.speculation": ABSENT}))[Mode.OFF]
    assert (plain.meter, traces(plain.deployment)) == (None, [])


def test_without_it_every_byte_is_as_before() -> None:
    """The golden files hold the same against what was released."""
    without = planned(resource())
    for mode, objects in planned(resource(**{"spec.guard": {"meter": False}})).items():
        assert json.dumps(objects.all()) == json.dumps(without[mode].all())
        assert traces(objects.deployment) == []


def test_the_off_mode_does_not_change_when_it_is_switched_on() -> None:
    """Only the intent does: a deployment that was rolled back is not restarted for a meter it will not run."""
    off, metered = (planned(resource(**changed))[Mode.OFF] for changed in ({}, METERED))
    assert pod(off.deployment) == pod(metered.deployment)
    assert off.intent_hash != metered.intent_hash


def test_the_map_is_immutable_and_named_after_its_text() -> None:
    meter = build(resource(**METERED), plan())[Mode.QUANTIZED_DRAFT].meter
    assert meter is not None
    assert meter["data"] == {FILE: source()}
    assert meter["immutable"] is True
    assert meter["metadata"]["name"].endswith(meter_digest())
    assert is_meter_name("llama-70b", meter["metadata"]["name"])
    assert not is_meter_name("llama", meter["metadata"]["name"])


def test_it_is_applied_before_the_pods_that_mount_it() -> None:
    off = mode_plan(Mode.OFF)
    objects = build(resource(**CONTROLLED), plan(mode_plan(Mode.QUANTIZED_DRAFT), off))[Mode.QUANTIZED_DRAFT]
    assert [body["kind"] for body in objects.all()] == ["Service", "ConfigMap", "Deployment", "Deployment"]


def test_labels_and_annotations_of_the_resource_do_not_reach_it() -> None:
    foreign = {"metadata.labels": {"argocd.argoproj.io/instance": "x"}, "metadata.annotations": {"a/b": "c"}}
    meter = build(resource(**METERED, **foreign), plan())[Mode.QUANTIZED_DRAFT].meter
    assert meter == build(resource(**METERED), plan())[Mode.QUANTIZED_DRAFT].meter
