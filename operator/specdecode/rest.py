"""Which deployment needs no close look: it has run what it was asked for, settled, for an hour. Pure.

Asked twice: after a visit, which has just planned and judged it, and of a status that a predecessor left, without a
plan. The second answer is provisional: what it takes on trust is visited within the hour.
"""

import math
from datetime import datetime

from specdecode.api.guard import LatencySpec
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import ConditionStatus, ConditionType, SpecDecodeDeploymentStatus
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE, ANNOTATION_RETRY
from specdecode.decide.decision import Reason, Step
from specdecode.decide.facts import Availability, Child, Measurement
from specdecode.decide.settled import is_settled
from specdecode.decide.wording import seconds_in
from specdecode.dormitory import Sleeper
from specdecode.engine.metrics import MetricNames, edges
from specdecode.engine.version import EngineVersion
from specdecode.judge import Outcome, Prepared
from specdecode.observe.glance import Glance, Limit
from specdecode.observe.subject import Subject, subject_of

SETTLED_SECONDS = 3600.0
"""As long as the detectors remember: what they could have learned they have."""


LASTING = frozenset({Reason.GAIN_NOT_CONFIRMED, Reason.WINDOW_LENGTHENED})
"""Advice that follows from how a deployment is set up, and that another measurement does not change."""


def is_calm(resource: SpecDecodeDeployment, status: SpecDecodeDeploymentStatus, now: datetime) -> bool:
    """Whether nothing is pending as far as spec, annotations and status say."""
    ready, speculation = status.condition(ConditionType.READY), status.condition(ConditionType.SPECULATION_ACTIVE)
    wishes = resource.metadata.annotations.keys() & {ANNOTATION_FORCE_MODE, ANNOTATION_RETRY}
    return (
        ready is not None
        and ready.status is ConditionStatus.TRUE
        and speculation is not None
        and speculation.reason in (Reason.AS_REQUESTED, Reason.NOT_REQUESTED)
        and status.observed_generation == resource.metadata.generation
        and status.rollback is None
        and all(finding.reason in LASTING for finding in status.findings)
        and status.plan is not None
        and status.plan.requested_mode is status.mode
        and resource.spec.guard.baseline.control_replicas == 0
        and not resource.metadata.is_paused
        and not wishes
        and resource.metadata.deletion_timestamp is None
        and is_settled(status, SETTLED_SECONDS, now)
    )


def may_rest(prepared: Prepared | None, outcome: Outcome, now: datetime) -> bool:
    """Whether a visit has found a deployment in which nothing is going on."""
    decision = outcome.decision
    if prepared is None or prepared.resource is None or decision is None or not outcome.is_quiet:
        return False
    resource = prepared.resource.model_copy(update={"metadata": outcome.metadata})
    is_kept = decision.step is Step.KEEP and decision.recommended is None
    return is_kept and decision.mode is outcome.status.mode and is_calm(resource, outcome.status, now)


def may_doze(resource: SpecDecodeDeployment, child: Child | None, now: datetime) -> bool:
    """Whether the status that a predecessor left, and the Deployment beside it, say so."""
    if child is None or not child.is_ours or not child.is_rolled_out:
        return False
    is_applied = child.mode is resource.status.mode and child.spec_hash == resource.spec_hash
    return is_applied and is_calm(resource, resource.status, now)


def _limits(latency: LatencySpec, names: MetricNames, version: EngineVersion) -> tuple[Limit, ...]:
    """The limits of a guard as a glance can ask about them; one above the last edge cannot be seen by anybody."""
    known = edges(version)
    asked = (
        (latency.tpot_p99, names.tpot, known.tpot_seconds),
        (latency.ttft_p99, names.ttft, known.ttft_seconds),
        (latency.e2e_p99, names.e2e, known.e2e_seconds),
    )
    found: list[Limit] = []
    for text, base, bounds in asked:
        edge = None if text is None else next((bound for bound in bounds if bound >= seconds_of(text)), None)
        if base is not None and edge is not None:
            found.append(Limit(base, edge))
    return tuple(found)


def _engine_version(resource: SpecDecodeDeployment) -> EngineVersion | None:
    plan = resource.status.plan
    return None if plan is None or plan.engine_version is None else EngineVersion.parse(plan.engine_version)


def sleeper_after(resource: SpecDecodeDeployment, subject: Subject, measurement: Measurement) -> Sleeper | None:
    """What to remember of a deployment that was measured; None: nothing was, and it is not to rest."""
    window = measurement.slow
    if window is None or measurement.availability not in (Availability.MEASURED, Availability.NO_TRAFFIC):
        return None
    seen = Glance(
        acceptance_length=window.acceptance_length,
        tpot_seconds=math.nan if window.tpot is None else window.tpot.mean_seconds,
        running_requests=window.running_requests * measurement.pods_up,
        pods_up=measurement.pods_up,
    )
    return _sleeper(resource, subject, seen, has_traffic=measurement.availability is Availability.MEASURED)


def sleeper_of_status(resource: SpecDecodeDeployment) -> Sleeper | None:
    """What to remember of a deployment by what its status says was measured; None: it does not say on which engine."""
    status, version = resource.status, _engine_version(resource)
    if status.mode is None or version is None:
        return None
    subject = subject_of(resource, status.mode, version)
    observed = status.observed
    if observed is None or observed.mode is not status.mode:
        return _sleeper(resource, subject, Glance(pods_up=math.nan), has_traffic=False)
    seen = Glance(
        acceptance_length=math.nan if observed.acceptance_length is None else float(observed.acceptance_length),
        tpot_seconds=math.nan if observed.tpot_mean is None else seconds_in(observed.tpot_mean),
        pods_up=math.nan,
    )
    return _sleeper(resource, subject, seen, has_traffic=True)


def _sleeper(resource: SpecDecodeDeployment, subject: Subject, seen: Glance, *, has_traffic: bool) -> Sleeper:
    version = _engine_version(resource)
    names = subject.metric_names
    limits = () if version is None else _limits(resource.spec.guard.latency, names, version)
    return Sleeper(subject.mode.value, names, seen, has_traffic=has_traffic, limits=limits)
