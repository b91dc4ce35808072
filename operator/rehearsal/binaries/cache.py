"""Second way: our own folder of programs, shared by all rehearsals of one user.

A program appears in it by rename, complete or not at all. Whoever wants to add one holds the artefact's lock, so that
of two rehearsals started at once the second waits instead of building the same a second time.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rehearsal.binaries.artefacts import Artefact
from rehearsal.binaries.ways import Found, Say, Unavailable


def cache_folder(environment: Mapping[str, str]) -> Path:
    """`specdecode/binaries` below XDG_CACHE_HOME, or below ~/.cache."""
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "specdecode" / "binaries"


def cached(artefact: Artefact, cache: Path) -> Found | Unavailable:
    programs = {program: cache / artefact.folder / program for program in artefact.programs}
    missing = [program for program, path in programs.items() if not path.is_file()]
    return Unavailable(f"no {', '.join(missing)} in {cache / artefact.folder}") if missing else Found(programs)


@contextmanager
def locked(artefact: Artefact, cache: Path, say: Say) -> Iterator[None]:
    """Hold the artefact's lock; it falls with the process, so a killed rehearsal leaves none behind."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{artefact.folder}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{artefact.title}: another rehearsal is getting it; waiting for that one")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def workshop(cache: Path) -> Iterator[Path]:
    """A folder on the cache's own file system for files that are not complete yet."""
    folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def store(artefact: Artefact, cache: Path, workshop: Path) -> Found | Unavailable:
    """Make the complete programs in a workshop executable and move them into the cache."""
    (cache / artefact.folder).mkdir(parents=True, exist_ok=True)
    for program in artefact.programs:
        (workshop / program).chmod(0o755)
        (workshop / program).rename(cache / artefact.folder / program)
    return cached(artefact, cache)
