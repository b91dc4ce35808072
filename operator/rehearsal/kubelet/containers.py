"""One container of a pod as a process: started, probed, restarted with back-off, ended. Knows no API server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from rehearsal.kubelet.launch import CannotStart, Launch, pre_stop_seconds
from rehearsal.kubelet.pod_status import LAST_WORDS_LINES, Running, Snapshot, Terminated, Waiting, termination
from rehearsal.kubelet.probes import Probe, Prober, UnsupportedProbeError, read_probe
from rehearsal.processes import Process, ProcessError

_BACK_OFF_SECONDS = 10.0
_MAX_BACK_OFF_SECONDS = 300.0
_FORGIVEN_AFTER_SECONDS = 600.0
"""A container that ran for so long starts its back-off anew; the kubelet's number."""
_SHORTEST_GRACE_SECONDS = 2.0
"""What the kubelet leaves between SIGTERM and SIGKILL when the pre-stop hook used up the grace period."""

Body = Mapping[str, Any]


def now() -> datetime:
    """The clock of the node."""
    return datetime.fromtimestamp(time.time(), UTC)


def back_off_seconds(restarts: int) -> float:
    """The wait before the next start, after that many starts in vain: none, 10 s, 20 s … 300 s, as the kubelet."""
    if restarts == 0:
        return 0.0
    return min(_BACK_OFF_SECONDS * 2.0 ** min(restarts - 1, 10), _MAX_BACK_OFF_SECONDS)


def is_restarted(restart_policy: str, exit_code: int) -> bool:
    """Whether the restart policy wants a container that ended back."""
    return restart_policy == "Always" or (restart_policy == "OnFailure" and exit_code != 0)


@dataclass(frozen=True)
class Surroundings:
    """What a container finds around it."""

    address: str
    log: Path
    restart_policy: str
    grace_seconds: float
    """terminationGracePeriodSeconds, as written."""
    compression: float
    session: aiohttp.ClientSession
    """For probes."""


@dataclass(frozen=True)
class _Probes:
    startup: Probe | None
    readiness: Probe | None
    liveness: Probe | None


class Container:
    """Runs for as long as `run` does; cancelling that kills the process.

    `prepare` is asked before every start; `changed` is called whenever `snapshot` has changed.
    """

    def __init__(
        self,
        spec: Body,
        surroundings: Surroundings,
        prepare: Callable[[], Awaitable[Launch | CannotStart]],
        changed: Callable[[], None],
    ) -> None:
        self.snapshot = Snapshot(spec["name"], spec["image"], Waiting("ContainerCreating"))
        self._spec = spec
        self._around = surroundings
        self._prepare = prepare
        self._changed = changed
        self._process: Process | None = None
        self._health: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start, and start again as the restart policy wants it, until `stop` or the policy end it."""
        in_vain = 0
        while not self._stopping.is_set():
            ended = await self._run_once()
            if isinstance(ended, CannotStart):
                await self._wait(ended.reason, ended.message, _BACK_OFF_SECONDS)
                continue
            self._show(state=ended, started=False, ready=False)
            if self._stopping.is_set() or not is_restarted(self._around.restart_policy, ended.exit_code):
                return
            self._show(last=ended)
            ran_seconds = (ended.finished_at - ended.started_at).total_seconds()
            in_vain = 0 if ran_seconds * self._around.compression > _FORGIVEN_AFTER_SECONDS else in_vain
            seconds = back_off_seconds(in_vain)
            if seconds:
                message = f"back-off {seconds:.0f}s restarting failed container={self.snapshot.name}"
                await self._wait("CrashLoopBackOff", message, seconds)
            in_vain += 1

    def withdraw(self) -> None:
        """The pod goes away: not ready from now on, and no longer probed."""
        self._stopping.set()
        if self._health is not None:
            self._health.cancel()
        self._show(ready=False)

    async def stop(self, grace_seconds: float) -> None:
        """Pre-stop sleep, SIGTERM, and SIGKILL at the end of the grace period, which both share."""
        self.withdraw()
        if self._process is not None and self._process.is_running:
            await self._end(self._process, grace_seconds)

    async def _run_once(self) -> Terminated | CannotStart:
        try:
            probes = _Probes(*(read_probe(self._spec, f"{kind}Probe") for kind in ("startup", "readiness", "liveness")))
        except UnsupportedProbeError as error:
            return CannotStart("CreateContainerConfigError", str(error))
        launch = await self._prepare()
        if isinstance(launch, CannotStart):
            is_first = isinstance(self.snapshot.state, Waiting) and self.snapshot.state.reason == "ContainerCreating"
            return launch if is_first else launch.again()
        return await self._run_process(launch, probes)

    async def _run_process(self, launch: Launch, probes: _Probes) -> Terminated | CannotStart:
        process = Process(
            self.snapshot.name,
            launch.command,
            log=self._around.log,
            environment=launch.environment,
            directory=launch.directory,
        )
        started_at = now()
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            await process.start()
        except (ProcessError, OSError) as error:
            return CannotStart("RunContainerError", str(error))
        self._process = process
        try:
            restarts = self.snapshot.restarts + (self.snapshot.last is not None)
            self._show(state=Running(started_at), restarts=restarts, started=False, ready=False)
            await self._until_ended(process, probes)
        finally:
            process.kill()
            returncode = await process.wait()
        return termination(
            returncode,
            process.log_tail(LAST_WORDS_LINES),
            keeps_log=self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError",
            started_at=started_at,
            finished_at=now(),
        )

    async def _until_ended(self, process: Process, probes: _Probes) -> None:
        exited = asyncio.create_task(process.wait())
        self._health = asyncio.create_task(self._follow_health(probes))
        try:
            await asyncio.wait({exited, self._health}, return_when=asyncio.FIRST_COMPLETED)
            if self._health.done() and not self._health.cancelled():
                self._health.result()
                await self._end(process, self._around.grace_seconds)
            await exited
        finally:
            self._health.cancel()
            exited.cancel()

    async def _follow_health(self, probes: _Probes) -> None:
        """Return when the container must be killed; show readiness until then."""
        if probes.startup and not await self._prober(probes.startup).verdict():
            return
        self._show(started=True, ready=probes.readiness is None)
        async with asyncio.TaskGroup() as group:
            readiness = group.create_task(self._follow_readiness(probes.readiness))
            await self._until_dead(probes.liveness)
            readiness.cancel()

    async def _follow_readiness(self, probe: Probe | None) -> None:
        if probe is None:
            return
        prober = self._prober(probe)
        while True:
            self._show(ready=await prober.verdict())

    async def _until_dead(self, probe: Probe | None) -> None:
        if probe is None:
            await asyncio.Event().wait()
            return
        prober = self._prober(probe)
        while await prober.verdict():
            pass

    def _prober(self, probe: Probe) -> Prober:
        return Prober(probe, self._around.address, self._around.session)

    async def _end(self, process: Process, grace_seconds: float) -> None:
        pause_seconds = min(pre_stop_seconds(self._spec), grace_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), pause_seconds / self._around.compression)
        left_seconds = max(grace_seconds - pause_seconds, _SHORTEST_GRACE_SECONDS)
        await process.stop(left_seconds / self._around.compression)

    async def _wait(self, reason: str, message: str, seconds: float) -> None:
        self._show(state=Waiting(reason, message))
        await asyncio.sleep(seconds / self._around.compression)

    def _show(self, **changes: Any) -> None:
        snapshot = replace(self.snapshot, **changes)
        if snapshot != self.snapshot:
            self.snapshot = snapshot
            self._changed()
