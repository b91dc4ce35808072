"""The walk from what was read to what should be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import ABSENT, GIB, NOW, body, measurement

from specdecode.api.vocabulary import Mode
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
        has_service=True,
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
        pytest.param({"has_service": False}, id="its Service is gone"),
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
    early = replace(settled(ready), measurement=bad, measured_at=NOW + timedelta(seconds=30))
    assert judge(ready, early, later).apply is None
    fresh = replace(early, measured_at=later)
    outcome = judge(ready, fresh, later)
    assert outcome.apply is not None
    assert outcome.status.rollback is not None
    assert outcome.status.rollback.reason == "AcceptanceCollapsed"
