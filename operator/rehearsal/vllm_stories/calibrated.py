"""The plan is held against what vLLM says of its own KV cache: close when vLLM sizes it, exact when it is pinned."""

from collections.abc import Awaitable, Callable
from typing import Any

from rehearsal.stage import Body, Stage
from rehearsal.stories.common import condition_is
from rehearsal.story import Story
from rehearsal.vllm_stories.common import START_WITHIN_SECONDS, cache_labels, manifest, serving, utilization

PIN = "--kv-cache-memory-bytes="
SEEN_WITHIN_SECONDS = 90
BUDGET_MIB = 3072
"""The worker takes about 0.8 GiB of it before there is a cache."""


def _mode(status: Body, name: str) -> Body:
    (found,) = [mode for mode in status["plan"]["modes"] if mode["name"] == name]
    return dict(found)


async def play(stage: Stage) -> None:
    """The same spec twice: as vLLM sizes the cache itself, and pinned."""
    share = {"gpuMemoryUtilization": utilization(stage, BUDGET_MIB)}
    stage.say("vLLM sizes its KV cache itself")
    await stage.apply(manifest(stage, engine=share | {"pinKvCache": False}))
    await serving(stage)

    async def calibration() -> Any:
        return (await stage.status()).get("calibration")

    (noted,) = await stage.expect_value("it is held against the plan", calibration, within=SEEN_WITHIN_SECONDS)
    planned = _mode(await stage.status(), "Draft")
    cache = await cache_labels(stage)
    tokens = {"planned": planned["kvCacheTokens"], "measured": int(cache["kv_cache_size_tokens"])}
    stage.say(
        f"planned {noted['plannedKvCache']}, measured {noted['measuredKvCache']}: {noted['errorPercent']} % off; "
        f"in tokens {tokens['planned']} and {tokens['measured']}"
    )
    stage.keep(sized_by_vllm={"calibration": noted, "tokens": tokens})
    await stage.check("what status notes is what vLLM says", planned["measuredKvCacheTokens"] > 0)

    stage.say("the same with pinKvCache: the plan's bytes go into the command line")
    await stage.apply(manifest(stage, engine=share | {"pinKvCache": True}))
    await stage.expect("it is taken up", _is_pinned(stage), within=30)
    await stage.expect(
        "it serves", condition_is(stage, "Reconciling", "False", "RolledOut"), within=START_WITHIN_SECONDS
    )
    cache = await stage.expect_value("it is scraped", lambda: cache_labels(stage), within=SEEN_WITHIN_SECONDS)
    (pinned,) = [int(argument.removeprefix(PIN)) for argument in _arguments(stage) if argument.startswith(PIN)]
    planned = _mode(await stage.status(), "Draft")
    tokens = {"planned": planned["kvCacheTokens"], "measured": int(cache["kv_cache_size_tokens"])}
    block = int(cache["block_size"])
    # The CPU backend cuts the cache into blocks of 128 tokens, and the plan counts in a GPU's of 16.
    whole_blocks = tokens["planned"] // block * block
    stage.keep(pinned={"bytes": pinned, "block_tokens": block, "tokens": tokens | {"in_whole_blocks": whole_blocks}})
    await stage.check("vLLM has exactly the bytes of the plan", int(cache["kv_cache_memory_bytes"]) == pinned)
    await stage.check(
        f"and exactly its tokens, in whole blocks of {block}: {tokens['measured']}", tokens["measured"] == whole_blocks
    )


def _arguments(stage: Stage) -> tuple[str, ...]:
    (pod,) = [pod for pod in stage.pods() if not pod.terminating]
    return pod.args


def _is_pinned(stage: Stage) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        pods = [pod for pod in stage.pods() if not pod.terminating]
        return len(pods) == 1 and any(argument.startswith(PIN) for argument in pods[0].args)

    return probe


CALIBRATED = Story("calibrated", "planned against measured KV tokens of vLLM itself, exact when pinned", play)
