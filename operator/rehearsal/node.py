"""A node of the rehearsal: runs the pods that the scheduler binds to it as processes of this machine.

It does what a kubelet does as far as the API server, the controllers and the pods' own programs can tell: registers a
Node with GPUs, starts containers, probes and restarts them, writes their status, and ends them when they are deleted.
There is no container runtime. Volumes made of ConfigMaps, secrets, tokens and fields of the pod, and empty folders, are
there as files below the pod's own root, where values of the environment that begin with their mount path lead; a path
on any other volume leads nowhere. A pod whose service account's token is mounted finds it as a kubeconfig, too, in
KUBECONFIG. Security contexts and resource limits bind nothing (GPUs are counted by the scheduler); a map says which
program stands for which image.
Of the hooks it knows a pre-stop pause, as action or as the command `sleep N`, of the probes `httpGet`; init
containers, `envFrom` and other sources of variables than literals, secrets and fields are refused in the pod's status,
not ignored.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from rehearsal.kubelet.addresses import Addresses
from rehearsal.kubelet.api import NodeApi, connect
from rehearsal.kubelet.containers import now
from rehearsal.kubelet.pod_status import rfc3339
from rehearsal.kubelet.pods import Machine, PodWorker, log_folder
from specdecode.errors import ClusterError

_RETRY_SECONDS = 0.5
_TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})

Body = dict[str, Any]


@dataclass(frozen=True)
class PodView:
    """A pod as the node knows it, without asking the API server."""

    name: str
    ip: str
    ready: bool
    labels: Mapping[str, str]
    args: tuple[str, ...]
    """Of its first container."""
    started_at: datetime | None
    """Start of its first container; None while that does not run."""
    terminating: bool


class Node:
    """`async with Node(...) as node`: a Ready node, gone with all its processes afterwards.

    `programs` maps the beginning of an image's name to the command that stands for it. Every program is told its pod's
    address in REHEARSAL_POD_IP and, if `behaviour` is given, the file that it names for the pod in
    REHEARSAL_BEHAVIOUR: never on the command line, which is the pod's own.

    `compression` divides the waits that pod specs ask for with a real GPU cluster in mind: pre-stop sleep, termination
    grace period, and the back-off after a crash or a failed pull. Periods, time limits and delays of probes stay as
    they are.

    Logs stay in `directory` as `<namespace>/<pod>/<container>.log`. Use it from the main thread.
    """

    def __init__(
        self,
        *,
        kubeconfig: Path,
        name: str,
        programs: Mapping[str, Sequence[str]],
        directory: Path,
        gpus: int = 1,
        product: str = "NVIDIA-H100-80GB-HBM3",
        memory_mib: int = 81_559,
        compression: float = 1.0,
        behaviour: Callable[[Body], Path] | None = None,
    ) -> None:
        self.name = name
        self.gpus = gpus
        self.product = product
        self.memory_mib = memory_mib
        self._kubeconfig = kubeconfig
        self._programs = programs
        self._directory = directory.absolute()
        self._compression = compression
        self._behaviour = behaviour
        self._stack = AsyncExitStack()
        self._addresses: Addresses
        self._machine: Machine
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By uid of the pod; kept until the pod's object is gone, so that a late event cannot start it again."""

    async def __aenter__(self) -> Self:
        try:
            await self._set_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def pods(self, namespace: str, selector: Mapping[str, str]) -> list[PodView]:
        """Pods of a namespace that carry all labels of `selector`, in the order of their names."""
        views = [_view(worker) for worker in self._workers.values() if worker.namespace == namespace]
        return sorted((view for view in views if selector.items() <= view.labels.items()), key=lambda view: view.name)

    def log_of(self, namespace: str, pod: str) -> str:
        """What the containers of a pod wrote, restarts included; also of a pod that is gone."""
        logs = sorted(log_folder(self._directory, namespace, pod).glob("*.log"))
        return "".join(log.read_text(errors="replace") for log in logs)

    async def _set_up(self) -> None:
        self._addresses = Addresses()
        self._stack.callback(self._addresses.release)
        api = await self._stack.enter_async_context(connect(self._kubeconfig))
        # As a kubelet: every probe opens a connection of its own, so that none keeps a leaving server busy.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        session = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector, trust_env=False))
        self._machine = Machine(
            api,
            session,
            self._addresses.host,
            self._directory,
            self._programs,
            self._behaviour,
            self._compression,
            api.server,
        )
        await api.create_node(self._body())
        self._stack.push_async_callback(_removed, api, self.name)
        following = asyncio.create_task(self._follow(api))
        self._stack.push_async_callback(self._end_all, following)

    async def _follow(self, api: NodeApi) -> None:
        """List and watch for ever; every list makes good what a watch has missed."""
        while True:
            try:
                pods, version = await api.list_pods(self.name)
                self._forget_all_but(pod["metadata"]["uid"] for pod in pods)
                for pod in pods:
                    self._see(pod)
                async for kind, pod in api.watch_pods(self.name, version):
                    if kind == "DELETED":
                        self._forget(pod["metadata"]["uid"])
                    else:
                        self._see(pod)
            except ClusterError:
                await asyncio.sleep(_RETRY_SECONDS)

    def _see(self, pod: Body) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].update(pod)
        elif (pod.get("status") or {}).get("phase") not in _TERMINAL_PHASES:
            worker = PodWorker(pod, self._addresses.take(), self._machine)
            self._workers[uid] = worker
            self._tasks[uid] = asyncio.create_task(self._run(worker))

    async def _run(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            self._addresses.give_back(worker.address)

    def _forget_all_but(self, uids: Iterable[str]) -> None:
        for uid in set(self._workers) - set(uids):
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        """The pod's object is gone; what still runs of it was deleted by force."""
        if uid in self._workers:
            del self._workers[uid]
            self._tasks[uid].cancel()

    async def _end_all(self, following: "asyncio.Task[None]") -> None:
        """Kill everything, then raise what went wrong in one of the tasks, if anything did."""
        tasks = [following, *self._tasks.values()]
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()
        self._tasks.clear()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _body(self) -> Body:
        resources = {
            "cpu": "64",
            "memory": "1Ti",
            "ephemeral-storage": "1Ti",
            "pods": "110",
            "nvidia.com/gpu": str(self.gpus),
        }
        moment = rfc3339(now())
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the rehearsal's node is ready",
        }
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "nvidia.com/gpu.product": self.product,
                    "nvidia.com/gpu.memory": str(self.memory_mib),
                    "nvidia.com/gpu.count": str(self.gpus),
                },
            },
            "spec": {},
            "status": {
                "capacity": resources,
                "allocatable": dict(resources),
                "conditions": [ready | {"lastHeartbeatTime": moment, "lastTransitionTime": moment}],
                "addresses": [
                    {"type": "InternalIP", "address": self._addresses.host},
                    {"type": "Hostname", "address": self.name},
                ],
            },
        }


def _view(worker: PodWorker) -> PodView:
    return PodView(
        name=worker.name,
        ip=worker.address,
        ready=worker.is_ready,
        labels=worker.body["metadata"].get("labels") or {},
        args=tuple(worker.body["spec"]["containers"][0].get("args") or ()),
        started_at=worker.started_at,
        terminating=worker.is_terminating,
    )


async def _removed(api: NodeApi, name: str) -> None:
    # The API server may have gone first; then there is no Node left to remove.
    with suppress(ClusterError):
        await api.delete_node(name)
