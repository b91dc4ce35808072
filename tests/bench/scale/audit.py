"""How many writes an operator made: the API server's audit log says it, not the operator."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def by_account(entry: Entry) -> bool:
    """Whether the operator of the chart made a request."""
    return str(entry["user"]["username"]).startswith("system:serviceaccount:")


def by_kopf(entry: Entry) -> bool:
    """Whether Kopf made it as administrator."""
    return "kopf" in str(entry.get("userAgent", "")).lower()


class Writes:
    """Those that were made since this was."""

    def __init__(self, log: Path, made: Callable[[Entry], bool]) -> None:
        self._log = log
        self._made = made
        self._offset = log.stat().st_size

    def count(self) -> Counter[str]:
        """By what was written, for example `patch specdecodedeployments/status`."""
        found: Counter[str] = Counter()
        with self._log.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                if self._made(entry):
                    reference = entry.get("objectRef") or {}
                    parts = (reference.get("resource", ""), reference.get("subresource", ""))
                    found[f"{entry['verb']} {'/'.join(filter(None, parts))}"] += 1
        return found
