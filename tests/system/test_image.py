"""What the image is made of, by its own build stage: lean, locked, and able to run as nobody from a read-only tree.

There is no container runtime here; the Dockerfile runs the same script, on another base.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from builders import body

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.processes import Process
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import connect, resource_path

ROOT = Path(__file__).parents[2]
NOBODY = 65532
MEGABYTES = 180
"""Of packages, bytecode included; measured: 151. The base image has 130 more."""
NAMESPACE = "image"


@pytest.fixture(scope="module")
def app() -> Iterator[Path]:
    """The folder /app of the image, in a place that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="specdecode-image-"))
    folder.chmod(0o755)
    source = folder / "src"
    # As the build context has it: what the rehearsal and the tests need is not there.
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements", "operator/specdecode", "operator/image"):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    environment = os.environ | {"PYTHON": sys.executable}
    assemble = source / "operator" / "image" / "assemble.sh"
    subprocess.run([assemble, folder / "app"], cwd=source, env=environment, check=True, timeout=110)
    for path in (folder / "app").rglob("*"):
        path.chmod(0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444)
    yield folder / "app"
    shutil.rmtree(folder)


def interpreter() -> str:
    """A Python of the version that the packages are for, which a nobody may start: not that of root's home."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [shutil.which(version, path="/usr/local/bin:/usr/bin:/bin"), getattr(sys, "_base_executable", "")]
    return next(path for path in (*found, sys.executable) if path)


def as_nobody() -> list[str]:
    """Where this runs as root, the operator does not."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]


def variables(app: Path, **more: str) -> dict[str, str]:
    """The environment of the image."""
    return {"PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp", "PATH": "/usr/bin:/bin"} | more


def command(*arguments: str) -> list[str]:
    return [*as_nobody(), interpreter(), "-m", "specdecode", *arguments]


def specdecode(app: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), env=variables(app), capture_output=True, text=True, check=False, timeout=60, cwd="/"
    )


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def sizes_in(app: Path) -> dict[str, float]:
    return {path.name: megabytes(path) for path in app.iterdir() if path.is_dir()}


async def test_it_is_lean(app: Path) -> None:
    sizes = sizes_in(app)
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:6]
    sys.stdout.write(f"image: {megabytes(app):.0f} MB of packages: {', '.join(f'{n} {s:.0f}' for n, s in largest)}\n")
    assert megabytes(app) < MEGABYTES
    assert sizes["kubernetes"] < 10, "its generated classes are not there"


async def test_nothing_of_tests_rehearsal_or_tools_is_in_it(app: Path) -> None:
    assert not sizes_in(app).keys() & {"rehearsal", "tests", "pip", "pytest", "matplotlib", "vllm", "torch"}


async def test_the_commands_run_as_nobody(app: Path) -> None:
    said = await asyncio.to_thread(specdecode, app, "--version")
    assert said.stdout == "specdecode 0.1.0\n", said.stderr
    example = app.parent / "example.yaml"
    example.write_text((ROOT / "examples" / "ngram-summaries.yaml").read_text())
    shown = await asyncio.to_thread(specdecode, app, "plan", "-f", str(example))
    assert "requests of maxModelLen at once" in shown.stdout, shown.stderr
    refused = await asyncio.to_thread(specdecode, app, "run", "--kubeconfig=/nowhere")
    assert refused.returncode == 3, refused.stderr


async def test_the_operator_runs_from_it_as_nobody(app: Path, plane: ControlPlane, tmp_path: Path) -> None:
    """It watches, plans and writes on the real API server, from a tree that it cannot write."""
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    kubeconfig = await identity(plane, NAMESPACE)
    wanted = body(**{"metadata.namespace": NAMESPACE})
    for field in ("uid", "generation"):
        wanted["metadata"].pop(field)
    await plane.apply(yaml.safe_dump(wanted))
    readable = app.parent / "kubeconfig"
    readable.write_bytes(kubeconfig.read_bytes())
    readable.chmod(0o644)
    flags = (f"--namespace={NAMESPACE}", "--listen-port=0", "--listen-address=127.0.0.1")
    operator = Process(
        "the image's operator",
        command("run", *flags, "--prometheus-url=http://127.0.0.1:9", f"--kubeconfig={readable}"),
        log=tmp_path / "operator.log",
        environment=variables(app),
        directory=Path("/"),
    )
    await operator.start()
    try:
        async with connect(str(plane.kubeconfig)) as kube, asyncio.timeout(30):
            while True:
                status = (await kube.get(resource_path(NAMESPACE, wanted["metadata"]["name"]))).get("status", {})
                planned = [each["status"] for each in status.get("conditions", []) if each["type"] == "Planned"]
                if planned == ["True"]:
                    break
                assert operator.is_running, operator.log_tail(20)
                await asyncio.sleep(0.2)
    finally:
        await operator.stop()
