"""The circuit breaker over all deployments, and the rate limit of steps per namespace. Pure: what the others do comes
in as a value.

When many deployments want to step down at once, a bad draft is not what they share: a driver, a new client or the
metrics are. Then nobody steps, and a person is told.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import ConditionType, rfc3339
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE, Action
from specdecode.decide.decide import decide
from specdecode.decide.decision import Decision, Finding, Reason, Step
from specdecode.decide.situation import Situation
from specdecode.decide.wording import span

RECENT = timedelta(minutes=10)
"""How long a step counts, for the breaker and for the rate limit."""
MIN_STEPPING = 3
"""Two that step together may be chance."""
MIN_SHARE_PERCENT = 30
"""Of the deployments that could step, this share must want to."""

HELD = frozenset({Reason.CIRCUIT_BREAKER_OPEN, Reason.TOO_MANY_STEPS})
"""Reasons of a decision whose step down is held."""


@dataclass(frozen=True)
class Fleet:
    """All deployments, as one that wants to step down sees them."""

    judged: int = 1
    """Deployments that speculate, or stepped down a short time ago; this one included."""
    stepping: int = 1
    """Of these: those that want to step down or did a short time ago; this one included."""
    namespace_steps: tuple[datetime, ...] = ()
    """Steps down in its namespace a short time ago, oldest first; the wanted one not included."""
    max_namespace_steps: int = 5
    """So many steps may fall into one namespace within a short time."""

    @property
    def is_open(self) -> bool:
        """Whether so many want to step down that the cause is probably shared."""
        return self.stepping >= MIN_STEPPING and 100 * self.stepping >= MIN_SHARE_PERCENT * self.judged


ALONE = Fleet()
"""One deployment and no other: nothing is held for the sake of others."""


@dataclass(frozen=True)
class Hold:
    """Why a wanted step down is not taken."""

    reason: Reason
    message: str
    """Who else steps, and what a person can do."""


def wants_to_step(decision: Decision) -> bool:
    """Whether the guard would leave the mode by itself, or is held back from it."""
    return decision.step is Step.DOWN or decision.reason in HELD


def _was_held(situation: Situation) -> bool:
    """Whether the breaker held this deployment at the visit before; a new spec is a person's answer to that."""
    condition = situation.status.condition(ConditionType.SPECULATION_ACTIVE)
    if condition is None or condition.reason != Reason.CIRCUIT_BREAKER_OPEN:
        return False
    return condition.observed_generation == situation.resource.metadata.generation


def hold_of(situation: Situation, fleet: Fleet) -> Hold | None:
    """What keeps this deployment, which wants to step down, from it.

    Once the breaker held it, it stays held until it no longer wants to step or a person acts: when the others are done
    the shared cause is not.
    """
    within = f"within {span(RECENT.total_seconds())}"
    is_open = fleet.is_open
    if is_open or _was_held(situation):
        so_many = f"{fleet.stepping} of {fleet.judged}" if is_open else "many"
        message = (
            f"{so_many} deployments that speculate wanted to step down {within}: the cause is probably shared "
            f"(traffic, a driver, the metrics) and not this draft; mend it, or set {ANNOTATION_FORCE_MODE}"
        )
        return Hold(Reason.CIRCUIT_BREAKER_OPEN, message)
    limit, steps = fleet.max_namespace_steps, fleet.namespace_steps
    if len(steps) < limit:
        return None
    message = (
        f"{limit} deployments of this namespace stepped down {within} and no more may; the next is possible from "
        f"{rfc3339(steps[-limit] + RECENT)}, or set {ANNOTATION_FORCE_MODE}"
    )
    return Hold(Reason.TOO_MANY_STEPS, message)


def _recommending(resource: SpecDecodeDeployment) -> SpecDecodeDeployment:
    guard = resource.spec.guard.model_copy(update={"action": Action.RECOMMEND})
    return resource.model_copy(update={"spec": resource.spec.model_copy(update={"guard": guard})})


def _cause(decision: Decision) -> str:
    """`AcceptanceCollapsed (acceptanceLength 1.04, limit 1.1)`."""
    evidence = decision.rollback.evidence if decision.rollback else ()
    numbers = "; ".join(
        f"{item.name} {item.value}" + (f", limit {item.limit}" if item.limit else "") for item in evidence
    )
    return f"{decision.reason} ({numbers})" if numbers else decision.reason


def held(situation: Situation, decision: Decision, fleet: Fleet) -> Decision:
    """The decision, or when others forbid its step down, what holds without it. Steps up are never held.

    What holds is what would be decided if the guard only recommended: the mode and the latch of before.
    """
    if decision.step is not Step.DOWN:
        return decision
    hold = hold_of(situation, fleet)
    if hold is None:
        return decision
    stays = decide(replace(situation, resource=_recommending(situation.resource)))
    # Numbers move at every look. Of the breaker the first wording stands; the limit names a moment, which may move too.
    cause = _cause(decision) if hold.reason is Reason.CIRCUIT_BREAKER_OPEN else decision.reason
    message = f"{stays.mode} stays, the step to {decision.mode} for {cause} is held: {hold.message}"
    why = Finding(hold.reason, message)
    return replace(stays, reason=why.reason, message=why.message, recommended=None, findings=(why, *stays.findings))
