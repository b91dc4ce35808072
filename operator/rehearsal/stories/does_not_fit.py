"""A new spec that cannot fit replaces a running one: it is refused with numbers, and what runs is untouched."""

from rehearsal.stage import Stage
from rehearsal.stories.common import HEALTHY, condition_is, manifest, serve
from rehearsal.story import Story


def _identity(stage: Stage) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((pod.name, tuple(pod.args)) for pod in stage.pods())


async def play(stage: Stage) -> None:
    """From an 8B that fits to a 70B in BF16 on one GPU, and back."""
    stage.behave(draft=HEALTHY)
    await serve(stage, manifest(stage), mode="Draft", concurrency=4)
    before = _identity(stage)
    stage.say("a new spec: Llama-3.1-70B in BF16, still on one H100")
    await stage.apply(manifest(stage, model={"name": "meta-llama/Llama-3.1-70B-Instruct"}))
    await stage.expect("it is refused", condition_is(stage, "Planned", "False", "DoesNotFit"), within=30)
    condition = await stage.condition("Planned")
    await stage.check(f"with numbers: {condition['message']}", "short by" in condition["message"])
    await stage.expect("Stalled is True, for kstatus", condition_is(stage, "Stalled", "True", "DoesNotFit"), within=10)
    await stage.holds("what runs is untouched", lambda: _same(stage, before), seconds=10)
    await stage.check("it still serves", (await stage.condition("Ready"))["status"] == "True")
    stage.say("the old spec is applied again")
    await stage.apply(manifest(stage))
    await stage.expect("it is planned again", condition_is(stage, "Planned", "True", "Fits"), within=30)
    await stage.holds("still untouched", lambda: _same(stage, before), seconds=5)
    await stage.check("no request failed", stage.traffic.failed == 0)
    stage.keep(message=condition["message"], requests=stage.traffic.ok)


async def _same(stage: Stage, before: list[tuple[str, tuple[str, ...]]]) -> bool:
    return _identity(stage) == before


DOES_NOT_FIT = Story("does-not-fit", "a new spec that cannot fit is refused; what runs is untouched", play)
