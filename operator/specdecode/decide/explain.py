"""A decision rule by rule, for the person who asks why. Worked out only when a decision is another than the last one:
sentences for every deployment at every tick would cost more than the judgement.
"""

from datetime import datetime, timedelta

from specdecode.api.status import SAW_LIMIT, DecisionStatus, RuleOutcome, Rules, RuleStatus
from specdecode.decide.decision import Decision, Finding, Reason, Step
from specdecode.decide.rules import RULES, Rule
from specdecode.decide.situation import Stage, View
from specdecode.decide.wording import beginning

_NEEDS = {
    Stage.STARTING: "needs a Deployment of this mode",
    Stage.FAST: "needs two scrapes after the last rollout or outage",
    Stage.SETTLED: "needs one whole window after the last rollout or outage",
}


def _outcome(finding: Finding | None, acting: Reason | None) -> RuleOutcome:
    if finding is None:
        return RuleOutcome.HOLDS
    is_acting = finding.target is not None and finding.reason is acting
    return RuleOutcome.ACTS if is_acting else RuleOutcome.ADVISES


def _asked(rule: Rule, view: View, acting: Reason | None) -> RuleStatus:
    if view.stage < rule.needs:
        return RuleStatus(rule=rule.reason, outcome=RuleOutcome.NOT_ASKED, saw=_NEEDS[rule.needs])
    finding = rule.finding(view)
    saw = rule.saw(view) if finding is None else finding.message
    return RuleStatus(rule=rule.reason, outcome=_outcome(finding, acting), saw=beginning(saw, SAW_LIMIT))


def explained(view: View, acting: Reason | None = None) -> Rules:
    """What every rule says of the view; `acting` is the one that a step is taken for."""
    return tuple(_asked(rule, view, acting) for rule in RULES)


_LINGERS = frozenset({Reason.NO_FALLBACK_FITS, Reason.STEP_DOWN_RECOMMENDED})
_STANDS = timedelta(minutes=10)
"""A limit that is straddled must not cost a write at every look."""


def is_news(
    old: DecisionStatus | None, decision: Decision, spec_hash: str, now: datetime, *, has_measured: bool = True
) -> bool:
    """Whether a decision is another than the one that status explains. Other numbers make no other decision; what would
    be done if it could stands for a while, although a moment later it would not; and an operator that has just been
    restarted and has measured nothing knows nothing better.
    """
    if old is None or (old.mode, old.spec_hash) != (decision.mode, spec_hash):
        return True
    if not has_measured:
        return False
    is_at_rest = old.reason in _LINGERS and decision.step is Step.KEEP and now - old.at < _STANDS
    return old.reason != decision.reason and not is_at_rest


def next_decision(
    old: DecisionStatus | None,
    decision: Decision,
    spec_hash: str,
    rules: Rules,
    now: datetime,
    *,
    has_measured: bool = True,
) -> DecisionStatus:
    """What status explains after this decision; `rules` are those of a decision that is news."""
    if old is not None and not is_news(old, decision, spec_hash, now, has_measured=has_measured):
        return old
    is_step_down = decision.step is Step.DOWN and decision.rollback is not None
    return DecisionStatus(
        at=now,
        mode=decision.mode,
        reason=decision.reason,
        message=beginning(decision.message, 1024),
        spec_hash=spec_hash,
        rules=decision.rollback.rules if is_step_down and decision.rollback is not None else rules,
    )
