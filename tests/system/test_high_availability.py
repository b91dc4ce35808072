"""Two operators and one Lease on the real API server: one writer at any time, whatever happens to the leader.

Who wrote what is told by the API server's audit log, which knows each process by its own token.
"""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from builders import body

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.operator_process import OperatorProcess
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import Kube, connect, object_path
from specdecode.loop import LEASE_LOST

NAMESPACE = "one-writer"
LEASE = "specdecode-operator"
NAME = "llama-70b"
LEASE_SECONDS = 15
pytestmark = pytest.mark.timeout(180)


@dataclass
class Replica:
    """One process with a token of its own."""

    operator: OperatorProcess
    credential: str
    """As the audit log has it."""

    async def is_leading(self) -> bool:
        return self.operator.process.is_running and await self.operator.metric("specdecode_leader") == 1

    async def has_ended(self) -> bool:
        return not self.operator.process.is_running


@dataclass
class Pair:
    plane: ControlPlane
    kube: Kube
    replicas: tuple[Replica, Replica]

    async def leader(self, *, within: float) -> Replica:
        """The one that leads, as soon as exactly one does."""

        async def the_one() -> Replica | None:
            leading = [replica for replica in self.replicas if await replica.is_leading()]
            assert len(leading) <= 1, "two lead"
            return leading[0] if leading else None

        found: Replica = await eventually(the_one, within=within)
        return found

    def other(self, replica: Replica) -> Replica:
        return next(each for each in self.replicas if each is not replica)

    async def edit(self, tokens: int) -> None:
        """A new spec, which the leader has to apply."""
        wanted = body(**{"metadata.namespace": NAMESPACE, "spec.speculation.numSpeculativeTokens": tokens})
        for field in ("uid", "generation"):
            wanted["metadata"].pop(field)
        await self.plane.apply(yaml.safe_dump(wanted))

    async def applied(self, tokens: int) -> bool:
        live = await self.kube.find(object_path("apps/v1", "deployments", NAMESPACE, NAME))
        return live is not None and f'"num_speculative_tokens":{tokens}' in json.dumps(live).replace('\\"', '"')

    def writes(self) -> list[tuple[str, str]]:
        """Credential and target of every write that is not one of a Lease, in order."""
        entries = (json.loads(line) for line in self.plane.audit_log.read_text().splitlines())
        return [
            (credential_in(entry), entry["objectRef"]["resource"])
            for entry in entries
            if entry.get("objectRef", {}).get("namespace") == NAMESPACE
            and entry["verb"] in {"create", "update", "patch", "delete"}
            and entry["user"].get("username") == f"system:serviceaccount:{NAMESPACE}:{LEASE}"
            and entry["objectRef"]["resource"] != "leases"
        ]


def credential_in(entry: dict[str, Any]) -> str:
    return str((entry["user"].get("extra") or {}).get("authentication.kubernetes.io/credential-id", ["?"])[0])


async def eventually(probe: Callable[[], Awaitable[Any]], *, within: float) -> Any:
    end = time.monotonic() + within
    while not (answer := await probe()):
        assert time.monotonic() < end, f"not within {within} s"
        await asyncio.sleep(0.1)
    return answer


def token_id(kubeconfig: Path) -> str:
    """The id of the token in a kubeconfig, as the audit log writes it."""
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    claims = token.split(".")[1]
    return "JTI=" + json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]


@pytest_asyncio.fixture(loop_scope="session")
async def pair(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Pair]:
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    replicas = []
    for name in ("first", "second"):
        shared = await identity(plane, NAMESPACE, {"replicas": 2, "watch": {"namespaces": [NAMESPACE]}})
        own = tmp_path / f"{name}.kubeconfig"
        shutil.copy(shared, own)
        settings = {"leader_election": "true", "lease_namespace": NAMESPACE}
        (tmp_path / name).mkdir()
        operator = OperatorProcess(tmp_path / name, own, "http://127.0.0.1:9", NAMESPACE, settings)
        replicas.append(Replica(operator, token_id(own)))
    for replica in replicas:
        await replica.operator.start()
    try:
        async with connect(str(plane.kubeconfig)) as kube:
            yield Pair(plane, kube, (replicas[0], replicas[1]))
    finally:
        for replica in replicas:
            if replica.operator.process.is_running:
                os.kill(replica.operator.process.pid or 0, signal.SIGCONT)
            await replica.operator.stop()
            sys.stdout.write(replica.operator.process.log_tail(12) + "\n")
        # The resource stays: each test edits it anew. A Lease that a killed process left would make the next one wait.
        await plane.kubectl("delete", "lease", "--all", f"--namespace={NAMESPACE}", "--timeout=20s")


def listens_for(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    caught = re.findall(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught[0], 16) >> (number - 1) & 1)


def tell(what: str, seconds: float) -> None:
    sys.stdout.write(f"high availability: {what}: {seconds:.1f} s\n")


async def test_one_works_and_the_other_is_ready_and_writes_nothing(pair: Pair) -> None:
    leader = await pair.leader(within=20)
    standby = pair.other(leader)
    before = len(pair.writes())
    await pair.edit(3)
    await eventually(lambda: pair.applied(3), within=20)
    assert {credential for credential, _ in pair.writes()[before:]} == {leader.credential}
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("readyz", "healthz"):
            assert (await client.get(f"{standby.operator.url}/{path}")).status_code == 200
    assert await standby.operator.metric("specdecode_leader") == 0


async def test_a_leader_that_is_killed_is_followed_after_its_lease(pair: Pair) -> None:
    leader = await pair.leader(within=20)
    await leader.operator.kill()
    killed_at = time.monotonic()
    successor = await pair.leader(within=2 * LEASE_SECONDS)
    tell("killed, until another leads", time.monotonic() - killed_at)
    assert successor is pair.other(leader)
    await pair.edit(4)
    await eventually(lambda: pair.applied(4), within=20)
    # It comes back, and waits.
    await leader.operator.start()
    await asyncio.sleep(3)
    assert await pair.leader(within=1) is successor


async def test_a_leader_that_is_stopped_hands_over_at_once(pair: Pair) -> None:
    leader = await pair.leader(within=20)
    stopped_at = time.monotonic()
    await leader.operator.stop()
    await pair.leader(within=10)
    seconds = time.monotonic() - stopped_at
    tell("stopped, until another leads", seconds)
    assert seconds < LEASE_SECONDS / 2, "it need not wait for the Lease to run out"


async def test_a_leader_that_slept_too_long_wakes_up_writes_nothing_and_ends(pair: Pair) -> None:
    """What no Lease prevents by itself: a process that was suspended for a minute still believes that it leads."""
    leader = await pair.leader(within=20)
    pid = leader.operator.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    successor = pair.other(leader)
    await eventually(successor.is_leading, within=2 * LEASE_SECONDS)
    # Work that the sleeper would do as soon as it sees it.
    await pair.edit(2)
    await eventually(lambda: pair.applied(2), within=20)
    before = len(pair.writes())
    os.kill(pid, signal.SIGCONT)
    await eventually(leader.has_ended, within=10)
    assert leader.operator.process.returncode == LEASE_LOST
    await pair.edit(5)
    await eventually(lambda: pair.applied(5), within=20)
    assert {credential for credential, _ in pair.writes()[before:]} == {successor.credential}


async def test_one_that_waits_ends_at_once_when_it_is_told_to(pair: Pair) -> None:
    """As the first process of its container, to which the kernel delivers only signals that somebody listens for."""
    leader = await pair.leader(within=20)
    waiting = pair.other(leader)
    pid = waiting.operator.process.pid
    assert pid is not None
    # A process that does not listen does not hear it as the first one of a container.
    await eventually(lambda: asyncio.to_thread(listens_for, pid, signal.SIGTERM), within=20)
    told_at = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    await eventually(waiting.has_ended, within=5)
    tell("one that waits, until it has ended", time.monotonic() - told_at)
    assert waiting.operator.process.returncode == 0
    assert await pair.leader(within=1) is leader
