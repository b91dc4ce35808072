"""Several deployments for an hour, in a time that jumps: simulated engines, the operator's own reconciler, judgement
and metrics, and everything that a Prometheus would have scraped of them.

Only the edges are stood in for: the API server is in memory, and what the operator asks Prometheus is answered from the
last scrape.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TextIO, cast

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from rehearsal.dashboards.cluster import Body, Cluster
from rehearsal.dashboards.eyes import Eyes
from rehearsal.dashboards.pods import Pod
from rehearsal.dashboards.virtual_time import run_fast
from rehearsal.engine.behaviour import Behaviour, BehaviourFile
from specdecode.api.resource import read_status
from specdecode.api.vocabulary import LABEL_DEPLOYMENT
from specdecode.engine.version import EngineVersion
from specdecode.kube import Kube, path_of
from specdecode.library import Library
from specdecode.lookup.find import Sources
from specdecode.manifests.build import Options
from specdecode.observe.cluster import child_of
from specdecode.observe.measure import Observer
from specdecode.observe.subject import Subject, subject_of
from specdecode.reconcile import Measured, Reconciler
from specdecode.store import Key, Store
from specdecode.telemetry import Metrics

SCRAPE_SECONDS = 15
_TICK_AFTER_SECONDS = 5
_START_SECONDS = 75.0
_OPERATOR = {"namespace": "specdecode", "pod": "specdecode-operator-0", "job": "specdecode-operator"}
_OPERATOR_TARGET = {**_OPERATOR, "instance": "10.0.1.1:8080"}
_KV_TOKENS = 400_000


@dataclass(frozen=True)
class Chapter:
    """How it is from some minute on."""

    from_minute: float
    behaviour: Behaviour
    workers: int
    """Users with one request at a time."""
    temperatures: tuple[float, ...] = (0.0,)
    """One of them by chance for each request."""


@dataclass(frozen=True)
class Script:
    """One deployment and what happens to it."""

    body: Body
    chapters: Sequence[Chapter]
    max_tokens: int = 120
    pause_seconds: float = 0.5
    """Mean time between an answer and the next question."""
    kv_cache_share: float = 0.97
    """What the engine finds of the KV cache that was planned."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.body["metadata"]["namespace"], self.body["metadata"]["name"]

    def at(self, seconds: float) -> Chapter:
        """The chapter that it is in."""
        return [chapter for chapter in self.chapters if chapter.from_minute * 60 <= seconds][-1]


class _Behaviour(BehaviourFile):
    """What a script says, in place of a file."""

    def __init__(self, script: Script) -> None:
        super().__init__(None)
        self._script = script

    def at(self, now_seconds: float) -> Behaviour:
        return self._script.at(now_seconds).behaviour


class History:
    """What was scraped, as OpenMetrics text with timestamps, line by line in the order of time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, sample: Sample, at: float) -> None:
        """One sample of one scrape."""
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items() if value)
        self._file.write(f"{sample.name}{{{labels}}} {sample.value!r} {at:.3f}\n")

    def close(self) -> None:
        """Nothing more will come."""
        self._file.write("# EOF\n")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class World:
    """All of it. `begin` is a Unix time; the loop's clock counts from there."""

    def __init__(self, scripts: Sequence[Script], begin: float, history: History) -> None:
        self.metrics = Metrics()
        self.history = history
        self._begin = begin
        self._scripts = {script.key: script for script in scripts}
        self._pods: dict[str, Pod] = {}
        """By path of the Deployment; one stands for all of its replicas."""
        self._random = Random(1)
        self._tasks: set[asyncio.Task[None]] = set()
        store = Store()
        self.cluster = Cluster(store, self._roll_out)
        self._eyes = Eyes(self.metrics)
        self._observer = Observer(self._eyes, scrape_interval_seconds=SCRAPE_SECONDS)
        library = Library.over(Sources(models_directory=None, is_hub_allowed=False), lambda _: None)
        kube = cast("Kube", self.cluster)
        self._reconciler = Reconciler(store, kube, self.metrics, Options(), library, 4.0 * SCRAPE_SECONDS)
        self._store = store

    # The cluster

    def _spawn(self, coroutine: object) -> None:
        task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload] # a coroutine
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _roll_out(self, deployment: Body) -> None:
        self._spawn(self._replace(path_of(deployment), deployment))

    async def _replace(self, path: str, deployment: Body) -> None:
        old = self._pods.pop(path, None)
        if old is not None:
            await old.stop()
        pod = self._pods[path] = Pod.of(deployment)
        await asyncio.sleep(_START_SECONDS)
        if self._pods.get(path) is not pod:
            return
        key = deployment["metadata"]["namespace"], deployment["metadata"]["labels"][LABEL_DEPLOYMENT]
        script = self._scripts[key]
        pod.start(_Behaviour(script), self._kv_tokens(key, pod), self._now())
        self.cluster.ready(path)

    def _kv_tokens(self, key: Key, pod: Pod) -> int:
        prepared = self._reconciler.memory(key).prepared
        plan = prepared.plan if prepared is not None else None
        rungs = [rung for rung in plan.ladder if rung.mode == pod.labels["specdecode_io_mode"]] if plan else []
        planned = rungs[0].kv_cache_tokens if rungs else _KV_TOKENS
        return int(planned * self._scripts[key].kv_cache_share)

    # Time

    def _now(self) -> float:
        return self._begin + asyncio.get_running_loop().time()

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(int(self._now()), UTC)

    # The users

    async def _user(self, script: Script, number: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            chapter = script.at(loop.time())
            pods = [pod for pod in self._pods_of(script.key) if pod.is_up]
            if number >= chapter.workers or not pods:
                await asyncio.sleep(2.0)
                continue
            asked = pods[number % len(pods)].ask(script.max_tokens, self._random.choice(chapter.temperatures))
            request = asyncio.ensure_future(asked)
            # A pod that goes away never answers; its user notices after a while.
            await asyncio.wait({request}, timeout=60.0)
            request.cancel()
            await asyncio.sleep(self._random.expovariate(1 / script.pause_seconds))

    def _pods_of(self, key: Key) -> list[Pod]:
        return [
            pod
            for pod in self._pods.values()
            if (pod.labels["namespace"], pod.labels["specdecode_io_deployment"]) == key
        ]

    # The operator

    def _subject(self, key: Key) -> Subject | None:
        entry, prepared = self._store.entry(key), self._reconciler.memory(key).prepared
        if entry is None or entry.body is None or entry.deployment is None or prepared is None:
            return None
        child = child_of(entry.deployment, entry.body["metadata"]["uid"])
        if child.mode is None or prepared.plan is None or prepared.resource is None:
            return None
        resource = prepared.resource.model_copy(update={"status": read_status(entry.body)})
        return subject_of(resource, child.mode, EngineVersion.parse(prepared.plan.engine_version))

    async def _tick(self) -> None:
        now = self._moment()
        subjects = [subject for key in self._store.known() if (subject := self._subject(key)) is not None]
        measurements = await self._observer.tick(subjects, now)
        for key in self._store.known():
            if key in measurements:
                self._reconciler.memory(key).measured = Measured(measurements[key], now)
            with self.metrics.reconcile_seconds.time():
                await self._reconciler.visit(key, now)
            self.metrics.reconciles.labels("ok").inc()
        self.metrics.resources.set(len(self._store.known()))

    # Prometheus

    def _scrape(self) -> None:
        at = self._now()
        self._eyes.begin(at)
        for pod in self._pods.values():
            for sample in pod.scrape():
                self.history.add(sample, at)
                self._eyes.see(sample)
        for sample in self._page():
            self.history.add(sample, at)

    def _page(self) -> Iterator[Sample]:
        yield Sample("up", _OPERATOR_TARGET, 1.0)
        for family in text_string_to_metric_families(self.metrics.page().decode()):
            for sample in family.samples:
                # With honorLabels the namespace of a resource stays; the others get that of the operator.
                if not sample.name.endswith("_created"):
                    yield Sample(sample.name, {**_OPERATOR_TARGET, **sample.labels}, sample.value)

    async def play(self, minutes: float) -> None:
        """From the first apply on."""
        self.metrics.leader.labels("0").set(1)
        for script in self._scripts.values():
            self.cluster.put(script.body)
            for number in range(max(chapter.workers for chapter in script.chapters)):
                self._spawn(self._user(script, number))
        for scrape in itertools.count():
            at = scrape * SCRAPE_SECONDS
            if at > minutes * 60:
                break
            await _until(at)
            self._scrape()
            await _until(at + _TICK_AFTER_SECONDS)
            with self.metrics.tick_seconds.time():
                await self._tick()
        for task in list(self._tasks):
            task.cancel()


async def _until(seconds: float) -> None:
    await asyncio.sleep(max(0.0, seconds - asyncio.get_running_loop().time()))


def play(scripts: Sequence[Script], *, begin: float, minutes: float, path: Path) -> World:
    """Play it and write what was scraped. `begin` is a Unix time."""

    async def played(file: TextIO) -> World:
        world = World(scripts, begin, History(file))
        await world.play(minutes)
        world.history.close()
        return world

    with path.open("w", encoding="utf-8") as file:
        return run_fast(played(file))
