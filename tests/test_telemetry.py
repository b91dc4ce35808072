"""What the operator says of itself."""

import json
import logging
import sys

import httpx
import pytest
from builders import NOW
from prometheus_client import generate_latest

from specdecode.api.status import CalibrationStatus
from specdecode.api.vocabulary import Mode
from specdecode.errors import SettingsError
from specdecode.settings import LogFormat
from specdecode.telemetry import Health, JsonFormatter, Metrics, serve, set_up_logging


def test_one_mode_is_effective_and_a_deleted_resource_leaves_no_series() -> None:
    metrics = Metrics()
    metrics.show_mode("serving", "chat", Mode.DRAFT)
    metrics.show_mode("serving", "chat", Mode.OFF)
    metrics.plan_kv_tokens.labels("serving", "chat").set(5)
    samples = {
        sample.labels["mode"]: sample.value for family in metrics.effective.collect() for sample in family.samples
    }
    assert samples == {"QuantizedDraft": 0, "Draft": 0, "NGram": 0, "Off": 1}
    metrics.forget("serving", "chat")
    metrics.forget("serving", "never-seen")
    assert not [sample for family in metrics.effective.collect() for sample in family.samples]


GIB = 1024**3


def noted(mode: Mode, measured: str) -> CalibrationStatus:
    return CalibrationStatus(
        shape="s",
        spec_hash="h",
        mode=mode,
        planned_kv_cache="30720Mi",
        measured_kv_cache=measured,
        error_percent="",
        non_kv_cache="1Mi",
        at=NOW,
    )


def test_the_plan_is_shown_against_what_was_measured_until_it_no_longer_holds() -> None:
    metrics = Metrics()

    def value(name: str, mode: Mode) -> float | None:
        return metrics.registry.get_sample_value(name, {"namespace": "serving", "name": "chat", "mode": mode})

    planned = {Mode.DRAFT: 30 * GIB, Mode.OFF: 50 * GIB}
    metrics.show_kv_cache("serving", "chat", planned, [noted(Mode.DRAFT, "24576Mi")])
    assert value("specdecode_plan_kv_cache_bytes", Mode.DRAFT) == 30 * GIB
    assert value("specdecode_plan_kv_cache_bytes", Mode.OFF) == 50 * GIB
    assert value("specdecode_measured_kv_cache_bytes", Mode.DRAFT) == 24 * GIB
    assert value("specdecode_plan_error_ratio", Mode.DRAFT) == 0.25
    assert value("specdecode_plan_error_ratio", Mode.OFF) is None
    metrics.show_kv_cache("serving", "chat", {Mode.OFF: 50 * GIB}, [])
    assert value("specdecode_plan_kv_cache_bytes", Mode.DRAFT) is None
    assert value("specdecode_measured_kv_cache_bytes", Mode.DRAFT) is None
    metrics.show_kv_cache("serving", "chat", planned, [noted(Mode.DRAFT, "24576Mi")])
    metrics.forget("serving", "chat")
    assert b'name="chat"' not in generate_latest(metrics.registry)


def test_health_fails_when_the_tick_stalls_or_the_watch_is_deaf() -> None:
    health = Health(tick_limit_seconds=10)
    assert health.problem() is None
    health.is_watch_deaf = True
    assert health.problem() == "the watch no longer delivers changes"
    health.last_tick -= 60
    assert "has not run for 60 s" in str(health.problem())
    health.is_watch_deaf = False
    health.tick()
    assert health.problem() is None


async def test_the_endpoints() -> None:
    metrics, health = Metrics(), Health(tick_limit_seconds=10)
    runner = await serve("127.0.0.1", 0, metrics, health)
    host, port = runner.addresses[0][:2]
    try:
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
            health.is_listed = health.is_watch_deaf = True
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/healthz")).status_code == 503
            assert "specdecode_resources 0.0" in (await client.get("/metrics")).text
    finally:
        await runner.cleanup()


def test_json_logs_carry_the_object_and_the_exception() -> None:
    try:
        int("broken")
    except ValueError:
        record = logging.LogRecord("specdecode", logging.ERROR, "f", 1, "went %s", ("wrong",), sys.exc_info())
    record.object = "serving/chat"
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["message"], line["object"]) == ("error", "went wrong", "serving/chat")
    assert "ValueError" in line["exception"]


def test_a_plain_line_has_neither() -> None:
    record = logging.LogRecord("specdecode", logging.INFO, "f", 1, "started", (), None)
    assert json.loads(JsonFormatter().format(record)).keys() == {"time", "level", "logger", "message"}


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_kopf_never_logs_whole_objects(log_format: LogFormat) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        set_up_logging(log_format)
        assert logging.getLogger("kopf").getEffectiveLevel() >= logging.WARNING
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


async def test_a_taken_port_is_said_with_the_way_out() -> None:
    first = await serve("127.0.0.1", 0, Metrics(), Health(tick_limit_seconds=10))
    try:
        with pytest.raises(SettingsError, match="set another one"):
            await serve("127.0.0.1", first.addresses[0][1], Metrics(), Health(tick_limit_seconds=10))
    finally:
        await first.cleanup()
