"""Every example on the real API server, with the operator: accepted, planned, and become what it promises.

Pods are not needed for that, and none runs: no node has these GPUs. All examples are applied at once, to one operator.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from upgrade.releases import newest, resources_in, templates

from rehearsal.chart import identity
from rehearsal.control_plane import ControlPlane
from rehearsal.operator_process import OperatorProcess
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import Kube, connect, object_path, resource_path

NAMESPACE = "examples"
FILES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
REFUSED = frozenset({"h100-bf16"})
"""What is there to show a refusal: 70B and 8B in BF16 on two H100."""
_WITHIN_SECONDS = 45


def bodies() -> list[Any]:
    """Every resource of every example, under a name of its own, in one namespace."""
    found = []
    for path in FILES:
        for number, resource in enumerate(resources_in(path)):
            name = f"{path.stem}{number or ''}-{path.parent.name}"[:45].rstrip("-")
            renamed = {**resource, "metadata": {**resource["metadata"], "name": name, "namespace": NAMESPACE}}
            found.append(pytest.param(renamed, path.stem, id=str(path.relative_to(FILES[0].parents[0]))[:-5]))
    return found


class Reconciled:
    """The namespace in which all examples were applied."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def condition(self, name: str, kind: str) -> dict[str, Any]:
        """The condition, as soon as the operator has written it."""
        async with asyncio.timeout(_WITHIN_SECONDS):
            while True:
                status = (await self._kube.get(resource_path(NAMESPACE, name))).get("status", {})
                found = [each for each in status.get("conditions", []) if each["type"] == kind]
                if found:
                    return dict(found[0])
                await asyncio.sleep(0.2)

    async def find(self, api_version: str, plural: str, name: str) -> dict[str, Any] | None:
        """A child, once it is there; None when it does not come."""
        for _ in range(50):
            found = await self._kube.find(object_path(api_version, plural, NAMESPACE, name))
            if found is not None:
                return found
            await asyncio.sleep(0.2)
        return None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reconciled(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reconciled]:
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    await plane.established()
    kubeconfig = await identity(plane, NAMESPACE)
    operator = OperatorProcess(tmp_path_factory.mktemp("operator"), kubeconfig, "http://127.0.0.1:9", NAMESPACE)
    resources = [param.values[0] for param in bodies()]
    # kubectl refuses what the schema does not know before the server prunes it.
    await plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(resources))
    await operator.start()
    try:
        async with connect(str(plane.kubeconfig)) as kube:
            yield Reconciled(kube)
    finally:
        await operator.stop()
        sys.stdout.write(operator.process.log_tail(30))


@pytest.mark.parametrize(("resource", "story"), bodies())
async def test_an_example_is_planned_and_becomes_what_it_promises(
    reconciled: Reconciled, resource: dict[str, Any], story: str
) -> None:
    name = resource["metadata"]["name"]
    planned = await reconciled.condition(name, "Planned")
    if story in REFUSED:
        assert (planned["status"], planned["reason"]) == ("False", "DoesNotFit")
        assert "short by" in planned["message"]
        assert "would fit:" in planned["message"]
        return
    assert (planned["status"], planned["reason"]) == ("True", "Fits"), planned["message"]
    deployment = await reconciled.find("apps/v1", "deployments", name)
    assert deployment is not None
    assert await reconciled.find("v1", "services", name) is not None
    mode = deployment["metadata"]["annotations"]["specdecode.io/mode"]
    offline = templates(resource)[f"{mode}/main"]["template"]["spec"]["containers"][0]["args"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == offline, (
        "what `render` shows is what runs"
    )
    asked = resource["spec"].get("replicas")
    managed = [entry for entry in deployment["metadata"]["managedFields"] if entry["manager"] == "specdecode-operator"]
    owns_replicas = any("f:replicas" in entry["fieldsV1"]["f:spec"] for entry in managed)
    assert owns_replicas is (asked is not None), "replicas belong to an autoscaler where the spec has none"


async def test_objects_stored_under_the_released_crd_stay_valid(plane: ControlPlane) -> None:
    """The released CRD, a resource of that release, the new CRD: it is read, and can be written as it is."""
    await plane.kubectl("create", "namespace", "stored")
    released = yaml.safe_load((newest() / "crd.yaml").read_text(encoding="utf-8"))
    force = ("apply", "--server-side", "--force-conflicts", "--field-manager=rehearsal", "-f", "-")
    await plane.kubectl(*force, stdin=yaml.safe_dump(released))
    (resource,) = resources_in(newest() / "resources" / "llama-70b-h100.yaml")
    stored = {**resource, "metadata": {"name": "stored", "namespace": "stored"}}
    await plane.apply(yaml.safe_dump(stored))
    await plane.kubectl(*force, stdin=yaml.safe_dump(custom_resource_definition()))
    await plane.kubectl("annotate", "sdd", "stored", "--namespace=stored", "touched=1")
    read = yaml.safe_load(await plane.kubectl("get", "sdd", "stored", "--namespace=stored", "--output=yaml"))
    assert read["spec"]["speculation"] == {**read["spec"]["speculation"], **resource["spec"]["speculation"]}
    await plane.kubectl("delete", "namespace", "stored", "--wait=false")
