"""Every metric that the operator reads, on the real engine and on the simulated one: what it is, and what it means.

One table names them all; the same tests run on vLLM with a draft and with n-gram, and on the simulated engine with the
same command lines and questions, so that neither the operator's reading nor the simulation can drift.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from contract.pages import COMMON, Page
from contract.served import KV_CACHE_BYTES, MAX_NUM_SEQS, Record

from specdecode.api.vocabulary import Method
from specdecode.engine.metrics import edges, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.cache import BLOCK_SIZE, NUM_GPU_BLOCKS
from specdecode.observe.queries import series_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

VERSION = EngineVersion(0, 32, 0)
NAMES = metric_names(VERSION, Method.DRAFT_MODEL)
EDGES = edges(VERSION)
Meaning = Callable[[Record], None]


# --- what each of them means ---


def answered(record: Record) -> int:
    return len(record.replies)


def tokens(record: Record, kind: str) -> int:
    return sum(reply.usage[kind] for reply in record.replies)


def total(record: Record, name: str | None) -> float:
    assert name is not None
    return record.gained(name)


def a_draft_is_one_request_in_one_step(record: Record) -> None:
    steps = record.gained(f"{NAMES.itl}_count")
    drafts = total(record, NAMES.drafts)
    # A draft model proposes in every step after the first of a request, n-gram where it finds something.
    assert 0 < drafts <= steps
    assert drafts == steps or record.is_ngram


def a_draft_has_at_most_k_tokens(record: Record) -> None:
    drafts, proposed = total(record, NAMES.drafts), record.gained(NAMES.draft_tokens)
    assert 0 < proposed <= record.draft_tokens * drafts
    assert proposed == record.draft_tokens * drafts or record.is_ngram


def accepted_tokens_were_proposed(record: Record) -> None:
    assert 0 < record.gained(NAMES.accepted_tokens) <= record.gained(NAMES.draft_tokens)


def positions_add_up_to_what_was_accepted(record: Record) -> None:
    name = str(NAMES.accepted_tokens_per_position)
    positions = sorted({labels["position"] for labels, _ in record.asked.samples(name)}, key=int)
    assert positions == [str(position) for position in range(record.draft_tokens)]
    accepted = [record.gained(name, position=position) for position in positions]
    assert sum(accepted) == record.gained(NAMES.accepted_tokens)
    assert total(record, NAMES.drafts) >= accepted[0]
    assert accepted == sorted(accepted, reverse=True), "a token is accepted only after those before it"


def generated_tokens_are_those_of_the_answers(record: Record) -> None:
    """The first token, which the prompt's step gives, included; accepted ones that max_tokens cuts off, not."""
    generated = record.gained(NAMES.generation_tokens)
    assert generated == tokens(record, "completion_tokens")
    counted = answered(record) + record.gained(f"{NAMES.itl}_count") + record.gained(NAMES.accepted_tokens)
    assert 0 <= counted - generated <= record.draft_tokens * answered(record)


def prompt_tokens_are_those_of_the_answers(record: Record) -> None:
    assert record.gained(NAMES.prompt_tokens) == tokens(record, "prompt_tokens")


def a_finished_request_is_one_that_was_answered(record: Record) -> None:
    """One whose client went away is no finished one, whatever the value `abort` of its label promises."""
    assert record.gained(NAMES.finished_requests) == answered(record)
    by_length = sum(reply.finish_reason == "length" for reply in record.replies)
    assert record.gained(NAMES.finished_requests, finished_reason="length") == by_length > 0
    assert record.aborted.samples(NAMES.finished_requests) == record.drained.samples(NAMES.finished_requests)


def nothing_was_preempted(record: Record) -> None:
    assert record.aborted.total(NAMES.preemptions) == 0


def a_tpot_is_the_mean_of_one_request(record: Record) -> None:
    """One of a single token counts too, as 0."""
    base = str(NAMES.tpot)
    assert record.gained(f"{base}_count") == answered(record)
    after_the_first = record.gained(f"{NAMES.e2e}_sum") - record.gained(f"{NAMES.ttft}_sum")
    fewest = min(reply.usage["completion_tokens"] for reply in record.replies if not reply.is_single)
    assert 0 < record.gained(f"{base}_sum") <= after_the_first / (fewest - 1)
    assert record.aborted.total(f"{base}_count") == record.drained.total(f"{base}_count")


def an_itl_is_of_a_step_and_not_of_a_token(record: Record) -> None:
    steps = record.gained(f"{NAMES.itl}_count")
    assert 0 < steps < tokens(record, "completion_tokens") - answered(record)
    after_the_first = record.gained(f"{NAMES.e2e}_sum") - record.gained(f"{NAMES.ttft}_sum")
    assert record.gained(f"{NAMES.itl}_sum") == pytest.approx(after_the_first, rel=0.25)


def a_first_token_is_timed_once_a_request(record: Record) -> None:
    """Also of a request whose client then goes away."""
    assert record.gained(f"{NAMES.ttft}_count") == answered(record)
    assert 0 < record.gained(f"{NAMES.ttft}_sum") < record.gained(f"{NAMES.e2e}_sum")
    name = f"{NAMES.ttft}_count"
    assert record.aborted.total(name) == record.drained.total(name) + 1


def an_e2e_is_what_the_client_waits_in_seconds(record: Record) -> None:
    waited = sum(reply.seconds for reply in record.replies)
    assert record.gained(f"{NAMES.e2e}_count") == answered(record)
    assert waited / 4 < record.gained(f"{NAMES.e2e}_sum") <= waited
    assert record.aborted.total(f"{NAMES.e2e}_count") == record.drained.total(f"{NAMES.e2e}_count")


def queueing_is_timed_for_each_and_takes_time_when_busy(record: Record) -> None:
    base = str(NAMES.queue)
    assert record.gained(f"{base}_count") == answered(record)
    waited = record.drained.total(f"{base}_sum") - record.asked.total(f"{base}_sum")
    assert waited > 10 * record.gained(f"{base}_sum"), "one request after the other never waits"


def as_many_run_as_the_engine_takes(record: Record) -> None:
    assert record.busy.total(NAMES.running) == MAX_NUM_SEQS
    assert record.asked.total(NAMES.running) == record.aborted.total(NAMES.running) == 0


def the_rest_waits(record: Record) -> None:
    assert 0 < record.busy.total(NAMES.waiting) <= 2 * MAX_NUM_SEQS, "three times as many were sent as run at once"
    assert record.asked.total(NAMES.waiting) == record.aborted.total(NAMES.waiting) == 0


def usage_is_a_share(record: Record) -> None:
    assert 0 < record.busy.total(NAMES.kv_cache_usage) < 1
    assert record.asked.total(NAMES.kv_cache_usage) == 0


def the_cache_is_in_its_labels(record: Record) -> None:
    ((labels, value),) = record.start.samples(NAMES.cache_config_info)
    assert value == 1
    blocks, block_size = int(labels[NUM_GPU_BLOCKS]), int(labels[BLOCK_SIZE])
    assert int(labels["kv_cache_size_tokens"]) == blocks * block_size > 0
    assert int(labels["kv_cache_memory_bytes"]) == KV_CACHE_BYTES


# --- the table ---


@dataclass(frozen=True)
class Metric:
    """One attribute of `MetricNames` and what is behind it."""

    attribute: str
    kind: str
    means: Meaning
    labels: frozenset[str] = frozenset()
    """Beside model_name and engine."""
    edges: tuple[float, ...] = ()


def by(label: str) -> frozenset[str]:
    return frozenset({label})


TABLE = (
    Metric("drafts", "counter", a_draft_is_one_request_in_one_step),
    Metric("draft_tokens", "counter", a_draft_has_at_most_k_tokens),
    Metric("accepted_tokens", "counter", accepted_tokens_were_proposed),
    Metric("accepted_tokens_per_position", "counter", positions_add_up_to_what_was_accepted, by("position")),
    Metric("generation_tokens", "counter", generated_tokens_are_those_of_the_answers),
    Metric("prompt_tokens", "counter", prompt_tokens_are_those_of_the_answers),
    Metric("finished_requests", "counter", a_finished_request_is_one_that_was_answered, by("finished_reason")),
    Metric("preemptions", "counter", nothing_was_preempted),
    Metric("tpot", "histogram", a_tpot_is_the_mean_of_one_request, edges=EDGES.tpot_seconds),
    Metric("itl", "histogram", an_itl_is_of_a_step_and_not_of_a_token, edges=EDGES.tpot_seconds),
    Metric("ttft", "histogram", a_first_token_is_timed_once_a_request, edges=EDGES.ttft_seconds),
    Metric("e2e", "histogram", an_e2e_is_what_the_client_waits_in_seconds, edges=EDGES.e2e_seconds),
    Metric("queue", "histogram", queueing_is_timed_for_each_and_takes_time_when_busy, edges=EDGES.e2e_seconds),
    Metric("running", "gauge", as_many_run_as_the_engine_takes),
    Metric("waiting", "gauge", the_rest_waits),
    Metric("kv_cache_usage", "gauge", usage_is_a_share),
    Metric("cache_config_info", "gauge", the_cache_is_in_its_labels),
)


def test_the_table_has_every_name_that_the_release_has() -> None:
    assert {metric.attribute for metric in TABLE} == {name for name, value in vars(NAMES).items() if value is not None}


@pytest.mark.parametrize("metric", TABLE, ids=[metric.attribute for metric in TABLE])
def test_a_metric_is_what_the_operator_takes_it_for(metric: Metric, served: Record) -> None:
    family = served.asked.families[getattr(NAMES, metric.attribute)]
    assert family.kind == metric.kind
    assert family.edges == metric.edges
    if metric.attribute != "cache_config_info":
        assert family.labels == COMMON | metric.labels


@pytest.mark.parametrize("metric", TABLE, ids=[metric.means.__name__ for metric in TABLE])
def test_a_metric_means_what_the_operator_takes_it_for(metric: Metric, served: Record) -> None:
    metric.means(served)


def test_every_series_that_is_queried_is_there(served: Record) -> None:
    """Except those of the meter, which is no part of the engine."""
    wanted = {name for name in series_of(NAMES).values() if name.startswith("vllm:")}
    assert wanted <= set(served.asked.sample_names)


def test_every_series_is_there_before_the_first_request(served: Record) -> None:
    """At 0: a window that begins before the first request is no gap."""
    assert served.start.families.keys() == served.aborted.families.keys()
    for name in (NAMES.drafts, NAMES.generation_tokens, NAMES.finished_requests, f"{NAMES.tpot}_count"):
        assert served.start.total(str(name)) == 0


def test_counters_never_fall(served: Record) -> None:
    pages = [served.start, served.asked, served.busy, served.drained, served.aborted]
    for name in (NAMES.generation_tokens, str(NAMES.drafts), NAMES.finished_requests, f"{NAMES.e2e}_count"):
        values = [page.total(name) for page in pages]
        assert values == sorted(values), name


def test_tokens_of_a_client_that_went_away_count(served: Record) -> None:
    assert served.aborted.total(NAMES.generation_tokens) > served.drained.total(NAMES.generation_tokens)


def test_a_running_engine_shows_what_its_release_declares(declared_page: Page, served: Record) -> None:
    assert served.start.families == declared_page.families
