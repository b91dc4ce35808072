"""Pods of the simulated engine in this process: the same batch, metrics, server and meter, asked without a network."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from rehearsal.engine.arguments import parse_arguments
from rehearsal.engine.batch import Batch
from rehearsal.engine.behaviour import BehaviourFile
from rehearsal.engine.metrics import EngineMetrics
from rehearsal.engine.request import Asked
from rehearsal.engine.server import Server
from specdecode.api.vocabulary import LABEL_ARM, LABEL_DEPLOYMENT, LABEL_MODE
from specdecode.meter.middleware import Instruments, Meter

Body = dict[str, Any]

_NUMBERS = itertools.count(1)
_PROMPT_TOKENS = 1000
_CHARACTERS_PER_TOKEN = 4


def _engine_arguments(deployment: Mapping[str, Any]) -> list[str]:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    arguments: list[str] = container["args"]
    return arguments


@dataclass
class Pod:
    """One pod of a Deployment. It answers after `start`."""

    deployment: Body
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its scrape target."""
    is_up: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _client: httpx.AsyncClient | None = None
    _batch: Batch | None = None
    _metrics: EngineMetrics | None = None
    _beside: CollectorRegistry = field(default_factory=CollectorRegistry)

    @classmethod
    def of(cls, deployment: Body) -> "Pod":
        """A pod as the Deployment's template says, with the labels that our PodMonitor gives its target."""
        number = next(_NUMBERS)
        metadata, labels = deployment["metadata"], deployment["spec"]["template"]["metadata"]["labels"]
        target = {
            "namespace": metadata["namespace"],
            "pod": f"{metadata['name']}-{number}",
            "job": f"{metadata['namespace']}/{labels[LABEL_DEPLOYMENT]}",
            "instance": f"10.0.0.{number}:8000",
            "specdecode_io_deployment": labels[LABEL_DEPLOYMENT],
            "specdecode_io_mode": labels[LABEL_MODE],
            "specdecode_io_arm": labels[LABEL_ARM],
        }
        return cls(deployment, target)

    def start(self, file: BehaviourFile, kv_cache_tokens: int, created: float) -> None:
        """From now on it answers."""
        arguments = parse_arguments(_engine_arguments(self.deployment))
        self._metrics = EngineMetrics(arguments, kv_cache_tokens, created)
        self._batch = Batch(arguments, file, self._metrics, kv_cache_tokens)
        self._tasks.append(asyncio.create_task(self._batch.run()))
        if arguments.middleware is not None:
            application = Server(arguments, self._batch, self._metrics, file, self._beside).application()
            transport = httpx.ASGITransport(Meter(application, Instruments(self._beside)))
            self._client = httpx.AsyncClient(transport=transport, base_url="http://pod")
        self.is_up = True

    async def stop(self) -> None:
        """It is gone, and what it was asked stays without an answer."""
        self.is_up = False
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def ask(self, max_tokens: int, temperature: float) -> None:
        """One request to its end. Through the server only where the meter listens: it is ten times slower."""
        assert self._batch is not None, "it was started"
        if self._client is None:
            await self._batch.add(Asked(_PROMPT_TOKENS, max_tokens, temperature)).news()
            return
        prompt = "x" * _PROMPT_TOKENS * _CHARACTERS_PER_TOKEN
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature}
        (await self._client.post("/v1/completions", json=body, timeout=None)).raise_for_status()

    def scrape(self) -> Iterator[Sample]:
        """What its /metrics says, sample by sample, with the labels of the target; and whether it answers."""
        yield Sample("up", dict(self.labels), float(self.is_up))
        if not self.is_up:
            return
        assert self._metrics is not None, "it was started"
        pages = [self._metrics.exposition().decode()]
        if self._client is not None:
            pages.append(generate_latest(self._beside).decode())
        for page in pages:
            for family in text_string_to_metric_families(page):
                for sample in family.samples:
                    if not sample.name.endswith("_created"):
                        yield Sample(sample.name, {**sample.labels, **self.labels}, sample.value)
