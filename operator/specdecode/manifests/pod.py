"""The pod template of one mode. It depends on what runs, never on replicas, thresholds or a rollback: a change of those
must not restart an engine. Of the guard only `meter` is in it, because it runs inside the engine.
"""

from typing import Any

from specdecode.api.podtemplate import PRODUCT_LABEL, PodTemplateSpec
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import Arm, Mode
from specdecode.manifests import names
from specdecode.manifests.container import DRAIN_SECONDS, PRE_STOP_SECONDS, container
from specdecode.manifests.labels import engine_labels
from specdecode.manifests.meter import is_metered, meter_volume
from specdecode.plan.types import ModePlan

TERMINATION_GRACE_SECONDS = PRE_STOP_SECONDS + DRAIN_SECONDS

USER_ID = 1000
SHM_SIZE = "16Gi"
"""Upper bound of /dev/shm, through which the workers of one replica talk; only what is written counts."""


def _cache_volume(resource: SpecDecodeDeployment) -> dict[str, Any]:
    cache = resource.spec.cache
    if cache is None:
        return {"name": names.CACHE_VOLUME, "emptyDir": {}}
    return {"name": names.CACHE_VOLUME, "persistentVolumeClaim": {"claimName": cache.claim_name}}


def _volumes(resource: SpecDecodeDeployment, mode: Mode) -> list[dict[str, Any]]:
    return [
        _cache_volume(resource),
        {"name": names.SHM_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": SHM_SIZE}},
        {"name": names.HOME_VOLUME, "emptyDir": {}},
        {"name": names.TMP_VOLUME, "emptyDir": {}},
        *([meter_volume(resource)] if is_metered(resource, mode) else []),
    ]


def _tolerations(template: PodTemplateSpec) -> list[dict[str, Any]]:
    """The taint of GPU nodes, by the convention of cloud providers and the device plugin, and the user's."""
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    own = [toleration.model_dump(mode="json", by_alias=True, exclude_none=True) for toleration in template.tolerations]
    return [gpu, *own]


def _placement(resource: SpecDecodeDeployment) -> dict[str, Any]:
    template = resource.spec.pod_template
    placement: dict[str, Any] = {
        "nodeSelector": {**template.node_selector, PRODUCT_LABEL: resource.spec.accelerator.product},
        "tolerations": _tolerations(template),
    }
    classes = {
        "serviceAccountName": template.service_account_name,
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name,
    }
    return placement | {key: value for key, value in classes.items() if value is not None}


def _security_context() -> dict[str, Any]:
    """Not root, although the official image is (vllm-project/vllm#40275)."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        # Always would walk through every file of the model cache at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_template(resource: SpecDecodeDeployment, mode_plan: ModePlan, arm: Arm) -> dict[str, Any]:
    """The template of a Deployment's pods. Our labels win over the user's; the reserved ones are refused before."""
    template = resource.spec.pod_template
    metadata: dict[str, Any] = {
        "labels": template.labels | engine_labels(resource.metadata.name, arm, mode_plan.mode),
    }
    if template.annotations:
        metadata["annotations"] = dict(template.annotations)
    return {
        "metadata": metadata,
        "spec": {
            "containers": [container(resource, mode_plan)],
            "volumes": _volumes(resource, mode_plan.mode),
            **_placement(resource),
            "securityContext": _security_context(),
            # The engine talks to no API server.
            "automountServiceAccountToken": False,
            # A Service named `vllm` would set VLLM_PORT=tcp://… (vllm-project/vllm#34199).
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        },
    }
