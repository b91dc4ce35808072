"""The operator is killed in the middle of a rollback and started again: one rollback, converged, nothing lost."""

import asyncio

from rehearsal.stage import Stage
from rehearsal.stories.common import (
    COLLAPSED,
    HEALTHY,
    applied_mode_is,
    condition_is,
    manifest,
    serve,
    speculating_pods,
    status_has,
)
from rehearsal.story import Story

AWAY_SECONDS = 4


async def play(stage: Stage) -> None:
    """SIGKILL as soon as the latch is written."""
    stage.behave(draft=HEALTHY)
    await serve(stage, manifest(stage, replicas=2), mode="Draft", concurrency=6)
    stage.say("the draft goes bad")
    stage.behave(draft=COLLAPSED)
    await stage.expect("the decision is written", status_has(stage, "rollback"), within=60)
    await stage.operator.kill()
    stage.say(f"the operator is killed with SIGKILL, {AWAY_SECONDS} s later it starts again")
    at = (await stage.status())["rollback"]["at"]
    await asyncio.sleep(AWAY_SECONDS)
    await stage.operator.start()
    await stage.expect("Off is applied", applied_mode_is(stage, "Off"), within=60)
    await stage.expect("it converges", condition_is(stage, "Reconciling", "False", "RolledOut"), within=60)
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=30)
    await stage.check("no pod carries a speculative flag", not speculating_pods(stage))
    status = await stage.status()
    rollbacks = [entry for entry in status["history"] if entry["action"] == "RolledBack"]
    await stage.check("one rollback in the history", len(rollbacks) == 1)
    await stage.check("it is the decision from before the kill", status["rollback"]["at"] == at)
    replica_sets = await stage.items("apps/v1", "replicasets")
    await stage.check("one rollout, not two", len(replica_sets) == 2)
    await stage.holds("and it stays that way", applied_mode_is(stage, "Off"), seconds=8)
    stage.keep(decided_at=at, replica_sets=len(replica_sets))


RESTART = Story(
    "restart", "the operator is killed in the middle of a rollback: one rollback, nothing lost", play, gpus=2
)
