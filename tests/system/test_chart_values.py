"""What the chart's values do, which are refused and in which words; rendered by the real Helm, without a cluster."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from charts.render import (
    EVERYTHING,
    FULL_NAME,
    NAMESPACE,
    RELEASE,
    Objects,
    annotation,
    container,
    deployment,
    helm,
    kinds,
    one,
    operator_role,
    pod,
    rendered,
)
from charts.values import CHART

from rehearsal.control_plane import ControlPlane
from specdecode.settings import Settings

GOLDEN = Path(__file__).parents[1] / "data" / "chart" / "default.yaml"


async def test_the_operator_understands_what_the_chart_sets(plane: ControlPlane) -> None:
    """Environment and arguments of the rendered container, read by the settings class that will read them."""
    settings = ("watch.namespaces={team-a,team-b}", "logFormat=text", "prometheus.url=https://prom:9090/x")
    found = container(await rendered(plane, *EVERYTHING, *settings))
    variables = {each["name"]: each.get("value", "operator-0") for each in found["env"]}
    with patch.dict(os.environ, variables, clear=True):
        read = Settings()
    assert read.namespaces == ("team-a", "team-b")
    assert str(read.prometheus_url) == "https://prom:9090/x"
    assert read.leader_election
    assert read.pod_monitor
    assert not read.hub
    assert (read.lease_name, read.lease_namespace) == (FULL_NAME, NAMESPACE)
    files = (
        read.prometheus_token_file,
        read.prometheus_ca_file,
        read.prometheus_client_key_file,
        read.models_directory,
    )
    mounts = [Path(mount["mountPath"]) for mount in found["volumeMounts"]]
    assert all(file is not None and any(file.is_relative_to(mount) for mount in mounts) for file in files)
    unknown = {name for name in variables if name.startswith("SPECDECODE_")} - {
        f"SPECDECODE_{field.upper()}" for field in Settings.model_fields
    }
    assert not unknown, "settings that the operator does not have"


async def test_every_setting_of_the_operator_can_be_set(plane: ControlPlane) -> None:
    """By a value, or where there is none by a variable of one's own; but the port, which probes and Service know."""
    basic = ("prometheus.basicAuth.secretName=basic", "prometheus.basicAuth.username=reader")
    renderings = [await rendered(plane, *settings) for settings in (EVERYTHING, basic)]
    by_values = {each["name"] for objects in renderings for each in container(objects)["env"]}
    names = {f"SPECDECODE_{field.upper()}" for field in Settings.model_fields} - by_values - {"SPECDECODE_LISTEN_PORT"}
    own = [f"extraEnv[{number}].name={name}" for number, name in enumerate(sorted(names))]
    by_variables = {each["name"] for each in container(await rendered(plane, *own))["env"]}
    assert names <= by_variables


REFUSED = {
    "replcas=2": "additional properties 'replcas' not allowed",
    "replicas=0": "at '/replicas': minimum: got 0, want 1",
    "shards=3": "shards is 3 and replicas is 1: one replica looks after everything; set replicas to 3, or shards to 1",
    "shards=65": "at '/shards': maximum: got 65, want 64",
    "extraArgs[0]=--shards=2": "which the value shards sets",
    "image.digest=latest": "at '/image/digest'",
    "prometheus.url=prometheus:9090": "at '/prometheus/url'",
    "watch.namespaces={Team_A}": "at '/watch/namespaces/0'",
    "prometheus.basicAuth.password=hunter2": "additional properties 'password' not allowed",
    "prometheus.basicAuth.secretName=basic": "prometheus.basicAuth.username must be set",
    "prometheus.bearerToken.secretName=a,prometheus.basicAuth.secretName=b": "exclude each other",
    "serviceAccount.create=false": "serviceAccount.name must be set",
    "extraEnv[0].name=SPECDECODE_HUB": "extraEnv sets SPECDECODE_HUB, which the chart sets from its values",
    "extraArgs[0]=--prometheus-url=http://other:9090": "which the value prometheus.url sets",
    "extraArgs[0]=--no-hub": "which the value hub.enabled sets",
    "extraArgs[0]=--listen-port=9000": "Service, probes and NetworkPolicy go to port 8080",
    "extraArgs[0]=run": "at '/extraArgs/0'",
    r"podLabels.app\.kubernetes\.io/name=mine": "podLabels has app.kubernetes.io/name",
    "monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true": "would scrape the operator twice",
}


@pytest.mark.parametrize(("setting", "words"), REFUSED.items(), ids=REFUSED.keys())
async def test_a_wrong_value_is_refused_by_name(plane: ControlPlane, setting: str, words: str) -> None:
    said = await helm(plane, "template", RELEASE, str(CHART), f"--set={setting}", check=False)
    assert words in said


EFFECTS = {
    "one replica never runs beside another": ("", lambda o: deployment(o)["strategy"], {"type": "Recreate"}),
    "of several, one stays while another is replaced": (
        "replicas=2",
        lambda o: deployment(o)["strategy"]["rollingUpdate"],
        {"maxSurge": 1, "maxUnavailable": 0},
    ),
    "one replica needs no Lease": ("", lambda o: "Role" in kinds(o), False),
    "several may take one Lease, in the release's namespace": (
        "replicas=2",
        lambda o: (one(o, "Role")["metadata"]["namespace"], one(o, "Role")["rules"][1]["resourceNames"]),
        (NAMESPACE, [FULL_NAME]),
    ),
    "several that share the resources may take a Lease per shard": (
        "replicas=3,shards=2",
        lambda o: (
            one(o, "Role")["rules"][1]["resourceNames"],
            {"name": "SPECDECODE_SHARDS", "value": "2"} in container(o)["env"],
        ),
        ([f"{FULL_NAME}-shard-0", f"{FULL_NAME}-shard-1"], True),
    ),
    "a drain leaves one of several": (
        "replicas=2",
        lambda o: one(o, "PodDisruptionBudget")["spec"]["maxUnavailable"],
        1,
    ),
    "a budget of one replica would block every drain": ("", lambda o: "PodDisruptionBudget" in kinds(o), False),
    "the CRD is kept": ("", annotation, "keep"),
    "unless it is not to be": ("crds.keep=false", annotation, None),
    "a digest wins over a tag": (
        f"image.tag=v1,image.digest=sha256:{'1' * 64}",
        lambda o: container(o)["image"],
        f"ghcr.io/specdecode/specdecode-operator@sha256:{'1' * 64}",
    ),
    "without either it is the chart's version": (
        "",
        lambda o: container(o)["image"],
        "ghcr.io/specdecode/specdecode-operator:0.1.0",
    ),
    "egress is open, so that no rule cuts the operator off": (
        "",
        lambda o: one(o, "NetworkPolicy")["spec"]["policyTypes"],
        ["Ingress"],
    ),
    "egress rules close the rest": (
        "networkPolicy.egress[0].ports[0].port=6443",
        lambda o: one(o, "NetworkPolicy")["spec"]["policyTypes"],
        ["Ingress", "Egress"],
    ),
    "one key of a Secret is mounted, as a whole folder, so that it may rotate": (
        "prometheus.bearerToken.secretName=prom,prometheus.bearerToken.key=jwt",
        lambda o: (pod(o)["volumes"][1]["secret"], "subPath" in container(o)["volumeMounts"][1]),
        ({"secretName": "prom", "items": [{"key": "jwt", "path": "token"}]}, False),
    ),
    "no Secret becomes a variable": (
        "prometheus.bearerToken.secretName=prom",
        lambda o: [each for each in container(o)["env"] if "secretKeyRef" in each.get("valueFrom", {})],
        [],
    ),
    "a right to PodMonitors only where they are applied": (
        "",
        lambda o: [rule for rule in operator_role(o)["rules"] if rule["apiGroups"] == ["monitoring.coreos.com"]],
        [],
    ),
    "an argument of one's own comes last": (
        "extraArgs[0]=--listen-address=::",
        lambda o: container(o)["args"],
        ["run", "--listen-address=::"],
    ),
    "one namespace twice is one": (
        "watch.namespaces={a,a}",
        lambda o: [each["metadata"]["namespace"] for each in o if each["kind"] == "Role"],
        ["a"],
    ),
}


@pytest.mark.parametrize(("setting", "look", "seen"), EFFECTS.values(), ids=EFFECTS.keys())
async def test_a_value_does_what_it_says(
    plane: ControlPlane, setting: str, look: Callable[[Objects], object], seen: object
) -> None:
    assert look(await rendered(plane, *([setting] if setting else []))) == seen


async def test_the_chart_as_it_comes_is_the_one_that_was_looked_at(plane: ControlPlane) -> None:
    """Every object but the CRD, which has tests of its own. A change shows in the diff of this file."""
    text = await helm(plane, "template", RELEASE, str(CHART), "--set=crds.install=false")
    golden = await asyncio.to_thread(GOLDEN.read_text, encoding="utf-8")
    assert list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(golden)), (
        f"run: helm template {RELEASE} {CHART.name} -n {NAMESPACE} --set crds.install=false > {GOLDEN.name}"
    )


async def test_names_of_two_releases_do_not_meet(plane: ControlPlane) -> None:
    texts = [await helm(plane, "template", name, str(CHART), "--set=crds.install=false") for name in ("one", "two")]
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(text) if each} for text in texts
    )
    assert not first & second


async def test_a_pod_that_may_do_nothing_but_its_work(plane: ControlPlane) -> None:
    found = pod(await rendered(plane))
    assert found["securityContext"]["runAsNonRoot"]
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [name for name in found if name.startswith("host")]
    assert all(set(volume) <= {"name", "emptyDir"} for volume in found["volumes"])


async def test_nothing_of_the_chart_looks_like_a_child_of_the_operator(plane: ControlPlane) -> None:
    """It watches by that label; its own Deployment must not be one of those that it looks after."""
    objects = await rendered(plane, *EVERYTHING)
    assert all(each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm" for each in objects)


async def test_a_namespaced_install_has_no_right_elsewhere(plane: ControlPlane) -> None:
    objects = await rendered(plane, "watch.namespaces={team-a,team-b}", "crds.install=false")
    assert not [each for each in objects if each["kind"].startswith("Cluster")]
    assert {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"} == {"team-a", "team-b"}
