"""From what a person asks to a report, from a file and from a Prometheus."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backtest.archive_server import Archived, serving
from backtest.recorded import LABELS, T0, Recorded, collapsing, lines, openmetrics
from builders import resource

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Mode
from specdecode.backtest.history import History
from specdecode.backtest.remote import from_prometheus
from specdecode.backtest.report import document
from specdecode.backtest.run import Asked, from_file, report_of
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

FAULT = 1800.0
POD = Recorded(accepted=collapsing(FAULT))
NOW = T0 + 4000


def asked(**changes: Any) -> Asked:
    plan = make_plan(resource())
    assert isinstance(plan, Plan)
    return replace(Asked(resource(), plan), **changes)


def written(tmp_path: Path, *pods: Recorded) -> Path:
    path = tmp_path / "history.om"
    path.write_text(openmetrics(*pods))
    return path


def test_a_file_and_a_prometheus_give_the_same_report(tmp_path: Path) -> None:
    file = from_file(written(tmp_path, POD), asked())
    token = tmp_path / "token"
    token.write_text("secret\n")
    archived = Archived(lines(POD), NOW)
    with serving(archived) as url:
        server = from_prometheus(url, asked(), token_file=token)
    assert isinstance(file, History)
    assert isinstance(server, History)
    assert archived.tokens == {"Bearer secret"}
    reports = [document(report_of(history, asked(), "here")) for history in (file, server)]
    assert reports[0] == reports[1]


def test_the_report_as_json(tmp_path: Path) -> None:
    told: dict[str, float] = {}

    def advance(what: str, more: float, whole: float) -> None:
        told[what] = told.get(what, 0) + more / whole

    other = resource(**{"spec.guard.action": "Recommend"})
    wish = asked(advance=advance, changes={"guard.action": "Recommend"}, other=other)
    history = from_file(written(tmp_path, POD), wish)
    assert isinstance(history, History)
    report = document(report_of(history, wish, "x.om"))
    assert {name: report[name] for name in ("namespace", "name", "source", "start", "end", "steps")} == {
        "namespace": "serving",
        "name": "llama-70b",
        "source": "x.om",
        "start": "2026-11-22T12:00:00Z",
        "end": "2026-11-22T12:59:45Z",
        "steps": 240,
    }
    as_written, changed = report["walks"]
    assert (as_written["changed"], changed["changed"]) == ({}, {"guard.action": "Recommend"})
    (decision,) = as_written["decisions"]
    assert set(decision) == {
        "at",
        "action",
        "from",
        "to",
        "reason",
        "message",
        "evidence",
        "changedAt",
        "delaySeconds",
    }
    assert (decision["from"], decision["to"]) == (Mode.QUANTIZED_DRAFT, Mode.NGRAM)
    assert decision["evidence"][0]["name"] == "acceptanceLength"
    assert changed["decisions"][0]["action"] == "Recommended"
    assert as_written["ran"] == [{"since": "2026-11-22T12:00:00Z", "mode": "QuantizedDraft", "judgedAnew": False}]
    assert set(as_written["findings"][0]) == {"reason", "message", "since", "until"}
    assert set(as_written["unmeasured"][0]) == {"since", "until", "availability", "cause"}
    assert told == pytest.approx({"reading": 1, "judging": 1, "judging with other thresholds": 1})


def test_a_part_of_a_file(tmp_path: Path) -> None:
    history = from_file(written(tmp_path, POD), asked(start=T0 + 600, end=T0 + 900))
    assert isinstance(history, History)
    assert (history.first_at, history.last_at) == (T0 + 600, T0 + 900)


def test_a_step_of_its_own(tmp_path: Path) -> None:
    history = from_file(written(tmp_path, POD), asked(step_seconds=30))
    assert isinstance(history, History)
    assert (history.step_seconds, history.scrape_interval_seconds) == (30, 15)


OLD = Recorded(seconds=60, names=metric_names(EngineVersion(0, 10, 2)))
OTHER = Recorded(seconds=60, labels={**LABELS, "specdecode_io_deployment": "other"})
THIRD = Recorded(seconds=60, labels={**LABELS, "specdecode_io_deployment": "third"})


@pytest.mark.parametrize(
    ("pods", "changes", "sentence"),
    [
        pytest.param([OLD], {}, "before 0.11.0", id="another version"),
        pytest.param([OTHER, THIRD], {}, "covers serving/other, serving/third", id="several deployments"),
        pytest.param([POD], {"start": T0 - 60, "end": T0 - 30}, "covers 2026-11-22T12:00:00Z to", id="an empty range"),
        pytest.param([], {}, "holds no sample", id="an empty file"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, pods: list[Recorded], changes: dict[str, Any], sentence: str
) -> None:
    found = from_file(written(tmp_path, *pods), asked(**changes))
    assert isinstance(found, Problem)
    assert sentence in str(found)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.om"
    path.write_text("up 1 1000\n")
    assert "no series of vLLM" in str(from_file(path, asked()))
    assert "cannot be read" in str(from_file(tmp_path / "none", asked()))


@pytest.mark.parametrize(
    ("archived", "changes", "sentence"),
    [
        pytest.param(Archived([], NOW), {}, "has no vllm:num_requests_running from", id="nothing in the range"),
        pytest.param(Archived(lines(POD), NOW), {"start": NOW}, "must lie before the end", id="an empty range"),
        pytest.param(Archived(lines(OTHER, THIRD), NOW), {}, "choose one of them", id="several deployments"),
        pytest.param(Archived(lines(OLD), NOW), {}, "before 0.11.0", id="another version"),
        pytest.param(Archived(lines(POD), NOW, status=400), {}, "HTTP Status Code 400", id="a refusal"),
        pytest.param(
            Archived(lines(POD), NOW, status=422, fails_for="count"), {}, "told to", id="a refusal of the first query"
        ),
        pytest.param(Archived(lines(POD), NOW, body=b"<html>"), {}, "cannot be reached: JSONDecodeError", id="no API"),
        pytest.param(Archived(lines(POD), NOW, body=b'{"status":"success"}'), {}, "no JSON of its query", id="half"),
        pytest.param(
            Archived(lines(POD), NOW, fails_for="{", warning="a store is away"),
            {},
            "answered only in part: a store is away",
            id="a partial answer",
        ),
        pytest.param(Archived(lines(POD), NOW, status=503, fails_for="{"), {}, "Code 503", id="overloaded"),
    ],
)
def test_a_prometheus_that_cannot_be_used(archived: Archived, changes: dict[str, Any], sentence: str) -> None:
    with serving(archived) as url:
        found = from_prometheus(url, asked(**changes))
    assert isinstance(found, Problem)
    assert sentence in str(found)


def test_a_prometheus_that_does_not_answer() -> None:
    with serving(Archived([], NOW)) as url:
        pass
    assert "cannot be reached: ConnectionError" in str(from_prometheus(url, asked()))


def test_hours_are_asked_for_one_by_one() -> None:
    archived = Archived(lines(POD), NOW)
    with serving(archived) as url:
        from_prometheus(url, asked(start=T0 - 1, end=T0 + 9000))
    chunks = [query for query in archived.asked if query.startswith("{")]
    assert [query.rpartition("[")[2] for query in chunks] == ["3600000ms]", "3600000ms]", "1801000ms]"]
    assert all('specdecode_io_deployment="llama-70b"' in query for query in chunks)
