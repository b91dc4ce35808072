"""A report as a whole: its caveats, its JSON, and the numbers that JSON cannot have."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep.sweeps import START, cell, drafted, failed, measured, off, pair, steady, sweep

from specdecode.sweep.report import Report, document, report_of
from specdecode.sweep.types import Answer, Cell, Drafted, Measured


def _few() -> Report:
    on, without = pair(cell(), on_ms=10, off_ms=20)
    return report_of(sweep(on), sweep(without))


def test_the_keys_of_the_document_are_stable() -> None:
    body = document(_few())
    assert list(body) == [
        "endpoint",
        "model",
        "engineVersion",
        "startedAt",
        "asked",
        "baseline",
        "cells",
        "breakEven",
        "suggestions",
        "caveats",
    ]
    assert list(body["cells"][0]) == [
        "mode",
        "numSpeculativeTokens",
        "kind",
        "temperature",
        "concurrency",
        "seconds",
        "whole",
        "requests",
        "answered",
        "prompts",
        "errors",
        "ttftSeconds",
        "tpotSeconds",
        "outputTokensPerSecond",
        "runningRequests",
        "acceptanceRate",
        "acceptanceLength",
        "acceptedAtPosition",
        "speedup",
        "verdict",
    ]
    assert list(body["cells"][0]["speedup"]) == ["requests", "tpotMean", "tpotP50", "tpotP99", "throughput"]
    assert list(body["cells"][0]["tpotSeconds"]) == ["requests", "mean", "p50", "p95", "p99"]
    assert list(body["cells"][0]["verdict"]) == ["word", "basis", "sentence", "requestsNeeded"]
    assert list(body["breakEven"][0]) == [
        "mode",
        "numSpeculativeTokens",
        "temperature",
        "concurrency",
        "sentence",
        "points",
    ]


def test_the_document_says_what_was_measured() -> None:
    body = document(_few())
    assert body["startedAt"] == "2026-05-28T20:26:40Z"
    assert body["cells"][0]["acceptanceLength"]["value"] == pytest.approx(3.1)
    assert body["cells"][0]["tpotSeconds"]["p99"]["high"] is None
    assert body["cells"][0]["verdict"]["requestsNeeded"] == 359
    assert body["baseline"]["cells"][0]["mode"] == "Off"
    assert body["baseline"]["cells"][0]["verdict"] is None


def test_without_a_baseline_the_document_has_none() -> None:
    body = document(report_of(sweep(measured(cell(), steady(0.02))), None))
    assert body["baseline"] is None
    assert body["cells"][0]["speedup"] is None
    assert body["breakEven"] == []


_ON, _OFF = pair(cell(), on_ms=10, off_ms=20)


@pytest.mark.parametrize(
    ("report", "says"),
    [
        pytest.param(report_of(sweep(_ON), None), "run again with --baseline", id="no baseline: how to get one"),
        pytest.param(report_of(sweep(_OFF), None), "nothing that was measured speculates", id="nothing speculates"),
        pytest.param(report_of(sweep(), None), "nothing that was measured speculates", id="nothing was measured"),
        pytest.param(
            report_of(sweep(_ON), sweep(_ON)), "the baseline speculates itself", id="the baseline speculates as well"
        ),
        pytest.param(
            report_of(sweep(_ON, replace(_ON, cell=cell(0.8, 16))), sweep(_OFF)),
            "1 of 2 cells have no baseline at their place, first Draft code at temperature 0.8, 16 at once",
            id="the baseline has fewer cells",
        ),
        pytest.param(
            report_of(sweep(_ON), sweep(_OFF, model="other")),
            "the baseline has another model, other instead of meta-llama/Llama-3.1-8B-Instruct",
            id="the baseline is of another model",
        ),
        pytest.param(
            report_of(sweep(_ON), sweep(_OFF, version="0.31.0")), "another engine version, 0.31.0", id="another release"
        ),
        pytest.param(
            report_of(sweep(_ON), sweep(_OFF)),
            "1 of 1 cells have too few requests for a bounded P99, which takes 459 in each",
            id="too few requests for a P99",
        ),
        pytest.param(
            report_of(sweep(measured(cell(), steady(0.02), 100, prompts=12)), None),
            "prompts were asked more than once (12 different ones)",
            id="twelve prompts asked a hundred times",
        ),
        pytest.param(
            report_of(sweep(replace(_ON, is_whole=False)), None),
            "ended early, 100 requests",
            id="a cell that ended early",
        ),
        pytest.param(
            report_of(sweep(replace(_ON, answers=(*_ON.answers, failed(200, "timed out")))), None),
            "1 of 101 requests failed, most often: timed out",
            id="a request that failed",
        ),
    ],
)
def test_what_a_reader_has_to_know_first(report: Report, says: str) -> None:
    assert any(says in caveat for caveat in report.caveats), report.caveats


def test_with_enough_of_everything_there_is_nothing_to_say() -> None:
    on, without = pair(cell(), on_ms=10, off_ms=20, requests=500)
    assert report_of(sweep(on), sweep(without)).caveats == ()


def test_cells_that_speculate_come_first_and_in_order() -> None:
    cells = [cell(0.8, 1), cell(0, 16), cell(0, 4), cell(0, 4, tokens=1), off(cell(0, 4))]
    report = report_of(sweep(*(measured(of, steady(0.02)) for of in cells)), None)
    assert [one.measured.cell for one in report.cells] == [cells[3], cells[2], cells[1], cells[0], cells[4]]


_SECONDS = st.one_of(st.just(math.nan), st.just(0.0), st.floats(1e-9, 1e6))
_ANSWERS = st.builds(
    Answer,
    prompt=st.integers(0, 5),
    seed=st.integers(0, 20),
    started_at=st.floats(START, START + 100),
    ttft_seconds=_SECONDS,
    e2e_seconds=_SECONDS,
    output_tokens=st.integers(0, 1000),
    error=st.sampled_from(["", "", "", "refused"]),
)
_COUNTS = st.one_of(st.just(0.0), st.floats(0, 1e9))
_DRAFTED = st.one_of(
    st.none(),
    st.builds(
        Drafted,
        drafts=_COUNTS,
        draft_tokens=_COUNTS,
        accepted_tokens=_COUNTS,
        accepted_at=st.lists(_COUNTS, max_size=3).map(tuple),
    ),
)


def _cells(mode: str) -> st.SearchStrategy[list[Measured]]:
    cells = st.builds(
        Cell,
        mode=st.just(mode),
        num_speculative_tokens=st.just(0) if mode == "Off" else st.sampled_from([1, 3]),
        kind=st.just("code"),
        temperature=st.sampled_from([0.0, 1.0]),
        concurrency=st.sampled_from([1, 4]),
    )
    measured_ = st.builds(
        Measured,
        cell=cells,
        seconds=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
        answers=st.lists(_ANSWERS, max_size=8).map(tuple),
        drafted=st.none() if mode == "Off" else _DRAFTED,
    )
    return st.lists(measured_, max_size=4)


def _is_json(body: dict[str, Any]) -> bool:
    return bool(json.dumps(body, allow_nan=False))


@given(_cells("Draft"), st.one_of(st.none(), _cells("Off")))
@settings(max_examples=150, deadline=None)
def test_neither_nan_nor_infinity_reaches_the_json(on: list[Measured], without: list[Measured] | None) -> None:
    """Whatever the endpoint answers: clocks that stand still or run back, counters that contradict each other."""
    report = report_of(sweep(*on), None if without is None else sweep(*without))
    assert _is_json(document(report))


def test_a_counter_that_says_more_was_accepted_than_proposed_stays_a_rate() -> None:
    report = report_of(sweep(measured(cell(), steady(0.02), counters=replace(drafted(0.5), accepted_tokens=1e9))), None)
    rate = report.cells[0].statistics.acceptance_rate
    assert rate is not None
    assert rate.high <= 1
