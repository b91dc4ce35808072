"""The real API server's verdict on the CRD, on every good and bad resource, and on the objects that are built."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from api.cases import BAD, GOOD, Case
from api.samples import STATUS
from builders import body

from rehearsal.control_plane import ControlPlane
from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.api.schema import custom_resource_definition
from specdecode.drift import covers

NAMESPACE = "api-server"
COLLECTION = f"/apis/specdecode.io/v1alpha1/namespaces/{NAMESPACE}/specdecodedeployments"
STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
APPLY = {"fieldManager": "specdecode-operator", "force": "true", "fieldValidation": "Strict"}
OBJECTS = Path(__file__).parents[1] / "data" / "manifests"
PATHS = {
    "Deployment": f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
    "Service": f"/api/v1/namespaces/{NAMESPACE}/services",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    """The API as its administrator, with the CRD and a namespace."""
    crd = json.dumps(custom_resource_definition())
    await plane.kubectl("apply", "--server-side", "-f", "-", stdin=crd)
    await plane.established()
    await plane.kubectl("create", "namespace", NAMESPACE)
    credentials = ssl.create_default_context(cafile=plane.ca_file)
    credentials.load_cert_chain(plane._pki("admin.crt"), plane._pki("admin.key"))
    async with httpx.AsyncClient(base_url=plane.server, verify=credentials, trust_env=False, timeout=10.0) as client:
        yield client


def placed(name: str) -> dict[str, Any]:
    """The good body, in the namespace of these tests and never stored before."""
    return body(metadata={"name": name, "namespace": NAMESPACE})


async def create(api: httpx.AsyncClient, resource: dict[str, Any]) -> httpx.Response:
    """Ask for the verdict on a resource; nothing is stored."""
    resource["metadata"]["namespace"] = NAMESPACE
    return await api.post(COLLECTION, params=STRICT, json=resource)


async def apply(api: httpx.AsyncClient, path: str, wanted: dict[str, Any]) -> httpx.Response:
    content, kind = json.dumps(wanted), {"Content-Type": "application/apply-patch+yaml"}
    return await api.patch(path, params=APPLY, content=content, headers=kind)


def status_of(resource: dict[str, Any]) -> dict[str, Any]:
    """The body that writes the full status of a resource."""
    return {key: resource[key] for key in ("apiVersion", "kind", "metadata")} | {"status": STATUS}


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.sentence)
async def test_good(api: httpx.AsyncClient, case: Case) -> None:
    answer = await create(api, case.body())
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.sentence)
async def test_defaults_of_the_server_do_not_change_the_spec_hash(api: httpx.AsyncClient, case: Case) -> None:
    written, stored = parse(case.body()), parse((await create(api, case.body())).json())
    assert isinstance(written, SpecDecodeDeployment)
    assert isinstance(stored, SpecDecodeDeployment)
    assert written.spec_hash == stored.spec_hash


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.sentence)
async def test_bad(api: httpx.AsyncClient, case: Case) -> None:
    answer = await create(api, case.body())
    assert answer.status_code in (400, 422), answer.text
    message = answer.json()["message"]
    for words in case.server_says:
        assert words in message
    # What the server adds when a rule fails to evaluate instead of answering.
    assert "evaluating rule" not in message


@pytest.mark.usefixtures("api")
async def test_explain_shows_the_texts_of_the_types(plane: ControlPlane, tmp_path: Path) -> None:
    # A cache of its own: explain trusts a list of resources that kubectl kept from before the CRD.
    text = await plane.kubectl("explain", "sdd.spec.speculation", "--cache-dir", tmp_path)
    assert "Omitted: plain vLLM, still planned and watched." in text
    assert "Tokens proposed per step." in text


async def test_columns_are_those_that_the_design_promises(api: httpx.AsyncClient, plane: ControlPlane) -> None:
    resource = placed("columns")
    assert (await apply(api, f"{COLLECTION}/columns", resource)).status_code == 201
    answer = await apply(api, f"{COLLECTION}/columns/status", status_of(resource))
    assert answer.status_code == 200, answer.text
    header, row = (await plane.kubectl("get", "sdd", "columns", "-n", NAMESPACE, "-o", "wide")).splitlines()
    assert header.split()[1:] == [
        "MODEL", "MODE", "SPECULATING", "REASON", "READY", "AGE", "ACCEPTANCE", "SPEEDUP", "KV-TOKENS"
    ]  # fmt: skip
    assert row.split()[1:6] == ["meta-llama/Llama-3.1-70B-Instruct", "NGram", "False", "RolledBack", "True"]


async def test_the_status_that_is_written_is_the_status_that_is_stored(api: httpx.AsyncClient) -> None:
    resource = placed("status")
    assert (await apply(api, f"{COLLECTION}/status", resource)).status_code == 201
    answer = await apply(api, f"{COLLECTION}/status/status", status_of(resource))
    assert answer.json()["status"] == STATUS


async def test_the_resource_can_be_scaled(api: httpx.AsyncClient, plane: ControlPlane) -> None:
    assert (await apply(api, f"{COLLECTION}/scaled", placed("scaled"))).status_code == 201
    await plane.kubectl("scale", "sdd/scaled", "--replicas=5", "-n", NAMESPACE)
    assert (await api.get(f"{COLLECTION}/scaled")).json()["spec"]["replicas"] == 5


@pytest.mark.parametrize("case", sorted(path.name for path in OBJECTS.iterdir()))
async def test_objects_are_valid_and_stored_as_written(api: httpx.AsyncClient, case: str) -> None:
    """A converged object costs no write only when the server stores what was sent."""
    # The owner must exist: the garbage collector takes away what belongs to nobody, between the two writes perhaps.
    owner = yaml.safe_load((OBJECTS / case / "resource.yaml").read_text())
    owner["metadata"] = {"name": owner["metadata"]["name"], "namespace": NAMESPACE}
    owner_path = f"{COLLECTION}/{owner['metadata']['name']}"
    stored_owner = await apply(api, owner_path, owner)
    assert stored_owner.is_success, stored_owner.text
    for wanted in yaml.safe_load_all((OBJECTS / case / "expected.yaml").read_text()):
        if wanted["kind"] not in PATHS:
            continue
        wanted["metadata"]["namespace"] = NAMESPACE
        for reference in wanted["metadata"].get("ownerReferences", ()):
            reference["uid"] = stored_owner.json()["metadata"]["uid"]
        path = f"{PATHS[wanted['kind']]}/{wanted['metadata']['name']}"
        first = await apply(api, path, wanted)
        assert first.status_code in (200, 201), first.text
        assert covers(first.json(), wanted)
        second = await apply(api, path, wanted)
        assert second.json()["spec"] == first.json()["spec"]
        assert second.json()["metadata"].get("generation") == first.json()["metadata"].get("generation")
        await api.delete(path)
    await api.delete(owner_path)
