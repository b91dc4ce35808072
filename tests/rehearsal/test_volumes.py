"""ConfigMap volumes of the rehearsal's node: real files below the pod's own root, and a way there."""

from pathlib import Path
from typing import Any

import pytest

from rehearsal.kubelet.launch import CannotStart, Launch, launch
from rehearsal.kubelet.volumes import config_map_mounts, materialised

METER = {"name": "meter", "configMap": {"name": "chat-meter-1"}}
MOUNT = {"name": "meter", "mountPath": "/etc/specdecode/meter", "readOnly": True}
HOME = {"name": "home", "emptyDir": {}}
TEXT = {"chat-meter-1": {"specdecode_meter.py": "class Meter: ...\n"}}


def pod(*volumes: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": list(volumes)}


def container(*mounts: dict[str, Any], **environment: str) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    return {"name": "vllm", "image": "vllm/vllm-openai:v0.32.0", "volumeMounts": list(mounts), "env": variables}


def test_the_files_are_below_the_pod_s_root(tmp_path: Path) -> None:
    mounts = materialised(pod(HOME, METER), container(MOUNT), TEXT, tmp_path)
    assert mounts == {"/etc/specdecode/meter": tmp_path / "etc/specdecode/meter"}
    assert (tmp_path / "etc/specdecode/meter/specdecode_meter.py").read_text() == "class Meter: ...\n"
    assert materialised(pod(HOME, METER), container(MOUNT), TEXT, tmp_path) == mounts, "a restart finds them again"


@pytest.mark.parametrize(
    ("volumes", "mounts", "names"),
    [
        pytest.param([METER, HOME], [MOUNT], ["chat-meter-1"], id="a ConfigMap"),
        pytest.param([HOME], [{"name": "home", "mountPath": "/home/vllm"}], [], id="other kinds are ignored"),
        pytest.param([METER], [], [], id="another container's"),
        pytest.param([], [], [], id="none"),
    ],
)
def test_what_is_mounted(volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], names: list[str]) -> None:
    assert [mount.config_map for mount in config_map_mounts(pod(*volumes), container(*mounts))] == names


def changed(**fields: Any) -> dict[str, Any]:
    return {"name": "meter", "configMap": {"name": "chat-meter-1", **fields}}


@pytest.mark.parametrize(
    ("volume", "mount", "found", "message"),
    [
        pytest.param(METER, MOUNT, {"chat-meter-1": None}, 'configmap "chat-meter-1" not found', id="missing"),
        pytest.param(changed(items=[{"key": "a"}]), MOUNT, TEXT, "does not support items and subPath", id="items"),
        pytest.param(METER, MOUNT | {"subPath": "a"}, TEXT, "does not support items and subPath", id="subPath"),
    ],
)
def test_what_cannot_be_mounted_waits_and_says_why(
    volume: dict[str, Any], mount: dict[str, Any], found: dict[str, Any], message: str, tmp_path: Path
) -> None:
    waits = materialised(pod(volume), container(mount), found, tmp_path)
    assert isinstance(waits, CannotStart)
    assert waits.reason == "ContainerCreating"
    assert waits.message.startswith('MountVolume.SetUp failed for volume "meter": ')
    assert message in waits.message


def test_an_optional_one_that_is_missing_is_an_empty_folder(tmp_path: Path) -> None:
    mounts = materialised(pod(changed(optional=True)), container(MOUNT), {"chat-meter-1": None}, tmp_path)
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
