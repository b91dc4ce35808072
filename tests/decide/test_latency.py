"""What latency leads to: means against a baseline, P99 against limits, and silence where the buckets cannot tell."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, child, fifth, histogram, measurement, off_band, off_baseline, plan, situation, status, window

from specdecode.api.status import BaselineStatus, Bounds, ExonerationStatus, FindingStatus, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Availability, Change, Histogram, Signals, Window
from specdecode.decide.latency import gain_not_confirmed, latency_over_limit, mixed_traffic, slower_than_baseline
from specdecode.decide.situation import Situation, Stage, View

QUANTIZED, NGRAM, OFF = Mode.QUANTIZED_DRAFT, Mode.NGRAM, Mode.OFF
HASH = situation().resource.spec_hash


def tpot(mean_ms: float, count: float = 600) -> Histogram:
    return histogram(below_seconds={0.1: count}, mean_seconds=mean_ms / 1000)


def mean(milliseconds: float, count: float = 600, **overrides: Any) -> Window:
    return window(tpot=tpot(milliseconds, count), **overrides)


def knowing(
    off: str = "20ms", running: int = 16, p50: Bounds | None = None, p99: Bounds | None = None, **more: Any
) -> SpecDecodeDeploymentStatus:
    key = more.pop("key", plan().baseline_key)
    baseline = off_baseline(off_band(off, running, tpot_p50=p50, tpot_p99=p99), key=key)
    return status(baseline=BaselineStatus(off=baseline), **more)


def cleared(reason: str = "LatencyOverLimit", spec_hash: str = HASH) -> ExonerationStatus:
    return ExonerationStatus(spec_hash=spec_hash, reason=reason, at=NOW)


def view(slow: Window | None = None, fast: Window | None = None, *, mode: Mode = QUANTIZED, **overrides: Any) -> View:
    """A slow window, and the values that its newest fifth shows."""
    seen_besides = overrides.pop("seen", {})
    slow = slow or window()
    seen = measurement(mode=mode, slow=slow, fast=fifth(fast or slow), **seen_besides)
    at: Situation = situation(measurement=seen, child=child(mode=mode), **overrides)
    return View(at, mode, Stage.SETTLED)


def test_slower_than_the_baseline_steps_down() -> None:
    finding = slower_than_baseline(view(mean(22.1), mean(22.1), status=knowing("20ms")))
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.SLOWER_THAN_BASELINE, NGRAM)
    assert "speed-up 0.90 (0.86..0.95) against the recorded baseline at 16 running requests" in finding.message
    assert "limit 10 % slower" in finding.message
    assert [item.name for item in finding.evidence] == ["speedup", "baseline", "window"]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(mean(30), mean(20), status=knowing("20ms")), id="slow window only: it has recovered"),
        pytest.param(view(mean(20), mean(30), status=knowing("20ms")), id="fast window only: too short"),
        pytest.param(view(mean(20.9), mean(20.9), status=knowing("20ms")), id="1 lies inside of the interval"),
        pytest.param(view(mean(30), mean(30)), id="nothing but a prediction"),
        pytest.param(view(mean(30), mean(30), status=knowing("20ms", key="other")), id="a baseline of another engine"),
        pytest.param(view(mean(30), mean(30), status=knowing("20ms", running=12)), id="a baseline at three quarters"),
        pytest.param(view(mean(30), mean(30), status=knowing("twenty")), id="a baseline that is no number"),
        pytest.param(view(mean(30), mean(30), mode=OFF, status=knowing("20ms")), id="speculation is off"),
    ],
)
def test_not_slower_than_the_baseline(seen: View) -> None:
    assert slower_than_baseline(seen) is None


def costing(seconds_ago: float) -> tuple[FindingStatus, ...]:
    since = NOW - timedelta(seconds=seconds_ago)
    other = FindingStatus(reason="GainNotConfirmed", message="", since=NOW - timedelta(days=1))
    return other, FindingStatus(reason="CostsMoreThanItBrings", message="", since=since)


def eight_percent(**more: Any) -> View:
    return view(mean(21.6), mean(21.6), status=knowing("20ms", **more))


def test_a_small_loss_is_told_before_it_is_acted_on() -> None:
    finding = slower_than_baseline(eight_percent())
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.COSTS_MORE_THAN_IT_BRINGS, None)
    assert "at once below 0.91" in finding.message


def test_a_small_loss_steps_down_once_it_has_cost_as_much_as_a_restart() -> None:
    """80 GiB of weights take about 237 s to start; at 7.4 % slower that is lost after 53 minutes."""
    early, late = eight_percent(findings=costing(50 * 60)), eight_percent(findings=costing(55 * 60))
    borne, stepped = slower_than_baseline(early), slower_than_baseline(late)
    assert borne is not None
    assert borne.target is None
    assert stepped is not None
    assert (stepped.reason, stepped.target) == (Reason.SLOWER_THAN_BASELINE, NGRAM)
    assert "that has cost more than a restart" in stepped.message


def test_twice_as_slow_is_borne_for_long_where_the_spec_allows_it() -> None:
    allowed = {"spec.guard": {"latency": {"maxRegressionPercent": 100}}}
    finding = slower_than_baseline(view(mean(30), mean(30), status=knowing("20ms"), spec=allowed))
    assert finding is not None
    assert finding.reason is Reason.COSTS_MORE_THAN_IT_BRINGS


CHANGED = Change(reference=1.0, recent=1.5, since=NOW.timestamp() - 45, evidence_nats=13.0, threshold_nats=12.0)


def test_after_a_certain_change_only_what_came_since_is_judged() -> None:
    """The window as a whole is still faster than without speculation; its newest 45 seconds are not."""
    changed = view(mean(15), mean(24), status=knowing("20ms"), seen={"signals": Signals(tpot_rise=CHANGED)})
    finding = slower_than_baseline(changed)
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.SLOWER_THAN_BASELINE, NGRAM)
    assert finding.evidence[-1].value == "45s"


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param(Signals(tpot_rise=replace(CHANGED, evidence_nats=11)), id="the change is not certain"),
        pytest.param(Signals(tpot_rise=replace(CHANGED, since=NOW.timestamp() - 10)), id="one batch since: too few"),
    ],
)
def test_without_a_certain_change_it_waits_for_the_window(signals: Signals) -> None:
    assert slower_than_baseline(view(mean(15), mean(24), status=knowing("20ms"), seen={"signals": signals})) is None


def at_limit(**latency: str) -> dict[str, Any]:
    return {"spec.guard": {"latency": latency}}


def between(low: float, high: float, count: float = 600) -> Histogram:
    """Every request took between two edges."""
    return histogram(below_seconds={low: 0, high: count}, mean_seconds=(low + high) / 2)


SLOW = window(tpot=between(0.05, 0.075))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(view(SLOW, SLOW, spec=at_limit(tpotP99="40ms")), "tpotP99 50ms..75ms (limit 40ms)", id="tpot"),
        pytest.param(view(SLOW, SLOW, spec=at_limit(tpotP99="50ms")), "(limit 50ms)", id="a limit on the lower edge"),
        pytest.param(
            view(window(ttft=between(2.5, 5)), window(ttft=between(2.5, 5)), spec=at_limit(ttftP99="2s")),
            "ttftP99 2.5s..5s (limit 2s)",
            id="ttft",
        ),
        pytest.param(
            view(window(e2e=between(40, math.inf)), window(e2e=between(40, math.inf)), spec=at_limit(e2eP99="30s")),
            "e2eP99 40s..unbounded (limit 30s)",
            id="e2e beyond the last edge",
        ),
        pytest.param(
            view(
                replace(SLOW, ttft=between(2.5, 5)),
                replace(SLOW, ttft=between(2.5, 5)),
                spec=at_limit(tpotP99="40ms", ttftP99="2s", e2eP99="1h"),
            ),
            "tpotP99 50ms..75ms (limit 40ms), ttftP99 2.5s..5s (limit 2s) over 5m (600 requests)",
            id="two of three",
        ),
        pytest.param(
            view(window(tpot=between(0.05, 0.075, 30)), spec=at_limit(tpotP99="40ms")),
            "tpotP99 50ms..unbounded",
            id="30 requests have a lower bound",
        ),
    ],
)
def test_over_the_limit_steps_down(seen: View, words: str) -> None:
    finding = latency_over_limit(seen)
    assert finding is not None
    assert (finding.reason, finding.target) == (Reason.LATENCY_OVER_LIMIT, NGRAM)
    assert words in finding.message


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(SLOW, SLOW), id="no limit is set"),
        pytest.param(view(SLOW, SLOW, spec=at_limit(tpotP99="60ms")), id="the limit lies inside the bucket"),
        pytest.param(view(SLOW, SLOW, spec=at_limit(tpotP99="75ms")), id="the limit is the upper edge"),
        pytest.param(view(SLOW, window(), spec=at_limit(tpotP99="40ms")), id="slow window only: it has recovered"),
        pytest.param(view(window(), SLOW, spec=at_limit(tpotP99="40ms")), id="fast window only: too short"),
        pytest.param(
            view(window(tpot=between(0.05, 0.075, 29)), SLOW, spec=at_limit(tpotP99="40ms")), id="29 requests"
        ),
        pytest.param(
            view(window(tpot=between(0, 0.01)), window(tpot=between(0, 0.01)), spec=at_limit(tpotP99="5ms")),
            id="a limit below the first edge cannot be seen",
        ),
        pytest.param(view(window(tpot=None), SLOW, spec=at_limit(tpotP99="40ms")), id="an engine without TPOT"),
        pytest.param(view(SLOW, window(tpot=None), spec=at_limit(tpotP99="40ms")), id="no TPOT in the fast window"),
        pytest.param(
            view(
                window(tpot=histogram(below_seconds={0.05: 595, 0.5: 600}, mean_seconds=0.03)),
                SLOW,
                spec=at_limit(tpotP99="40ms"),
            ),
            id="five of six hundred are slow: that may be less than one per cent",
        ),
    ],
)
def test_not_over_the_limit(seen: View) -> None:
    assert latency_over_limit(seen) is None


@pytest.mark.parametrize("reason", ["LatencyOverLimit", "SlowerThanBaseline"])
def test_after_a_step_that_did_not_help_latency_only_advises(reason: str) -> None:
    known = knowing("20ms", exoneration=cleared(reason))
    seen = view(SLOW, SLOW, status=known, spec=at_limit(tpotP99="40ms"))
    for finding in (latency_over_limit(seen), slower_than_baseline(seen)):
        assert finding is not None
        assert (finding.reason, finding.target) == (Reason.SPECULATION_NOT_THE_CAUSE, None)


@pytest.mark.parametrize(
    "exoneration",
    [
        pytest.param(cleared(spec_hash="otherhash0"), id="another spec was cleared"),
        pytest.param(cleared("AcceptanceCollapsed"), id="cleared of something else"),
    ],
)
def test_an_exoneration_covers_its_spec_and_latency_only(exoneration: ExonerationStatus) -> None:
    finding = latency_over_limit(
        view(SLOW, SLOW, status=status(exoneration=exoneration), spec=at_limit(tpotP99="40ms"))
    )
    assert finding is not None
    assert finding.target is NGRAM


def test_with_speculation_off_an_exceeded_limit_blames_something_else() -> None:
    finding = latency_over_limit(view(SLOW, SLOW, mode=OFF, spec=at_limit(tpotP99="40ms")))
    assert finding is not None
    assert finding.target is None
    assert "speculation is off already" in finding.message


P50, P99 = Bounds(low="25ms", high="50ms"), Bounds(low="50ms", high="75ms")
CONTROL = measurement(mode=OFF, slow=window(tpot=between(0.05, 0.075)))
TWO_KINDS = window(tpot=histogram(below_seconds={0.01: 0, 0.025: 500, 0.075: 500, 0.1: 600}, mean_seconds=0.03))


@pytest.mark.parametrize(
    ("seen", "is_mixed"),
    [
        pytest.param(view(TWO_KINDS, status=knowing(p50=P50, p99=P99)), True, id="the median gains, the tail loses"),
        pytest.param(view(window(tpot=between(0.01, 0.025)), status=knowing(p50=P50, p99=P99)), False, id="both gain"),
        pytest.param(view(window(tpot=between(0.1, 0.15)), status=knowing(p50=P50, p99=P99)), False, id="both lose"),
        pytest.param(view(TWO_KINDS, status=knowing(p99=P99)), False, id="a baseline without a median"),
        pytest.param(view(TWO_KINDS, status=knowing(p50=P50)), False, id="a baseline without a tail"),
        pytest.param(
            view(TWO_KINDS, status=knowing(p50=P50, p99=Bounds(low="50ms", high="unbounded"))),
            False,
            id="a baseline with too few requests",
        ),
        pytest.param(view(TWO_KINDS), False, id="no baseline"),
        pytest.param(view(TWO_KINDS, seen={"control": CONTROL}), True, id="against the control replica"),
        pytest.param(
            view(TWO_KINDS, seen={"control": replace(CONTROL, slow=None)}), False, id="a control without a window"
        ),
        pytest.param(
            view(TWO_KINDS, seen={"control": replace(CONTROL, availability=Availability.NO_DATA)}),
            False,
            id="a control that is not measured",
        ),
        pytest.param(view(window(tpot=None), status=knowing(p50=P50, p99=P99)), False, id="an engine without TPOT"),
    ],
)
def test_mixed_traffic_is_advice(seen: View, *, is_mixed: bool) -> None:
    finding = mixed_traffic(seen)
    assert (finding is not None) is is_mixed
    assert finding is None or (finding.reason, finding.target) == (Reason.MIXED_TRAFFIC, None)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(view(), "nothing measured without speculation at 16 running", id="nothing to compare with"),
        pytest.param(view(status=knowing(running=4)), "nothing measured without", id="a baseline at another load only"),
        pytest.param(view(mean(20), status=knowing("20ms")), "no gain is certain at this load", id="no gain"),
        pytest.param(view(mean(20), status=knowing("30ms")), None, id="a confirmed gain"),
        pytest.param(view(mean(20, 29)), None, id="too few requests to speak"),
        pytest.param(view(window(tpot=None)), None, id="an engine without TPOT"),
        pytest.param(view(mode=OFF), None, id="speculation is off"),
    ],
)
def test_a_gain_that_is_not_confirmed_is_said(seen: View, words: str | None) -> None:
    finding = gain_not_confirmed(seen)
    assert (finding is None) is (words is None)
    assert finding is None or (finding.reason is Reason.GAIN_NOT_CONFIRMED and str(words) in finding.message)
