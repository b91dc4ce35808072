"""Reads models below a mounted directory: config.json and the headers of the safetensors files, never the tensors.

Links are followed only inside that directory, as the Hugging Face cache has them; nothing is written.
"""

import stat
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.file_download import repo_folder_name

from specdecode.api.vocabulary import CACHE_MOUNT
from specdecode.engine.checkpoint.safetensors import (
    LENGTH_BYTES,
    Tensors,
    add_up,
    files_of_index,
    header_length,
    read_header,
)
from specdecode.engine.checkpoint.stored import with_modelopt
from specdecode.lookup.description import (
    CONFIG,
    INDEX,
    MAX_INDEX_BYTES,
    MAX_JSON_BYTES,
    QUANTIZATION,
    Description,
    LookupFailure,
    Wanted,
    checkpoint_files,
    json_object,
    unwrapped,
)


def directory_of(wanted: Wanted, models_directory: Path) -> Path | None:
    """Where a model lies below the mounted directory; None when a repository was never downloaded to it.

    A path of a spec is seen by the pods below the cache mount, a repository in the layout of the Hugging Face cache.
    """
    if wanted.is_path:
        return models_directory / wanted.name.removeprefix(CACHE_MOUNT).lstrip("/")
    folder = repo_folder_name(repo_id=wanted.name, repo_type="model")
    for cache in (models_directory / "hub", models_directory):
        snapshot = _snapshot(cache / folder, wanted.revision or "main")
        if snapshot is not None:
            return snapshot
    return None


def _snapshot(repository: Path, revision: str) -> Path | None:
    try:
        commit = (repository / "refs" / revision).read_text(encoding="utf-8")[:64].strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


class _Below:
    """Files of one directory, which must lie inside the mounted one even when they are links."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root = root.resolve()
        self._directory = directory

    def resolved(self, name: str) -> Path | None:
        """The regular file behind a name; None when there is none."""
        path = self._directory / name
        try:
            target = path.resolve(strict=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:
            raise LookupFailure(f"{path} cannot be read: {error}") from error
        if not target.is_relative_to(self._root):
            raise LookupFailure(f"{path} leads outside {self._root}, which is not followed; copy the file there")
        # A pipe or a device would block.
        return target if stat.S_ISREG(target.stat().st_mode) else None

    def text(self, name: str, limit: int) -> bytes | None:
        """The whole file, if there is one."""
        path = self.resolved(name)
        return None if path is None else _read(path, 0, limit + 1, limit)

    def names(self) -> list[str]:
        """Names in the directory."""
        try:
            return sorted(entry.name for entry in self._directory.iterdir())
        except OSError as error:
            raise LookupFailure(f"{self._directory} cannot be read: {error}") from error

    def tensors(self, name: str) -> tuple[Tensors, ...]:
        """From the header of one safetensors file."""
        path = self.resolved(name)
        if path is None:
            message = f"{self._directory / name} is missing, so the download is not complete; finish it"
            raise LookupFailure(message)
        length = unwrapped(header_length(_read(path, 0, LENGTH_BYTES), name))
        return unwrapped(read_header(_read(path, LENGTH_BYTES, length), name))


def _read(path: Path, start: int, count: int, limit: int | None = None) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read(count)
    except OSError as error:
        raise LookupFailure(f"{path} cannot be read: {error}") from error
    if limit is not None and len(text) > limit:
        raise LookupFailure(f"{path.name} has more than the {limit} bytes that are read; it is of another kind")
    return text


def _files(below: _Below) -> tuple[str, ...]:
    index = below.text(INDEX, MAX_INDEX_BYTES)
    return checkpoint_files(below.names()) if index is None else unwrapped(files_of_index(index, INDEX))


def _all_tensors(below: _Below, files: tuple[str, ...]) -> Iterator[Tensors]:
    for name in files:
        yield from below.tensors(name)


def describe_directory(root: Path, directory: Path) -> Description:
    """A model in a directory at or below `root`; raises LookupFailure with the reason when it cannot be read."""
    if ".." in directory.relative_to(root).parts:
        raise LookupFailure(f"{directory} leads outside {root}; write the path without ..")
    below = _Below(root, directory)
    if not directory.is_dir():
        raise LookupFailure(f"{directory} is no directory; put the model there, or correct the path")
    text = below.text(CONFIG, MAX_JSON_BYTES)
    if text is None:
        message = f"{directory} has no {CONFIG}; give the directory of a model in the format of Hugging Face"
        raise LookupFailure(message)
    quantization = below.text(QUANTIZATION, MAX_JSON_BYTES)
    config = with_modelopt(
        json_object(text, CONFIG), None if quantization is None else json_object(quantization, QUANTIZATION)
    )
    return Description(config, add_up(_all_tensors(below, _files(below))), f"files in {directory}")
