"""The guard over history: what it would have decided, when, and how long after the change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from backtest.recorded import LABELS, T0, Recorded, collapsing, lines
from builders import resource

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import Mode
from specdecode.backtest.choice import Choice
from specdecode.backtest.history import History, history_of
from specdecode.backtest.report import Walk
from specdecode.backtest.walk import changed_at, walk
from specdecode.decide.facts import Availability, Batch, Change, Measurement, Signals
from specdecode.engine.version import EngineVersion
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

FAULT = 1800.0


def labelled(mode: str, arm: str = "main") -> dict[str, str]:
    return {**LABELS, "specdecode_io_mode": mode, "specdecode_io_arm": arm}


def walked(*pods: Recorded, rearm_hours: float = 24, **overrides: Any) -> Walk:
    judged = resource(**overrides)
    history = history_of(lines(*pods), Choice("llama-70b", "serving"), judged, EngineVersion(0, 32, 0))
    plan = make_plan(judged)
    assert isinstance(history, History)
    assert isinstance(plan, Plan)
    return walk(history, judged, plan, rearm_after=timedelta(hours=rearm_hours))


def taken(found: Walk) -> list[tuple[str, Mode, Mode, str]]:
    return [(decided.action, decided.from_mode, decided.to, decided.reason) for decided in found.decisions]


def seconds(moment: datetime | None) -> float:
    assert moment is not None
    return moment.timestamp() - T0


COLLAPSED = ("RolledBack", Mode.QUANTIZED_DRAFT, Mode.NGRAM, "AcceptanceCollapsed")


def test_a_collapse_is_decided_within_45_seconds() -> None:
    found = walked(Recorded(accepted=collapsing(FAULT)))
    assert taken(found) == [COLLAPSED]
    (decided,) = found.decisions
    assert 0 <= seconds(decided.at) - FAULT <= 45
    assert seconds(decided.changed_at) == pytest.approx(FAULT, abs=20)
    assert decided.delay_seconds == (decided.at - (decided.changed_at or decided.at)).total_seconds()
    assert {item.name for item in decided.evidence} >= {"acceptanceLength", "drafts"}


def test_a_collapse_of_one_pod_among_two_needs_no_more() -> None:
    other = Recorded(accepted=collapsing(FAULT), instance="b", begin=6.0, seed=2)
    (decided,) = walked(Recorded(accepted=collapsing(FAULT)), other).decisions
    assert 0 <= seconds(decided.at) - FAULT <= 45


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param((Recorded(seconds=7200),), id="steady"),
        pytest.param((Recorded(lost=((1000, 1200), (2000, 2015))),), id="lost scrapes"),
        pytest.param((Recorded(restarts=(700, 1500, 1530, 3000)),), id="restarts"),
        pytest.param((Recorded(), Recorded(instance="b", begin=7, engines=2, seed=3)), id="two pods, two engines"),
        pytest.param((Recorded(labels=labelled("Off"), is_speculating=False),), id="nothing speculates"),
    ],
)
def test_a_healthy_history_gives_no_decision(pods: tuple[Recorded, ...]) -> None:
    assert taken(walked(*pods)) == []


def test_a_pause_is_told() -> None:
    found = walked(Recorded(seconds=3600, lost=((1800, 2400),)))
    start, pause, again = found.unmeasured
    assert (start.since, pause.availability) == (datetime.fromtimestamp(T0, UTC), Availability.NO_DATA)
    assert pause.cause.startswith("stale: no sample for more than 45s")
    assert seconds(pause.since) == pytest.approx(1785 + 45, abs=16)
    assert seconds(pause.until) == pytest.approx(2400, abs=1)
    assert "less than two scrapes" in again.cause


def test_the_walk_ends_blind_when_history_does() -> None:
    quiet = Recorded(seconds=300, instance="b", labels=labelled("Draft", "control"))
    found = walked(Recorded(seconds=120), quiet)
    assert found.unmeasured[-1].until >= datetime.fromtimestamp(T0 + 280, UTC)


def test_advice_has_a_beginning_and_an_end() -> None:
    found = walked(Recorded(seconds=3600))
    assert [(advice.reason, advice.until) for advice in found.findings] == [("GainNotConfirmed", None)]
    gone = walked(Recorded(seconds=3600, accepted=lambda at: 3.0 + 0.6 * (at > 900)))
    (under,) = (advice for advice in gone.findings if advice.reason == "AcceptanceUnderReview")
    assert under.until is not None
    assert seconds(under.since) < 900 < seconds(under.until)


def test_a_guard_that_recommends_is_told_once() -> None:
    found = walked(Recorded(accepted=collapsing(FAULT)), **{"spec.guard.action": "Recommend"})
    assert taken(found) == [("Recommended", Mode.QUANTIZED_DRAFT, Mode.NGRAM, "AcceptanceCollapsed")]
    assert found.decisions[0].evidence


def test_history_that_follows_the_guard_is_judged_in_the_new_mode() -> None:
    before = Recorded(seconds=FAULT + 40, accepted=collapsing(FAULT))
    after = Recorded(seconds=1800, begin=FAULT + 60, labels=labelled("NGram"), instance="b")
    found = walked(before, after)
    assert taken(found) == [COLLAPSED]
    assert [(ran.mode, ran.is_judged_anew) for ran in found.ran] == [
        (Mode.QUANTIZED_DRAFT, False),
        (Mode.NGRAM, False),
    ]


def test_history_that_changes_the_mode_itself_is_followed() -> None:
    first = Recorded(seconds=1200, labels=labelled("Off"), is_speculating=False)
    second = Recorded(seconds=FAULT + 600, begin=1200, instance="b", accepted=collapsing(1200 + FAULT))
    third = Recorded(seconds=900, begin=1200 + FAULT + 600, instance="c", labels=labelled("Off"), is_speculating=False)
    fourth = replace(second, begin=5000, instance="d", seconds=1800, accepted=collapsing(5900))
    found = walked(first, second, third, fourth)
    assert taken(found) == [COLLAPSED, COLLAPSED]
    assert [ran.mode for ran in found.ran] == [Mode.OFF, Mode.QUANTIZED_DRAFT, Mode.OFF, Mode.QUANTIZED_DRAFT]


def test_a_rolling_update_is_not_judged() -> None:
    old = Recorded(seconds=2400)
    new = Recorded(seconds=1800, begin=1800, labels=labelled("Draft"), instance="b", accepted=collapsing(0))
    found = walked(old, new)
    (decided,) = found.decisions
    assert decided.from_mode is Mode.DRAFT
    assert seconds(decided.at) > 2400


def test_pods_of_the_old_mode_that_stay_are_what_runs_when_the_new_ones_vanish() -> None:
    old = Recorded(seconds=3600)
    new = Recorded(seconds=300, begin=900, labels=labelled("Draft"), instance="b")
    assert [ran.mode for ran in walked(old, new).ran] == [Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.QUANTIZED_DRAFT]


@pytest.mark.parametrize(
    ("guard", "rearm_hours", "expected"),
    [
        pytest.param({}, 24.0, [COLLAPSED], id="the decision stands while history goes on"),
        pytest.param({}, 1.0, [COLLAPSED, COLLAPSED], id="judged anew after an hour"),
        pytest.param(
            {"spec.guard.retry": {"after": "30m", "maxAttempts": 1}},
            24.0,
            [COLLAPSED, ("Retried", Mode.NGRAM, Mode.QUANTIZED_DRAFT, "Retried"), COLLAPSED],
            id="the guard tries again by itself",
        ),
    ],
)
def test_history_that_goes_on(guard: dict[str, Any], rearm_hours: float, expected: list[Any]) -> None:
    pod = Recorded(seconds=2.2 * 3600, accepted=collapsing(FAULT))
    found = walked(pod, rearm_hours=rearm_hours, **guard)
    assert taken(found) == expected
    assert any(ran.is_judged_anew for ran in found.ran) == (rearm_hours == 1.0)


def test_a_control_replica_is_looked_at_where_one_is_wanted() -> None:
    control = Recorded(instance="c", labels=labelled("Off", "control"), is_speculating=False, seconds=1800)
    wanted = {"spec.guard.baseline.controlReplicas": 1}
    without, beside = walked(Recorded(), control), walked(Recorded(), control, **wanted)
    assert "GainNotConfirmed" in {advice.reason for advice in without.findings}
    assert beside.findings == () or beside.findings[0].since > datetime.fromtimestamp(T0 + 1800, UTC)


def test_nothing_runs_until_the_first_pod_of_the_main_arm() -> None:
    control = Recorded(instance="c", labels=labelled("Off", "control"), is_speculating=False)
    found = walked(Recorded(begin=600, accepted=collapsing(600 + FAULT)), control)
    assert taken(found) == [COLLAPSED]
    assert found.unmeasured[0].cause == "nothing was scraped yet"


def test_a_control_replica_that_goes_away_is_not_measured() -> None:
    control = Recorded(instance="c", labels=labelled("Off", "control"), is_speculating=False, seconds=900)
    found = walked(Recorded(), control, **{"spec.guard.baseline.controlReplicas": 1})
    assert taken(found) == []


def test_qualification_runs_as_history_ran() -> None:
    qualify = {"spec.guard.qualify": True}
    assert taken(walked(Recorded(accepted=collapsing(FAULT)), **qualify)) == [COLLAPSED]


def test_what_a_person_wrote_since_is_not_read() -> None:
    annotated = {
        "metadata.annotations": {"specdecode.io/paused": "true"},
        "status": {"mode": "Off", "specHash": "0123456789"},
    }
    assert taken(walked(Recorded(accepted=collapsing(FAULT)), **annotated)) == [COLLAPSED]


def test_progress_is_told() -> None:
    told: list[float] = []
    judged: SpecDecodeDeployment = resource()
    history = history_of(lines(Recorded(seconds=600)), Choice("llama-70b", "serving"), judged, EngineVersion(0, 32, 0))
    plan = make_plan(judged)
    assert isinstance(history, History)
    assert isinstance(plan, Plan)
    walk(history, judged, plan, advance=told.append)
    assert sum(told) == len(history.moments)


def change(at: float, nats: float) -> Change:
    return Change(3.0, 2.0, at, nats, 15.0)


def batch(at: float, accepted: float, drafts: float = 100.0) -> Batch:
    return Batch(at=at, seconds=15, drafts=drafts, draft_tokens=5 * drafts, accepted_tokens=accepted)


@pytest.mark.parametrize(
    ("reason", "signals", "batches", "at"),
    [
        pytest.param("AcceptanceBelowFloor", Signals(), (), None, id="nothing is known"),
        pytest.param("AcceptanceBelowFloor", Signals(acceptance_fall=change(60, 3)), (), None, id="nothing certain"),
        pytest.param(
            "SlowerThanBaseline",
            Signals(acceptance_fall=change(60, 20), tpot_rise=change(90, 20)),
            (),
            90,
            id="the newest certain change",
        ),
        pytest.param(
            "AcceptanceCollapsed",
            Signals(),
            (batch(15, 200), batch(30, 5), batch(45, 0, 0), batch(60, 1)),
            15,
            id="a collapse: since its first batch",
        ),
        pytest.param("AcceptanceCollapsed", Signals(), (batch(15, 200),), None, id="a collapse that is over"),
    ],
)
def test_when_it_began(reason: str, signals: Signals, batches: tuple[Batch, ...], at: float | None) -> None:
    measurement = Measurement(Availability.MEASURED, "", signals=signals, batches=batches)
    expected = None if at is None else datetime.fromtimestamp(at, UTC)
    assert changed_at(reason, measurement) == expected
