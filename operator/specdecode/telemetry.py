"""What the operator says of itself: metrics, logs, and whether it is alive."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from specdecode.api.status import CalibrationStatus
from specdecode.api.values import bytes_of
from specdecode.api.vocabulary import Mode
from specdecode.errors import SettingsError
from specdecode.settings import LogFormat

logger = logging.getLogger("specdecode")


def _show(gauge: Gauge, namespace: str, name: str, values: Mapping[Mode, float]) -> None:
    """Set the series of the modes that have a value, and remove those of the others."""
    for mode in Mode:
        if mode in values:
            gauge.labels(namespace, name, mode).set(values[mode])
        else:
            with suppress(KeyError):
                gauge.remove(namespace, name, mode)


class Metrics:
    """Metrics of one operator process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter("specdecode_reconcile", "Reconciles by result.", ["result"], registry=self.registry)
        self.reconcile_seconds = Histogram(
            "specdecode_reconcile_seconds", "Duration of a reconcile.", registry=self.registry
        )
        self.tick_seconds = Histogram(
            "specdecode_tick_seconds", "Duration of one evaluation of all deployments.", registry=self.registry
        )
        self.rollbacks = Counter(
            "specdecode_rollbacks", "Steps down by reason.", ["namespace", "name", "reason"], registry=self.registry
        )
        self.effective = Gauge(
            "specdecode_effective",
            "1 for the mode that runs.",
            ["namespace", "name", "mode"],
            registry=self.registry,
        )
        self.plan_kv_tokens = Gauge(
            "specdecode_plan_kv_tokens", "Planned KV cache tokens.", ["namespace", "name"], registry=self.registry
        )
        self.plan_kv_cache_bytes = self._per_mode(
            "specdecode_plan_kv_cache_bytes", "Planned KV cache per GPU; negative: this much is missing."
        )
        self.measured_kv_cache_bytes = self._per_mode(
            "specdecode_measured_kv_cache_bytes", "KV cache per GPU as the running engine sized it."
        )
        self.plan_error_ratio = self._per_mode(
            "specdecode_plan_error_ratio",
            "(planned - measured) / measured KV cache, the plan by its formulas alone.",
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
        self.leader = Gauge("specdecode_leader", "1 in the process that works.", registry=self.registry)
        self.watch_lag = Gauge(
            "specdecode_watch_lag_seconds", "How long the watch has been behind the list.", registry=self.registry
        )

    def show_mode(self, namespace: str, name: str, mode: Mode) -> None:
        """Set 1 for the mode that runs and 0 for the others."""
        for candidate in Mode:
            self.effective.labels(namespace, name, candidate).set(candidate is mode)

    def _per_mode(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, ["namespace", "name", "mode"], registry=self.registry)

    def show_kv_cache(
        self, namespace: str, name: str, planned_bytes: Mapping[Mode, int], measured: Sequence[CalibrationStatus]
    ) -> None:
        """Show the KV cache of every mode of the plan, and what was measured under the spec in force."""
        sizes = {
            entry.mode: (bytes_of(entry.planned_kv_cache), bytes_of(entry.measured_kv_cache)) for entry in measured
        }
        ratios = {mode: (planned - real) / real for mode, (planned, real) in sizes.items()}
        reals = {mode: real for mode, (_, real) in sizes.items()}
        _show(self.plan_kv_cache_bytes, namespace, name, planned_bytes)
        _show(self.measured_kv_cache_bytes, namespace, name, reals)
        _show(self.plan_error_ratio, namespace, name, ratios)

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a deleted resource."""
        for gauge in (
            self.effective,
            self.plan_kv_cache_bytes,
            self.measured_kv_cache_bytes,
            self.plan_error_ratio,
        ):
            _show(gauge, namespace, name, {})
        with suppress(KeyError):
            self.plan_kv_tokens.remove(namespace, name)


@dataclass
class Health:
    """Whether the loop turns and the watch hears. Outages of the API server or of Prometheus do not fail it."""

    tick_limit_seconds: float
    """A tick older than this means that the evaluation task is stuck."""
    last_tick: float = field(default_factory=time.monotonic)
    is_watch_deaf: bool = False
    is_listed: bool = False
    """Whether every resource of the first list has arrived."""

    def tick(self) -> None:
        """Note that the evaluation task is alive."""
        self.last_tick = time.monotonic()

    def problem(self) -> str | None:
        """Why this process should be restarted, if it should."""
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
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        problem = health.problem()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def readyz(_: web.Request) -> web.Response:
        ready = health.is_listed
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
