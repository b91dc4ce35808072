"""Who wrote what and when, as the API server saw it: its audit log, read on from where the last look ended."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_REFUSED = 400


@dataclass(frozen=True)
class Request:
    """One request that was answered."""

    verb: str
    resource: str
    """With its subresource: `specdecodedeployments/status`."""
    namespace: str
    name: str
    user: str
    credential: str
    """Of the token: each process of the tests has one of its own."""
    code: int
    at: datetime
    """When it was answered."""

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES

    @property
    def is_done(self) -> bool:
        """Whether it was not refused."""
        return self.code < _REFUSED

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.name}"


def _request(entry: dict[str, Any]) -> Request:
    reference, user = entry.get("objectRef") or {}, entry["user"]
    extra = user.get("extra") or {}
    subresource = reference.get("subresource")
    return Request(
        verb=entry["verb"],
        resource=reference.get("resource", "") + (f"/{subresource}" if subresource else ""),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        user=user.get("username", ""),
        credential=str(extra.get("authentication.kubernetes.io/credential-id", [""])[0]),
        code=entry.get("responseStatus", {}).get("code", 0),
        at=datetime.fromisoformat(entry["stageTimestamp"]),
    )


class Audit:
    """The requests that `keeps`, from the moment it is made on; a line that is still being written waits for the next
    look.
    """

    def __init__(self, log: Path, keeps: Callable[[Request], bool]) -> None:
        self._log, self._keeps = log, keeps
        self._offset = log.stat().st_size if log.exists() else 0
        self._requests: list[Request] = []

    @property
    def requests(self) -> list[Request]:
        """All so far, in the order in which they were answered."""
        with self._log.open("rb") as log:
            log.seek(self._offset)
            lines = log.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = (_request(json.loads(line)) for line in whole.splitlines())
        self._requests += [each for each in found if self._keeps(each)]
        return list(self._requests)

    @property
    def writes(self) -> list[Request]:
        """Those that changed something."""
        return [each for each in self.requests if each.is_write and each.is_done]
