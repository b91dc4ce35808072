"""The rights that the chart gives: enough for all the operator does, not one more, and nothing of what it must not do.

What is used is taken from the API server's audit log, reads included; what is allowed from the rendered roles.
"""

import asyncio
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from builders import body

from rehearsal.chart import RELEASE, Chart, identity
from rehearsal.control_plane import ControlPlane
from rehearsal.operator_process import OperatorProcess
from rehearsal.processes import ProcessError
from specdecode.api.schema import custom_resource_definition
from specdecode.kube import Kube, connect, object_path, resource_path
from specdecode.manifests.meter import meter_digest

NAME = "llama-70b"
OWN, WIDE, ELSEWHERE = "least-privilege", "least-privilege-cluster", "least-privilege-elsewhere"
ASKING = "least-privilege-test"
"""User agent of the requests that must be refused."""
ALL_RIGHTS = {"replicas": 2, "podMonitor": {"enabled": True}}
"""The values that give the operator every right it can have."""
METERED = {"meter": True, "baseline": {"controlReplicas": 1}}

_POD_MONITOR_CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PodMonitor, listKind: PodMonitorList, plural: podmonitors, singular: podmonitor}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""

_PAGE = Path(__file__).parents[2] / "docs" / "security.md"

Right = tuple[str, str, str]
"""Group, resource with its subresource, verb."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prepared(plane: ControlPlane) -> ControlPlane:
    """The control plane with both CRDs."""
    await plane.apply(yaml.safe_dump(custom_resource_definition()))
    # The real one, if another test has installed it.
    if "NotFound" in await plane.kubectl("get", "crd", "podmonitors.monitoring.coreos.com", check=False):
        await plane.apply(_POD_MONITOR_CRD)
    await plane.established()
    return plane


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(prepared: ControlPlane) -> Path:
    """Kubeconfig of the chart's service account, with every right in its own namespace."""
    return await identity(prepared, OWN, {**ALL_RIGHTS, "watch": {"namespaces": [OWN]}})


CORE, RBAC = "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1/namespaces"
RESOURCES = f"/apis/specdecode.io/v1alpha1/namespaces/{OWN}/specdecodedeployments"


@pytest.mark.parametrize(
    ("verb", "thing", "method", "path"),
    [
        pytest.param("get", "secrets", "GET", f"{CORE}/{OWN}/secrets/any", id="read a secret of its own namespace"),
        pytest.param("list", "secrets", "GET", "/api/v1/secrets", id="list secrets"),
        pytest.param("list", "nodes", "GET", "/api/v1/nodes", id="see nodes"),
        pytest.param("list", "namespaces", "GET", "/api/v1/namespaces", id="see namespaces"),
        pytest.param(
            "list",
            "customresourcedefinitions.apiextensions.k8s.io",
            "GET",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            id="see CRDs",
        ),
        pytest.param("list", "pods -n default", "GET", f"{CORE}/default/pods", id="see pods of another namespace"),
        pytest.param("list", "pods -A", "GET", "/api/v1/pods", id="see pods of the cluster"),
        pytest.param(
            "create",
            "deployments.apps -n default",
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            id="run there",
        ),
        pytest.param("create", "pods/exec", "POST", f"{CORE}/{OWN}/pods/any/exec", id="run a command in a pod"),
        pytest.param("get", "pods/log", "GET", f"{CORE}/{OWN}/pods/any/log", id="read logs"),
        pytest.param("create", "pods", "POST", f"{CORE}/{OWN}/pods", id="make bare pods"),
        pytest.param("delete", "pods", "DELETE", f"{CORE}/{OWN}/pods/any", id="delete the pods that it reads"),
        pytest.param(
            "delete", "services", "DELETE", f"{CORE}/{OWN}/services/any", id="delete the Services that it makes"
        ),
        pytest.param(
            "create", "serviceaccounts/token", "POST", f"{CORE}/{OWN}/serviceaccounts/default/token", id="take a token"
        ),
        pytest.param("create", "roles.rbac.authorization.k8s.io", "POST", f"{RBAC}/{OWN}/roles", id="make a role"),
        pytest.param(
            "create", "rolebindings.rbac.authorization.k8s.io", "POST", f"{RBAC}/{OWN}/rolebindings", id="bind itself"
        ),
        pytest.param(
            "patch", "roles.rbac.authorization.k8s.io", "PATCH", f"{RBAC}/{OWN}/roles/{RELEASE}", id="widen its role"
        ),
        pytest.param(
            "patch",
            "specdecodedeployments.specdecode.io",
            "PATCH",
            f"{RESOURCES}/any",
            id="write what people and Git write",
        ),
        pytest.param(
            "delete", "specdecodedeployments.specdecode.io", "DELETE", f"{RESOURCES}/any", id="delete a resource"
        ),
        pytest.param(
            "update",
            "leases.coordination.k8s.io/other",
            "PUT",
            f"/apis/coordination.k8s.io/v1/namespaces/{OWN}/leases/other",
            id="take the Lease of somebody else",
        ),
        pytest.param(
            "update",
            f"leases.coordination.k8s.io/{RELEASE} -n default",
            "PUT",
            f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{RELEASE}",
            id="take a Lease of another namespace",
        ),
    ],
)
async def test_it_may_not(prepared: ControlPlane, own: Path, verb: str, thing: str, method: str, path: str) -> None:
    kind, *where = thing.split()
    resource, _, subresource = kind.partition("/")
    if resource.endswith("coordination.k8s.io"):
        words = [kind]
    else:
        words = [resource, *([f"--subresource={subresource}"] if subresource else [])]
    flags = where or [f"--namespace={OWN}"]
    answer = await prepared.kubectl("auth", "can-i", verb, *words, *flags, check=False, kubeconfig=own)
    assert "no" in answer.splitlines(), answer
    assert (await _asked(prepared, own, method, path)).status_code == 403


async def test_it_may_not_act_as_somebody_else(prepared: ControlPlane, own: Path) -> None:
    answer = await _asked(prepared, own, "GET", f"{CORE}/{OWN}/pods", {"Impersonate-User": "system:admin"})
    assert answer.status_code == 403
    assert "cannot impersonate" in answer.text


async def test_the_same_request_is_answered_where_it_is_allowed(prepared: ControlPlane, own: Path) -> None:
    """The tests above would pass with a token that is good for nothing."""
    assert (await _asked(prepared, own, "GET", f"{CORE}/{OWN}/pods")).status_code == 200


async def _asked(
    plane: ControlPlane, kubeconfig: Path, method: str, path: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    """One request with the token of a kubeconfig."""
    sent = {"Authorization": f"Bearer {_token(kubeconfig)}", "User-Agent": ASKING} | (headers or {})
    if method == "PATCH":
        sent["Content-Type"] = "application/merge-patch+json"
    context = ssl.create_default_context(cafile=plane.ca_file)
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=10.0) as client:
        content = None if method in ("GET", "DELETE") else "{}"
        return await client.request(method, plane.server + path, headers=sent, content=content)


def _token(kubeconfig: Path) -> str:
    (user,) = yaml.safe_load(kubeconfig.read_text())["users"]
    return str(user["user"]["token"])


async def test_without_the_right_to_create_the_apply_that_creates_is_forbidden(prepared: ControlPlane) -> None:
    """The audit log shows such a request as a patch: this is why a patch that created counts as both."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "patcher"}}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]}]
    namespace = "least-privilege-patcher"
    await prepared.kubectl("create", "namespace", namespace)
    await prepared.kubectl("create", "serviceaccount", "patcher", f"--namespace={namespace}")
    role["metadata"] = {"name": "patcher", "namespace": namespace}
    await prepared.apply(yaml.safe_dump({**role, "rules": rules}))
    account = f"--serviceaccount={namespace}:patcher"
    await prepared.kubectl("create", "rolebinding", "patcher", "--role=patcher", account, f"--namespace={namespace}")
    patcher = await prepared.kubeconfig_for(namespace, "patcher")
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "meter", "namespace": namespace}}
    with pytest.raises(ProcessError, match="cannot create resource"):
        await prepared.apply(yaml.safe_dump(wanted), kubeconfig=patcher)


@dataclass(frozen=True)
class _Life:
    """An operator that elects a leader and applies PodMonitors, and a namespace in which it is kept busy."""

    plane: ControlPlane
    kube: Kube
    operator: OperatorProcess
    namespace: str

    async def apply(self, **overrides: Any) -> None:
        wanted = body(**{"metadata.namespace": self.namespace} | overrides)
        del wanted["metadata"]["uid"], wanted["metadata"]["generation"]
        await self.plane.apply(yaml.safe_dump(wanted))

    def path(self, api_version: str, plural: str, name: str = NAME) -> str:
        return object_path(api_version, plural, self.namespace, name)

    async def until(self, path: str, holds: Callable[[dict[str, Any] | None], Any]) -> dict[str, Any]:
        end = asyncio.get_running_loop().time() + 20
        while not holds(found := await self.kube.find(path)):
            assert asyncio.get_running_loop().time() < end, f"{path} is not so: {found}"
            await asyncio.sleep(0.1)
        return found or {}

    async def recreated(self, path: str) -> None:
        """Delete it as a person, and see that the operator brings it back."""
        before = await self.until(path, bool)
        await self.kube.delete(before)
        await self.until(path, lambda found: found and found["metadata"]["uid"] != before["metadata"]["uid"])


async def _lived(life: _Life) -> None:
    """Everything in the life of a resource that makes the operator use a right."""
    deployment, control = (life.path("apps/v1", "deployments", name) for name in (NAME, f"{NAME}-control"))
    meter = life.path("v1", "configmaps", f"{NAME}-meter-{meter_digest()}")
    pod_monitor = life.path("monitoring.coreos.com/v1", "podmonitors")
    await life.apply(**{"spec.guard": METERED, "spec.replicas": 2})
    first = await life.until(deployment, bool)
    for path in (control, meter, pod_monitor):
        await life.until(path, bool)
    # It is deleted, and comes back.
    for path in (life.path("v1", "services"), meter, control, deployment):
        await life.recreated(path)
    # Another model is another template.
    await life.apply(**{"spec.guard": METERED, "spec.replicas": 2, "spec.speculation.numSpeculativeTokens": 3})
    arguments = first["spec"]["template"]["spec"]["containers"][0]["args"]
    await life.until(
        deployment, lambda found: found and found["spec"]["template"]["spec"]["containers"][0]["args"] != arguments
    )
    # A mode without speculation needs no control replica.
    words = ("sdd", NAME, f"--namespace={life.namespace}")
    await life.plane.kubectl("annotate", *words, "specdecode.io/force-mode=Off")
    await life.until(control, lambda found: not found)
    # Nothing mounts the meter, nobody wants it.
    await life.apply(**{"spec.guard": {"meter": False}, "spec.replicas": 0})
    await life.until(meter, lambda found: not found)
    # A lost status, a restart, the end.
    await life.operator.stop()
    await life.operator.start()
    await life.plane.kubectl("delete", *words, "--timeout=10s")
    await life.until(resource_path(life.namespace, NAME), lambda found: not found)


@asynccontextmanager
async def _life(plane: ControlPlane, kubeconfig: Path, home: str, work: str, tmp_path: Path) -> AsyncIterator[_Life]:
    settings = {
        "leader_election": "true",
        "lease_name": RELEASE,
        "lease_namespace": home,
        "identity": "operator-1",
        "pod_monitor": "true",
    }
    watched = "" if home != work else home
    operator = OperatorProcess(tmp_path, kubeconfig, "http://127.0.0.1:9", watched, settings)
    await operator.start()
    try:
        async with connect(str(plane.kubeconfig)) as kube:
            yield _Life(plane, kube, operator, work)
    finally:
        await operator.stop()
        sys.stdout.write(operator.log_tail(30))


def _entries(plane: ControlPlane, home: str) -> list[dict[str, Any]]:
    """What the operator asked of the API server, from its audit log."""
    user = f"system:serviceaccount:{home}:{RELEASE}"
    lines = (line for line in plane.audit_log.read_text().splitlines() if user in line)
    entries = [json.loads(line) for line in lines]
    # The same service account was used to ask for what it may not.
    asked = (entry for entry in entries if not entry.get("userAgent", "").startswith((ASKING, "kubectl")))
    return [entry for entry in asked if entry["user"].get("username") == user]


def _used(entry: dict[str, Any]) -> Iterator[Right]:
    reference = entry["objectRef"]
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    yield reference.get("apiGroup", ""), resource, entry["verb"]
    if entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201:
        yield reference.get("apiGroup", ""), resource, "create"


async def _allowed(plane: ControlPlane, home: str, watched: list[str]) -> set[Right]:
    values = {**ALL_RIGHTS, "watch": {"namespaces": watched}}
    rendered = await Chart(plane, plane.directory / "helm").rendered(home, values, "rbac")
    rules = [rule for each in rendered if each["kind"].endswith("Role") for rule in each["rules"]]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


_ROW = re.compile(r"^\| `([a-z/]+)(?:\.([a-z0-9.]+))?` \| ([a-z, ]+) \|", re.MULTILINE)


async def test_the_page_on_security_lists_the_same_rights(prepared: ControlPlane) -> None:
    listed = {
        (group, resource, verb)
        for resource, group, verbs in _ROW.findall(_PAGE.read_text(encoding="utf-8"))
        for verb in verbs.split(", ")
    }
    assert listed == await _allowed(prepared, OWN, [OWN])


@pytest.mark.parametrize(
    ("home", "work", "watched"),
    [
        pytest.param(OWN, OWN, [OWN], id="in one namespace"),
        pytest.param(WIDE, ELSEWHERE, [], id="in the whole cluster"),
    ],
)
async def test_every_right_is_used_and_none_is_missing(
    prepared: ControlPlane, tmp_path: Path, home: str, work: str, watched: list[str]
) -> None:
    kubeconfig = await identity(prepared, home, {**ALL_RIGHTS, "watch": {"namespaces": watched}})
    await prepared.kubectl("create", "namespace", work, check=False)
    try:
        async with _life(prepared, kubeconfig, home, work, tmp_path) as life:
            await _lived(life)
    finally:
        await prepared.kubectl("delete", "clusterrole,clusterrolebinding", RELEASE, "--ignore-not-found")
    entries = _entries(prepared, home)
    refused = [f"{each['verb']} {each['requestURI']}" for each in entries if each["responseStatus"]["code"] == 403]
    assert not refused
    used = {right for entry in entries if "objectRef" in entry for right in _used(entry)}
    allowed = await _allowed(prepared, home, watched)
    assert used - allowed == set(), "allowed by something else than the chart's roles"
    assert allowed - used == set(), "rights that nothing uses"
