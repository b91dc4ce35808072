"""The Service in front of all pods of a resource. The same for every mode."""

from collections.abc import Mapping
from typing import Any

from specdecode.api.resource import SpecDecodeDeployment, digest
from specdecode.manifests import names
from specdecode.manifests.labels import common_annotations, common_labels, owner_references, service_selector


def service(resource: SpecDecodeDeployment) -> dict[str, Any]:
    """The Service. Its port is vLLM's own, 8000, so that a base URL needs no change."""
    name = resource.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.service_name(name),
            "namespace": resource.metadata.namespace,
            "labels": common_labels(name),
            "annotations": common_annotations(),
            "ownerReferences": owner_references(resource),
        },
        "spec": {
            "type": "ClusterIP",
            "selector": service_selector(name),
            "ports": [
                {"name": names.PORT_NAME, "port": names.PORT, "targetPort": names.PORT_NAME, "protocol": "TCP"},
            ],
        },
    }


_OF_A_PORT = ("name", "port", "targetPort", "protocol")


def service_digest(body: Mapping[str, Any]) -> str:
    """Ten digits for what is ours in a Service, as we would apply it or as it stands; what the server or others add
    does not change them.
    """
    metadata, spec = body["metadata"], body.get("spec") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    owners = [owner["uid"] for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    ports = [{key: port.get(key) for key in _OF_A_PORT} for port in spec.get("ports") or ()]
    ours = (
        [labels.get(key) for key in sorted(common_labels(""))],
        [annotations.get(key) for key in common_annotations()],
    )
    return digest([ours, owners, spec.get("type"), spec.get("selector"), ports])
