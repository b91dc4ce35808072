"""How much may be judged now. While a rollout runs, at start-up and for one window after an outage of the metrics,
nothing about the traffic is: what is in the window then belongs to something else.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from specdecode.api.status import rfc3339
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Availability
from specdecode.decide.situation import Situation, Stage, View
from specdecode.decide.wording import span


@dataclass(frozen=True)
class Readiness:
    """How much may be judged, and when it is not everything, why."""

    stage: Stage
    reason: Reason
    """Meaningful below SETTLED."""
    message: str


_ALL = Readiness(Stage.SETTLED, Reason.AS_REQUESTED, "")


def _unless_rolled_out(situation: Situation, mode: Mode) -> Readiness | None:
    child = situation.cluster.child
    if child is None:
        return Readiness(Stage.NOTHING, Reason.ROLLOUT_RUNNING, "the Deployment does not exist yet")
    if not child.is_ours:
        message = (
            "the Deployment of this name belongs to somebody else: nothing is judged; rename or delete one of them"
        )
        return Readiness(Stage.NOTHING, Reason.NOT_MEASURED, message)
    if child.mode is not mode:
        return Readiness(
            Stage.NOTHING, Reason.ROLLOUT_RUNNING, f"{child.mode or 'an unknown mode'} is being replaced by {mode}"
        )
    if not child.is_rolled_out:
        message = (
            f"{mode} is being rolled out: {child.updated_replicas} of {child.desired_replicas} replicas updated, "
            f"{child.ready_replicas} ready"
        )
        return Readiness(Stage.STARTING, Reason.ROLLOUT_RUNNING, message)
    return None


def _unless_measured(situation: Situation, mode: Mode) -> Readiness | None:
    measurement = situation.measurement
    if measurement.availability is not Availability.MEASURED:
        return Readiness(Stage.STARTING, Reason.NOT_MEASURED, measurement.cause)
    if measurement.mode is not mode or measurement.fast is None or measurement.slow is None:
        return Readiness(Stage.STARTING, Reason.NOT_MEASURED, f"nothing was measured of {mode} yet")
    return None


def _unless_settled(situation: Situation) -> Readiness | None:
    since = situation.settled_since
    seconds = -math.inf if since is None else (situation.now - since).total_seconds()
    window_seconds = situation.slow_window_seconds
    if seconds >= window_seconds:
        return None
    stage = Stage.FAST if seconds >= situation.fast_window_seconds / 2 else Stage.STARTING
    wait = f"one window of {span(window_seconds)} after the last rollout or outage of the metrics"
    moment = None if since is None else rfc3339(since + timedelta(seconds=math.ceil(window_seconds)))
    message = f"judged {wait}" if moment is None else f"judged from {moment}, {wait}"
    return Readiness(stage, Reason.SETTLING, message)


def readiness(situation: Situation, mode: Mode) -> Readiness:
    """How much of `mode` may be judged."""
    return (
        _unless_rolled_out(situation, mode) or _unless_measured(situation, mode) or _unless_settled(situation) or _ALL
    )


def window_lengthened(view: View) -> Finding | None:
    """`guard.window` holds too few scrapes to show anything: what is judged is longer."""
    asked, used = seconds_of(view.guard.window), view.fast.seconds
    if asked >= used:
        return None
    message = (
        f"guard.window {view.guard.window} is shorter than four scrapes of this cluster; {span(used)} "
        f"is judged: set it to at least {span(used)}, or scrape more often"
    )
    return Finding(Reason.WINDOW_LENGTHENED, message)
