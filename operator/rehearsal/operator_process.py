"""The operator under rehearsal: the very program that runs in a cluster, under the service account and the rights of
the chart. Either the rehearsal starts it as a process, or the chart was installed and a node runs it.
"""

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.node import Node, PodView
from rehearsal.processes import Process

SCRAPE_INTERVAL_SECONDS = 5
EVALUATION_INTERVAL_SECONDS = 3

_SERVING = re.compile(r"serving /metrics.* on (http://\S+)")
_START_LINES = 1000
_PORT = 8080
_SELECTOR = {"app.kubernetes.io/name": "specdecode-operator"}


class RunningOperator(ABC):
    """An operator, wherever it runs: where it answers, and what it says."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Of /metrics, /healthz and /readyz; empty while nobody serves them."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """The file that it writes now."""

    @abstractmethod
    def log_tail(self, lines: int = 20) -> str:
        """Its last words."""

    async def metric(self, name: str, /, **labels: str) -> float:
        """Sum of the samples of one of its own metrics with these labels; 0 without any."""
        if not self.url:
            return 0.0
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            text = (await client.get(f"{self.url}/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class OperatorProcess(RunningOperator):
    """One operator for one namespace. It is told where the cluster and Prometheus are, and nothing else but `settings`:
    variables of its environment without their prefix, in small letters.
    """

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        prometheus_url: str,
        namespace: str,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("SPECDECODE_")}
        environment["KUBECONFIG"] = str(kubeconfig)
        environment |= {f"SPECDECODE_{name.upper()}": value for name, value in (settings or {}).items()}
        self.process = Process(
            "operator",
            [
                sys.executable,
                "-m",
                "specdecode",
                "run",
                *([f"--namespace={namespace}"] if namespace else []),
                f"--prometheus-url={prometheus_url}",
                f"--scrape-interval={SCRAPE_INTERVAL_SECONDS}",
                f"--evaluation-interval={EVALUATION_INTERVAL_SECONDS}",
                "--listen-address=127.0.0.1",
                "--listen-port=0",
            ],
            log=directory / "operator.log",
            environment=environment,
            directory=directory,
        )

    @property
    def url(self) -> str:
        """It takes a free port and says which."""
        said = _SERVING.findall(self.process.log_tail(_START_LINES))
        return said[-1] if said else ""

    @property
    def log(self) -> Path:
        return self.process.log

    def log_tail(self, lines: int = 20) -> str:
        return self.process.log_tail(lines)

    async def start(self) -> None:
        """Start it; also again after it was killed."""
        await self.process.start()

    async def stop(self) -> None:
        """SIGTERM, and as much time as a kubelet gives."""
        await self.process.stop(grace_seconds=30.0)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        await self.process.wait()


class OperatorPods(RunningOperator):
    """The operator as the chart installed it: pods of a node, in the release's namespace."""

    def __init__(self, node: Node, directory: Path, namespace: str) -> None:
        self.namespace = namespace
        self._node = node
        self._directory = directory

    @property
    def pods(self) -> list[PodView]:
        """Its pods."""
        return self._node.pods(self.namespace, _SELECTOR)

    @property
    def url(self) -> str:
        return next((f"http://{pod.ip}:{_PORT}" for pod in self.pods if pod.ready), "")

    @property
    def log(self) -> Path:
        logs = (self._directory / self.namespace).glob("*/operator.log")
        return max(logs, key=lambda log: log.stat().st_mtime, default=self._directory / "operator.log")

    def log_tail(self, lines: int = 20) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
