"""Acceptance falls from 76 % to 3 %: speculation is turned off, and serving goes on."""

from rehearsal.backtests import agrees
from rehearsal.stage import Stage
from rehearsal.stories.common import (
    COLLAPSED,
    HEALTHY,
    collapse_and_roll_back,
    condition_is,
    healthy_for_a_window,
    helped,
    manifest,
    serve,
    speculating_pods,
    told_why,
)
from rehearsal.story import Story


async def play(stage: Stage) -> None:
    """Two replicas, a draft that goes bad."""
    stage.behave(draft=HEALTHY)
    body = manifest(stage, replicas=2)
    await serve(stage, body, mode="Draft", concurrency=8)
    await healthy_for_a_window(stage)
    seconds = await collapse_and_roll_back(stage)
    stage.keep(off_applied_after_seconds=round(seconds, 1), collapsed_to=COLLAPSED)
    await told_why(stage, "AcceptanceCollapsed")
    await stage.expect("both replicas serve again", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.check("no pod carries a speculative flag", not speculating_pods(stage))
    active = await stage.condition("SpeculationActive")
    await stage.check(
        "SpeculationActive=False RolledBack", (active["status"], active["reason"]) == ("False", "RolledBack")
    )
    await helped(stage)
    await agrees(stage, body)
    await stage.check("no request failed", stage.traffic.failed == 0)
    stage.keep(requests=stage.traffic.ok, failed=stage.traffic.failed, retried=stage.traffic.retried)


COLLAPSE = Story("collapse", "acceptance falls from 76 % to 3 %: Off, and serving goes on", play, gpus=2)
