"""Who is looked at closely and who rests: the store, what visits have found, and what a glance says, held together.

    visit found nothing going on ---> lay down, when more than `AWAKE` are awake
    glance, or a change of an object ---> wake
    an hour ---> one visit, in turns

All of it only saves work: a process that forgets it looks at everybody anew.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse, read_status
from specdecode.decide.facts import Child
from specdecode.dormitory import AWAKE, Dormitory
from specdecode.engine.version import EngineVersion
from specdecode.manifests.names import service_name
from specdecode.manifests.service import service, service_digest
from specdecode.observe.causes import max_age_seconds
from specdecode.observe.cluster import child_of
from specdecode.observe.subject import Subject, subject_of
from specdecode.reconcile import Reconciler
from specdecode.rest import may_doze, sleeper_after, sleeper_of_status
from specdecode.store import Entry, Key, Store
from specdecode.telemetry import Metrics

logger = logging.getLogger("specdecode")

ROUND_SECONDS = 3600.0
"""Within so long everybody at rest is visited once."""


class Wards:
    """All resources of one process, awake or at rest."""

    def __init__(
        self,
        store: Store,
        reconciler: Reconciler,
        metrics: Metrics,
        owns: Callable[[Key], bool],
        *,
        scrape_interval_seconds: float,
    ) -> None:
        """`owns` says which resources of the store are this process's."""
        self.dormitory = Dormitory(max_age_seconds(scrape_interval_seconds))
        self._store = store
        self._reconciler = reconciler
        self._metrics = metrics
        self._owns = owns
        self._round: Iterator[Key] = iter(())

    def known(self) -> list[Key]:
        """Resources that exist and are this process's."""
        return [key for key in self._store.known() if self._owns(key)]

    def let_go(self, key: Key) -> None:
        """Another process looks after a resource from now on."""
        self.dormitory.forget(key)
        self._reconciler.forget(key)

    def awake(self) -> list[Key]:
        """Resources that are looked at closely."""
        return [key for key in self.known() if key not in self.dormitory]

    def subject(self, key: Key) -> Subject | None:
        """What to measure of a resource: the mode that its Deployment runs."""
        entry = self._store.entry(key)
        if entry is None or not entry.has_deployment or not self._reconciler.knows(key):
            return None
        # Visits prepare, each behind its own guard; a tick for all resources only reads.
        prepared = self._reconciler.memory(key).prepared
        if prepared is None or prepared.plan is None or prepared.resource is None:
            return None
        body = entry.body
        assert body is not None, "the store knows it"
        child = _child(entry, body["metadata"]["uid"])
        if child is None or child.mode is None:
            return None
        # The spec was prepared once; status is this moment's.
        resource = prepared.resource.model_copy(update={"status": read_status(body)})
        return subject_of(resource, child.mode, EngineVersion.parse(prepared.plan.engine_version))

    def is_known_to_rest(self, key: Key, now: datetime) -> bool:
        """Whether nothing is to be done for a resource that was not visited yet, or that something was heard of at
        rest. One that may lie down without a visit does: a predecessor has left it in good order.
        """
        is_new = key not in self.dormitory and not self._reconciler.knows(key)
        if key not in self.dormitory and not (is_new and self._reconciler.awake >= AWAKE):
            return False
        entry = self._store.entry(key)
        found = None if entry is None else _in_good_order(entry, now)
        if found is None:
            return False
        resource, generation = found
        if not is_new:
            return self.dormitory.generation(key) == generation
        sleeper = sleeper_of_status(resource)
        if sleeper is None:
            return False
        sleeper.generation = generation
        self.dormitory.lay_down(key, sleeper)
        self._metrics.show(*key, resource.status, resource, resource.status.plan)
        return True

    def is_one_of_many(self, key: Key) -> bool:
        """Whether it was not visited yet and enough others are looked at already."""
        is_new = key not in self.dormitory and not self._reconciler.knows(key)
        return is_new and self._reconciler.awake >= AWAKE

    def after_visit(self, key: Key, now: float) -> None:
        """A resource at rest was visited: it rests on if nothing is going on."""
        if key in self.dormitory:
            if self._store.entry(key) is None:
                self.dormitory.forget(key)
            elif self._reconciler.memory(key).may_rest:
                self._reconciler.let_rest(key)
            else:
                self.dormitory.wake(key, now)

    def lay_down(self, idle: list[Key], now: float) -> None:
        """Let those rest that need no close look and whom no visit waits for, all beyond `AWAKE`."""
        surplus = self._reconciler.awake - AWAKE
        if surplus <= 0:
            return
        calm = [key for key in idle if self._reconciler.memory(key).may_rest]
        for key in self.dormitory.calm(calm, now):
            if surplus <= 0:
                return
            surplus -= self._lay_down(key)

    def _lay_down(self, key: Key) -> bool:
        memory, entry, subject = self._reconciler.memory(key), self._store.entry(key), self.subject(key)
        if subject is None or entry is None or memory.prepared is None or memory.prepared.resource is None:
            return False
        body = entry.body
        assert body is not None, "the store knows it"
        resource = memory.prepared.resource.model_copy(update={"status": read_status(body)})
        sleeper, child = (
            sleeper_after(resource, subject, memory.measured.measurement),
            _child(entry, resource.metadata.uid),
        )
        if sleeper is None or child is None or child.mode is not resource.status.mode:
            return False
        sleeper.generation = child.generation
        self.dormitory.lay_down(key, sleeper)
        self._reconciler.let_rest(key)
        return True

    def rouse(self, key: Key, now: datetime) -> None:
        """Plan a resource that has just woken up, so that it can be measured at this very tick."""
        entry = self._store.entry(key)
        body = None if entry is None else entry.body
        if body is None:
            return
        try:
            self._reconciler.prepared(key, body, now)
        except Exception:
            logger.exception("this is a bug; its visit meets it too", extra={"object": "/".join(key)})

    def turn(self, interval_seconds: float) -> list[Key]:
        """Whose visit is due, of those at rest: everybody once in `ROUND_SECONDS`."""
        count = round(0.5 + len(self.dormitory) * interval_seconds / ROUND_SECONDS) if len(self.dormitory) else 0
        keys: list[Key] = []
        for _ in range(count):
            key = next(self._round, None)
            if key is None:
                self._round = iter(self.dormitory.at_rest())
                break
            if key in self.dormitory:
                keys.append(key)
        return keys


def _child(entry: Entry, uid: str) -> Child | None:
    deployment = entry.deployment
    return None if deployment is None else child_of(deployment, uid)


def _has_its_service(entry: Entry, resource: SpecDecodeDeployment) -> bool:
    """Whether the Service is there, and as it should be."""
    found = entry.services.get(service_name(resource.metadata.name))
    return found is not None and found.digest == service_digest(service(resource))


def _in_good_order(entry: Entry, now: datetime) -> tuple[SpecDecodeDeployment, int] | None:
    """The resource and the generation of its Deployment, if both are as a predecessor left them in peace."""
    body = entry.body
    if body is None or not entry.has_deployment:
        return None
    resource = parse(body)
    if isinstance(resource, Rejection) or not _has_its_service(entry, resource):
        return None
    child = _child(entry, resource.metadata.uid)
    return (resource, child.generation) if child is not None and may_doze(resource, child, now) else None
