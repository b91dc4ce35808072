"""`python -m rehearsal.dashboards.pictures FOLDER`: draw both dashboards over an hour of the simulated fleet."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from rehearsal.binaries import ensure
from rehearsal.dashboards.ask import asked
from rehearsal.dashboards.draw import Mark, draw
from rehearsal.dashboards.files import FOLDER
from rehearsal.dashboards.kept import KeptPrometheus
from rehearsal.dashboards.read import annotations, panels
from rehearsal.dashboards.scripts import COLLAPSES, scripts
from rehearsal.dashboards.world import SCRAPE_SECONDS, play
from rehearsal.prometheus import Prometheus

MINUTES = 60.0
_STEP_SECONDS = 15.0
_NAMESPACE, _NAME = COLLAPSES
_WORDS = (
    "Drawn from the dashboard's JSON by the rehearsal, not by Grafana. Simulated engines; the operator's own judgement."
)

VARIABLES = {
    "fleet": {"namespace": ".*", "window": "5m"},
    "deployment": {"namespace": _NAMESPACE, "deployment": _NAME, "window": "5m"},
}
TITLES = {
    "fleet": "Speculative decoding: fleet",
    "deployment": f"Speculative decoding: deployment {_NAMESPACE}/{_NAME}",
}


async def _marks(prometheus: Prometheus, name: str, span: tuple[float, float]) -> list[Mark]:
    found: set[Mark] = set()
    for expression in annotations(FOLDER / f"{name}.json", VARIABLES[name]):
        for series in await prometheus.query_range(expression, *span, 2.0 * SCRAPE_SECONDS):
            found |= {(float(value) / 1000, series["metric"]["action"]) for _, value in series["values"]}
    return sorted(found)


async def picture(prometheus: Prometheus, name: str, folder: Path, span: tuple[float, float]) -> Path:
    """Draw one dashboard between two Unix times; returns the file."""
    shown = panels(FOLDER / f"{name}.json", VARIABLES[name])
    data = {place: await asked(prometheus, panel, *span, _STEP_SECONDS) for place, panel in enumerate(shown)}
    path = folder / f"dashboard-{name}.png"
    marks = await _marks(prometheus, name, span)
    draw(path, TITLES[name], _WORDS, shown, data, span=span, step=_STEP_SECONDS, marks=marks)
    return path


async def _draw_all(folder: Path) -> None:
    binaries = await asyncio.to_thread(ensure, print)
    with tempfile.TemporaryDirectory() as scratch:
        end = time.time() - 2 * SCRAPE_SECONDS
        begin = end - MINUTES * 60
        history = Path(scratch) / "history.om"
        print(f"playing {MINUTES:.0f} minutes of {len(scripts(MINUTES))} deployments")
        await asyncio.to_thread(play, scripts(MINUTES), begin=begin, minutes=MINUTES, path=history)
        prometheus = KeptPrometheus(binaries, Path(scratch) / "prometheus")
        await prometheus.take(history)
        async with prometheus:
            for name in VARIABLES:
                print(f"drew {await picture(prometheus, name, folder, (begin, end))}")


if __name__ == "__main__":
    asyncio.run(_draw_all(Path(sys.argv[1])))
