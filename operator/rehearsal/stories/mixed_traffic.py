"""Nine requests of ten gain, the tenth loses: a mean that gains, a tail that loses, and advice with numbers."""

from rehearsal.stage import Stage
from rehearsal.stories.common import HEALTHY, WINDOW_SECONDS, finding, manifest, serve
from rehearsal.stories.healthy_drift import undecided
from rehearsal.story import Story

HOT_SHARE = 0.1
HOT_TEMPERATURE = 2.0
SENSITIVITY = 2.0
"""At temperature 2 hardly a draft token is accepted."""


async def play(stage: Stage) -> None:
    """A step of 29 ms without speculation and of 57 ms with it: 17 ms per token where three are accepted, 57 where none
    is. The edges between lie at 25 and 50 ms.
    """
    stage.behave(draft=HEALTHY, temperature_sensitivity=SENSITIVITY, c0_ms=28.0, draft_ms_per_token=8.0)
    guard = {"window": f"{WINDOW_SECONDS}s", "baseline": {"controlReplicas": 1}}
    # Short answers: the P99 of a window has an upper bound from 459 requests on.
    stage.traffic.max_tokens = 8
    stage.traffic.hot_share, stage.traffic.hot_temperature = HOT_SHARE, HOT_TEMPERATURE
    await serve(stage, manifest(stage, replicas=2, guard=guard), mode="Draft", concurrency=20)
    told = await stage.expect_value(
        "it advises to part the traffic", finding(stage, "MixedTraffic"), within=WINDOW_SECONDS + 90
    )
    stage.say(told["message"])
    await stage.check(
        "with numbers for the median and for the tail", "P50" in told["message"] and "P99" in told["message"]
    )
    await stage.holds("nothing is changed", undecided(stage), seconds=WINDOW_SECONDS)
    stage.keep(finding=told["message"])


MIXED_TRAFFIC = Story("mixed-traffic", "the median gains, the tail loses: advice with numbers, no step", play, gpus=2)
