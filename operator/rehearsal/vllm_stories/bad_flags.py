"""What the operator knows to be wrong never reaches a pod; what only vLLM knows is shown in vLLM's own words."""

from typing import Any

from rehearsal.stage import Body, Stage
from rehearsal.stories.common import condition_is
from rehearsal.story import Story
from rehearsal.vllm_stories.common import IMAGE, manifest, serving

OLDER_IMAGE = "vllm/vllm-openai:v0.14.0"
"""The last line without draft models in the engine of today; 0.15.1 has them again."""
ARGUMENT = {"name": "enable-auto-tool-choice"}
ENGINES_WORDS = "--enable-auto-tool-choice requires --tool-call-parser"
"""A switch that the parser knows, in a combination that only vLLM's own check refuses."""
REPLICAS = 2
SAID_WITHIN_SECONDS = 240
"""The guard waits for the third restart; each start takes 8 s to fail, and longer beside engines that start."""
TICKS_SECONDS = 8
"""Some evaluations."""


async def _generation(stage: Stage) -> int:
    deployment = await stage.deployment()
    assert deployment is not None
    return int(deployment["metadata"]["generation"])


async def _refused_before_a_pod(stage: Stage) -> None:
    before = await _untouched(stage)
    stage.say("a spec for vLLM 0.14 asks for a draft model, which that release does not run")
    await stage.apply(manifest(stage, replicas=REPLICAS, engine={"image": OLDER_IMAGE}))
    condition = await stage.expect_value("it is refused", condition_is(stage, "Planned", "False"), within=20)
    await stage.check("the refusal names field and release", _names(condition, "spec.speculation.method", "0.14.0"))
    stage.keep(refusal=condition["message"])

    async def probe() -> bool:
        return await _untouched(stage) == before

    await stage.holds("no pod is started or ended, the Deployment is untouched", probe, seconds=TICKS_SECONDS)


async def _untouched(stage: Stage) -> tuple[set[str], int]:
    """What a refused spec must leave as it is."""
    return {pod.name for pod in stage.pods()}, await _generation(stage)


def _names(condition: Body, *words: str) -> bool:
    return all(word in condition["message"] for word in words)


async def _engines_own_words(stage: Stage) -> Any:
    """The condition that quotes the engine, whichever it is."""
    for condition in (await stage.status()).get("conditions", []):
        if ENGINES_WORDS in condition["message"]:
            return condition
    return None


async def play(stage: Stage) -> None:
    """A wrong release, a wrong argument, and the right spec again; requests are answered all the while."""
    good = manifest(stage, replicas=REPLICAS)
    await stage.apply(good)
    await serving(stage, "both replicas serve")
    # Enough to see whether it is answered; more would take the cores away from the engines that try to start.
    stage.traffic.pause_seconds, stage.traffic.concurrency = 1.0, 1
    last_good = {pod.name for pod in stage.pods()}
    await _refused_before_a_pod(stage)
    stage.say("the same release again, with an argument that only vLLM itself can refuse")
    await stage.apply(manifest(stage, replicas=REPLICAS, engine={"image": IMAGE, "extraArgs": [ARGUMENT]}))
    said = await stage.expect_value(
        "the engine's own words are in a condition", lambda: _engines_own_words(stage), within=SAID_WITHIN_SECONDS
    )
    stage.keep(engine_says={"condition": said["type"], "reason": said["reason"], "message": said["message"]})
    serves = [pod.name for pod in stage.pods() if pod.ready and not pod.terminating]
    await stage.check("a replica of the last good spec keeps serving", serves and set(serves) <= last_good)
    stage.say("the good spec is applied again")
    await stage.apply(good)
    await serving(stage, "both replicas serve again")
    await stage.check("no request failed", stage.traffic.failed == 0)
    stage.keep(requests=stage.traffic.ok, failed=stage.traffic.failed, retried=stage.traffic.retried)


BAD_FLAGS = Story("bad-flags", "flags that are wrong: refused before a pod, or quoted from vLLM itself", play, gpus=2)
