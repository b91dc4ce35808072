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
from specdecode.observe.queries import Series, counters_query, series_of, state_query, tick_queries

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


EVERY_TEXT = [
    pytest.param(state_query(Series((NEW,))), id="state"),
    pytest.param(counters_query(Series((NEW,))), id="counters"),
    pytest.param(counters_query(Series((NEW,)), has_buckets=False), id="counters without buckets"),
    pytest.param(counters_query(Series((OLD,))), id="an old engine"),
    pytest.param(counters_query(Series((V0,))), id="an engine of the first generation"),
    pytest.param(state_query(Series((NEW, OLD, V0))), id="state of three engines"),
    pytest.param(counters_query(Series((NEW, OLD), ("serving", "kube-public"))), id="two engines, two namespaces"),
]


def asked_names(text: str) -> list[str]:
    """Every metric that a text asks for."""
    found = []
    for selector in selectors(promql_parser.parse(text)):
        pattern = [m.value for m in selector.matchers.matchers if m.name == "__name__"]
        found += pattern[0].split("|") if pattern else [selector.name]
    return found


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_every_selector_asks_for_our_pods_and_exact_names(text: str) -> None:
    names = asked_names(text)
    assert names
    for name in names:
        assert name == "up" or re.fullmatch(r"(vllm|specdecode):[a-z0-9_]+(?<!_created)", name)
    for selector in matchers(text):
        assert ("specdecode_io_deployment", "MatchOp.NotEqual", "") in selector


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_every_aggregation_keeps_deployment_mode_and_arm_apart(text: str) -> None:
    grouped = re.findall(r"by \(([^)]*)\)", text)
    assert grouped
    for labels in grouped:
        assert "namespace,specdecode_io_deployment,specdecode_io_mode,specdecode_io_arm" in labels
        assert ("job,instance" in labels) is ("(up{" not in text), "the state is told by group, counters by pod"


def test_a_tick_is_two_requests_whatever_the_fleet() -> None:
    versions = tuple(metric_names(EngineVersion(0, minor, 0)) for minor in range(6, 34))
    texts = tick_queries(Series(versions))
    assert len(texts) == 2
    for text in texts:
        promql_parser.parse(text)


def test_the_moment_of_the_scrape_comes_with_the_counters() -> None:
    text = counters_query(Series((NEW,)))
    assert "(timestamp(vllm:num_requests_running{" in text
    assert text.count('"fact","scraped_at"') == 1


def test_names_of_several_engine_versions_are_united_and_each_is_asked_for_once() -> None:
    names = asked_names(counters_query(Series((NEW, OLD))))
    (regex, *_) = (name for name in names if "inter_token" in name)
    assert regex == "vllm:inter_token_latency_seconds_sum"
    assert {"vllm:time_per_output_token_seconds_sum", "vllm:kv_cache_usage_perc"} <= set(names)
    assert len(names) - 1 == len(set(names)), "only the running requests are asked for twice: for their moment"


def test_an_engine_may_expose_the_new_name_beside_the_old_one_and_each_version_reads_its_own() -> None:
    assert series_of(NEW)["step_sum"] == "vllm:inter_token_latency_seconds_sum"
    assert series_of(OLD)["step_sum"] == "vllm:time_per_output_token_seconds_sum"


def test_the_first_generation_is_asked_for_emitted_tokens_and_not_for_drafts() -> None:
    names = asked_names(counters_query(Series((V0,))))
    assert "vllm:spec_decode_num_emitted_tokens_total" in names
    assert "vllm:spec_decode_num_drafts_total" not in names
    assert "emitted_tokens" not in series_of(NEW)


def test_an_hour_of_history_comes_without_buckets() -> None:
    names = asked_names(counters_query(Series((NEW,)), has_buckets=False))
    assert not [name for name in names if "bucket" in name or "acceptance_ratio" in name]
    assert {"vllm:request_time_per_output_token_seconds_sum", "vllm:spec_decode_num_drafts_total"} <= set(names)


def test_the_acceptance_of_requests_is_asked_for_by_temperature() -> None:
    text = counters_query(Series((NEW,)))
    assert "specdecode:request_acceptance_rate_bucket" in asked_names(text)
    assert "by (__name__,le,temperature_bucket," in text


def test_sizes_of_caches_are_told_apart_in_the_request_for_the_state() -> None:
    text = state_query(Series((NEW, V0)))
    assert text.count("vllm:cache_config_info{") == 1
    assert "specdecode_io_arm,num_gpu_blocks,block_size) (vllm:cache_config_info{" in text


def test_an_engine_without_tpot_is_not_asked_for_it() -> None:
    assert not [fact for fact in series_of(OLD) if fact.startswith("tpot")]


@given(namespaces=st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_no_namespace_breaks_out_of_its_quotes(namespaces: list[str]) -> None:
    pattern = "|".join(re.escape(namespace) for namespace in namespaces)
    for plain, asked in zip(tick_queries(Series((NEW,))), tick_queries(Series((NEW,), tuple(namespaces))), strict=True):
        expected = [[*found, ("namespace", "MatchOp.Re", pattern)] for found in matchers(plain)]
        assert matchers(asked) == expected


def test_an_injection_stays_a_value() -> None:
    hostile = 'x"}[5m])) or vector(1) or sum(rate(m{a="'
    for found in matchers(counters_query(Series((NEW,), (hostile,)))):
        assert ("namespace", re.escape(hostile)) in {(name, value) for name, _, value in found}
