"""Names and bucket edges: by release as the sources have them, and 0.32.0 against a capture of a running engine."""

from dataclasses import asdict
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from specdecode.api.vocabulary import Method
from specdecode.engine.metrics import edges, metric_names
from specdecode.engine.version import EngineVersion

CAPTURE = Path(__file__).parent.parent / "data" / "engine" / "vllm-0.32.0-speculative.prom"

DRAFTS = "vllm:spec_decode_num_drafts_total"
DRAFT_TOKENS = "vllm:spec_decode_num_draft_tokens_total"
ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
EMITTED = "vllm:spec_decode_num_emitted_tokens_total"
QUEUE = "vllm:request_queue_time_seconds"
OLD_ITL = "vllm:time_per_output_token_seconds"


@pytest.mark.parametrize(
    ("version", "field", "name"),
    [
        pytest.param("0.6.3", "queue", None, id="no time in the queue before 0.6.4"),
        pytest.param("0.6.4", "queue", QUEUE, id="time in the queue since 0.6.4"),
        pytest.param("0.10.2", "tpot", None, id="no TPOT per request before 0.11"),
        pytest.param("0.11.0", "tpot", "vllm:request_time_per_output_token_seconds", id="TPOT per request since 0.11"),
        pytest.param("0.6.0", "itl", OLD_ITL, id="step interval under its first name"),
        pytest.param("0.10.1", "itl", OLD_ITL, id="step interval under its old name"),
        pytest.param("0.10.2", "itl", "vllm:inter_token_latency_seconds", id="step interval renamed"),
        pytest.param("0.10.2", "kv_cache_usage", "vllm:gpu_cache_usage_perc", id="cache usage of both generations"),
        pytest.param("0.11.0", "kv_cache_usage", "vllm:kv_cache_usage_perc", id="cache usage renamed"),
        pytest.param("0.6.0", "preemptions", "vllm:num_preemptions_total", id="preemptions never changed"),
        pytest.param("0.33.0", "finished_requests", "vllm:request_success_total", id="finished requests neither"),
    ],
)
def test_names_by_version(version: str, field: str, name: str | None) -> None:
    assert asdict(metric_names(EngineVersion.parse(version)))[field] == name


@pytest.mark.parametrize(
    ("version", "method", "counters"),
    [
        pytest.param(
            "0.6.0", Method.DRAFT_MODEL, (None, DRAFT_TOKENS, ACCEPTED, EMITTED), id="0.6: no drafts, emitted tokens"
        ),
        pytest.param(
            "0.7.3", Method.NGRAM, (None, DRAFT_TOKENS, ACCEPTED, EMITTED), id="0.7: the same for every method"
        ),
        pytest.param(
            "0.9.2",
            Method.DRAFT_MODEL,
            (None, DRAFT_TOKENS, ACCEPTED, EMITTED),
            id="a draft model is served by the first generation up to 0.9",
        ),
        pytest.param(
            "0.8.4", None, (None, DRAFT_TOKENS, ACCEPTED, EMITTED), id="the second generation counts none before 0.8.5"
        ),
        pytest.param(
            "0.9.2",
            Method.NGRAM,
            (DRAFTS, DRAFT_TOKENS, ACCEPTED, EMITTED),
            id="an old GPU may fall back to the first generation: both are named",
        ),
        pytest.param(
            "0.10.0", Method.NGRAM, (DRAFTS, DRAFT_TOKENS, ACCEPTED, None), id="the first generation speculates no more"
        ),
        pytest.param("0.33.0", Method.EAGLE3, (DRAFTS, DRAFT_TOKENS, ACCEPTED, None), id="today"),
    ],
)
def test_counters_of_speculation(version: str, method: Method | None, counters: tuple[str | None, ...]) -> None:
    names = metric_names(EngineVersion.parse(version), method)
    assert (names.drafts, names.draft_tokens, names.accepted_tokens, names.emitted_tokens) == counters


def test_per_position_is_counted_where_drafts_are() -> None:
    for minor in range(6, 34):
        names = metric_names(EngineVersion(0, minor, 5), Method.NGRAM)
        assert (names.accepted_tokens_per_position is None) is (names.drafts is None)


def test_every_name_of_032_is_in_the_capture() -> None:
    capture = CAPTURE.read_text()
    names = {field: name for field, name in asdict(metric_names(EngineVersion(0, 32))).items() if name is not None}
    assert set(asdict(metric_names(EngineVersion(0, 32)))) - set(names) == {"emitted_tokens"}
    for field, name in names.items():
        assert f"# TYPE {name} " in capture, field


@pytest.mark.parametrize("declared", ["vllm:spec_decode_num_drafts", "vllm:spec_decode_num_drafts_total"])
def test_a_counter_ends_in_total_however_it_is_declared(declared: str) -> None:
    registry = CollectorRegistry()
    Counter(declared, "Number of drafts.", registry=registry).inc()
    assert f"\n{DRAFTS} 1.0\n" in generate_latest(registry).decode()


@pytest.mark.parametrize(
    ("version", "tpot", "ttft", "e2e"),
    [
        pytest.param("0.6.3", (13, 2.5), (16, 10.0), (10, 1.0, 60.0), id="0.6.3: nothing below a second"),
        pytest.param("0.6.4", (13, 2.5), (16, 10.0), (15, 0.3, 60.0), id="0.6.4: finer E2E"),
        pytest.param("0.8.3", (13, 2.5), (16, 10.0), (15, 0.3, 60.0), id="0.8.3: as in 0.6.4"),
        pytest.param("0.8.4", (19, 80.0), (22, 2560.0), (21, 0.3, 7680.0), id="0.8.4: long tails"),
        pytest.param("0.33.0", (19, 80.0), (22, 2560.0), (21, 0.3, 7680.0), id="today"),
    ],
)
def test_edges_by_version(
    version: str, tpot: tuple[int, float], ttft: tuple[int, float], e2e: tuple[int, float, float]
) -> None:
    found = edges(EngineVersion.parse(version))
    assert (len(found.tpot_seconds), found.tpot_seconds[-1]) == tpot
    assert (len(found.ttft_seconds), found.ttft_seconds[-1]) == ttft
    assert (len(found.e2e_seconds), found.e2e_seconds[0], found.e2e_seconds[-1]) == e2e


@pytest.mark.parametrize("version", ["0.6.0", "0.6.4", "0.8.4"])
def test_edges_ascend(version: str) -> None:
    for bounds in asdict(edges(EngineVersion.parse(version))).values():
        assert list(bounds) == sorted(set(bounds))


@pytest.mark.parametrize(
    ("field", "bounds"),
    [
        ("tpot", edges(EngineVersion(0, 32)).tpot_seconds),
        ("itl", edges(EngineVersion(0, 32)).tpot_seconds),
        ("ttft", edges(EngineVersion(0, 32)).ttft_seconds),
        ("e2e", edges(EngineVersion(0, 32)).e2e_seconds),
    ],
)
def test_edges_are_those_of_the_capture(field: str, bounds: tuple[float, ...]) -> None:
    name = asdict(metric_names(EngineVersion(0, 32)))[field]
    lines = [line for line in CAPTURE.read_text().splitlines() if line.startswith(f"{name}_bucket")]
    captured = [line.split('le="')[1].split('"')[0] for line in lines]
    assert [float(edge) for edge in captured if edge != "+Inf"] == list(bounds)
