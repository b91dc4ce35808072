"""The Service in front of all pods of a resource. The same for every mode."""

from typing import Any

from specdecode.api.resource import SpecDecodeDeployment
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
