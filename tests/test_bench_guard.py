"""The simulation of the guard is itself to be trusted: its traffic, its counters, and the rules beside the guard."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from bench.guard.blindness import Blindness, Restarts, Sight, lose_sight, restart_engines
from bench.guard.decay import Said
from bench.guard.deployment import Deployment, Timing, known_baseline, layout, off_step_seconds, plan_of, tape_of
from bench.guard.detection import COLLAPSE, GUARD, TRAFFIC, FalseAlarms, delays, false_alarms
from bench.guard.honesty import Honesty, honesty
from bench.guard.judged import Judged, Stepped, is_suspicious, stretches
from bench.guard.regimes import REGIMES, Outcome, Regime, outcome
from bench.guard.report import LOSS, WATCHED, GuardReport
from bench.guard.rivals import RIVALS, Delays, argo_like, binomial_test, fixed_threshold, flagger_like
from bench.guard.size import QUICK
from bench.guard.tables import print_report
from bench.guard.traffic import CNN, GSM8K, INSTRUCTCODER, KINDS, SHAREGPT, STEP_SECONDS, Kind, mixed, moments_of
from bench.guard.world import (
    SCRAPE_SECONDS,
    SCRAPES_PER_DAY,
    STEP_TIME,
    Increments,
    accepting_for,
    simulate,
    steady,
    with_fault,
    without_speculation,
)
from rich.console import Console

from specdecode.api.vocabulary import Method, Mode
from specdecode.decide.baseline import band_at
from specdecode.observe.queries import Fact

HOUR = 240
DAY = SCRAPES_PER_DAY


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_moments_of_the_traffic_are_the_published_ones(kind: Kind) -> None:
    model, published = moments_of(kind, np.random.default_rng(1), 600_000), kind.published
    assert model.acceptance_length == pytest.approx(published.acceptance_length, rel=0.02)
    assert model.capped_acceptance_length == pytest.approx(published.capped_acceptance_length, rel=0.02)
    assert model.steps == pytest.approx(published.steps, rel=0.03)
    assert model.capped_steps == pytest.approx(published.capped_steps, rel=0.03)
    assert model.design_effect == pytest.approx(published.design_effect, rel=0.15)
    assert model.capped_design_effect == pytest.approx(published.capped_design_effect, rel=0.10)
    assert model.tpot_p99_ms == pytest.approx(published.tpot_p99_ms, rel=0.03)


def test_another_content_accepts_as_much_as_asked_for() -> None:
    model = moments_of(GSM8K.with_acceptance_length(1.8, "prose"), np.random.default_rng(1), 200_000)
    assert model.acceptance_length == pytest.approx(1.8, rel=0.02)


def test_mixed_traffic_lies_between_its_parts() -> None:
    both = mixed("both", ((0.5, GSM8K), (0.5, SHAREGPT)))
    model = moments_of(both, np.random.default_rng(1), 300_000)
    assert model.steps == pytest.approx(both.published.steps, rel=0.03)
    assert model.acceptance_length == pytest.approx(both.published.acceptance_length, rel=0.02)


@pytest.fixture(scope="module")
def day() -> Increments:
    return simulate(steady(CNN, 1.0, DAY), 1)


def test_counters_of_a_healthy_day_hold_together(day: Increments) -> None:
    assert day.requests.sum() == pytest.approx(86_400, rel=0.02)
    assert day.drafts.sum() / day.requests.sum() == pytest.approx(CNN.published.steps, rel=0.02)
    assert 1 + day.accepted_tokens.sum() / day.drafts.sum() == pytest.approx(CNN.published.acceptance_length, rel=0.01)
    assert day.generation_tokens.sum() == day.drafts.sum() + day.accepted_tokens.sum()
    assert day.step_seconds_sum.sum() / day.step_count.sum() == pytest.approx(STEP_SECONDS, rel=0.001)
    for histogram in (day.tpot, day.ttft, day.e2e):
        assert (histogram.sum(axis=1) == day.requests).all()


def test_running_requests_follow_from_arrivals_and_stay(day: Increments) -> None:
    assert day.running.mean() == pytest.approx(CNN.published.steps * STEP_SECONDS, rel=0.05)


def test_a_fault_begins_within_its_scrape_and_makes_requests_longer() -> None:
    healthy = steady(GSM8K, 1.0, HOUR)
    at_seconds = (HOUR / 2 + 0.5) * SCRAPE_SECONDS
    faulty = simulate(with_fault(healthy, at_seconds, accepting_for(GSM8K, 0.8)), 1)
    before, after = faulty.part(0, HOUR // 2), faulty.part(HOUR // 2 + 8, HOUR)
    assert np.nanmean(before.acceptance_length) == pytest.approx(2.394, rel=0.01)
    assert np.nanmean(after.acceptance_length) == pytest.approx(0.8 * 2.394, rel=0.01)
    assert faulty.acceptance_length[HOUR // 2] == pytest.approx(0.9 * 2.394, rel=0.05)
    assert after.drafts.mean() == pytest.approx(before.drafts.mean() / 0.8, rel=0.08)


def test_without_speculation_the_same_tokens_come_in_more_steps_and_nothing_is_drafted() -> None:
    course = steady(GSM8K, 1.0, DAY // 4)
    on, off = simulate(course, 1), simulate(without_speculation(course, 6e-3), 1)
    assert off.drafts.sum() == off.accepted_tokens.sum() == 0
    assert off.generation_tokens.sum() == pytest.approx(on.generation_tokens.sum(), rel=0.03)
    assert off.tpot_sum.sum() / off.requests.sum() == pytest.approx(6e-3, rel=0.05)


def test_content_may_turn_into_another_kind() -> None:
    course = replace(steady(GSM8K, 1.0, HOUR), other=SHAREGPT, other_share=np.ones(HOUR))
    assert simulate(course, 1).drafts.sum() / 3600 == pytest.approx(SHAREGPT.published.steps, rel=0.15)


def test_ngrams_draft_only_in_a_part_of_the_steps() -> None:
    course = replace(steady(GSM8K, 1.0, HOUR), draft_share=np.full(HOUR, 0.7))
    found = simulate(course, 1)
    assert found.drafts.sum() == pytest.approx(0.7 * found.step_count.sum(), rel=0.01)
    assert found.generation_tokens.sum() / found.step_count.sum() == pytest.approx(2.394, rel=0.02)


def test_users_that_ask_again_at_once_keep_the_engine_as_busy_as_they_are_many() -> None:
    users = np.repeat([4, 16], HOUR // 2)
    found = simulate(steady(GSM8K, 0.0, HOUR), 1, users)
    expected = users * SCRAPE_SECONDS / STEP_SECONDS
    assert found.step_count == pytest.approx(expected, rel=0.02)


def test_a_step_is_as_long_as_its_batch() -> None:
    one = np.array(1.0)
    assert STEP_TIME.draft(one, 500) == pytest.approx(STEP_SECONDS, rel=0.01)
    assert STEP_TIME.draft(one, 1000) / STEP_TIME.off(one, 1000) == pytest.approx(1.57, rel=0.01)
    assert STEP_TIME.draft(128 * one, 500) / STEP_TIME.off(128 * one, 500) == pytest.approx(2.03, rel=0.01)
    assert STEP_TIME.ngram_step(one, 500) < STEP_TIME.draft(one, 500)


def _constant(scrapes: int, length: float) -> Increments:
    """1,000 drafts a scrape, all accepting alike."""
    found = Increments.nothing(scrapes)
    found.drafts[:] = 1000
    found.accepted_tokens[:] = 1000 * (length - 1)
    return found


def test_a_rule_that_accumulates_acts_at_its_last_failure_and_begins_anew() -> None:
    faulty = _constant(2 * HOUR, 1.9)
    assert argo_like(faulty, 2.394).tolist() == [79, 159, 239, 319, 399, 479]
    assert flagger_like(faulty, 2.394)[:2].tolist() == [39, 79]
    assert argo_like(_constant(HOUR, 2.3), 2.394).size == 0


def test_a_test_that_takes_drafts_as_independent_fires_on_healthy_traffic() -> None:
    healthy = simulate(steady(INSTRUCTCODER, 1.0, DAY), 1)
    windows = DAY / 20
    assert 0.23 <= len(binomial_test(healthy, 2.352)) / windows <= 0.55


def test_a_fixed_threshold_cannot_tell_three_draft_tokens_from_a_fault(day: Increments) -> None:
    assert len(fixed_threshold(day, 2.331)) == DAY / 20


def test_nobody_acts_where_nothing_runs() -> None:
    assert all(rule(Increments.nothing(HOUR), 2.4).size == 0 for rule in RIVALS.values())


def test_a_missed_fault_took_for_ever() -> None:
    delays = Delays((15.0, 30.0, 45.0), 1)
    assert (delays.count, delays.quantile(0.5), delays.quantile(0.75), delays.quantile(0.99)) == (4, 30, 45, np.inf)


def test_the_interval_around_a_p99_holds_the_true_one() -> None:
    found = honesty(500, 1)
    assert found.holds_true >= 0.99 * found.windows
    assert found.holds_own == found.windows
    assert found.acted_inside == 0


def test_only_traffic_that_could_make_the_judge_step_is_judged() -> None:
    off_seconds = float(STEP_TIME.off(np.array(1.0), 500))
    course = steady(GSM8K, 1.0, DAY // 2)
    assert not is_suspicious(simulate(course, 1), off_seconds).any()
    at_seconds = DAY / 4 * SCRAPE_SECONDS
    found = is_suspicious(simulate(with_fault(course, at_seconds, accepting_for(GSM8K, 0.6)), 1), off_seconds)
    assert found[DAY // 4 + 2 :].all()
    assert not found[: DAY // 4].any()


def test_what_is_judged_begins_before_and_ends_after_what_is_suspicious() -> None:
    suspicious = np.zeros(2000, dtype=np.bool_)
    suspicious[[500, 520, 1500]] = True
    assert list(stretches(suspicious)) == [(380, 540), (1380, 1520)]
    assert list(stretches(np.zeros(10, dtype=np.bool_))) == []


def test_a_tape_counts_up_and_has_no_counters_of_speculation_when_off() -> None:
    increments = simulate(steady(GSM8K, 1.0, 40), 1)
    tape, off = tape_of(increments, Mode.DRAFT), tape_of(increments, Mode.OFF)
    assert (np.diff(tape.counters, axis=0) >= 0).all()
    assert tape.counters[-1, layout().index[Fact.DRAFTS]] == increments.drafts.sum()
    assert np.isnan(off.counters[:, layout().speculation]).all()
    tpot = layout().histograms[Fact.TPOT]
    assert tape.counters[-1, tpot.buckets][-1] == tape.counters[-1, tpot.count] == increments.requests.sum()


def test_the_known_baseline_answers_at_every_load_of_the_simulation() -> None:
    plan = plan_of(Method.EAGLE3)
    off = known_baseline(plan).off
    for running in (0.05, 0.6, 1.3, 16, 128):
        assert band_at(off, plan.baseline_key, running) is not None


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_a_regime_is_worth_what_its_name_says(regime: Regime) -> None:
    everybody = np.full(regime.scrapes, 2.0)
    speedup = regime.tokens(Mode.DRAFT, everybody) / regime.tokens(Mode.OFF, everybody)
    first, last = float(speedup[0]), float(speedup[-1])
    expected = {
        "gains 1.45": (1.44, 1.44),
        "gains 1.05": (1.05, 1.05),
        "loses 3 % all day": (0.97, 0.97),
        "loses 20 % all day": (0.80, 0.80),
        "collapse after 2 h": (1.44, 0.63),
        "dip of 20 min": (1.44, 1.44),
        "load 8 -> 128": (1.17, 0.94),
        "load 8 -> 128 -> 8": (1.17, 1.17),
        "load between bands": (1.11, 0.92),
        "decay over 6 h": (1.44, 0.66),
        "everything 1.7 times slower": (1.44, 1.44),
        "content 2.4 -> 1.9 -> 2.4": (1.44, 1.44),
    }
    assert (first, last) == pytest.approx(expected[regime.name], abs=0.01)


PHASES = Timing(scrape_phases=(2.0, 9.0), tick_phase=12.0)


def _collapsing(at_scrape: int, scrapes: int) -> Deployment:
    course = steady(GSM8K, 0.5, scrapes)
    faulty = with_fault(course, at_scrape * SCRAPE_SECONDS, COLLAPSE.accepting(GSM8K))
    off = without_speculation(course, off_step_seconds())
    tapes = {
        Mode.DRAFT: [tape_of(simulate(faulty, pod), Mode.DRAFT) for pod in range(2)],
        Mode.OFF: [tape_of(simulate(off, 10 + pod), Mode.OFF) for pod in range(2)],
    }
    return Deployment(tapes, PHASES)


def test_a_collapse_is_left_within_a_minute_and_the_pods_are_replaced_one_after_another() -> None:
    played = _collapsing(80, 140).play()
    assert [(move.mode, move.reason) for move in played.moves] == [(Mode.OFF, "AcceptanceCollapsed")]
    assert 0 < played.moves[0].at - 80 * SCRAPE_SECONDS <= 60
    replacing = [mode for mode, up in zip(played.modes, played.pods_up, strict=True) if up == 1]
    assert replacing == [Mode.DRAFT] * 7 + [Mode.OFF] * 8 or replacing == [Mode.DRAFT] * 8 + [Mode.OFF] * 8
    assert set(played.modes[-10:]) == {Mode.OFF}
    assert played.words[-1] == "Measured"


def test_another_deployment_goes_on_from_what_one_has_learnt() -> None:
    morning = _collapsing(200, 120)
    morning.play()
    afternoon = _collapsing(12, 40)
    afternoon.go_on_from(morning)
    played = afternoon.play()
    assert len(played.moves) == 1
    assert played.moves[0].at > morning.tick_at(morning.ticks)


def test_the_detector_sees_a_collapse_long_before_rules_with_windows() -> None:
    found = delays(TRAFFIC[0], COLLAPSE, 4)
    assert found[GUARD].missed == 0
    assert found[GUARD].quantile(0.99) <= 90
    assert found["Flagger-like"].quantile(0.5) > 300


def test_a_healthy_day_is_counted_by_every_rule() -> None:
    found = false_alarms(TRAFFIC[0], 1)
    assert found.per_month("acceptance_fall") == 0
    assert found.per_month("rate < 50 %") == 30 * DAY / 20


@pytest.mark.parametrize("blindness", Blindness)
def test_nothing_is_done_while_nothing_is_seen(blindness: Blindness) -> None:
    found = lose_sight(GSM8K, 1.0, blindness, 1)
    assert (found.noticed.missed, found.steps_while_blind, found.steps_after) == (0, 0, 0)
    assert found.noticed.quantile(1) <= 60


def test_engines_that_restart_by_themselves_are_no_fault() -> None:
    found = restart_engines(TRAFFIC[0], 2)
    assert (found.restarts, found.steps, found.certain) == (2, 0, 0)


def test_a_regime_that_gains_is_left_alone() -> None:
    found = outcome(Regime("gains", 1), 1)
    assert (found.of_best_fixed, found.moves, found.best_fixed) == (1.0, (), Mode.DRAFT)
    assert found.worst_hour == pytest.approx(1.44, abs=0.01)


def _report() -> GuardReport:
    """As small as it gets, with made-up numbers."""
    some, none = Delays((30.0, 45.0), 1), Delays((), 0)
    stepped = Stepped(some, 0, {"AcceptanceCollapsed": 2})
    judged = Judged("GSM8K 1/s", 3, 100, ("AcceptanceBelowFloor: far below",))
    return GuardReport(
        size=QUICK,
        seconds=1.0,
        model={kind.name: kind.published for kind in KINDS},
        alarms=tuple(
            FalseAlarms(traffic.name, 3, {"acceptance_fall": 1}, dict.fromkeys(RIVALS, 0)) for traffic in TRAFFIC
        ),
        watched={
            (traffic.name, fault.name): dict.fromkeys((GUARD, *RIVALS), some)
            for traffic in TRAFFIC
            for fault in WATCHED
        },
        judged={(traffic.name, fault.name): stepped for traffic in TRAFFIC for fault in (COLLAPSE, LOSS)},
        steady=tuple(replace(judged, name=traffic.name) for traffic in TRAFFIC),
        unknown=(),
        drifts=(judged,),
        decays=(Said("slow", "GSM8K 1/s", some, 6.0, {"decay": 2, "acceptance_fall": 0}, none),),
        honesty=Honesty(10, 9, 10, 4, 0, 0),
        regimes=(Outcome("gains", 1.0, Mode.DRAFT, 1.4, 1.4, ()),),
        sights=(Sight(Blindness.STALE, some, 0, 0),),
        restarts=(Restarts("GSM8K 1/s", 8, 0, 0),),
    )


def test_the_tables_say_what_was_run_and_what_came_out() -> None:
    console = Console(width=200, record=True, file=StringIO())
    print_report(console, _report())
    text = console.export_text()
    assert "quick run" in text
    assert "45 s / never, 1 missed" in text
    assert "AcceptanceBelowFloor 1" in text
    assert "inside [low, high] in 9 of 10 windows (90.00 %)" in text
