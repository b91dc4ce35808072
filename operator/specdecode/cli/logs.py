"""Reading a start-up log from a file, whatever wrote the file."""

import codecs
import sys
from pathlib import Path

from specdecode.api.resource import Problem
from specdecode.cli.documents import STANDARD_INPUT, unreadable
from specdecode.engine.startup_log import StartupLog, parse_startup_log

_MAX_BYTES = 100 * 1024**2
"""UTF-16 takes two bytes a character; the parser has the limit in characters."""


def _decoded(content: bytes) -> str:
    """Text of a log. PowerShell redirects into UTF-16; what is no text becomes replacement characters."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")


def read_log(name: str) -> StartupLog | Problem:
    """The start-up log in a file; `-` is standard input."""
    try:
        if name == STANDARD_INPUT:
            content = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return unreadable("log", name, error)
    if len(content) > _MAX_BYTES:
        limit = f"is larger than {_MAX_BYTES // 1024**2} MB; cut it after the engine has started"
        return Problem("log", name, limit)
    parsed = parse_startup_log(_decoded(content))
    if isinstance(parsed, Problem):
        return Problem("log", f"{name} ({parsed.value})" if parsed.value else name, parsed.message)
    return parsed
