"""After a rollback the same manifest is applied again and again: nothing flips. A new spec re-arms; a retry, once."""

import json

from rehearsal.stage import Stage
from rehearsal.stories.common import (
    COLLAPSED,
    HEALTHY,
    applied_mode_is,
    collapse_and_roll_back,
    condition_is,
    manifest,
    serve,
    speculation,
    status_has,
)
from rehearsal.story import Story

ARGO_CD = ("--server-side", "--field-manager=argocd-controller", "--force-conflicts")
CLIENT_SIDE = ("--server-side=false",)
ROUNDS = 5
OPERATOR = "system:serviceaccount:gitops:specdecode-operator"


async def play(stage: Stage) -> None:
    """A rollback, a stubborn GitOps tool, a new commit, a retry."""
    stage.behave(draft=HEALTHY)
    body = manifest(stage)
    await serve(stage, body, mode="Draft", concurrency=6)
    stage.behave(draft=COLLAPSED)
    stage.say("the draft goes bad")
    await stage.expect("Off is applied", applied_mode_is(stage, "Off"), within=60)
    generation = (await stage.resource())["metadata"]["generation"]
    stage.say("the same manifest is applied again by other tools, server-side and client-side")
    for number in range(ROUNDS):
        await stage.apply(body, *(CLIENT_SIDE if number % 2 else ARGO_CD))
        await stage.holds("nothing flips", applied_mode_is(stage, "Off"), seconds=3)
    resource = await stage.resource()
    await stage.check("the spec is still the one of the manifest", resource["metadata"]["generation"] == generation)
    await stage.check("the operator never wrote a spec", not _spec_writes(stage))
    await _rearmed_by_a_new_spec(stage)
    await _retried_once(stage)
    await stage.check("the operator never wrote a spec", not _spec_writes(stage))


async def _rearmed_by_a_new_spec(stage: Stage) -> None:
    stage.say("a new commit: two speculative tokens instead of three")
    await stage.apply(manifest(stage, speculation=speculation(numSpeculativeTokens=2)), *ARGO_CD)
    await stage.expect("the changed spec re-arms: Draft is applied", applied_mode_is(stage, "Draft"), within=30)
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await collapse_and_roll_back(stage)
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)


async def _retried_once(stage: Stage) -> None:
    stage.say("a person asks for one more try: kubectl annotate sdd chat specdecode.io/retry=1")
    await stage.ask_retry("1")
    await stage.expect("the annotation re-arms: Draft is applied", applied_mode_is(stage, "Draft"), within=30)
    await stage.expect("the draft is still bad: Off is applied", applied_mode_is(stage, "Off"), within=90)
    await stage.check("it counts attempts", (await stage.status())["rollback"]["attempts"] == 2)
    await stage.expect("it is acknowledged", status_has(stage, "acknowledgedRetry", value="1"), within=5)
    await stage.holds("the same annotation does not re-arm twice", applied_mode_is(stage, "Off"), seconds=8)


def _spec_writes(stage: Stage) -> list[str]:
    """Writes of the operator on the resource itself, from the audit log of the API server."""
    writes = []
    for line in stage.rig.plane.audit_log.read_text().splitlines():
        entry = json.loads(line)
        reference = entry.get("objectRef", {})
        is_ours = entry["user"].get("username") == OPERATOR and reference.get("resource") == "specdecodedeployments"
        if is_ours and reference.get("subresource") != "status":
            writes.append(f"{entry['verb']} {entry['requestURI']}")
    return writes


GITOPS = Story("gitops", "the same manifest again and again: nothing flips; a new spec re-arms, a retry once", play)
