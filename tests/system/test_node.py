"""The rehearsal's node runs pods as a kubelet would, judged by what the control plane and kubectl see of it."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from builders import ABSENT, with_overrides

from rehearsal.control_plane import ControlPlane
from rehearsal.node import Node, PodView
from rehearsal.processes import ProcessError

_SERVER = Path(__file__).parents[1] / "data" / "node" / "server.py"
_COMPRESSION = 10.0
_APP = {"app": "engine"}

_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  replicas: 1
  selector: {matchLabels: {app: engine}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: engine}}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.32.0
        command: [python3, -m, vllm.entrypoints.openai.api_server]
        args: [--start-seconds=0.2]
        ports: [{name: http, containerPort: 8000}]
        resources: {limits: {nvidia.com/gpu: "1"}}
        startupProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1, failureThreshold: 30}
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1, failureThreshold: 2}
        livenessProbe: {httpGet: {path: /alive, port: 8000}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 10}}}
        terminationMessagePolicy: FallbackToLogsOnError
"""


@dataclass
class _Stage:
    plane: ControlPlane
    node: Node
    namespace: str

    async def apply(self, container: dict[str, Any] | None = None, **overrides: Any) -> None:
        """Apply the Deployment with changes in its container, and at dotted paths."""
        body = with_overrides(yaml.safe_load(_DEPLOYMENT), overrides)
        body["metadata"]["namespace"] = self.namespace
        pod = body["spec"]["template"]["spec"]
        pod["nodeSelector"] = {"kubernetes.io/hostname": self.node.name}
        with_overrides(pod["containers"][0], container or {})
        await self.plane.apply(yaml.safe_dump(body))

    async def kubectl(self, *words: str) -> str:
        return await self.plane.kubectl(*words, f"--namespace={self.namespace}")

    async def stored(self) -> list[dict[str, Any]]:
        answer = await self.kubectl("get", "pods", "--selector=app=engine", "--output=json")
        return list(json.loads(answer)["items"])

    def views(self) -> list[PodView]:
        return self.node.pods(self.namespace, _APP)

    async def until_ready(self) -> PodView:
        """The one pod, once it is ready for the node and for the API server."""
        async with asyncio.timeout(20):
            while True:
                pods = [pod for pod in await self.stored() if _condition(pod, "Ready") == "True"]
                views = {view.name: view for view in self.views() if view.ready}
                if len(pods) == 1 and (name := pods[0]["metadata"]["name"]) in views:
                    return views[name]
                await asyncio.sleep(0.1)

    async def until(self, holds: Callable[[list[dict[str, Any]]], bool], seconds: float = 20.0) -> list[dict[str, Any]]:
        """The stored pods, once they are so."""
        async with asyncio.timeout(seconds):
            while True:
                if holds(pods := await self.stored()):
                    return pods
                await asyncio.sleep(0.1)

    def events_of(self, pod: str, event: str) -> list[dict[str, Any]]:
        lines = self.node.log_of(self.namespace, pod).splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in said if each["event"] == event]


@asynccontextmanager
async def _stage(plane: ControlPlane, directory: Path, name: str, **options: Any) -> AsyncIterator[_Stage]:
    await plane.kubectl("create", "namespace", name)
    node = Node(
        kubeconfig=plane.kubeconfig,
        name=name,
        programs={"vllm/vllm-openai": [sys.executable, str(_SERVER)]},
        directory=directory,
        compression=_COMPRESSION,
        **options,
    )
    async with node:
        yield _Stage(plane, node, name)
    await plane.kubectl("delete", "namespace", name, "--wait=false")


def _condition(pod: dict[str, Any], kind: str) -> str:
    conditions = pod.get("status", {}).get("conditions", [])
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def _complaints(pods: list[dict[str, Any]]) -> str:
    """What the waiting containers say."""
    waiting = (_container(pod).get("state", {}).get("waiting", {}) for pod in pods)
    return "\n".join(each.get("message", "") for each in waiting)


def _waits_for(reason: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda pods: any(_container(pod).get("state", {}).get("waiting", {}).get("reason") == reason for pod in pods)


def _is_listening(address: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, 8000)) == 0


async def _eventually(holds: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


async def _ask(pod: PodView, path: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        with suppress(httpx.TransportError):
            await client.get(f"http://{pod.ip}:8000/{path}")


async def test_a_deployment_is_scheduled_started_and_ready(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-ready", behaviour=lambda _: tmp_path / "behaviour.json") as stage:
        await stage.apply(
            {"env": [{"name": "HF_HOME", "value": "/models"}]},
            **{"spec.template.spec.automountServiceAccountToken": False},
        )
        view = await stage.until_ready()

        (pod,) = await stage.stored()
        assert pod["spec"]["nodeName"] == stage.node.name
        assert pod["status"]["phase"] == "Running"
        assert pod["status"]["podIP"] == view.ip
        assert view.ip.startswith("127.")
        assert {kind: _condition(pod, kind) for kind in ("PodScheduled", "Initialized", "ContainersReady")} == {
            "PodScheduled": "True",
            "Initialized": "True",
            "ContainersReady": "True",
        }
        assert (view.args, view.labels["app"], view.terminating) == (("--start-seconds=0.2",), "engine", False)
        assert view.started_at is not None
        await stage.kubectl("wait", "--for=condition=Available", "deployment/engine", "--timeout=10s")

        (start,) = stage.events_of(view.name, "starts")
        assert start["arguments"] == ["--start-seconds=0.2"], "the container's command is replaced, its args are not"
        assert (
            start["environment"].items()
            >= {
                "HF_HOME": "/models",
                "HOSTNAME": view.name,
                "REHEARSAL_POD_IP": view.ip,
                "REHEARSAL_BEHAVIOUR": str(tmp_path / "behaviour.json"),
            }.items()
        )
        assert not {"USER", "PWD", "VIRTUAL_ENV", "KUBECONFIG"} & set(start["environment"]), "nothing is inherited"


async def test_a_pod_is_its_service_account_for_as_long_as_it_lives(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-token") as stage:
        await stage.apply()
        view = await stage.until_ready()

        (start,) = stage.events_of(view.name, "starts")
        kubeconfig = Path(start["environment"]["KUBECONFIG"])
        assert "system:serviceaccount:node-token:default" in await plane.kubectl(
            "auth", "whoami", kubeconfig=kubeconfig
        )
        assert view.name in await plane.kubectl("auth", "whoami", "--output=yaml", kubeconfig=kubeconfig)
        with pytest.raises(ProcessError, match="forbidden"):
            await plane.kubectl("get", "pods", kubeconfig=kubeconfig)

        await stage.kubectl("delete", "deployment", "engine")
        await _eventually(lambda: not stage.views(), seconds=10)
        async with asyncio.timeout(30):
            # The API server remembers for some seconds that a token was good.
            while True:
                if "Unauthorized" in await plane.kubectl("auth", "whoami", check=False, kubeconfig=kubeconfig):
                    break
                await asyncio.sleep(0.5)


async def test_readiness_follows_the_probe(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-readiness") as stage:
        await stage.apply()
        view = await stage.until_ready()

        await _ask(view, "503")
        (pod,) = await stage.until(lambda pods: _condition(pods[0], "Ready") == "False", seconds=4)
        assert (_container(pod)["started"], _container(pod)["restartCount"]) == (True, 0)
        assert not any(view.ready for view in stage.views())

        await _ask(view, "200")
        await stage.until(lambda pods: _condition(pods[0], "Ready") == "True", seconds=4)


async def test_a_container_that_fails_its_liveness_probe_is_restarted(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-liveness") as stage:
        await stage.apply({"livenessProbe.httpGet.path": "/health", "lifecycle": ABSENT})
        view = await stage.until_ready()

        await _ask(view, "503")
        await stage.until(lambda pods: _container(pods[0])["restartCount"] == 1, seconds=8)

        again = await stage.until_ready()
        assert again.name == view.name, "the pod stays, its container is a new one"
        assert len(stage.events_of(view.name, "starts")) == 2


async def test_a_container_that_crashes_is_started_again_with_back_off_and_last_words(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with _stage(plane, tmp_path, "node-crash") as stage:
        await stage.apply({"args": ["--fail=3"]})

        (pod,) = await stage.until(_waits_for("CrashLoopBackOff"))

        ended = _container(pod)["lastState"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (3, "Error")
        assert ended["message"].endswith("RuntimeError: the draft has another vocabulary")
        assert "back-off 10s restarting failed container=vllm" in _container(pod)["state"]["waiting"]["message"]
        assert pod["status"]["phase"] == "Running"
        await stage.until(lambda pods: _container(pods[0])["restartCount"] >= 3)


async def test_a_program_that_exits_with_137_ran_out_of_memory(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-oom") as stage:
        await stage.apply()
        view = await stage.until_ready()

        await _ask(view, "exit/137")

        (pod,) = await stage.until(lambda pods: bool(_container(pods[0]).get("lastState")))
        assert _container(pod)["lastState"]["terminated"]["reason"] == "OOMKilled"
        await stage.until_ready()


async def test_a_deleted_pod_pauses_then_gets_sigterm_and_its_gpu_goes_to_the_next(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with _stage(plane, tmp_path, "node-delete") as stage:
        await stage.apply()
        view = await stage.until_ready()
        deleted = time.time()
        await stage.kubectl("delete", "pod", view.name, "--wait=false")

        await _eventually(lambda: any(view.terminating and not view.ready for view in stage.views()), seconds=0.5)
        (leaving,) = (pod for pod in await stage.stored() if pod["metadata"]["name"] == view.name)
        assert _condition(leaving, "Ready") == "False", "not ready while it still serves"
        assert _is_listening(view.ip)

        successor = await stage.until_ready()
        assert successor.name != view.name
        (sigterm,) = stage.events_of(view.name, "sigterm")
        assert 1.0 <= sigterm["at"] - deleted < 2.0, "10 s of pre-stop sleep, ten times shorter"
        (start,) = stage.events_of(successor.name, "starts")
        assert start["at"] > sigterm["at"], "one GPU, one pod"


async def test_a_pod_that_ignores_sigterm_is_killed_at_the_end_of_its_grace_period(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with _stage(plane, tmp_path, "node-grace") as stage:
        await stage.apply({"args": ["--ignore-sigterm"]})
        view = await stage.until_ready()
        deleted = time.time()

        await stage.kubectl("delete", "pod", view.name, "--timeout=10s")

        assert 3.0 <= time.time() - deleted < 5.0, "30 s of grace, the pre-stop sleep included, ten times shorter"
        assert not _is_listening(view.ip)


async def test_a_pod_deleted_by_force_leaves_no_process(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-force") as stage:
        await stage.apply({"args": ["--ignore-sigterm"]})
        view = await stage.until_ready()
        await stage.kubectl("scale", "deployment", "engine", "--replicas=0")
        await stage.kubectl("delete", "pod", view.name, "--grace-period=0", "--force")

        await _eventually(lambda: not _is_listening(view.ip) and not stage.views(), seconds=5)


async def test_a_change_of_the_template_rolls_and_a_gpu_too_many_waits(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-roll") as stage:
        await stage.apply()
        await stage.until_ready()
        await stage.apply({"args": ["--start-seconds=0.1"]})
        await _eventually(lambda: [view.args for view in stage.views()] == [("--start-seconds=0.1",)], seconds=20)
        view = await stage.until_ready()
        await stage.kubectl("scale", "deployment", "engine", "--replicas=2")

        pods = await stage.until(lambda pods: any(_condition(pod, "PodScheduled") == "False" for pod in pods))
        (waiting,) = (pod for pod in pods if pod["metadata"]["name"] != view.name)
        assert "Insufficient nvidia.com/gpu" in json.dumps(waiting["status"])


async def test_what_cannot_start_says_why_and_starts_once_it_can(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-waiting") as stage:
        await stage.apply({"image": "registry.example/other:1"})
        pods = await stage.until(_waits_for("ErrImagePull"))
        assert 'no program stands for image "registry.example/other:1"' in _complaints(pods)
        await stage.until(_waits_for("ImagePullBackOff"))

        token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
        await stage.apply({"env": [token]})
        pods = await stage.until(_waits_for("CreateContainerConfigError"))
        assert 'secret "hf" not found' in _complaints(pods)

        await stage.kubectl("create", "secret", "generic", "hf", "--from-literal=token=hf_secret")
        view = await stage.until_ready()
        (start,) = stage.events_of(view.name, "starts")
        assert start["environment"]["HF_TOKEN"] == "hf_secret"


async def test_a_config_map_is_waited_for_and_its_files_are_where_the_environment_leads(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with _stage(plane, tmp_path, "node-files") as stage:
        volume = {"name": "meter", "configMap": {"name": "engine-meter-1"}}
        mounted = {
            "volumeMounts": [{"name": "meter", "mountPath": "/etc/meter"}],
            "env": [{"name": "PYTHONPATH", "value": "/etc/meter"}],
        }
        await stage.apply(mounted, **{"spec.template.spec.volumes": [volume]})
        pods = await stage.until(lambda pods: "not found" in _complaints(pods))
        assert 'MountVolume.SetUp failed for volume "meter": configmap "engine-meter-1" not found' in _complaints(pods)

        await stage.kubectl("create", "configmap", "engine-meter-1", "--from-literal=meter.py=class Meter: ...")
        view = await stage.until_ready()
        (start,) = stage.events_of(view.name, "starts")
        assert (Path(start["environment"]["PYTHONPATH"]) / "meter.py").read_text() == "class Meter: ..."


async def test_a_pod_with_init_containers_fails_clearly(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path, "node-init") as stage:
        init = [{"name": "init", "image": "vllm/vllm-openai"}]
        await stage.apply(None, **{"spec.template.spec.initContainers": init})

        pods = await stage.until(lambda pods: any(pod["status"]["phase"] == "Failed" for pod in pods))

        await stage.kubectl("delete", "deployment", "engine")
        failed = next(pod["status"] for pod in pods if pod["status"]["phase"] == "Failed")
        assert failed["message"] == "the rehearsal's node does not support init containers"


async def test_nodes_live_side_by_side_and_leave_nothing_behind(plane: ControlPlane, tmp_path: Path) -> None:
    async with _stage(plane, tmp_path / "a", "node-a") as a:
        async with _stage(plane, tmp_path / "b", "node-b", gpus=4, product="NVIDIA-L4", memory_mib=23_034) as b:
            await asyncio.gather(a.apply(), b.apply())
            views = await asyncio.gather(a.until_ready(), b.until_ready())
            assert views[0].ip.rpartition(".")[0] != views[1].ip.rpartition(".")[0]
            node = json.loads(await plane.kubectl("get", "node", "node-b", "--output=json"))
            assert (
                node["metadata"]["labels"].items()
                >= {
                    "nvidia.com/gpu.product": "NVIDIA-L4",
                    "nvidia.com/gpu.memory": "23034",
                    "nvidia.com/gpu.count": "4",
                }.items()
            )
            assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
            assert "taints" not in node["spec"]
        assert "NotFound" in await plane.kubectl("get", "node", "node-b", check=False)
        assert not _is_listening(views[1].ip)
        assert _is_listening(views[0].ip)
