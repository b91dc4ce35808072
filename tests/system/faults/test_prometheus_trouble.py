"""Everything that can become of a request to Prometheus, while a rolled-back deployment waits for its retry and its
engine is well again: nothing is turned on that cannot be seen, and nothing is turned off.

The real operator, a real Prometheus that scrapes the simulated engine, and a proxy between them that spoils answers.
The other half, a healthy deployment, is the story `blind` of the rehearsal; `--faults=full` plays it here with
everything.
"""

import asyncio
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio
from rich.console import Console
from system.faults._audit import Audit, Request
from system.faults._world import install_crd, shown, tell
from system.faults.conftest import Faults

from rehearsal.binaries import Binaries
from rehearsal.chart import RELEASE
from rehearsal.control_plane import ControlPlane
from rehearsal.faults import Mode
from rehearsal.narrator import Narrator
from rehearsal.rig import Rig
from rehearsal.stage import Stage
from rehearsal.stories.common import (
    COLLAPSED,
    HEALTHY,
    applied_mode_is,
    collapse_and_roll_back,
    condition_is,
    healthy_for_a_window,
    manifest,
    serve,
    status_has,
)
from specdecode.kube import connect

NAME = "trouble"
CAUSES: dict[Mode, str] = {
    "refuse": "cannot be reached",
    "nan": "NaN",
    "hang": "did not answer",
    "infinite": "NaN",
    "unavailable": "503",
    "html": "no JSON",
    "late": "stale",
    "empty": "no series",
    "early": "clock skew",
    "partial": "in part",
    "truncated": "no JSON",
}
"""What the operator must say. No two neighbours say the same, so that each is seen to be noticed by itself."""
EVERY = tuple(CAUSES)
NOT_IN_THE_STORY: tuple[Mode, ...] = ("unavailable", "html", "infinite", "truncated", "late", "early")
NOTICED_WITHIN = 30.0
RETRY_AFTER_SECONDS = 40
HELD_SECONDS = {False: 4.0, True: 20.0}

pytestmark = pytest.mark.timeout(1_200)


@dataclass(frozen=True)
class Trouble:
    """One kind of it."""

    mode: Mode
    noticed_after: float
    """Seconds."""
    cause: str
    """As the condition tells it."""
    acts: list[Request]
    """Writes of the operator to anything but the resource's status, Events and Leases."""


@dataclass
class Told:
    """The whole play."""

    while_rolled_back: list[Trouble] = field(default_factory=list)
    while_healthy: list[Trouble] = field(default_factory=list)
    acts_on_doubles: list[Request] | None = None
    """Writes while every series came twice; None: it did not see then."""
    acts_on_reset: list[Request] | None = None
    """Writes after every counter began anew; None: it did not see then."""
    blind_seconds: float = 0.0
    """While the retry was due, or soon to be."""
    retried_after: float = 0.0
    """Seconds after the last trouble."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(
    plane: ControlPlane, binaries: Binaries, tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> AsyncIterator[Told]:
    directory: Path = tmp_path_factory.mktemp(NAME)
    await install_crd(plane)
    async with connect(str(plane.kubeconfig)) as kube:
        narrator = Narrator(NAME, Console(file=io.StringIO()), "cyan", len(NAME))
        async with Stage(Rig(binaries, plane, kube, directory), NAME, narrator, gpus=1) as stage:
            audit = Audit(plane.audit_log, lambda each: each.is_write and _is_of_the_operator(each))
            try:
                yield await play(stage, audit, faults)
            finally:
                sys.stdout.write(stage.operator.log_tail(20))


def _is_of_the_operator(request: Request) -> bool:
    return request.user == f"system:serviceaccount:{NAME}:{RELEASE}" and request.namespace == NAME


async def play(stage: Stage, audit: Audit, faults: Faults) -> Told:
    told, held = Told(), HELD_SECONDS[faults.is_full]
    guard: dict[str, Any] = {"window": "30s", "retry": {"after": f"{RETRY_AFTER_SECONDS}s", "maxAttempts": 5}}
    stage.behave(draft=HEALTHY)
    await serve(stage, manifest(stage, guard=guard), mode="Draft", concurrency=6)
    told.acts_on_doubles = await doubled(stage, audit, seconds=2 * held)
    told.acts_on_reset = await reset(stage, audit, seconds=2 * held)
    if faults.is_full:
        await healthy_for_a_window(stage)
        for mode in EVERY:
            told.while_healthy.append(await trouble(stage, audit, mode, held))
        # What nobody sees is not acted on, however bad it is.
        stage.behave(draft=COLLAPSED)
        told.while_healthy.append(await trouble(stage, audit, EVERY[0], held))
        await sees_again(stage)

    await collapse_and_roll_back(stage)
    stage.behave(draft=HEALTHY)
    measured = status_has(stage, "observed", "mode", value="Off")
    await stage.expect("the engine is measured without speculation", measured, within=60)
    await sees_again(stage)
    began = time.monotonic()
    # One after the other and no moment of sight between them: in one the retry would be right.
    for mode in EVERY if faults.is_full else NOT_IN_THE_STORY:
        told.while_rolled_back.append(await trouble(stage, audit, mode, held))
    # The retry is due by now, whatever the troubles took.
    await asyncio.sleep(max(0.0, RETRY_AFTER_SECONDS + 5 - (time.monotonic() - began)))
    assert await applied_mode_is(stage, "Off")(), "still off"
    told.blind_seconds = time.monotonic() - began
    over = time.monotonic()
    await sees_again(stage)
    await stage.expect("what was due is done when it can be judged", applied_mode_is(stage, "Draft"), within=60)
    told.retried_after = time.monotonic() - over
    every = told.while_healthy + told.while_rolled_back
    tell(
        "Prometheus in trouble",
        kinds=len({each.mode for each in every}),
        slowest_notice_s=max(each.noticed_after for each in every),
        acts=sum(len(each.acts) for each in every),
        blind_s=told.blind_seconds,
        retried_after_s=told.retried_after,
    )
    return told


async def doubled(stage: Stage, audit: Audit, *, seconds: float) -> list[Request] | None:
    """Every series comes a second time, as from two scrapers behind one door. That is no trouble: it says the same."""
    count = len(audit.requests)
    stage.faults.mode = "twice"
    await asyncio.sleep(seconds)
    can_see = await condition_is(stage, "MetricsAvailable", "True", "Measured")()
    return acts_of(audit.requests[count:]) if can_see else None


async def reset(stage: Stage, audit: Audit, *, seconds: float) -> list[Request] | None:
    """The engine dies once and is started again in its pod: its counters begin at zero, under the same names."""
    count = len(audit.requests)
    (pod,) = stage.pods()
    for process in engines(pod.ip):
        os.kill(process, signal.SIGKILL)

    async def is_another() -> bool:
        return any(each.ready and each.started_at != pod.started_at for each in stage.pods())

    await stage.expect("the engine serves again", is_another, within=30)
    await asyncio.sleep(seconds)
    can_see = await condition_is(stage, "MetricsAvailable", "True", "Measured")()
    return acts_of(audit.requests[count:]) if can_see else None


def engines(ip: str) -> list[int]:
    """Process ids of what runs in a pod of the rehearsal."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # of somebody else, or gone meanwhile
            if f"REHEARSAL_POD_IP={ip}".encode() in (each / "environ").read_bytes().split(b"\0"):
                found.append(int(each.name))
    assert found, f"nothing runs at {ip}"
    return found


def acts_of(requests: list[Request]) -> list[Request]:
    quiet = ("specdecodedeployments/status", "events", "leases")
    return [each for each in requests if each.resource not in quiet]


async def trouble(stage: Stage, audit: Audit, mode: Mode, held: float) -> Trouble:
    """Spoil the answers until the operator says so, and for a while longer."""
    count = len(audit.requests)
    stage.faults.mode = mode

    async def names_the_cause() -> bool:
        condition = await stage.condition("MetricsAvailable")
        return condition.get("status") == "Unknown" and CAUSES[mode] in condition["message"]

    seconds = await stage.expect(
        f"{mode}: MetricsAvailable is Unknown, with its cause", names_the_cause, within=NOTICED_WITHIN
    )
    cause = (await stage.condition("MetricsAvailable"))["message"]
    await asyncio.sleep(held)
    return Trouble(mode, seconds, cause, acts_of(audit.requests[count:]))


async def sees_again(stage: Stage) -> None:
    stage.faults.mode = "pass"
    await stage.expect("it sees again", condition_is(stage, "MetricsAvailable", "True"), within=60)


async def test_every_trouble_is_played() -> None:
    assert CAUSES.keys() == set(get_args(Mode)) - {"pass", "twice"}


async def test_every_trouble_is_noticed_and_has_its_cause_in_the_condition(told: Told) -> None:
    every = told.while_healthy + told.while_rolled_back
    assert {each.mode for each in every} >= set(NOT_IN_THE_STORY)
    assert [each for each in every if not each.cause or each.noticed_after > NOTICED_WITHIN] == []


async def test_nothing_is_turned_on_or_off_by_who_cannot_see(told: Told) -> None:
    every = told.while_healthy + told.while_rolled_back
    assert {each.mode: shown(each.acts) for each in every if each.acts} == {}


async def test_series_that_come_twice_are_read_once(told: Told) -> None:
    assert told.acts_on_doubles == []


async def test_counters_that_begin_anew_are_no_collapse(told: Told) -> None:
    assert told.acts_on_reset == []


async def test_the_retry_was_due_meanwhile_and_follows(told: Told) -> None:
    assert told.blind_seconds > RETRY_AFTER_SECONDS
    assert told.retried_after < 60
