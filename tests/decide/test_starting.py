"""An engine that does not start: what steps down, and what would meet every mode alike."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import GIB, NOW, child, mode_plan, plan, pod_fact, situation

from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Child, PodFact
from specdecode.decide.situation import Stage, View
from specdecode.decide.starting import engine_not_starting
from specdecode.plan.startup import startup_budget_seconds
from specdecode.plan.types import Plan

MODE = Mode.QUANTIZED_DRAFT
ROLLING = child(ready_replicas=0)
BUDGET = startup_budget_seconds(mode_plan().load_bytes)


def pod(*, age_seconds: float = 300, **overrides: Any) -> PodFact:
    return pod_fact(is_ready=False, created_at=NOW - timedelta(seconds=age_seconds), **overrides)


def crashing(**overrides: Any) -> PodFact:
    facts: dict[str, Any] = {"restarts": 3, "waiting_reason": "CrashLoopBackOff", "message": "OutOfMemoryError: CUDA"}
    return pod(**facts | overrides)


def judged(*pods: PodFact, of: Child | None = ROLLING, ladder: Plan | None = None) -> Finding | None:
    at = situation(child=of, pods=pods, plan=ladder or plan())
    return engine_not_starting(View(at, MODE, Stage.STARTING))


@pytest.mark.parametrize(
    "fact",
    [
        pytest.param(crashing(), id="three restarts and waiting for the next: a crash loop"),
        pytest.param(pod(age_seconds=BUDGET + 1), id="not ready for longer than the budget of its weights"),
        pytest.param(
            crashing(restarts=1, age_seconds=BUDGET + 1), id="two restarts, but longer than the budget altogether"
        ),
    ],
)
def test_steps_down(fact: PodFact) -> None:
    finding = judged(fact)
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.ENGINE_NOT_STARTING, Mode.DRAFT)
    assert fact.name in finding.message


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param((), id="no pod yet"),
        pytest.param((pod(),), id="still loading"),
        pytest.param((crashing(restarts=2),), id="two restarts may be chance"),
        pytest.param((crashing(waiting_reason=""),), id="restarted and running again"),
        pytest.param((replace(crashing(), is_ready=True),), id="it serves"),
        pytest.param((replace(crashing(), is_terminating=True),), id="it is on its way out"),
        pytest.param((crashing(mode=Mode.OFF),), id="a pod of another mode"),
        pytest.param(
            (crashing(age_seconds=90_000, not_ready_since=NOW - timedelta(seconds=5)),),
            id="served for a day, crashed just now",
        ),
        pytest.param(
            (pod(age_seconds=90_000, not_ready_since=NOW - timedelta(seconds=60)),),
            id="served for a day, not ready for a minute",
        ),
        pytest.param(
            (pod(age_seconds=90_000, waiting_reason="Evicted"),), id="an evicted pod that nobody cleared away"
        ),
        pytest.param((pod(age_seconds=60, is_pending=True),), id="waits for the GPU of the pod it replaces"),
    ],
)
def test_must_not_act(pods: tuple[PodFact, ...]) -> None:
    assert judged(*pods) is None


@pytest.mark.parametrize(
    ("of", "fact", "steps"),
    [
        pytest.param(
            child(ready_replicas=0, progress_deadline_exceeded=True),
            pod(),
            True,
            id="the Deployment's deadline is over",
        ),
        pytest.param(
            child(ready_replicas=0, progress_deadline_exceeded=True, generation=2),
            pod(),
            False,
            id="the deadline of an older template",
        ),
        pytest.param(
            child(ready_replicas=0, progress_deadline_exceeded=True),
            pod(age_seconds=9000, not_ready_since=NOW - timedelta(seconds=30)),
            False,
            id="most of the deadline was spent waiting for a node",
        ),
        pytest.param(None, pod(), False, id="the Deployment is gone"),
        pytest.param(child(), crashing(), False, id="everything serves: a crash of the past"),
    ],
)
def test_the_deadline_of_the_deployment(of: Child | None, fact: PodFact, *, steps: bool) -> None:
    assert (judged(fact, of=of) is not None) is steps


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        pytest.param(
            pod(waiting_reason="ErrImagePull", message="not found"),
            'ErrImagePull, last words "not found"',
            id="no image",
        ),
        pytest.param(
            pod(waiting_reason="CreateContainerConfigError", message='secret "hf" not found', age_seconds=90_000),
            "CreateContainerConfigError",
            id="no Secret",
        ),
        pytest.param(
            pod(
                is_pending=True, waiting_reason="Unschedulable", message="0/4 nodes are available: 4 Insufficient gpu."
            ),
            "was not given a node since 2026-11-22T11:55:00Z",
            id="no GPU is free",
        ),
    ],
)
def test_what_every_mode_would_meet_is_reported_and_steps_nowhere(fact: PodFact, words: str) -> None:
    finding = judged(fact, of=child(ready_replicas=0, progress_deadline_exceeded=True))
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.ENGINE_NOT_STARTING, None)
    assert words in finding.message
    assert "every mode would meet the same" in finding.message


def test_a_crash_outranks_a_pod_that_waits_for_a_node() -> None:
    finding = judged(pod(is_pending=True, age_seconds=500), crashing(age_seconds=100))
    assert finding is not None
    assert finding.target is Mode.DRAFT


HEAVY_DRAFT = mode_plan(Mode.DRAFT, kv_cache_bytes_per_gpu=20 * GIB)


@pytest.mark.parametrize(
    ("ladder", "target"),
    [
        pytest.param(
            plan(MODE, HEAVY_DRAFT, Mode.NGRAM, Mode.OFF), Mode.NGRAM, id="past a mode that needs more memory"
        ),
        pytest.param(plan(MODE, Mode.OFF), Mode.OFF, id="straight to Off"),
        pytest.param(plan(MODE, HEAVY_DRAFT), None, id="nothing below needs less"),
        pytest.param(plan(Mode.OFF), Mode.OFF, id="the mode left the ladder with an upgrade of the operator"),
    ],
)
def test_the_next_mode_needs_less(ladder: Plan, target: Mode | None) -> None:
    finding = judged(crashing(), ladder=ladder)
    assert finding is not None
    assert finding.target is target


def test_the_last_words_are_short_and_on_one_line() -> None:
    finding = judged(crashing(message="Traceback\n" + "x" * 500 + "\ntorch.OutOfMemoryError"))
    assert finding is not None
    assert "\n" not in finding.message
    assert 'x torch.OutOfMemoryError"' in finding.message
    assert len(finding.message) < 450


def test_silence_of_the_container_is_not_quoted() -> None:
    finding = judged(crashing(message=""))
    assert finding is not None
    assert "last words" not in finding.message


def test_off_has_nowhere_to_go() -> None:
    at = situation(child=child(mode=Mode.OFF, ready_replicas=0), pods=(crashing(mode=Mode.OFF),))
    finding = engine_not_starting(View(at, Mode.OFF, Stage.STARTING))
    assert finding is not None
    assert finding.target is None
