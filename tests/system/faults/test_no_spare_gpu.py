"""Every GPU of the only node is in use, and the mode changes many times; now and then the new mode's engine does not
even start. Each change completes, without a pod more than there are GPUs and with at most one replica down.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from system.faults._admin import Body
from system.faults._world import KIND, World, eventually, tell, world
from system.faults.conftest import Faults

from rehearsal.control_plane import ControlPlane
from rehearsal.engine.behaviour import Behaviour, DraftKind, write_behaviour
from rehearsal.engines import IMAGE, SIMULATED
from rehearsal.node import Node

NAMESPACE = "no-spare-gpu-faults"
NAME = "chat"
CHANGES = {False: 2, True: 100}
"""Without the failed starts."""
FAILS_EVERY = 10
"""After so many changes one start fails; once at the end of the short version."""
REPLICAS = {False: 1, True: 2}
COMPLETE_WITHIN = 60.0
SURPLUS_SECONDS = 1.0
COMPRESSION = 30.0
"""Of grace periods and back-offs, which say nothing here."""
SOUND = Behaviour(start_seconds=0.5)
BROKEN = SOUND.model_copy(
    update={"exit_code_at_start": 1, "stderr_at_start": "the draft is broken", "fail_modes": (DraftKind.DRAFT,)}
)

pytestmark = pytest.mark.timeout(5_400)


@dataclass
class Pods:
    """The worst that was seen of the pods at any time, in a watch that misses nothing."""

    replicas: int
    alive: dict[str, Body] = field(default_factory=dict)
    most: int = 0
    fewest_ready: int = 0
    unscheduled: dict[str, float] = field(default_factory=dict)
    """Since when each is without a node."""
    longest_unscheduled_seconds: float = 0.0
    too_many_since: float | None = None
    longest_surplus_seconds: float = 0.0
    """Two ReplicaSets are two workers of one controller: one may create a moment before the other deletes."""

    def see(self, kind: str, pod: Body) -> None:
        """One change."""
        name = pod["metadata"]["name"]
        if kind == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            self.alive.pop(name, None)
        else:
            self.alive[name] = pod
        self.most = max(self.most, len(self.alive))
        self.fewest_ready = min(self.fewest_ready, sum(is_ready(each) for each in self.alive.values()))
        now = time.monotonic()
        if len(self.alive) > self.replicas:
            self.too_many_since = self.too_many_since or now
        elif self.too_many_since is not None:
            self.longest_surplus_seconds = max(self.longest_surplus_seconds, now - self.too_many_since)
            self.too_many_since = None
        waiting = [each for each, body in self.alive.items() if not body["spec"].get("nodeName")]
        for each in set(self.unscheduled) - set(waiting):
            self.longest_unscheduled_seconds = max(self.longest_unscheduled_seconds, now - self.unscheduled.pop(each))
        for each in waiting:
            self.unscheduled.setdefault(each, now)


def is_ready(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@dataclass(frozen=True)
class Played:
    """All changes, and what became of them."""

    pods: Pods
    replicas: int
    wanted: int
    completed: list[float]
    """Seconds of each."""
    failed_starts: int
    rescued: list[float]
    """Seconds from a spec whose engine does not start until the next mode serves."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def played(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[Played]:
    directory = tmp_path_factory.mktemp("no-spare-gpu")
    behaviour = directory / "behaviour.json"
    write_behaviour(behaviour, SOUND)
    node = Node(
        kubeconfig=plane.kubeconfig,
        name=f"node-{NAMESPACE}",
        gpus=REPLICAS[faults.is_full],
        programs={IMAGE: SIMULATED.program},
        directory=directory / "node",
        compression=COMPRESSION,
        behaviour=lambda _: behaviour,
    )
    async with node, world(plane, directory, NAMESPACE) as made:
        # With few seconds between scrapes the operator believes a crash loop sooner.
        await made.start("operator", None, None, "--scrape-interval=1", "--evaluation-interval=1")
        yield await play(made, node.name, behaviour, is_full=faults.is_full)


async def play(world: World, node: str, behaviour: Path, *, is_full: bool) -> Played:
    replicas, changes = REPLICAS[is_full], CHANGES[is_full]
    overrides = {
        "spec.replicas": replicas,
        "spec.accelerator.count": 1,
        "spec.model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
        "spec.speculation.draft": {"name": "meta-llama/Llama-3.2-1B-Instruct"},
        "spec.podTemplate": {"nodeSelector": {"kubernetes.io/hostname": node}},
    }
    await world.apply(NAME, overrides)
    await eventually(lambda: serves(world, "Draft"), within=COMPLETE_WITHIN, what="it serves")
    pods = Pods(replicas, fewest_ready=replicas)
    watching = asyncio.create_task(_watch(world, pods))
    completed: list[float] = []
    rescued: list[float] = []
    tokens = 5
    for number in range(changes):
        completed.append(await _changed(world, "Off" if number % 2 == 0 else "Draft"))
        if number % FAILS_EVERY == FAILS_EVERY - 1 or number == changes - 1:
            tokens = 9 - tokens
            rescued.append(await _failed_start(world, behaviour, overrides, tokens))
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    tell(
        "no spare GPU",
        replicas=replicas,
        changes=f"{len(completed)} of {changes}",
        slowest_s=max(completed),
        failed_starts=f"{len(rescued)} rescued",
        rescued_s=max(rescued),
        most_pods=pods.most,
        fewest_ready=pods.fewest_ready,
        longest_surplus_s=pods.longest_surplus_seconds,
        longest_without_a_node_s=pods.longest_unscheduled_seconds,
    )
    return Played(pods, replicas, changes, completed, len(rescued), rescued)


async def _changed(world: World, mode: str) -> float:
    """Another mode, asked for by a person; how long until it serves."""
    began = time.monotonic()
    change = {"metadata": {"annotations": {"specdecode.io/force-mode": "Off" if mode == "Off" else None}}}
    await world.admin.patch(KIND, NAMESPACE, NAME, change)
    await eventually(lambda: serves(world, mode), within=COMPLETE_WITHIN, what=f"{mode} serves")
    return time.monotonic() - began


async def _failed_start(world: World, behaviour: Path, overrides: Body, tokens: int) -> float:
    """Another spec, whose engine dies at start; the operator turns speculation off. Then it is mended and tried
    again.

    Answers how long it took until speculation was off.
    """
    write_behaviour(behaviour, BROKEN)
    began = time.monotonic()
    await world.apply(NAME, overrides | {"spec.speculation.numSpeculativeTokens": tokens})
    await eventually(lambda: serves(world, "Off"), within=COMPLETE_WITHIN, what="the next mode serves")
    seconds = time.monotonic() - began
    write_behaviour(behaviour, SOUND)
    retry = {"metadata": {"annotations": {"specdecode.io/retry": str(began)}}}
    await world.admin.patch(KIND, NAMESPACE, NAME, retry)
    await eventually(lambda: serves(world, "Draft"), within=COMPLETE_WITHIN, what="it serves once it is mended")
    return seconds


async def serves(world: World, mode: str) -> bool:
    """All replicas, in that mode, and as asked for by now."""
    resource = await world.resource(NAME)
    status = (resource or {}).get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    if resource is None or not conditions or status.get("observedGeneration") != resource["metadata"]["generation"]:
        return False
    is_ready = (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", "Serving")
    return is_ready and status["mode"] == mode and conditions["Reconciling"]["status"] == "False"


async def _watch(world: World, pods: Pods) -> None:
    while True:
        pods.alive.clear()  # a watch begins with all that are there
        async for kind, body in world.admin.changes("Pod", NAMESPACE, seconds=7_200):
            pods.see(kind, body)


def pod(name: str, *, node: str = "n", ready: bool = True) -> Body:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "spec": {"nodeName": node}, "status": {"conditions": conditions}}


async def test_the_measure_bites() -> None:
    seen = Pods(replicas=2, fewest_ready=2)
    for name in ("a", "b"):
        seen.see("ADDED", pod(name))
    seen.fewest_ready = 2
    seen.see("ADDED", pod("surge", node="", ready=False))
    assert (seen.most, seen.too_many_since is None, list(seen.unscheduled)) == (3, False, ["surge"])
    seen.see("DELETED", pod("a"))
    seen.see("MODIFIED", pod("b", ready=False))
    assert seen.fewest_ready == 0


async def test_every_change_completes(played: Played) -> None:
    assert len(played.completed) == played.wanted
    assert played.failed_starts == len(played.rescued) >= 1


async def test_no_pod_ever_surges(played: Played) -> None:
    assert played.pods.too_many_since is None
    assert played.pods.longest_surplus_seconds < SURPLUS_SECONDS
    assert played.pods.most <= played.replicas + 1


async def test_at_most_one_replica_is_down(played: Played) -> None:
    assert played.pods.fewest_ready >= played.replicas - 1


async def test_a_pod_waits_for_the_gpu_of_its_predecessor_and_no_longer(played: Played) -> None:
    assert not played.pods.unscheduled
    assert played.pods.longest_unscheduled_seconds < 10
