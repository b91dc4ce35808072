"""Last way: `go build` from the pinned modules beside this file.

Go verifies every module against go.sum. The flags are part of the recipe: with others the user's warm build cache
would be of no use to the next run.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from rehearsal.binaries.artefacts import MINIMUM_GO, MODULES, Artefact
from rehearsal.binaries.cache import store, workshop
from rehearsal.binaries.ways import Found, Say, Unavailable

_PROGRESS_SECONDS = 15.0
_LAST_LINES = 3
# A user's own settings must not change what is built, nor miss the warm build cache.
_SETTINGS = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def built(artefact: Artefact, cache: Path, environment: Mapping[str, str], say: Say) -> Found | Unavailable:
    """All programs of an artefact, built by the Go on PATH."""
    go = shutil.which("go", path=environment.get("PATH", ""))
    if go is None:
        return Unavailable("no go on PATH")
    version = _go_version(go)
    if version < MINIMUM_GO:
        return Unavailable(f"{go} is {version[0]}.{version[1]}, older than {MINIMUM_GO[0]}.{MINIMUM_GO[1]}")
    with workshop(cache) as folder:
        failure = _run(_command(go, artefact, folder), artefact, {**environment, **_SETTINGS}, folder, say)
        if failure is not None:
            return Unavailable(failure)
        for program, package in artefact.build.packages.items():
            _rename_output(folder, package, program)
        return store(artefact, cache, folder)


def _go_version(go: str) -> tuple[int, int]:
    """(0, 0) when `go` does not answer."""
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    parts = answer.stdout.strip().removeprefix("go").split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return 0, 0


def _command(go: str, artefact: Artefact, folder: Path) -> list[str]:
    build = artefact.build
    tags = [f"-tags={build.tags}"] if build.tags else []
    return [go, "build", "-trimpath", *tags, "-ldflags", build.ldflags, "-o", f"{folder}/", *build.packages.values()]


def _rename_output(folder: Path, package: str, program: str) -> None:
    """Go names a program after its package's last word that is no major version: `…/server/v3` gives `server`."""
    words = package.split("/")
    output = words[-2] if words[-1].startswith("v") and words[-1][1:].isdigit() else words[-1]
    (folder / output).rename(folder / program)


def _run(command: list[str], artefact: Artefact, environment: dict[str, str], folder: Path, say: Say) -> str | None:
    """Build and tell the time while it runs; the reason when it failed."""
    names = ", ".join(artefact.build.packages)
    say(f"{artefact.title}: go build of {names}; about {artefact.build.minutes} min on two cores, seconds when warm")
    log = folder / "build.log"
    started = time.monotonic()
    with (
        log.open("w") as out,
        subprocess.Popen(
            command,
            cwd=MODULES / artefact.build.module,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as go,
    ):
        try:
            returncode = _wait(go, artefact.title, started, say)
        except BaseException:
            go.terminate()
            raise
    if returncode == 0:
        say(f"{artefact.title}: built in {time.monotonic() - started:.0f} s")
        return None
    last = " | ".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
    return f"go build ended with {returncode}: {last or 'without a word'}"


def _wait(go: subprocess.Popen[bytes], title: str, started: float, say: Say) -> int:
    while True:
        try:
            return go.wait(_PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{title}: still building, {time.monotonic() - started:.0f} s so far")
