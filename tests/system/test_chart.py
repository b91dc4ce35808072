"""The chart, with the real Helm: what it renders, and what the real API server says of it."""

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytest_asyncio
import yaml
from builders import body

from rehearsal.control_plane import ControlPlane
from rehearsal.processes import run
from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.manifests.podmonitor import pod_monitor
from specdecode.settings import Settings

CHART = Path(__file__).parents[2] / "charts" / "specdecode-operator"
RELEASE, NAMESPACE = "specdecode", "specdecode-system"
MONITORING = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
"""A Go module that carries the CRDs of the Prometheus operator."""
CRD = "specdecodedeployments.specdecode.io"

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


@pytest.fixture(scope="module")
def monitoring_crds() -> tuple[Path, ...]:
    """The CRDs of the Prometheus operator, from the Go module proxy."""
    answer = subprocess.run(["go", "mod", "download", "-json", MONITORING], capture_output=True, text=True, check=False)
    assert not answer.returncode, f"{MONITORING} cannot be had: {answer.stderr or answer.stdout}"
    folder = Path(json.loads(answer.stdout)["Dir"]) / "example" / "prometheus-operator-crd"
    plurals = ("podmonitors", "prometheusrules", "servicemonitors")
    return tuple(folder / f"monitoring.coreos.com_{plural}.yaml" for plural in plurals)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(plane: ControlPlane, monitoring_crds: tuple[Path, ...]) -> ControlPlane:
    """The control plane with those CRDs and the release's namespace."""
    for crd in monitoring_crds:
        await plane.apply(crd)
    await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    await plane.apply(yaml.safe_dump(namespace | {"metadata": {"name": NAMESPACE, "labels": restricted}}))
    for name in ("team-a", "team-b"):
        await plane.apply(yaml.safe_dump(namespace | {"metadata": {"name": name}}))
    return plane


async def test_helm_finds_nothing_to_complain_about(plane: ControlPlane) -> None:
    assert "0 chart(s) failed" in await helm(plane, "lint", "--strict", str(CHART))


EVERYTHING = (
    "replicas=2",
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
RENDERINGS = {
    "as it comes": (),
    "with everything": EVERYTHING,
    "for two namespaces": ("watch.namespaces={team-a,team-b}", "replicas=3", "podMonitor.enabled=true"),
    "with a PodMonitor and basic auth": (
        "monitoring.podMonitor.enabled=true",
        "prometheus.basicAuth.secretName=basic",
        "prometheus.basicAuth.username=reader",
    ),
    "without what others make": (
        *("crds.install=false", "rbac.create=false", "networkPolicy.enabled=false"),
        *("serviceAccount.create=false", "serviceAccount.name=mine"),
    ),
}


@pytest.mark.parametrize("settings", RENDERINGS.values(), ids=RENDERINGS.keys())
async def test_the_api_server_would_take_every_object(cluster: ControlPlane, settings: tuple[str, ...]) -> None:
    objects = await rendered(cluster, *settings)
    text = yaml.safe_dump_all(objects)
    flags = ("--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--field-manager=helm")
    said = await cluster.kubectl("apply", *flags, "-f", "-", stdin=text)
    assert said.count("serverside-applied") == len(objects)


async def test_the_operators_own_pod_monitor_is_one(cluster: ControlPlane) -> None:
    """The API server that knows the real CRD takes what the operator would apply."""
    resource = parse(body(metadata={"name": "chat", "namespace": "team-a"}))
    assert isinstance(resource, SpecDecodeDeployment)
    text = yaml.safe_dump(pod_monitor(resource, {}))
    await cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


async def test_the_operator_understands_what_the_chart_sets(cluster: ControlPlane) -> None:
    """Environment and arguments of the rendered container, read by the settings class that will read them."""
    settings = ("watch.namespaces={team-a,team-b}", "logFormat=text", "prometheus.url=https://prom:9090/x")
    found = container(await rendered(cluster, *EVERYTHING, *settings))
    variables = {each["name"]: each.get("value", "operator-0") for each in found["env"]}
    with patch.dict(os.environ, variables, clear=True):
        read = Settings()
    assert read.namespaces == ("team-a", "team-b")
    assert str(read.prometheus_url) == "https://prom:9090/x"
    assert read.leader_election
    assert read.pod_monitor
    assert not read.hub
    assert (read.lease_name, read.lease_namespace) == ("specdecode-specdecode-operator", NAMESPACE)
    files = (
        read.prometheus_token_file,
        read.prometheus_ca_file,
        read.prometheus_client_key_file,
        read.models_directory,
    )
    mounts = [Path(mount["mountPath"]) for mount in found["volumeMounts"]]
    assert all(file is not None and any(file.is_relative_to(mount) for mount in mounts) for file in files)
    unknown = {name for name in variables if name.startswith("SPECDECODE_")} - {
        f"SPECDECODE_{field.upper()}" for field in Settings.model_fields
    }
    assert not unknown, "settings that the operator does not have"


REFUSED = {
    "replcas=2": "additional properties 'replcas' not allowed",
    "replicas=0": "at '/replicas': minimum: got 0, want 1",
    "image.digest=latest": "at '/image/digest'",
    "prometheus.url=prometheus:9090": "at '/prometheus/url'",
    "watch.namespaces={Team_A}": "at '/watch/namespaces/0'",
    "prometheus.basicAuth.password=hunter2": "additional properties 'password' not allowed",
    "prometheus.basicAuth.secretName=basic": "prometheus.basicAuth.username must be set",
    "prometheus.bearerToken.secretName=a,prometheus.basicAuth.secretName=b": "exclude each other",
    "serviceAccount.create=false": "serviceAccount.name must be set",
    "extraEnv[0].name=SPECDECODE_HUB": "extraEnv sets SPECDECODE_HUB, which the chart sets from its values",
}


@pytest.mark.parametrize(("setting", "words"), REFUSED.items(), ids=REFUSED.keys())
async def test_a_wrong_value_is_refused_by_name(plane: ControlPlane, setting: str, words: str) -> None:
    said = await helm(plane, "template", RELEASE, str(CHART), f"--set={setting}", check=False)
    assert words in said


async def test_names_of_two_releases_do_not_meet(plane: ControlPlane) -> None:
    texts = [await helm(plane, "template", name, str(CHART), "--set=crds.install=false") for name in ("one", "two")]
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(text) if each} for text in texts
    )
    assert not first & second


async def test_a_pod_that_may_do_nothing_but_its_work(plane: ControlPlane) -> None:
    pod = one(await rendered(plane), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [name for name in pod if name.startswith("host")]
    assert all(set(volume) <= {"name", "emptyDir"} for volume in pod["volumes"])


async def test_nothing_of_the_chart_looks_like_a_child_of_the_operator(plane: ControlPlane) -> None:
    """It watches by that label; its own Deployment must not be one of those that it looks after."""
    objects = await rendered(plane, *EVERYTHING)
    assert all(each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm" for each in objects)


async def test_a_namespaced_install_has_no_right_elsewhere(plane: ControlPlane) -> None:
    objects = await rendered(plane, "watch.namespaces={team-a,team-b}", "crds.install=false")
    assert not [each for each in objects if each["kind"].startswith("Cluster")]
    assert {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"} == {"team-a", "team-b"}


async def test_install_upgrade_and_uninstall_leave_crd_and_resources(cluster: ControlPlane) -> None:
    """The CRD is upgraded with the release, as Helm's own folder for CRDs never is, and stays after it."""
    options = ("--take-ownership", "--force-conflicts", "--set=replicas=1")
    notes = await helm(cluster, "install", RELEASE, str(CHART), *options)
    assert "the whole cluster" in notes
    assert "MetricsAvailable stays Unknown" in notes, "the default URL is named as such"
    await cluster.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
    resource = body(metadata={"name": "kept", "namespace": "team-a"})
    await cluster.apply(yaml.safe_dump(resource))
    with tempfile.TemporaryDirectory() as folder:
        newer = await asyncio.to_thread(_newer_chart, Path(folder))
        await helm(cluster, "upgrade", RELEASE, str(newer), *options)
    short = await cluster.kubectl("get", "crd", CRD, "-o", "jsonpath={.spec.names.shortNames}")
    assert "sddnew" in short, "the upgrade brought the new CRD"
    await helm(cluster, "uninstall", RELEASE)
    assert "kept" in await cluster.kubectl("get", CRD, "--namespace=team-a", "--output=name")
    left = await cluster.kubectl("get", "deployments,roles,services", f"--namespace={NAMESPACE}", "--output=name")
    assert left == ""
    await cluster.kubectl("delete", CRD, "kept", "--namespace=team-a", "--timeout=20s")
    # As it was, for the tests after this one.
    await cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", str(CHART / "files" / "specdecodedeployments.yaml")
    )


def _newer_chart(folder: Path) -> Path:
    """A copy of the chart whose CRD has one more short name."""
    newer = folder / CHART.name
    subprocess.run(["cp", "-r", str(CHART), str(newer)], check=True)
    crd = newer / "files" / "specdecodedeployments.yaml"
    content = yaml.safe_load(crd.read_text(encoding="utf-8"))
    content["spec"]["names"]["shortNames"].append("sddnew")
    crd.write_text(yaml.safe_dump(content), encoding="utf-8")
    return newer
