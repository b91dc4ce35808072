"""One pod of the node, from its first sight until its object is gone. Decides nothing that its spec does not say."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiohttp

from rehearsal.certificates import write_kubeconfig
from rehearsal.kubelet.api import NodeApi
from rehearsal.kubelet.containers import Container, Surroundings, now
from rehearsal.kubelet.launch import CannotStart, Launch, launch, pod_fields, secret_names
from rehearsal.kubelet.pod_status import Body, Running, failed_status, pod_status
from rehearsal.kubelet.volumes import TOKEN_MOUNT, Kind, Source, materialised, mounts_of
from specdecode.errors import ClusterError, ConflictError, NotFoundError

_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Machine:
    """What all pods of a node share."""

    api: NodeApi
    session: aiohttp.ClientSession
    """For probes."""
    host_address: str
    directory: Path
    programs: Mapping[str, Sequence[str]]
    behaviour: Callable[[Body], Path] | None
    compression: float
    server: str
    """Where pods find the API server."""


def log_folder(directory: Path, namespace: str, pod: str) -> Path:
    """Where the containers of a pod log, one `<container>.log` each; it stays after the pod."""
    return directory / namespace / pod


class PodWorker:
    """`run` ends when the pod's object was deleted; cancelling it kills the pod at once."""

    def __init__(self, body: Body, address: str, machine: Machine) -> None:
        self.body = body
        self.address = address
        self._machine = machine
        self._started_at = now()
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._written: Body = {}
        self._folder = log_folder(machine.directory, self.namespace, self.name)
        self._containers = [self._container(spec) for spec in body["spec"]["containers"]]
        self.update(body)

    @property
    def namespace(self) -> str:
        return str(self.body["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def is_ready(self) -> bool:
        return all(container.snapshot.ready for container in self._containers)

    @property
    def is_terminating(self) -> bool:
        return self._leaving.is_set()

    @property
    def started_at(self) -> datetime | None:
        """Since when the first container has been running; None while it does not."""
        state = self._containers[0].snapshot.state
        return state.started_at if isinstance(state, Running) else None

    def update(self, body: Body) -> None:
        """Take in what the API server says of the pod now."""
        self.body = body
        if "deletionTimestamp" in body["metadata"] and not self._leaving.is_set():
            self._leaving.set()
            for container in self._containers:
                container.withdraw()

    async def run(self) -> None:
        """Run the pod until it is deleted, then end it gracefully and remove its object."""
        tasks = [asyncio.create_task(self._report())]
        if not self._refusal():
            tasks += [asyncio.create_task(container.run()) for container in self._containers]
        try:
            await self._until_leaving(tasks)
            grace_seconds = self.body["metadata"].get("deletionGracePeriodSeconds", 0)
            await asyncio.gather(*(container.stop(grace_seconds) for container in self._containers))
        finally:
            await _cancelled(tasks)
        await self._delete()

    async def _until_leaving(self, tasks: list["asyncio.Task[None]"]) -> None:
        """Wait for the deletion; a defect in one of the tasks is raised here, not swallowed."""
        leaving = asyncio.create_task(self._leaving.wait())
        waiting = {leaving, *tasks}
        try:
            while not leaving.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            leaving.cancel()

    def _refusal(self) -> str:
        if self.body["spec"].get("initContainers"):
            return "the rehearsal's node does not support init containers"
        return ""

    def _container(self, spec: Body) -> Container:
        pod = self.body["spec"]
        surroundings = Surroundings(
            address=self.address,
            log=self._folder / f"{spec['name']}.log",
            restart_policy=pod.get("restartPolicy", "Always"),
            grace_seconds=pod.get("terminationGracePeriodSeconds", 30),
            compression=self._machine.compression,
            session=self._machine.session,
        )
        return Container(spec, surroundings, lambda: self._prepare(spec), self._changed.set)

    async def _prepare(self, spec: Body) -> Launch | CannotStart:
        variables = {"HOSTNAME": self.name, "REHEARSAL_POD_IP": self.address}
        if self._machine.behaviour is not None:
            variables["REHEARSAL_BEHAVIOUR"] = str(self._machine.behaviour(self.body))
        api, pod, root = self._machine.api, self.body["spec"], self._folder / "root"
        sources = {source for mount in mounts_of(pod, spec) for source in mount.sources}
        try:
            secrets = {name: await api.secret(self.namespace, name) for name in secret_names(spec)}
            found = {source: await self._data(source) for source in sources}
        except ClusterError as error:
            return CannotStart("CreateContainerConfigError", str(error))
        mounts = materialised(pod, spec, found, root)
        if isinstance(mounts, CannotStart):
            return mounts
        if TOKEN_MOUNT in mounts:
            variables["KUBECONFIG"] = str(self._kubeconfig(mounts[TOKEN_MOUNT]))
        return launch(
            spec,
            programs=self._machine.programs,
            secrets=secrets,
            root=root,
            rehearsal=variables,
            mounts=mounts,
            fields=self._fields(),
        )

    def _fields(self) -> Mapping[str, str]:
        return pod_fields(self.body, self.address, self._machine.host_address)

    async def _data(self, source: Source) -> Mapping[str, str] | None:
        api = self._machine.api
        match source.kind:
            case Kind.CONFIG_MAP:
                return await api.config_map(self.namespace, source.name)
            case Kind.SECRET:
                return await api.secret(self.namespace, source.name)
            case Kind.TOKEN:
                return {"token": await api.token(self.body, source.name, source.seconds)}
            case Kind.FIELDS:
                return self._fields()

    def _kubeconfig(self, folder: Path) -> Path:
        """The token as a kubeconfig: a process has no file system of its own in which the token had its usual path."""
        return write_kubeconfig(
            self._folder / "kubeconfig",
            server=self._machine.server,
            ca=(folder / "ca.crt").read_bytes(),
            credentials=(folder / "token").read_text(),
            namespace=self.namespace,
        )

    async def _report(self) -> None:
        """Write the status whenever it has changed."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            status = self._status()
            if status == self._written:
                continue
            try:
                await self._machine.api.patch_pod_status(self.body, status)
                self._written = status
            except (NotFoundError, ConflictError):
                # The pod is gone, or another one has its name: the watch tells.
                continue
            except ClusterError:
                await asyncio.sleep(_RETRY_SECONDS)
                self._changed.set()

    def _status(self) -> Body:
        refusal = self._refusal()
        if refusal:
            return failed_status("Unsupported", refusal, self._started_at)
        stored = (self.body.get("status") or {}).get("conditions") or []
        return pod_status(
            [container.snapshot for container in self._containers],
            address=self.address,
            host_address=self._machine.host_address,
            started_at=self._started_at,
            restart_policy=self.body["spec"].get("restartPolicy", "Always"),
            previous=[*stored, *self._written.get("conditions", ())],
            now=now(),
        )

    async def _delete(self) -> None:
        while True:
            try:
                await self._machine.api.delete_pod(self.body)
            except (NotFoundError, ConflictError):
                return
            except ClusterError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


async def _cancelled(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
