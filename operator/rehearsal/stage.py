"""The stage of one story: a namespace with a node, a Prometheus, an operator and traffic of its own.

Everything a story does to the world and everything it expects of it goes through here, so that it is told while it
happens and kept for the report.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from rehearsal.chart import RELEASE, identity
from rehearsal.engine.behaviour import Behaviour, write_behaviour
from rehearsal.engines import IMAGE, SIMULATED, Engines
from rehearsal.faults import FaultProxy
from rehearsal.narrator import Narrator
from rehearsal.node import Node, PodView
from rehearsal.operator_pod import IMAGE as OPERATOR_IMAGE
from rehearsal.operator_pod import PROGRAM as OPERATOR_PROGRAM
from rehearsal.operator_process import SCRAPE_INTERVAL_SECONDS, OperatorPods, OperatorProcess, RunningOperator
from rehearsal.prometheus import Prometheus
from rehearsal.rig import Rig
from rehearsal.traffic import Traffic
from rehearsal.watcher import Watcher
from specdecode.api.vocabulary import ANNOTATION_RETRY, LABEL_DEPLOYMENT
from specdecode.errors import ClusterError, NotFoundError
from specdecode.kube import collection_path, object_path, resource_path

COMPRESSION = 5.0
"""Waits that pod specs ask for with real GPUs in mind are this much shorter here."""
NAME = "chat"
"""The resource of every story."""

_POLL_SECONDS = 0.3
_FORBIDDEN = 403
_MANIFESTS = Path(__file__).parent / "manifests"

Body = dict[str, Any]


class ExpectationError(Exception):
    """Something that must hold did not; the story ends here."""


class Stage:
    """`async with Stage(rig, "collapse", narrator, gpus=2) as stage`: the name is also the namespace."""

    def __init__(
        self,
        rig: Rig,
        name: str,
        narrator: Narrator,
        *,
        gpus: int,
        engines: Engines = SIMULATED,
        installs_operator: bool = False,
    ) -> None:
        self.rig = rig
        self.engines = engines
        self.narrator = narrator
        self.namespace = name
        self.directory = rig.directory / name
        self._gpus = gpus
        self._installs_operator = installs_operator
        self.behaviour = Behaviour()
        self._behaviour_file = self.directory / "behaviour.json"
        self._stack = AsyncExitStack()
        self.node: Node
        self.prometheus: Prometheus
        self.faults: FaultProxy
        self.operator: OperatorProcess
        """Not there on a stage whose story installs the operator."""
        self.operator_pods: OperatorPods
        """Without a pod unless the story installs the operator."""
        self.running_operator: RunningOperator
        self.traffic: Traffic
        self.watcher: Watcher

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
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

    async def _set_up(self) -> None:
        plane = self.rig.plane
        await plane.apply(
            yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        )
        if self.engines.claim_name:
            await plane.apply(self._manifest("claim"))
        write_behaviour(self._behaviour_file, self.behaviour)
        self.node = await self._stack.enter_async_context(
            Node(
                kubeconfig=plane.kubeconfig,
                name=f"node-{self.namespace}",
                gpus=self._gpus,
                product=self.engines.product,
                memory_mib=self.engines.memory_mib,
                programs={IMAGE: self.engines.program, OPERATOR_IMAGE: OPERATOR_PROGRAM},
                directory=self.directory / "node",
                compression=COMPRESSION,
                behaviour=lambda _: self._behaviour_file,
            )
        )
        self.prometheus = await self._stack.enter_async_context(
            Prometheus(
                self.rig.binaries,
                self.directory / "prometheus",
                plane.kubeconfig,
                self.namespace,
                SCRAPE_INTERVAL_SECONDS,
            )
        )
        self.faults = await self._stack.enter_async_context(FaultProxy(self.prometheus.url))
        await self._set_up_operator()
        self.traffic = await self._stack.enter_async_context(
            Traffic(self.ready_addresses, questions=self.engines.questions)
        )
        self.watcher = Watcher(self.rig.kube, self.namespace, self.narrator)
        task = asyncio.create_task(self.watcher.run())
        self._stack.push_async_callback(_cancelled, task)

    async def _set_up_operator(self) -> None:
        self.operator_pods = OperatorPods(self.node, self.directory / "node", f"{self.namespace}-system")
        if self._installs_operator:
            self.running_operator = self.operator_pods
            return
        kubeconfig = await identity(self.rig.plane, self.namespace)
        self.operator = OperatorProcess(self.directory, kubeconfig, self.faults.url, self.namespace)
        self.running_operator = self.operator
        self._stack.push_async_callback(self.operator.stop)
        await self.operator.start()

    def _manifest(self, name: str) -> str:
        text = (_MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")
        return text.replace("NAMESPACE", self.namespace).replace("CLAIM", self.engines.claim_name)

    # What the story does.

    def say(self, text: str) -> None:
        """Tell what the story does next."""
        self.narrator.tell("step", text)

    async def apply(self, manifest: Mapping[str, Any], *flags: str) -> None:
        """`kubectl apply --server-side` as a person, or with other flags as another tool."""
        text = yaml.safe_dump(dict(manifest))
        await self.rig.plane.kubectl("apply", *(flags or ("--server-side",)), "-f", "-", stdin=text)

    async def annotate(self, key: str, value: str | None) -> None:
        """Set or remove an annotation on the resource, as a person would."""
        word = f"{key}-" if value is None else f"{key}={value}"
        await self.rig.plane.kubectl("annotate", "sdd", NAME, f"--namespace={self.namespace}", word, "--overwrite")

    async def ask_retry(self, value: str) -> None:
        """Set the retry annotation."""
        await self.annotate(ANNOTATION_RETRY, value)

    def behave(self, **changes: Any) -> None:
        """Change how the engine behaves from now on."""
        self.behaviour = self.behaviour.model_copy(update=changes)
        write_behaviour(self._behaviour_file, self.behaviour)

    # What the story sees.

    def ready_addresses(self) -> list[str]:
        """Addresses of the ready engines, as the Service would balance over them."""
        return [f"{pod.ip}:8000" for pod in self.pods() if pod.ready and not pod.terminating]

    def pods(self) -> list[PodView]:
        """Pods of the engine on the node."""
        return self.node.pods(self.namespace, {LABEL_DEPLOYMENT: NAME})

    async def resource(self) -> Body:
        """The resource, as stored."""
        return await self.rig.kube.get(resource_path(self.namespace, NAME))

    async def status(self) -> Body:
        """Its status; empty before the first visit."""
        try:
            return dict((await self.resource()).get("status") or {})
        except NotFoundError:
            return {}

    async def condition(self, kind: str) -> Body:
        """One of its conditions; empty when it is not there."""
        conditions = (await self.status()).get("conditions", [])
        return next((dict(condition) for condition in conditions if condition["type"] == kind), {})

    async def deployment(self) -> Body | None:
        """The Deployment."""
        return await self.rig.kube.find(object_path("apps/v1", "deployments", self.namespace, NAME))

    async def items(self, api_version: str, plural: str) -> list[Body]:
        """All objects of a kind in the story's namespace."""
        answer = await self.rig.kube.get(collection_path(api_version, plural, self.namespace))
        return list(answer["items"])

    async def events(self, reason: str) -> list[Body]:
        """Events on the resource with that reason."""
        return [event for event in await self.items("v1", "events") if event["reason"] == reason]

    def forbidden(self) -> list[str]:
        """What the API server has refused to the operator for want of rights, from its audit log."""
        home = self.operator_pods.namespace if self._installs_operator else self.namespace
        lines = self.rig.plane.audit_log.read_text(encoding="utf-8").splitlines()
        own = (json.loads(line) for line in lines if f"system:serviceaccount:{home}:{RELEASE}" in line)
        return [entry["requestURI"] for entry in own if entry["responseStatus"]["code"] == _FORBIDDEN]

    # What must hold.

    async def expect(self, text: str, probe: Callable[[], Awaitable[Any]], *, within: float) -> float:
        """Wait until `probe` answers with something true; returns the seconds it took.

        Raises ExpectationError with the last answer when it takes longer than `within` seconds.
        """
        seconds, _ = await self._awaited(text, probe, within)
        return seconds

    async def expect_value(self, text: str, probe: Callable[[], Awaitable[Any]], *, within: float) -> Any:
        """The same; returns what `probe` answered."""
        _, value = await self._awaited(text, probe, within)
        return value

    async def _awaited(self, text: str, probe: Callable[[], Awaitable[Any]], within: float) -> tuple[float, Any]:
        started = time.monotonic()
        last: Any = None
        while (waited := time.monotonic() - started) <= within:
            with suppress(ClusterError):
                last = await probe()
                if last:
                    self.narrator.tell("held", f"{text} ({time.monotonic() - started:.1f} s)")
                    return time.monotonic() - started, last
            await asyncio.sleep(_POLL_SECONDS)
        self.narrator.tell("failed", f"{text}: not within {waited:.0f} s; last seen: {last}")
        raise ExpectationError(f"{text}: not within {within:.0f} s")

    async def holds(self, text: str, probe: Callable[[], Awaitable[Any]], *, seconds: float) -> None:
        """`probe` must answer with something true for that long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.check(text, await probe(), quietly=True)
            await asyncio.sleep(_POLL_SECONDS)
        self.narrator.tell("held", f"{text} (for {seconds:.0f} s)")

    async def check(self, text: str, value: Any, *, quietly: bool = False) -> None:
        """`value` must be true now."""
        if not value:
            self.narrator.tell("failed", text)
            raise ExpectationError(text)
        if not quietly:
            self.narrator.tell("held", text)

    def keep(self, **evidence: Any) -> None:
        """Keep numbers for the report."""
        self.narrator.evidence.update(evidence)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
