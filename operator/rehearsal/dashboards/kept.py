"""A real Prometheus over a history that was written before, as if it had scraped it."""

import asyncio
from pathlib import Path

from rehearsal.binaries import Binaries
from rehearsal.prometheus import Prometheus

_NOBODY = Path("nobody")
_LOOKBACK_SECONDS = 35
"""A series that ended was not marked as stale, as a scrape would have; two scrapes later it is gone here, too."""


class KeptPrometheus(Prometheus):
    """Scrapes nothing."""

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        *,
        rules: Path | None = None,
        lookback_seconds: float = _LOOKBACK_SECONDS,
    ) -> None:
        super().__init__(binaries, directory, _NOBODY, "", 15.0)
        self._settings = {
            "global": {"scrape_interval": "15s", "evaluation_interval": "1s"},
            "rule_files": [] if rules is None else [str(rules)],
        }
        self._promtool = binaries.promtool
        self._lookback_seconds = lookback_seconds

    async def take(self, history: Path) -> None:
        """Make blocks of OpenMetrics text with timestamps of the last two hours; before it starts."""
        await asyncio.to_thread((self._directory / "tsdb").mkdir, parents=True, exist_ok=True)
        command = (self._promtool, "tsdb", "create-blocks-from", "openmetrics", history, self._directory / "tsdb")
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
        process = await asyncio.create_subprocess_exec(*map(str, command), **pipes)  # type: ignore[arg-type] # pipes
        said, _ = await process.communicate()
        if process.returncode:
            raise ValueError(f"promtool ended with {process.returncode}: {said.decode()}")

    def _flags(self, port: int) -> tuple[str, ...]:
        return (*super()._flags(port), f"--query.lookback-delta={self._lookback_seconds:g}s")
