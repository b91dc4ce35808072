"""A real Prometheus finds the operator's pods, and only those, through the API server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from rehearsal.control_plane import ControlPlane
from rehearsal.faults import FaultProxy
from rehearsal.prometheus import ENGINE_PORT, Prometheus, PrometheusQueryError

_ADDRESS = "127.88.0.1"

_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: scraped
  labels: {{app.kubernetes.io/managed-by: {manager}, specdecode.io/deployment: llama, specdecode.io/mode: Draft}}
spec:
  nodeName: nowhere-yet
  containers:
  - {{name: vllm, image: vllm, ports: [{{containerPort: 8000, name: http}}, {{containerPort: 9000, name: other}}]}}
"""

_NODE = """
apiVersion: v1
kind: Node
metadata: {name: nowhere-yet}
"""


@asynccontextmanager
async def _engine(address: str) -> AsyncIterator[None]:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3\n")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, ENGINE_PORT).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _run_pod(plane: ControlPlane, name: str, manager: str, phase: str, address: str) -> None:
    await plane.apply(_POD.format(name=name, manager=manager))
    status = json.dumps({"status": {"phase": phase, "podIP": address, "podIPs": [{"ip": address}]}})
    await plane.kubectl(
        "patch", "pod", name, "--namespace=scraped", "--subresource=status", "--type=merge", f"--patch={status}"
    )


async def _series(prometheus: Prometheus, promql: str, count: int) -> list[dict[str, str]]:
    """The labels of a query's series once there are as many as expected."""
    async with asyncio.timeout(20):
        while True:
            series = await prometheus.query(promql)
            if len(series) == count:
                return [each["metric"] for each in series]
            await asyncio.sleep(0.2)


async def test_running_pods_of_the_operator_are_scraped_with_their_labels(plane: ControlPlane, tmp_path: Path) -> None:
    await plane.kubectl("create", "namespace", "scraped")
    await plane.apply(_NODE)
    await _run_pod(plane, "llama-0", "specdecode-operator", "Running", _ADDRESS)
    await _run_pod(plane, "llama-1", "specdecode-operator", "Pending", "127.88.0.2")
    await _run_pod(plane, "foreign", "somebody-else", "Running", "127.88.0.3")
    prometheus = Prometheus(plane.binaries, tmp_path, plane.kubeconfig, "scraped", scrape_interval_seconds=0.5)

    async with _engine(_ADDRESS), prometheus, FaultProxy(prometheus.url) as proxy:
        (labels,) = await _series(prometheus, "vllm:num_requests_running", 1)
        assert labels == {
            "__name__": "vllm:num_requests_running",
            "instance": f"{_ADDRESS}:{ENGINE_PORT}",
            "job": "vllm",
            "namespace": "scraped",
            "pod": "llama-0",
            "specdecode_io_deployment": "llama",
            "specdecode_io_mode": "Draft",
        }
        assert len(await prometheus.query("up")) == 1, "two container ports are one target"
        with pytest.raises(PrometheusQueryError, match="parse error"):
            await prometheus.query("sum(")

        proxy.mode = "nan"
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = (await client.post(f"{proxy.url}/api/v1/query", data={"query": "up"})).json()
        assert [series["value"][1] for series in answer["data"]["result"]] == ["NaN"]

        await prometheus.kill()
        await prometheus.start()
        assert await prometheus.query("vllm:num_requests_running"), "it still knows what it measured before"
        # Until the first scrape of the new process, what was measured before looks current for five minutes.
        await _series(prometheus, f"timestamp(up) > {time.time()}", 1)
        await plane.kubectl("delete", "pod", "llama-0", "--namespace=scraped", "--grace-period=0", "--force")
        await _series(prometheus, "up", 0)
    assert not prometheus.process.is_running
    await plane.kubectl("delete", "node", "nowhere-yet")
