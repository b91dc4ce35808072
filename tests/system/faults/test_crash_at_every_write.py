"""The operator dies after each of its writes, with and without the answer to it, and its successor puts everything
right: as if nothing had happened, and nothing twice.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from system.faults._admin import Admin
from system.faults._lives import LIMIT_SECONDS, WORKLOADS, Ending, Subject, Workload, play
from system.faults._world import KIND, install_crd, world
from system.faults.conftest import Faults

from rehearsal.chart import RELEASE, identity
from rehearsal.control_plane import ControlPlane
from rehearsal.fault_proxy import WRITES, FaultProxy, Request, Tell
from rehearsal.oracles import Counts, Reference, State, count_differences, counts_of, renamed
from specdecode.kube import Kube, connect

NAMESPACE = "crash"
NAME = "subject"
"""Under which runs are compared."""
SIDE_BY_SIDE = 6
FULL_ROUNDS = 11
"""Of every workload, write and variant: more than a thousand deaths."""


@dataclass
class Bench:
    """Where the runs take place."""

    plane: ControlPlane
    admin: Admin
    kube: Kube
    numbers: "count[int]" = field(default_factory=count)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SIDE_BY_SIDE))

    async def run(self, workload: Workload, kill_at: int | None, *, is_delivered: bool = True) -> tuple[str, Ending]:
        """One run under a name of its own, at a time of its own."""
        number = next(self.numbers)
        name = f"subject-{number:05d}"
        now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=7 * (number % 11))  # noqa: TID251 - a test's clock
        async with self.places:
            subject = Subject(self.admin, self.kube, NAMESPACE, name, now)
            ending = await play(subject, workload, kill_at, is_delivered=is_delivered)
        return name, ending

    def counts(self) -> Mapping[str, Counts]:
        """What was written by the operators, by name of the resource."""
        entries: dict[str, list[Any]] = defaultdict(list)
        whole, _, _ = self.plane.audit_log.read_text().rpartition("\n")  # the last line may be on its way
        for line in whole.splitlines():
            entry = json.loads(line)
            name = (entry.get("objectRef") or {}).get("name", "")
            entries[name[: len("subject-00000")]].append(entry)
        user = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
        return {
            name: _of_objects(counts_of(own, user=user, namespace=NAMESPACE, name=name), name)
            for name, own in entries.items()
        }

    async def events(self) -> Mapping[str, Counter[str]]:
        """What was told, by name of the resource and reason."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for event in await self.admin.items("Event", NAMESPACE):
            found[event["involvedObject"]["name"]][event["reason"]] += 1
        return found


def _of_objects(counts: Counts, name: str) -> Counts:
    """The counts under one name and without Events, whose names tell the uid and the time."""
    return {
        (verb, what.replace(name, NAME)): times
        for (verb, what), times in counts.items()
        if not what.startswith("events ")
    }


def untold_decisions(state: State, name: str, events: Counter[str]) -> list[str]:
    """Decisions that have no Event, or more than one each."""
    status = state[f"{KIND} {name}"]["status"]
    decided = Counter(entry["action"] for entry in status.get("history", ()))
    return [
        f"Events of {action}: expected {times}, found {events[action]}"
        for action, times in decided.items()
        if events[action] != times
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    await install_crd(plane)
    kubeconfig = await identity(plane, NAMESPACE)
    async with world(plane, tmp_path_factory.mktemp(NAMESPACE), NAMESPACE) as made, connect(str(kubeconfig)) as kube:
        yield Bench(plane, made.admin, kube)


@dataclass(frozen=True)
class Row:
    """What came of one workload."""

    workload: str
    writes: int
    injections: int
    wrong: Sequence[str]
    slowest: float

    def __str__(self) -> str:
        well = self.injections - len(self.wrong)
        return f"{self.workload:<16}{self.writes:>7}{self.injections:>12}{well:>11}{self.slowest:>10.2f}"


async def crash_everywhere(bench: Bench, workload: Workload, faults: Faults) -> Row:
    """Every write of a workload, both variants or in turns; the counts are read when all is over."""
    references = await asyncio.gather(*(bench.run(workload, None) for _ in range(3)))
    reference = Reference.of([renamed(ending.state, name, NAME) for name, ending in references])
    writes = len(references[0][1].writes)
    both = [(k, is_delivered) for k in range(1, writes + 1) for is_delivered in (False, True)]
    injected = both * FULL_ROUNDS if faults.is_full else [each for each in both if each[0] % 2 == each[1]]
    endings = await asyncio.gather(*(bench.run(workload, k, is_delivered=each) for k, each in injected))
    counts, events = bench.counts(), await bench.events()
    expected, wrong = counts.get(references[0][0], {}), []
    for (k, is_delivered), (name, ending) in zip(injected, endings, strict=True):
        found = reference.differs(renamed(ending.state, name, NAME))
        if not workload.acts[-1].is_deletion:
            # Who dies and sees the resource deleted has created less.
            found += count_differences(expected, counts.get(name, {}), verbs=("create", "delete"))
            found += untold_decisions(ending.state, name, events.get(name, Counter()))
        if found:
            wrong.append(f"{workload.name}, write {k}, answer {'' if is_delivered else 'not '}delivered: {found[:5]}")
    slowest = max((ending.seconds for _, ending in endings), default=0.0)
    return Row(workload.name, writes, len(injected), wrong, slowest)


@pytest.mark.timeout(3600)
async def test_a_successor_puts_everything_right_after_every_write(bench: Bench, faults: Faults) -> None:
    rows = [await crash_everywhere(bench, workload, faults) for workload in WORKLOADS]
    head = f"{'workload':<16}{'writes':>7}{'injections':>12}{'converged':>11}{'slowest s':>10}"
    sys.stdout.write("".join(f"\nfaults: {line}" for line in [head, *map(str, rows)]) + "\n")
    assert not [line for row in rows for line in row.wrong], "\n".join(line for row in rows for line in row.wrong)
    assert all(row.writes for row in rows), "a workload without a write tries nothing"
    assert max(row.slowest for row in rows) <= LIMIT_SECONDS


async def test_the_event_of_a_step_down_is_told_by_the_successor(bench: Bench) -> None:
    step_down = next(workload for workload in WORKLOADS if workload.name == "step down")
    name, _ = await bench.run(step_down, 1)
    events = await bench.admin.items("Event", NAMESPACE)
    told = {event["reason"] for event in events if event["involvedObject"]["name"] == name}
    assert "RolledBack" in told


async def kill_process_at(plane: ControlPlane, directory: Path, k: int, *, is_delivered: bool) -> float:
    """SIGKILL for the real process at its k-th write of anything but Leases; answers how long its successor took."""
    namespace = f"{NAMESPACE}-{k}-{'after' if is_delivered else 'before'}"
    await asyncio.to_thread(directory.mkdir)
    async with world(plane, directory, namespace) as made, FaultProxy(plane.server, ca=plane.ca_file) as proxy:
        own = await identity(plane, namespace, {"watch": {"namespaces": [namespace]}})
        process = await made.start("victim", kubeconfig=proxy.kubeconfig(own, directory / "proxy.kubeconfig"))
        killed = asyncio.Event()

        async def kill(_: int, __: Request) -> None:
            await process.operator.kill()
            killed.set()

        proxy.add(Tell(kill, is_delivered=is_delivered), verbs=WRITES, nth=k)
        await made.apply(NAME)
        await asyncio.wait_for(killed.wait(), 30)
        proxy.clear()
        began = time.monotonic()
        await process.operator.start()
        await made.settles([NAME], within=2 * LIMIT_SECONDS)
        took = time.monotonic() - began
        await made.rests()
        created = [each for each in made.audit.writes if each.code == 201 and each.resource != "events"]
        assert sorted((each.resource, each.name) for each in created) == [("deployments", NAME), ("services", NAME)]
        return took


@pytest.mark.timeout(600)
async def test_a_real_process_that_is_killed_is_followed_by_one_that_finishes(
    plane: ControlPlane, tmp_path: Path, faults: Faults
) -> None:
    cases = [(k, each) for k in (1, 2, 3, 4) for each in (False, True)] if faults.is_full else [(2, False), (3, True)]
    took = [
        await kill_process_at(plane, tmp_path / f"{k}-{is_delivered}", k, is_delivered=is_delivered)
        for k, is_delivered in cases
    ]
    sys.stdout.write(f"\nfaults: SIGKILL of the process: {len(took)} times, slowest successor {max(took):.1f} s\n")
    assert max(took) <= LIMIT_SECONDS
