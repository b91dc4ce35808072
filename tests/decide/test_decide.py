"""The judgement as a whole: when it steps, when it must not, and that it comes to rest."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import (
    GIB,
    NOW,
    child,
    condition,
    histogram,
    measurement,
    mode_plan,
    off_band,
    off_baseline,
    plan,
    pod_fact,
    resource,
    situation,
    status,
    window,
)

from specdecode.api.status import (
    BaselineStatus,
    ConditionType,
    DraftBaseline,
    ExonerationStatus,
    Helped,
    HistoryEntry,
    LoadPoint,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.decide.decide import Situation, decide
from specdecode.decide.decision import Decision, Reason, Step
from specdecode.decide.facts import Availability, Measurement, Window
from specdecode.status import Visit, next_status

QUANTIZED, DRAFT, NGRAM, OFF = Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.NGRAM, Mode.OFF
HASH = resource().spec_hash

COLLAPSED = measurement(fast=window(seconds=60.0, drafts=800.0, draft_tokens=4000.0, accepted_tokens=40.0))
LOW = window(accepted_tokens=8000.0, step_seconds_sum=88.0)
BELOW_FLOOR = measurement(slow=LOW, fast=LOW)
RECOMMEND = {"spec.guard": {"action": "Recommend"}}


def settled_for(seconds: float) -> SpecDecodeDeploymentStatus:
    return status(
        conditions=(
            condition(ConditionType.RECONCILING, "False", seconds_ago=seconds),
            condition(ConditionType.METRICS_AVAILABLE, "True"),
        )
    )


def test_a_collapse_becomes_a_latch_with_its_evidence() -> None:
    decision = decide(situation(measurement=COLLAPSED))
    latch = decision.rollback
    assert latch is not None
    assert (decision.mode, decision.step, decision.reason) == (NGRAM, Step.DOWN, Reason.ACCEPTANCE_COLLAPSED)
    assert (latch.from_mode, latch.to, latch.reason) == (QUANTIZED, NGRAM, "AcceptanceCollapsed")
    assert (latch.spec_hash, latch.at, latch.attempts, latch.helped) == (HASH, NOW, 1, Helped.UNKNOWN)
    assert latch.message == decision.message == decision.findings[0].message
    assert [item.name for item in latch.evidence] == ["acceptanceLength", "drafts", "draftTokens", "window"]
    assert latch.before is not None
    assert latch.before.tpot_mean == "20ms"


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        pytest.param(situation(), Reason.AS_REQUESTED, id="healthy"),
        pytest.param(
            situation(measurement=Measurement(Availability.NO_TRAFFIC, "idle", QUANTIZED, slow=window())),
            Reason.NOT_MEASURED,
            id="no traffic",
        ),
        pytest.param(
            situation(measurement=replace(COLLAPSED, availability=Availability.NO_DATA, cause="the pods are down")),
            Reason.NOT_MEASURED,
            id="no data, whatever the numbers say",
        ),
        pytest.param(
            situation(measurement=replace(COLLAPSED, availability=Availability.UNREACHABLE, cause="refused")),
            Reason.NOT_MEASURED,
            id="Prometheus is gone: keep what runs",
        ),
        pytest.param(
            situation(measurement=replace(COLLAPSED, mode=OFF)), Reason.NOT_MEASURED, id="measured of another mode"
        ),
        pytest.param(
            situation(measurement=COLLAPSED, child=child(ready_replicas=1)), Reason.ROLLOUT_RUNNING, id="rolling out"
        ),
        pytest.param(situation(measurement=COLLAPSED, child=None), Reason.ROLLOUT_RUNNING, id="not created yet"),
        pytest.param(
            situation(measurement=COLLAPSED, child=child(mode=OFF)), Reason.ROLLOUT_RUNNING, id="another mode runs"
        ),
        pytest.param(situation(measurement=COLLAPSED, child=child(is_ours=False)), Reason.NOT_MEASURED, id="not ours"),
        pytest.param(
            situation(measurement=COLLAPSED, status=settled_for(29)), Reason.SETTLING, id="not two scrapes yet"
        ),
        pytest.param(
            situation(measurement=BELOW_FLOOR, status=settled_for(299)), Reason.SETTLING, id="not a slow window yet"
        ),
        pytest.param(
            situation(measurement=COLLAPSED, annotations={"specdecode.io/paused": "true"}), Reason.PAUSED, id="paused"
        ),
        pytest.param(
            situation(measurement=COLLAPSED, annotations={"specdecode.io/force-mode": "QuantizedDraft"}),
            Reason.FORCED,
            id="forced",
        ),
        pytest.param(
            situation(measurement=measurement(fast=window(drafts=199.0, draft_tokens=995.0, accepted_tokens=0.0))),
            Reason.AS_REQUESTED,
            id="199 drafts",
        ),
    ],
)
def test_must_not_act(at: Situation, reason: Reason) -> None:
    decision = decide(at)
    assert (decision.mode, decision.step, decision.reason) == (QUANTIZED, Step.KEEP, reason)
    assert (decision.rollback, decision.recommended) == (None, None)
    assert decision.message


@pytest.mark.parametrize(
    ("at", "mode", "reason"),
    [
        pytest.param(
            situation(measurement=COLLAPSED, status=settled_for(60)),
            NGRAM,
            Reason.ACCEPTANCE_COLLAPSED,
            id="a collapse waits for one fast window only",
        ),
        pytest.param(
            situation(measurement=BELOW_FLOOR, status=settled_for(300)),
            OFF,
            Reason.ACCEPTANCE_BELOW_FLOOR,
            id="the floor waits for the whole window",
        ),
        pytest.param(
            situation(
                child=child(ready_replicas=0),
                pods=(
                    pod_fact(
                        is_ready=False,
                        restarts=4,
                        waiting_reason="CrashLoopBackOff",
                        created_at=NOW - timedelta(minutes=4),
                    ),
                ),
                measurement=Measurement(Availability.NO_DATA, "the pods are down"),
                plan=plan(QUANTIZED, mode_plan(DRAFT, kv_cache_bytes_per_gpu=GIB), NGRAM, OFF),
            ),
            NGRAM,
            Reason.ENGINE_NOT_STARTING,
            id="a crash loop is judged without metrics and during the rollout",
        ),
        pytest.param(
            situation(
                measurement=measurement(slow=LOW, fast=COLLAPSED.fast),
            ),
            NGRAM,
            Reason.ACCEPTANCE_COLLAPSED,
            id="of two findings the worse one decides",
        ),
    ],
)
def test_steps_down(at: Situation, mode: Mode, reason: Reason) -> None:
    decision = decide(at)
    assert (decision.mode, decision.step, decision.reason) == (mode, Step.DOWN, reason)


def test_a_start_that_failed_has_nothing_to_compare_with_later() -> None:
    crashing = pod_fact(
        is_ready=False, restarts=4, waiting_reason="CrashLoopBackOff", created_at=NOW - timedelta(minutes=4)
    )
    decision = decide(situation(child=child(ready_replicas=0), pods=(crashing,)))
    assert decision.rollback is not None
    assert decision.rollback.before is None


def test_the_second_rollback_of_a_spec_is_its_second_attempt() -> None:
    past = HistoryEntry(
        at=NOW, action="RolledBack", spec_hash=HASH, from_mode=QUANTIZED, to=NGRAM, reason="X", message=""
    )
    decision = decide(situation(measurement=COLLAPSED, status=status(history=(past,))))
    assert decision.rollback is not None
    assert decision.rollback.attempts == 2


def test_recommend_changes_nothing_and_says_what_it_would_do() -> None:
    decision = decide(situation(measurement=COLLAPSED, spec=RECOMMEND))
    assert (decision.mode, decision.step, decision.recommended) == (QUANTIZED, Step.KEEP, NGRAM)
    assert (decision.reason, decision.rollback) == (Reason.STEP_DOWN_RECOMMENDED, None)
    assert "the guard recommends NGram" in decision.message
    assert decision.findings[0].reason is Reason.ACCEPTANCE_COLLAPSED


def test_with_no_way_down_the_mode_stays_and_says_so() -> None:
    decision = decide(situation(measurement=COLLAPSED, plan=plan(QUANTIZED, mode_plan(OFF, fits=False))))
    assert (decision.mode, decision.step, decision.reason) == (QUANTIZED, Step.KEEP, Reason.NO_FALLBACK_FITS)
    assert "NoFallbackFits" in decision.message


def test_a_start_that_every_mode_would_fail_is_reported() -> None:
    unpullable = pod_fact(is_ready=False, waiting_reason="ErrImagePull", message="manifest unknown")
    decision = decide(situation(child=child(ready_replicas=0), pods=(unpullable,)))
    assert (decision.mode, decision.step, decision.reason) == (QUANTIZED, Step.KEEP, Reason.ENGINE_NOT_STARTING)
    assert "manifest unknown" in decision.message


def test_a_slow_deployment_without_speculation_keeps_its_reason() -> None:
    slow = window(tpot=histogram(below_seconds={0.05: 0, 0.075: 600}, mean_seconds=0.06))
    seen = measurement(mode=OFF, slow=slow, fast=slow)
    at = situation(
        measurement=seen, child=child(mode=OFF), plan=plan(OFF), spec={"spec.guard": {"latency": {"tpotP99": "40ms"}}}
    )
    decision = decide(at)
    assert (decision.mode, decision.step, decision.reason) == (OFF, Step.KEEP, Reason.NOT_REQUESTED)
    assert decision.findings[0].reason is Reason.LATENCY_OVER_LIMIT


# ---- After a step down. ----


def slow_window(mean_ms: float, **overrides: Any) -> Window:
    tpot = histogram(below_seconds={0.05: 0, 0.075: 600}, mean_seconds=mean_ms / 1000)
    return window(tpot=tpot, drafts=0.0, draft_tokens=0.0, accepted_tokens=0.0, **overrides)


def rollback(**overrides: Any) -> RollbackStatus:
    good = RollbackStatus(
        from_mode=QUANTIZED,
        to=OFF,
        reason="SlowerThanBaseline",
        message="mean TPOT 60 ms",
        at=NOW - timedelta(hours=1),
        spec_hash=HASH,
        before=LoadPoint(tpot_mean="60ms", running_requests=16),
    )
    return good.model_copy(update=overrides)


def after_step(mean_ms: float, latch: RollbackStatus, **overrides: Any) -> Situation:
    seen = slow_window(mean_ms)
    values: dict[str, Any] = {
        "status": status(rollback=latch),
        "child": child(mode=latch.to),
        "measurement": measurement(mode=latch.to, slow=seen, fast=seen),
    }
    return situation(**values | overrides)


@pytest.mark.parametrize(
    ("mean_ms", "latch", "mode", "helped"),
    [
        pytest.param(40, rollback(), OFF, Helped.TRUE, id="it helped: it stays"),
        pytest.param(60, rollback(reason="AcceptanceCollapsed"), OFF, Helped.FALSE, id="acceptance is not undone"),
        pytest.param(40, rollback(before=None), OFF, Helped.UNKNOWN, id="nothing to compare with"),
    ],
)
def test_the_latch_holds_and_learns(mean_ms: float, latch: RollbackStatus, mode: Mode, helped: Helped) -> None:
    decision = decide(after_step(mean_ms, latch))
    assert (decision.mode, decision.step, decision.reason) == (mode, Step.KEEP, Reason.ROLLED_BACK)
    assert decision.rollback is not None
    assert decision.rollback.helped is helped


def test_latency_that_did_not_improve_clears_speculation() -> None:
    decision = decide(after_step(60, rollback()))
    assert (decision.mode, decision.step) == (QUANTIZED, Step.UP)
    assert (decision.reason, decision.exonerated_reason) == (
        Reason.SPECULATION_NOT_THE_CAUSE,
        Reason.SLOWER_THAN_BASELINE,
    )
    assert decision.rollback is None
    assert "mean TPOT 60ms before and 60ms after it" in decision.message


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"spec": RECOMMEND}, id="the guard only recommends"),
        pytest.param({"plan": plan(mode_plan(QUANTIZED, fits=False), OFF)}, id="the mode before does not fit any more"),
        pytest.param({"plan": plan(OFF)}, id="the mode before left the ladder"),
    ],
)
def test_no_step_back_up(overrides: dict[str, Any]) -> None:
    decision = decide(after_step(60, rollback(), **overrides))
    assert (decision.mode, decision.step) == (OFF, Step.KEEP)
    assert decision.rollback is not None
    assert decision.rollback.helped is Helped.FALSE


def test_no_step_back_up_while_it_settles() -> None:
    latch = rollback(helped=Helped.FALSE)
    at = after_step(60, latch, status=settled_for(100).model_copy(update={"rollback": latch}))
    assert decide(at).step is Step.KEEP


FIRST_STEP = HistoryEntry(
    at=NOW - timedelta(hours=5),
    action="RolledBack",
    spec_hash=HASH,
    from_mode=QUANTIZED,
    to=NGRAM,
    reason="AcceptanceCollapsed",
    message="acceptance length 1.04",
)
OTHER_STEP = FIRST_STEP.model_copy(update={"spec_hash": "otherhash0", "message": "of another spec"})
RETRIED = FIRST_STEP.model_copy(update={"action": "Retried", "message": "no step down"})


@pytest.mark.parametrize(
    ("history", "reason", "message"),
    [
        pytest.param(
            (OTHER_STEP, RETRIED, FIRST_STEP), "AcceptanceCollapsed", "acceptance length 1.04", id="as history has it"
        ),
        pytest.param((), "RolledBack", "NGram runs instead of QuantizedDraft", id="history is gone"),
    ],
)
def test_going_back_one_step_keeps_the_step_before(
    history: tuple[HistoryEntry, ...], reason: str, message: str
) -> None:
    latch = rollback(from_mode=NGRAM)
    decision = decide(after_step(60, latch, status=status(rollback=latch, history=history)))
    earlier = decision.rollback
    assert (decision.mode, decision.step) == (NGRAM, Step.UP)
    assert earlier is not None
    assert (earlier.from_mode, earlier.to, earlier.reason, earlier.helped) == (QUANTIZED, NGRAM, reason, Helped.UNKNOWN)
    assert earlier.message.startswith(message)


def test_a_fallback_that_fails_as_well_is_left_for_the_next() -> None:
    latch = rollback(to=DRAFT, reason="QuantizationDrop")
    seen = replace(COLLAPSED, mode=DRAFT)
    decision = decide(situation(status=status(rollback=latch), child=child(mode=DRAFT), measurement=seen))
    assert (decision.mode, decision.step) == (NGRAM, Step.DOWN)
    assert decision.rollback is not None
    assert (decision.rollback.from_mode, decision.rollback.to) == (DRAFT, NGRAM)


def test_while_nothing_is_measured_the_latch_stays_as_it_is() -> None:
    gone = Measurement(Availability.UNREACHABLE, "connection refused")
    decision = decide(after_step(60, rollback(), measurement=gone))
    assert (decision.mode, decision.reason, decision.rollback) == (OFF, Reason.NOT_MEASURED, rollback())


# ---- It comes to rest. ----


def remembered(at: Situation, decision: Decision) -> SpecDecodeDeploymentStatus:
    """The status that the operator writes after a decision, before the Deployment is applied."""
    return next_status(
        Visit(
            metadata=at.resource.metadata,
            old=at.status,
            now=at.now,
            spec_hash=at.resource.spec_hash,
            cluster=at.cluster,
            measurement=at.measurement,
            is_paused=False,
            fast_window_seconds=60,
            plan=at.plan,
            decision=decision,
            baseline=at.status.baseline,
        )
    )


OFF_IS_FASTER = BaselineStatus(
    off=off_baseline(off_band("10ms")),
    draft=DraftBaseline(key=plan().draft_key, acceptance_rate_percent="75.0", draft_tokens=20_000, at=NOW),
)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(situation(), id="healthy"),
        pytest.param(situation(measurement=COLLAPSED), id="collapsed"),
        pytest.param(situation(measurement=COLLAPSED, status=status(baseline=OFF_IS_FASTER)), id="draft taken back"),
        pytest.param(situation(measurement=BELOW_FLOOR), id="below the floor"),
        pytest.param(situation(status=status(baseline=OFF_IS_FASTER)), id="slower than the baseline"),
        pytest.param(situation(measurement=COLLAPSED, spec=RECOMMEND), id="recommended"),
        pytest.param(after_step(60, rollback()), id="stepped back up"),
        pytest.param(after_step(60, rollback(from_mode=NGRAM)), id="stepped back up one rung"),
        pytest.param(after_step(40, rollback()), id="it helped"),
        pytest.param(after_step(40, rollback(spec_hash="otherhash0")), id="re-armed"),
        pytest.param(after_step(40, rollback(), annotations={"specdecode.io/retry": "1"}), id="retried"),
        pytest.param(
            after_step(40, rollback(at=NOW - timedelta(days=2)), spec={"spec.guard": {"retry": {"after": "24h"}}}),
            id="retried by time",
        ),
        pytest.param(
            situation(
                status=SpecDecodeDeploymentStatus(),
                child=child(mode=OFF, rolled_back_for=HASH, rolled_back_from=QUANTIZED, reason="AcceptanceCollapsed"),
                annotations={"specdecode.io/retry": "1"},
            ),
            id="status was lost",
        ),
        pytest.param(
            situation(
                measurement=COLLAPSED,
                status=status(exoneration=ExonerationStatus(spec_hash=HASH, reason="LatencyOverLimit", at=NOW)),
            ),
            id="exonerated, then collapsed",
        ),
    ],
)
def test_deciding_again_in_the_same_world_changes_nothing(at: Situation) -> None:
    first = decide(at)
    assert decide(at) == first
    again = replace(at, resource=at.resource.model_copy(update={"status": remembered(at, first)}))
    second = decide(again)
    assert (second.mode, second.step, second.rollback) == (first.mode, Step.KEEP, first.rollback)
    assert second.acknowledged_retry is None
    assert remembered(again, second).history == again.status.history
