"""What the control plane is made of: programs, versions, release files and Go packages. Values only.

The programs of one artefact come from one place, all or none: a kube-controller-manager newer than its kube-apiserver
is outside Kubernetes' version skew policy, and the folders of envtest hold an API server without the other two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_KUBERNETES = "v1.37.2"
_ETCD = "v3.7.3"
_PROMETHEUS = "3.16.0"
_HELM = "v4.3.1"

MINIMUM_GO = (1, 26)
MODULES = Path(__file__).parent / "modules"


@dataclass(frozen=True)
class ReleaseFile:
    """One file of an official release. `{arch}` in a text is Go's name of the processor: amd64 or arm64."""

    url: str
    checksum_url: str
    """Text with the SHA-256 of the file: the digest alone, or lines of digest and file name."""
    members: Mapping[str, str] | None = None
    """Program -> path inside the tar.gz; None: the file is the program."""


@dataclass(frozen=True)
class GoBuild:
    module: str
    """Folder below `modules`, with go.mod and go.sum."""
    packages: Mapping[str, str]
    """Program -> main package."""
    ldflags: str
    minutes: int
    """On two cores with an empty build cache, measured with Go 1.26."""
    tags: str = ""


@dataclass(frozen=True)
class Artefact:
    """Programs of one version that are looked for, downloaded and built together."""

    title: str
    folder: str
    programs: tuple[str, ...]
    minimum: tuple[int, int]
    """Major and minor version that an installed program must report at least."""
    release: tuple[ReleaseFile, ...]
    build: GoBuild
    version_arguments: tuple[str, ...] = ("--version",)


def _kubernetes_release(*programs: str) -> tuple[ReleaseFile, ...]:
    urls = [f"https://dl.k8s.io/release/{_KUBERNETES}/bin/linux/{{arch}}/{program}" for program in programs]
    return tuple(ReleaseFile(url, f"{url}.sha256") for url in urls)


def _kubernetes_build(*programs: str, minutes: int) -> GoBuild:
    version = "k8s.io/component-base/version"
    major, minor, _ = _KUBERNETES.removeprefix("v").split(".")
    stamps = {"gitVersion": _KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return GoBuild(
        module="kubernetes",
        packages=MappingProxyType({program: f"k8s.io/kubernetes/cmd/{program}" for program in programs}),
        # Without the stamps clients cannot parse the version that the API server reports.
        ldflags="-s -w " + " ".join(f"-X {version}.{name}={value}" for name, value in stamps.items()),
        minutes=minutes,
    )


ETCD = Artefact(
    title=f"etcd {_ETCD}",
    folder=f"etcd-{_ETCD}",
    programs=("etcd",),
    minimum=(3, 5),
    release=(
        ReleaseFile(
            f"https://github.com/etcd-io/etcd/releases/download/{_ETCD}/etcd-{_ETCD}-linux-{{arch}}.tar.gz",
            f"https://github.com/etcd-io/etcd/releases/download/{_ETCD}/SHA256SUMS",
            MappingProxyType({"etcd": f"etcd-{_ETCD}-linux-{{arch}}/etcd"}),
        ),
    ),
    build=GoBuild("etcd", MappingProxyType({"etcd": "go.etcd.io/etcd/server/v3"}), "-s -w", minutes=1),
)

_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")

KUBERNETES = Artefact(
    title=f"Kubernetes {_KUBERNETES}",
    folder=f"kubernetes-{_KUBERNETES}",
    programs=_SERVERS,
    minimum=(1, 29),
    release=_kubernetes_release(*_SERVERS),
    build=_kubernetes_build(*_SERVERS, minutes=8),
)

KUBECTL = Artefact(
    title=f"kubectl {_KUBERNETES}",
    folder=f"kubernetes-{_KUBERNETES}",
    programs=("kubectl",),
    minimum=(1, 29),
    release=_kubernetes_release("kubectl"),
    build=_kubernetes_build("kubectl", minutes=1),
    version_arguments=("version", "--client"),
)

PROMETHEUS = Artefact(
    title=f"Prometheus v{_PROMETHEUS}",
    folder=f"prometheus-v{_PROMETHEUS}",
    programs=("prometheus", "promtool"),
    minimum=(3, 0),
    release=(
        ReleaseFile(
            f"https://github.com/prometheus/prometheus/releases/download/v{_PROMETHEUS}"
            f"/prometheus-{_PROMETHEUS}.linux-{{arch}}.tar.gz",
            f"https://github.com/prometheus/prometheus/releases/download/v{_PROMETHEUS}/sha256sums.txt",
            MappingProxyType(
                {
                    program: f"prometheus-{_PROMETHEUS}.linux-{{arch}}/{program}"
                    for program in ("prometheus", "promtool")
                }
            ),
        ),
    ),
    build=GoBuild(
        "prometheus",
        MappingProxyType(
            {
                "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
                "promtool": "github.com/prometheus/prometheus/cmd/promtool",
            }
        ),
        f"-s -w -X github.com/prometheus/common/version.Version={_PROMETHEUS}",
        minutes=3,
        # Only the service discovery that is used: the others pull in hundreds of modules of cloud providers.
        tags="netgo,remove_all_sd,enable_kubernetes_sd",
    ),
)

HELM = Artefact(
    title=f"Helm {_HELM}",
    folder=f"helm-{_HELM}",
    programs=("helm",),
    # Helm 4 validates and applies on the server's side; the chart is tested with it.
    minimum=(4, 0),
    release=(
        ReleaseFile(
            f"https://get.helm.sh/helm-{_HELM}-linux-{{arch}}.tar.gz",
            f"https://get.helm.sh/helm-{_HELM}-linux-{{arch}}.tar.gz.sha256sum",
            MappingProxyType({"helm": "linux-{arch}/helm"}),
        ),
    ),
    build=GoBuild(
        "helm",
        MappingProxyType({"helm": "helm.sh/helm/v4/cmd/helm"}),
        f"-s -w -X helm.sh/helm/v4/internal/version.version={_HELM}",
        minutes=2,
    ),
    version_arguments=("version",),
)

ARTEFACTS = (ETCD, KUBERNETES, KUBECTL, PROMETHEUS, HELM)
