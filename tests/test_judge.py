"""The walk from what was read to what should be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import ABSENT, GIB, NOW, batches_of, body, condition, measurement, pod_fact, with_overrides

from specdecode.api.resource import Problem
from specdecode.api.status import CalibrationStatus, ConditionType, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.breaker import Fleet
from specdecode.decide.facts import Availability, CacheReading
from specdecode.judge import Outcome, Prepared, Seen, judge, prepare
from specdecode.manifests.build import Options
from specdecode.status import OWNERSHIP_CONFLICT, ApplyFailure

UID = "4f5e2c1a-0000-4000-8000-000000000001"
TOO_LARGE = {"spec.model.quantization": ABSENT, "spec.accelerator.count": 1}


def prepared(**overrides: Any) -> Prepared:
    return prepare(body(**overrides), Options())


def live(ready: Prepared, mode: Mode, **changes: Any) -> dict[str, Any]:
    """The Deployment of a mode as the API server has it once it is rolled out."""
    wanted = ready.objects[mode].deployment
    metadata = wanted["metadata"] | {"uid": "child", "generation": 1, "resourceVersion": "7"}
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    return wanted | {"metadata": metadata, "status": {"observedGeneration": 1} | counts} | changes


def seen(**changes: Any) -> Seen:
    good = Seen(
        body=body(**{"metadata.resourceVersion": "1"}),
        deployment=None,
        pods=(),
        has_children=True,
        measurement=measurement(),
        measured_at=None,
        failure=None,
        fast_window_seconds=60,
    )
    return replace(good, **changes)


def conditions(outcome: Outcome) -> dict[str, tuple[str, str]]:
    return {c.type.value: (c.status.value, c.reason) for c in outcome.status.conditions}


def settled(ready: Prepared) -> Seen:
    """Read again after the first status was written."""
    first = judge(ready, seen(deployment=live(ready, Mode.QUANTIZED_DRAFT)), NOW)
    stored = body(**{"metadata.resourceVersion": "2", "status": first.status.to_wire()})
    return seen(body=stored, deployment=live(ready, Mode.QUANTIZED_DRAFT))


def test_a_new_resource_is_applied_in_the_requested_mode() -> None:
    outcome = judge(prepared(), seen(), NOW)
    assert outcome.apply is not None
    assert outcome.status.mode is Mode.QUANTIZED_DRAFT
    assert not outcome.is_quiet


def test_a_converged_resource_costs_nothing() -> None:
    ready = prepared()
    assert judge(ready, settled(ready), NOW + timedelta(seconds=3)).is_quiet


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"has_children": False}, id="its Service is gone"),
        pytest.param({"deployment": None}, id="its Deployment is gone"),
    ],
)
def test_what_is_missing_is_applied_again(changes: dict[str, Any]) -> None:
    ready = prepared()
    assert judge(ready, replace(settled(ready), **changes), NOW).apply is not None


def test_a_foreign_edit_is_taken_back() -> None:
    ready = prepared()
    edited = live(ready, Mode.QUANTIZED_DRAFT)
    edited["spec"] = edited["spec"] | {"replicas": 5}
    assert judge(ready, replace(settled(ready), deployment=edited), NOW).apply is not None


@pytest.mark.parametrize(
    ("older_by_seconds", "mode"),
    [
        pytest.param(1, Mode.QUANTIZED_DRAFT, id="of a Deployment of this name before it: nothing is held against it"),
        pytest.param(-1, Mode.NGRAM, id="its own: it steps down"),
    ],
)
def test_pods_that_crash(older_by_seconds: int, mode: Mode) -> None:
    ready = prepared()
    made_at = NOW - timedelta(hours=1)
    deployment = live(ready, Mode.QUANTIZED_DRAFT, status={"observedGeneration": 1, "replicas": 2})
    deployment["metadata"] |= {"creationTimestamp": made_at.isoformat()}
    pod = pod_fact(
        is_ready=False,
        restarts=9,
        waiting_reason="CrashLoopBackOff",
        created_at=made_at - timedelta(seconds=older_by_seconds),
        not_ready_since=made_at,
    )
    assert judge(ready, seen(deployment=deployment, pods=(pod,)), NOW).status.mode is mode


def test_a_paused_resource_is_left_alone() -> None:
    ready = prepared()
    annotated = body(**{"metadata.resourceVersion": "1", "metadata.annotations": {"specdecode.io/paused": "true"}})
    outcome = judge(ready, seen(body=annotated), NOW)
    assert outcome.apply is None
    assert conditions(outcome)["Paused"] == ("True", "Annotation")


@pytest.mark.parametrize(
    ("overrides", "reason", "words"),
    [
        pytest.param({"spec.engine.maxModelLen": "long"}, "InvalidSpec", "spec.engine.maxModelLen", id="invalid"),
        pytest.param(
            {"spec.model.name": "acme/unheard-of"}, "ModelFactsMissing", "spec.model.facts", id="cannot be planned"
        ),
        pytest.param(TOO_LARGE, "DoesNotFit", "short by", id="does not fit"),
    ],
)
def test_a_refused_spec_touches_nothing_and_says_why(overrides: dict[str, Any], reason: str, words: str) -> None:
    running = prepared()
    bad = prepared(**overrides)
    outcome = judge(bad, replace(settled(running)), NOW)
    assert outcome.apply is None
    assert conditions(outcome)["Planned"] == ("False", reason)
    assert conditions(outcome)["Stalled"] == ("True", reason)
    assert conditions(outcome)["Ready"] == ("True", "Serving")
    assert words in next(c.message for c in outcome.status.conditions if c.type == "Planned")


def test_what_would_fit_is_said_when_something_would() -> None:
    ready = prepared(**TOO_LARGE)
    assert ready.plan is not None
    assert ready.refusal is not None
    assert ready.plan.requested.short_bytes > GIB
    lines = [f"would fit: {remedy}" for remedy in ready.plan.requested.remedies[:1]]
    assert all(line in str(ready.refusal) for line in lines)


def test_nothing_is_promised_when_nothing_would_fit() -> None:
    ready = prepared(**TOO_LARGE, **{"spec.accelerator.product": "Tesla-T4"})
    assert ready.plan is not None
    assert ready.plan.requested.remedies or "would fit" not in str(ready.refusal)


def failure(intent_hash: str, *, is_final: bool = True) -> ApplyFailure:
    return ApplyFailure("ApplyRefused", "the server says no", is_final=is_final, intent_hash=intent_hash)


@pytest.mark.parametrize(
    ("a_failure", "is_applied_again", "stalled"),
    [
        pytest.param(failure, False, "ApplyRefused", id="refused for good: not tried again"),
        pytest.param(
            lambda wanted: failure(wanted, is_final=False), True, "Progressing", id="refused for now: tried again"
        ),
        pytest.param(lambda _: failure("other"), True, "Progressing", id="something else was refused: forgotten"),
        pytest.param(
            lambda wanted: replace(failure(wanted), reason=OWNERSHIP_CONFLICT),
            True,
            OWNERSHIP_CONFLICT,
            id="somebody else stood in the way: looked at again",
        ),
    ],
)
def test_a_refused_apply(a_failure: Any, is_applied_again: bool, stalled: str) -> None:  # noqa: FBT001 - a column
    ready = prepared()
    wanted = ready.objects[Mode.QUANTIZED_DRAFT].intent_hash
    outcome = judge(ready, seen(failure=a_failure(wanted)), NOW)
    assert (outcome.apply is not None) is is_applied_again
    assert conditions(outcome)["Stalled"][1] == stalled


def test_a_step_is_judged_at_the_time_of_its_measurement() -> None:
    """A wait after a change counts only what was measured after it."""
    ready = prepared()
    collapsed = measurement()
    assert collapsed.fast is not None
    assert collapsed.slow is not None
    bad = replace(
        collapsed,
        fast=replace(collapsed.fast, accepted_tokens=10.0),
        slow=replace(collapsed.slow, accepted_tokens=50.0),
    )
    later = NOW + timedelta(seconds=120)
    early = replace(settled(ready), measurement=bad, measured_at=NOW + timedelta(seconds=15))
    assert judge(ready, early, later).apply is None
    assert bad.slow is not None
    assert bad.fast is not None
    since = replace(bad, batches=batches_of(bad.slow, bad.fast, later))
    fresh = replace(early, measurement=since, measured_at=later)
    outcome = judge(ready, fresh, later)
    assert outcome.apply is not None
    assert outcome.status.rollback is not None
    assert outcome.status.rollback.reason == "AcceptanceCollapsed"


def serving(ready: Prepared, **changes: Any) -> Seen:
    """An hour after the rollout, measured without a break; the engine says that it has 20000 blocks."""
    conditions = (
        condition(ConditionType.RECONCILING, "False"),
        condition(ConditionType.METRICS_AVAILABLE, "True"),
        condition(ConditionType.STALLED, "False"),
    )
    assert ready.resource is not None
    status = SpecDecodeDeploymentStatus(spec_hash=ready.resource.spec_hash, conditions=conditions)
    old = changes.pop("status", status)
    stored = body(**{"metadata.resourceVersion": "2", "status": old.to_wire()})
    said = measurement(**({"cache": CacheReading(20_000, 16)} | changes.pop("said", {})))
    deployment = live(ready, Mode.QUANTIZED_DRAFT, **changes.pop("deployment", {}))
    return seen(body=stored, deployment=deployment, measurement=said, **changes)


def test_a_running_engine_is_held_against_the_plan_once() -> None:
    ready = prepared()
    assert ready.plan is not None
    first = judge(ready, serving(ready), NOW)
    (noted,) = first.status.calibration
    size = 20_000 * ready.plan.requested.bytes_per_block
    assert noted.measured_kv_cache == f"{size // 1024**2}Mi"
    assert noted.mode is Mode.QUANTIZED_DRAFT
    assert first.status.plan is not None
    assert first.status.plan.modes[0].measured_kv_cache_tokens == pytest.approx(320_000, abs=16)
    assert first.apply is None
    assert judge(ready, serving(ready, status=first.status), NOW + timedelta(minutes=10)).is_quiet


def test_an_idle_engine_says_it_too() -> None:
    ready = prepared()
    idle = serving(ready, said={"availability": Availability.NO_TRAFFIC})
    assert judge(ready, idle, NOW).status.calibration


FOREIGN = live(prepared(), Mode.QUANTIZED_DRAFT)["metadata"] | {"ownerReferences": []}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"said": {"cache": None}}, id="the engine does not say"),
        pytest.param({"said": {"availability": Availability.UNREACHABLE}}, id="Prometheus is gone"),
        pytest.param({"said": {"mode": Mode.OFF}}, id="another mode was measured"),
        pytest.param({"deployment": {"status": {"observedGeneration": 0}}}, id="the rollout is running"),
        pytest.param({"deployment": {"status": {"observedGeneration": 1, "replicas": 2}}}, id="its pods are not ready"),
        pytest.param({"deployment": {"metadata": FOREIGN}}, id="the Deployment is another's"),
        pytest.param({"has_children": False}, id="not everything is applied"),
        pytest.param({"status": SpecDecodeDeploymentStatus()}, id="no rollout has ever ended"),
    ],
)
def test_what_is_not_surely_the_spec_in_force_is_not_noted(changes: dict[str, Any]) -> None:
    ready = prepared()
    assert judge(ready, serving(ready, **changes), NOW).status.calibration == ()


def calibrated(ready: Prepared, spec_hash: str) -> dict[str, Any]:
    """A status in which an engine of the shape of the requested mode took 4 GiB more than its plan."""
    assert ready.plan is not None
    rung = ready.plan.requested
    budget = sum(line.bytes for line in rung.ledger if line.name == "budget")
    measured = rung.kv_cache_bytes_per_gpu - 4 * GIB
    noted = CalibrationStatus(
        shape=rung.shape,
        spec_hash=spec_hash,
        mode=rung.mode,
        planned_kv_cache=f"{rung.kv_cache_bytes_per_gpu // 1024**2}Mi",
        measured_kv_cache=f"{measured // 1024**2}Mi",
        error_percent="8.0",
        non_kv_cache=f"{(budget - measured) // 1024**2}Mi",
        at=NOW,
    )
    return SpecDecodeDeploymentStatus(calibration=(noted,)).to_wire()


PINNED = {"spec.engine.pinKvCache": True}


def test_a_measurement_under_a_spec_leaves_what_it_runs_alone() -> None:
    ready = prepared(**PINNED)
    assert ready.resource is not None
    again = prepared(**PINNED, status=calibrated(ready, ready.resource.spec_hash))
    assert again.objects == ready.objects
    assert again.plan == ready.plan == again.uncalibrated


def test_a_measurement_under_another_spec_corrects_the_plan_and_not_what_errors_are_counted_from() -> None:
    ready = prepared(**PINNED)
    again = prepared(**PINNED, status=calibrated(ready, "another"))
    assert again.plan is not None
    assert ready.plan is not None
    assert again.uncalibrated == ready.plan
    assert again.plan.requested.kv_cache_bytes_per_gpu < ready.plan.requested.kv_cache_bytes_per_gpu
    assert again.objects[Mode.QUANTIZED_DRAFT] != ready.objects[Mode.QUANTIZED_DRAFT]


AWAITED = (Problem("spec.model.name", "acme/unheard-of", "is being looked up"),)


def test_a_model_that_is_looked_up_is_no_failure() -> None:
    waiting = prepare(body(**{"spec.model.name": "acme/unheard-of"}), Options(), awaited=AWAITED)
    outcome = judge(waiting, settled(prepared()), NOW)
    assert outcome.apply is None
    assert outcome.is_quiet, "status has the answer of an earlier process for this generation"
    changed = settled(prepared())
    changed = replace(changed, body=with_overrides(dict(changed.body), {"metadata.generation": 2}))
    fresh = judge(waiting, changed, NOW)
    assert fresh.apply is None
    said = conditions(fresh)
    assert said["Planned"] == ("Unknown", "LookingUp")
    assert said["Stalled"] == ("False", "Progressing")
    assert said["Reconciling"] == ("True", "LookingUp")
    assert said["Ready"] == ("True", "Serving")
    assert "waits for its model; QuantizedDraft keeps running" in next(
        c.message for c in fresh.status.conditions if c.type == "SpeculationActive"
    )
    stored = body(**{"metadata.generation": 2, "status": fresh.status.to_wire()})
    later = judge(waiting, replace(settled(prepared()), body=stored, deployment=None), NOW + timedelta(seconds=5))
    assert conditions(later)["Ready"] == ("False", "LookingUp"), "while it waits, the rest is told as it is"


def test_an_invalid_spec_is_refused_before_anything_is_looked_up() -> None:
    bad = prepare(body(**{"spec.engine.maxModelLen": "long"}), Options(), awaited=AWAITED)
    assert bad.refusal is not None
    assert bad.refusal.reason == "InvalidSpec"


CONTROLLED = {"spec.guard": {"baseline": {"controlReplicas": 1}}}


def live_control(ready: Prepared, **changes: Any) -> dict[str, Any]:
    """The control arm's Deployment with its pod ready."""
    wanted = ready.objects[Mode.QUANTIZED_DRAFT].control
    assert wanted is not None
    metadata = wanted["metadata"] | {"uid": "control", "generation": 1, "resourceVersion": "8"}
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    return wanted | {"metadata": metadata, "status": {"observedGeneration": 1} | counts} | changes


def controlled(ready: Prepared, mode: Mode = Mode.QUANTIZED_DRAFT, **changes: Any) -> Seen:
    """Both arms serve, after the first status was written."""
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    main = live(ready, mode) | {"status": {"observedGeneration": 1} | counts}
    looked = seen(body=body(**CONTROLLED), deployment=main, control=live_control(ready))
    first = judge(ready, looked, NOW)
    return replace(looked, body=body(**CONTROLLED, status=first.status.to_wire()), **changes)


def test_both_arms_are_counted_and_cost_nothing_once_they_serve() -> None:
    ready = prepared(**CONTROLLED)
    outcome = judge(ready, controlled(ready), NOW + timedelta(seconds=3))
    assert outcome.is_quiet
    assert (outcome.status.replicas, outcome.status.ready_replicas) == (2, 2)
    assert outcome.status.selector == "specdecode.io/deployment=llama-70b"
    ready_condition = outcome.status.condition(ConditionType.READY)
    assert ready_condition is not None
    assert ready_condition.message == "2 of 2 replicas are ready, mode QuantizedDraft"


def test_a_control_arm_that_is_gone_is_applied_again_and_the_main_arm_stays_settled() -> None:
    ready = prepared(**CONTROLLED)
    outcome = judge(ready, controlled(ready, control=None), NOW)
    assert outcome.apply is not None
    assert outcome.apply.control is not None
    assert conditions(outcome)["Reconciling"] == ("False", "RolledOut")
    assert conditions(outcome)["Ready"] == ("True", "Serving")


def test_without_speculation_it_is_removed_and_the_main_arm_has_all_replicas() -> None:
    ready = prepared(**CONTROLLED)
    forced = controlled(ready)
    annotated = with_overrides(dict(forced.body), {"metadata.annotations": {"specdecode.io/force-mode": "Off"}})
    outcome = judge(ready, replace(forced, body=annotated), NOW)
    assert outcome.remove == forced.control
    assert not outcome.is_quiet
    assert outcome.apply is not None
    assert outcome.apply.deployment["spec"]["replicas"] == 2
    gone = live_control(ready, metadata=live_control(ready)["metadata"] | {"ownerReferences": []})
    assert judge(ready, replace(forced, body=annotated, control=gone), NOW).remove is None, "a stranger's"


def test_a_control_arm_that_is_no_longer_asked_for_is_removed() -> None:
    asked, plain = prepared(**CONTROLLED), prepared()
    outcome = judge(plain, replace(controlled(asked), body=body()), NOW)
    assert outcome.remove == live_control(asked)


@pytest.mark.parametrize(
    "annotations",
    [pytest.param({"specdecode.io/paused": "true", "specdecode.io/force-mode": "Off"}, id="paused")],
)
def test_what_is_to_be_left_alone_is_not_removed(annotations: dict[str, str]) -> None:
    ready = prepared(**CONTROLLED)
    looked = controlled(ready)
    changed = with_overrides(dict(looked.body), {"metadata.annotations": annotations})
    outcome = judge(ready, replace(looked, body=changed), NOW)
    assert (outcome.apply, outcome.remove) == (None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"control_refusal": "exceeded quota"}, "exceeded quota", id="the API server refused it"),
        pytest.param({"is_foreign": True}, "belongs to somebody else", id="somebody else has its name"),
    ],
)
def test_a_control_arm_that_cannot_be_costs_the_main_arm_nothing(changes: dict[str, Any], words: str) -> None:
    ready = prepared(**CONTROLLED)
    metadata = live_control(ready)["metadata"] | {"ownerReferences": []}
    control = live_control(ready, metadata=metadata) if changes.pop("is_foreign", False) else None
    outcome = judge(ready, controlled(ready, control=control, **changes), NOW)
    assert outcome.apply is not None
    assert (outcome.apply.control, outcome.apply.deployment["spec"]["replicas"]) == (None, 2)
    (finding,) = outcome.status.findings
    assert finding.reason == "ControlNotRunning"
    assert words in finding.message
    assert conditions(outcome)["Stalled"][0] == "False"
    assert outcome.status.replicas == 1


def test_a_refused_spec_leaves_the_control_arm_alone() -> None:
    ready = prepared(**CONTROLLED)
    assert judge(prepared(**TOO_LARGE), controlled(ready), NOW).remove is None


def collapsing(ready: Prepared) -> Seen:
    """Nothing is accepted any more, and has not been for a while."""
    good = measurement()
    assert good.fast is not None
    assert good.slow is not None
    fast, slow = replace(good.fast, accepted_tokens=10.0), replace(good.slow, accepted_tokens=50.0)
    later = NOW + timedelta(seconds=120)
    bad = replace(good, fast=fast, slow=slow, batches=batches_of(slow, fast, later))
    return replace(settled(ready), measurement=bad, measured_at=later)


def test_a_step_that_the_others_forbid_is_not_taken_and_leaves_no_latch() -> None:
    ready = prepared()
    later = NOW + timedelta(seconds=120)
    stepped = judge(ready, collapsing(ready), later)
    assert stepped.stepped_at == later
    looked = replace(collapsing(ready), fleet=Fleet(judged=4, stepping=3))
    kept = judge(ready, looked, later)
    assert kept.stepped_at is None
    assert (kept.apply, kept.status.rollback, kept.status.history) == (None, None, ())
    assert kept.status.mode is Mode.QUANTIZED_DRAFT
    assert conditions(kept)["SpeculationActive"] == ("True", "CircuitBreakerOpen")
    stored = body(**{"metadata.resourceVersion": "3", "status": kept.status.to_wire()})
    again = judge(ready, replace(looked, body=stored, fleet=Fleet(judged=9, stepping=1)), later)
    assert again.is_quiet, "once held it stays held, and the first wording stands"
