"""Since when a mode has been rolled out and measured without a break.

The moments are the transitions of conditions: status is the memory, no timer is kept.
"""

from datetime import datetime

from specdecode.api.status import ConditionStatus, ConditionType, SpecDecodeDeploymentStatus


def settled_since(status: SpecDecodeDeploymentStatus) -> datetime | None:
    """Since when a rolled-out mode has been measured without a break; None while it is not.

    `Stalled` counts as well, because a resource that was stalled is not reconciling: its rollout may end without a
    transition of `Reconciling`. A status without it was never stalled.
    """
    rolled_out = status.condition(ConditionType.RECONCILING)
    measured = status.condition(ConditionType.METRICS_AVAILABLE)
    stalled = status.condition(ConditionType.STALLED)
    if rolled_out is None or rolled_out.status is not ConditionStatus.FALSE:
        return None
    if measured is None or measured.status is not ConditionStatus.TRUE:
        return None
    if stalled is not None and stalled.status is not ConditionStatus.FALSE:
        return None
    return max(condition.last_transition_time for condition in (rolled_out, measured, stalled) if condition is not None)


def is_settled(status: SpecDecodeDeploymentStatus, window_seconds: float, now: datetime) -> bool:
    """Whether the whole window lies after the last rollout and the last outage of the metrics."""
    since = settled_since(status)
    return since is not None and (now - since).total_seconds() >= window_seconds
