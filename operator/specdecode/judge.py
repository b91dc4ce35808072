"""What should be, from what was read: the walk from body to outcome. Pure.

body -> parse -> plan -> objects per mode -> decide -> what to apply, next status
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from specdecode.api.resource import (
    Metadata,
    Problem,
    Rejection,
    SpecDecodeDeployment,
    parse,
    read_metadata,
    read_status,
)
from specdecode.api.status import ConditionType, RollbackStatus, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.calibrate import Calibrations, calibrations_for, next_calibrations
from specdecode.control import ControlArm
from specdecode.decide.baseline import next_baseline
from specdecode.decide.breaker import ALONE, Fleet, held
from specdecode.decide.decide import Situation, decide, explain
from specdecode.decide.decision import Decision, Step
from specdecode.decide.explain import is_news
from specdecode.decide.facts import Availability, Cluster, Measurement, PodFact
from specdecode.decide.settled import is_settled
from specdecode.drift import covers
from specdecode.engine.models import ModelFacts
from specdecode.manifests.build import Objects, Options, build, latched
from specdecode.manifests.labels import selector_text
from specdecode.observe.cluster import child_of, pods_of
from specdecode.plan.knowledge import NOTHING_MORE, Knowledge, ModelKey
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan
from specdecode.status import IN_THE_WAY, LOOKING_UP, ApplyFailure, Visit, next_status
from specdecode.summary import observed_status, size_text


@dataclass(frozen=True)
class Prepared:
    """What follows from the spec, and from what was known before it; it never changes for one generation."""

    resource: SpecDecodeDeployment | None
    refusal: Rejection | None
    plan: Plan | None
    objects: Mapping[Mode, Objects]
    uncalibrated: Plan | None = None
    """The plan by its formulas alone: what a running engine is held against. None: nothing is planned."""


@dataclass(frozen=True)
class Seen:
    """What was read of one resource: from the store, or live."""

    body: Mapping[str, Any]
    deployment: Mapping[str, Any] | None
    pods: tuple[PodFact, ...]
    has_children: bool
    """Whether the Service is there, and the meter's ConfigMap where one is wanted."""
    measurement: Measurement
    measured_at: datetime | None
    failure: ApplyFailure | None
    fast_window_seconds: float
    control: Mapping[str, Any] | None = None
    """The Deployment that stands under the name of the control arm's."""
    control_refusal: str = ""
    """What the API server said when it refused to take that under this spec."""
    fleet: Fleet = ALONE
    """What the other deployments do; asked only once this one wants to step down."""


@dataclass(frozen=True)
class Outcome:
    """What should be, after one look."""

    metadata: Metadata
    old: SpecDecodeDeploymentStatus
    status: SpecDecodeDeploymentStatus
    apply: Objects | None
    """Objects to apply; None: leave everything as it is."""
    decision: Decision | None
    remove: Mapping[str, Any] | None = None
    """The Deployment of the control arm, when it is there and no longer wanted."""

    @property
    def stepped_at(self) -> datetime | None:
        """When the step down was decided that this outcome takes; None: it takes none."""
        if self.decision is None or self.decision.step is not Step.DOWN or self.decision.rollback is None:
            return None
        return self.decision.rollback.at

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has to be written."""
        return self.apply is None and self.remove is None and self.status == self.old


def _does_not_fit(plan: Plan) -> Rejection:
    requested = plan.requested
    remedies = "; would fit: " + ", ".join(requested.remedies) if requested.remedies else ""
    message = f"does not fit: short by {size_text(requested.short_bytes)} per GPU{remedies}"
    return Rejection("DoesNotFit", (Problem("spec", str(requested.mode), message),))


def prepare(
    body: Mapping[str, Any],
    options: Options,
    models: Mapping[ModelKey, ModelFacts | Problem] = NOTHING_MORE.models,
    awaited: tuple[Problem, ...] = (),
) -> Prepared:
    """Everything that follows from the spec, and from what was known before it.

    `models` were looked up; `awaited` says which still are. Of the measurements in the body's status only those count
    that were made under another spec, so that status may grow and the answer stays the same.
    """
    resource = parse(body)
    if isinstance(resource, Rejection):
        return Prepared(None, resource, None, {})
    if awaited:
        return Prepared(resource, Rejection(LOOKING_UP, awaited), None, {})
    calibrations = calibrations_for(resource.spec_hash, resource.status.calibration)
    plan = make_plan(resource, Knowledge(models, calibrations))
    if isinstance(plan, Rejection):
        return Prepared(resource, plan, None, {})
    uncalibrated = make_plan(resource, Knowledge(models)) if calibrations else plan
    assert isinstance(uncalibrated, Plan), "a measurement changes numbers; it does not make a spec plannable"
    refusal = None if plan.requested.fits else _does_not_fit(plan)
    return Prepared(resource, refusal, plan, build(resource, plan, options), uncalibrated)


def _needs_apply(wanted: Objects, seen: Seen) -> bool:
    if seen.deployment is None or not seen.has_children:
        return True
    return not covers(seen.deployment, wanted.deployment)


def _wanted(
    prepared: Prepared, mode: Mode, rollback: RollbackStatus | None, main: Mapping[str, Any] | None, arm: ControlArm
) -> Objects | None:
    objects = prepared.objects.get(mode)
    return None if objects is None else arm.beside(latched(objects, rollback), main)


def _is_blocked(failure: ApplyFailure | None) -> bool:
    """Whether what is wanted was refused for good; applying it again would only be refused again."""
    return failure is not None and failure.is_final and failure.reason not in IN_THE_WAY


def _still_true(failure: ApplyFailure | None, wanted: Objects | None) -> ApplyFailure | None:
    """A failure is forgotten as soon as something else is wanted."""
    if failure is None or wanted is None or failure.intent_hash != wanted.intent_hash:
        return None
    return failure


def _is_known_to_status(visit: Visit) -> bool:
    """Whether an earlier process had the answer that this one still waits for."""
    planned = visit.old.condition(ConditionType.PLANNED)
    is_of_this_spec = visit.old.observed_generation == visit.metadata.generation
    return planned is not None and planned.reason != LOOKING_UP and is_of_this_spec


def _refused(visit: Visit) -> Outcome:
    # A restarted operator looks everything up again; what stands in status is true until it hears otherwise.
    is_silent = visit.is_looking_up and _is_known_to_status(visit)
    return Outcome(visit.metadata, visit.old, visit.old if is_silent else next_status(visit), None, None)


def _calibration(prepared: Prepared, visit: Visit, mode: Mode, judged_at: datetime) -> Calibrations:
    """Status' calibrations after this look. They grow only while the engines of the spec in force, and no others, are
    what was measured: all is applied and rolled out, and pods that were replaced are no longer in the fast window.
    """
    old, measurement, child = visit.old.calibration, visit.measurement, visit.cluster.child
    is_telling = (
        measurement.availability in (Availability.MEASURED, Availability.NO_TRAFFIC)
        and measurement.mode is mode
        and child is not None
        and child.is_rolled_out
        and is_settled(visit.old, visit.fast_window_seconds, judged_at)
    )
    if not is_telling or prepared.uncalibrated is None or visit.spec_hash is None:
        return old
    return next_calibrations(
        old, prepared.uncalibrated, mode, measurement.cache, spec_hash=visit.spec_hash, now=judged_at
    )


def _visit(prepared: Prepared, seen: Seen, arm: ControlArm, now: datetime) -> Visit:
    """One look, before anything is decided."""
    metadata, old = read_metadata(seen.body), read_status(seen.body)
    child = None if seen.deployment is None else child_of(seen.deployment, metadata.uid)
    return Visit(
        metadata=metadata,
        old=old,
        now=now,
        spec_hash=prepared.resource.spec_hash if prepared.resource else None,
        cluster=Cluster(child, pods_of(seen.deployment, seen.pods), arm.child),
        measurement=seen.measurement,
        is_paused=metadata.is_paused,
        fast_window_seconds=seen.fast_window_seconds,
        has_measured=seen.measured_at is not None,
        plan=prepared.plan,
        refusal=prepared.refusal,
        failure=seen.failure,
        baseline=old.baseline,
        calibration=old.calibration,
        selector=selector_text(metadata.name),
    )


def _outcome(visit: Visit, decision: Decision, wanted: Objects | None, arm: ControlArm) -> Outcome:
    """What is to be written; nothing to the objects while they are to be left alone."""
    apply, remove = None, None
    if wanted is not None and not visit.is_paused and not _is_blocked(visit.failure):
        apply = wanted if not visit.is_applied or arm.needs_apply(wanted) else None
        remove = arm.surplus(wanted)
    return Outcome(visit.metadata, visit.old, next_status(visit), apply, decision, remove)


def judge(prepared: Prepared, seen: Seen, now: datetime) -> Outcome:
    """What should be, from what was read. Pure.

    Steps are judged at the time of the measurement, so that a wait after a change counts only what was measured
    after it.
    """
    arm = ControlArm(read_metadata(seen.body), seen.control, seen.control_refusal)
    visit = _visit(prepared, seen, arm, now)
    metadata, old = visit.metadata, visit.old
    if prepared.refusal is not None or prepared.resource is None or prepared.plan is None:
        return _refused(visit)
    # The spec was prepared once; status and annotations are this moment's.
    resource = prepared.resource.model_copy(update={"metadata": metadata, "status": old})
    judged_at = seen.measured_at or now
    situation = Situation(resource, prepared.plan, visit.cluster, seen.measurement, judged_at, seen.fast_window_seconds)
    decision = held(situation, decide(situation), seen.fleet)
    wanted = _wanted(prepared, decision.mode, decision.rollback, seen.deployment, arm)
    is_applied = wanted is not None and not _needs_apply(wanted, seen)
    window_seconds = resource.window_seconds
    baseline = next_baseline(
        old.baseline,
        prepared.plan,
        seen.measurement,
        is_settled=is_settled(old, window_seconds, judged_at),
        now=judged_at,
    )
    is_news_now = is_news(old.decision, decision, resource.spec_hash, now, has_measured=visit.has_measured)
    visit = replace(
        visit,
        decision=decision,
        rules=explain(situation) if is_news_now else (),
        calibration=_calibration(prepared, visit, decision.mode, judged_at) if is_applied else old.calibration,
        is_applied=is_applied,
        # What was refused once and is there now, put there by somebody else, is no failure any more.
        failure=None if is_applied else _still_true(seen.failure, wanted),
        baseline=baseline,
        observed=observed_status(prepared.plan, seen.measurement, baseline.off if baseline else None),
        control_problem=arm.problem(prepared.objects[decision.mode]) if decision.mode in prepared.objects else "",
    )
    return _outcome(visit, decision, wanted, arm)
