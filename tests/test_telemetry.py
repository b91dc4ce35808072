"""What the operator says of itself."""

import json
import logging
import sys
from importlib import metadata

import httpx
import pytest

from specdecode.errors import SettingsError
from specdecode.log_lines import JsonFormatter
from specdecode.settings import LogFormat
from specdecode.telemetry import Health, Metrics, serve, set_up_logging


def test_the_process_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Metrics().page().decode()
    assert f'specdecode_build_info{{version="{metadata.version("specdecode-operator")}"}} 1.0' in page
    assert "process_resident_memory_bytes" in page

    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    assert 'specdecode_build_info{version=""} 1.0' in Metrics().page().decode()


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
