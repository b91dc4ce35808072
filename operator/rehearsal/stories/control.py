"""One replica of three runs without speculation; speculation stops paying, and only that replica shows it."""

from typing import Any

from rehearsal.stage import NAME, Stage
from rehearsal.stories.common import (
    WINDOW_SECONDS,
    applied_mode_is,
    condition_is,
    healthy_for_a_window,
    manifest,
    serve,
    speculating_pods,
    status_has,
    told_why,
)
from rehearsal.story import Story
from specdecode.kube import object_path

DEAR_DRAFT_MS = 4.0
"""Of one pass: a step of three proposed tokens takes 31 ms, one without speculation 19."""
LOSING = 0.3
"""1.4 tokens a step: too many for a collapse, too few to pay for the draft."""
OFF_WITHIN_SECONDS = 120


async def play(stage: Stage) -> None:
    """No limit is set and the floor is low: what is left is the comparison."""
    stage.behave(draft=0.87, draft_ms_per_token=DEAR_DRAFT_MS)
    guard = {
        "window": f"{WINDOW_SECONDS}s",
        "acceptance": {"offBelowPercent": 5, "reviewBelowPercent": 5},
        "baseline": {"controlReplicas": 1},
    }
    await serve(stage, manifest(stage, replicas=3, guard=guard), mode="Draft", concurrency=9)
    staying = [pod for pod in stage.pods() if not pod.terminating]
    await stage.check("two replicas speculate, one does not", (len(speculating_pods(stage)), len(staying)) == (2, 3))
    await stage.expect(
        "the speed-up is measured against the control replica",
        status_has(stage, "observed", "speedupSource", value="control replica"),
        within=WINDOW_SECONDS + 60,
    )
    before = (await stage.status())["observed"]
    await stage.check("speculation pays", float(before["speedupLow"]) > 1)
    await healthy_for_a_window(stage)
    await stage.expect("what it does is recorded as a baseline", status_has(stage, "baseline", "off"), within=60)
    stage.say(f"speed-up {before['speedup']}; now the draft accepts less: 1.4 tokens a step")
    stage.behave(draft=LOSING)
    seconds = await stage.expect("Off is applied", applied_mode_is(stage, "Off"), within=OFF_WITHIN_SECONDS)
    await told_why(stage, "SlowerThanBaseline")
    evidence = {item["name"]: item["value"] for item in (await stage.status())["rollback"]["evidence"]}
    await stage.check("the control replica was the witness", evidence["baseline"] == "control replica")
    await stage.expect("the control replica is removed", _has_no_control(stage), within=60)
    await stage.expect("three replicas serve again", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.expect("all of them in the main Deployment", _main_replicas_are(stage, 3), within=30)
    await stage.check("no pod carries a speculative flag", not speculating_pods(stage))
    await stage.check("no request failed", stage.traffic.failed == 0)
    stage.keep(off_applied_after_seconds=round(seconds, 1), speedup_before=before["speedup"])


def _has_no_control(stage: Stage) -> Any:
    async def probe() -> bool:
        path = object_path("apps/v1", "deployments", stage.namespace, f"{NAME}-control")
        return await stage.rig.kube.find(path) is None

    return probe


def _main_replicas_are(stage: Stage, replicas: int) -> Any:
    async def probe() -> bool:
        deployment = await stage.deployment()
        return deployment is not None and deployment.get("status", {}).get("readyReplicas") == replicas

    return probe


CONTROL = Story("control", "one replica without speculation shows that it no longer pays: Off", play, gpus=3)
