"""Operators with one mistake each, of the kinds that are found in others: an oracle that lets one pass is blind.

They are whole operators but for one method, so that they differ from ours in nothing else.
"""

from datetime import datetime

from specdecode.judge import Outcome
from specdecode.kube import resource_path
from specdecode.manifests.build import Objects
from specdecode.reconcile import Look, Reconciler
from specdecode.store import Key


class ChildBeforeLatch(Reconciler):
    """Applies the child first and writes down afterwards what it has decided."""

    async def _write(self, look: Look, outcome: Outcome) -> None:
        if outcome.apply is not None:
            outcome = await self._apply(look, outcome, look.body["metadata"]["resourceVersion"])
        if outcome.status != outcome.old:
            await self._write_status(outcome, look.body["metadata"]["resourceVersion"])


class AdoptsByName(Reconciler):
    """Takes what has the right name for its own."""

    def _without_conflict(self, _: Look, outcome: Outcome, __: Objects) -> Outcome:
        return outcome


class WritesOnEveryVisit(Reconciler):
    """Writes a status that has not changed."""

    async def visit(self, key: Key, now: datetime) -> None:
        await super().visit(key, now)
        body = await self._kube.get(resource_path(*key))
        identity = {field: body["metadata"][field] for field in ("namespace", "name", "uid", "resourceVersion")}
        known = {field: body[field] for field in ("apiVersion", "kind", "status") if field in body}
        await self._kube.apply_status(known | {"metadata": identity})


class ForgetsReverts(Reconciler):
    """Believes that a third spec cannot be like the first."""

    async def visit(self, key: Key, now: datetime) -> None:
        entry = self._store.entry(key)
        if entry is None or entry.body is None or entry.body["metadata"]["generation"] < 3:
            await super().visit(key, now)


class IgnoresBadInput(Reconciler):
    """Leaves alone what it does not understand, and keeps that to itself."""

    async def visit(self, key: Key, now: datetime) -> None:
        entry = self._store.entry(key)
        if entry is None or entry.body is None or "extraArgs" not in entry.body["spec"]["engine"]:
            await super().visit(key, now)
