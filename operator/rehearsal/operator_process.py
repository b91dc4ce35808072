"""The operator under rehearsal: the very program that runs in a cluster, as a process with its own identity."""

import os
import re
import sys
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.processes import Process

SCRAPE_INTERVAL_SECONDS = 5
EVALUATION_INTERVAL_SECONDS = 3

_SERVING = re.compile(r"serving /metrics.* on (http://\S+)")
_START_LINES = 1000


class OperatorProcess:
    """One operator for one namespace. It is told where the cluster and Prometheus are, and nothing else."""

    def __init__(self, directory: Path, kubeconfig: Path, prometheus_url: str, namespace: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("SPECDECODE_")}
        environment["KUBECONFIG"] = str(kubeconfig)
        self.process = Process(
            "operator",
            [
                sys.executable,
                "-m",
                "specdecode",
                "run",
                f"--namespace={namespace}",
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
        """Of /metrics, /healthz and /readyz: it takes a free port and says which. Empty before it does."""
        said = _SERVING.findall(self.process.log_tail(_START_LINES))
        return said[-1] if said else ""

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

    async def metric(self, name: str, **labels: str) -> float:
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
