"""The PromQL of one tick: few requests, valid texts, our own labels, exact names."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.vocabulary import Method
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.queries import Series, range_text, state_query, tick_queries, window_query, windows

NEW, OLD = metric_names(EngineVersion(0, 32, 0)), metric_names(EngineVersion(0, 8, 5))
V0 = metric_names(EngineVersion(0, 7, 3), Method.DRAFT_MODEL)


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector below a node of the parsed text."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from selectors(argument)
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif isinstance(node, (promql_parser.AggregateExpr, promql_parser.ParenExpr)):
        yield from selectors(node.expr)


def matchers(text: str) -> list[list[tuple[str, str, str]]]:
    """Label, operator and value of every matcher, selector by selector."""
    found = selectors(promql_parser.parse(text))
    return [[(m.name, str(m.op), m.value) for m in selector.matchers.matchers] for selector in found]


@pytest.mark.parametrize(
    ("asked", "scrape", "fast", "slow"),
    [
        pytest.param([300], 15, 60, (300,), id="one window"),
        pytest.param([300, 300, 60], 15, 60, (60, 300), id="equal windows are asked for once"),
        pytest.param([10], 15, 60, (60,), id="shorter than four scrapes: lengthened"),
        pytest.param([10], 1, 4, (10,), id="short, with a short scrape interval"),
        pytest.param([60, 120, 180, 240, 300, 360], 15, 60, (60, 120, 180, 240, 300, 360), id="six stay as they are"),
        pytest.param(
            [70, 110, 180, 240, 300, 360, 420], 15, 60, (120, 300, 600), id="seven are rounded up to the ladder"
        ),
        pytest.param(
            [20, 50, 100, 250, 500, 800, 1500, 3600],
            5,
            20,
            (60, 120, 300, 900, 1800, 3600),
            id="eight rungs are too many: the short ladder",
        ),
        pytest.param([60, 3600], 1000, 4000, (4000,), id="a scrape interval longer than every window"),
    ],
)
def test_windows(asked: list[float], scrape: float, fast: float, slow: tuple[float, ...]) -> None:
    found = windows(asked, scrape)
    assert (found.fast_seconds, found.ladder_seconds) == (fast, slow)


@given(asked=st.lists(st.floats(10, 3600), min_size=1, max_size=40), scrape=st.sampled_from([1.0, 5.0, 15.0, 60.0]))
def test_a_tick_needs_at_most_eight_requests_and_never_a_shorter_window(asked: list[float], scrape: float) -> None:
    found = windows(asked, scrape)
    assert len(tick_queries(Series((NEW,)), found)) <= 8
    assert all(found.slow_seconds(seconds) >= max(seconds, found.fast_seconds) for seconds in asked)


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "300s"), (20.0, "20s"), (5.2, "5200ms"), (0.4, "400ms"), (1.0005, "1s")]
)
def test_range_text(seconds: float, text: str) -> None:
    assert range_text(seconds) == text


EVERY_TEXT = [
    pytest.param(state_query(Series((NEW,))), id="state"),
    pytest.param(window_query(Series((NEW,)), 300), id="a window"),
    pytest.param(window_query(Series((OLD,)), 5.2), id="an old engine"),
    pytest.param(window_query(Series((V0,)), 300), id="an engine of the first generation"),
    pytest.param(state_query(Series((NEW, OLD, V0))), id="state of three engines"),
    pytest.param(window_query(Series((NEW, OLD), ("serving", "kube-public")), 60), id="two engines, two namespaces"),
]


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_every_selector_asks_for_our_pods_and_an_exact_name(text: str) -> None:
    found = list(selectors(promql_parser.parse(text)))
    assert found
    for selector in found:
        assert selector.name == "up" or re.fullmatch(r"vllm:[a-z0-9_]+(?<!_created)", selector.name)
        assert ("specdecode_io_deployment", "MatchOp.NotEqual", "") in [
            (m.name, str(m.op), m.value) for m in selector.matchers.matchers
        ]


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_every_aggregation_keeps_deployment_mode_and_arm_apart(text: str) -> None:
    grouped = re.findall(r"by \(([^)]*)\)", text)
    assert grouped
    assert all(
        labels.startswith("namespace,specdecode_io_deployment,specdecode_io_mode,specdecode_io_arm")
        for labels in grouped
    )


def test_facts_are_told_apart_by_label() -> None:
    text = window_query(Series((NEW,)), 300)
    facts = re.findall(r'"fact","([a-z0-9_]+)"', text)
    assert len(facts) == len(set(facts))
    assert text.endswith(',"window","300s","","")')


def test_names_of_several_engine_versions_are_united() -> None:
    text = window_query(Series((NEW, OLD)), 300)
    for name in ("vllm:inter_token_latency_seconds_sum", "vllm:time_per_output_token_seconds_sum"):
        assert name in text
    assert text.count("vllm:spec_decode_num_drafts_total") == 1
    assert text.count("max_over_time(vllm:kv_cache_usage_perc") == 1
    assert text.count("max_over_time(vllm:gpu_cache_usage_perc") == 1


def test_the_first_generation_is_asked_for_emitted_tokens_and_not_for_drafts() -> None:
    text = window_query(Series((V0,)), 300)
    assert "vllm:spec_decode_num_emitted_tokens_total" in text
    assert "vllm:spec_decode_num_drafts_total" not in text
    assert '"emitted_tokens' not in window_query(Series((NEW,)), 300)


def test_sizes_of_caches_are_told_apart_in_the_request_for_the_state() -> None:
    text = state_query(Series((NEW, V0)))
    assert text.count("vllm:cache_config_info{") == 1
    assert "specdecode_io_arm,num_gpu_blocks,block_size) (vllm:cache_config_info{" in text


def test_an_engine_without_tpot_is_not_asked_for_it() -> None:
    assert '"tpot' not in window_query(Series((OLD,)), 300)


@given(namespaces=st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_no_namespace_breaks_out_of_its_quotes(namespaces: list[str]) -> None:
    plain = matchers(state_query(Series((NEW,))))
    pattern = "|".join(re.escape(namespace) for namespace in namespaces)
    asked = matchers(state_query(Series((NEW,), tuple(namespaces))))
    assert asked == [[*found, ("namespace", "MatchOp.Re", pattern)] for found in plain]


def test_an_injection_stays_a_value() -> None:
    hostile = 'x"}[5m])) or vector(1) or sum(rate(m{a="'
    for found in matchers(state_query(Series((NEW,), (hostile,)))):
        assert ("namespace", re.escape(hostile)) in {(name, value) for name, _, value in found}
