"""A real Prometheus reads the operator's page in every format that it knows, and finds the same series in each."""

import asyncio
import math
from pathlib import Path
from typing import Any

from exposed import show_the_table
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.binaries import Binaries
from rehearsal.prometheus import Prometheus
from specdecode.telemetry import Health, Metrics, serve

PROTOCOLS = ("OpenMetricsText1.0.0", "PrometheusText1.0.0", "PrometheusText0.0.4")
_ADDED = {"job", "instance"}

Series = dict[tuple[tuple[str, str], ...], float]


def scraping(port: int) -> dict[str, Any]:
    jobs = [
        {
            "job_name": protocol,
            "honor_labels": True,
            "scrape_interval": "500ms",
            "scrape_timeout": "500ms",
            "scrape_protocols": [protocol],
            "enable_compression": protocol != PROTOCOLS[-1],
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for protocol in PROTOCOLS
    ]
    return {"scrape_configs": jobs}


def exposed_by(metrics: Metrics) -> Series:
    return {
        tuple(sorted({"__name__": sample.name, **{k: v for k, v in sample.labels.items() if v}}.items())): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
        if sample.name.startswith("specdecode_")
    }


async def found_by(prometheus: Prometheus, protocol: str) -> Series:
    answer = await prometheus.query(f'{{__name__=~"specdecode_.+",job="{protocol}"}}')
    return {
        tuple(sorted((k, v) for k, v in series["metric"].items() if k not in _ADDED)): float(series["value"][1])
        for series in answer
    }


async def test_every_format_is_read_by_a_real_prometheus(binaries: Binaries, tmp_path: Path) -> None:
    metrics = Metrics()
    show_the_table(metrics)
    runner = await serve("127.0.0.1", 0, metrics, Health(tick_limit_seconds=60))
    prometheus = Prometheus(binaries, tmp_path, tmp_path / "unused", "unused", scrape_interval_seconds=0.5)
    prometheus._settings = scraping(runner.addresses[0][1])
    expected = exposed_by(metrics)
    try:
        async with prometheus, asyncio.timeout(30):
            for protocol in PROTOCOLS:
                found: Series = {}
                while not found:
                    await asyncio.sleep(0.2)
                    found = await found_by(prometheus, protocol)
                assert found.keys() == expected.keys(), protocol
                assert [labels for labels in found if not math.isclose(found[labels], expected[labels])] == []
    finally:
        await runner.cleanup()
