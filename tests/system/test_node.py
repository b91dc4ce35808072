"""The rehearsal's node runs pods as a kubelet would, judged by what the control plane and kubectl see of it."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from builders import with_overrides
from rehearsal.control_plane import ControlPlane
from rehearsal.node import Node, PodView

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
_CONTAINER = "spec.template.spec.containers"


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

    async def until[Found](self, probe: Callable[[], Found], seconds: float = 15.0) -> Found: ...


