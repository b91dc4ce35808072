"""`specdecode backtest`, as a person would run it."""

import asyncio
import json
import sys
from typing import Any

import yaml

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


async def agrees(stage: Stage, body: Body) -> None:
    """The guard over this story's own Prometheus decides what the operator decided while it happened."""
    report = await backtest(
        stage, body, "--prometheus", stage.prometheus.url, "--deployment", NAME, "--namespace", stage.namespace
    )
    (walk,) = report["walks"]
    later = [(found["from"], found["to"], found["reason"], found["at"]) for found in walk["decisions"]]
    entries = (await stage.status())["history"]
    live = [(entry["from"], entry["to"], entry["reason"], entry["at"]) for entry in reversed(entries)]
    stage.say(f"specdecode backtest over the same Prometheus: {later}")
    await stage.check(
        "it decides what the operator decided", [entry[:3] for entry in later] == [entry[:3] for entry in live]
    )
    stage.keep(backtest=later)
