"""One size of fleet: the floor, ours and the obvious design, one after the other on the same objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rehearsal.binaries import Binaries
from rehearsal.binaries.ways import Say
from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.processes import free_ports
from specdecode.observe.queries import FAST_WINDOW_SCRAPES

from .audit import Writes, by_account, by_kopf
from .burst import Latencies, burst
from .client import Client, client_of
from .contender import Contender, Ours, Scrape
from .engines import pages, write
from .fleet import Fleet, populate, prepare_plane
from .process import Memory
from .scraped import FleetPrometheus
from .watch_only import SEEN

SYSTEM = "specdecode-system"


@dataclass(frozen=True)
class Pace:
    """How long everything is looked at."""

    interval_seconds: float = 15.0
    """Of scrapes and of evaluations."""
    steady_ticks: int = 4
    """Of the operator; one that has no ticks is looked at for half that time."""
    settle_seconds: float = 30.0
    start_limit_seconds: float = 180.0
    naive_limit_seconds: float = 90.0
    """So long the obvious design has to catch up."""
    with_others: bool = True
    """Whether the floor and the obvious design are measured too."""
    edits: int = 200
    burst_limit_seconds: float = 30.0

    @property
    def steady_seconds(self) -> float:
        """From the end of one tick to the middle between two."""
        return (self.steady_ticks + 0.5) * self.interval_seconds


QUICK = Pace(interval_seconds=2.0, steady_ticks=4, settle_seconds=3.0, with_others=False, edits=50)


@dataclass(frozen=True)
class Steady:
    """What a process costs while nothing happens."""

    memory: Memory
    cpu_share: float
    """Of one core."""
    cpu_seconds_per_tick: float
    queries_per_tick: float
    ticks: float
    writes: Mapping[str, int]
    """By what was written."""


@dataclass
class Figures:
    """Of one operator at one size; None: it has no such figure."""

    seen_seconds: float | None = None
    """Until it knew and judged every resource by what the cluster says."""
    measured_seconds: float | None = None
    """Until the first evaluation with the numbers of Prometheus was over."""
    writes_at_start: Mapping[str, int] | None = None
    steady: Steady | None = None
    scrape: Scrape | None = None
    together: Latencies | None = None
    """A burst of edits sent all at once."""
    queued: Latencies | None = None
    """A burst sent by eight writers, each one edit after the other."""
    memory_after_bursts: Memory | None = None
    note: str = ""


@dataclass(frozen=True)
class Sized:
    """One size."""

    count: int
    series: int
    bytes_each: int
    populate_seconds: float
    figures: dict[str, Figures] = field(default_factory=dict)


FLOOR, OURS, NAIVE = "watch only", "specdecode", "timer per resource"


async def _until(probe: Callable[[], Awaitable[bool]], within: float, *, every: float = 0.2) -> bool:
    end = time.monotonic() + within
    while not await probe():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(every)
    return True


@dataclass
class Bench:
    """A populated plane with Prometheus over it."""

    plane: ControlPlane
    client: Client
    prometheus: FleetPrometheus
    fleet: Fleet
    kubeconfig: Path
    """Of the operator's service account, with the chart's rights."""
    directory: Path
    pace: Pace
    say: Say

    @property
    def count(self) -> int:
        return len(self.fleet.members)

    async def steady(
        self, contender: Contender, writes: Writes, ticks: Callable[[], Awaitable[float]], seconds: float
    ) -> Steady:
        """What it costs for a while; a share of CPU is that of whole ticks, where there are ticks."""
        written, before, asked = writes.count(), await ticks(), await self.prometheus.requests()
        begun, cpu = time.monotonic(), contender.cpu_seconds
        await asyncio.sleep(seconds)
        elapsed, used = time.monotonic() - begun, contender.cpu_seconds - cpu
        turned, queries = await ticks() - before, await self.prometheus.requests() - asked
        share = used / (turned * self.pace.interval_seconds if turned else elapsed)
        per = max(turned, 1e-9)
        return Steady(contender.memory, share, used / per, queries / per, turned, writes.count() - written)

    async def floor(self) -> Figures:
        """A Kopf operator that only watches."""
        contender = Contender(
            "watch-only", ("-m", "bench.scale.watch_only", str(self.count)), self.directory, self.plane.kubeconfig
        )
        figures, writes = Figures(), Writes(self.plane.audit_log, by_kopf)
        await contender.start()
        try:

            async def has_seen() -> bool:
                return SEEN in contender.said()

            if not await _until(has_seen, self.pace.start_limit_seconds):
                figures.note = "did not see every resource in time"
                return figures
            figures.seen_seconds = contender.age_seconds
            await asyncio.sleep(self.pace.settle_seconds)

            async def no_ticks() -> float:
                return 0.0

            figures.steady = await self.steady(contender, writes, no_ticks, self.pace.steady_seconds / 2)
        finally:
            await contender.stop()
        return figures

    async def ours(self) -> Figures:
        """The operator with its defaults, under the rights of the chart."""
        interval = str(self.pace.interval_seconds)
        settings = {"scrape_interval_seconds": interval, "evaluation_interval_seconds": interval}
        contender = Ours(self.directory, self.kubeconfig, self.prometheus.url, settings)
        figures, writes = Figures(), Writes(self.plane.audit_log, by_account)
        await contender.start()
        try:
            await self._start(contender, figures)
            figures.writes_at_start = writes.count()
            await asyncio.sleep(self.pace.settle_seconds)

            async def ticks() -> float:
                return (await contender.numbers()).get("specdecode_tick_seconds_count", 0.0)

            before = await ticks()

            async def has_turned() -> bool:
                await asyncio.sleep(0.2)
                return await ticks() > before

            await _until(has_turned, 60.0)
            figures.steady = await self.steady(contender, writes, ticks, self.pace.steady_seconds)
            figures.scrape = await contender.scrape()
            figures.together, figures.queued = await self._bursts()
            figures.memory_after_bursts = contender.memory
        finally:
            await contender.stop()
        return figures

    async def _start(self, contender: Ours, figures: Figures) -> None:
        async def has_judged() -> bool:
            return (await contender.numbers()).get("specdecode_reconcile_total", 0.0) >= self.count

        async def has_shown() -> bool:
            return (await contender.scrape()).resources == self.count

        async def has_measured() -> bool:
            numbers = await contender.numbers()
            return numbers.get("specdecode_resources") == self.count

        limit = self.pace.start_limit_seconds
        # A look at the metrics of ten thousand costs the operator 0.4 s, which is not to be measured.
        every = max(0.2, self.count / 5_000)
        if not (await _until(has_judged, limit, every=every) and await _until(has_shown, limit, every=every)):
            raise RuntimeError(f"not every resource was judged within {limit:.0f} s:\n{contender.said(20)}")
        figures.seen_seconds = contender.age_seconds
        if not await _until(has_measured, limit, every=every):
            raise RuntimeError(f"no evaluation was over within {limit:.0f} s:\n{contender.said(20)}")
        figures.measured_seconds = contender.age_seconds

    async def _bursts(self) -> tuple[Latencies, Latencies]:
        fleet, edits, limit = self.fleet.members, self.pace.edits, self.pace.burst_limit_seconds
        queued = await burst(self.client, fleet, 1, writers=8, edits=edits, within_seconds=limit)
        await asyncio.sleep(3)
        return await burst(self.client, fleet, 2, writers=edits, edits=edits, within_seconds=limit), queued

    async def naive(self) -> Figures:
        """The obvious design; last, because it marks every resource."""
        words = ("-m", "bench.scale.naive", self.prometheus.url)
        contender = Contender("naive", words, self.directory, self.plane.kubeconfig)
        figures, writes = Figures(), Writes(self.plane.audit_log, by_kopf)
        await contender.start()
        try:

            async def has_handled() -> bool:
                await asyncio.sleep(1)
                # One for the finalizer, one for the annotation: then its timer is set.
                return sum(writes.count().values()) >= 2 * self.count

            if await _until(has_handled, self.pace.naive_limit_seconds):
                figures.seen_seconds = contender.age_seconds
            else:
                figures.note = f"not through its first pass after {self.pace.naive_limit_seconds:.0f} s"
            figures.writes_at_start = writes.count()
            await asyncio.sleep(self.pace.settle_seconds / 2)
            begun = time.monotonic()

            async def ticks() -> float:
                return (time.monotonic() - begun) / self.pace.interval_seconds

            figures.steady = await self.steady(contender, writes, ticks, self.pace.steady_seconds / 2)
            figures.together, figures.queued = await self._bursts()
        finally:
            await contender.stop()
        return figures


@asynccontextmanager
async def raised(
    binaries: Binaries, directory: Path, count: int, pace: Pace, say: Say
) -> AsyncIterator[tuple[Bench, Sized]]:
    """A plane with a fleet, its engines and a Prometheus that has scraped them for a while."""
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(ControlPlane(binaries, directory / "plane", say))
        client = await stack.enter_async_context(client_of(plane))
        await prepare_plane(plane)
        kubeconfig = await identity(plane, SYSTEM, {"watch": {"namespaces": []}})
        begun = time.monotonic()
        fleet = await populate(plane, client, count, datetime.fromtimestamp(int(time.time()), UTC))
        seconds = time.monotonic() - begun
        say(f"scale: {count} converged deployments after {seconds:.1f} s")
        (port,) = free_ports(1)
        path = directory / "engines.json"
        series = write(path, fleet.members, fleet.kinds, time.time())
        words = ("-m", "bench.scale.engines", str(path), str(port))
        engines = Contender("engines", words, directory, plane.kubeconfig)
        await engines.start()
        stack.push_async_callback(engines.stop)
        prometheus = await stack.enter_async_context(
            FleetPrometheus(binaries, directory / "prometheus", port, pages(count), pace.interval_seconds)
        )
        sized = Sized(count, series, fleet.bytes_each, seconds)
        yield Bench(plane, client, prometheus, fleet, kubeconfig, directory, pace, say), sized


async def _wait_for_scrapes(bench: Bench) -> None:
    """The fast window is four scrapes; before that nothing can be said about anybody."""
    counted = 'count_over_time(up{specdecode_io_deployment!=""}[10m])'
    wanted = FAST_WINDOW_SCRAPES + 1

    async def is_scraped() -> bool:
        await asyncio.sleep(0.5)
        found = await bench.prometheus.query(f"count({counted} >= {wanted})")
        return bool(found) and float(found[0]["value"][1]) == bench.count

    if not await _until(is_scraped, 60.0 + 2 * wanted * bench.pace.interval_seconds):
        raise RuntimeError(f"Prometheus does not scrape every page:\n{bench.prometheus.process.log_tail()}")


async def measured(binaries: Binaries, directory: Path, count: int, pace: Pace, say: Say) -> Sized:
    """Everything about one size."""
    async with raised(binaries, directory, count, pace, say) as (bench, sized):
        if pace.with_others:
            sized.figures[FLOOR] = await bench.floor()
            say(f"scale: {count}: {FLOOR}: {sized.figures[FLOOR]}")
        await _wait_for_scrapes(bench)
        sized.figures[OURS] = await bench.ours()
        say(f"scale: {count}: {OURS}: {sized.figures[OURS]}")
        if pace.with_others:
            sized.figures[NAIVE] = await bench.naive()
            say(f"scale: {count}: {NAIVE}: {sized.figures[NAIVE]}")
        return sized
