"""Names and bucket edges, held against captures of a running 0.32.0."""

from dataclasses import asdict
from pathlib import Path

import pytest

from specdecode.engine import metrics
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion

CAPTURE = Path(__file__).parent.parent / "data" / "engine" / "vllm-0.32.0-speculative.prom"


@pytest.mark.parametrize(
    ("version", "field", "name"),
    [
        pytest.param("0.8.5", "tpot", None, id="no TPOT per request before 0.11"),
        pytest.param("0.11.0", "tpot", "vllm:request_time_per_output_token_seconds", id="TPOT per request since 0.11"),
        pytest.param("0.10.1", "itl", "vllm:time_per_output_token_seconds", id="step interval under its old name"),
        pytest.param("0.10.2", "itl", "vllm:inter_token_latency_seconds", id="step interval renamed"),
        pytest.param("0.9.1", "kv_cache_usage", "vllm:gpu_cache_usage_perc", id="cache usage under its old name"),
        pytest.param("0.9.2", "kv_cache_usage", "vllm:kv_cache_usage_perc", id="cache usage renamed"),
        pytest.param("0.32.0", "drafts", "vllm:spec_decode_num_drafts_total", id="drafts never changed"),
    ],
)
def test_names_by_version(version: str, field: str, name: str | None) -> None:
    assert asdict(metric_names(EngineVersion.parse(version)))[field] == name


def test_every_name_of_032_is_in_the_capture() -> None:
    capture = CAPTURE.read_text()
    for field, name in asdict(metric_names(EngineVersion(0, 32))).items():
        assert f"# TYPE {name} " in capture, field


@pytest.mark.parametrize(
    ("field", "edges"),
    [
        ("tpot", metrics.TPOT_EDGES_SECONDS),
        ("itl", metrics.TPOT_EDGES_SECONDS),
        ("ttft", metrics.TTFT_EDGES_SECONDS),
        ("e2e", metrics.E2E_EDGES_SECONDS),
    ],
)
def test_edges_are_those_of_the_capture(field: str, edges: tuple[float, ...]) -> None:
    name = asdict(metric_names(EngineVersion(0, 32)))[field]
    lines = [line for line in CAPTURE.read_text().splitlines() if line.startswith(f"{name}_bucket")]
    captured = [line.split('le="')[1].split('"')[0] for line in lines]
    assert [float(edge) for edge in captured if edge != "+Inf"] == list(edges)
