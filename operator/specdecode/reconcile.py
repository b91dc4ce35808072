"""One visit to one resource: look at the store, and only when something is due read live, judge again, and write.

The order of writes is what makes a crash harmless: the latch goes into status first, then the child is applied, then
Events are posted. Whoever comes next finishes what the status says.
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from specdecode.act import apply_objects, failure_of, foreign_object, ownership_conflict
from specdecode.api.resource import Rejection, parse
from specdecode.api.vocabulary import API_VERSION, KIND
from specdecode.calibrate import own_calibration
from specdecode.decide.decision import Step
from specdecode.decide.facts import Availability, Measurement
from specdecode.errors import ForbiddenError, NotFoundError, RefusedError
from specdecode.judge import Outcome, Prepared, Seen, judge, prepare
from specdecode.kube import Body, Kube, object_path, resource_path
from specdecode.library import Learned, Library
from specdecode.lookup.find import Wanted, wanted_models
from specdecode.manifests.build import Objects, Options
from specdecode.notes import event_body, transitions
from specdecode.status import OWNERSHIP_CONFLICT, ApplyFailure
from specdecode.store import Entry, Key, Store, without_managed_fields
from specdecode.telemetry import Metrics

logger = logging.getLogger("specdecode")

NOT_MEASURED = Measurement(Availability.NO_DATA, "nothing was measured yet")


@dataclass(frozen=True)
class Measured:
    """A measurement and when it was taken."""

    measurement: Measurement = NOT_MEASURED
    at: datetime | None = None


Identity = tuple[str, int, Any]
"""uid, generation and the calibration in status."""


def _identity(body: Body) -> Identity:
    metadata = body["metadata"]
    return metadata.get("uid", ""), metadata.get("generation", 0), (body.get("status") or {}).get("calibration") or []


def _wanted(body: Body) -> tuple[Wanted, ...]:
    """The models of a resource that have to be looked up."""
    resource = parse(body)
    return () if isinstance(resource, Rejection) else wanted_models(resource)


@dataclass
class Memory:
    """What one process remembers of a resource; losing it costs only time."""

    identity: Identity = ("", 0, [])
    """Of the body that `wanted` and `prepared` belong to."""
    wanted: tuple[Wanted, ...] = ()
    learned: Learned = field(default_factory=Learned)
    """What `prepared` was made with."""
    prepared: Prepared | None = None
    measured: Measured = field(default_factory=Measured)
    failure: ApplyFailure | None = None


@dataclass(frozen=True)
class Look:
    """What one look at one resource is based on: the store, or live reads."""

    key: Key
    entry: Entry
    body: Body
    deployment: Body | None
    now: datetime


class Reconciler:
    """Visits resources. Raises ClusterError when the API server is in the way; the queue tries again."""

    def __init__(
        self,
        store: Store,
        kube: Kube,
        metrics: Metrics,
        options: Options,
        library: Library,
        fast_window_seconds: float,
    ) -> None:
        self._store = store
        self._kube = kube
        self._metrics = metrics
        self._options = options
        self._library = library
        self._fast_window_seconds = fast_window_seconds
        self._memories: dict[Key, Memory] = {}

    def memory(self, key: Key) -> Memory:
        """What is remembered of a resource."""
        return self._memories.setdefault(key, Memory())

    def forget(self, key: Key) -> None:
        """A resource is gone; its children are collected by their owner references."""
        self._memories.pop(key, None)
        self._metrics.forget(*key)

    def prepared(self, key: Key, body: Body, now: datetime) -> Prepared:
        """Plan and objects of a resource, computed again only when something is new to them."""
        memory, identity = self.memory(key), _identity(body)
        is_new = memory.prepared is None or memory.identity != identity
        if is_new:
            memory.wanted = _wanted(body)
        learned = self._library.ask(key, memory.wanted, now)
        if memory.prepared is None or is_new or memory.learned != learned:
            memory.prepared = prepare(body, self._options, learned.models, learned.awaited)
            memory.identity, memory.learned = identity, learned
        return memory.prepared

    async def visit(self, key: Key, now: datetime) -> None:
        """Look, and write only what is due."""
        entry = self._store.entry(key)
        if entry is None or entry.body is None:
            self.forget(key)
            return
        outcome = self._judge(Look(key, entry, entry.body, entry.deployment, now))
        self._show(key, outcome)
        if not outcome.is_quiet:
            await self._visit_live(key, entry, now)

    def _judge(self, look: Look) -> Outcome:
        memory = self.memory(look.key)
        seen = Seen(
            body=look.body,
            deployment=look.deployment,
            pods=tuple(look.entry.pods[name] for name in sorted(look.entry.pods)),
            has_service=bool(look.entry.services),
            measurement=memory.measured.measurement,
            measured_at=memory.measured.at,
            failure=memory.failure,
            fast_window_seconds=self._fast_window_seconds,
        )
        return judge(self.prepared(look.key, look.body, look.now), seen, look.now)

    async def _visit_live(self, key: Key, entry: Entry, now: datetime) -> None:
        try:
            body = without_managed_fields(await self._kube.get(resource_path(*key)))
        except NotFoundError:
            self._store.drop_resource(key)
            return
        if body["metadata"].get("deletionTimestamp"):
            return
        deployment = await self._kube.find(object_path("apps/v1", "deployments", *key))
        look = Look(key, entry, body, deployment, now)
        outcome = self._judge(look)
        if outcome.apply is not None:
            outcome = await self._without_conflict(look, outcome, outcome.apply)
        await self._write(look, outcome)

    async def _without_conflict(self, look: Look, outcome: Outcome, wanted: Objects) -> Outcome:
        """The same outcome, unless an object of somebody else stands in the way, or no longer does."""
        memory = self.memory(look.key)
        stranger = await foreign_object(self._kube, wanted, outcome.metadata.uid, live_deployment=look.deployment)
        if stranger is not None:
            memory.failure = ownership_conflict(stranger, wanted)
            is_deployment = stranger.startswith("Deployment ")
            seen = self._judge(replace(look, deployment=None if is_deployment else look.deployment))
            return replace(seen, apply=None)
        if memory.failure is None or memory.failure.reason != OWNERSHIP_CONFLICT:
            return outcome
        memory.failure = None
        return self._judge(look)

    async def _write(self, look: Look, outcome: Outcome) -> None:
        subject = {"object": "/".join(look.key)}
        version = look.body["metadata"]["resourceVersion"]
        if outcome.status != outcome.old:
            version = await self._write_status(outcome, version)
            self._count(look.key, outcome)
        if outcome.apply is not None:
            await self._apply(look, outcome, outcome.apply, version)
            logger.info("applied mode %s", outcome.status.mode, extra=subject)
        for note in transitions(outcome.old, outcome.status, look.now):
            logger.info("%s: %s", note.reason, note.message, extra=subject)
            await self._kube.create_event(event_body(outcome.metadata, note))

    async def _apply(self, look: Look, outcome: Outcome, wanted: Objects, version: str) -> None:
        """Apply; when the API server refuses, say so in status. The decision itself stands."""
        memory = self.memory(look.key)
        try:
            await apply_objects(self._kube, wanted, live_deployment=look.deployment)
        except (RefusedError, ForbiddenError) as error:
            memory.failure = failure_of(error, wanted)
            again = self._judge(replace(look, body={**look.body, "status": outcome.status.to_wire()}))
            if again.status != outcome.status:
                await self._write_status(again, version)
            raise
        memory.failure = None
        self._metrics.writes.labels("objects").inc()

    async def _write_status(self, outcome: Outcome, version: str) -> str:
        """Write the whole status; returns the new resource version."""
        metadata = outcome.metadata
        answer = await self._kube.apply_status(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {
                    "namespace": metadata.namespace,
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "resourceVersion": version,
                },
                "status": outcome.status.to_wire(),
            }
        )
        self._metrics.writes.labels("status").inc()
        return str(answer["metadata"]["resourceVersion"])

    def _count(self, key: Key, outcome: Outcome) -> None:
        decision, rollback = outcome.decision, outcome.status.rollback
        if decision is not None and decision.step is Step.DOWN and rollback is not None:
            self._metrics.rollbacks.labels(*key, rollback.reason).inc()

    def _show(self, key: Key, outcome: Outcome) -> None:
        status, prepared = outcome.status, self.memory(key).prepared
        if status.mode is not None:
            self._metrics.show_mode(*key, status.mode)
        plan = prepared.plan if prepared is not None else None
        if plan is None:
            return
        self._metrics.plan_kv_tokens.labels(*key).set(plan.requested.kv_cache_tokens)
        own = (own_calibration(status.spec_hash, rung, status.calibration) for rung in plan.ladder)
        planned = {rung.mode: rung.kv_cache_bytes_per_gpu for rung in plan.ladder}
        self._metrics.show_kv_cache(*key, planned, tuple(entry for entry in own if entry is not None))
