"""What acceptance leads to, and above all what it must not lead to."""

from dataclasses import replace
from typing import Any

import pytest
from builders import (
    NOW,
    child,
    condition,
    fifth,
    histogram,
    measurement,
    mode_plan,
    off_band,
    off_baseline,
    plan,
    situation,
    status,
    window,
)

from specdecode.api.status import BaselineStatus, ConditionType, DraftBaseline, OffBaseline, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.acceptance import (
    acceptance_below_floor,
    acceptance_collapsed,
    acceptance_under_review,
    quantization_drop,
)
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import NO_SIGNALS, Batch, Change, Signals, Window
from specdecode.decide.situation import Stage, View

QUANTIZED, DRAFT, NGRAM, OFF = Mode.QUANTIZED_DRAFT, Mode.DRAFT, Mode.NGRAM, Mode.OFF


def counted(drafts: float, tokens: float, accepted: float, **overrides: Any) -> Window:
    return window(drafts=drafts, draft_tokens=tokens, accepted_tokens=accepted, **overrides)


def rate(percent: float, tokens: float = 20_000, **overrides: Any) -> Window:
    return counted(tokens / 5, tokens, tokens * percent / 100, **overrides)


def seen_draft(percent: str = "75.0", tokens: int = 20_000, key: str = plan().draft_key) -> DraftBaseline:
    return DraftBaseline(key=key, acceptance_rate_percent=percent, draft_tokens=tokens, at=NOW)


def seen_off(tpot: str = "30ms", running: int = 16, key: str = plan().baseline_key) -> OffBaseline:
    return off_baseline(off_band(tpot, running), key=key)


def knowing(draft: DraftBaseline | None = None, off: OffBaseline | None = None) -> SpecDecodeDeploymentStatus:
    return status(baseline=BaselineStatus(draft=draft, off=off))


def rolled_out(seconds_ago: float) -> SpecDecodeDeploymentStatus:
    conditions = (
        condition(ConditionType.RECONCILING, "False", seconds_ago=seconds_ago),
        condition(ConditionType.METRICS_AVAILABLE, "True"),
    )
    return status(conditions=conditions)


def view(slow: Window | None = None, fast: Window | None = None, *, mode: Mode = QUANTIZED, **overrides: Any) -> View:
    slow = slow or window()
    seen = measurement(mode=mode, slow=slow, fast=fast or fifth(slow))
    return View(situation(measurement=seen, child=child(mode=mode), **overrides), mode, Stage.SETTLED)


DEAD = counted(800, 4000, 40)
LIKELY = Change(reference=2.4, recent=1.0, since=NOW.timestamp() - 40, evidence_nats=6.0, threshold_nats=12.0)


def scrapes(*accepted_of_400: float, drafts: float = 400, **overrides: Any) -> View:
    """Scrapes 15 s apart, the last one now, each with `drafts` drafts of which so many tokens were accepted."""
    signals, mode = overrides.pop("signals", NO_SIGNALS), overrides.pop("mode", QUANTIZED)
    requests, running = overrides.pop("requests", 10.0), overrides.pop("running", 4.0)
    batches = tuple(
        Batch(
            at=NOW.timestamp() - 15 * left,
            seconds=15,
            drafts=drafts,
            draft_tokens=5 * drafts,
            accepted_tokens=accepted,
            requests=requests,
            running_requests=running,
        )
        for left, accepted in reversed(tuple(enumerate(reversed(accepted_of_400))))
    )
    seen = measurement(mode=mode, batches=batches, signals=signals)
    return View(situation(measurement=seen, child=child(mode=mode), **overrides), mode, Stage.FAST)


@pytest.mark.parametrize(
    ("seen", "target"),
    [
        pytest.param(view(fast=DEAD), NGRAM, id="nothing is accepted: past the draft that was never seen healthy"),
        pytest.param(
            view(fast=DEAD, status=knowing(seen_draft())),
            DRAFT,
            id="the unquantised draft was seen healthy: take it back",
        ),
        pytest.param(
            view(fast=DEAD, status=knowing(seen_draft(key="otherdraft"))),
            NGRAM,
            id="another draft was seen healthy: that says nothing",
        ),
        pytest.param(
            view(
                fast=DEAD,
                status=knowing(seen_draft()),
                plan=plan(QUANTIZED, mode_plan(DRAFT, fits=False), NGRAM, OFF),
            ),
            NGRAM,
            id="seen healthy, but it does not fit any more",
        ),
        pytest.param(
            view(fast=DEAD, mode=DRAFT, status=knowing(seen_draft())), NGRAM, id="the unquantised draft itself"
        ),
        pytest.param(view(fast=DEAD, plan=plan(QUANTIZED, OFF)), OFF, id="only Off is below"),
        pytest.param(
            view(fast=DEAD, plan=plan(QUANTIZED, mode_plan(OFF, fits=False))), None, id="nothing below fits: say so"
        ),
        pytest.param(scrapes(900, 40, 40), NGRAM, id="two scrapes at exactly 1.1"),
        pytest.param(scrapes(900, 400, 40, signals=Signals(LIKELY)), NGRAM, id="one, and the change is likely"),
        pytest.param(scrapes(*[3] * 7, drafts=30), NGRAM, id="thin traffic: as many scrapes as hold 200 drafts"),
        pytest.param(
            scrapes(900, 40, 40, 40, requests=0.7, running=1.0), NGRAM, id="few requests: as many scrapes as show four"
        ),
    ],
)
def test_a_collapse_steps_down(seen: View, target: Mode | None) -> None:
    finding = acceptance_collapsed(seen)
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.ACCEPTANCE_COLLAPSED, target)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(), id="healthy"),
        pytest.param(scrapes(900, 40), id="one scrape may be odd"),
        pytest.param(scrapes(900, 400, 41, signals=Signals(LIKELY)), id="likely, and just above the limit"),
        pytest.param(scrapes(900, 400, 40, signals=Signals(replace(LIKELY, evidence_nats=5.9))), id="not likely yet"),
        pytest.param(scrapes(*[0] * 6, drafts=33), id="198 drafts may be one odd request"),
        pytest.param(scrapes(40, 40, requests=0, running=0.5), id="two scrapes of one request that loops"),
        pytest.param(scrapes(900, 900, 40, 40, requests=0.6, running=1.0), id="of four requests one may loop"),
        pytest.param(
            scrapes(900, 400, 40, signals=Signals(LIKELY), requests=1.0, running=1.0), id="likely, and one request"
        ),
        pytest.param(scrapes(0, 0, 0, drafts=0), id="no drafts: no data, not zero"),
        pytest.param(scrapes(40, 41), id="just above the limit"),
        pytest.param(scrapes(40, 40, 900), id="the collapse is over"),
        pytest.param(scrapes(40, 40, status=rolled_out(10)), id="the first scrape is from before a rollout"),
        pytest.param(scrapes(40, 40, mode=NGRAM), id="n-gram drafts cost nothing"),
        pytest.param(scrapes(40, 40, mode=OFF), id="left-over drafts of another mode"),
    ],
)
def test_no_collapse(seen: View) -> None:
    assert acceptance_collapsed(seen) is None


def test_batches_without_drafts_are_no_batches() -> None:
    busy = scrapes(900, 40, 40).situation.measurement.batches
    idle = tuple(replace(batch, at=batch.at - 7, drafts=0, draft_tokens=0, accepted_tokens=0) for batch in busy)
    mixed = tuple(sorted((*busy, *idle), key=lambda batch: batch.at))
    seen = replace(scrapes(), situation=situation(measurement=measurement(batches=mixed)))
    assert acceptance_collapsed(seen) is not None


def test_the_sentence_of_a_collapse_has_every_number() -> None:
    finding = acceptance_collapsed(scrapes(900, 16, 16, plan=plan(QUANTIZED, OFF)))
    assert finding is not None
    assert finding.message == (
        "acceptance length 1.04 and rate 0.8 % over 30s (800 drafts), limit 1.1: speculation is turned off; "
        "change the spec or set specdecode.io/retry to try again"
    )


KNOWN = knowing(seen_draft("75.0"))


@pytest.mark.parametrize(
    ("seen", "target"),
    [
        pytest.param(view(rate(60), rate(60), status=KNOWN), DRAFT, id="15 points less in both windows: unquantise"),
        pytest.param(
            view(rate(60), rate(60), status=KNOWN, plan=plan(QUANTIZED, mode_plan(DRAFT, fits=False), NGRAM, OFF)),
            NGRAM,
            id="the unquantised draft does not fit: the next one",
        ),
        pytest.param(
            view(rate(60), rate(60), status=KNOWN, plan=plan(QUANTIZED, OFF)), OFF, id="no fallback was named: off"
        ),
    ],
)
def test_a_quantization_drop_steps_down(seen: View, target: Mode) -> None:
    finding = quantization_drop(seen)
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.QUANTIZATION_DROP, target)
    assert "15.0 points less" in finding.message


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(rate(75), rate(75), status=KNOWN), id="no drop"),
        pytest.param(view(rate(71), rate(71), status=KNOWN), id="four points less are allowed"),
        pytest.param(
            view(rate(67, 2000), rate(67, 2000), status=KNOWN), id="eight points less, but of too few tokens to be sure"
        ),
        pytest.param(view(rate(60), rate(75), status=KNOWN), id="one window only: it has recovered"),
        pytest.param(view(rate(75), rate(60), status=KNOWN), id="one window only: too short"),
        pytest.param(view(rate(50), rate(50, 1999), status=KNOWN), id="1999 tokens in the fast window"),
        pytest.param(view(rate(50), rate(50), status=knowing(seen_draft(tokens=1999))), id="1999 tokens of baseline"),
        pytest.param(view(rate(50), rate(50)), id="never ran unquantised"),
        pytest.param(view(rate(50), rate(50), status=knowing(seen_draft(key="other"))), id="another draft ran"),
        pytest.param(view(rate(50), rate(50), status=knowing(seen_draft("none"))), id="a baseline that is no number"),
        pytest.param(view(rate(50), rate(50), mode=DRAFT, status=KNOWN), id="it is unquantised already"),
        pytest.param(
            view(
                rate(60), rate(60), status=KNOWN, spec={"spec.guard": {"acceptance": {"maxQuantizationDropPoints": 20}}}
            ),
            id="the spec allows twenty points",
        ),
    ],
)
def test_no_quantization_drop(seen: View) -> None:
    assert quantization_drop(seen) is None


LOW = rate(40, tpot=histogram(below_seconds={0.025: 600}, mean_seconds=0.02), step_seconds_sum=88.0)
"""A step takes hardly longer than a token: the prediction says neither gain nor loss."""
GAINS = replace(LOW, step_seconds_sum=400.0)
"""A step takes five times as long as a token: even a careful prediction says gain."""


@pytest.mark.parametrize(
    ("seen", "reason", "target"),
    [
        pytest.param(view(LOW, LOW), Reason.ACCEPTANCE_BELOW_FLOOR, OFF, id="below the floor and nothing known: off"),
        pytest.param(view(GAINS, GAINS), Reason.LOW_ACCEPTANCE_PAYS, None, id="a prediction that is sure may keep it"),
        pytest.param(
            view(LOW, LOW, status=knowing(off=seen_off("20.5ms"))),
            Reason.ACCEPTANCE_UNDER_REVIEW,
            None,
            id="measured, it may as well pay as cost",
        ),
        pytest.param(
            view(GAINS, GAINS, status=knowing(off=seen_off("19ms"))),
            Reason.ACCEPTANCE_BELOW_FLOOR,
            OFF,
            id="what was measured overrules a prediction",
        ),
        pytest.param(
            view(LOW, LOW, status=knowing(off=seen_off("30ms"))),
            Reason.LOW_ACCEPTANCE_PAYS,
            None,
            id="it pays all the same",
        ),
        pytest.param(
            view(LOW, LOW, status=knowing(off=seen_off("19ms"))),
            Reason.ACCEPTANCE_BELOW_FLOOR,
            OFF,
            id="a baseline shows that it does not pay",
        ),
        pytest.param(
            view(LOW, LOW, status=knowing(off=seen_off("30ms", running=40))),
            Reason.ACCEPTANCE_BELOW_FLOOR,
            OFF,
            id="a baseline at another load proves nothing",
        ),
        pytest.param(
            view(LOW, LOW, status=knowing(off=seen_off("30ms", key="other"))),
            Reason.ACCEPTANCE_BELOW_FLOOR,
            OFF,
            id="a baseline of another engine proves nothing",
        ),
        pytest.param(
            view(LOW, LOW, plan=plan(QUANTIZED, mode_plan(OFF, fits=False))),
            Reason.ACCEPTANCE_BELOW_FLOOR,
            None,
            id="Off does not fit",
        ),
        pytest.param(view(LOW, LOW, mode=NGRAM), Reason.ACCEPTANCE_UNDER_REVIEW, None, id="n-gram: only advice"),
        pytest.param(
            view(LOW, LOW, mode=NGRAM, status=knowing(off=seen_off("19ms"))),
            Reason.ACCEPTANCE_BELOW_FLOOR,
            OFF,
            id="n-gram with a baseline that is faster",
        ),
        pytest.param(
            view(LOW, LOW, mode=NGRAM, status=knowing(off=seen_off("30ms"))),
            Reason.LOW_ACCEPTANCE_PAYS,
            None,
            id="n-gram with a baseline that is slower",
        ),
    ],
)
def test_below_the_floor(seen: View, reason: Reason, target: Mode | None) -> None:
    finding = acceptance_below_floor(seen)
    assert finding is not None
    assert (finding.reason, finding.target) == (reason, target)
    assert "40.0 %" in finding.message
    assert "limit 50 %" in finding.message


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(), id="healthy"),
        pytest.param(view(rate(40), rate(60)), id="one window only: it has recovered"),
        pytest.param(view(rate(60), rate(40)), id="one window only: too short"),
        pytest.param(view(rate(50), rate(50)), id="exactly at the floor"),
        pytest.param(view(counted(199, 1500, 0), rate(40)), id="199 drafts"),
        pytest.param(view(counted(250, 999, 0), rate(40)), id="999 draft tokens"),
        pytest.param(view(counted(0, 0, 0), counted(0, 0, 0)), id="no drafts: no data, not zero"),
        pytest.param(view(rate(40), counted(0, 0, 0)), id="no drafts in the fast window"),
        pytest.param(view(LOW, LOW, mode=OFF), id="speculation is off"),
    ],
)
def test_not_below_the_floor(seen: View) -> None:
    assert acceptance_below_floor(seen) is None


@pytest.mark.parametrize(
    ("seen", "is_reviewed"),
    [
        pytest.param(view(rate(60)), True, id="between the floors"),
        pytest.param(view(rate(50)), True, id="at the lower floor"),
        pytest.param(view(rate(65)), False, id="at the upper floor: good"),
        pytest.param(view(rate(40)), False, id="below: another rule"),
        pytest.param(view(rate(60, 999)), False, id="too few tokens"),
        pytest.param(view(rate(60), mode=NGRAM), False, id="n-gram is judged by latency"),
        pytest.param(view(counted(0, 0, 0)), False, id="no drafts"),
    ],
)
def test_the_review_band_is_advice(seen: View, *, is_reviewed: bool) -> None:
    finding: Finding | None = acceptance_under_review(seen)
    assert (finding is not None) is is_reviewed
    assert finding is None or (finding.reason, finding.target) == (Reason.ACCEPTANCE_UNDER_REVIEW, None)
