"""Prometheus is killed, then hangs, then answers empty, then NaN, then in part: no data is not bad data."""

from collections.abc import Awaitable, Callable
from typing import Literal

from rehearsal.stage import Stage
from rehearsal.stories.common import COLLAPSED, HEALTHY, condition_is, manifest, serve
from rehearsal.story import Story

NOTICED_WITHIN_SECONDS = 30
BLIND_SECONDS = 8
FAULTS: tuple[tuple[Literal["hang", "empty", "nan", "partial"], str], ...] = (
    ("hang", "did not answer"),
    ("empty", "no series"),
    ("nan", "NaN"),
    ("partial", "in part"),
)
"""What Prometheus does, and the words by which the operator must name it."""


async def play(stage: Stage) -> None:
    """Acceptance collapses behind the operator's back, five times, and it must not act on what it cannot see."""
    stage.behave(draft=HEALTHY)
    await serve(stage, manifest(stage), mode="Draft", concurrency=6)
    deployment = await stage.deployment()
    assert deployment is not None
    generation = deployment["metadata"]["generation"]
    untouched = _untouched(stage, generation)
    stage.say("Prometheus is killed; behind its back acceptance collapses")
    stage.faults.mode = "refuse"
    await stage.prometheus.kill()
    stage.behave(draft=COLLAPSED)
    await _is_blind(stage, "killed", "cannot be reached", untouched)
    stage.say("acceptance recovers; Prometheus starts again, but its answers stay useless")
    stage.behave(draft=HEALTHY)
    await stage.prometheus.start()
    for fault, words in FAULTS:
        stage.say(f"what Prometheus answers now: {fault}")
        stage.faults.mode = fault
        await _is_blind(stage, fault, words, untouched)
    stage.say("Prometheus answers again")
    stage.faults.mode = "pass"
    await stage.expect("it recovers by itself", condition_is(stage, "MetricsAvailable", "True", "Measured"), within=60)
    await stage.holds("nothing is made up for what was missed", untouched, seconds=35)
    await stage.check("no decision was taken", not (await stage.status()).get("history"))


def _untouched(stage: Stage, generation: int) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        deployment = await stage.deployment()
        return deployment is not None and deployment["metadata"]["generation"] == generation

    return probe


async def _is_blind(stage: Stage, how: str, words: str, untouched: Callable[[], Awaitable[bool]]) -> None:
    """It says that it cannot see, and why, within the time; and does nothing."""

    async def names_the_cause() -> bool:
        condition = await stage.condition("MetricsAvailable")
        return condition.get("status") == "Unknown" and words in condition["message"]

    seconds = await stage.expect(
        f"{how}: MetricsAvailable is Unknown, with its cause", names_the_cause, within=NOTICED_WITHIN_SECONDS
    )
    message = (await stage.condition("MetricsAvailable"))["message"]
    await stage.holds(f"{how}: no action", untouched, seconds=BLIND_SECONDS)
    stage.keep(**{f"{how}_noticed_after_seconds": round(seconds, 1), f"{how}_cause": message})


BLIND = Story("blind", "Prometheus is killed, hangs, answers empty, NaN, in part: no action at all", play)
