"""Removes from a folder of installed packages what the operator never imports. Run by assemble.sh.

The package `kubernetes` brings a class for every operation and every type of the API, twice: 123 of its 126 MB. The
operator sends and reads plain dicts and uses the connection alone, so these go; a test runs what is left.
"""

import shutil
import sys
from pathlib import Path

GENERATED = tuple(f"kubernetes/{client}/{kind}" for client in ("client", "aio/client") for kind in ("api", "models"))
"""Each is loaded one by one, on demand, by its `__init__`, which stays."""


def slim(folder: Path) -> int:
    """Remove it; answers with the bytes that were freed. Raises FileNotFoundError for a package of another layout."""
    before = size_of(folder)
    for name in GENERATED:
        package = folder / name
        if not (package / "__init__.py").is_file():
            raise FileNotFoundError(f"{package} is not there: the package was laid out anew, look at it again")
        for path in package.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "__init__.py":
                path.unlink()
    for tests in [path for path in folder.glob("*/**/tests") if path.is_dir()]:
        shutil.rmtree(tests)
    return before - size_of(folder)


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    freed = slim(Path(sys.argv[1]))
    sys.stdout.write(f"{freed / 1e6:.0f} MB that are never imported were removed\n")
