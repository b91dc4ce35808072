"""Whether a step down helped: the same deployment, before and after, at the same load."""

import math

from specdecode.api.status import Helped, LoadPoint, RollbackStatus
from specdecode.decide.baseline import MIN_REQUESTS, is_same_load
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Window
from specdecode.decide.latency import LATENCY_REASONS, limits
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.situation import Stage, View
from specdecode.decide.wording import bounds_status, duration_text, seconds_in

_GAIN = 0.02
"""A mean that fell by less is called unchanged."""


def load_point(window: Window) -> LoadPoint | None:
    """Latency at the load of a window; None when no request finished in it."""
    tpot = window.tpot
    if tpot is None or tpot.count <= 0:
        return None
    return LoadPoint(
        tpot_mean=duration_text(tpot.mean_seconds),
        tpot_p99=bounds_status(quantile_bounds(tpot, 0.99)),
        running_requests=round(window.running_requests),
    )


def load_before(view: View) -> LoadPoint | None:
    """Latency as it is when a mode is left: the fast window where it holds enough requests, because the slow one may
    still remember another load, or health.
    """
    has_enough = view.fast.tpot is not None and view.fast.tpot.count >= MIN_REQUESTS
    return load_point(view.fast if has_enough else view.slow)


def _fell(before: LoadPoint, after: LoadPoint) -> bool:
    return seconds_in(after.tpot_mean) <= (1 - _GAIN) * seconds_in(before.tpot_mean)


def _back_under_limit(view: View, rollback: RollbackStatus) -> bool:
    """Whether a P99 that was over its limit is not any more."""
    if rollback.reason != Reason.LATENCY_OVER_LIMIT:
        return False
    blamed = {item.name for item in rollback.evidence}
    return any(limit.name in blamed and not limit.is_exceeded(view.slow) for limit in limits(view))


def verify(view: View, rollback: RollbackStatus) -> RollbackStatus:
    """The latch with `helped` and `after` filled in, once both sides can be compared."""
    before = rollback.before
    is_due = rollback.helped is Helped.UNKNOWN and view.mode is rollback.to and view.stage is Stage.SETTLED
    if not is_due or before is None or math.isnan(seconds_in(before.tpot_mean)):
        return rollback
    slow, after = view.slow, load_point(view.slow)
    if (
        after is None
        or slow.requests < MIN_REQUESTS
        or not is_same_load(slow.running_requests, before.running_requests)
    ):
        return rollback
    helped = _fell(before, after) or _back_under_limit(view, rollback)
    return rollback.model_copy(update={"helped": Helped.TRUE if helped else Helped.FALSE, "after": after})


def clears_speculation(rollback: RollbackStatus) -> bool:
    """Whether latency was the reason and leaving the mode did not help."""
    return rollback.helped is Helped.FALSE and rollback.reason in LATENCY_REASONS
