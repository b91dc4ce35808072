"""The judgement: which mode should run, and why. Pure; it chooses a mode by name and edits nothing.

asked mode (pause, force, latch, retry) -> how much may be judged -> did the last step help -> rules -> Decision
"""

from dataclasses import replace

from specdecode.api.status import RollbackStatus, Rules
from specdecode.api.vocabulary import ANNOTATION_RETRY, Action, Mode
from specdecode.decide.confirm import is_confirmed
from specdecode.decide.decision import Decision, Finding, Reason, Step
from specdecode.decide.explain import explained
from specdecode.decide.latch import ROLLED_BACK_ACTION, Asked, asked_mode, attempts
from specdecode.decide.rules import findings
from specdecode.decide.settle import Readiness, readiness
from specdecode.decide.situation import Situation, Stage, View
from specdecode.decide.verify import clears_speculation, load_before, verify

__all__ = ["Situation", "decide", "explain"]


_WANT_TO_STEP = frozenset(
    {
        Reason.ACCEPTANCE_COLLAPSED,
        Reason.QUANTIZATION_DROP,
        Reason.SLOWER_THAN_BASELINE,
        Reason.LATENCY_OVER_LIMIT,
        Reason.ACCEPTANCE_BELOW_FLOOR,
    }
)
"""Findings that leave the mode unless there is nowhere to go."""


def _kept(asked: Asked) -> Decision:
    return Decision(
        mode=asked.mode,
        step=asked.step,
        reason=asked.reason,
        message=asked.message,
        findings=asked.advice,
        rollback=asked.rollback,
        acknowledged_retry=asked.acknowledged_retry,
    )


def _earlier_latch(situation: Situation, rollback: RollbackStatus) -> RollbackStatus | None:
    """The latch that held before `rollback` replaced it: without it, going back would run the requested mode."""
    requested, held = situation.plan.requested_mode, rollback.from_mode
    if held is requested:
        return None
    earlier = RollbackStatus(
        from_mode=requested,
        to=held,
        reason=Reason.ROLLED_BACK,
        message=f"{held} runs instead of {requested}; change the spec or set {ANNOTATION_RETRY} to try again",
        at=situation.now,
        spec_hash=rollback.spec_hash,
        attempts=rollback.attempts,
    )
    for entry in situation.status.history:
        is_step = entry.action == ROLLED_BACK_ACTION and entry.spec_hash == rollback.spec_hash
        if is_step and entry.to is held:
            remembered = {
                "from_mode": entry.from_mode,
                "reason": entry.reason,
                "message": entry.message,
                "at": entry.at,
            }
            return earlier.model_copy(update=remembered)
    return earlier


def _stepped_back_up(view: View, asked: Asked, rollback: RollbackStatus) -> Decision:
    situation = view.situation
    before, after = rollback.before, rollback.after
    numbers = f"mean TPOT {before.tpot_mean} before and {after.tpot_mean} after it" if before and after else "no gain"
    message = (
        f"the step down for {rollback.reason} did not help ({numbers}, same load): speculation was not the cause, "
        f"{rollback.from_mode} runs again and latency no longer turns it off for this spec"
    )
    return Decision(
        mode=rollback.from_mode,
        step=Step.UP,
        reason=Reason.SPECULATION_NOT_THE_CAUSE,
        message=message,
        findings=asked.advice,
        rollback=_earlier_latch(situation, rollback),
        exonerated_reason=Reason(rollback.reason),
        acknowledged_retry=asked.acknowledged_retry,
    )


def _may_step_back_up(view: View, rollback: RollbackStatus) -> bool:
    plan = view.plan.mode(rollback.from_mode)
    is_possible = plan is not None and plan.fits and view.guard.action is Action.ENFORCE
    return is_possible and view.stage is Stage.SETTLED and clears_speculation(rollback)


def _stepped_down(view: View, kept: Decision, finding: Finding, target: Mode) -> Decision:
    situation = view.situation
    is_measured = view.stage >= Stage.FAST
    rollback = RollbackStatus(
        from_mode=view.mode,
        to=target,
        reason=finding.reason,
        message=finding.message,
        evidence=finding.evidence,
        at=situation.now,
        spec_hash=situation.resource.spec_hash,
        attempts=attempts(situation),
        before=load_before(view, finding.reason) if is_measured else None,
        rules=explained(view, finding.reason),
    )
    return replace(kept, mode=target, step=Step.DOWN, reason=finding.reason, message=finding.message, rollback=rollback)


def _unmoved(view: View, kept: Decision, ready: Readiness) -> Decision:
    """Nothing steps: say why nothing could be judged, or what holds."""
    worst = kept.findings[0] if kept.findings else None
    if worst is not None and worst.reason is Reason.ENGINE_NOT_STARTING:
        return replace(kept, reason=worst.reason, message=worst.message)
    if worst is not None and worst.reason in _WANT_TO_STEP and view.mode is not Mode.OFF:
        return replace(kept, reason=Reason.NO_FALLBACK_FITS, message=worst.message)
    if ready.stage < Stage.SETTLED:
        return replace(kept, reason=ready.reason, message=ready.message)
    if is_confirmed(view):
        message = f"{view.mode} pays since it was tried again: earlier attempts no longer count"
        return replace(kept, reason=Reason.CONFIRMED, message=message)
    return kept


def _judged(situation: Situation, asked: Asked) -> Decision:
    ready = readiness(situation, asked.mode)
    view = View(situation, asked.mode, ready.stage)
    rollback = asked.rollback
    if rollback is not None:
        rollback = verify(view, rollback)
        if _may_step_back_up(view, rollback):
            return _stepped_back_up(view, asked, rollback)
    found = findings(view)
    kept = replace(_kept(asked), rollback=rollback, findings=(*found, *asked.advice))
    worst = found[0] if found else None
    if worst is None or worst.target is None:
        return _unmoved(view, kept, ready)
    if situation.guard.action is Action.RECOMMEND:
        return replace(kept, reason=Reason.STEP_DOWN_RECOMMENDED, message=worst.message, recommended=worst.target)
    return _stepped_down(view, kept, worst, worst.target)


def decide(situation: Situation) -> Decision:
    """What should run now. The same situation gives the same decision, and deciding again after it changes nothing."""
    asked = asked_mode(situation)
    return _judged(situation, asked) if asked.is_judged else _kept(asked)


def explain(situation: Situation) -> Rules:
    """What every rule says of the situation as it is; empty where the mode is not one to be judged."""
    asked = asked_mode(situation)
    if not asked.is_judged:
        return ()
    return explained(View(situation, asked.mode, readiness(situation, asked.mode).stage))
