"""What the operator says of itself: metrics, logs, and whether it is alive."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import SpecDecodeDeploymentStatus
from specdecode.errors import SettingsError
from specdecode.log_lines import JsonFormatter, TextFormatter
from specdecode.resource_metrics import AnyPlan, figures_of
from specdecode.resource_page import ResourcePage
from specdecode.scrape import TEXT, Format, answer, asked_format
from specdecode.settings import LogFormat

logger = logging.getLogger("specdecode")

_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest
_END = b"# EOF\n"
"""Of OpenMetrics."""
_FAREWELL_SECONDS = 1.0
"""Who reads a page slowly must not keep the process from ending."""


class Metrics:
    """Metrics of one operator process: its own on a registry, those of the resources on a page beside it."""

    def __init__(self, shards: int = 1) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter("specdecode_reconcile", "Reconciles by result.", ["result"], registry=self.registry)
        self.reconcile_seconds = Histogram(
            "specdecode_reconcile_seconds", "Duration of a reconcile.", registry=self.registry
        )
        self.tick_seconds = Histogram(
            "specdecode_tick_seconds", "Duration of one evaluation of all deployments.", registry=self.registry
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
            "specdecode_leader",
            "1 in the process that looks after a shard, 0 in one that does not; without sharding all is shard 0.",
            ["shard"],
            registry=self.registry,
        )
        for shard in range(shards):
            self.leader.labels(str(shard)).set(0)
        self.watch_lag = Gauge(
            "specdecode_watch_lag_seconds", "How long the watch has been behind the list.", registry=self.registry
        )
        build = Gauge("specdecode_build_info", "1; the version of the operator.", ["version"], registry=self.registry)
        build.labels(_version()).set(1)
        self._of_resources = ResourcePage()

    def show(
        self,
        namespace: str,
        name: str,
        status: SpecDecodeDeploymentStatus,
        resource: SpecDecodeDeployment | None,
        plan: AnyPlan | None,
    ) -> None:
        """Show a resource as its status and its plan are now."""
        self._of_resources.show(namespace, name, figures_of(status, resource, plan))

    def count_rollback(self, namespace: str, name: str, reason: str) -> None:
        """A step down was written."""
        self._of_resources.count_rollback(namespace, name, reason, time.time())

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a deleted resource."""
        self._of_resources.forget(namespace, name)

    def pieces(self, page_format: Format = TEXT) -> Iterator[bytes]:
        """What /metrics answers, of this moment; each piece is made in a few milliseconds, and may be empty."""
        of_resources = self._of_resources.pieces(is_openmetrics=page_format.is_openmetrics)
        if page_format.is_openmetrics:
            yield _openmetrics(self.registry).removesuffix(_END)
        else:
            yield generate_latest(self.registry)
        # One resource with text that cannot be encoded must not take the page from all others.
        yield from (piece.encode("utf-8", "replace") for piece in of_resources)
        if page_format.is_openmetrics:
            yield _END

    def page(self) -> bytes:
        """All of it at once."""
        return b"".join(self.pieces())


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


def set_up_logging(log_format: LogFormat) -> None:
    """Send everything to stderr. Kopf logs whole diffs at DEBUG; INFO is the lowest level that is safe."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("kopf", "httpx", "httpcore", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


async def serve(address: str, port: int, metrics: Metrics, health: Health) -> web.AppRunner:
    """Serve /metrics, /healthz and /readyz; the caller cleans up the runner.

    Raises SettingsError when the address cannot be listened on.
    """

    async def metrics_page(request: web.Request) -> web.StreamResponse:
        page_format = asked_format(request)
        return await answer(request, metrics.pieces(page_format), page_format)

    async def healthz(_: web.Request) -> web.Response:
        problem = health.problem()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def readyz(_: web.Request) -> web.Response:
        ready = health.is_listed or health.is_standing_by
        return web.Response(text="ok" if ready else "waiting for the first list", status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics_page), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_FAREWELL_SECONDS)
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
