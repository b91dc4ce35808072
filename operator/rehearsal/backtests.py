"""`specdecode backtest`, as a person would run it."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml

from rehearsal.operator_process import SCRAPE_INTERVAL_SECONDS
from rehearsal.stage import NAME, Body, ExpectationError, Stage


async def backtest(stage: Stage, body: Body, *options: str) -> dict[str, Any]:
    """Its JSON report. Raises ExpectationError with its words when it fails."""
    file = stage.directory / "backtest.yaml"
    file.write_text(yaml.safe_dump(body))
    command = [sys.executable, "-m", "specdecode", "backtest", "-f", str(file), "-o", "json", *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    if process.returncode:
        raise ExpectationError(f"specdecode backtest ended with {process.returncode}: {complained.decode()}")
    report: dict[str, Any] = json.loads(said)
    return report


def disagreement(live: Sequence[Mapping[str, Any]], later: Sequence[Mapping[str, Any]]) -> str:
    """In what the decisions of the operator and those of the backtest differ; empty when they agree.

    Both are entries with `from`, `to`, `reason` and `at`, oldest first. Moments may differ by two scrapes: the operator
    looks between scrapes, the backtest at them.
    """
    if [_taken(entry) for entry in live] != [_taken(entry) for entry in later]:
        return f"the operator decided {_told(live)}, the backtest {_told(later)}"
    apart = [abs((_moment(mine) - _moment(other)).total_seconds()) for mine, other in zip(live, later, strict=True)]
    if max(apart, default=0.0) > 2 * SCRAPE_INTERVAL_SECONDS:
        return f"the moments are up to {max(apart):g} s apart: {_told(live)} and {_told(later)}"
    return ""


def _taken(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["from"], entry["to"], entry["reason"]


def _moment(entry: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])


def _told(entries: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{entry['from']} -> {entry['to']} {entry['reason']} at {entry['at']}" for entry in entries)


async def agrees(stage: Stage, body: Body) -> None:
    """The guard over this story's own Prometheus decides what the operator decided while it happened."""
    report = await backtest(
        stage, body, "--prometheus", stage.prometheus.url, "--deployment", NAME, "--namespace", stage.namespace
    )
    (walk,) = report["walks"]
    later = walk["decisions"]
    live = list(reversed((await stage.status())["history"]))
    stage.say(f"specdecode backtest over the same Prometheus: {_told(later)}; the operator: {_told(live)}")
    different = disagreement(live, later)
    await stage.check(different or "it decides what the operator decided, and when", not different)
    stage.keep(operator=_told(live), backtest=_told(later))
