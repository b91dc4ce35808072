"""Keeps what the hub answered on this disk, so that a plan is the same without the network.

Nothing depends on it: what cannot be read or written is asked again.
"""

import json
import os
import re
import tempfile
import time
from dataclasses import astuple
from pathlib import Path

from specdecode.api.values import is_commit
from specdecode.engine.checkpoint.safetensors import CheckpointWeights, Tensors
from specdecode.lookup.description import Description

_FORMAT = 1
_BRANCH_SECONDS = 24 * 3600
"""A branch or a tag may move; a commit stays what it is."""


def default_directory() -> Path | None:
    """`specdecode/models` in the user's cache directory; None when the user has no home."""
    stated = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(stated) if stated else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "specdecode" / "models"


def _file(directory: Path, endpoint: str, name: str, revision: str) -> Path:
    host = re.sub(r"[^A-Za-z0-9.\-]", "-", endpoint.partition("://")[2])
    return directory / host / f"{name.replace('/', '--')}@{revision}.json"


def recall(directory: Path | None, endpoint: str, name: str, revision: str) -> Description | None:
    """What was kept, unless it is too old or unreadable."""
    if directory is None:
        return None
    path = _file(directory, endpoint, name, revision)
    try:
        age_seconds = time.time() - path.stat().st_mtime
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT or (age_seconds > _BRANCH_SECONDS and not is_commit(revision)):
            return None
        tensors = tuple(
            Tensors(str(part), str(dtype), int(n), int(size)) for part, dtype, n, size in document["tensors"]
        )
        return Description(dict(document["config"]), CheckpointWeights(tensors), str(document["source"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(directory: Path | None, endpoint: str, name: str, revision: str, description: Description) -> None:
    """Write it whole or not at all. A directory that cannot be written is no reason to fail."""
    if directory is None:
        return
    path = _file(directory, endpoint, name, revision)
    document = {
        "format": _FORMAT,
        "source": description.source,
        "config": description.config,
        "tensors": [astuple(entry) for entry in description.weights.tensors],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(document, file)
        Path(file.name).replace(path)
    except OSError:
        return
