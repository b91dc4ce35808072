"""The PodMonitor, for clusters that run the Prometheus operator. The same for every mode."""

from collections.abc import Mapping
from typing import Any

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import LABEL_ARM, LABEL_DEPLOYMENT, LABEL_MODE
from specdecode.manifests.labels import common_annotations, common_labels, owner_references, service_selector
from specdecode.manifests.names import PORT_NAME, pod_monitor_name

SCRAPE_INTERVAL = "15s"


def pod_monitor(resource: SpecDecodeDeployment, labels: Mapping[str, str]) -> dict[str, Any]:
    """The PodMonitor. `labels` are what the cluster's Prometheus selects monitors by.

    The pod labels become target labels (`specdecode_io_deployment`, `_mode`, `_arm`), which the queries group by:
    `model_name` alone never identifies a deployment.
    """
    name = resource.metadata.name
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {
            "name": pod_monitor_name(name),
            "namespace": resource.metadata.namespace,
            "labels": {**labels, **common_labels(name)},
            "annotations": common_annotations(),
            "ownerReferences": owner_references(resource),
        },
        "spec": {
            "selector": {"matchLabels": service_selector(name)},
            "podTargetLabels": [LABEL_DEPLOYMENT, LABEL_MODE, LABEL_ARM],
            "podMetricsEndpoints": [{"port": PORT_NAME, "path": "/metrics", "interval": SCRAPE_INTERVAL}],
        },
    }
