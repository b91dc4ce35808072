"""A real Prometheus over the pages of a fleet."""

from pathlib import Path

import httpx

from rehearsal.binaries import Binaries
from rehearsal.prometheus import Prometheus


class FleetPrometheus(Prometheus):
    """`async with FleetPrometheus(...)`: scrapes pages instead of pods."""

    def __init__(
        self, binaries: Binaries, directory: Path, port: int, pages: int, scrape_interval_seconds: float
    ) -> None:
        super().__init__(binaries, directory, directory / "unused", "unused", scrape_interval_seconds)
        interval = f"{round(scrape_interval_seconds * 1000)}ms"
        self._settings = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [
                {
                    "job_name": "pages",
                    # Job, instance and `up` of the pods are on the pages.
                    "honor_labels": True,
                    "static_configs": [
                        {
                            "targets": [f"127.0.0.1:{port}"],
                            "labels": {"__metrics_path__": f"/page/{number}", "instance": f"page-{number}"},
                        }
                        for number in range(pages)
                    ],
                }
            ],
        }

    async def requests(self) -> float:
        """Queries that it has been asked so far, by its own count."""
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            text = (await client.get(f"{self.url}/metrics")).text
        counted = (line for line in text.splitlines() if line.startswith("prometheus_http_requests_total{"))
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted if "/api/v1/query" in line)
