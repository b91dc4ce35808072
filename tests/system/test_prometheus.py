"""A real Prometheus finds the operator's pods, and only those, through the API server; what it scraped is measured."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from rehearsal.control_plane import ControlPlane
from rehearsal.faults import FaultProxy
from rehearsal.prometheus import ENGINE_PORT, Prometheus, PrometheusQueryError
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability, Measurement
from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.glance import Limit
from specdecode.observe.measure import Observer
from specdecode.observe.prometheus import PrometheusClient
from specdecode.observe.subject import Key, Subject

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
async def _engine(
    address: str, metrics_text: Callable[[], str] = lambda: "vllm:num_requests_running 3\n"
) -> AsyncIterator[None]:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=metrics_text())

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


_COUNTED_PER_SECOND = {
    "vllm:spec_decode_num_drafts_total": 100.0,
    "vllm:spec_decode_num_draft_tokens_total": 300.0,
    "vllm:spec_decode_num_accepted_tokens_total": 150.0,
    "vllm:generation_tokens_total": 250.0,
    'vllm:request_success_total{finished_reason="stop"}': 15.0,
    'vllm:request_success_total{finished_reason="length"}': 5.0,
    "vllm:inter_token_latency_seconds_sum": 1.0,
    "vllm:inter_token_latency_seconds_count": 100.0,
    "vllm:request_time_per_output_token_seconds_sum": 0.2,
    "vllm:request_time_per_output_token_seconds_count": 20.0,
    'vllm:request_time_per_output_token_seconds_bucket{le="0.01"}': 15.0,
    'vllm:request_time_per_output_token_seconds_bucket{le="+Inf"}': 20.0,
}


class _Counting:
    """What an engine with two ranks (data parallel) exposes: each counts half."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def restart(self) -> None:
        self.started = time.monotonic()

    def __call__(self) -> str:
        seconds = time.monotonic() - self.started
        lines = []
        for rank in (0, 1):
            lines.append(f'vllm:num_requests_running{{engine="{rank}"}} 4')
            for name, rate in _COUNTED_PER_SECOND.items():
                base, _, more = name.partition("{")
                place = f'{{engine="{rank}",{more}' if more else f'{{engine="{rank}"}}'
                lines.append(f"{base}{place} {rate * seconds / 2:.6f}")
        return "\n".join(lines) + "\n"


async def _tick(observer: Observer, subject: Subject) -> Mapping[Key, Measurement]:
    return await observer.tick((subject,), datetime.fromtimestamp(time.time(), UTC))


async def _ticks(observer: Observer, subject: Subject, seconds: float) -> Measurement:
    """Ticks twice a second for some time; the last measurement."""
    found, end = await _tick(observer, subject), time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        found = await _tick(observer, subject)
        assert observer.problem == ""
    return found[subject.key]


def _is_all_there(found: Measurement) -> bool:
    """Whether nothing is missing. Acceptance, means and load are what the engine counts, whatever happened to it."""
    slow = found.slow
    assert found.availability is Availability.MEASURED, found.cause
    assert slow is not None
    assert slow.tpot is not None
    spanned = sum(batch.seconds for batch in found.batches)
    assert slow.acceptance_length == pytest.approx(2.5, rel=1e-4)
    assert slow.step_seconds == pytest.approx(0.01, rel=1e-4)
    assert slow.tpot.mean_seconds == pytest.approx(0.01, rel=1e-4)
    assert [bound for bound, _ in slow.tpot.buckets] == [0.01, float("inf")]
    assert slow.running_requests == 8
    assert slow.requests <= 20 * spanned * 1.1, "nothing is invented"
    return slow.requests >= 20 * spanned * 0.9


async def _is_glanced_at(observer: Observer, names: MetricNames) -> None:
    """What one request says of every deployment at once is what close looks say."""
    assert names.tpot is not None
    now = time.time()
    limits = [Limit(names.tpot, 0.01), Limit(names.ttft, 1.0)]
    found = await observer.glance((names,), limits, datetime.fromtimestamp(now, UTC))
    assert found is not None
    glance = found["measured", "llama", "Draft"]
    assert glance.acceptance_length == pytest.approx(2.5, rel=1e-3)
    assert glance.tpot_seconds == pytest.approx(0.01, rel=1e-3)
    assert (glance.running_requests, glance.pods_up) == (8, 1)
    assert glance.over == pytest.approx(0.25, rel=1e-3), "of the requests, and the engine has no other histogram"
    assert abs(now - glance.scraped_at) < 3


async def test_what_was_scraped_is_measured_and_read_again_after_a_restart(plane: ControlPlane, tmp_path: Path) -> None:
    address, counting, begin = "127.88.0.4", _Counting(), time.time()
    await plane.kubectl("create", "namespace", "measured")
    await plane.apply(_NODE)
    pod = _POD.format(name="llama-0", manager="specdecode-operator").replace(
        "namespace: scraped", "namespace: measured"
    )
    await plane.apply(pod.replace("specdecode.io/mode: Draft", "specdecode.io/mode: Draft, specdecode.io/arm: main"))
    status = json.dumps({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}})
    await plane.kubectl(
        "patch", "pod", "llama-0", "--namespace=measured", "--subresource=status", "--type=merge", f"--patch={status}"
    )
    names = metric_names(EngineVersion(0, 32))
    subject = Subject(("measured", "llama"), Mode.DRAFT, names, window_seconds=10, num_speculative_tokens=3)
    prometheus = Prometheus(plane.binaries, tmp_path, plane.kubeconfig, "measured", scrape_interval_seconds=0.5)

    async with _engine(address, counting), prometheus, PrometheusClient(prometheus.url) as client:
        await _series(prometheus, "vllm:num_requests_running", 2)
        observer = Observer(client, scrape_interval_seconds=0.5)
        first = await _ticks(observer, subject, 8.0)
        assert _is_all_there(first)
        assert len(first.batches) >= 12
        await _is_glanced_at(observer, names)

        restarted = Observer(client, scrape_interval_seconds=0.5)
        now = datetime.fromtimestamp(time.time(), UTC)
        again = (await restarted.tick((replace(subject, settled_since=begin),), now, is_part=True))[subject.key]
        assert restarted.problem == ""
        assert _is_all_there(again)
        assert len(again.batches) >= 12, "the first tick of a new process has the whole window"

        counting.restart()
        _is_all_there(await _ticks(observer, subject, 3.0))
        assert _is_all_there(await _ticks(observer, subject, 10.0)), "the restart has left the window"
    await plane.kubectl("delete", "pod", "llama-0", "--namespace=measured", "--grace-period=0", "--force")
    await plane.kubectl("delete", "node", "nowhere-yet")
