"""The next status: a function of the old one and of what this visit found. Pure.

Status is a value: computed, compared, written only if different. `lastTransitionTime` moves only on a flip. Computing
it twice changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from specdecode.api.resource import Metadata, Rejection
from specdecode.api.status import (
    HISTORY_LIMIT,
    BaselineStatus,
    CalibrationStatus,
    Condition,
    ConditionStatus,
    ConditionType,
    ExonerationStatus,
    HistoryEntry,
    ObservedStatus,
    Rules,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.decide.breaker import HELD
from specdecode.decide.decision import Decision, Reason, Step
from specdecode.decide.explain import next_decision
from specdecode.decide.facts import Availability, Cluster, Measurement
from specdecode.decide.latch import CONFIRMED_ACTION, RETRIED_ACTION
from specdecode.findings import next_findings
from specdecode.plan.types import Plan
from specdecode.summary import plan_status, size_text, worth_writing

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN

Answer = tuple[ConditionStatus, str, str]


OWNERSHIP_CONFLICT = "OwnershipConflict"
"""An object that is not ours stands where one of ours should. It is looked at again at every visit."""

AWAITING_DELETION = "AwaitingDeletion"
"""An object of a deleted resource of the same name stands where one of ours should. It goes by itself."""

IN_THE_WAY = (OWNERSHIP_CONFLICT, AWAITING_DELETION)
"""Reasons of failures that end as soon as the object is gone."""

LOOKING_UP = "LookingUp"
"""Reason of a refusal that lasts only until a model has been looked up: nobody has to do anything."""


@dataclass(frozen=True)
class ApplyFailure:
    """The API server's answer to the last apply."""

    reason: str
    """CamelCase: ApplyRefused, ApplyForbidden, OwnershipConflict, AwaitingDeletion."""
    message: str
    is_final: bool
    """Only another spec, or a person, helps."""
    intent_hash: str
    """Of the objects that were refused."""


@dataclass(frozen=True)
class Visit:
    """Everything one visit to one resource found."""

    metadata: Metadata
    old: SpecDecodeDeploymentStatus
    now: datetime
    """UTC, whole seconds."""
    spec_hash: str | None
    cluster: Cluster
    measurement: Measurement
    is_paused: bool
    fast_window_seconds: float
    """Four scrapes: what a pod that just became ready may take until it is measured."""
    has_measured: bool = True
    """Whether this process has measured, or tried to, since it started."""
    refusal: Rejection | None = None
    """The spec is invalid, or cannot be planned, or does not fit: what runs is left alone."""
    plan: Plan | None = None
    decision: Decision | None = None
    """None exactly when refused."""
    rules: Rules = ()
    """What each rule saw, of a decision that is another than the last one."""
    is_applied: bool = False
    """Whether the owned Deployment of the main arm carries what the decision wants."""
    failure: ApplyFailure | None = None
    observed: ObservedStatus | None = None
    baseline: BaselineStatus | None = None
    calibration: tuple[CalibrationStatus, ...] = ()
    selector: str = ""
    control_problem: str = ""
    """Why a wanted control replica does not run; empty: it does, or none is wanted."""

    @property
    def is_looking_up(self) -> bool:
        """Whether the refusal is only that a model is still being looked up."""
        return self.refusal is not None and self.refusal.reason == LOOKING_UP

    @property
    def verdict(self) -> str:
        """What has become of a spec that is not planned."""
        return "waits for its model" if self.is_looking_up else "is refused"

    @property
    def replicas(self) -> int:
        """Pods of both arms."""
        return sum(arm.replicas for arm in (self.cluster.child, self.cluster.control) if arm is not None)

    @property
    def ready_replicas(self) -> int:
        """Pods of both arms that answer."""
        return sum(arm.ready_replicas for arm in (self.cluster.child, self.cluster.control) if arm is not None)

    @property
    def running_mode(self) -> Mode | None:
        """The mode of the owned Deployment."""
        return None if self.cluster.child is None else self.cluster.child.mode


def _ready(visit: Visit) -> Answer:
    child = visit.cluster.child
    if child is None:
        if visit.refusal is not None:
            return FALSE, visit.refusal.reason, f"nothing runs: the spec {visit.verdict}"
        return FALSE, "NotCreated", "the Deployment does not exist yet"
    if child.desired_replicas == 0:
        return TRUE, "ScaledToZero", "no replicas are asked for"
    control = visit.cluster.control
    desired_replicas = child.desired_replicas + (control.desired_replicas if control else 0)
    counts = f"{visit.ready_replicas} of {desired_replicas} replicas are ready"
    is_wanted = visit.is_applied or visit.refusal is not None or visit.is_paused
    if child.is_rolled_out and is_wanted:
        return TRUE, "Serving", f"{counts}, mode {child.mode or 'unknown'}"
    if visit.ready_replicas == 0:
        return FALSE, "NoReadyReplica", counts
    return FALSE, "RolloutRunning", counts


def _planned(visit: Visit) -> Answer:
    if visit.refusal is not None:
        return UNKNOWN if visit.is_looking_up else FALSE, visit.refusal.reason, str(visit.refusal)
    assert visit.plan is not None, "what is not refused was planned"
    requested = visit.plan.requested
    message = (
        f"{requested.mode} fits: {size_text(requested.kv_cache_bytes_per_gpu)} per GPU for the KV cache, "
        f"{requested.kv_cache_tokens} tokens, {requested.requests_at_max_model_len:.1f} requests of maxModelLen"
    )
    return TRUE, "Fits", message


def _speculation_of_running(visit: Visit) -> ConditionStatus:
    if visit.running_mode is None:
        return FALSE
    return FALSE if visit.running_mode is Mode.OFF else TRUE


def _speculation_when_on(visit: Visit, decision: Decision) -> Answer:
    status, reason, message = _speculation_if_free(visit, decision)
    return (status, decision.reason, decision.message) if decision.reason in HELD else (status, reason, message)


def _speculation_if_free(visit: Visit, decision: Decision) -> Answer:
    if decision.recommended is not None:
        return TRUE, Reason.STEP_DOWN_RECOMMENDED, decision.message
    unknown = _unless_it_runs(visit, decision)
    if unknown is not None:
        return unknown
    if decision.rollback is not None:
        return TRUE, Reason.ROLLED_BACK, decision.rollback.message
    if decision.reason is Reason.FORCED:
        return TRUE, Reason.FORCED, decision.message
    is_other = visit.plan is not None and decision.mode is not visit.plan.requested_mode
    if is_other and not visit.is_paused:
        return TRUE, Reason.QUALIFYING, f"guard.qualify: {decision.mode} runs first, until what it accepts is known"
    return TRUE, Reason.AS_REQUESTED, f"{decision.mode} runs as requested"


def _unless_it_runs(visit: Visit, decision: Decision) -> Answer | None:
    child = visit.cluster.child
    if visit.is_paused:
        return (UNKNOWN, Reason.PAUSED, "paused before anything ran") if child is None else None
    if child is None or not visit.is_applied or not child.is_rolled_out:
        return UNKNOWN, Reason.ROLLOUT_RUNNING, f"{decision.mode} is being rolled out"
    return None


def _speculation_when_off(_: Visit, decision: Decision) -> Answer:
    if decision.rollback is not None:
        return FALSE, Reason.ROLLED_BACK, decision.rollback.message
    if decision.reason in (Reason.FORCED, Reason.PAUSED):
        return FALSE, decision.reason, decision.message
    return FALSE, Reason.NOT_REQUESTED, "the spec asks for no speculation"


def _speculation_active(visit: Visit) -> Answer:
    decision = visit.decision
    if decision is not None:
        judge = _speculation_when_off if decision.mode is Mode.OFF else _speculation_when_on
        return judge(visit, decision)
    assert visit.refusal is not None, "what is not decided was refused"
    running = f"{visit.running_mode} keeps running" if visit.running_mode else "nothing runs"
    return _speculation_of_running(visit), visit.refusal.reason, f"the new spec {visit.verdict}; {running}"


def _is_newly_ready(visit: Visit) -> bool:
    old = visit.old.condition(ConditionType.READY)
    if old is None or old.status is not TRUE:
        return True
    return (visit.now - old.last_transition_time).total_seconds() < visit.fast_window_seconds


def _metrics_available(visit: Visit) -> Answer:
    child = visit.cluster.child
    if child is None or child.ready_replicas == 0:
        return UNKNOWN, "NothingRuns", "no engine answers that could be measured"
    if visit.refusal is not None:
        return UNKNOWN, "NotJudged", f"while the new spec {visit.verdict}, what runs is left alone and not judged"
    old = visit.old.condition(ConditionType.METRICS_AVAILABLE)
    if not visit.has_measured and old is not None:
        # A restarted process has not asked yet: what its predecessor saw stands, and with it since when it is settled.
        return old.status, old.reason, old.message
    return _measured(visit)


def _measured(visit: Visit) -> Answer:
    availability = visit.measurement.availability
    if availability is Availability.MEASURED:
        return TRUE, availability, "acceptance and latency are measured"
    if availability is Availability.NO_TRAFFIC:
        return TRUE, availability, "the engine is scraped and gets no requests"
    if availability is Availability.NO_DATA and _is_newly_ready(visit):
        return UNKNOWN, "FirstScrapeAwaited", "the engine has just become ready; its first scrapes are awaited"
    return UNKNOWN, availability, visit.measurement.cause or "nothing was measured yet"


def _paused(visit: Visit) -> Answer:
    if visit.is_paused:
        return TRUE, "Annotation", "specdecode.io/paused is set: nothing is changed until it is removed"
    return FALSE, "NotPaused", ""


def _stuck_finding(visit: Visit) -> str | None:
    for finding in visit.decision.findings if visit.decision else ():
        if finding.reason is Reason.ENGINE_NOT_STARTING and finding.target is None:
            return finding.message
    return None


def _stalled(visit: Visit) -> Answer:
    if visit.refusal is not None and not visit.is_looking_up:
        return TRUE, visit.refusal.reason, str(visit.refusal)
    if visit.failure is not None and visit.failure.is_final:
        return TRUE, visit.failure.reason, visit.failure.message
    stuck = _stuck_finding(visit)
    if stuck is not None:
        return TRUE, Reason.ENGINE_NOT_STARTING, stuck
    return FALSE, "Progressing", ""


def _unless_at_work(visit: Visit) -> Answer | None:
    if _stalled(visit)[0] is TRUE:
        return FALSE, "Stalled", "see the condition Stalled"
    if visit.is_paused:
        return FALSE, "Paused", ""
    return None


def _unless_free_to_go_on(visit: Visit) -> Answer | None:
    if visit.is_looking_up:
        return TRUE, LOOKING_UP, str(visit.refusal)
    if visit.failure is not None:
        return TRUE, visit.failure.reason, visit.failure.message
    return None


def _rolling_out(visit: Visit) -> Answer:
    child = visit.cluster.child
    mode = visit.decision.mode if visit.decision else None
    if child is None or not visit.is_applied:
        return TRUE, "Applying", f"{mode} is being applied"
    if child.desired_replicas > 0 and not child.is_rolled_out:
        return TRUE, "RolloutRunning", f"{mode} is being rolled out"
    return FALSE, "RolledOut", ""


def _reconciling(visit: Visit) -> Answer:
    return _unless_at_work(visit) or _unless_free_to_go_on(visit) or _rolling_out(visit)


_QUESTIONS = (
    (ConditionType.READY, _ready),
    (ConditionType.PLANNED, _planned),
    (ConditionType.SPECULATION_ACTIVE, _speculation_active),
    (ConditionType.METRICS_AVAILABLE, _metrics_available),
    (ConditionType.PAUSED, _paused),
    (ConditionType.RECONCILING, _reconciling),
    (ConditionType.STALLED, _stalled),
)


def _is_restated(old: Condition, answer: Answer) -> bool:
    """What is repeated at every tick with fresh numbers; the first wording stands."""
    return old.reason == answer[1] and old.reason in (Reason.STEP_DOWN_RECOMMENDED, Reason.CIRCUIT_BREAKER_OPEN)


def _condition(visit: Visit, kind: ConditionType, answer: Answer) -> Condition:
    old = visit.old.condition(kind)
    status, reason, message = answer
    if old is not None and _is_restated(old, answer):
        message = old.message
    has_flipped = old is None or old.status is not status
    return Condition(
        type=kind,
        status=status,
        reason=str(reason),
        message=message[:4096],
        observed_generation=visit.metadata.generation,
        last_transition_time=visit.now if has_flipped or old is None else old.last_transition_time,
    )


_ACTIONS = {
    Reason.RETRIED: RETRIED_ACTION,
    Reason.REARMED: "Rearmed",
    Reason.SPECULATION_NOT_THE_CAUSE: "SteppedBackUp",
}


def _new_entry(visit: Visit, decision: Decision) -> HistoryEntry | None:
    """What this visit adds to the history, if anything."""
    rollback = decision.rollback
    spec_hash = visit.spec_hash or ""
    if decision.step is Step.DOWN and rollback is not None:
        return HistoryEntry(
            at=rollback.at,
            action="RolledBack",
            spec_hash=spec_hash,
            attempts=rollback.attempts,
            from_mode=rollback.from_mode,
            to=rollback.to,
            reason=rollback.reason,
            message=rollback.message,
        )
    if decision.step is Step.UP and visit.old.rollback is not None:
        action = _ACTIONS.get(decision.reason, "Rearmed")
        old_mode = visit.old.rollback.to
        to_mode = decision.mode
    elif decision.reason is Reason.CONFIRMED:
        action, old_mode, to_mode = CONFIRMED_ACTION, decision.mode, decision.mode
    elif decision.reason is Reason.QUALIFIED:
        action, old_mode, to_mode = "Qualified", Mode.DRAFT, decision.mode
    elif decision.recommended is not None and not _was_recommended(visit.old):
        action, old_mode, to_mode = "Recommended", decision.mode, decision.recommended
    else:
        return None
    return HistoryEntry(
        at=visit.now,
        action=action,
        spec_hash=spec_hash,
        from_mode=old_mode,
        to=to_mode,
        reason=_leading_reason(decision),
        message=decision.message,
    )


def _was_recommended(old: SpecDecodeDeploymentStatus) -> bool:
    condition = old.condition(ConditionType.SPECULATION_ACTIVE)
    return condition is not None and condition.reason == Reason.STEP_DOWN_RECOMMENDED


def _leading_reason(decision: Decision) -> str:
    if decision.recommended is not None and decision.findings:
        return decision.findings[0].reason
    return decision.reason


def _history(visit: Visit, decision: Decision) -> tuple[HistoryEntry, ...]:
    entry = _new_entry(visit, decision)
    old = visit.old.history
    if entry is None or (old and (old[0].at, old[0].action, old[0].to) == (entry.at, entry.action, entry.to)):
        return old
    return (entry, *old)[:HISTORY_LIMIT]


def _exoneration(visit: Visit, decision: Decision) -> ExonerationStatus | None:
    if decision.exonerated_reason is not None:
        return ExonerationStatus(spec_hash=visit.spec_hash or "", reason=decision.exonerated_reason, at=visit.now)
    old = visit.old.exoneration
    return old if old is not None and old.spec_hash == visit.spec_hash else None


def _decided(visit: Visit, decision: Decision) -> dict[str, object]:
    return {
        "spec_hash": visit.spec_hash,
        "mode": decision.mode,
        "rollback": decision.rollback,
        "exoneration": _exoneration(visit, decision),
        "acknowledged_retry": decision.acknowledged_retry or visit.old.acknowledged_retry,
        "history": _history(visit, decision),
        "decision": next_decision(
            visit.old.decision,
            decision,
            visit.spec_hash or "",
            visit.rules,
            visit.now,
            has_measured=visit.has_measured,
        ),
        "findings": next_findings(visit.old, decision, visit.spec_hash, visit.control_problem, now=visit.now),
        "baseline": visit.baseline,
        "calibration": visit.calibration,
    }


def next_status(visit: Visit) -> SpecDecodeDeploymentStatus:
    """The status after this visit."""
    observed = visit.observed if worth_writing(visit.old.observed, visit.observed) else visit.old.observed
    changes: dict[str, object] = {
        "observed_generation": visit.metadata.generation,
        "replicas": visit.replicas,
        "ready_replicas": visit.ready_replicas,
        "selector": visit.selector,
        "plan": plan_status(visit.plan, visit.spec_hash, visit.calibration) if visit.plan else visit.old.plan,
        "observed": observed,
        "conditions": tuple(_condition(visit, kind, question(visit)) for kind, question in _QUESTIONS),
    }
    if visit.decision is not None:
        changes |= _decided(visit, visit.decision)
    return visit.old.model_copy(update=changes)
