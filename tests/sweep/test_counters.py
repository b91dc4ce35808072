"""From two pages of /metrics to what happened between them."""

from dataclasses import replace

import pytest

from rehearsal.engine.arguments import parse_arguments
from rehearsal.engine.metrics import EngineMetrics
from specdecode.engine.version import EngineVersion
from specdecode.sweep.counters import (
    Counters,
    finished_between,
    gained,
    names_of,
    read_counters,
    remark_on_bursts,
    remarks,
    version_of,
)

BEFORE = Counters(
    has_engine=True,
    speculates=True,
    finished=100.0,
    drafts=1000.0,
    draft_tokens=3000.0,
    accepted_tokens=600.0,
    accepted_at=(400.0, 150.0, 50.0),
)
AFTER = Counters(
    has_engine=True,
    speculates=True,
    finished=110.0,
    drafts=1100.0,
    draft_tokens=3300.0,
    accepted_tokens=750.0,
    accepted_at=(480.0, 200.0, 70.0),
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("0.32.0", EngineVersion(0, 32, 0), id="a release"),
        pytest.param("0.11.1rc2.dev3+g1a2b", EngineVersion(0, 11, 1), id="a build between releases"),
        pytest.param("v0.9", EngineVersion(0, 9, 0), id="short"),
        pytest.param("dev", None, id="none"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_versions(text: str, version: EngineVersion | None) -> None:
    assert version_of(text) == version


def test_a_whole_page_of_an_engine() -> None:
    """The simulated engine shows every series of a real 0.32.0."""
    arguments = parse_arguments(["m", '--speculative-config={"method":"ngram","num_speculative_tokens":4}'])
    page = EngineMetrics(arguments, 1000, created=0).exposition().decode()
    found = read_counters(page, names_of(EngineVersion(0, 32)))
    assert found == Counters(
        has_engine=True, speculates=True, finished=0.0, began_at=0.0, drafts=0.0, accepted_at=(0.0,) * 4
    )
    assert found.num_speculative_tokens == 4


PAGE = """# HELP vllm:request_success_total Count
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 4.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="m"} 1.0
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:spec_decode_num_drafts_total{engine="0",model_name="m"} 10.0
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="m"} 30.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 12.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="1"} 4.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="0"} 8.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="2"} 0.0
vllm:spec_decode_num_accepted_tokens_total_created{engine="0",model_name="m"} 1.7e+09
vllm:request_time_per_output_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 7.0
vllm:request_time_per_output_token_seconds_count{engine="0",model_name="m"} 7.0
vllm:request_time_per_output_token_seconds_sum{engine="0",model_name="m"} 0.14
"""


def test_engines_and_reasons_are_summed() -> None:
    found = read_counters(PAGE, names_of(EngineVersion(0, 32)))
    assert found == Counters(
        has_engine=True,
        speculates=True,
        finished=8.0,
        running=3.0,
        drafts=10.0,
        draft_tokens=30.0,
        accepted_tokens=12.0,
        accepted_at=(8.0, 4.0, 0.0),
        tpot_seconds=0.14,
        tpot_requests=7.0,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", Counters(), id="an empty page has no engine"),
        pytest.param("<html>no</html>", Counters(), id="a web page has no engine"),
        pytest.param("go_threads 7\n", Counters(), id="another program's page has no engine"),
        pytest.param("vllm:num_requests_running{", None, id="a torn page is no page"),
        pytest.param("vllm:num_requests_running many\n", None, id="a word for a number is no page"),
    ],
)
def test_other_pages(text: str, expected: Counters | None) -> None:
    assert read_counters(text, names_of(None)) == expected


def test_what_a_cell_drafted() -> None:
    found = gained(BEFORE, AFTER)
    assert found is not None
    assert (found.drafts, found.draft_tokens, found.accepted_tokens) == (100.0, 300.0, 150.0)
    assert found.accepted_at == (80.0, 50.0, 20.0)
    assert finished_between(BEFORE, AFTER) == 10.0


@pytest.mark.parametrize(
    ("before", "after", "sent", "answered", "sentences"),
    [
        pytest.param(BEFORE, AFTER, 10, 10, (), id="only ours"),
        pytest.param(BEFORE, AFTER, 10, 8, (), id="an aborted request may be counted or not"),
        pytest.param(BEFORE, AFTER, 4, 4, ("other traffic: the engine finished 10",), id="more than ours"),
        pytest.param(BEFORE, AFTER, 30, 30, ("finished 10 of 30",), id="another engine took the rest"),
        pytest.param(AFTER, BEFORE, 4, 4, ("another engine",), id="the engine restarted, and counts less"),
        pytest.param(
            replace(BEFORE, began_at=1.0),
            replace(AFTER, began_at=2.0),
            10,
            10,
            ("another engine",),
            id="the engine restarted, and counts more by now",
        ),
        pytest.param(
            replace(BEFORE, running=2.0), AFTER, 10, 10, ("2 requests were in the engine",), id="somebody is there"
        ),
        pytest.param(Counters(), Counters(), 4, 4, (), id="an engine that counts nothing"),
    ],
)
def test_doubts(before: Counters, after: Counters, sent: int, answered: int, sentences: tuple[str, ...]) -> None:
    found = remarks(before, after, sent=sent, answered=answered)
    assert len(found) == len(sentences)
    assert all(sentence in said for sentence, said in zip(sentences, found, strict=True))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(AFTER, BEFORE, id="counters went back"),
        pytest.param(Counters(), Counters(has_engine=True, finished=3.0), id="no speculation"),
    ],
)
def test_nothing_is_known_of_drafts(before: Counters, after: Counters) -> None:
    assert gained(before, after) is None


def test_series_that_appear_with_the_first_draft_began_at_nothing() -> None:
    found = gained(Counters(has_engine=True, finished=1.0), AFTER)
    assert found is not None
    assert found.accepted_at == AFTER.accepted_at


@pytest.mark.parametrize(
    ("requests", "engine_ms", "here_ms", "is_told"),
    [
        pytest.param(48, 20.0, 20.4, False, id="as the engine gave them"),
        pytest.param(48, 20.0, 0.01, True, id="all at once at the end"),
        pytest.param(48, 20.0, 27.0, True, id="later than the engine gave them"),
        pytest.param(48, 0.3, 0.6, False, id="so short that a moment doubles it"),
        pytest.param(0, 20.0, 0.01, False, id="an engine that does not say"),
    ],
)
def test_answers_that_came_in_bursts(requests: int, engine_ms: float, here_ms: float, *, is_told: bool) -> None:
    before = replace(BEFORE, tpot_seconds=5.0, tpot_requests=100.0)
    after = replace(AFTER, tpot_seconds=5.0 + requests * engine_ms / 1000, tpot_requests=100.0 + requests)
    found = remark_on_bursts(before, after, here_ms / 1000)
    assert bool(found) == is_told
    assert not found or f"{here_ms:.2f} ms per output token here, {engine_ms:.2f} ms in the engine" in found[0]
