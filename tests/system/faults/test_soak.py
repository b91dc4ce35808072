"""Many resources, and nothing changes: no write, no Event, no growth. Reads are those of the comparison with a list,
watches are as many as there are kinds.
"""

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import pytest
import pytest_asyncio
from system.faults._admin import Admin
from system.faults._audit import Request
from system.faults._world import Process, World, eventually, shown, tell, world
from system.faults.conftest import Faults

from rehearsal.control_plane import ControlPlane

NAMESPACE = "soak"
RESOURCES = {False: 60, True: 200}
SECONDS = {False: 30.0, True: 1_800.0}
WARM_UP_SECONDS = {False: 2.0, True: 300.0}
SAMPLE_SECONDS = {False: 1.0, True: 5.0}
BLOCKS = 10
"""Samples follow each other too closely to be independent; means of so many blocks nearly are."""
RSS_LIMIT_MIB_PER_HOUR = 1.0
_STUDENT_8 = 2.306
"""97.5 % quantile of Student's t for ten blocks and two parameters."""
RESYNC_SECONDS = 10.0

pytestmark = pytest.mark.timeout(2_700)


@dataclass(frozen=True)
class Soaked:
    """One long quiet time."""

    seconds: float
    resources: int
    writes: list[Request]
    events: tuple[int, int]
    """In the namespace, at the beginning and at the end."""
    watches: tuple[float, float]
    """Of resources, at the API server."""
    sockets: tuple[int, int]
    """That the operator has open."""
    reads: tuple[Counter[str], Counter[str]]
    """Requests for resources by verb, in the first and in the second half."""
    rss: list[tuple[float, float]]
    """Seconds and MiB."""
    slope: float
    """Of it, in MiB per hour."""
    half_width: float
    """Of the slope's 95 % interval."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def soaked(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[Soaked]:
    async with world(plane, tmp_path_factory.mktemp("soak"), NAMESPACE) as made:
        process = await made.start("operator", {"resync_interval_seconds": str(RESYNC_SECONDS)})
        names = [f"quiet-{number}" for number in range(RESOURCES[faults.is_full])]
        await asyncio.gather(*(made.apply(name, {"spec.replicas": 0}) for name in names))
        await asyncio.gather(*(eventually(partial(is_rolled_out, made, name), within=120, what=name) for name in names))
        await made.rests(seconds=3.5, within=90)
        await asyncio.sleep(WARM_UP_SECONDS[faults.is_full])
        yield await soak(made, process, is_full=faults.is_full)


async def is_rolled_out(world: World, name: str) -> bool:
    """Also on a machine on which the deployment controller takes its time: what it says at last is written."""
    return await world.condition(name, "Reconciling") == ("False", "RolledOut")


async def soak(world: World, process: Process, *, is_full: bool) -> Soaked:
    admin, count = world.admin, len(world.audit.writes)
    rss: list[tuple[float, float]] = []
    began = time.monotonic()
    first = await look(admin, process)
    middle = first
    while (elapsed := time.monotonic() - began) < SECONDS[is_full]:
        rss.append((elapsed, rss_mib(process.pid)))
        if elapsed < SECONDS[is_full] / 2:
            middle = await look(admin, process)
        await asyncio.sleep(SAMPLE_SECONDS[is_full])
    last = await look(admin, process)
    slope, half_width = slope_per_hour(rss)
    found = Soaked(
        seconds=elapsed,
        resources=RESOURCES[is_full],
        writes=world.audit.writes[count:],
        events=(first.events, last.events),
        watches=(first.watches, last.watches),
        sockets=(first.sockets, last.sockets),
        reads=(middle.reads - first.reads, last.reads - middle.reads),
        rss=rss,
        slope=slope,
        half_width=half_width,
    )
    tell(
        "soak",
        resources=found.resources,
        seconds=elapsed,
        writes=len(found.writes),
        events=last.events - first.events,
        watches=last.watches,
        sockets=last.sockets,
        reads=f"{dict(found.reads[0])} then {dict(found.reads[1])}",
        RSS_MiB=rss[-1][1],
        slope_MiB_per_hour=f"{slope:.2f} +- {half_width:.2f} (95 %, over {elapsed / 60:.1f} minutes)",
    )
    return found


@dataclass(frozen=True)
class Look:
    events: int
    watches: float
    sockets: int
    reads: Counter[str]


async def look(admin: Admin, process: Process) -> Look:
    page = await admin.metrics()
    counts: Counter[str] = Counter()
    for labels, value in re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", page, re.MULTILINE):
        if 'resource="specdecodedeployments"' in labels:
            counts[re.findall(r'verb="(\w+)"', labels)[0]] += int(float(value))
    long = re.findall(r"^apiserver_longrunning_requests\{(.*)\} (\S+)$", page, re.MULTILINE)
    watches = sum(float(value) for labels, value in long if 'resource="specdecodedeployments"' in labels)
    events = len(await admin.items("Event", NAMESPACE))
    return Look(events, watches, sockets_of(process.pid), counts)


def rss_mib(pid: int) -> float:
    """Resident memory of a process, by the kernel's exact count."""
    (found,) = re.findall(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found) / 1024


def sockets_of(pid: int) -> int:
    count = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(each.readlink()).startswith("socket:")
    return count


def slope_per_hour(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope of a least-squares line through the means of blocks, and the half width of its 95 % interval."""
    size = len(samples) // BLOCKS
    blocks = [samples[start * size : (start + 1) * size] for start in range(BLOCKS)]
    points = [(fmean(at for at, _ in block), fmean(value for _, value in block)) for block in blocks]
    mean_at, mean_value = fmean(at for at, _ in points), fmean(value for _, value in points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    slope = sum((at - mean_at) * (value - mean_value) for at, value in points) / spread
    rest = sum((value - mean_value - slope * (at - mean_at)) ** 2 for at, value in points)
    error = math.sqrt(rest / (BLOCKS - 2) / spread)
    return 3_600 * slope, 3_600 * _STUDENT_8 * error


async def test_the_measure_of_growth_bites() -> None:
    grows = [(float(at), 100 + 2 * at / 3_600 + 0.01 * (at % 3)) for at in range(0, 1_800, 5)]
    slope, half_width = slope_per_hour(grows)
    assert slope == pytest.approx(2, abs=0.2)
    assert slope - half_width > RSS_LIMIT_MIB_PER_HOUR
    steady, _ = slope_per_hour([(at, 100 + 0.01 * (at % 3)) for at, _ in grows])
    assert abs(steady) < 0.2


async def test_nothing_is_written(soaked: Soaked) -> None:
    assert shown(soaked.writes) == []


async def test_no_event_is_posted(soaked: Soaked) -> None:
    assert soaked.events[1] == soaked.events[0]


async def test_watches_and_connections_are_as_many_as_before(soaked: Soaked) -> None:
    """Or fewer: those of the beginning are closed. A watch that is opened anew may overlap with the one before it."""
    assert soaked.watches[0] >= 1
    assert soaked.watches[1] <= soaked.watches[0] + 1
    assert soaked.sockets[1] <= soaked.sockets[0] + 3


async def test_reads_do_not_grow(soaked: Soaked) -> None:
    """The comparison with a list, every ten seconds here, and a watch that is opened again; nothing per resource."""
    halves = soaked.reads
    assert set(halves[0] | halves[1]) <= {"LIST", "WATCH", "GET"}
    lists = soaked.seconds / 2 / RESYNC_SECONDS
    for half in halves:
        assert half["GET"] == 0
        assert half["LIST"] <= 1.5 * lists + 2
        assert half["WATCH"] <= soaked.seconds / 2 / 60 + 4


async def test_memory_does_not_grow(soaked: Soaked) -> None:
    """Over half an hour the slope is known well enough to be held against its limit. Over half a minute only a leak of
    a tick's own size would show.
    """
    if soaked.seconds > 600:
        assert soaked.slope - soaked.half_width < RSS_LIMIT_MIB_PER_HOUR
        assert soaked.slope < 4 * RSS_LIMIT_MIB_PER_HOUR
    else:
        assert soaked.rss[-1][1] - soaked.rss[0][1] < 4, "MiB, in half a minute"
