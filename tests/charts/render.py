"""The chart through the real Helm, and ways into what it renders."""

import os
from typing import Any

import yaml
from charts.values import CHART

from rehearsal.control_plane import ControlPlane
from rehearsal.processes import run

RELEASE, NAMESPACE = "specdecode", "specdecode-system"
FULL_NAME = "specdecode-specdecode-operator"

EVERYTHING = (
    "replicas=2",
    "shards=2",
    "podMonitor.enabled=true",
    "monitoring.serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "dashboards.enabled=true",
    "dashboards.folder=AI",
    "argocd.enabled=true",
    "models.claimName=models",
    "prometheus.bearerToken.secretName=token",
    "prometheus.tls.caSecretName=ca",
    "prometheus.tls.clientSecretName=client",
    "networkPolicy.ingressFrom[0].namespaceSelector.matchLabels.name=monitoring",
    "imagePullSecrets[0].name=pull",
    "priorityClassName=system-cluster-critical",
    "image.digest=sha256:" + "0" * 64,
)

Objects = list[dict[str, Any]]


async def helm(plane: ControlPlane, *arguments: str, check: bool = True) -> str:
    """What Helm prints; of a failure its errors, or with `check` an AssertionError with them."""
    home = plane.directory / "helm"
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "KUBECONFIG": str(plane.kubeconfig)}
    answer = await run(
        [plane.binaries.helm, *arguments, f"--namespace={NAMESPACE}"], environment=environment, timeout_seconds=60.0
    )
    assert not (check and answer.returncode), answer.errors
    return answer.output if not answer.returncode else answer.errors


async def rendered(plane: ControlPlane, *settings: str) -> Objects:
    """The objects of the chart with these `--set` texts."""
    text = await helm(plane, "template", RELEASE, str(CHART), *(f"--set={setting}" for setting in settings))
    return [document for document in yaml.safe_load_all(text) if document]


def one(objects: Objects, kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def container(objects: Objects) -> dict[str, Any]:
    (found,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def deployment(objects: Objects) -> dict[str, Any]:
    return dict(one(objects, "Deployment")["spec"])


def pod(objects: Objects) -> dict[str, Any]:
    return dict(deployment(objects)["template"]["spec"])


def kinds(objects: Objects) -> set[str]:
    return {each["kind"] for each in objects}


def annotation(objects: Objects) -> str | None:
    return one(objects, "CustomResourceDefinition")["metadata"]["annotations"].get("helm.sh/resource-policy")


def operator_role(objects: Objects) -> dict[str, Any]:
    """The cluster role of the operator itself; others are for people."""
    (found,) = [each for each in objects if each["kind"] == "ClusterRole" and each["metadata"]["name"] == FULL_NAME]
    return found
