"""Volumes of the rehearsal's node: real files below the pod's own root, and a way there."""

from pathlib import Path
from typing import Any

import pytest

from rehearsal.kubelet.launch import CannotStart, Launch, launch
from rehearsal.kubelet.volumes import TOKEN_MOUNT, Kind, Source, materialised, mounts_of

METER = {"name": "meter", "configMap": {"name": "chat-meter-1"}}
MOUNT = {"name": "meter", "mountPath": "/etc/specdecode/meter", "readOnly": True}
HOME = {"name": "home", "emptyDir": {}}
METER_SOURCE = Source(Kind.CONFIG_MAP, "chat-meter-1")
FOUND = {METER_SOURCE: {"specdecode_meter.py": "class Meter: ...\n"}}
PASSWORD = {"name": "meter", "secret": {"secretName": "prometheus", "items": [{"key": "password", "path": "word"}]}}
PASSWORD_SOURCE = Source(Kind.SECRET, "prometheus", (("password", "word"),))
API_ACCESS = {
    "name": "kube-api-access",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
    },
}
API_SOURCES = (
    Source(Kind.TOKEN, items=(("token", "token"),), seconds=3607),
    Source(Kind.CONFIG_MAP, "kube-root-ca.crt", (("ca.crt", "ca.crt"),)),
    Source(Kind.FIELDS, items=(("metadata.namespace", "namespace"),)),
)


def pod(*volumes: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": list(volumes)}


def container(*mounts: dict[str, Any], **environment: str) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    return {"name": "vllm", "image": "vllm/vllm-openai:v0.32.0", "volumeMounts": list(mounts), "env": variables}


def test_the_files_are_below_the_pod_s_root(tmp_path: Path) -> None:
    mounts = materialised(pod(HOME, METER), container(MOUNT), FOUND, tmp_path)
    assert mounts == {"/etc/specdecode/meter": tmp_path / "etc/specdecode/meter"}
    assert (tmp_path / "etc/specdecode/meter/specdecode_meter.py").read_text() == "class Meter: ...\n"
    assert materialised(pod(HOME, METER), container(MOUNT), FOUND, tmp_path) == mounts, "a restart finds them again"


def test_the_token_of_a_pod_is_where_its_programs_look_for_it(tmp_path: Path) -> None:
    mount = {"name": "kube-api-access", "mountPath": TOKEN_MOUNT}
    data = (
        {"token": "secret"},
        {"ca.crt": "PEM", "other": "x"},
        {"metadata.namespace": "serving", "metadata.uid": "1"},
    )
    mounts = materialised(pod(API_ACCESS), container(mount), dict(zip(API_SOURCES, data, strict=True)), tmp_path)
    assert not isinstance(mounts, CannotStart)
    files = {path.name: path.read_text() for path in mounts[TOKEN_MOUNT].iterdir()}
    assert files == {"token": "secret", "ca.crt": "PEM", "namespace": "serving"}


def test_of_a_secret_only_the_wanted_keys_are_files(tmp_path: Path) -> None:
    found = {PASSWORD_SOURCE: {"password": "hunter2", "username": "operator"}}
    mounts = materialised(pod(PASSWORD), container(MOUNT), found, tmp_path)
    assert not isinstance(mounts, CannotStart)
    assert [(file.name, file.read_text()) for file in mounts[MOUNT["mountPath"]].iterdir()] == [("word", "hunter2")]


@pytest.mark.parametrize(
    ("volumes", "mounts", "sources"),
    [
        pytest.param([METER, HOME], [MOUNT], [(METER_SOURCE,)], id="a ConfigMap"),
        pytest.param([PASSWORD], [MOUNT], [(PASSWORD_SOURCE,)], id="keys of a secret"),
        pytest.param([API_ACCESS], [{"name": "kube-api-access", "mountPath": "/a"}], [API_SOURCES], id="projected"),
        pytest.param([HOME], [{"name": "home", "mountPath": "/home/vllm"}], [()], id="an empty folder has no source"),
        pytest.param(
            [{"name": "home", "persistentVolumeClaim": {"claimName": "models"}}],
            [{"name": "home", "mountPath": "/models"}],
            [],
            id="other kinds are ignored",
        ),
        pytest.param([METER], [], [], id="another container's"),
        pytest.param([], [], [], id="none"),
    ],
)
def test_what_is_mounted(volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], sources: list[Any]) -> None:
    assert [mount.sources for mount in mounts_of(pod(*volumes), container(*mounts))] == sources


@pytest.mark.parametrize(
    ("volume", "mount", "found", "message"),
    [
        pytest.param(METER, MOUNT, {METER_SOURCE: None}, 'configmap "chat-meter-1" not found', id="no ConfigMap"),
        pytest.param(PASSWORD, MOUNT, {}, 'secret "prometheus" not found', id="no secret"),
        pytest.param(
            PASSWORD,
            MOUNT,
            {PASSWORD_SOURCE: {"username": "operator"}},
            "references non-existent secret key: password",
            id="a secret without the key",
        ),
        pytest.param(METER, MOUNT | {"subPath": "a"}, FOUND, "does not support subPath", id="subPath"),
    ],
)
def test_what_cannot_be_mounted_waits_and_says_why(
    volume: dict[str, Any], mount: dict[str, Any], found: Any, message: str, tmp_path: Path
) -> None:
    waits = materialised(pod(volume), container(mount), found, tmp_path)
    assert isinstance(waits, CannotStart)
    assert waits.reason == "ContainerCreating"
    assert waits.message.startswith('MountVolume.SetUp failed for volume "meter": ')
    assert message in waits.message


@pytest.mark.parametrize(
    ("source", "data"),
    [
        pytest.param({"name": "chat-meter-1"}, None, id="no such ConfigMap"),
        pytest.param({"name": "chat-meter-1", "items": [{"key": "a", "path": "a"}]}, {"b": "x"}, id="no such key"),
    ],
)
def test_an_optional_one_that_is_missing_is_an_empty_folder(source: Any, data: Any, tmp_path: Path) -> None:
    volumes = pod({"name": "meter", "configMap": {**source, "optional": True}})
    (mount,) = mounts_of(volumes, container(MOUNT))
    mounts = materialised(volumes, container(MOUNT), {mount.sources[0]: data}, tmp_path)
    assert not isinstance(mounts, CannotStart)
    assert list(mounts["/etc/specdecode/meter"].iterdir()) == []


@pytest.mark.parametrize(
    ("value", "leads_to"),
    [
        pytest.param("/etc/specdecode/meter", "/pod/etc/specdecode/meter", id="the path itself"),
        pytest.param("/etc/specdecode/meter/a.py", "/pod/etc/specdecode/meter/a.py", id="a file in it"),
        pytest.param("/etc/specdecode/meter:/opt", "/pod/etc/specdecode/meter:/opt", id="the first of a list"),
        pytest.param("/etc/specdecode/meters", "/etc/specdecode/meters", id="another folder"),
        pytest.param("/models", "/models", id="a volume that is not mounted"),
    ],
)
def test_values_that_begin_with_a_mount_path_lead_there(value: str, leads_to: str) -> None:
    started = launch(
        container(MOUNT, PYTHONPATH=value),
        programs={"vllm/": ["engine"]},
        secrets={},
        root=Path("/pod"),
        rehearsal={},
        mounts={"/etc/specdecode/meter": Path("/pod/etc/specdecode/meter")},
    )
    assert isinstance(started, Launch)
    assert started.environment["PYTHONPATH"] == leads_to
