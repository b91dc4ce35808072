"""Whether a step down helped: the same deployment, before and after, at the same load."""

import math
from collections.abc import Sequence

from specdecode.api.status import Helped, LoadPoint, RollbackStatus
from specdecode.decide.baseline import MIN_REQUESTS, is_same_load
from specdecode.decide.benefit import running_requests, token_seconds
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Batch, Window
from specdecode.decide.latency import LATENCY_REASONS, limits
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.situation import MIN_BATCHES, Stage, View
from specdecode.decide.wording import bounds_status, duration_text, seconds_in

_GAIN = 0.02
"""A mean that fell by less is called unchanged."""


def load_point(batches: Sequence[Batch], window: Window) -> LoadPoint | None:
    """Latency at the load of some batches; the P99 is of the requests that finished in `window`. None: no tokens."""
    mean = token_seconds(batches)
    if mean is None:
        return None
    return LoadPoint(
        tpot_mean=duration_text(mean.value),
        tpot_p99=None if window.tpot is None else bounds_status(quantile_bounds(window.tpot, 0.99)),
        running_requests=round(running_requests(batches)),
    )


def load_before(view: View, reason: Reason) -> LoadPoint | None:
    """Latency as it is when a mode is left: of what came since the change, or of the newest scrapes, because the whole
    window may still remember another load, or health.
    """
    newest = view.batches[-(MIN_BATCHES if reason is Reason.ACCEPTANCE_COLLAPSED else 2 * MIN_BATCHES) :]
    return load_point(view.since_change or newest, view.fast)


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
    slow, after = view.slow, load_point(view.batches, view.slow)
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
