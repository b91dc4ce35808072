"""Operators that can be killed at any write, in this process and on the real API server, with a clock of the test's.

A life is one operator from start to end: everything that it remembers begins empty and is filled by listing. Killing it
is to let none of its further requests through, and to begin another. That costs no start of a process, so that a
thousand deaths fit into minutes; the same with real processes is beside it, less often.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from builders import ABSENT, batches_of, measurement, with_overrides
from system.faults._admin import Admin, Body
from system.faults._world import KIND, wanted

from rehearsal.oracles import State
from specdecode.decide.facts import Measurement
from specdecode.errors import ClusterError
from specdecode.kube import Kube
from specdecode.library import Library
from specdecode.lookup.find import Sources
from specdecode.manifests.build import Options
from specdecode.reconcile import NOT_MEASURED, Measured, Reconciler
from specdecode.store import Store
from specdecode.telemetry import Metrics

STEP = timedelta(seconds=2)
"""Of the clock, from visit to visit. A whole life must stay below the minutes after which a pod without a node is a
finding."""
LIMIT_SECONDS = 10.0
"""In which a successor must have put everything right."""
_ENDLESS_SECONDS = 60.0
"""Of a life that has no limit of its own."""
KEPT = (KIND, "Deployment", "Service", "ConfigMap")
_OF_THE_MOMENT = ("managedFields", "creationTimestamp")
_PAUSE_SECONDS = 0.02
_QUIET_VISITS = 2


class KilledError(BaseException):
    """No `except` of the operator may hold this up."""


class MortalKube(Kube):
    """A client that lets `kill_at` writes through and then nothing more; the last one with or without its answer."""

    def __init__(self, kube: Kube, kill_at: int | None = None, *, is_delivered: bool = True) -> None:
        super().__init__(kube._client)
        self.writes: list[str] = []
        self._kill_at, self._is_delivered = kill_at, is_delivered
        self.is_dead = False

    async def _request(self, method: str, path: str, **asked: Any) -> Body:
        if self.is_dead:
            raise KilledError
        return await super()._request(method, path, **asked)

    async def _write(self, method: str, path: str, **asked: Any) -> Body:
        answer = await super()._write(method, path, **asked)
        self.writes.append(f"{method} {path}")
        if len(self.writes) == self._kill_at:
            self.is_dead = True
            if not self._is_delivered:
                raise KilledError
        return answer


def healthy(_: datetime) -> Measurement:
    return measurement()


def collapsed(at: datetime) -> Measurement:
    """Nothing is accepted any more."""
    good = measurement()
    assert good.fast is not None
    assert good.slow is not None
    fast, slow = replace(good.fast, accepted_tokens=10.0), replace(good.slow, accepted_tokens=50.0)
    return replace(good, fast=fast, slow=slow, batches=batches_of(slow, fast, at))


Facts = Callable[[datetime], Measurement]


@dataclass(frozen=True)
class Act:
    """What happens to a resource, and when it has come about."""

    spec: Mapping[str, Any] = field(default_factory=dict)
    """Dotted paths, on top of those of the acts before."""
    facts: Facts = healthy
    """Of `QuantizedDraft`; nothing is measured of any other mode."""
    mode: str = "QuantizedDraft"
    """That it ends in."""
    is_deletion: bool = False


@dataclass(frozen=True)
class Workload:
    """Acts in order; the operator dies in the last one."""

    name: str
    acts: tuple[Act, ...]


ASLEEP = {"spec.replicas": 0, "spec.speculation.fallbacks": ABSENT}
"""No pod is made: the Deployment is rolled out as soon as it is applied."""
NEW = Act(ASLEEP)
SERVING = Act(ASLEEP | {"spec.replicas": 1})
FALLEN = Act(facts=collapsed, mode="Off")
CONTROLLED = {"spec.replicas": 2, "spec.guard": {"baseline": {"controlReplicas": 1}}}
WORKLOADS = (
    Workload("create", (NEW,)),
    Workload("change model", (NEW, Act({"spec.model.revision": "0" * 40}))),
    Workload("change budget", (NEW, Act({"spec.engine.gpuMemoryUtilization": "0.9"}))),
    Workload("step down", (SERVING, FALLEN)),
    Workload("retry", (SERVING, FALLEN, Act({"metadata.annotations": {"specdecode.io/retry": "1"}}))),
    Workload("control comes", (NEW, Act(CONTROLLED))),
    Workload("control goes", (Act(ASLEEP | CONTROLLED), Act({"spec.guard": {}}))),
    Workload("meter comes", (NEW, Act({"spec.guard": {"meter": True}}))),
    Workload("meter goes", (Act(ASLEEP | {"spec.guard": {"meter": True}}), Act({"spec.guard": {"meter": False}}))),
    Workload("delete", (NEW, Act({"spec.engine.maxNumSeqs": 16}, is_deletion=True))),
)


@dataclass
class Subject:
    """One resource of one run."""

    admin: Admin
    kube: Kube
    namespace: str
    name: str
    now: datetime
    reconciler: type[Reconciler] = Reconciler
    spec: dict[str, Any] = field(default_factory=dict)

    async def apply(self, act: Act) -> None:
        if not act.spec:
            return
        self.spec |= act.spec
        written = wanted(self.namespace, self.name)
        await self.admin.apply(with_overrides(written, self.spec))

    async def live(self, act: Act, kube: MortalKube) -> float:
        """One life, until nothing is left to do; answers how long that took. Raises KilledError when it is killed, and
        AssertionError when there is no end of it.
        """
        began = time.monotonic()
        store = Store()
        reconciler = self._begin(store, kube)
        quiet = 0
        while quiet < _QUIET_VISITS:
            assert time.monotonic() - began < _ENDLESS_SECONDS, f"{self.name}: not at rest; {kube.writes[-6:]}"
            resource = await self._list(store)
            count = len(kube.writes)
            await self._visit(reconciler, act, resource)
            quiet = quiet + 1 if len(kube.writes) == count and await self._is_done(act) else 0
            await asyncio.sleep(_PAUSE_SECONDS)
        if kube.is_dead:
            raise KilledError
        return time.monotonic() - began

    async def visits(self, act: Act, kube: MortalKube, times: int = 6) -> None:
        """A life of so many visits, whatever comes of it."""
        store = Store()
        reconciler = self._begin(store, kube)
        for _ in range(times):
            await self._visit(reconciler, act, await self._list(store))
            await asyncio.sleep(_PAUSE_SECONDS)

    def _begin(self, store: Store, kube: Kube) -> Reconciler:
        library = Library.over(Sources(models_directory=None, is_hub_allowed=False), lambda _: None)
        return self.reconciler(store, kube, Metrics(), Options(), library, 60.0)

    async def _visit(self, reconciler: Reconciler, act: Act, resource: Body | None) -> None:
        self.now += STEP
        key = (self.namespace, self.name)
        mode = ((resource or {}).get("status") or {}).get("mode")
        seen = act.facts(self.now) if mode == "QuantizedDraft" else NOT_MEASURED
        reconciler.memory(key).measured = Measured(seen, self.now)
        try:
            await reconciler.visit(key, self.now)
        except ClusterError:
            return

    async def _list(self, store: Store) -> Body | None:
        """What a watch would have said by now."""
        resource, *children = await asyncio.gather(
            self.admin.find(KIND, self.namespace, self.name),
            *(
                self.admin.items(kind, self.namespace, f"specdecode.io/deployment={self.name}")
                for kind in ("Deployment", "Service", "ConfigMap", "Pod")
            ),
        )
        await asyncio.gather(*map(self._serve, children[-1]))
        store.drop_resource((self.namespace, self.name))
        puts = (store.put_deployment, store.put_service, store.put_config_map, store.put_pod)
        for put, bodies in zip(puts, children, strict=True):
            for each in bodies:
                put(each, is_deleted=False)
        if resource is not None:
            store.take_resource(resource, is_deleted=False)
        return resource

    async def _serve(self, pod: Body) -> None:
        """Say that a pod serves, as a kubelet would; it has no node, so that it also goes when it is deleted."""
        conditions = pod["status"].get("conditions", ())
        if any((each["type"], each["status"]) == ("Ready", "True") for each in conditions):
            return
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        metadata = pod["metadata"]
        with suppress(AssertionError):  # it may have gone meanwhile
            await self.admin.patch("Pod", self.namespace, metadata["name"], {"status": status}, subresource="status")

    async def _is_done(self, act: Act) -> bool:
        resource = await self.admin.find(KIND, self.namespace, self.name)
        if resource is None:
            return True
        status = resource.get("status") or {}
        is_current = status.get("observedGeneration") == resource["metadata"]["generation"]
        return is_current and status.get("mode") == act.mode and await self._is_seen()

    async def _is_seen(self) -> bool:
        """Whether the controllers have seen the Deployments as they are, and all of their pods serve."""
        deployments = await self.admin.items("Deployment", self.namespace, f"specdecode.io/deployment={self.name}")
        counts = ("replicas", "updatedReplicas", "readyReplicas")
        return all(
            d["status"].get("observedGeneration") == d["metadata"]["generation"]
            and all(d["status"].get(each, 0) == d["spec"]["replicas"] for each in counts)
            for d in deployments
        )

    async def state(self) -> State:
        """All objects whose name begins with that of the resource."""
        found: dict[str, Any] = {}
        for kind in KEPT:
            for each in await self.admin.items(kind, self.namespace):
                name = each["metadata"]["name"]
                if name == self.name or name.startswith(f"{self.name}-"):
                    # When each manager wrote is told by the counts; runs side by side begin within one second.
                    metadata = {key: value for key, value in each["metadata"].items() if key not in _OF_THE_MOMENT}
                    found[f"{kind} {name}"] = each | {"metadata": metadata}
                    if kind == "Deployment":
                        # Of the controllers, which write it at their own pace.
                        del found[f"{kind} {name}"]["status"]
                    elif kind == KIND:
                        # What the rules saw is as of the moment at which they were last written down.
                        for rule in each["status"].get("decision", {}).get("rules", ()):
                            rule.pop("saw", None)
        return found

    async def delete(self) -> None:
        await self.admin.delete(KIND, self.namespace, self.name)

    async def is_empty(self) -> bool:
        return not await self.state()


@dataclass(frozen=True)
class Ending:
    """What came of one run."""

    state: State
    writes: tuple[str, ...]
    """Of the life in the last act."""
    seconds: float
    """The successor took, or the only life."""


async def play(subject: Subject, workload: Workload, kill_at: int | None, *, is_delivered: bool = True) -> Ending:
    """Play a workload, and kill the operator after a write of the last act."""
    *before, last = workload.acts
    for act in before:
        await subject.apply(act)
        await subject.live(act, MortalKube(subject.kube))
    await subject.apply(last)
    kube = MortalKube(subject.kube, kill_at, is_delivered=is_delivered)
    try:
        seconds = await subject.live(last, kube)
    except KilledError:
        if last.is_deletion:
            await subject.delete()
        seconds = await subject.live(last, MortalKube(subject.kube))
    if last.is_deletion:
        seconds += await _emptied(subject, is_gone=kill_at is not None)
    ending = Ending(await subject.state(), tuple(kube.writes), seconds)
    if not last.is_deletion:
        await subject.delete()
    return ending


async def _emptied(subject: Subject, *, is_gone: bool) -> float:
    if not is_gone:
        await subject.delete()
    began = time.monotonic()
    while not await subject.is_empty():
        assert time.monotonic() - began < _ENDLESS_SECONDS, f"left over: {list(await subject.state())}"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


__all__ = [
    "LIMIT_SECONDS",
    "WORKLOADS",
    "Act",
    "Ending",
    "KilledError",
    "MortalKube",
    "Subject",
    "Workload",
    "play",
]
