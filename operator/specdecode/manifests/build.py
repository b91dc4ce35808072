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
    Mode,
)
from specdecode.manifests.deployment import deployment
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

    def all(self) -> tuple[Body, ...]:
        """In the order to apply. The Deployment is last: its annotation says that the others are there too."""
        monitors = () if self.pod_monitor is None else (self.pod_monitor,)
        return (self.service, *monitors, self.deployment)


def _annotated(body: Body, annotations: Mapping[str, str]) -> Body:
    metadata = body["metadata"]
    return {**body, "metadata": {**metadata, "annotations": {**metadata["annotations"], **annotations}}}


def _stamped(objects: Objects) -> Objects:
    blank = replace(objects, deployment=_annotated(objects.deployment, {ANNOTATION_INTENT_HASH: ""}))
    intent_hash = digest(blank.all())
    stamped = _annotated(objects.deployment, {ANNOTATION_INTENT_HASH: intent_hash})
    return replace(objects, deployment=stamped, intent_hash=intent_hash)


def build(resource: SpecDecodeDeployment, plan: Plan, options: Options = Options()) -> dict[Mode, Objects]:
    """The objects of every mode that fits, in the order of the ladder."""
    front = service(resource)
    monitor = pod_monitor(resource, dict(options.pod_monitor_labels)) if options.pod_monitor else None
    return {
        rung.mode: _stamped(Objects(deployment(resource, rung), front, monitor, intent_hash=""))
        for rung in plan.ladder
        if rung.fits
    }


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
