"""The control arm beside the main one: whether it can run, what is missing of it, and when it is to be removed. Pure.

It is an aid of the judgement and never its subject: whatever stops it, the main arm has all replicas and goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specdecode.api.resource import Metadata
from specdecode.api.vocabulary import LABEL_ARM, Arm
from specdecode.decide.facts import Child
from specdecode.drift import covers
from specdecode.manifests.build import Objects, without_control
from specdecode.observe.cluster import child_of, is_controlled_by, is_left_behind

NOT_RUNNING = "ControlNotRunning"
"""Reason of the finding that a control replica is wanted and does not run."""


@dataclass(frozen=True)
class ControlArm:
    """What stands under the name of the control arm's Deployment."""

    owner: Metadata
    """The resource's."""
    deployment: Mapping[str, Any] | None = None
    refusal: str = ""
    """What the API server said when it refused to take the wanted one."""

    @property
    def child(self) -> Child | None:
        """The control arm as the judgement sees it; a stranger's Deployment is none."""
        child = None if self.deployment is None else child_of(self.deployment, self.owner.uid)
        return child if child is not None and child.is_ours else None

    @property
    def is_left_behind(self) -> bool:
        """Whether it belongs to a deleted resource of this name; the garbage collector takes it."""
        return self.deployment is not None and is_left_behind(self.deployment["metadata"], self.owner)

    @property
    def obstacle(self) -> str:
        """Why the control arm cannot be; empty when nothing is known against it."""
        if self.deployment is not None and self.child is None:
            metadata = self.deployment["metadata"]
            name = f"{metadata['namespace']}/{metadata['name']}"
            return (
                f"Deployment {name} exists and belongs to somebody else; delete or rename it, or rename this resource"
            )
        return self.refusal

    def beside(self, objects: Objects, main: Mapping[str, Any] | None) -> Objects:
        """The objects with the control arm if it can run beside `main`, as it stands; else without it.

        An autoscaler that set the main arm to zero means all of it.
        """
        is_at_zero = "replicas" not in objects.deployment["spec"] and main is not None and main["spec"]["replicas"] == 0
        return without_control(objects) if self.obstacle or is_at_zero else objects

    def problem(self, objects: Objects) -> str:
        """Why no control replica answers although `objects` ask for one; empty when all is well or on its way."""
        if objects.control is None or self.is_left_behind:
            return ""
        child, why = self.child, self.obstacle
        if not why and child is not None and child.progress_deadline_exceeded and not child.is_rolled_out:
            why = f"it does not start; look at the pods with the label {LABEL_ARM}={Arm.CONTROL}"
        return f"no control replica runs: {why}" if why else ""

    def needs_apply(self, wanted: Objects) -> bool:
        """Whether the control arm that is wanted is missing or another."""
        if wanted.control is None:
            return False
        return self.deployment is None or not covers(self.deployment, wanted.control)

    def surplus(self, wanted: Objects) -> Mapping[str, Any] | None:
        """The Deployment to delete: ours, no longer wanted, and not on its way out already."""
        if self.deployment is None or wanted.control is not None:
            return None
        metadata = self.deployment["metadata"]
        is_leaving = bool(metadata.get("deletionTimestamp"))
        return self.deployment if is_controlled_by(metadata, self.owner.uid) and not is_leaving else None
