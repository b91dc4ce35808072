"""What the guard sees and that changes nothing by itself, as status keeps it. Pure.

The first wording of a finding stands for as long as it is found, so that moving numbers cost no write.
"""

from datetime import datetime, timedelta

from specdecode.api.status import FINDING_LIMIT, FindingStatus, SpecDecodeDeploymentStatus
from specdecode.control import NOT_RUNNING
from specdecode.decide.decision import Decision, Reason

STAYS = timedelta(minutes=10)
"""A finding stands at least this long: one at the edge of its limit must not come and go at every look."""
MESSAGE_LIMIT = 1024

_NOTHING_JUDGED = frozenset(
    {Reason.ROLLOUT_RUNNING, Reason.SETTLING, Reason.NOT_MEASURED, Reason.PAUSED, Reason.FORCED}
)


def _found(decision: Decision, control_problem: str) -> dict[str, str]:
    """Message by reason, worst first."""
    found: dict[str, str] = {}
    for finding in decision.findings:
        if finding.target is None:
            found.setdefault(finding.reason.value, finding.message)
    if control_problem:
        found[NOT_RUNNING] = control_problem
    return found


def next_findings(
    old: SpecDecodeDeploymentStatus, decision: Decision, spec_hash: str | None, control_problem: str, *, now: datetime
) -> tuple[FindingStatus, ...]:
    """The findings after this look, worst first.

    What was found of another mode or spec is forgotten; while nothing is judged, nothing is.
    """
    found = _found(decision, control_problem)
    is_of_same = old.mode is decision.mode and old.spec_hash == spec_hash
    known = {finding.reason: finding for finding in old.findings if is_of_same}
    is_unjudged = decision.reason in _NOTHING_JUDGED
    standing = [
        finding for reason, finding in known.items() if reason in found or is_unjudged or now - finding.since < STAYS
    ]
    fresh = [
        FindingStatus(reason=reason, message=message[:MESSAGE_LIMIT], since=now)
        for reason, message in found.items()
        if reason not in known
    ]
    ranks = {reason: rank for rank, reason in enumerate(found)}
    # The order moves only when something is new: the same findings in another order are no news.
    ranked = sorted((*fresh, *standing), key=lambda finding: ranks.get(finding.reason, len(ranks)))
    return tuple(ranked if fresh else standing)[:FINDING_LIMIT]
