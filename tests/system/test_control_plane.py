"""The control plane of the rehearsal is a real one, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.binaries import Binaries
from rehearsal.control_plane import READS_AUDITED, ControlPlane
from rehearsal.processes import Process, ProcessError

_COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

_READER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: rbac}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: reader, namespace: rbac}]
"""

_NODE = """
apiVersion: v1
kind: Node
metadata: {name: gpu-node, labels: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}}
"""

_NODE_STATUS = {
    "status": {
        "capacity": {"nvidia.com/gpu": "2", "cpu": "64", "memory": "512Gi", "pods": "110"},
        "allocatable": {"nvidia.com/gpu": "2", "cpu": "64", "memory": "512Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
}

_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine, namespace: scheduling}
spec:
  replicas: 1
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}}
    spec:
      containers: [{name: engine, image: "vllm", resources: {limits: {nvidia.com/gpu: "2"}}}]
"""


async def _until(plane: ControlPlane, *query: str, expected: str, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if (await plane.kubectl(*query, check=False)).strip() == expected:
                return
            await asyncio.sleep(0.2)


def _pids(plane: ControlPlane) -> list[int]:
    return [process.pid for process in plane.processes.values() if process.pid is not None]


def _writes(plane: ControlPlane) -> list[dict[str, Any]]:
    return [json.loads(line) for line in plane.audit_log.read_text().splitlines()]


async def test_the_server_reports_a_version_that_clients_can_parse(plane: ControlPlane) -> None:
    version = json.loads(await plane.kubectl("version", "--output=json"))["serverVersion"]

    assert (int(version["major"]), int(version["minor"].rstrip("+"))) >= (1, 29)


async def test_a_service_account_may_only_do_what_a_binding_allows(plane: ControlPlane) -> None:
    await plane.kubectl("create", "namespace", "rbac")
    await plane.kubectl("create", "serviceaccount", "reader", "--namespace=rbac")
    reader = await plane.kubeconfig_for("rbac", "reader")

    assert "rbac:reader" in await plane.kubectl("auth", "whoami", kubeconfig=reader)
    with pytest.raises(ProcessError, match="forbidden"):
        await plane.kubectl("get", "pods", kubeconfig=reader)

    await plane.apply(_READER)
    await _until(plane, "auth", "can-i", "list", "pods", "--namespace=rbac", f"--kubeconfig={reader}", expected="yes")
    with pytest.raises(ProcessError, match="forbidden"):
        await plane.kubectl("create", "configmap", "mine", kubeconfig=reader)
    assert yaml.safe_load(reader.read_text())["contexts"][0]["context"]["namespace"] == "rbac"


async def test_the_audit_log_says_who_wrote_what_and_reads_only_where_they_are_wanted(plane: ControlPlane) -> None:
    await plane.kubectl("create", "namespace", "audited")
    await plane.kubectl("get", "namespaces")

    writes = _writes(plane)
    mine = [
        write["user"].get("username")
        for write in writes
        if write["verb"] == "create" and write["objectRef"].get("name") == "audited"
    ]
    assert mine == ["rehearsal-admin"]
    reads = [write for write in writes if write["verb"] in ("get", "list", "watch")]
    audited = tuple(f"system:serviceaccount:{namespace}:" for namespace in READS_AUDITED)
    assert [read for read in reads if not read["user"].get("username", "").startswith(audited)] == []


async def test_controllers_and_scheduler_work(plane: ControlPlane) -> None:
    await plane.kubectl("create", "namespace", "scheduling")
    await plane.apply(_NODE)
    await plane.kubectl(
        "patch", "node", "gpu-node", "--subresource=status", "--type=merge", f"--patch={json.dumps(_NODE_STATUS)}"
    )
    assert "taints" not in await plane.kubectl("get", "node", "gpu-node", "--output=yaml")
    await plane.apply(_DEPLOYMENT)
    pods = ("get", "pods", "--namespace=scheduling", "--output=jsonpath={.items[*].spec.nodeName}")

    await _until(plane, *pods, expected="gpu-node")

    await plane.kubectl("delete", "deployment", "engine", "--namespace=scheduling")
    await plane.kubectl("delete", "pods", "--all", "--namespace=scheduling", "--grace-period=0", "--force")
    await _until(plane, "get", "replicasets", "--namespace=scheduling", "--output=name", expected="")
    await _until(plane, *pods, expected="")
    await plane.kubectl("delete", "node", "gpu-node")


async def test_the_api_server_comes_back_after_a_kill_with_all_it_knew(plane: ControlPlane) -> None:
    await plane.kubectl("create", "namespace", "kept")
    server = plane.processes["kube-apiserver"]

    server.kill()
    assert await server.wait() == -signal.SIGKILL
    with pytest.raises(ProcessError, match="refused"):
        await plane.kubectl("get", "namespace", "kept")
    await server.start()
    await plane.wait_ready()

    assert "kept" in await plane.kubectl("get", "namespace", "kept")


async def test_two_planes_side_by_side_and_nothing_left_of_the_second(
    plane: ControlPlane, binaries: Binaries, tmp_path: Path
) -> None:
    said: list[str] = []
    started = time.monotonic()
    async with ControlPlane(binaries, tmp_path, said.append) as second:
        start_seconds = time.monotonic() - started
        assert set(second.processes) == _COMPONENTS
        await second.kubectl("create", "namespace", "second")
        pids = _pids(second)
        assert "second" not in await plane.kubectl("get", "namespaces")

    assert not [pid for pid in pids if _lives(pid)]
    assert not [process.name for process in second.processes.values() if process.is_running]
    assert "ready at https://127.0.0.1:" in said[-1]
    assert start_seconds < 30


async def test_an_exception_inside_ends_everything_too(binaries: Binaries, tmp_path: Path) -> None:
    pids: list[int] = []

    async def story() -> None:
        async with ControlPlane(binaries, tmp_path, print) as plane:
            pids.extend(_pids(plane))
            raise KeyError("the story failed")

    with pytest.raises(KeyError, match="the story failed"):
        await story()
    assert len(pids) == len(_COMPONENTS)
    assert not [pid for pid in pids if _lives(pid)]


async def test_a_component_that_cannot_start_says_why(binaries: Binaries, tmp_path: Path) -> None:
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho 'no such flag'\nexit 3\n")
    broken.chmod(0o755)
    plane = ControlPlane(Binaries(**{**vars(binaries), "kube_apiserver": broken}), tmp_path / "plane", print)

    with pytest.raises(ProcessError, match=r"kube-apiserver ended with 3:\nno such flag"):
        await plane.__aenter__()

    assert not [pid for pid in _pids(plane) if _lives(pid)]


_REHEARSAL = """
import asyncio, pathlib, sys
from rehearsal.processes import Process
async def main():
    child = Process("child", ["sleep", "600"], log=pathlib.Path(sys.argv[1]))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_children_die_with_a_rehearsal_that_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    rehearsal = Process(
        "rehearsal",
        [sys.executable, "-c", _REHEARSAL, tmp_path / "log"],
        log=output,
        environment={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    await rehearsal.start()
    while not output.read_text():
        assert rehearsal.is_running
        await asyncio.sleep(0.05)
    child = int(output.read_text())
    assert _lives(child)
    assert rehearsal.pid is not None

    os.kill(rehearsal.pid, signal.SIGKILL)
    await rehearsal.wait()

    for _ in range(100):
        if not _lives(child):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the child outlived its rehearsal")


def _lives(pid: int) -> bool:
    """A dead orphan stays a zombie in a container without an init process: that is no life."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
