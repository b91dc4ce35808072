"""The running operator: one queue, one evaluation task for all resources, and a graceful stop.

    hooks  ---> queue ---> workers: one visit per key
    tick   ---> measure all resources at once ---> queue
    resync ---> compare the watch with a list ---> queue, health

This is the only place that reads the clock.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from specdecode.api.vocabulary import GROUP, PLURAL, VERSION
from specdecode.decide.facts import Availability, Measurement
from specdecode.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    LeaseLostError,
    NotFoundError,
    SettingsError,
)
from specdecode.handlers import watch
from specdecode.kube import Kube, collection_path, connect
from specdecode.leader import FORBIDDEN_SECONDS, Election
from specdecode.library import Library
from specdecode.lookup.find import Sources
from specdecode.manifests.build import Options
from specdecode.observe.measure import Observer
from specdecode.observe.prometheus import Answer, Failure, Past, PrometheusClient
from specdecode.observe.queries import FAST_WINDOW_SCRAPES
from specdecode.reconcile import Measured, Reconciler
from specdecode.settings import Settings
from specdecode.shards import Shards, shard_of, visiting
from specdecode.store import Key, Store
from specdecode.telemetry import Health, Metrics, serve
from specdecode.wards import Wards
from specdecode.workqueue import WorkQueue

logger = logging.getLogger("specdecode")

_NOT_MEASURABLE = Measurement(Availability.NO_DATA, "nothing runs in a known mode that could be measured")
"""Not the same as not measured yet, which says nothing about what runs."""


LEASE_LOST = 4
"""Exit code of a replica that lost its Lease."""
_SILENCE_SECONDS = 1.0
"""When the watches say nothing for so long they have listed everything."""
_LONGEST_START_SECONDS = 60.0
_FORBIDDEN_PAUSE_SECONDS = 5.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_GOES_ON_WHILE_SUSPENDED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def utc_now() -> datetime:
    """The time in UTC, in whole seconds, as Kubernetes stores it."""
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - the one place that reads the clock


class _Counted:
    """The Prometheus client, with its outcomes counted."""

    def __init__(self, client: PrometheusClient, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics

    async def query(self, promql: str, *, at: datetime) -> Answer:
        answer = await self._client.query(promql, at=at)
        self._count(answer)
        return answer

    async def query_range(self, promql: str, *, start: float, end: float, step_seconds: float) -> Past:
        answer = await self._client.query_range(promql, start=start, end=end, step_seconds=step_seconds)
        self._count(answer)
        return answer

    def _count(self, answer: Answer | Past) -> None:
        self._metrics.queries.labels("failed" if isinstance(answer, Failure) else "answered").inc()


class Operator:
    """One operator process."""

    def __init__(
        self, settings: Settings, kube: Kube, prometheus: PrometheusClient, election: Election | None = None
    ) -> None:
        self.settings = settings
        self._election = election
        self._shards: Shards | None = None
        self.store = Store()
        self.queue = WorkQueue()
        self.metrics = Metrics(shards=settings.shards)
        self.health = Health(tick_limit_seconds=3 * settings.evaluation_interval_seconds + 60)
        self._kube = kube
        self._observer = Observer(
            _Counted(prometheus, self.metrics),
            scrape_interval_seconds=settings.scrape_interval_seconds,
            namespaces=settings.namespaces,
        )
        fast_window_seconds = FAST_WINDOW_SCRAPES * settings.scrape_interval_seconds
        options = Options(pod_monitor=settings.pod_monitor)
        sources = Sources(models_directory=settings.models_directory, is_hub_allowed=settings.hub)
        library = Library.over(sources, self.queue.add)
        self.reconciler = Reconciler(
            self.store,
            kube,
            self.metrics,
            options,
            library,
            fast_window_seconds,
            max_namespace_steps=settings.max_steps_per_namespace,
            owns=self._owns,
        )
        self.wards = Wards(
            self.store,
            self.reconciler,
            self.metrics,
            self._owns,
            scrape_interval_seconds=settings.scrape_interval_seconds,
        )
        self._lagging: dict[Key, str] = {}
        self._held: set[Key] = set()
        """Of a large fleet, until the watches have spoken of all of it: a visit would read live what is only late."""
        self._begun = asyncio.Event()
        self._has_ticked = False
        """Whether Prometheus was asked. What a predecessor measured stands until a second attempt fails."""
        self._heard_at = time.monotonic()

    def share(self, elections: Sequence[Election]) -> Shards:
        """Look after the resources together with other replicas, as these Leases say."""
        self._shards = Shards(elections, gained=self._gained, leaving=self._leave)
        return self._shards

    def _owns(self, key: Key) -> bool:
        return self._shards is None or self._shards.owns(key)

    def _of_shard(self, shard: int) -> list[Key]:
        assert self._shards is not None, "it is one of its shards"
        return [key for key in self.store.known() if shard_of(key, self._shards.count) == shard]

    def _gained(self, shard: int) -> None:
        self.metrics.leader.labels(str(shard)).set(1)
        for key in self._of_shard(shard):
            self.queue.add(key)

    async def _leave(self, shard: int) -> None:
        """Finish what is under way for a shard, and forget it."""
        keys = self._of_shard(shard)
        while any(self.queue.is_active(key) for key in keys):  # noqa: ASYNC110 - visits end by themselves
            await asyncio.sleep(0.05)
        self.metrics.leader.labels(str(shard)).set(0)
        for key in keys:
            self.wards.let_go(key)

    async def visit(self, key: Key) -> bool:
        """One visit; answers whether it went well. One resource can never stop the others."""
        with self.metrics.reconcile_seconds.time():
            result = await self._visit(key)
        self.metrics.reconciles.labels(result).inc()
        return result in ("ok", "conflict")

    async def _visit(self, key: Key) -> str:
        subject = {"object": "/".join(key)}
        visiting.set(key)
        try:
            if self._is_left_alone(key):
                return "ok"
            try:
                await self.reconciler.visit(key, utc_now())
            finally:
                self.wards.after_visit(key, utc_now().timestamp())
        except ConflictError as error:
            logger.info("changed under our hands, trying again: %s", error, extra=subject)
            self.queue.add(key)
            return "conflict"
        except ClusterError as error:
            logger.warning("the API server did not do it: %s", error, extra=subject)
            return "cluster_error"
        except Exception:
            logger.exception("this is a bug; the resource is tried again", extra=subject)
            return "bug"
        return "ok"

    def _is_left_alone(self, key: Key) -> bool:
        """Whether a resource is somebody else's, waits until the watches have spoken, or is known to rest."""
        if not self._owns(key):
            return True
        if not self._begun.is_set() and self.wards.is_one_of_many(key):
            self._held.add(key)
            return True
        return self.wards.is_known_to_rest(key, utc_now())

    async def tick(self) -> None:
        """Measure every resource at one instant, then visit each; those at rest are only glanced at."""
        now = utc_now()
        await self._glance(now)
        # Who comes while Prometheus is waited for was not asked about, which is no answer.
        asked = {key: self.wards.subject(key) for key in self.wards.awake() if self.reconciler.has_prepared(key)}
        subjects = [subject for subject in asked.values() if subject is not None]
        measurements = await self._observer.tick(subjects, now, is_part=len(subjects) < len(self.store))
        if self._observer.problem:
            logger.warning("%s; the judgement goes on without", self._observer.problem)
        for key in asked:
            self._keep(key, measurements.get(key), now)
        for key in self.wards.awake():
            if key not in self._held:
                self.queue.add(key)
        for key in self.wards.turn(self.settings.evaluation_interval_seconds):
            self.queue.add(key)
        self._has_ticked = True
        self.metrics.resources.set(len(self.wards.known()))
        self.health.tick()

    async def _glance(self, now: datetime) -> None:
        """Let rest who may; look who of those at rest wants a close look, and have it ready for this very tick."""
        dormitory = self.wards.dormitory
        self.wards.lay_down([key for key in self.wards.awake() if self.queue.is_idle(key)], now.timestamp())
        if not len(dormitory):
            return
        glances = await self._observer.glance(dormitory.names, dormitory.limits, now)
        if glances is None:
            logger.warning("deployments at rest could not be looked at: %s", self._observer.problem)
        for key in dormitory.look(glances, now.timestamp(), awake=self.reconciler.awake):
            self.wards.rouse(key, now)
            await asyncio.sleep(0)  # a hundred plans at once must not keep the health check waiting
        self.reconciler.suspects = dormitory.suspects

    def _keep(self, key: Key, measurement: Measurement | None, now: datetime) -> None:
        """What was not measured at this tick must not be judged by what was measured at an earlier one."""
        if not self.reconciler.knows(key):
            return
        memory = self.reconciler.memory(key)
        if measurement is not None:
            if self._has_ticked or measurement.availability is not Availability.UNREACHABLE:
                memory.measured = Measured(measurement, now)
            return
        entry = self.store.entry(key)
        # Of one that was not visited yet, or whose Deployment no watch has spoken of, nothing is known that could be
        # measured: that is not the same as that there is nothing.
        is_there = memory.prepared is not None and entry is not None and entry.has_deployment
        memory.measured = Measured(_NOT_MEASURABLE, now) if is_there else Measured()

    async def evaluate(self) -> None:
        """Tick for ever, as soon as the watches have listed everything."""
        await self._begun.wait()
        while True:
            try:
                with self.metrics.tick_seconds.time():
                    await self.tick()
            except Exception:
                # The next tick tries again; if none succeeds the health check says so.
                logger.exception("this is a bug; nothing was measured at this tick")
            await asyncio.sleep(self.settings.evaluation_interval_seconds)

    def _heard(self, key: Key) -> None:
        """The watch said something of a resource or of its children."""
        self._heard_at = time.monotonic()
        if self._owns(key):
            self.queue.add(key)

    async def begin(self) -> None:
        """Wait until the watches have listed everything, and let those be visited that were held until then."""
        end = time.monotonic() + _LONGEST_START_SECONDS
        while time.monotonic() < end:
            if self.health.is_listed and time.monotonic() - self._heard_at > _SILENCE_SECONDS:
                break
            await asyncio.sleep(_SILENCE_SECONDS / 4)
        self._begun.set()
        for key in self._held:
            self.queue.add(key)
        self._held.clear()

    async def resync(self) -> None:
        """Compare the watch with a list of our own: deletions in a watch gap make no event, and a watch can go deaf."""
        while True:
            began = time.monotonic()
            try:
                listed = await self._listed()
            except ClusterError as error:
                logger.warning("the list for the comparison failed: %s", error)
            else:
                self._compare(listed)
            # While the watches still list ten thousand objects, another list of them would only hold them up.
            soon = max(1.0, 10 * (time.monotonic() - began))
            await asyncio.sleep(self.settings.resync_interval_seconds if self.health.is_listed else soon)

    async def _listed(self) -> dict[Key, str]:
        listed: dict[Key, str] = {}
        for namespace in self.settings.namespaces or (None,):
            async for metadata in self._kube.list_metadata(namespace):
                listed[metadata["namespace"], metadata["name"]] = metadata["resourceVersion"]
        return listed

    def _compare(self, listed: dict[Key, str]) -> None:
        for key in self.store.missing_from(listed):
            self.store.drop_resource(key)
            self.queue.add(key)
        seen = self.store.versions()
        lagging = {key: version for key, version in listed.items() if seen.get(key) != version}
        # Behind for a whole interval, and not merely by a change of this moment: the watch is deaf.
        deaf = [key for key, version in lagging.items() if self._lagging.get(key) == version]
        self.health.is_watch_deaf = bool(deaf) and self.health.is_listed
        self.health.is_listed = self.health.is_listed or listed.keys() <= seen.keys()
        self.metrics.watch_lag.set(self.settings.resync_interval_seconds if self.health.is_watch_deaf else 0)
        self._lagging = lagging

    async def run(self) -> None:
        """Run until told to stop. If one task dies the process dies, and its successor goes on from status."""
        runner = await serve(self.settings.listen_address, self.settings.listen_port, self.metrics, self.health)
        try:
            if not await self._lead():
                return
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self.evaluate(), name="evaluate"),
                    group.create_task(self.resync(), name="resync"),
                    group.create_task(self.begin(), name="begin"),
                    *(group.create_task(self.queue.work(self.visit)) for _ in range(self.settings.workers)),
                    *([group.create_task(self._hold(self._election.hold()), name="lease")] if self._election else []),
                    *([group.create_task(self._hold(self._shards.run()), name="shards")] if self._shards else []),
                ]
                await watch(self.store, self._heard, self.settings.namespaces)
                for task in background:
                    task.cancel()
        finally:
            if self._election is not None:
                await self._election.release()
            if self._shards is not None:
                await self._shards.release()
            await runner.cleanup()

    async def _lead(self) -> bool:
        """Wait until this is the process that works: nothing is watched or written before. False: it was told to stop
        meanwhile.
        """
        if self._election is not None:
            self.health.is_standing_by = True
            if not await _unless_stopped(self._election.acquire()):
                return False
            self.health.tick()
            self.health.is_standing_by = False
        if self._shards is None:
            self.metrics.leader.labels("0").set(1)
        return True

    async def _hold(self, holding: Awaitable[None]) -> None:
        """Hold the Lease; without it the process ends at once. No farewell: another one may be writing already."""
        try:
            await holding
        except LeaseLostError as error:
            logger.critical("%s; this process ends", error)
            logging.shutdown()
            os._exit(LEASE_LOST)


async def require_crd(kube: Kube, settings: Settings) -> None:
    """Scanning is off, so a missing CRD would be a watch that fails for ever: say it at once.

    Raises SettingsError; where the operator may not look, after a while.
    """
    namespace = settings.namespaces[0] if settings.namespaces else None
    end = time.monotonic() + FORBIDDEN_SECONDS
    while True:
        try:
            await kube.get(f"{collection_path(f'{GROUP}/{VERSION}', PLURAL, namespace)}?limit=1")
        except NotFoundError as error:
            raise SettingsError(
                f"the CRD {PLURAL}.{GROUP} is not installed; run: specdecode crd | kubectl apply -f -"
            ) from error
        except ForbiddenError as error:
            news = f"the operator may not list {PLURAL}.{GROUP}: {error}; check its RBAC"
            if time.monotonic() >= end:
                raise SettingsError(news) from error
            logger.warning("%s; trying again, for the API server may have just started", news)
            await asyncio.sleep(_FORBIDDEN_PAUSE_SECONDS)
        except ClusterError as error:
            logger.warning("the API server is out of reach, waiting for it: %s", error)
            return
        else:
            return


async def _unless_stopped(waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait, unless the process is told to stop; answers whether the wait came to its end.

    Later kopf listens for signals. Until then nobody does, and to the first process of a container, which is what this
    is in a pod, the kernel delivers only signals that somebody listens for.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(waiting)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
    if task.cancelled():
        return False
    task.result()
    return True


def _own_namespace() -> str:
    """Of the pod that this runs in."""
    with suppress(OSError):
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    raise SettingsError("lease_namespace is not set, and this is no pod that has a namespace of its own; set it")


def _elections(settings: Settings, kube: Kube) -> list[Election]:
    """One for every shard; a single one when there is but one."""
    # A restarted container has its pod's name again; what its predecessor held is not its own.
    identity = f"{settings.identity or socket.gethostname()}_{secrets.token_hex(4)}"
    names = [f"{settings.lease_name}-shard-{shard}" for shard in range(settings.shards)]
    return [
        Election(
            kube,
            namespace=settings.lease_namespace or _own_namespace(),
            name=name,
            identity=identity,
            clock=lambda: time.clock_gettime(_GOES_ON_WHILE_SUSPENDED),
            now=lambda: datetime.now(UTC),  # noqa: TID251 - the one place that reads the clock
        )
        for name in (names if settings.shards > 1 else [settings.lease_name])
    ]


async def run(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT. Raises SettingsError when it cannot start."""
    kubeconfig = settings.kubeconfig or os.environ.get("KUBECONFIG")
    if kubeconfig:
        # Kopf watches with a login of its own, and this is where it looks.
        os.environ["KUBECONFIG"] = str(kubeconfig)
    async with (
        connect(str(kubeconfig) if kubeconfig else None) as kube,
        PrometheusClient.from_settings(settings) as prometheus,
    ):
        await require_crd(kube, settings)
        if settings.shards > 1 and not settings.leader_election:
            raise SettingsError(f"shards is {settings.shards}, and leader_election is off: set it, or shards to 1")
        elections = _elections(settings, kube) if settings.leader_election else []
        operator = Operator(settings, kube, prometheus, elections[0] if len(elections) == 1 else None)
        if len(elections) > 1:
            kube.may_write = operator.share(elections).check
        elif elections:
            kube.may_write = elections[0].check
        await operator.run()
