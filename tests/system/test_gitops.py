"""The GitOps contract on a real API server: a resource that Argo CD, Flux and kubectl write, and an operator that never
does. One stage for the whole file: real pods of the simulated engine, a real rollback. The tests tell one story, in
order: they share what runs.

`SPECDECODE_TEST_REAPPLY_SECONDS=1800` applies the manifest again and again for half an hour instead of a minute.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
import yaml
from gitops import argocd
from gitops.kstatus import compute
from rich.console import Console

from rehearsal.control_plane import ControlPlane
from rehearsal.narrator import narrators
from rehearsal.processes import ProcessError
from rehearsal.rig import Rig
from rehearsal.stage import NAME, Stage
from rehearsal.stories.common import COLLAPSED, HEALTHY, applied_mode_is, condition_is, manifest, status_has
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import collection_path, connect, object_path, resource_path

NAMESPACE = "gitops-contract"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:specdecode-operator"
REAPPLY_SECONDS = float(os.environ.get("SPECDECODE_TEST_REAPPLY_SECONDS", "60"))
LABELS = {
    "app.kubernetes.io/instance": "inference",
    "kustomize.toolkit.fluxcd.io/name": "inference",
    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
}
TRACKING = {"argocd.argoproj.io/tracking-id": f"inference:specdecode.io/SpecDecodeDeployment:{NAMESPACE}/{NAME}"}
FLUX = ("--server-side", "--field-manager=kustomize-controller", "--force-conflicts")
ARGO_CD = ("--server-side", "--field-manager=argocd-controller", "--force-conflicts")
ARGO_CD_CLIENT_SIDE = ("--server-side=false",)

pytestmark = pytest.mark.timeout(150 + REAPPLY_SECONDS)

Body = dict[str, Any]
Way = tuple[str, ...]


def declared(stage: Stage, name: str = NAME, **spec: Any) -> Body:
    """The manifest as it is in Git, with what both tools stamp on it."""
    body = manifest(stage, **spec)
    body["metadata"] |= {"name": name, "labels": LABELS, "annotations": TRACKING}
    return body


def without_replicas(stage: Stage) -> Body:
    """As it is in Git when an autoscaler owns the replicas."""
    body = declared(stage, "scaled")
    del body["spec"]["replicas"]
    return body


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()
    voice = narrators([NAMESPACE], Console(quiet=True))[NAMESPACE]
    async with connect(str(plane.kubeconfig)) as kube:
        directory = tmp_path_factory.mktemp("gitops")
        rig = Rig(plane.binaries, plane, kube, directory)
        async with Stage(rig, NAMESPACE, voice, gpus=4) as stage:
            stage.behave(draft=HEALTHY)
            yield stage


async def kubectl(stage: Stage, *arguments: str, stdin: str | None = None) -> str:
    """What it prints; it fails as it does for a person, `kubectl diff` when there is a difference."""
    return await stage.rig.plane.kubectl(*arguments, f"--namespace={NAMESPACE}", stdin=stdin)


async def eventually(probe: Callable[[], Awaitable[Any]], *, seconds: float = 30) -> Any:
    """The first true answer of `probe`."""
    end = time.monotonic() + seconds
    while not (answer := await probe()):
        assert time.monotonic() < end, f"not within {seconds} s; last answer: {answer}"
        await asyncio.sleep(0.3)
    return answer


def writes(stage: Stage) -> list[str]:
    """Every request of the operator that changed, or could have changed, something, from the API server's audit log."""
    found = []
    for line in stage.rig.plane.audit_log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"].get("username") == OPERATOR:
            reference = entry["objectRef"]
            found.append(f"{entry['verb']} {reference['resource']}/{reference.get('subresource', '')}")
    return found


async def children(stage: Stage) -> list[Body]:
    """Everything in the namespace that belongs to a resource, pods included."""
    kinds = [("apps/v1", "deployments"), ("apps/v1", "replicasets"), ("v1", "pods"), ("v1", "services")]
    found = []
    for api_version, plural in kinds:
        found += (await stage.rig.kube.get(collection_path(api_version, plural, NAMESPACE)))["items"]
    return found


async def replicas(stage: Stage, name: str) -> int:
    deployment = await stage.rig.kube.get(object_path("apps/v1", "deployments", NAMESPACE, name))
    return int(deployment["spec"]["replicas"])


async def quiet(stage: Stage, *, seconds: float = 6, within: float = 60) -> None:
    """Until the operator has written nothing for a while."""
    end, since, count = time.monotonic() + within, time.monotonic(), len(writes(stage))
    while time.monotonic() - since < seconds:
        assert time.monotonic() < end, f"it does not come to rest; its last writes: {writes(stage)[-10:]}"
        await asyncio.sleep(1)
        if len(writes(stage)) != count:
            since, count = time.monotonic(), len(writes(stage))


async def test_kubectl_apply_and_wait_until_it_serves_and_speculates(stage: Stage) -> None:
    await stage.apply(declared(stage), *ARGO_CD)
    await stage.apply(without_replicas(stage), *FLUX)
    await kubectl(stage, "wait", "sdd", "--all", "--for=condition=Ready", "--timeout=60s")
    await kubectl(stage, "wait", f"sdd/{NAME}", "--for=condition=SpeculationActive", "--timeout=10s")
    answer = await kubectl(stage, "rollout", "status", f"deployment/{NAME}", "--timeout=10s")
    assert "successfully rolled out" in answer


async def test_what_serves_is_current_for_flux_and_healthy_for_argo_cd(stage: Stage) -> None:
    resource = await stage.resource()
    assert compute(resource) == "Current"
    assert argocd.health(resource)[0] == "Healthy"


async def test_a_converged_resource_has_no_diff(stage: Stage) -> None:
    text = yaml.safe_dump(declared(stage))
    assert await kubectl(stage, "diff", *ARGO_CD, "-f", "-", stdin=text) == ""
    assert await kubectl(stage, "diff", *FLUX, "-f", "-", stdin=text) == ""


async def test_no_child_inherits_what_the_tools_stamp_on_the_resource(stage: Stage) -> None:
    found = await children(stage)
    assert len(found) == 8, "Deployment, ReplicaSet, Pod and Service, twice"
    prefixes = ("argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "kubectl.kubernetes.io/last-applied")
    for child in found:
        metadata = child["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] in (NAME, "scaled")
        keys = {*metadata["labels"], *metadata.get("annotations", {})}
        stamped = {key for key in keys if key.startswith(prefixes)}
        assert stamped <= {"kustomize.toolkit.fluxcd.io/reconcile"}, "which tells Flux to leave it alone"


async def test_pause_and_resume_in_argo_cd_do_what_they_say(stage: Stage) -> None:
    await clicked(stage, "pause")
    await eventually(condition_is(stage, "Paused", "True"))
    assert argocd.health(await stage.resource())[0] == "Suspended"
    await clicked(stage, "resume")
    await eventually(condition_is(stage, "Paused", "False"))
    assert argocd.health(await stage.resource())[0] == "Healthy"


async def test_the_chart_renders_the_health_check_and_the_actions_that_are_tested(stage: Stage) -> None:
    (shown,) = await stage.rig.chart.rendered(NAMESPACE, {"argocd": {"enabled": True}}, "argocd")
    health, actions = (shown["data"][f"resource.customizations.{part}.{argocd.KEY}"] for part in ("health", "actions"))
    assert health.strip() == argocd.script("health.lua").strip()
    read = yaml.safe_load(actions)
    assert read["discovery.lua"].strip() == argocd.script("actions", "discovery.lua").strip()
    assert {action["name"]: action["action.lua"].strip() for action in read["definitions"]} == {
        name: argocd.script("actions", name, "action.lua").strip() for name in argocd.ACTIONS
    }


async def clicked(stage: Stage, action: str) -> None:
    """As a person clicks an action in Argo CD."""
    resource = await stage.resource()
    assert action in argocd.enabled(resource)
    patch = json.dumps(argocd.patch_of(action, resource))
    await kubectl(stage, "patch", f"sdd/{NAME}", "--type=merge", f"--patch={patch}")


async def test_a_rollback_that_serves_is_current_for_flux_and_degraded_for_argo_cd(stage: Stage) -> None:
    stage.traffic.concurrency = 6
    await eventually(condition_is(stage, "MetricsAvailable", "True", "Measured"))
    stage.behave(draft=COLLAPSED)
    await eventually(applied_mode_is(stage, "Off"), seconds=60)
    stage.traffic.concurrency = 0
    await kubectl(stage, "wait", f"sdd/{NAME}", "--for=condition=Ready", "--timeout=60s")
    await eventually(condition_is(stage, "SpeculationActive", "False", "RolledBack"))
    resource = await stage.resource()
    assert compute(resource) == "Current"
    health, message = argocd.health(resource)
    assert health == "Degraded"
    assert message.startswith("rolled back, serving: acceptance length")


async def test_an_autoscaler_may_own_the_replicas_of_the_deployment(stage: Stage) -> None:
    """Without `replicas` in the spec they are nobody's but the autoscaler's, whoever applies the manifest again."""
    await kubectl(stage, "scale", "deployment/scaled", "--replicas=2")
    await stage.apply(without_replicas(stage), *FLUX)
    await asyncio.sleep(7)
    assert await replicas(stage, "scaled") == 2


async def test_an_autoscaler_may_own_the_replicas_of_the_resource(stage: Stage) -> None:
    """Once they are in the resource, and as long as Git does not have them."""
    await kubectl(stage, "patch", "sdd/scaled", "--type=merge", '--patch={"spec": {"replicas": 1}}')

    async def is_one() -> bool:
        return await replicas(stage, "scaled") == 1

    await eventually(is_one)
    await kubectl(stage, "scale", "sdd/scaled", "--replicas=2")
    await stage.apply(without_replicas(stage), *FLUX)

    async def is_two() -> bool:
        return await replicas(stage, "scaled") == 2

    await eventually(is_two)
    assert (await stage.rig.kube.get(resource_path(NAMESPACE, "scaled")))["spec"]["replicas"] == 2


async def test_a_deleted_resource_takes_its_children_with_it(stage: Stage) -> None:
    await kubectl(stage, "delete", "sdd/scaled", "--timeout=20s")

    async def is_gone() -> bool:
        left = [child["metadata"]["labels"]["app.kubernetes.io/instance"] for child in await children(stage)]
        return "scaled" not in left

    await eventually(is_gone, seconds=45)


async def at_rest(stage: Stage) -> None:
    """Until everything that follows from the rollback is noted: how large the cache of `Off` is, that nobody asks."""

    async def is_noted() -> bool:
        return any(noted["mode"] == "Off" for noted in (await stage.status()).get("calibration", []))

    await eventually(is_noted, seconds=90)
    await eventually(condition_is(stage, "MetricsAvailable", "True", "NoTraffic"), seconds=60)
    await quiet(stage)


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param((FLUX, ARGO_CD), id="server-side, as Flux and Argo CD"),
        pytest.param((ARGO_CD_CLIENT_SIDE,), id="client-side, as Argo CD by default"),
    ],
)
async def test_applying_the_same_manifest_again_and_again_changes_nothing(stage: Stage, ways: tuple[Way, ...]) -> None:
    """Nothing is written, by the tool or by the operator: it stays the same object. No traffic runs, so that no
    measurement changes.
    """
    body = declared(stage)
    for way in ways:  # each becomes an owner of its fields once; that is the last change
        await stage.apply(body, *way)
    await at_rest(stage)
    before, written, rounds = await stage.resource(), writes(stage), 0
    end = time.monotonic() + REAPPLY_SECONDS / 2
    while time.monotonic() < end:
        await stage.apply(body, *ways[rounds % len(ways)])
        assert await applied_mode_is(stage, "Off")()
        rounds += 1
        await asyncio.sleep(1.0)
    assert await stage.resource() == before, f"after {rounds} rounds"
    assert writes(stage) == written
    assert rounds >= REAPPLY_SECONDS / 10


async def test_a_rolled_back_resource_has_no_diff(stage: Stage) -> None:
    text = yaml.safe_dump(declared(stage))
    assert await kubectl(stage, "diff", *FLUX, "-f", "-", stdin=text) == ""
    assert await kubectl(stage, "diff", *ARGO_CD, "-f", "-", stdin=text) == ""


async def test_a_retry_in_argo_cd_is_tried_once_and_survives_the_next_sync(stage: Stage) -> None:
    await clicked(stage, "retry")
    value = (await stage.resource())["metadata"]["annotations"]["specdecode.io/retry"]
    await stage.apply(declared(stage), *ARGO_CD)
    await eventually(status_has(stage, "acknowledgedRetry", value=value))
    assert (await stage.resource())["metadata"]["annotations"]["specdecode.io/retry"] == value


async def test_kubectl_wait_does_not_take_what_was_true_of_an_older_spec(stage: Stage) -> None:
    await stage.operator.stop()
    await stage.apply(declared(stage, replicas=2), *ARGO_CD)
    with pytest.raises(ProcessError, match="timed out"):
        await kubectl(stage, "wait", f"sdd/{NAME}", "--for=condition=Ready", "--timeout=2s")
    resource = await stage.resource()
    assert compute(resource) == "InProgress"
    assert argocd.health(resource)[0] == "Progressing"


async def test_it_can_be_deleted_while_the_operator_is_gone(stage: Stage) -> None:
    assert not stage.operator.process.is_running
    await kubectl(stage, "delete", f"sdd/{NAME}", "--timeout=20s")

    async def is_gone() -> bool:
        return not await children(stage)

    await eventually(is_gone, seconds=45)


async def test_the_operator_wrote_status_and_nothing_else_of_a_resource(stage: Stage) -> None:
    on_resources = {write for write in writes(stage) if "specdecodedeployments" in write}
    assert on_resources == {"patch specdecodedeployments/status"}
