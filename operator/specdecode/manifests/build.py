"""Objects for every mode that fits, before anything is judged: the judgement picks a mode by name and edits nothing.

Pure and deterministic: the same resource and plan give the same objects, byte by byte. Nothing is read or applied here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from specdecode.api.resource import SpecDecodeDeployment, digest
from specdecode.api.status import RollbackStatus
from specdecode.api.vocabulary import (
    ANNOTATION_INTENT_HASH,
    ANNOTATION_REASON,
    ANNOTATION_ROLLED_BACK_FOR,
    ANNOTATION_ROLLED_BACK_FROM,
    Arm,
    Mode,
)
from specdecode.manifests.deployment import deployment
from specdecode.manifests.meter import meter
from specdecode.manifests.podmonitor import pod_monitor
from specdecode.manifests.service import service
from specdecode.plan.types import Plan

Body = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the installation, not the resource, decides."""

    pod_monitor: bool = False
    """Whether the cluster has the Prometheus operator and wants a PodMonitor per resource."""
    pod_monitor_labels: tuple[tuple[str, str], ...] = ()
    """What the cluster's Prometheus selects monitors by, for example `("release", "prometheus")`."""


@dataclass(frozen=True)
class Objects:
    """Everything that one mode needs in the cluster."""

    deployment: Body
    """Carries `intent_hash` as an annotation."""
    service: Body
    pod_monitor: Body | None
    intent_hash: str
    """Stands for all objects; a Deployment that carries another one was made from another intent."""
    control: Body | None = None
    """The Deployment of the control arm: one replica without speculation beside those of a mode that speculates."""
    meter: Body | None = None
    """The ConfigMap that pods mount in modes that speculate; the same for every mode, so that none has to bring it."""

    def all(self) -> tuple[Body, ...]:
        """In the order to apply. The main Deployment is last: its annotation says that the others are there too."""
        control = () if self.control is None else (self.control,)
        return (*self.without_arms(), *control, self.deployment)

    def without_arms(self) -> tuple[Body, ...]:
        """All but the Deployments."""
        return tuple(body for body in (self.service, self.pod_monitor, self.meter) if body is not None)


def _annotated(body: Body, annotations: Mapping[str, str]) -> Body:
    metadata = body["metadata"]
    return {**body, "metadata": {**metadata, "annotations": {**metadata["annotations"], **annotations}}}


def _stamped(objects: Objects) -> Objects:
    blank = replace(objects, deployment=_annotated(objects.deployment, {ANNOTATION_INTENT_HASH: ""}))
    intent_hash = digest(blank.all())
    stamped = _annotated(objects.deployment, {ANNOTATION_INTENT_HASH: intent_hash})
    return replace(objects, deployment=stamped, intent_hash=intent_hash)


def _control(resource: SpecDecodeDeployment, plan: Plan) -> Body | None:
    """The control arm beside a mode that speculates; None where none is asked for or it cannot be.

    It is one of `spec.replicas`, so that it needs no GPU more, and never the only one. Where an autoscaler owns the
    number of the main arm it comes on top.
    """
    count, replicas, off = resource.spec.guard.baseline.control_replicas, resource.spec.replicas, plan.mode(Mode.OFF)
    if count == 0 or off is None or not off.fits or (replicas is not None and replicas <= count):
        return None
    return deployment(resource, off, count, Arm.CONTROL)


def build(resource: SpecDecodeDeployment, plan: Plan, options: Options = Options()) -> dict[Mode, Objects]:
    """The objects of every mode that fits, in the order of the ladder."""
    front = service(resource)
    monitor = pod_monitor(resource, dict(options.pod_monitor_labels)) if options.pod_monitor else None
    beside, measure = _control(resource, plan), meter(resource)
    built: dict[Mode, Objects] = {}
    for rung in plan.ladder:
        if rung.fits:
            control = None if rung.mode is Mode.OFF else beside
            main = deployment(resource, rung, resource.spec.replicas)
            objects = Objects(main, front, monitor, intent_hash="", control=control, meter=measure)
            built[rung.mode] = _stamped(_counted(objects, -1))
    return built


def _counted(objects: Objects, sign: int) -> Objects:
    """The objects with the control arm's replicas added to those of the main arm, or taken from them by -1."""
    spec = objects.deployment["spec"]
    if objects.control is None or "replicas" not in spec:
        return objects
    replicas = spec["replicas"] + sign * objects.control["spec"]["replicas"]
    return replace(objects, deployment={**objects.deployment, "spec": {**spec, "replicas": replicas}})


def without_control(objects: Objects) -> Objects:
    """The same mode with all replicas in the main arm: for when the control arm cannot or should not run."""
    if objects.control is None:
        return objects
    return _stamped(replace(_counted(objects, 1), control=None))


def latched(objects: Objects, rollback: RollbackStatus | None) -> Objects:
    """The objects with the second record of a rollback, from which a lost status is rebuilt.

    The record is on the Deployment, not on its pods: writing it restarts nothing.
    """
    if rollback is None:
        return objects
    record = {
        ANNOTATION_ROLLED_BACK_FOR: rollback.spec_hash,
        ANNOTATION_ROLLED_BACK_FROM: rollback.from_mode.value,
        ANNOTATION_REASON: rollback.reason,
    }
    return _stamped(replace(objects, deployment=_annotated(objects.deployment, record)))
