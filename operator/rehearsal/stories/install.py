"""The chart is installed, upgraded, uninstalled and installed again by the real helm; a node runs the operator's pod.

What the engines run, and what was decided about them, outlives the operator.
"""

import json
import secrets
from typing import Any

from rehearsal.operator_process import EVALUATION_INTERVAL_SECONDS, SCRAPE_INTERVAL_SECONDS
from rehearsal.stage import NAME, Body, Stage
from rehearsal.stories.common import (
    HEALTHY,
    collapse_and_roll_back,
    condition_is,
    manifest,
    serve,
    told_why,
)
from rehearsal.story import Story
from specdecode.errors import NotFoundError
from specdecode.kube import object_path

SECRET = "prometheus-token"  # noqa: S105 - a name
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/specdecodedeployments.specdecode.io"
STARTED_WITHIN_SECONDS = 45


async def play(stage: Stage) -> None:
    """Install, roll back, upgrade, uninstall, install again."""
    stage.behave(draft=HEALTHY)
    await _install(stage)
    await serve(stage, manifest(stage), mode="Draft", concurrency=6)
    await stage.check("Prometheus saw the token of the Secret, and nothing else", _token_was_good(stage))
    await collapse_and_roll_back(stage)
    await told_why(stage, "AcceptanceCollapsed")
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.check("the operator was forbidden nothing", not stage.forbidden())
    before = await _engines(stage)
    await _upgrade(stage)
    await stage.check("no engine was restarted, no template changed", await _engines(stage) == before)
    await _uninstall(stage)
    await stage.check("no engine was restarted, no template changed", await _engines(stage) == before)
    await _install_again(stage)
    await stage.check("no engine was restarted, no template changed", await _engines(stage) == before)
    await stage.check("no request failed", stage.traffic.failed == 0)
    stage.keep(requests=stage.traffic.ok, failed=stage.traffic.failed, retried=stage.traffic.retried)


def _home(stage: Stage) -> str:
    """The release's namespace; engines are in another one."""
    return f"{stage.namespace}-system"


def _values(stage: Stage, **changes: Any) -> Body:
    return {
        "watch": {"namespaces": [stage.namespace]},
        "prometheus": {
            "url": stage.faults.url,
            "scrapeIntervalSeconds": SCRAPE_INTERVAL_SECONDS,
            "bearerToken": {"secretName": SECRET, "key": "token"},
        },
        "evaluationIntervalSeconds": EVALUATION_INTERVAL_SECONDS,
        "logFormat": "text",
        # Several stories share a cluster; each has a node of its own.
        "nodeSelector": {"kubernetes.io/hostname": stage.node.name},
    } | changes


async def _install(stage: Stage) -> None:
    stage.faults.token = secrets.token_hex()
    stage.say(f"helm install, for the namespace {stage.namespace} alone, with a token for Prometheus from a Secret")
    # The rehearsal has applied the CRD already, as `kubectl apply -f crds/` does.
    await stage.rig.chart.install(_home(stage), _values(stage), "--take-ownership", "--force-conflicts")
    await stage.expect("its pod waits for the Secret, and says so", lambda: _waits_for(stage, SECRET), within=20)
    token = f"--from-literal=token={stage.faults.token}"
    await stage.rig.plane.kubectl("create", "secret", "generic", SECRET, token, f"--namespace={_home(stage)}")
    await stage.expect("the operator is Ready", lambda: _is_available(stage), within=STARTED_WITHIN_SECONDS)


async def _upgrade(stage: Stage) -> None:
    old = {pod.name for pod in stage.operator_pods.pods}
    stage.say("helm upgrade: it shall judge every 4 s instead of every 3 s")
    await stage.rig.chart.upgrade(_home(stage), _values(stage, evaluationIntervalSeconds=4))

    async def is_another() -> bool:
        pods = stage.operator_pods.pods
        return bool(pods) and not old & {pod.name for pod in pods} and await _is_available(stage)

    await stage.expect("another operator is Ready", is_another, within=STARTED_WITHIN_SECONDS)
    await stage.expect("it has judged", lambda: _has_judged(stage), within=30)
    await stage.check("it remembers what was decided", (await stage.status())["rollback"]["to"] == "Off")


async def _uninstall(stage: Stage) -> None:
    stage.say("helm uninstall")
    told = await stage.rig.chart.uninstall(_home(stage))
    await stage.check("helm says that it keeps the CRD", "[CustomResourceDefinition]" in told)
    await stage.expect("the operator is gone", lambda: _is_gone(stage), within=40)
    served = stage.traffic.ok

    async def is_served() -> bool:
        return stage.traffic.ok > served + 20

    await stage.expect("the engines serve on", is_served, within=20)
    await stage.check("CRD and resource are there", await stage.rig.kube.find(CRD) and await stage.resource())


async def _install_again(stage: Stage) -> None:
    at = (await stage.status())["rollback"]["at"]
    stage.say("helm install, once more")
    await stage.rig.chart.install(_home(stage), _values(stage))
    await stage.expect("the operator is Ready", lambda: _is_available(stage), within=STARTED_WITHIN_SECONDS)
    await stage.expect("it has judged", lambda: _has_judged(stage), within=30)
    await stage.check("what was decided stands", (await stage.status())["rollback"]["at"] == at)
    stage.say("somebody deletes the Service")
    service = object_path("v1", "services", stage.namespace, NAME)
    await stage.rig.plane.kubectl("delete", "service", NAME, f"--namespace={stage.namespace}")
    await stage.expect("the operator has adopted all: it is back", lambda: stage.rig.kube.find(service), within=20)


def _token_was_good(stage: Stage) -> bool:
    return stage.faults.requests > 0 and stage.faults.refused == 0


async def _engines(stage: Stage) -> Any:
    """What a restart of an engine or a write to its Deployment would change."""
    deployment = await stage.deployment() or {"metadata": {}}
    metadata = deployment["metadata"]
    pods = [(pod.name, pod.started_at) for pod in stage.pods()]
    return metadata.get("uid"), metadata.get("generation"), metadata.get("annotations"), pods


async def _waits_for(stage: Stage, secret: str) -> bool:
    path = f"/api/v1/namespaces/{_home(stage)}/pods"
    return f'secret \\"{secret}\\" not found' in json.dumps((await stage.rig.kube.get(path))["items"])


async def _is_available(stage: Stage) -> bool:
    path = object_path("apps/v1", "deployments", _home(stage), "specdecode-operator")
    try:
        status = (await stage.rig.kube.get(path))["status"]
    except NotFoundError:
        return False
    return bool(status.get("availableReplicas", 0) == status.get("updatedReplicas", -1) == status.get("replicas"))


async def _has_judged(stage: Stage) -> bool:
    labels = {"namespace": stage.namespace, "name": NAME, "mode": "Off"}
    return await stage.running_operator.metric("specdecode_effective", **labels) == 1


async def _is_gone(stage: Stage) -> bool:
    return not stage.operator_pods.pods


INSTALL = Story(
    "install",
    "the chart is installed, upgraded, uninstalled, installed again: engines and decisions stay",
    play,
    installs_operator=True,
)
