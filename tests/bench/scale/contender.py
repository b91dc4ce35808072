"""The three operators that are measured, as processes: ours, one that only watches, and the obvious design."""

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from rehearsal.processes import Process

from .process import Memory, cpu_seconds, memory

_SERVING = re.compile(r"serving /metrics.* on (http://\S+)")
_LONG_LOG = 2000


class Contender:
    """One operator process."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        directory: Path,
        kubeconfig: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("SPECDECODE_")}
        environment["KUBECONFIG"] = str(kubeconfig)
        environment |= {f"SPECDECODE_{key.upper()}": value for key, value in (settings or {}).items()}
        paths = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3] / "operator")]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.process = Process(
            name,
            [sys.executable, *words],
            log=directory / f"{name}.log",
            environment=environment,
            directory=directory,
        )
        self._started = 0.0

    async def start(self) -> None:
        """Start it, and the clock."""
        self._started = time.monotonic()
        await self.process.start()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        await self.process.stop(5.0)

    @property
    def age_seconds(self) -> float:
        """Since the start of the process."""
        return time.monotonic() - self._started

    @property
    def memory(self) -> Memory:
        """Now."""
        return memory(self._pid)

    @property
    def cpu_seconds(self) -> float:
        """Since its start."""
        return cpu_seconds(self._pid)

    @property
    def _pid(self) -> int:
        if self.process.pid is None or not self.process.is_running:
            raise RuntimeError(f"{self.process.name} ended with {self.process.returncode}:\n{self.said(20)}")
        return self.process.pid

    def said(self, lines: int = _LONG_LOG) -> str:
        """Its last words."""
        return self.process.log_tail(lines)


@dataclass(frozen=True)
class Scrape:
    """One look at /metrics of ours."""

    seconds: float
    size_bytes: int
    """Uncompressed."""
    resources: int
    """How many it shows."""


class Ours(Contender):
    """`specdecode run` with its defaults."""

    def __init__(
        self, directory: Path, kubeconfig: Path, prometheus_url: str, settings: Mapping[str, str] | None = None
    ) -> None:
        words = ("-m", "specdecode", "run", f"--prometheus-url={prometheus_url}")
        listen = ("--listen-address=127.0.0.1", "--listen-port=0")
        super().__init__("specdecode", (*words, *listen), directory, kubeconfig, settings)
        self._url = ""

    @property
    def url(self) -> str:
        """It takes a free port and says which; empty until it has."""
        if not self._url:
            said = _SERVING.findall(self.said())
            self._url = said[-1] if said else ""
        return self._url

    async def numbers(self) -> Mapping[str, float]:
        """Its metrics about itself, which come first on the page; the rest is not read."""
        if not self.url:
            return {}
        head = b""
        async with (
            httpx.AsyncClient(trust_env=False, timeout=30.0) as client,
            client.stream("GET", f"{self.url}/metrics", headers={"Accept-Encoding": "identity"}) as answer,
        ):
            async for piece in answer.aiter_bytes():
                head += piece
                if b"specdecode_build_info{" in head:
                    break
        lines = (line.rpartition(" ") for line in head.decode().splitlines() if line and not line.startswith("#"))
        numbers: dict[str, float] = {}
        for series, _, value in lines:
            name = series.partition("{")[0]
            if name.endswith("_bucket"):
                continue
            try:
                numbers[name] = numbers.get(name, 0.0) + float(value)
            except ValueError:  # the line that was cut off
                continue
        return numbers

    async def scrape(self) -> Scrape:
        """The whole page, compressed as Prometheus asks for it."""
        begun = time.perf_counter()
        async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
            page = (await client.get(f"{self.url}/metrics", headers={"Accept-Encoding": "gzip"})).content
        seconds = time.perf_counter() - begun
        return Scrape(seconds, len(page), len(set(_NAMED.findall(page))))


_NAMED = re.compile(rb'^specdecode_[a-z_]+\{[^}\n]*name="([^"]+)"', re.MULTILINE)
