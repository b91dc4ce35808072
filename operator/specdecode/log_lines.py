"""How a log record looks: one line, whatever is in it. A message may quote a server, and an exception anything."""

import json
import logging
import time
from typing import Any

from specdecode.api.words import escaped_json, visible

_MOST_CHARACTERS = 7000
"""Of a message, and of an exception: container runtimes cut lines at 16 KiB."""


def _shortened(text: str) -> str:
    """The beginning and the end: what is said first, and what failed last."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; `extra={"object": ...}` becomes a field."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _shortened(record.getMessage()),
        }
        subject = getattr(record, "object", None)
        if subject is not None:
            line["object"] = subject
        if record.exc_info:
            line["exception"] = _shortened(self.formatException(record.exc_info))
        return escaped_json(json.dumps(line, ensure_ascii=False, default=str))


class TextFormatter(logging.Formatter):
    """For people. The lines of a traceback stand behind each other."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        parts = [f"{moment} {record.levelname:<7} {record.name}: {_shortened(record.getMessage())}"]
        if record.exc_info:
            parts.append(_shortened(self.formatException(record.exc_info)))
        return visible("\n".join(parts))
