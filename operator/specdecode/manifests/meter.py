"""The ConfigMap that brings the meter into a pod. The same for every mode; only those that speculate mount it."""

from typing import Any

from specdecode.api.resource import SpecDecodeDeployment, digest
from specdecode.api.vocabulary import Mode
from specdecode.manifests import names
from specdecode.manifests.labels import common_annotations, common_labels, owner_references
from specdecode.meter import FILE, source


def meter_digest() -> str:
    """Stands for the text of the meter."""
    return digest(source())


def is_metered(resource: SpecDecodeDeployment, mode: Mode) -> bool:
    """Whether the pods of a mode run the meter. Without speculation it has nothing to measure, and vLLM refuses to
    start with its argument.
    """
    return resource.spec.guard.meter and mode is not Mode.OFF


def meter(resource: SpecDecodeDeployment) -> dict[str, Any] | None:
    """The ConfigMap; None where no mode of the resource is metered.

    Its name carries the text's digest and it is immutable: pods that run keep the meter they were started with, and a
    changed meter is another name in the pod template, which rolls out like any other change.
    """
    if not resource.spec.guard.meter or resource.spec.speculation is None:
        return None
    name = resource.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.meter_name(name, meter_digest()),
            "namespace": resource.metadata.namespace,
            "labels": common_labels(name),
            "annotations": common_annotations(),
            "ownerReferences": owner_references(resource),
        },
        "immutable": True,
        "data": {FILE: source()},
    }


def meter_volume(resource: SpecDecodeDeployment) -> dict[str, Any]:
    """The volume of a pod that is metered."""
    return {"name": names.METER_VOLUME, "configMap": {"name": names.meter_name(resource.metadata.name, meter_digest())}}
