"""Where the programs come from: which way wins, what is refused, and what the user reads when nothing works."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import httpx
import pytest

from rehearsal.binaries.artefacts import ARTEFACTS, ETCD, HELM, KUBECTL, KUBERNETES, PROMETHEUS, Artefact
from rehearsal.binaries.cache import cache_folder, cached, locked
from rehearsal.binaries.installed import installed
from rehearsal.binaries.resolve import Binaries, BinariesError, Machine, provide, resolve
from rehearsal.binaries.ways import Found, Unavailable

_VERSIONS = {
    "etcd": "etcd Version: 3.5.21\nGit SHA: a17edfd",
    "kube-apiserver": "Kubernetes v1.31.0",
    "kube-controller-manager": "Kubernetes v1.31.0",
    "kube-scheduler": "Kubernetes v1.31.0",
    "kubectl": "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0",
    "prometheus": "prometheus, version 3.2.1 (branch: HEAD)\n  go version: go1.23.6",
    "promtool": "promtool, version 3.2.1 (branch: HEAD)",
    "helm": 'version.BuildInfo{Version:"v4.3.1", GitCommit:"", GitTreeState:"", GoVersion:"go1.26.8"}',
}


def _program(folder: Path, name: str, says: str, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit {code}\n")
    path.chmod(0o755)
    return path


def _machine(tmp_path: Path, **environment: str) -> Machine:
    return Machine("linux", "x86_64", {"XDG_CACHE_HOME": str(tmp_path / "cache"), **environment})


def _client(answers: dict[str, bytes] | None = None) -> httpx.Client:
    """A client for which only the given URLs exist; without any, no host can be reached."""

    def answer(request: httpx.Request) -> httpx.Response:
        if answers is None:
            raise httpx.ConnectTimeout("timed out")
        content = answers.get(str(request.url))
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    return httpx.Client(transport=httpx.MockTransport(answer))


def _no_one(_: str) -> None:
    pass


@pytest.mark.parametrize(
    ("artefact", "programs", "reason"),
    [
        pytest.param(ETCD, {}, None, id="etcd 3.5 is good enough"),
        pytest.param(ETCD, {"etcd": "etcd Version: 3.4.30"}, "is 3.4, older than 3.5", id="etcd 3.4 is not"),
        pytest.param(KUBERNETES, {}, None, id="Kubernetes 1.31 is good enough"),
        pytest.param(
            KUBERNETES,
            {"kube-scheduler": "Kubernetes v1.28.9"},
            "kube-scheduler is 1.28, older than 1.29",
            id="one old component spoils the set",
        ),
        pytest.param(
            KUBERNETES,
            {"kube-controller-manager": None},
            "no kube-controller-manager",
            id="the folder of envtest has only an API server: no part of a set is taken",
        ),
        pytest.param(KUBECTL, {}, None, id="a kubectl that is a dispatcher counts by the version it reports"),
        pytest.param(HELM, {"helm": 'version.BuildInfo{Version:"v3.19.0"}'}, "is 3.19", id="Helm 3 is too old"),
        pytest.param(PROMETHEUS, {}, None, id="the program's version counts, not that of its Go"),
        pytest.param(PROMETHEUS, {"prometheus": "prometheus, version 2.53.0"}, "is 2.53", id="Prometheus 2 is too old"),
        pytest.param(
            PROMETHEUS,
            {"promtool": "promtool, version  (branch: , revision: unknown)"},
            "promtool reports no version",
            id="a program that does not know its version is not trusted",
        ),
    ],
)
@pytest.mark.parametrize("place", ["KUBEBUILDER_ASSETS", "PATH"])
def test_installed_programs(
    tmp_path: Path, place: str, artefact: Artefact, programs: dict[str, str | None], reason: str | None
) -> None:
    for name, says in {**_VERSIONS, **programs}.items():
        if says is not None:
            _program(tmp_path / "bin", name, says)

    answer = installed(artefact, {place: str(tmp_path / "bin"), "OTHER": "x"})

    if reason is None:
        assert answer == Found({name: tmp_path / "bin" / name for name in artefact.programs})
    else:
        assert isinstance(answer, Unavailable)
        assert reason in answer.reason


def test_a_program_that_fails_is_not_taken(tmp_path: Path) -> None:
    _program(tmp_path, "etcd", "etcd Version: 3.7.3", code=1)

    answer = installed(ETCD, {"PATH": str(tmp_path)})

    assert answer == Unavailable(f"KUBEBUILDER_ASSETS: not set; PATH: {tmp_path}/etcd reports no version")


def test_kubebuilder_assets_come_before_path_and_path_before_the_cache(tmp_path: Path) -> None:
    for folder in ("assets", "path", f"cache/specdecode/binaries/{ETCD.folder}"):
        _program(tmp_path / folder, "etcd", _VERSIONS["etcd"])
    both = {"KUBEBUILDER_ASSETS": str(tmp_path / "assets"), "PATH": str(tmp_path / "path")}
    cases: list[tuple[dict[str, str], str]] = [
        (both, "assets"),
        ({"PATH": both["PATH"]}, "path"),
        ({}, f"cache/specdecode/binaries/{ETCD.folder}"),
    ]

    for environment, folder in cases:
        found = provide(ETCD, _machine(tmp_path, **environment), _client(), _no_one)

        assert found.programs["etcd"] == tmp_path / folder / "etcd"


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        pytest.param({"XDG_CACHE_HOME": "/x"}, Path("/x/specdecode/binaries"), id="XDG_CACHE_HOME is honoured"),
        pytest.param({}, Path.home() / ".cache/specdecode/binaries", id="otherwise below the home directory"),
    ],
)
def test_cache_folder(environment: dict[str, str], folder: Path) -> None:
    assert cache_folder(environment) == folder


def _etcd_release(program: bytes = b"the program") -> tuple[dict[str, bytes], str]:
    """URLs and contents of a release with its checksums, and the archive's name."""
    file = ETCD.release[0]
    assert file.members is not None
    url = file.url.format(arch="amd64")
    member = tarfile.TarInfo(file.members["etcd"].format(arch="amd64"))
    member.size = len(program)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(member, io.BytesIO(program))
    name = url.rpartition("/")[2]
    checksums = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(archive.getvalue()).hexdigest()}  {name}\n"
    return {url: archive.getvalue(), file.checksum_url: checksums.encode()}, name


def test_a_release_is_checked_unpacked_and_cached(tmp_path: Path) -> None:
    answers, name = _etcd_release()
    said: list[str] = []

    found = provide(ETCD, _machine(tmp_path), _client(answers), said.append)

    path = tmp_path / "cache/specdecode/binaries" / ETCD.folder / "etcd"
    assert found == Found({"etcd": path})
    assert (path.read_bytes(), path.stat().st_mode & 0o111) == (b"the program", 0o111)
    assert any(name in line for line in said)
    assert provide(ETCD, _machine(tmp_path), _client(), _no_one) == found, "the second time needs no network"


def test_programs_that_are_no_archive_have_a_checksum_each(tmp_path: Path) -> None:
    answers = {}
    for file in KUBERNETES.release:
        url = file.url.format(arch="amd64")
        answers[url] = url.encode()
        answers[f"{url}.sha256"] = hashlib.sha256(url.encode()).hexdigest().encode()

    found = provide(KUBERNETES, _machine(tmp_path), _client(answers), _no_one)

    for name, path in found.programs.items():
        assert path.read_text() == f"https://dl.k8s.io/release/v1.37.2/bin/linux/amd64/{name}"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(
            lambda answers, name: {**answers, next(u for u in answers if u.endswith(name)): b"something else"},
            "published is",
            id="another file than published is refused",
        ),
        pytest.param(
            lambda answers, name: {u: c.replace(name.encode(), b"x") for u, c in answers.items()},
            "no checksum is published",
            id="a file without checksum is refused",
        ),
        pytest.param(
            lambda answers, name: {u: c for u, c in answers.items() if not u.endswith(name)},
            "answers 404",
            id="a release that is gone",
        ),
        pytest.param(lambda answers, _: dict.fromkeys(answers, b"<html>"), "no checksum", id="a captive portal"),
        pytest.param(lambda _answers, _name: None, "ConnectTimeout timed out", id="the host cannot be reached"),
    ],
)
def test_a_release_that_is_not_taken_leaves_nothing(
    tmp_path: Path, spoil: Callable[[dict[str, bytes], str], dict[str, bytes] | None], reason: str
) -> None:
    said: list[str] = []

    with pytest.raises(BinariesError, match=f"release download: .*{reason}"):
        provide(ETCD, _machine(tmp_path), _client(spoil(*_etcd_release())), said.append)

    assert any("no release download" in line and reason in line for line in said), "why it falls through is said"
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def _fake_go(folder: Path, version: str, build: str) -> str:
    """A `go` that writes its arguments and settings into what it builds; returns a PATH with it."""
    folder.mkdir(parents=True)
    (folder / "go").write_text(
        "#!/bin/bash\n"
        f"if [ $1 = env ]; then echo {version}; exit; fi\n"
        'while [ "$1" != -o ]; do seen="$seen $1"; shift; done\n'
        f"out=$2\n{build}\n"
    )
    (folder / "go").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_go_build_is_the_last_way(tmp_path: Path) -> None:
    path = _fake_go(tmp_path / "go", "go1.26.3", 'echo "$PWD|$seen|$CGO_ENABLED|$GOFLAGS|" > ${out}server')
    environment = {"PATH": path, "GOFLAGS": "-mod=vendor"}
    said: list[str] = []

    found = provide(replace(ETCD, minimum=(99, 0)), _machine(tmp_path, **environment), _client(), said.append)

    where, flags, cgo, goflags, _ = found.programs["etcd"].read_text().split("|")
    assert where.endswith("rehearsal/binaries/modules/etcd")
    assert (flags, cgo, goflags) == (" build -trimpath -ldflags -s -w", "0", "")
    assert any("ConnectTimeout" in line for line in said)
    assert any("go build of etcd" in line for line in said)


@pytest.mark.parametrize(
    ("version", "build", "reason"),
    [
        pytest.param("go1.25.4", "exit 0", "is 1.25, older than 1.26", id="a Go that is too old"),
        pytest.param("devel", "exit 0", "is 0.0, older than 1.26", id="a Go that does not say what it is"),
        pytest.param(
            "go1.26.0",
            "echo 'cannot find module' >&2; exit 1",
            "go build ended with 1: cannot find module",
            id="a build that fails says its last words",
        ),
    ],
)
def test_go_build_that_does_not_work(tmp_path: Path, version: str, build: str, reason: str) -> None:
    environment = {"PATH": _fake_go(tmp_path / "go", version, build)}

    with pytest.raises(BinariesError, match=reason):
        provide(replace(ETCD, minimum=(99, 0)), _machine(tmp_path, **environment), _client(), _no_one)


def test_when_nothing_works_the_error_names_each_way_and_what_helps(tmp_path: Path) -> None:
    with pytest.raises(BinariesError) as caught:
        resolve(_machine(tmp_path, PATH=str(tmp_path)), _client(), _no_one)

    assert str(caught.value) == (
        f"etcd v3.7.3 (etcd) cannot be had:\n"
        f"  installed: KUBEBUILDER_ASSETS: not set; PATH: no etcd\n"
        f"  cache: no etcd in {tmp_path}/cache/specdecode/binaries/etcd-v3.7.3\n"
        f"  release download: github.com: ConnectTimeout timed out\n"
        f"  go build: no go on PATH\n"
        f"Any one of these helps:\n"
        f"  put etcd into one folder and name it in KUBEBUILDER_ASSETS,\n"
        f"  install Go 1.26 or newer, with access to a Go module proxy,\n"
        f"  allow downloads from github.com (HTTPS_PROXY is honoured)."
    )


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        pytest.param(Machine("darwin", "arm64", {}), "runs on Linux only, and this is darwin", id="macOS"),
        pytest.param(Machine("linux", "riscv64", {}), "nothing is released for riscv64", id="an unusual processor"),
    ],
)
def test_machines_that_are_not_served(tmp_path: Path, machine: Machine, reason: str) -> None:
    machine = replace(machine, environment={"XDG_CACHE_HOME": str(tmp_path)})

    with pytest.raises(BinariesError, match=reason):
        resolve(machine, _client({}), _no_one)


def test_all_programs_are_named_once_found(tmp_path: Path) -> None:
    for name, says in _VERSIONS.items():
        _program(tmp_path / "bin", name, says)

    binaries = resolve(_machine(tmp_path, KUBEBUILDER_ASSETS=str(tmp_path / "bin")), _client(), _no_one)

    assert binaries == Binaries(**{name.replace("-", "_"): tmp_path / "bin" / name for name in _VERSIONS})
    assert {program for artefact in ARTEFACTS for program in artefact.programs} == set(_VERSIONS)


def test_of_two_rehearsals_the_second_waits_and_says_so(tmp_path: Path) -> None:
    said: SimpleQueue[str] = SimpleQueue()

    def second_rehearsal() -> None:
        with locked(ETCD, tmp_path, said.put):
            said.put("has the lock")

    second = threading.Thread(target=second_rehearsal, daemon=True)
    with locked(ETCD, tmp_path, _no_one):
        second.start()
        assert "another rehearsal" in said.get(timeout=10)
        assert said.empty()
    assert said.get(timeout=10) == "has the lock"
    second.join(10)
    assert isinstance(cached(ETCD, tmp_path), Unavailable)
