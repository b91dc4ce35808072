"""Reading resources from a file or from standard input. Whatever is wrong with the input comes back as a value."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from specdecode.api.resource import Problem, Rejection, SpecDecodeDeployment, parse
from specdecode.api.vocabulary import KIND
from specdecode.api.words import plain

STANDARD_INPUT = "-"
_MOST_BYTES = 1024**2
"""Of a file: at worst PyYAML reads 100 kB a second, into 350 times the memory. A hundred resources have less."""
_BROKEN_VALUES = (ValueError, LookupError, AttributeError, TypeError, OverflowError)
"""What PyYAML raises for a date that is none, a number of 5,000 digits, or a tag that the value does not fit."""

FileOption = Annotated[
    str, typer.Option("--file", "-f", help="YAML with SpecDecodeDeployments, or - for standard input.")
]
"""The option of every command that reads resources."""

Parsed = SpecDecodeDeployment | Rejection


def unreadable(field: str, name: str, error: OSError | ValueError) -> Problem:
    """Why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return Problem(field, name, "does not exist; name an existing file, or - for standard input")
    if isinstance(error, UnicodeDecodeError):
        return Problem(field, name, f"is not UTF-8 text (byte {error.start}); name a YAML file")
    reason = getattr(error, "strerror", None) or str(error)
    return Problem(field, name, f"cannot be read: {reason}")


def _text(name: str) -> str | Problem:
    try:
        text = sys.stdin.read(_MOST_BYTES + 1) if name == STANDARD_INPUT else _read(Path(name))
    except (OSError, ValueError) as error:
        return unreadable("file", name, error)
    if len(text) > _MOST_BYTES:
        return Problem("file", name, f"is larger than {_MOST_BYTES // 1024} KiB; split it")
    return text


def _read(path: Path) -> str:
    """The text, and one character more than it may have."""
    with path.open(encoding="utf-8") as file:
        return file.read(_MOST_BYTES + 1)


def _documents(name: str, text: str) -> tuple[Any, ...] | Problem:
    try:
        return tuple(document for document in yaml.safe_load_all(text) if document is not None)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        what = getattr(error, "problem", None) or "it cannot be parsed"
        return Problem("file", name, f"is not YAML{where}: {what}")
    except _BROKEN_VALUES as error:
        return Problem("file", name, f"holds a value that is not what it is marked as: {error}")


def _parsed(name: str, documents: tuple[Any, ...]) -> Iterator[tuple[str, Parsed]]:
    """Every resource of our kind, and whatever is no object at all. Other kinds in the same file are passed over."""
    for number, document in enumerate(documents, start=1):
        origin = f"document {number} of {name}"
        if not isinstance(document, Mapping):
            shown = document[:40] if isinstance(document, str) else type(document).__name__
            yield origin, Rejection("InvalidSpec", (Problem(origin, shown, "is no object; write a resource as YAML"),))
        elif document.get("kind") == KIND or len(documents) == 1:
            yield _label(document, origin), parse(document)


def _label(document: Mapping[Any, Any], origin: str) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return plain(name, 63) if name and isinstance(name, str) else origin


def read_resources(name: str) -> tuple[tuple[str, Parsed], ...] | Problem:
    """Every `SpecDecodeDeployment` of a file, each with a label for messages; `-` is standard input.

    A Problem says why there is nothing to look at.
    """
    text = _text(name)
    if isinstance(text, Problem):
        return text
    documents = _documents(name, text)
    if isinstance(documents, Problem):
        return documents
    found = tuple(_parsed(name, documents))
    return found or Problem("file", name, f"holds no {KIND}; name a file with at least one")
