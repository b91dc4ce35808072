"""A real Prometheus that finds the engine's pods through the API server, as it would in a cluster.

Its labels are those of our PodMonitor: `namespace`, `pod` and every pod label `specdecode.io/…`. It evaluates nothing
for the operator; the two query methods are for reports and tests.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from rehearsal.binaries import Binaries
from rehearsal.processes import Process, ProcessError, free_ports

ENGINE_PORT = 8000

_MANAGED = "app.kubernetes.io/managed-by=specdecode-operator"
_START_SECONDS = 30.0
_POLL_SECONDS = 0.1
_ATTEMPTS = 3
_GRACE_SECONDS = 3.0


class PrometheusQueryError(Exception):
    """Prometheus refused a query; the message is its own."""


class Prometheus:
    """`async with Prometheus(...) as prometheus`: scrapes one namespace, keeps two hours, gone afterwards.

    The kubeconfig's user must be allowed to list and watch pods in the namespace.
    """

    def __init__(
        self, binaries: Binaries, directory: Path, kubeconfig: Path, namespace: str, scrape_interval_seconds: float
    ) -> None:
        self.url = ""
        """`http://127.0.0.1:<port>`, the same after every start."""
        self._program = binaries.prometheus
        self._directory = directory.absolute()
        self._config = self._directory / "prometheus.yaml"
        self._settings = scrape_settings(kubeconfig.absolute(), namespace, scrape_interval_seconds)
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump(self._settings, sort_keys=False))
        try:
            await self._first_start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def process(self) -> Process:
        assert self._process is not None, "entered with `async with`"
        return self._process

    async def start(self) -> None:
        """Start it again after `kill` or `stop`, with the same address and data, and wait until it answers."""
        await self.process.start()
        await self._wait_ready()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop(_GRACE_SECONDS)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        await self.process.wait()

    async def query(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an instant vector, as Prometheus' API gives them, at a Unix time or now."""
        return await self._ask("query", {"query": promql, "time": str(time.time() if at is None else at)})

    async def query_range(self, promql: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range vector between two Unix times, one value every `step` seconds."""
        return await self._ask(
            "query_range", {"query": promql, "start": str(start), "end": str(end), "step": str(step)}
        )

    async def _ask(self, endpoint: str, form: Mapping[str, str]) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            answer = (await client.post(f"{self.url}/api/v1/{endpoint}", data=form)).json()
        if answer["status"] != "success":
            raise PrometheusQueryError(f"{form['query']}: {answer.get('error', answer)}")
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    async def _first_start(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            (port,) = free_ports(1)
            self.url = f"http://127.0.0.1:{port}"
            self._process = Process(
                "prometheus",
                [self._program, *self._flags(port)],
                log=self._directory / "prometheus.log",
                # The proxies of the user have no way to addresses of this machine.
                environment={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
                directory=self._directory,
            )
            try:
                return await self.start()
            except ProcessError:
                if attempt == _ATTEMPTS or "address already in use" not in self.process.log_tail():
                    raise
        return None

    async def _wait_ready(self) -> None:
        try:
            async with (
                asyncio.timeout(_START_SECONDS),
                httpx.AsyncClient(trust_env=False, timeout=2.0) as client,
            ):
                while not await self._is_ready(client):
                    if not self.process.is_running:
                        raise ProcessError(
                            f"prometheus ended with {self.process.returncode}:\n{self.process.log_tail(5)}"
                        )
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ProcessError(
                f"prometheus is not ready after {_START_SECONDS:.0f} s:\n{self.process.log_tail(5)}"
            ) from None

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/-/ready")).is_success
        except httpx.HTTPError:
            return False

    def _flags(self, port: int) -> tuple[str, ...]:
        return (
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._directory / 'tsdb'}",
            "--storage.tsdb.retention.time=2h",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        )


def scrape_settings(kubeconfig: Path, namespace: str, scrape_interval_seconds: float) -> dict[str, Any]:
    """The configuration file: pods of one namespace that the operator manages, while they run."""
    interval = f"{round(scrape_interval_seconds * 1000)}ms"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [
            {
                "job_name": "vllm",
                "kubernetes_sd_configs": [
                    {
                        "role": "pod",
                        "kubeconfig_file": str(kubeconfig),
                        "namespaces": {"names": [namespace]},
                        "selectors": [{"role": "pod", "label": _MANAGED}],
                    }
                ],
                "relabel_configs": [
                    {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Running", "action": "keep"},
                    # A target for each container port comes in; with one address for all of them one remains.
                    {
                        "source_labels": ["__meta_kubernetes_pod_ip"],
                        "regex": "(.+)",
                        "replacement": f"${{1}}:{ENGINE_PORT}",
                        "target_label": "__address__",
                    },
                    {"source_labels": ["__meta_kubernetes_pod_ip"], "regex": ".+", "action": "keep"},
                    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                    {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
                    {"regex": "__meta_kubernetes_pod_label_(specdecode_io_.+)", "action": "labelmap"},
                ],
            }
        ],
    }
