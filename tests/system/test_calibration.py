"""A running engine on the rig is held against its plan: once, without a further write, and what runs stays as it is."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from rich.console import Console

from rehearsal.binaries import Binaries
from rehearsal.control_plane import ControlPlane
from rehearsal.narrator import Narrator
from rehearsal.rig import Rig
from rehearsal.stage import Stage
from rehearsal.stories.common import condition_is, manifest
from specdecode.api.schema import custom_resource_definition
from specdecode.api.values import bytes_of
from specdecode.kube import connect

NAME = "calibration"
PINNED = "--kv-cache-memory-bytes="


@pytest_asyncio.fixture(loop_scope="session")
async def stage(plane: ControlPlane, binaries: Binaries, tmp_path: Path) -> AsyncIterator[Stage]:
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()
    async with connect(str(plane.kubeconfig)) as kube:
        narrator = Narrator(NAME, Console(file=io.StringIO()), "cyan", len(NAME))
        async with Stage(Rig(binaries, plane, kube, tmp_path), NAME, narrator, gpus=1) as stage:
            yield stage
            sys.stdout.write(stage.operator.process.log_tail(30))


async def _generation(stage: Stage) -> int:
    deployment = await stage.deployment()
    assert deployment is not None
    return int(deployment["metadata"]["generation"])


async def _arguments(stage: Stage) -> list[str]:
    deployment = await stage.deployment()
    assert deployment is not None
    return list(deployment["spec"]["template"]["spec"]["containers"][0]["args"])


async def _is_still(stage: Stage, seconds: float) -> None:
    """Nothing is written to the resource or to its Deployment, over several ticks."""
    before = await stage.resource(), await _generation(stage)
    await asyncio.sleep(seconds)
    after = await stage.resource(), await _generation(stage)
    assert after == before


@pytest.mark.timeout(300)
async def test_a_plan_is_held_against_its_engine_once_and_corrects_the_next_spec(stage: Stage) -> None:
    wanted = manifest(stage)
    await stage.apply(wanted)
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)

    async def calibration() -> list[dict[str, Any]]:
        return list((await stage.status()).get("calibration") or [])

    await stage.expect("the engine is held against the plan", calibration, within=90)
    (noted,) = await calibration()
    status = await stage.status()
    assert (noted["mode"], noted["specHash"]) == ("Draft", status["specHash"])
    assert status["plan"]["modes"][0]["measuredKvCacheTokens"] > 0
    labels = {"namespace": NAME, "mode": "Draft"}
    measured = await stage.operator.metric("specdecode_measured_kv_cache_bytes", **labels)
    assert measured == bytes_of(noted["measuredKvCache"])
    await _is_still(stage, 10)

    await stage.operator.stop()
    await stage.operator.start()
    await asyncio.sleep(10)
    await stage.expect("it is measured again", condition_is(stage, "MetricsAvailable", "True"), within=30)
    await _is_still(stage, 24)
    assert await calibration() == [noted]
    assert await _generation(stage) == 1, "a restart changes nothing that runs"

    wanted["spec"]["engine"]["pinKvCache"] = True
    await stage.apply(wanted)

    async def is_pinned() -> bool:
        return any(argument.startswith(PINNED) for argument in await _arguments(stage))

    await stage.expect("the next spec pins", is_pinned, within=20)
    (pinned,) = (int(one.removeprefix(PINNED)) for one in await _arguments(stage) if one.startswith(PINNED))
    kept_back = bytes_of(noted["measuredKvCache"]) - pinned
    assert 0 < kept_back < 1024**3, "what was measured, less what a pinned plan keeps back"
    await stage.expect("it is rolled out", condition_is(stage, "Reconciling", "False", "RolledOut"), within=60)
    await stage.expect("it is measured", condition_is(stage, "MetricsAvailable", "True"), within=30)
    await _is_still(stage, 24)
    assert await calibration() == [noted], "a pinned cache is no measurement"
