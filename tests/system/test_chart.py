"""The chart, with the real Helm: what it renders, and what the real API server says of it."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml
from builders import body
from charts.render import EVERYTHING, NAMESPACE, RELEASE, helm, rendered
from charts.values import CHART

from rehearsal.control_plane import ControlPlane
from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.manifests.podmonitor import pod_monitor

MONITORING = ("prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd")
"""Repository, version and folder of the Prometheus operator's CRDs."""
CRD = "specdecodedeployments.specdecode.io"


@pytest.fixture(scope="module")
def monitoring_crds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The CRDs of the Prometheus operator: the module where there is Go, else files of the repository."""
    repository, version, folder = MONITORING
    names = [f"monitoring.coreos.com_{plural}.yaml" for plural in ("podmonitors", "prometheusrules", "servicemonitors")]
    if shutil.which("go"):
        command = ["go", "mod", "download", "-json", f"github.com/{repository}@{version}"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not answer.returncode, f"{command[-1]} cannot be had: {answer.stderr or answer.stdout}"
        return tuple(Path(json.loads(answer.stdout)["Dir"]) / folder / name for name in names)
    here = tmp_path_factory.mktemp("crds")
    for name in names:
        url = f"https://raw.githubusercontent.com/{repository}/{version}/{folder}/{name}"
        (here / name).write_text(httpx.get(url, timeout=30.0).raise_for_status().text, encoding="utf-8")
    return tuple(here / name for name in names)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(plane: ControlPlane, monitoring_crds: tuple[Path, ...]) -> ControlPlane:
    """The control plane with those CRDs and the release's namespace."""
    for crd in monitoring_crds:
        await plane.apply(crd)
    await plane.established()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    await plane.apply(yaml.safe_dump(namespace | {"metadata": {"name": NAMESPACE, "labels": restricted}}))
    for name in ("team-a", "team-b"):
        await plane.apply(yaml.safe_dump(namespace | {"metadata": {"name": name}}))
    return plane


async def test_helm_finds_nothing_to_complain_about(plane: ControlPlane) -> None:
    assert "0 chart(s) failed" in await helm(plane, "lint", "--strict", str(CHART))


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


async def test_install_upgrade_and_uninstall_leave_crd_and_resources(cluster: ControlPlane) -> None:
    """The CRD is upgraded with the release, as Helm's own folder for CRDs never is, and stays after it."""
    options = ("--take-ownership", "--force-conflicts", "--set=replicas=1")
    notes = await helm(cluster, "install", RELEASE, str(CHART), *options)
    assert "the whole cluster" in notes
    assert "MetricsAvailable stays Unknown" in notes, "the default URL is named as such"
    await cluster.established()
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
