"""Argo CD, Flux and Helm apply what is in Git, again and again, to resources whose speculation the operator turned off.

Nobody fights: the operator never writes a spec, the tools find nothing to change, what runs stays what it is. How fast
they apply does not matter to any of this, so half an hour of it is told in a few minutes.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from system.faults._admin import Body
from system.faults._audit import Request
from system.faults._world import KIND, World, eventually, shown, tell, wanted, world
from system.faults.conftest import Faults

from rehearsal.control_plane import ControlPlane
from rehearsal.processes import run

NAMESPACE = "gitops-writers"
SYNCED, RELEASED = "synced", "released"
"""The first is applied by Argo CD and Flux, the second is part of a chart."""
SECONDS = {False: 11.0, True: 300.0}
ROUNDS = {False: 20, True: 1_800}
"""At least. Argo CD looks every second while it heals itself, so half an hour has no more."""
UPGRADED_EVERY = {False: 5.0, True: 10.0}
FOUND_AFTER_SECONDS = {False: 0.0, True: 130.0}
"""Pods without a node are a finding after two minutes. It is told before the tools begin, or else while they work."""

pytestmark = pytest.mark.timeout(600)

STAMPS: dict[str, Body] = {
    "argocd-controller": {
        "annotations": {"argocd.argoproj.io/tracking-id": f"inference:specdecode.io/{KIND}:{NAMESPACE}/{SYNCED}"}
    },
    "kustomize-controller": {
        "labels": {
            "kustomize.toolkit.fluxcd.io/name": "inference",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        }
    },
}
"""What each tool writes beside the manifest."""


@dataclass
class Seen:
    """What a watch saw of the resources and their Deployments while the tools were at work."""

    changes: dict[str, int]
    """Versions of each resource."""
    generations: dict[str, set[int]]
    modes: dict[str, set[str]]
    """That status named."""
    templates: dict[str, set[int]]
    """Generations of each Deployment."""


@dataclass(frozen=True)
class Written:
    """The whole time."""

    seen: Seen
    writes: list[Request]
    """Of the operator, while the tools were at work."""
    all_writes: list[Request]
    rounds: int
    upgrades: int
    seconds: float


class Release:
    """A chart with one resource in it, as a team has it in its repository; the real helm installs it."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self._plane = plane
        self._home = directory
        self._chart = directory / "chart"
        (self._chart / "templates").mkdir(parents=True)
        chart = {"apiVersion": "v2", "name": "inference", "version": "1.0.0"}
        (self._chart / "Chart.yaml").write_text(yaml.safe_dump(chart))
        body = wanted(NAMESPACE, RELEASED)
        body["metadata"]["annotations"] = {"deployed-as": "REVISION"}
        text = yaml.safe_dump(body).replace("REVISION", "{{ .Values.label | quote }}")
        (self._chart / "templates" / "resource.yaml").write_text(text)

    async def upgrade(self, label: str) -> None:
        """`helm upgrade --install`; the label is a value that changes nothing of the spec."""
        words: list[str | Path] = [
            "upgrade",
            "--install",
            "inference",
            self._chart,
            f"--namespace={NAMESPACE}",
            f"--set=label={label}",
        ]
        environment = {
            "HOME": str(self._home),
            "KUBECONFIG": str(self._plane.kubeconfig),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        answer = await run([self._plane.binaries.helm, *words], environment=environment)
        assert answer.returncode == 0, answer.errors


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def written(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[Written]:
    directory = tmp_path_factory.mktemp("gitops-writers")
    async with world(plane, directory, NAMESPACE) as made:
        await made.start("operator")
        release = Release(plane, directory)
        await release.upgrade("first")
        for manager in STAMPS:
            await sync(made, manager)
        for name in (SYNCED, RELEASED):
            await made.crash(name, "QuantizedDraft")
        for name in (SYNCED, RELEASED):
            await eventually(partial(is_rolled_back, made, name), what=f"{name} is rolled back", within=30)
        for name in (SYNCED, RELEASED):
            await eventually(partial(is_seen, made, name), what=f"the controllers see {name}", within=30)
        await asyncio.sleep(FOUND_AFTER_SECONDS[faults.is_full])
        await made.rests(seconds=6)  # controllers under load tell late what they have replaced
        yield await at_work(made, release, is_full=faults.is_full)


async def is_rolled_back(world: World, name: str) -> bool:
    live = await world.deployment(name)
    is_off = live is not None and live["metadata"]["annotations"]["specdecode.io/mode"] == "Off"
    return is_off and await world.is_settled(name)


async def is_seen(world: World, name: str) -> bool:
    """Whether the controllers have begun to replace the pods, which the operator has to tell."""
    live = await world.deployment(name)
    assert live is not None
    status = live.get("status", {})
    return status.get("observedGeneration") == live["metadata"]["generation"] and "updatedReplicas" in status


async def sync(world: World, manager: str) -> None:
    """One server-side apply of what is in Git, as that tool does it."""
    body = wanted(NAMESPACE, SYNCED)
    body["metadata"] |= STAMPS[manager]
    await world.admin.apply(body, manager=manager)


async def at_work(world: World, release: Release, *, is_full: bool) -> Written:
    before = len(world.audit.writes)
    seen = Seen({}, {}, {}, {})
    watching = [asyncio.create_task(_watch(world, kind, seen)) for kind in (KIND, "Deployment")]
    began, rounds, upgrades, next_upgrade = time.monotonic(), 0, 0, 0.0
    while (elapsed := time.monotonic() - began) < SECONDS[is_full] or rounds < ROUNDS[is_full]:
        for manager in STAMPS:
            await sync(world, manager)
        rounds += 1
        if elapsed >= next_upgrade:
            upgrades += 1
            next_upgrade += UPGRADED_EVERY[is_full]
            await release.upgrade(str(upgrades))
        await asyncio.sleep(0.05)
    await asyncio.sleep(4)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    writes = world.audit.writes[before:]
    seconds = time.monotonic() - began
    grown = sum(seen.changes.values())
    tell("GitOps writers", rounds=rounds, upgrades=upgrades, seconds=seconds, versions=grown, our_writes=len(writes))
    return Written(seen, writes, world.audit.writes, rounds, upgrades, seconds)


async def _watch(world: World, kind: str, seen: Seen) -> None:
    """What is there now comes first, as ADDED, and counts as no change."""
    with suppress(asyncio.CancelledError):
        async for event, body in world.admin.changes(kind, NAMESPACE, seconds=1_200):
            name, generation = body["metadata"]["name"], body["metadata"]["generation"]
            if kind == "Deployment":
                seen.templates.setdefault(name, set()).add(generation)
                continue
            seen.changes[name] = seen.changes.get(name, 0) + (event == "MODIFIED")
            seen.generations.setdefault(name, set()).add(generation)
            seen.modes.setdefault(name, set()).add(body["status"]["mode"])


async def test_everybody_was_at_work(written: Written) -> None:
    assert written.rounds >= 20
    assert written.upgrades >= 2
    assert written.seen.changes.keys() == {SYNCED, RELEASED}


async def test_what_was_decided_stays(written: Written) -> None:
    """Not for a moment was it another mode."""
    assert written.seen.modes == {SYNCED: {"Off"}, RELEASED: {"Off"}}


async def test_what_runs_is_not_touched(written: Written) -> None:
    assert {name: len(generations) for name, generations in written.seen.templates.items()} == {SYNCED: 1, RELEASED: 1}


async def test_the_operator_has_nothing_to_write(written: Written) -> None:
    assert shown(written.writes) == []


async def test_the_operator_never_wrote_a_spec(written: Written) -> None:
    on_resources = {(write.verb, write.resource) for write in written.all_writes if "specdecode" in write.resource}
    assert on_resources == {("patch", "specdecodedeployments/status")}


async def test_applying_the_same_again_makes_no_version(written: Written) -> None:
    """Helm's upgrades change an annotation each, and that is all that ever changes."""
    assert written.seen.changes[SYNCED] <= len(STAMPS), "each tool becomes an owner of its fields at most once more"
    assert written.seen.changes[RELEASED] <= written.upgrades
    assert {name: len(each) for name, each in written.seen.generations.items()} == {SYNCED: 1, RELEASED: 1}
