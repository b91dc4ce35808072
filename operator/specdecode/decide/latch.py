"""Which mode is asked for, before anything is judged: pause, force, latch, retry, re-arm. It reads annotations, status
and the second record on the owned Deployment, and of the measurement only whether there is one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from specdecode.api.guard import RetrySpec
from specdecode.api.status import RollbackStatus, rfc3339
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE, ANNOTATION_PAUSED, ANNOTATION_RETRY, Mode
from specdecode.decide.decision import Finding, Reason, Step
from specdecode.decide.facts import Availability
from specdecode.decide.qualify import first_mode, is_qualifying, progress
from specdecode.decide.situation import Situation
from specdecode.decide.wording import quoted

ROLLED_BACK_ACTION = "RolledBack"
"""`action` of a history entry that was a step down."""

RETRIED_ACTION = "Retried"
"""Of one that was another try."""
CONFIRMED_ACTION = "Confirmed"
"""Of one that says that the other try pays."""
RETRY_WAITS = "its retry is due and waits until the engine is measured"
_END_OF_CALENDAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """The mode that should run as things stand, and why."""

    mode: Mode
    reason: Reason
    message: str
    rollback: RollbackStatus | None = None
    """The latch that holds."""
    step: Step = Step.KEEP
    acknowledged_retry: str | None = None
    advice: tuple[Finding, ...] = ()
    is_judged: bool = False
    """Whether measurements may change it."""


def _rebuilt(situation: Situation) -> RollbackStatus | None:
    """The latch as the owned Deployment remembers it, when status was lost.

    Only a status that was never written counts as lost: after a retry the Deployment still carries the old record
    until it is applied again.
    """
    child = situation.cluster.child
    spec_hash = situation.resource.spec_hash
    if situation.status.spec_hash is not None or child is None or not child.is_ours:
        return None
    if child.rolled_back_for != spec_hash or child.rolled_back_from is None or child.mode is None:
        return None
    return RollbackStatus(
        from_mode=child.rolled_back_from,
        to=child.mode,
        reason=child.reason or Reason.ROLLED_BACK,
        message=f"{child.mode} runs instead of {child.rolled_back_from} ({child.reason or 'reason unknown'}); status "
        f"was lost and this is read from the Deployment; change the spec or set {ANNOTATION_RETRY} to try again",
        at=situation.now,
        spec_hash=spec_hash,
    )


def _latch(situation: Situation) -> RollbackStatus | None:
    return situation.status.rollback or _rebuilt(situation)


def _retry_value(situation: Situation) -> str | None:
    """The retry annotation, unless it was acted on before."""
    value = situation.resource.metadata.retry
    return value if value and value != situation.status.acknowledged_retry else None


def _paused(situation: Situation) -> Asked | None:
    if not situation.resource.metadata.is_paused:
        return None
    child, latch = situation.cluster.child, _latch(situation)
    standing = latch.to if latch else situation.plan.requested_mode
    mode = standing if child is None or child.mode is None else child.mode
    message = f"{ANNOTATION_PAUSED} is set: {mode} stays and nothing is judged until the annotation is removed"
    return Asked(mode, Reason.PAUSED, message, latch)


def _forced_mode(situation: Situation) -> str:
    return situation.resource.metadata.annotations.get(ANNOTATION_FORCE_MODE, "")


def _fitting(situation: Situation) -> tuple[Mode, ...]:
    return tuple(rung.mode for rung in situation.plan.ladder if rung.fits)


def _forced(situation: Situation) -> Asked | None:
    wanted = _forced_mode(situation)
    if wanted not in _fitting(situation):
        return None
    message = f"{ANNOTATION_FORCE_MODE} is set: {wanted} runs and nothing is judged until the annotation is removed"
    return Asked(Mode(wanted), Reason.FORCED, message, _latch(situation))


def _rearmed(situation: Situation) -> Asked | None:
    latch = _latch(situation)
    if latch is None or latch.spec_hash == situation.resource.spec_hash:
        return None
    mode = first_mode(situation)
    message = f"the spec changed since {latch.from_mode} was left for {latch.to}: {mode} is tried"
    return Asked(mode, Reason.REARMED, message, step=Step.UP, acknowledged_retry=_retry_value(situation))


def _retried(situation: Situation) -> Asked | None:
    latch, value = _latch(situation), _retry_value(situation)
    # Without a status nobody knows whether the annotation was acted on before: it is taken as seen, so that a restore
    # does not undo a rollback.
    if latch is None or value is None or situation.status.spec_hash is None:
        return None
    mode = first_mode(situation)
    message = f"{ANNOTATION_RETRY} was set to {quoted(value)}: {mode} is tried again"
    return Asked(mode, Reason.RETRIED, message, step=Step.UP, acknowledged_retry=value)


def next_retry(latch: RollbackStatus, retry: RetrySpec | None) -> datetime | None:
    """When the requested mode is tried again by itself; None: never. Each attempt doubles the wait."""
    if retry is None or latch.attempts > retry.max_attempts:
        return None
    wait_seconds = seconds_of(retry.after) * 2 ** (latch.attempts - 1)
    is_ever = wait_seconds < (_END_OF_CALENDAR - latch.at).total_seconds()
    return latch.at + timedelta(seconds=wait_seconds) if is_ever else None


def _is_blind(situation: Situation) -> bool:
    """Whether nobody could tell what would come of a change."""
    return situation.measurement.availability in (Availability.UNREACHABLE, Availability.NO_DATA)


def _is_retry_due(situation: Situation) -> bool:
    latch = _latch(situation)
    moment = None if latch is None else next_retry(latch, situation.guard.retry)
    return moment is not None and situation.now >= moment


def _retried_by_time(situation: Situation) -> Asked | None:
    """What a person asks for is done at once; what the operator does by itself waits until it can see."""
    latch, retry = _latch(situation), situation.guard.retry
    if latch is None or retry is None or not _is_retry_due(situation) or _is_blind(situation):
        return None
    mode = first_mode(situation)
    message = (
        f"guard.retry: {mode} is tried again after the rollback of {rfc3339(latch.at)}, "
        f"retry {latch.attempts} of {retry.max_attempts}"
    )
    return Asked(mode, Reason.RETRIED, message, step=Step.UP)


def _qualified(situation: Situation) -> Asked | None:
    """The moment at which the unquantised draft has shown what it accepts."""
    is_over = situation.status.mode is Mode.DRAFT and not is_qualifying(situation)
    if not is_over or not situation.guard.qualify or _latch(situation) is not None:
        return None
    mode = situation.plan.requested_mode
    if mode is not Mode.QUANTIZED_DRAFT:
        return None
    message = f"guard.qualify: {Mode.DRAFT} is qualified, {progress(situation)}; {mode} is held against it"
    return Asked(mode, Reason.QUALIFIED, message, step=Step.UP, acknowledged_retry=_retry_value(situation))


def _standing(situation: Situation) -> Asked:
    latch, mode = _latch(situation), situation.plan.requested_mode
    value = _retry_value(situation)
    if latch is not None:
        message = f"{latch.message}; {RETRY_WAITS}" if _is_retry_due(situation) else latch.message
        return Asked(latch.to, Reason.ROLLED_BACK, message, latch, acknowledged_retry=value, is_judged=True)
    if is_qualifying(situation):
        mode = Mode.DRAFT
        reason, message = Reason.QUALIFYING, f"guard.qualify: {mode} runs first, {progress(situation)}"
    elif mode is Mode.OFF:
        reason, message = Reason.NOT_REQUESTED, "the spec asks for no speculation"
    else:
        reason, message = Reason.AS_REQUESTED, f"{mode} runs as requested"
    return Asked(mode, reason, message, acknowledged_retry=value, is_judged=True)


_CHANGES: tuple[Callable[[Situation], Asked | None], ...] = (
    _paused,
    _forced,
    _rearmed,
    _retried,
    _retried_by_time,
    _qualified,
)
"""What overrules the standing mode, strongest first."""


def _unavailable(situation: Situation) -> tuple[Finding, ...]:
    wanted = _forced_mode(situation)
    fitting = _fitting(situation)
    if not wanted or wanted in fitting:
        return ()
    message = f"{ANNOTATION_FORCE_MODE} {quoted(wanted)} is ignored: the modes that fit are {', '.join(fitting)}"
    return (Finding(Reason.FORCED_MODE_UNAVAILABLE, message),)


def asked_mode(situation: Situation) -> Asked:
    """The mode that should run before anything is judged."""
    answers = (change(situation) for change in _CHANGES)
    asked = next((answer for answer in answers if answer is not None), None) or _standing(situation)
    advice = _unavailable(situation)
    return replace(asked, advice=advice) if advice else asked


def attempts(situation: Situation) -> int:
    """How often the requested mode was tried under this spec, counting the step down that is about to be written.

    A further step down is the same attempt; only a retry begins another one.
    """
    spec_hash, standing = situation.resource.spec_hash, situation.status.rollback
    if standing is not None and standing.spec_hash == spec_hash:
        return standing.attempts
    for entry in situation.status.history:
        if entry.spec_hash == spec_hash and entry.action == CONFIRMED_ACTION:
            return 1
        if entry.spec_hash == spec_hash and entry.action == ROLLED_BACK_ACTION:
            return (entry.attempts or 1) + 1
    return 1
