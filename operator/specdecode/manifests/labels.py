"""Labels, annotations and the owner of every object. An explicit list: nothing is inherited from the resource, because
children that carry the labels of Argo CD or Flux are pruned by them (argoproj/argo-cd#8683).
"""

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import (
    API_VERSION,
    FIELD_MANAGER,
    KIND,
    LABEL_ARM,
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    LABEL_MODE,
    Arm,
    Mode,
)

ANNOTATION_FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"


def common_labels(resource_name: str) -> dict[str, str]:
    """Labels of every object that belongs to a resource."""
    return {
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": resource_name,
        "app.kubernetes.io/component": "engine",
        "app.kubernetes.io/part-of": "specdecode",
        LABEL_MANAGED_BY: FIELD_MANAGER,
        LABEL_DEPLOYMENT: resource_name,
    }


def engine_labels(resource_name: str, arm: Arm, mode: Mode) -> dict[str, str]:
    """Labels of a Deployment and of its pods. The mode is what Prometheus tells measurements apart by."""
    return common_labels(resource_name) | {LABEL_ARM: arm.value, LABEL_MODE: mode.value}


def arm_selector(resource_name: str, arm: Arm) -> dict[str, str]:
    """Selector of a Deployment: immutable, so only what never changes. The mode does."""
    return {LABEL_DEPLOYMENT: resource_name, LABEL_ARM: arm.value}


def service_selector(resource_name: str) -> dict[str, str]:
    """Selector of the Service: all pods of the resource, the control arm included."""
    return {LABEL_DEPLOYMENT: resource_name}


def selector_text(resource_name: str) -> str:
    """The pods that `spec.replicas` counts, both arms, as the text that the scale subresource hands to autoscalers."""
    return ",".join(f"{key}={value}" for key, value in service_selector(resource_name).items())


def common_annotations() -> dict[str, str]:
    """Annotations of every object: Flux must not take a child for its own."""
    return {ANNOTATION_FLUX_RECONCILE: "disabled"}


def owner_references(resource: SpecDecodeDeployment) -> list[dict[str, object]]:
    """The resource as controller, so that the garbage collector removes what belongs to it.

    `blockOwnerDeletion` is false: true needs the permission to update the owner's finalizers where the admission plugin
    OwnerReferencesPermissionEnforcement runs, and would only make a foreground deletion wait for the children.
    Empty for a resource that was never stored, as `specdecode render` reads it from a file.
    """
    if not resource.metadata.uid:
        return []
    return [
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": resource.metadata.name,
            "uid": resource.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
