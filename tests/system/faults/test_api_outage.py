"""The API server cannot be used: it answers 503 or 429, accepts and says nothing, or cuts every connection. Every watch
is cut, too. People change their resources meanwhile, and an engine begins to crash.

The process stays, says that it lives, and catches up as soon as it can; what it could not write it writes once.
"""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from system.faults._audit import Request
from system.faults._same import differences, in_namespace, masked
from system.faults._world import Process, World, tell, world
from system.faults.conftest import Faults
from system.faults.test_unobserved import end_state

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.fault_proxy import Action, Answer, Drop, FaultProxy, Gone, Reset

OUTAGES: dict[str, Action] = {
    "unavailable": Answer(503),
    "too-many-requests": Answer(429, retry_after_seconds=1),
    "hanging": Drop(),
    "cut": Reset(),
}
OUTAGE_SECONDS = {False: 8.0, True: 240.0}
CAUGHT_UP_WITHIN = 45.0
"""A request that hangs is given up after 30 s and tried again after at most 10; the rest is what follows."""
LINES_PER_SECOND = 10.0
"""In the log, while nothing works: five watches, each with its attempts, and the operator's own words."""
EDITED = [f"edited-{number}" for number in range(4)]
CRASHING = "crashing"
ASLEEP: dict[str, Any] = {"spec.replicas": 0}
"""Here is no node, and a pod that has none for two minutes is a finding."""
OTHER: dict[str, Any] = ASLEEP | {"spec.speculation.numSpeculativeTokens": 3}

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Outage:
    """One kind of outage, before, meanwhile and after."""

    world: World
    home: str
    direct: str
    pid: tuple[int, int]
    """Before and after."""
    lives: Counter[int]
    """Answers of /healthz meanwhile."""
    lines: int
    """That were logged meanwhile."""
    seconds: float
    """That it lasted."""
    caught_up: float
    """Seconds from its end until everything was in order."""
    writes: list[Request]
    """From its beginning."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def outages(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[dict[str, Outage]]:
    """All kinds side by side, each with an operator and namespaces of its own."""
    over = asyncio.Event()
    seconds = OUTAGE_SECONDS[faults.is_full]
    results: dict[str, asyncio.Future[Outage]] = {}

    async def play(name: str, action: Action) -> None:
        directory = tmp_path_factory.mktemp(name)
        home, direct = f"outage-{name}", f"outage-{name}-direct"
        async with FaultProxy(plane.server, ca=plane.ca_file) as proxy, world(plane, directory, home, direct) as made:
            results[name].set_result(await suffer(made, proxy, action, seconds))
            await over.wait()

    loop = asyncio.get_running_loop()
    results = {name: loop.create_future() for name in OUTAGES}
    async with asyncio.TaskGroup() as group:
        for name, action in OUTAGES.items():
            group.create_task(play(name, action))
        found = {name: await result for name, result in results.items()}
        for name, outage in found.items():
            tell(
                f"API server {name}",
                lasted_s=outage.seconds,
                caught_up_after_s=outage.caught_up,
                log_lines_per_s=outage.lines / outage.seconds,
                writes=len(outage.writes),
            )
        yield found
        over.set()


async def suffer(made: World, proxy: FaultProxy, action: Action, seconds: float) -> Outage:
    home, direct = made.namespaces
    straight = made.directory / "straight.kubeconfig"
    shutil.copy(await identity(made.plane, home, {"watch": {"namespaces": [home, direct]}}), straight)
    process = await made.start(
        "operator", {"resync_interval_seconds": "10"}, proxy.kubeconfig(straight, made.directory / "proxied.kubeconfig")
    )
    names = [*EDITED, CRASHING]
    await asyncio.gather(*(made.apply(name, ASLEEP if name in EDITED else {}) for name in names))
    await made.settles(names)
    await made.rests()
    pid, count, logged = process.pid, len(made.audit.writes), lines_of(process)

    began = time.monotonic()
    proxy.add(action)
    proxy.add(Gone(), is_watch=True)
    await asyncio.gather(*(made.apply(name, OTHER) for name in EDITED))
    await made.crash(CRASHING, "QuantizedDraft")
    lives: Counter[int] = Counter()
    while (lasted := time.monotonic() - began) < seconds:
        lives[await liveness(process)] += 1
        await asyncio.sleep(0.5)
    lines = lines_of(process) - logged
    assert len(made.audit.writes) == count, "nothing came through"
    proxy.clear()

    over = time.monotonic()
    await made.settles(names, within=CAUGHT_UP_WITHIN)

    async def is_off() -> bool:
        return bool((await made.status(CRASHING)).get("mode") == "Off")

    while not await is_off():
        assert time.monotonic() - over < CAUGHT_UP_WITHIN, "the engine that crashed is still speculating"
        await asyncio.sleep(0.1)
    caught_up = time.monotonic() - over
    await made.rests()
    writes = made.audit.writes[count:]
    await asyncio.gather(*(made.apply(name, OTHER, direct) for name in EDITED))
    await made.settles(EDITED, direct)
    await made.rests()
    return Outage(made, home, direct, (pid, process.pid), lives, lines, lasted, caught_up, writes)


def lines_of(process: Process) -> int:
    return len(process.operator.log.read_text().splitlines())


async def liveness(process: Process) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        return (await client.get(f"{process.operator.url}/healthz")).status_code


@pytest.mark.parametrize("kind", OUTAGES)
async def test_the_process_stays_and_says_that_it_lives(outages: dict[str, Outage], kind: str) -> None:
    """A restart would mend nothing, and would make it forget."""
    outage = outages[kind]
    assert outage.pid[0] == outage.pid[1]
    assert set(outage.lives) == {200}


@pytest.mark.parametrize("kind", OUTAGES)
async def test_it_catches_up(outages: dict[str, Outage], kind: str) -> None:
    outage = outages[kind]
    assert outage.caught_up <= CAUGHT_UP_WITHIN
    for name in EDITED:
        late = await end_state(outage.world, name, outage.home)
        direct = await end_state(outage.world, name, outage.direct)
        assert differences(masked(late), masked(in_namespace(direct, outage.direct, outage.home))) == []


@pytest.mark.parametrize("kind", OUTAGES)
async def test_what_could_not_be_written_is_written_once(outages: dict[str, Outage], kind: str) -> None:
    written = Counter(write.name for write in outages[kind].writes if write.resource == "deployments")
    assert written == dict.fromkeys([*EDITED, CRASHING], 1)
    history = (await outages[kind].world.status(CRASHING)).get("history", [])
    assert [each["action"] for each in history] == ["RolledBack"], "one step, however long nobody could write it down"


@pytest.mark.parametrize("kind", OUTAGES)
async def test_the_log_can_still_be_read(outages: dict[str, Outage], kind: str) -> None:
    outage = outages[kind]
    assert outage.lines / outage.seconds < LINES_PER_SECOND


NONSENSE: dict[str, Sequence[tuple[Action, bool | None]]] = {
    "an error in every watch": [(Gone(500), True)],
    "400": [(Gone(), True), (Answer(400), None)],
    "401": [(Gone(), True), (Answer(401), None)],
    "404": [(Gone(), True), (Answer(404), None)],
    "409": [(Gone(), True), (Answer(409), None)],
    "a page of a proxy": [(Gone(), True), (Answer(200, body=b"<html>Welcome</html>"), None)],
    "half a line": [(Answer(200, body=b'{"type": "ADDED", "obj'), True), (Gone(), True)],
}
"""What is answered, and whether only to watches."""
NONSENSE_IN_SHORT = ("an error in every watch", "401", "half a line")
NONSENSE_SECONDS = {False: 3.0, True: 20.0}


async def test_no_answer_ends_the_process(plane: ControlPlane, tmp_path: Path, faults: Faults) -> None:
    """Of most of these kopf makes an end of itself, as if a restart would mend the server."""
    home, seconds = "nonsense", NONSENSE_SECONDS[faults.is_full]
    async with FaultProxy(plane.server, ca=plane.ca_file) as proxy, world(plane, tmp_path, home) as made:
        straight = tmp_path / "straight.kubeconfig"
        shutil.copy(await identity(plane, home, {"watch": {"namespaces": [home]}}), straight)
        process = await made.start("operator", {}, proxy.kubeconfig(straight, tmp_path / "proxied.kubeconfig"))
        await made.apply("chat", ASLEEP)
        await made.settles(["chat"])
        pid, slowest = process.pid, 0.0
        kinds = list(NONSENSE) if faults.is_full else NONSENSE_IN_SHORT
        for number, said in enumerate(kinds, start=2):
            for action, is_watch in NONSENSE[said]:
                proxy.add(action, is_watch=is_watch)
            logged = lines_of(process)
            await asyncio.sleep(seconds)
            assert process.is_running, said
            lines = lines_of(process) - logged
            assert 0 < lines < 2 * LINES_PER_SECOND * seconds, f"{said}: it is told, and not too often"
            proxy.clear()
            over = time.monotonic()
            await made.apply("chat", ASLEEP | {"spec.speculation.numSpeculativeTokens": number})
            await made.settles(["chat"], within=CAUGHT_UP_WITHIN)
            slowest = max(slowest, time.monotonic() - over)
        assert process.pid == pid
        tell("API server talks nonsense", kinds=len(kinds), each_s=seconds, slowest_caught_up_s=slowest)
