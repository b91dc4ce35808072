"""One node with exactly the GPUs in use: every mode change completes, and never more than one replica is down."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rehearsal.stage import Body, Stage
from rehearsal.stories.common import HEALTHY, applied_mode_is, condition_is, manifest, serve
from rehearsal.story import Story
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE

REPLICAS = 2
PENDING_LIMIT_SECONDS = 20
"""A new pod may wait for the GPU of the pod that is going away, and no longer."""


class _Sampler:
    """Looks at the pods all the time and keeps the worst it saw."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.most_pods = 0
        self.fewest_ready = REPLICAS
        self.longest_pending_seconds = 0.0
        self._pending_since: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            self._take(await self._stage.items("v1", "pods"))
            await asyncio.sleep(0.2)

    def _take(self, pods: list[Body]) -> None:
        now = asyncio.get_running_loop().time()
        staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        ready = [pod for pod in staying if _is_ready(pod)]
        self.most_pods = max(self.most_pods, len(staying))
        self.fewest_ready = min(self.fewest_ready, len(ready))
        pending = {pod["metadata"]["name"] for pod in staying if not pod["spec"].get("nodeName")}
        self._pending_since = {name: self._pending_since.get(name, now) for name in pending}
        for since in self._pending_since.values():
            self.longest_pending_seconds = max(self.longest_pending_seconds, now - since)


def _is_ready(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


async def play(stage: Stage) -> None:
    """Two replicas of one GPU each on a node with two GPUs; the mode is changed three times."""
    stage.behave(draft=HEALTHY)
    await serve(stage, manifest(stage, replicas=REPLICAS), mode="Draft", concurrency=6)
    sampler = _Sampler(stage)
    task = asyncio.create_task(sampler.run())
    try:
        for mode, forced in (("Off", "Off"), ("Draft", None), ("Off", "Off")):
            stage.say(f"force-mode {forced}" if forced else "force-mode removed")
            await stage.annotate(ANNOTATION_FORCE_MODE, forced)
            await stage.expect(f"{mode} is applied", applied_mode_is(stage, mode), within=30)
            await stage.expect(f"{mode}: all replicas serve", _is_rolled_out(stage, mode), within=60)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await stage.check(f"never more than {REPLICAS} pods: no surge", sampler.most_pods <= REPLICAS)
    await stage.check("at most one replica down", sampler.fewest_ready >= REPLICAS - 1)
    await stage.check(
        "a pod waits only for the GPU of its predecessor", sampler.longest_pending_seconds < PENDING_LIMIT_SECONDS
    )
    await stage.check("no request failed", stage.traffic.failed == 0)
    stage.keep(
        most_pods=sampler.most_pods,
        fewest_ready=sampler.fewest_ready,
        longest_pending_seconds=round(sampler.longest_pending_seconds, 1),
        requests=stage.traffic.ok,
        retried=stage.traffic.retried,
    )


def _is_rolled_out(stage: Stage, mode: str) -> Callable[[], Awaitable[bool]]:
    ready = condition_is(stage, "Ready", "True", "Serving")

    async def probe() -> bool:
        return bool(await ready()) and (await stage.status()).get("mode") == mode

    return probe


NO_SPARE_GPU = Story("no-spare-gpu", "every GPU is in use: mode changes complete without a surge pod", play, gpus=2)
