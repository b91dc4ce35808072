"""The Deployment of one mode. Switching the mode changes its pod template and nothing else of weight."""

from typing import Any

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import ANNOTATION_MODE, ANNOTATION_SPEC_HASH, Arm
from specdecode.manifests.labels import arm_selector, common_annotations, engine_labels, owner_references
from specdecode.manifests.names import deployment_name
from specdecode.manifests.pod import TERMINATION_GRACE_SECONDS, pod_template
from specdecode.plan.startup import startup_budget_seconds
from specdecode.plan.types import ModePlan

PULL_SECONDS = 600
"""For the image, some 10 GB, on a node that does not have it. The start-up probe counts only after that."""
MIN_READY_SECONDS = 5
REVISION_HISTORY_LIMIT = 3


def _progress_deadline_seconds(load_bytes: int) -> int:
    """The old pod may use its whole grace period, the image may have to be pulled, then the start-up budget runs."""
    return TERMINATION_GRACE_SECONDS + PULL_SECONDS + startup_budget_seconds(load_bytes)


def deployment(
    resource: SpecDecodeDeployment, mode_plan: ModePlan, replicas: int | None, arm: Arm = Arm.MAIN
) -> dict[str, Any]:
    """The Deployment that runs one mode.

    It never surges: a pod more than asked for needs GPUs that are usually not there, and the rollout, or the rollback
    that should help, would wait for them for ever (kserve/kserve#5452). `replicas` is left out where it is None, so
    that an autoscaler may own it.
    """
    name = resource.metadata.name
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(name, arm),
            "namespace": resource.metadata.namespace,
            "labels": engine_labels(name, arm, mode_plan.mode),
            "annotations": common_annotations()
            | {ANNOTATION_MODE: mode_plan.mode.value, ANNOTATION_SPEC_HASH: resource.spec_hash},
            "ownerReferences": owner_references(resource),
        },
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": arm_selector(name, arm)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "minReadySeconds": MIN_READY_SECONDS,
            "progressDeadlineSeconds": _progress_deadline_seconds(mode_plan.load_bytes),
            "revisionHistoryLimit": REVISION_HISTORY_LIMIT,
            "template": pod_template(resource, mode_plan, arm),
        },
    }
