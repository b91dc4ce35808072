"""What the operator says of itself: metrics, logs, and whether it is alive."""

import asyncio
import json
import logging
import sys
import time
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import SpecDecodeDeploymentStatus
from specdecode.errors import SettingsError
from specdecode.plan.types import Plan
from specdecode.resource_metrics import ResourceCollector, figures_of
from specdecode.settings import LogFormat

logger = logging.getLogger("specdecode")


class Metrics:
    """Metrics of one operator process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter("specdecode_reconcile", "Reconciles by result.", ["result"], registry=self.registry)
        self.reconcile_seconds = Histogram(
            "specdecode_reconcile_seconds", "Duration of a reconcile.", registry=self.registry
        )
        self.tick_seconds = Histogram(
            "specdecode_tick_seconds", "Duration of one evaluation of all deployments.", registry=self.registry
        )
        self.rollbacks = Counter(
            "specdecode_rollbacks",
            "Steps down that this process took, by reason.",
            ["namespace", "name", "reason"],
            registry=self.registry,
        )
        self.queries = Counter(
            "specdecode_prometheus_query", "Prometheus queries by outcome.", ["outcome"], registry=self.registry
        )
        self.circuit_breaker_open = Gauge(
            "specdecode_circuit_breaker_open",
            "1 while a deployment is held in its mode because many want to step down at once.",
            registry=self.registry,
        )
        self.writes = Counter("specdecode_writes", "Write requests by kind.", ["kind"], registry=self.registry)
        self.resources = Gauge("specdecode_resources", "Resources looked after.", registry=self.registry)
        self.leader = Gauge(
            "specdecode_leader", "1 in the process that works, 0 in one that waits.", registry=self.registry
        )
        self.watch_lag = Gauge(
            "specdecode_watch_lag_seconds", "How long the watch has been behind the list.", registry=self.registry
        )
        build = Gauge("specdecode_build_info", "1; the version of the operator.", ["version"], registry=self.registry)
        build.labels(_version()).set(1)
        self._of_resources = ResourceCollector()
        self.registry.register(self._of_resources)
        self._rolled_back: dict[tuple[str, str], set[str]] = {}
        """Reasons with a series, so that it goes with its resource."""

    def show(
        self,
        namespace: str,
        name: str,
        status: SpecDecodeDeploymentStatus,
        resource: SpecDecodeDeployment | None,
        plan: Plan | None,
    ) -> None:
        """Show a resource as its status and its plan are now."""
        self._of_resources.show(namespace, name, figures_of(status, resource, plan))

    def count_rollback(self, namespace: str, name: str, reason: str) -> None:
        """A step down was written."""
        self.rollbacks.labels(namespace, name, reason).inc()
        self._rolled_back.setdefault((namespace, name), set()).add(reason)

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a deleted resource."""
        self._of_resources.forget(namespace, name)
        for reason in self._rolled_back.pop((namespace, name), ()):
            self.rollbacks.remove(namespace, name, reason)

    def page(self) -> bytes:
        """What /metrics answers. It takes seconds with many thousands of resources, and may run in a thread."""
        return generate_latest(self.registry)


def _version() -> str:
    """Of the installed package; empty where it runs without having been installed."""
    try:
        return metadata.version("specdecode-operator")
    except metadata.PackageNotFoundError:
        return ""


@dataclass
class Health:
    """Whether the loop turns and the watch hears. Outages of the API server or of Prometheus do not fail it."""

    tick_limit_seconds: float
    """A tick older than this means that the evaluation task is stuck."""
    last_tick: float = field(default_factory=time.monotonic)
    is_watch_deaf: bool = False
    is_standing_by: bool = False
    """Whether another replica works. Waiting is ready and healthy: else a rolling update would never end."""
    is_listed: bool = False
    """Whether every resource of the first list has arrived."""

    def tick(self) -> None:
        """Note that the evaluation task is alive."""
        self.last_tick = time.monotonic()

    def problem(self) -> str | None:
        """Why this process should be restarted, if it should."""
        if self.is_standing_by:
            return None
        age = time.monotonic() - self.last_tick
        if age > self.tick_limit_seconds:
            return f"the evaluation task has not run for {age:.0f} s"
        if self.is_watch_deaf:
            return "the watch no longer delivers changes"
        return None


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; `extra={"object": ...}` becomes a field."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        subject = getattr(record, "object", None)
        if subject is not None:
            line["object"] = subject
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(log_format: LogFormat) -> None:
    """Send everything to stderr. Kopf logs whole diffs at DEBUG; INFO is the lowest level that is safe."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("kopf", "httpx", "httpcore", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


async def serve(address: str, port: int, metrics: Metrics, health: Health) -> web.AppRunner:
    """Serve /metrics, /healthz and /readyz; the caller cleans up the runner.

    Raises SettingsError when the address cannot be listened on.
    """

    async def metrics_page(_: web.Request) -> web.Response:
        # Not in the event loop: a long page must not make the loop late.
        page = await asyncio.to_thread(metrics.page)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        problem = health.problem()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def readyz(_: web.Request) -> web.Response:
        ready = health.is_listed or health.is_standing_by
        return web.Response(text="ok" if ready else "waiting for the first list", status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics_page), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, address, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"cannot listen on {address} port {port}: {error.strerror}; set another one") from error
    host, bound_port = runner.addresses[0][:2]
    logger.info("serving /metrics, /healthz and /readyz on http://%s:%d", host, bound_port)
    return runner
