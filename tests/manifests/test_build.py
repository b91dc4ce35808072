"""The laws of the builders: which modes, in which order, what stays the same, what reaches an object."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from builders import mode_plan, plan, resource

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import RollbackStatus
from specdecode.api.vocabulary import Mode
from specdecode.manifests.build import Objects, Options, build, latched
from specdecode.manifests.container import COMMAND
from specdecode.manifests.labels import selector_text
from specdecode.manifests.pod import TERMINATION_GRACE_SECONDS
from specdecode.plan.startup import startup_budget_seconds

ROLLBACK = RollbackStatus(
    from_mode=Mode.QUANTIZED_DRAFT,
    to=Mode.NGRAM,
    reason="AcceptanceCollapsed",
    message="acceptance length 1.04",
    at=datetime(2026, 11, 22, 12, tzinfo=UTC),
    spec_hash="703283bf22",
)


def requested(built: SpecDecodeDeployment, *, pod_monitor: bool = False) -> Objects:
    return build(built, plan(), Options(pod_monitor=pod_monitor))[Mode.QUANTIZED_DRAFT]


def template(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = objects.deployment["spec"]["template"]
    return found


def engine(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = template(objects)["spec"]["containers"][0]
    return found


def test_two_builds_are_equal_byte_by_byte() -> None:
    first, second = (json.dumps([o.all() for o in build(resource(), plan()).values()]) for _ in range(2))
    assert first == second


def test_modes_that_fit_are_built_in_the_order_of_the_ladder() -> None:
    ladder = plan(mode_plan(Mode.QUANTIZED_DRAFT), mode_plan(Mode.DRAFT, fits=False), Mode.NGRAM, Mode.OFF)
    assert list(build(resource(), ladder)) == [Mode.QUANTIZED_DRAFT, Mode.NGRAM, Mode.OFF]


def test_modes_differ_in_what_runs_and_in_nothing_else() -> None:
    quantized, ngram = (build(resource(), plan())[mode] for mode in (Mode.QUANTIZED_DRAFT, Mode.NGRAM))
    assert quantized.service == ngram.service
    assert engine(quantized)["args"] != engine(ngram)["args"]
    assert quantized.deployment["spec"]["selector"] == ngram.deployment["spec"]["selector"]
    assert template(quantized)["metadata"]["labels"]["specdecode.io/mode"] == "QuantizedDraft"
    assert template(ngram)["metadata"]["labels"]["specdecode.io/mode"] == "NGram"


def test_the_deployment_is_applied_last_because_its_hash_vouches_for_the_others() -> None:
    kinds = [body["kind"] for body in requested(resource(), pod_monitor=True).all()]
    assert kinds == ["Service", "PodMonitor", "Deployment"]


def test_the_command_line_is_the_plans_word_by_word_and_meets_no_shell() -> None:
    container = engine(requested(resource()))
    assert container["command"] == list(COMMAND)
    assert tuple(container["args"]) == plan().requested.arguments


def test_selector_and_service_select_the_pods() -> None:
    objects = requested(resource())
    labels = template(objects)["metadata"]["labels"].items()
    assert objects.deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert objects.service["spec"]["selector"].items() <= labels
    assert selector_text("llama-70b") == "specdecode.io/deployment=llama-70b"


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.replicas": 7}, id="replicas"),
        pytest.param({"spec.guard": {"window": "10m", "action": "Recommend"}}, id="guard"),
        pytest.param({"metadata.generation": 9, "metadata.resourceVersion": "77"}, id="another generation"),
        pytest.param({"metadata.annotations": {"specdecode.io/retry": "again"}}, id="annotations of the resource"),
        pytest.param({"metadata.labels": {"argocd.argoproj.io/instance": "x"}}, id="labels of the resource"),
        pytest.param({"status": {"mode": "Off"}}, id="status"),
    ],
)
def test_what_restarts_no_engine(overrides: Mapping[str, Any]) -> None:
    assert template(requested(resource(**overrides))) == template(requested(resource()))


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.engine.image": "vllm/vllm-openai:v0.31.0"}, id="image"),
        pytest.param({"spec.engine.env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}, id="environment"),
        pytest.param({"spec.podTemplate.labels": {"team": "search"}}, id="pod labels"),
        pytest.param({"spec.cache": {"claimName": "models"}}, id="cache claim"),
        pytest.param({"spec.accelerator.count": 4}, id="GPUs"),
    ],
)
def test_what_restarts_the_engine(overrides: Mapping[str, Any]) -> None:
    assert template(requested(resource(**overrides))) != template(requested(resource()))


def test_a_rollback_is_recorded_on_the_deployment_and_restarts_nothing() -> None:
    plain = build(resource(), plan())[Mode.NGRAM]
    recorded = latched(plain, ROLLBACK)
    added = recorded.deployment["metadata"]["annotations"].items() - plain.deployment["metadata"]["annotations"].items()
    assert dict(added) == {
        "specdecode.io/rolled-back-for": "703283bf22",
        "specdecode.io/rolled-back-from": "QuantizedDraft",
        "specdecode.io/reason": "AcceptanceCollapsed",
        "specdecode.io/intent-hash": recorded.intent_hash,
    }
    assert recorded.deployment["spec"] == plain.deployment["spec"]
    assert recorded.service == plain.service


def test_the_intent_hash_tells_a_latched_intent_from_a_plain_one() -> None:
    plain = build(resource(), plan())[Mode.NGRAM]
    assert latched(plain, None) == plain
    assert latched(plain, ROLLBACK) == latched(plain, ROLLBACK)
    assert latched(latched(plain, ROLLBACK), ROLLBACK) == latched(plain, ROLLBACK)
    assert latched(plain, ROLLBACK).intent_hash != plain.intent_hash
    assert plain.deployment["metadata"]["annotations"]["specdecode.io/intent-hash"] == plain.intent_hash


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec.replicas": 7}, id="replicas"),
        pytest.param({"spec.podTemplate.labels": {"team": "search"}}, id="pod labels"),
        pytest.param({"metadata.uid": "another"}, id="a new resource of the same name"),
    ],
)
def test_the_intent_hash_changes_with(overrides: Mapping[str, Any]) -> None:
    assert requested(resource(**overrides)).intent_hash != requested(resource()).intent_hash


@pytest.mark.parametrize("gigabytes", [0, 1, 140, 1300])
def test_the_rollout_gives_up_only_after_the_pod_had_its_whole_start_up_budget(gigabytes: int) -> None:
    load_bytes = gigabytes * 10**9
    built = build(resource(), plan(mode_plan(load_bytes=load_bytes)))[Mode.QUANTIZED_DRAFT]
    probe = engine(built)["startupProbe"]
    budget_seconds = probe["periodSeconds"] * probe["failureThreshold"]
    assert budget_seconds >= startup_budget_seconds(load_bytes)
    assert built.deployment["spec"]["progressDeadlineSeconds"] > budget_seconds + TERMINATION_GRACE_SECONDS


def test_a_leaving_pod_has_time_to_drain_after_its_pause() -> None:
    pod = template(requested(resource()))["spec"]
    pause_seconds = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] == pause_seconds + 105


def environment(objects: Objects) -> dict[str, Any]:
    variables = engine(objects)["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names)), "server-side apply refuses a name that is listed twice"
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in variables}


LOCAL = {"spec.model.name": "/models/target", "spec.cache": {"claimName": "models"}}
LOCAL_DRAFT = LOCAL | {"spec.speculation.draft.name": "/models/draft"}


@pytest.mark.parametrize(
    ("overrides", "name", "value"),
    [
        pytest.param({}, "HF_HOME", "/models", id="the cache mount is the hub's home"),
        pytest.param({}, "HF_HUB_OFFLINE", None, id="models come from the hub: online"),
        pytest.param(LOCAL, "HF_HUB_OFFLINE", None, id="the draft comes from the hub: online"),
        pytest.param(LOCAL_DRAFT, "HF_HUB_OFFLINE", "1", id="both models are local: offline"),
        pytest.param(
            LOCAL_DRAFT | {"spec.engine.env": [{"name": "HF_HUB_OFFLINE", "value": "0"}]},
            "HF_HUB_OFFLINE",
            "0",
            id="the user overrules it",
        ),
        pytest.param({}, "HF_TOKEN", None, id="no token: no variable"),
        pytest.param(
            {"spec.huggingFaceToken": {"secretName": "hf"}},
            "HF_TOKEN",
            {"secretKeyRef": {"name": "hf", "key": "token"}},
            id="the token is a reference; the operator never reads it",
        ),
        pytest.param(
            {"spec.engine.env": [{"name": "A", "secret": {"secretName": "s", "key": "k"}}]},
            "A",
            {"secretKeyRef": {"name": "s", "key": "k"}},
            id="a variable from a Secret",
        ),
    ],
)
def test_environment(overrides: Mapping[str, Any], name: str, value: object) -> None:
    assert environment(requested(resource(**overrides))).get(name) == value


def test_no_variable_of_ours_is_one_that_vllm_reads_as_its_own() -> None:
    assert not [name for name in environment(requested(resource())) if name.startswith("VLLM_")]


def _paths(node: Any, needle: str, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [f"{path}.{key}~"] if needle in key else []
            yield from _paths(value, needle, f"{path}.{key}")
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _paths(item, needle, f"{path}[]")
    elif isinstance(node, str) and needle in node:
        yield path


POD = ".spec.template.spec"
ENGINE = f"{POD}.containers[]"


@pytest.mark.parametrize(
    ("field", "value", "needle", "places"),
    [
        ("spec.engine.image", "mark/mark:v0.32.0", "mark", {f"{ENGINE}.image"}),
        ("spec.accelerator.product", "MARK", "MARK", {f"{POD}.nodeSelector.nvidia.com/gpu.product"}),
        (
            "spec.accelerator.resourceName",
            "mark/gpu",
            "mark",
            {f"{ENGINE}.resources.limits.mark/gpu~", f"{ENGINE}.resources.requests.mark/gpu~"},
        ),
        ("spec.cache", {"claimName": "mark"}, "mark", {f"{POD}.volumes[].persistentVolumeClaim.claimName"}),
        (
            "spec.huggingFaceToken",
            {"secretName": "mark", "key": "mark"},
            "mark",
            {f"{ENGINE}.env[].valueFrom.secretKeyRef.name", f"{ENGINE}.env[].valueFrom.secretKeyRef.key"},
        ),
        ("spec.engine.env", [{"name": "MARK", "value": "MARK"}], "MARK", {f"{ENGINE}.env[].name",
         f"{ENGINE}.env[].value"}),
        ("spec.podTemplate.labels", {"mark": "mark"}, "mark", {".spec.template.metadata.labels.mark~",
         ".spec.template.metadata.labels.mark"}),
        ("spec.podTemplate.annotations", {"mark": "$(mark)"}, "mark", {".spec.template.metadata.annotations.mark~",
         ".spec.template.metadata.annotations.mark"}),
        ("spec.podTemplate.nodeSelector", {"mark": "mark"}, "mark", {f"{POD}.nodeSelector.mark~",
         f"{POD}.nodeSelector.mark"}),
        ("spec.podTemplate.tolerations", [{"key": "mark", "value": "mark"}], "mark", {f"{POD}.tolerations[].key",
         f"{POD}.tolerations[].value"}),
        ("spec.podTemplate.serviceAccountName", "mark", "mark", {f"{POD}.serviceAccountName"}),
        ("spec.podTemplate.priorityClassName", "mark", "mark", {f"{POD}.priorityClassName"}),
        ("spec.podTemplate.runtimeClassName", "mark", "mark", {f"{POD}.runtimeClassName"}),
        ("spec.model.name", "mark/mark", "mark", set()),
        ("spec.model.servedName", "mark", "mark", set()),
        ("spec.model.revision", "mark", "mark", set()),
        ("spec.engine.extraArgs", [{"name": "mark", "value": "mark"}], "mark", set()),
        ("metadata.annotations", {"mark": "mark"}, "mark", set()),
        ("metadata.labels", {"mark": "mark"}, "mark", set()),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)  # fmt: skip
def test_user_strings_appear_only_where_meant(field: str, value: object, needle: str, places: set[str]) -> None:
    """What reaches the command line does so through the plan's arguments alone."""
    overrides = {field: value, "spec.accelerator.memory": "80Gi"}
    objects = requested(resource(**overrides), pod_monitor=True)
    assert {path for body in objects.all() for path in _paths(body, needle)} == places
