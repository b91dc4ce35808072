"""First way: programs that somebody put on this machine. Runs them only to ask for their version."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rehearsal.binaries.artefacts import Artefact
from rehearsal.binaries.ways import Found, Unavailable

_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.\d+")
_PATIENCE_SECONDS = 20.0


def installed(artefact: Artefact, environment: Mapping[str, str]) -> Found | Unavailable:
    """All programs of an artefact from the folder KUBEBUILDER_ASSETS, else all of them from PATH."""
    reasons = []
    for place in ("KUBEBUILDER_ASSETS", "PATH"):
        match _in_folders(artefact, environment.get(place, "")):
            case Found() as found:
                return found
            case Unavailable(reason):
                reasons.append(f"{place}: {reason}")
    return Unavailable("; ".join(reasons))


def _in_folders(artefact: Artefact, folders: str) -> Found | Unavailable:
    if not folders:
        return Unavailable("not set")
    programs: dict[str, Path] = {}
    for program in artefact.programs:
        path = shutil.which(program, path=folders)
        if path is None:
            return Unavailable(f"no {program}")
        version = reported_version(path, artefact.version_arguments)
        if version is None:
            return Unavailable(f"{path} reports no version")
        if version < artefact.minimum:
            return Unavailable(f"{path} is {_text(version)}, older than {_text(artefact.minimum)}")
        programs[program] = Path(path).absolute()
    return Found(programs)


def reported_version(path: str, arguments: tuple[str, ...]) -> tuple[int, int] | None:
    """Major and minor version in what a program prints; None when it fails or prints none."""
    try:
        answer = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = _VERSION.search(answer.stdout) if answer.returncode == 0 else None
    return (int(found[1]), int(found[2])) if found else None


def _text(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)
