"""One visit to one resource: look at the store, and only when something is due read live, judge again, and write.

The order of writes is what makes a crash harmless: the latch goes into status first, then the child is applied, then
Events are posted. Whoever comes next finishes what the status says.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from specdecode.act import (
    apply_main,
    apply_unchanged,
    failure_of,
    find_others,
    in_the_way,
    obstacle,
    unused_meters,
)
from specdecode.api.resource import Rejection, parse
from specdecode.api.status import SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import API_VERSION, KIND, Arm
from specdecode.decide.breaker import ALONE, Fleet, wants_to_step
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Availability, Measurement
from specdecode.errors import ForbiddenError, NotFoundError, RefusedError
from specdecode.fleet import Ledger, Standing
from specdecode.judge import Outcome, Prepared, Seen, judge, prepare
from specdecode.kube import Body, Kube, object_path, resource_path
from specdecode.library import Learned, Library
from specdecode.lookup.find import Wanted, wanted_models
from specdecode.manifests.build import Objects, Options
from specdecode.manifests.names import deployment_name, service_name
from specdecode.manifests.service import service_digest
from specdecode.notes import event_body, transitions, untold, worth_telling
from specdecode.rest import may_rest
from specdecode.status import IN_THE_WAY, ApplyFailure
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
    control_refusal: str = ""
    """What the API server said when it refused the control arm of this generation. It is not asked again."""
    told: dict[str, datetime] = field(default_factory=dict)
    """When a finding was last told by an Event."""
    has_told: bool = False
    """Whether the latest decision was surely told: a predecessor may have died between writing and telling."""
    shown: tuple[str, Prepared | None] = ("", None)
    """Resource version and plan that the metrics show."""
    may_rest: bool = False
    """Whether the last visit found nothing going on."""


@dataclass(frozen=True)
class Look:
    """What one look at one resource is based on: the store, or live reads."""

    key: Key
    entry: Entry
    body: Body
    deployment: Body | None
    control: Body | None
    now: datetime
    is_live: bool = False
    """Whether it was read for this visit: what follows from it is written."""
    others: Mapping[str, Body] = field(default_factory=dict)
    """Live objects that are no Deployments, by path; only of what is about to be applied."""

    @classmethod
    def at_store(cls, key: Key, entry: Entry, now: datetime) -> "Look":
        """What the watch has said of a resource that exists."""
        body = entry.body
        assert body is not None, "it exists"
        return cls(key, entry, body, entry.deployment, entry.control, now)


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
        max_namespace_steps: int = 5,
        owns: Callable[[Key], bool] = lambda _: True,
    ) -> None:
        """`owns` says which resources of the store are this process's."""
        self._store = store
        self._kube = kube
        self._metrics = metrics
        self._options = options
        self._library = library
        self._fast_window_seconds = fast_window_seconds
        self._memories: dict[Key, Memory] = {}
        self._ledger = Ledger(max_namespace_steps)
        self._owns = owns
        self.suspects: Collection[Key] = frozenset()
        """Deployments at rest that a glance found suspicious."""
        self._held: set[Key] = set()
        """Deployments that the circuit breaker keeps in their mode."""

    @property
    def awake(self) -> int:
        """Of how many resources anything is remembered."""
        return len(self._memories)

    def memory(self, key: Key) -> Memory:
        """What is remembered of a resource."""
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory()
        return memory

    def knows(self, key: Key) -> bool:
        """Whether anything is remembered of a resource."""
        return key in self._memories

    def has_prepared(self, key: Key) -> bool:
        """Whether a visit has planned a resource."""
        return self.knows(key) and self._memories[key].prepared is not None

    def let_rest(self, key: Key) -> None:
        """Remember nothing of a resource; it is still shown."""
        self._memories.pop(key, None)

    def forget(self, key: Key) -> None:
        """A resource is gone; its children are collected by their owner references."""
        self._memories.pop(key, None)
        self._metrics.forget(*key)
        self._show_held(key, is_held=False)

    def prepared(self, key: Key, body: Body, now: datetime) -> Prepared:
        """Plan and objects of a resource, computed again only when something is new to them."""
        memory, identity = self.memory(key), _identity(body)
        is_new = memory.prepared is None or memory.identity != identity
        if is_new:
            memory.wanted = _wanted(body)
            memory.control_refusal = ""
        learned = self._library.ask(key, memory.wanted, now)
        if memory.prepared is None or is_new or memory.learned != learned:
            memory.prepared = prepare(body, self._options, learned.models, learned.awaited)
            memory.identity, memory.learned = identity, learned
        return memory.prepared

    async def visit(self, key: Key, now: datetime) -> None:
        """Look, and write only what is due."""
        entry = self._store.entry(key)
        if entry is None:
            self.forget(key)
            return
        look = Look.at_store(key, entry, now)
        outcome = self._judge(look)
        self._show(look, outcome)
        has_unused = bool(self._unused_meters(look, outcome))
        memory = self.memory(key)
        memory.may_rest = not has_unused and memory.failure is None and may_rest(memory.prepared, outcome, now)
        if not outcome.is_quiet or has_unused:
            await self._visit_live(key, entry, now)
        elif not memory.has_told:
            await self._tell(look, outcome, outcome.old)

    def _judge(self, look: Look) -> Outcome:
        """The outcome of a look; whoever wants to step down is held against all the others first."""
        outcome = self._judged(look, ALONE)
        if outcome.stepped_at is None:
            return outcome
        outcome = self._judged(look, self._fleet(look))
        if look.is_live and outcome.stepped_at is not None:
            self._ledger.decided(look.key, outcome.stepped_at)
        return outcome

    def _fleet(self, look: Look) -> Fleet:
        """All deployments as this one sees them. They are judged anew once per measurement, and only when it counts."""
        moment = self.memory(look.key).measured.at or look.now
        if self._ledger.is_due(moment):
            self._ledger.survey(moment, [self._standing(key, look.now) for key in self._store.known()])
        return self._ledger.fleet(look.key, moment)

    def _standing(self, key: Key, now: datetime) -> Standing:
        """How one deployment stands. One that cannot be judged, or was not prepared yet, wants nothing; of one at rest
        that waits for a close look the worst is believed.
        """
        entry = self._store.entry(key)
        assert entry is not None, "the store knows it"
        decision = None
        if self.knows(key) and self.memory(key).prepared is not None:
            try:
                decision = self._judged(Look.at_store(key, entry, now), ALONE).decision
            except Exception:
                logger.exception("this is a bug; its own visit meets it too", extra={"object": "/".join(key)})
        wants = key in self.suspects or (decision is not None and wants_to_step(decision))
        return Standing(key, entry.speculates, wants, entry.steps, is_own=self._owns(key))

    def _judged(self, look: Look, fleet: Fleet) -> Outcome:
        memory = self.memory(look.key)
        seen = Seen(
            body=look.body,
            deployment=look.deployment,
            pods=tuple(look.entry.pods[name] for name in sorted(look.entry.pods)),
            has_children=self._has_service(look) and self._has_meter(look),
            measurement=memory.measured.measurement,
            measured_at=memory.measured.at,
            failure=memory.failure,
            fast_window_seconds=self._fast_window_seconds,
            control=look.control,
            control_refusal=memory.control_refusal,
            fleet=fleet,
        )
        return judge(self.prepared(look.key, look.body, look.now), seen, look.now)

    def _has_service(self, look: Look) -> bool:
        """Whether the Service is there and as it should be; all modes ask for the same."""
        found = look.entry.services.get(service_name(look.key[1]))
        objects = next(iter(self.prepared(look.key, look.body, look.now).objects.values()), None)
        return found is not None and (objects is None or found.digest == service_digest(objects.service))

    def _has_meter(self, look: Look) -> bool:
        """Whether the ConfigMap is there that the objects ask for; all modes ask for the same, if for any."""
        wanted = (objects.meter for objects in self.prepared(look.key, look.body, look.now).objects.values())
        return all(meter is None or meter["metadata"]["name"] in look.entry.meters for meter in wanted)

    def _unused_meters(self, look: Look, outcome: Outcome) -> tuple[Body, ...]:
        """ConfigMaps to delete; none while something is still to be applied, or hands are to be kept off."""
        if not look.entry.meters or outcome.apply is not None or outcome.metadata.is_paused:
            return ()
        wanted = self.prepared(look.key, look.body, look.now).objects.values()
        return unused_meters(look.entry.meters, look.deployment, wanted, outcome.metadata.uid)

    async def _visit_live(self, key: Key, entry: Entry, now: datetime) -> None:
        try:
            body = without_managed_fields(await self._kube.get(resource_path(*key)))
        except NotFoundError:
            self._store.drop_resource(key)
            return
        if body["metadata"].get("deletionTimestamp"):
            return
        deployment = await self._deployment(key, Arm.MAIN)
        control = await self._deployment(key, Arm.CONTROL) if self._has_control(key, entry, body, now) else None
        look = Look(key, entry, body, deployment, control, now, is_live=True)
        outcome = self._judge(look)
        if outcome.apply is not None:
            look = replace(look, others=await find_others(self._kube, outcome.apply))
            outcome = self._without_conflict(look, outcome, outcome.apply)
        await self._write(look, outcome)

    async def _deployment(self, key: Key, arm: Arm) -> Body | None:
        namespace, name = key
        return await self._kube.find(object_path("apps/v1", "deployments", namespace, deployment_name(name, arm)))

    def _has_control(self, key: Key, entry: Entry, body: Body, now: datetime) -> bool:
        """Whether a control arm is there or may be wanted."""
        objects = self.prepared(key, body, now).objects.values()
        return entry.control is not None or any(each.control is not None for each in objects)

    def _without_conflict(self, look: Look, outcome: Outcome, wanted: Objects) -> Outcome:
        """The same outcome, unless an object that is not ours stands in the way, or no longer does."""
        memory = self.memory(look.key)
        found = obstacle(wanted, outcome.metadata, live_deployment=look.deployment, others=look.others)
        if found is not None:
            memory.failure = in_the_way(found, wanted)
            seen = self._judge(replace(look, deployment=None if found.is_deployment else look.deployment))
            return replace(seen, apply=None)
        if memory.failure is None or memory.failure.reason not in IN_THE_WAY:
            return outcome
        memory.failure = None
        return self._judge(look)

    async def _write(self, look: Look, outcome: Outcome) -> None:
        subject = {"object": "/".join(look.key)}
        before, version = outcome.old, look.body["metadata"]["resourceVersion"]
        if outcome.status != outcome.old:
            version = await self._write_status(outcome, version)
            memory = self.memory(look.key)
            memory.has_told = memory.has_told and outcome.status.history == outcome.old.history
            self._count(look.key, outcome)
        if outcome.apply is not None:
            outcome = await self._apply(look, outcome, version)
            logger.info("applied mode %s", outcome.status.mode, extra=subject)
        if outcome.remove is not None:
            await self._kube.delete(dict(outcome.remove))
            logger.info("removed the control replica", extra=subject)
        for meter in self._unused_meters(look, outcome):
            await self._kube.delete(meter)
            logger.info("removed the meter %s", meter["metadata"]["name"], extra=subject)
        await self._tell(look, outcome, before)

    async def _tell(self, look: Look, outcome: Outcome, before: SpecDecodeDeploymentStatus) -> None:
        """Events of what is new since `before`, and of the latest decision until it was told once by this process."""
        memory = self.memory(look.key)
        told = memory.told
        if not memory.has_told:
            before = untold(before, look.now)
        for note in worth_telling(transitions(before, outcome.status, look.now), told):
            logger.info("%s: %s", note.reason, note.message, extra={"object": "/".join(look.key)})
            await self._kube.create_event(event_body(outcome.metadata, note))
            told[note.reason] = note.at
        memory.has_told = True

    async def _apply(self, look: Look, outcome: Outcome, version: str) -> Outcome:
        """Apply; when the API server refuses, say so in status. The decision itself stands."""
        memory, control = self.memory(look.key), outcome.apply.control if outcome.apply else None
        if control is not None:
            try:
                await apply_unchanged(self._kube, control, look.control)
            except (RefusedError, ForbiddenError) as error:
                # Before anything else, so that the main arm never gives a replica away for nothing.
                memory.control_refusal = f"{error}; it is tried again when the spec changes"
                outcome, version = await self._said(look, outcome, version)
        if outcome.apply is None:
            return outcome
        try:
            await apply_main(self._kube, outcome.apply, live_deployment=look.deployment, others=look.others)
        except (RefusedError, ForbiddenError) as error:
            memory.failure = failure_of(error, outcome.apply)
            await self._said(look, outcome, version)
            raise
        memory.failure = None
        self._metrics.writes.labels("objects").inc()
        return outcome

    async def _said(self, look: Look, outcome: Outcome, version: str) -> tuple[Outcome, str]:
        """The outcome judged again after an answer of the API server, with status written when that changed it."""
        again = self._judge(replace(look, body={**look.body, "status": outcome.status.to_wire()}))
        if again.status != outcome.status:
            version = await self._write_status(again, version)
        return again, version

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
        rollback = outcome.status.rollback
        if outcome.stepped_at is not None and rollback is not None:
            self._metrics.count_rollback(*key, rollback.reason)

    def _show(self, look: Look, outcome: Outcome) -> None:
        key, decision, memory = look.key, outcome.decision, self.memory(look.key)
        self._show_held(key, is_held=decision is not None and decision.reason is Reason.CIRCUIT_BREAKER_OPEN)
        version, prepared = look.body["metadata"].get("resourceVersion", ""), memory.prepared
        is_stored = outcome.status == outcome.old
        if is_stored and memory.shown[0] == version and memory.shown[1] is prepared:
            return
        resource, plan = (None, None) if prepared is None else (prepared.resource, prepared.plan)
        self._metrics.show(*key, outcome.status, resource, plan)
        # What is shown before it is written may be thought better of.
        memory.shown = (version, prepared) if is_stored else ("", None)

    def _show_held(self, key: Key, *, is_held: bool) -> None:
        (self._held.add if is_held else self._held.discard)(key)
        self._metrics.circuit_breaker_open.set(bool(self._held))
