"""What each rule says it saw, and when a decision is explained anew."""

from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any

import pytest
from builders import NOW, child, fifth, measurement, off_band, off_baseline, plan, situation, status, window

from specdecode.api.status import (
    RULE_LIMIT,
    SAW_LIMIT,
    BaselineStatus,
    DecisionStatus,
    DraftBaseline,
    RuleOutcome,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import Mode
from specdecode.decide.decide import decide, explain
from specdecode.decide.decision import Decision, Reason, Step
from specdecode.decide.explain import explained, is_news, next_decision
from specdecode.decide.facts import Batch, Change, Cluster, Histogram, Signals, TemperatureBucket
from specdecode.decide.rules import RULES
from specdecode.decide.situation import Situation, Stage, View

QUANTIZED, DRAFT, OFF = Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.OFF
MOVED = Change(reference=2.4, recent=2.3, since=NOW.timestamp() - 90, evidence_nats=3.0, threshold_nats=12.0)
LIVELY = tuple(
    Batch(at=NOW.timestamp() - 15 * ago, seconds=15, drafts=400, draft_tokens=2000, accepted_tokens=1400, requests=10)
    for ago in (1, 0)
)


def view(mode: Mode = QUANTIZED, stage: Stage = Stage.SETTLED, **changes: Any) -> View:
    seen = measurement(mode=mode, **changes.pop("seen", {}))
    return View(situation(measurement=seen, child=child(mode=mode), **changes), mode, stage)


def seen_draft(percent: str) -> SpecDecodeDeploymentStatus:
    draft = DraftBaseline(key=plan().draft_key, acceptance_rate_percent=percent, draft_tokens=20_000, at=NOW)
    return status(baseline=BaselineStatus(draft=draft))


def by_temperature(count: float) -> dict[str, Any]:
    acceptance = Histogram(((0.5, 0.0), (inf, count)), sum_seconds=0.75 * count, count=count)
    return {"temperatures": (TemperatureBucket("0", acceptance),)}


LIMITED = {"spec.guard": {"latency": {"tpotP99": "40ms", "ttftP99": "2s"}}}
METERED = {"spec.guard": {"meter": True}}
UNPAID = window(accepted_tokens=10_500, step_seconds_sum=60.0)
OVER = window(tpot=Histogram(((0.05, 0.0), (0.075, 3000.0), (inf, 3000.0)), sum_seconds=180.0, count=3000.0))
LOW = window(accepted_tokens=8000.0)
BETTER = replace(fifth(LOW), accepted_tokens=3000.0)
FEW = window(drafts=10, draft_tokens=50, accepted_tokens=30)
WITH_OFF = status(baseline=BaselineStatus(off=off_baseline(off_band("30ms"))))


@pytest.mark.parametrize(
    ("rule", "at", "words"),
    [
        (Reason.ENGINE_NOT_STARTING, view(), "replicas updated"),
        (
            Reason.ENGINE_NOT_STARTING,
            replace(view(), situation=replace(situation(), cluster=Cluster(None))),
            "no Deployment",
        ),
        (Reason.ACCEPTANCE_COLLAPSED, view(Mode.NGRAM), "NGram runs no draft model"),
        (Reason.ACCEPTANCE_COLLAPSED, view(seen={"batches": ()}), "fewer than 200 drafts, or than 4 requests"),
        (Reason.ACCEPTANCE_COLLAPSED, view(seen={"batches": LIVELY}), "length 4.50 over 30s (800 drafts), limit 1.1"),
        (Reason.QUANTIZATION_DROP, view(DRAFT), "no quantised draft runs"),
        (Reason.QUANTIZATION_DROP, view(), "was not measured (guard.qualify measures it first)"),
        (
            Reason.QUANTIZATION_DROP,
            view(status=seen_draft("75.0"), seen={"slow": FEW, "fast": fifth(FEW)}),
            "10 draft tokens in the smallest of baseline, window and newest part, needs 2000",
        ),
        (Reason.QUANTIZATION_DROP, view(status=seen_draft("75.0")), "unquantised 75.0 %: "),
        (Reason.SLOWER_THAN_BASELINE, view(OFF), "speculation is off"),
        (Reason.SLOWER_THAN_BASELINE, view(status=WITH_OFF), "by recorded baseline, limit 0.91"),
        (
            Reason.SLOWER_THAN_BASELINE,
            view(seen={"slow": FEW, "fast": fifth(FEW), "batches": ()}),
            "nothing was measured without speculation at 16 running requests per replica",
        ),
        (Reason.LATENCY_OVER_LIMIT, view(), "no limit is set in guard.latency"),
        (
            Reason.LATENCY_OVER_LIMIT,
            view(
                spec={"spec.guard": {"latency": {"tpotP99": "40ms", "ttftP99": "2s"}}}, seen={"slow": window(ttft=None)}
            ),
            "limit 40ms; ttftP99 too few requests, limit 2s",
        ),
        (Reason.ACCEPTANCE_BELOW_FLOOR, view(), "limit 50 %"),
        (Reason.ACCEPTANCE_BELOW_FLOOR, view(OFF), "speculation is off"),
        (
            Reason.ACCEPTANCE_BELOW_FLOOR,
            view(seen={"slow": FEW, "fast": fifth(FEW)}),
            "50 draft tokens in 10 drafts over 5m, needs 1000 in 200",
        ),
        (
            Reason.SLOWER_THAN_BASELINE,
            view(seen={"slow": UNPAID, "fast": fifth(UNPAID)}),
            "per replica; predicted 0.71, which is no evidence",
        ),
        (
            Reason.LATENCY_OVER_LIMIT,
            view(spec=LIMITED, seen={"slow": OVER, "fast": fifth(window())}),
            "tpotP99 50 ms..75 ms, limit 40ms, not all the time; ttftP99",
        ),
        (Reason.ACCEPTANCE_BELOW_FLOOR, view(seen={"slow": UNPAID, "fast": BETTER}), "limit 50 %"),
        (
            Reason.ACCEPTANCE_BELOW_FLOOR,
            view(seen={"slow": LOW, "fast": BETTER}),
            "acceptance rate 40.0 % over 5m, limit 50 %, not all the time",
        ),
        (Reason.ACCEPTANCE_UNDER_REVIEW, view(), "review from 50 to 65 %"),
        (Reason.ACCEPTANCE_DECAYS, view(), "too little was seen to tell a change"),
        (Reason.ACCEPTANCE_DECAYS, view(seen={"signals": Signals(decay=MOVED)}), "2.40 -> 2.30, evidence 3.0 of 12.0"),
        (Reason.ACCEPTANCE_FELL, view(seen={"signals": Signals(acceptance_fall=MOVED)}), "acceptance length 2.40"),
        (Reason.ACCEPTANCE_ROSE, view(seen={"signals": Signals(acceptance_rise=MOVED)}), "acceptance length 2.40"),
        (Reason.SLOWER_AT_SAME_LOAD, view(seen={"signals": Signals(tpot_rise=MOVED)}), "TPOT against this load's own"),
        (Reason.MIXED_TRAFFIC, view(OFF), "speculation is off"),
        (Reason.MIXED_TRAFFIC, view(), "are not known at this load"),
        (
            Reason.MIXED_TRAFFIC,
            view(seen={"control": measurement(mode=OFF, slow=window())}),
            "TPOT P50 ",
        ),
        (Reason.TEMPERATURE_BELOW_FLOOR, view(), "the meter does not run (guard.meter)"),
        (Reason.TEMPERATURE_BELOW_FLOOR, view(spec=METERED, seen=by_temperature(10)), "too few metered requests"),
        (Reason.TEMPERATURE_BELOW_FLOOR, view(spec=METERED, seen=by_temperature(90)), "mean by temperature 0: 75.0 %"),
        (Reason.WINDOW_LENGTHENED, view(), "guard.window 5m, the shortest that shows anything is 1m"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_a_rule_says_what_it_saw(rule: Reason, at: View, words: str) -> None:
    (found,) = [each for each in RULES if each.reason is rule]
    assert words in found.saw(at)


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule.reason for rule in RULES}) == len(RULES) <= RULE_LIMIT


def test_a_rule_that_was_not_asked_says_what_it_needs() -> None:
    said = {each.rule: each for each in explained(view(stage=Stage.FAST))}
    assert said["AcceptanceCollapsed"].outcome is RuleOutcome.HOLDS
    assert said["LatencyOverLimit"].outcome is RuleOutcome.NOT_ASKED
    assert said["LatencyOverLimit"].saw == "needs one whole window after the last rollout or outage"


def dead() -> Situation:
    rejected = window(drafts=4000, draft_tokens=20_000, accepted_tokens=100)
    batches = tuple(replace(batch, accepted_tokens=10) for batch in LIVELY)
    return situation(measurement=measurement(slow=rejected, fast=fifth(rejected), batches=batches))


def test_a_step_down_keeps_what_each_rule_saw() -> None:
    decision = decide(dead())
    assert decision.rollback is not None
    said = {each.rule: each for each in decision.rollback.rules}
    assert [rule for rule, each in said.items() if each.outcome is RuleOutcome.ACTS] == ["AcceptanceCollapsed"]
    assert "acceptance length 1.0" in said["AcceptanceCollapsed"].saw
    assert all(len(each.saw) <= SAW_LIMIT for each in decision.rollback.rules)
    now = next_decision(None, decision, "hash", (), NOW)
    assert (now.reason, now.rules) == ("AcceptanceCollapsed", decision.rollback.rules)


def test_where_nothing_is_judged_no_rule_is_asked() -> None:
    assert explain(situation(annotations={"specdecode.io/force-mode": "Off"})) == ()
    assert len(explain(situation())) == len(RULES)


KEPT = Decision(DRAFT, Step.KEEP, Reason.AS_REQUESTED, "acceptance 70.1 %")
EXPLAINED = DecisionStatus(at=NOW, mode=DRAFT, reason="AsRequested", message="acceptance 70.0 %", spec_hash="hash")


@pytest.mark.parametrize(
    ("decision", "spec_hash", "is_new"),
    [
        pytest.param(KEPT, "hash", False, id="other numbers are no news"),
        pytest.param(replace(KEPT, mode=OFF), "hash", True, id="another mode is"),
        pytest.param(replace(KEPT, reason=Reason.SETTLING), "hash", True, id="another reason is"),
        pytest.param(KEPT, "another", True, id="another spec is"),
    ],
)
def test_what_is_explained_anew(decision: Decision, spec_hash: str, is_new: bool) -> None:  # noqa: FBT001 - a table
    assert is_news(EXPLAINED, decision, spec_hash, NOW) is is_new
    later = next_decision(EXPLAINED, decision, spec_hash, (), NOW + timedelta(minutes=1))
    assert (later != EXPLAINED) is is_new


def test_the_first_decision_is_news() -> None:
    assert is_news(None, KEPT, "hash", NOW)


@pytest.mark.parametrize("reason", [Reason.NO_FALLBACK_FITS, Reason.STEP_DOWN_RECOMMENDED])
def test_what_would_be_done_stands_for_a_while(reason: Reason) -> None:
    """A limit that is straddled costs no write at every look."""
    would = EXPLAINED.model_copy(update={"reason": reason.value})
    assert not is_news(would, KEPT, "hash", NOW + timedelta(minutes=9))
    assert is_news(would, KEPT, "hash", NOW + timedelta(minutes=10))
    assert is_news(would, replace(KEPT, mode=OFF), "hash", NOW)
    assert is_news(would, replace(KEPT, step=Step.UP), "hash", NOW)
