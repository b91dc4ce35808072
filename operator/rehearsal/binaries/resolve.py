"""The order of the ways, and one clear error when none of them works."""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from rehearsal.binaries.artefacts import ARTEFACTS, MINIMUM_GO, Artefact
from rehearsal.binaries.build import built
from rehearsal.binaries.cache import cache_folder, cached, locked
from rehearsal.binaries.installed import installed
from rehearsal.binaries.release import download_client, downloaded
from rehearsal.binaries.ways import Found, Say, Unavailable

_GO_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class BinariesError(Exception):
    """The control plane's programs cannot be had; the message says what was tried and what helps."""


@dataclass(frozen=True)
class Binaries:
    """Absolute paths of the programs that the rehearsal runs."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubectl: Path
    prometheus: Path
    promtool: Path
    helm: Path


@dataclass(frozen=True)
class Machine:
    """What the search depends on beside the network."""

    system: str
    """`sys.platform`."""
    machine: str
    """`platform.machine()`."""
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> "Machine":
        return cls(sys.platform, platform.machine(), dict(os.environ))


def ensure(say: Say) -> Binaries:
    """All programs, from the first way that has them; the first run on a machine may take ten minutes.

    Blocks; call it before an event loop runs or in a thread.

    Raises:
        BinariesError: an artefact cannot be had in any way, or this is no Linux machine.
    """
    with download_client() as client:
        return resolve(Machine.here(), client, say)


def resolve(machine: Machine, client: httpx.Client, say: Say) -> Binaries:
    """As `ensure`, for a given machine and download client."""
    if machine.system != "linux":
        raise BinariesError(
            f"The control plane runs on Linux only, and this is {machine.system}: kube-apiserver is released for Linux"
            " alone, and every pod needs a loopback address of its own. A Linux container or virtual machine will do."
        )
    programs: dict[str, Path] = {}
    for artefact in ARTEFACTS:
        programs.update(provide(artefact, machine, client, say).programs)
    return Binaries(**{program.replace("-", "_"): path for program, path in programs.items()})


def provide(artefact: Artefact, machine: Machine, client: httpx.Client, say: Say) -> Found:
    """One artefact's programs; raises BinariesError when no way has them."""
    cache = cache_folder(machine.environment)
    tried: list[tuple[str, str]] = []
    for name, answer in (
        ("installed", installed(artefact, machine.environment)),
        ("cache", cached(artefact, cache)),
    ):
        if isinstance(answer, Found):
            return answer
        tried.append((name, answer.reason))
    with locked(artefact, cache, say):
        already = cached(artefact, cache)
        if isinstance(already, Found):
            return already
        release = _released(artefact, cache, machine, client, say)
        if isinstance(release, Found):
            return release
        tried.append(("release download", release.reason))
        say(f"{artefact.title}: no release download ({release.reason}); trying go build")
        own = built(artefact, cache, machine.environment, say)
        if isinstance(own, Found):
            return own
        tried.append(("go build", own.reason))
    raise BinariesError(_message(artefact, tried))


def _released(artefact: Artefact, cache: Path, machine: Machine, client: httpx.Client, say: Say) -> Found | Unavailable:
    arch = _GO_ARCHITECTURES.get(machine.machine.lower())
    if arch is None:
        return Unavailable(f"nothing is released for {machine.machine}")
    return downloaded(artefact, cache, arch, client, say)


def _message(artefact: Artefact, tried: list[tuple[str, str]]) -> str:
    hosts = sorted({httpx.URL(file.url.format(arch="")).host for file in artefact.release})
    return "\n".join(
        [
            f"{artefact.title} ({', '.join(artefact.programs)}) cannot be had:",
            *(f"  {name}: {reason}" for name, reason in tried),
            "Any one of these helps:",
            f"  put {', '.join(artefact.programs)} into one folder and name it in KUBEBUILDER_ASSETS,",
            f"  install Go {MINIMUM_GO[0]}.{MINIMUM_GO[1]} or newer, with access to a Go module proxy,",
            f"  allow downloads from {' and '.join(hosts)} (HTTPS_PROXY is honoured).",
        ]
    )
