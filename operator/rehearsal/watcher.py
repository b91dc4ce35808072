"""Watches a story's resource and tells what changed: the modes, the conditions, the decisions, the Events."""

import asyncio
from contextlib import suppress
from typing import Any

from rehearsal.narrator import Narrator
from specdecode.api.vocabulary import GROUP, PLURAL, VERSION
from specdecode.errors import ClusterError
from specdecode.kube import Kube, collection_path

_POLL_SECONDS = 0.5
_TOLD_CONDITIONS = ("Ready", "Planned", "SpeculationActive", "MetricsAvailable", "Stalled")


class Watcher:
    """Polls one namespace; `mode_changes` is what the picture's coloured bands are made of."""

    def __init__(self, kube: Kube, namespace: str, narrator: Narrator) -> None:
        self._kube = kube
        self._namespace = namespace
        self._narrator = narrator
        self._conditions: dict[str, tuple[str, str]] = {}
        self._told_events: set[str] = set()
        self._mode = ""
        self.mode_changes: list[tuple[float, str]] = []
        """(seconds since the story's start, mode), as status said it."""
        self.decisions: list[tuple[float, str]] = []
        """(seconds since the story's start, "RolledBack: AcceptanceCollapsed")."""

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            with suppress(ClusterError):
                await self._poll()
            await asyncio.sleep(_POLL_SECONDS)

    async def _poll(self) -> None:
        answer = await self._kube.get(collection_path(f"{GROUP}/{VERSION}", PLURAL, self._namespace))
        for resource in answer["items"]:
            self._tell_status(resource.get("status") or {})
        events = await self._kube.get(collection_path("v1", "events", self._namespace))
        for event in events["items"]:
            if event["involvedObject"].get("kind") == "SpecDecodeDeployment":
                self._tell_event(event)

    def _tell_status(self, status: dict[str, Any]) -> None:
        mode = status.get("mode", "")
        if mode and mode != self._mode:
            self._mode = mode
            self.mode_changes.append((self._narrator.elapsed_seconds, mode))
            self._narrator.tell("seen", f"mode {mode}")
        for condition in status.get("conditions", []):
            kind, now = condition["type"], (condition["status"], condition["reason"])
            if kind in _TOLD_CONDITIONS and self._conditions.get(kind) != now:
                self._conditions[kind] = now
                message = f": {condition['message']}" if condition["message"] else ""
                self._narrator.tell("seen", f"{kind}={now[0]} {now[1]}{message}")

    def _tell_event(self, event: dict[str, Any]) -> None:
        name = event["metadata"]["name"]
        if name in self._told_events:
            return
        self._told_events.add(name)
        if event["reason"] in ("RolledBack", "Retried", "Rearmed", "SteppedBackUp", "Recommended"):
            self.decisions.append((self._narrator.elapsed_seconds, event["reason"]))
            self._narrator.tell("decision", f"Event {event['reason']}: {event['message']}")
