"""Three operators that share the resources of a namespace, six shards between them: one starts, one dies, one comes
back, one is stopped, and people go on editing.

Who wrote what is told by the audit log; what is looked after twice, by the operators' own metrics.
"""

import asyncio
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import httpx
import pytest
import pytest_asyncio
from system.faults._audit import Request
from system.faults._world import Process, World, eventually, tell, world

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from specdecode.shards import shard_of

NAMESPACE = "shared-out"
SHARDS = 6
LEASE_SECONDS = 15
NAMES = [f"chat-{number:02d}" for number in range(18)]

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Chapter:
    """What was written, and by whom, while something happened to the replicas."""

    writes: Sequence[Request]
    holds: Mapping[str, Sequence[int]]
    """Shards of each replica at its end, by the name of the replica."""
    resources: Mapping[str, frozenset[str]]
    """Resources that each replica shows in its metrics at its end."""
    seconds: float
    """Until the shards were held by those who should hold them."""

    def writers(self) -> Mapping[str, set[str]]:
        """By name of a resource: the credentials of those who wrote for it."""
        found = defaultdict(set)
        for write in self.writes:
            if write.resource != "leases":
                found[next(name for name in NAMES if write.name.startswith(name))].add(write.credential)
        return found


@dataclass
class Story:
    world: World
    replicas: dict[str, Process]
    seen: int = 0

    async def start(self, name: str) -> None:
        """A replica under the rights that the chart gives to one of three."""
        values = {"replicas": 3, "shards": SHARDS, "watch": {"namespaces": [NAMESPACE]}}
        own = self.world.directory / f"{name}.kubeconfig"
        shutil.copy(await identity(self.world.plane, NAMESPACE, values), own)
        settings = {"leader_election": "true", "lease_namespace": NAMESPACE, "shards": str(SHARDS)}
        self.replicas[name] = await self.world.start(name, settings, own)

    async def page(self, name: str) -> str:
        """Its metrics; empty until it serves them."""
        if not self.replicas[name].operator.url:
            return ""
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            return (await client.get(f"{self.replicas[name].operator.url}/metrics")).text

    async def holds(self, name: str) -> list[int]:
        leads = [line for line in (await self.page(name)).splitlines() if line.startswith("specdecode_leader{")]
        return [int(line.split('"')[1]) for line in leads if float(line.split()[-1]) == 1]

    async def shows(self, name: str) -> frozenset[str]:
        """The resources in its metrics."""
        page = await self.page(name)
        return frozenset(each for each in NAMES if f'name="{each}"' in page)

    async def is_shared(self, among: Sequence[str]) -> bool:
        """Whether these, and nobody else, hold all shards, and none has two more than another."""
        holds = [await self.holds(name) for name in among]
        counts = [len(each) for each in holds]
        return (
            Counter(shard for each in holds for shard in each) == Counter(range(SHARDS))
            and max(counts) <= min(counts) + 1
        )

    async def edit(self, tokens: int) -> None:
        """Everybody's spec changes."""
        change = {"spec.speculation.numSpeculativeTokens": tokens}
        await asyncio.gather(*(self.world.apply(name, change) for name in NAMES))

    async def chapter(self, among: Sequence[str], tokens: int, *, within: float) -> Chapter:
        """Wait until the shards are shared among some, and let people edit then."""
        began = time.monotonic()
        await eventually(partial(self.is_shared, among), within=within, what=f"{among} share the shards")
        seconds = time.monotonic() - began
        self.seen = len(self.world.audit.writes)
        await self.edit(tokens)
        await self.world.settles(NAMES)
        await self.world.rests()
        return Chapter(
            writes=self.world.audit.writes[self.seen :],
            holds={name: await self.holds(name) for name in among},
            resources={name: await self.shows(name) for name in among},
            seconds=seconds,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chapters(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Chapter]]:
    """The whole story, once."""
    told = {}
    async with world(plane, tmp_path_factory.mktemp(NAMESPACE), NAMESPACE) as made:
        story = Story(made, {})
        await asyncio.gather(*(story.start(name) for name in ("first", "second", "third")))
        told["three start"] = await story.chapter(("first", "second", "third"), 2, within=30)

        await story.replicas["third"].operator.kill()
        told["one is killed"] = await story.chapter(("first", "second"), 3, within=2 * LEASE_SECONDS)

        await story.replicas["third"].operator.start()
        told["it comes back"] = await story.chapter(("first", "second", "third"), 4, within=30)

        await story.replicas["first"].operator.stop()
        told["one is stopped"] = await story.chapter(("second", "third"), 5, within=LEASE_SECONDS)
        tell("sharding", **{f"{name.replace(' ', '_')}_s": chapter.seconds for name, chapter in told.items()})
        credentials = {process.credential: name for name, process in story.replicas.items()}
        assert len(credentials) == len(story.replicas), "each has a token of its own"
        yield told


CHAPTERS = ("three start", "one is killed", "it comes back", "one is stopped")


@pytest.mark.parametrize("name", CHAPTERS)
async def test_every_resource_has_one_writer(chapters: dict[str, Chapter], name: str) -> None:
    writers = chapters[name].writers()
    assert set(writers) == set(NAMES)
    assert [each for each, credentials in writers.items() if len(credentials) != 1] == []


@pytest.mark.parametrize("name", CHAPTERS)
async def test_every_replica_that_is_there_works(chapters: dict[str, Chapter], name: str) -> None:
    chapter = chapters[name]
    assert len(set.union(*chapter.writers().values())) == len(chapter.holds)


@pytest.mark.parametrize("name", CHAPTERS)
async def test_nothing_is_evaluated_twice_and_nothing_by_nobody(chapters: dict[str, Chapter], name: str) -> None:
    chapter = chapters[name]
    expected = {
        replica: frozenset(each for each in NAMES if shard_of((NAMESPACE, each), SHARDS) in shards)
        for replica, shards in chapter.holds.items()
    }
    assert chapter.resources == expected


@pytest.mark.parametrize("name", CHAPTERS)
async def test_an_edit_is_carried_out_once(chapters: dict[str, Chapter], name: str) -> None:
    """A Deployment is written once for each: who gains a shard does not write again what another one wrote."""
    written = Counter(each.name for each in chapters[name].writes if each.resource == "deployments")
    assert written == dict.fromkeys(NAMES, 1)


async def test_who_is_stopped_gives_its_shards_back_and_nobody_waits_for_a_lease(chapters: dict[str, Chapter]) -> None:
    assert chapters["one is stopped"].seconds < LEASE_SECONDS / 2
