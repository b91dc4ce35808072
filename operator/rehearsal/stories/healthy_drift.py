"""The content changes and the draft accepts ever less, but speculation pays all the same: nothing is done."""

from collections.abc import Awaitable, Callable

from rehearsal.stage import Stage
from rehearsal.stories.common import HEALTHY, WINDOW_SECONDS, finding, manifest, serve, status_has
from rehearsal.story import Story

DRIFT = (0.65, 0.45)
"""44 % and 25 % of three proposed tokens are accepted: 2.3 and 1.7 tokens a step, at 1.3 times the time of one."""


async def play(stage: Stage) -> None:
    """Below the floor of 50 %, with a control replica to tell."""
    stage.behave(draft=HEALTHY)
    guard = {"window": f"{WINDOW_SECONDS}s", "baseline": {"controlReplicas": 1}}
    await serve(stage, manifest(stage, replicas=2, guard=guard), mode="Draft", concurrency=8)
    await stage.expect(
        "the speed-up is measured against the control replica",
        status_has(stage, "observed", "speedupSource", value="control replica"),
        within=WINDOW_SECONDS + 60,
    )
    for acceptance in DRIFT:
        stage.say(f"other content: each draft token is accepted with {acceptance:.0%}")
        stage.behave(draft=acceptance)
        await stage.holds("nothing is changed", undecided(stage), seconds=WINDOW_SECONDS + 10)
    told = await stage.expect_value("it says that it pays all the same", finding(stage, "LowAcceptancePays"), within=30)
    stage.say(told["message"])
    observed = (await stage.status())["observed"]
    await stage.check("the whole interval lies above 1", float(observed["speedupLow"]) > 1)
    stage.keep(finding=told["message"], observed=observed)


def undecided(stage: Stage) -> Callable[[], Awaitable[bool]]:
    """Asks that nothing was decided and speculation is on."""

    async def probe() -> bool:
        status = await stage.status()
        return status.get("mode") == "Draft" and not status.get("rollback") and not status.get("history")

    return probe


HEALTHY_DRIFT = Story("healthy-drift", "acceptance falls under the floor and pays all the same: no step", play, gpus=2)
