"""Whether a step down helped, at the same load."""

from typing import Any

import pytest
from builders import NOW, child, fifth, histogram, measurement, resource, situation, window

from specdecode.api.status import EvidenceItem, Helped, LoadPoint, RollbackStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Reason
from specdecode.decide.facts import Change, Signals, Window
from specdecode.decide.situation import Stage, View
from specdecode.decide.verify import clears_speculation, load_before, verify
from specdecode.decide.wording import seconds_in

BEFORE = LoadPoint(tpot_mean="60ms", running_requests=16)


def rollback(**overrides: Any) -> RollbackStatus:
    good = RollbackStatus(
        from_mode=Mode.QUANTIZED_DRAFT,
        to=Mode.OFF,
        reason="SlowerThanBaseline",
        message="mean TPOT 60 ms",
        at=NOW,
        spec_hash=resource().spec_hash,
        before=BEFORE,
    )
    return good.model_copy(update=overrides)


def after(mean_ms: float, count: float = 600, **overrides: Any) -> Window:
    tpot = histogram(below_seconds={0.05: 0, 0.075: count}, mean_seconds=mean_ms / 1000)
    return window(**{"tpot": tpot, "requests": count} | overrides)


def view(slow: Window, stage: Stage = Stage.SETTLED, **latency: str) -> View:
    seen = measurement(mode=Mode.OFF, slow=slow)
    spec = {"spec.guard": {"latency": latency}} if latency else {}
    return View(situation(measurement=seen, child=child(mode=Mode.OFF), spec=spec), Mode.OFF, stage)


BLAMED = rollback(
    reason="LatencyOverLimit", evidence=(EvidenceItem(name="tpotP99", value="75ms..100ms", limit="70ms"),)
)


@pytest.mark.parametrize(
    ("latch", "seen", "helped"),
    [
        pytest.param(rollback(), view(after(50)), Helped.TRUE, id="a sixth faster: it helped"),
        pytest.param(rollback(), view(after(58.8)), Helped.TRUE, id="two per cent faster: it helped"),
        pytest.param(rollback(), view(after(59)), Helped.FALSE, id="one per cent faster: unchanged"),
        pytest.param(rollback(), view(after(70)), Helped.FALSE, id="slower: it did not help"),
        pytest.param(BLAMED, view(after(60), tpotP99="70ms"), Helped.TRUE, id="P99 is no longer surely over its limit"),
        pytest.param(BLAMED, view(after(60), tpotP99="40ms"), Helped.FALSE, id="P99 is still over its limit"),
        pytest.param(BLAMED, view(after(60), ttftP99="1ms"), Helped.FALSE, id="another limit was not the reason"),
        pytest.param(rollback(), view(after(50), Stage.FAST), Helped.UNKNOWN, id="not settled yet"),
        pytest.param(rollback(), view(after(50, 29)), Helped.UNKNOWN, id="29 requests"),
        pytest.param(rollback(), view(after(50, running_requests=22.0)), Helped.UNKNOWN, id="more than 30 % more load"),
        pytest.param(
            rollback(), view(after(50, running_requests=20.5)), Helped.TRUE, id="less than 30 % more load: the same"
        ),
        pytest.param(rollback(), view(after(50, tpot=None, step_seconds_sum=0.0)), Helped.UNKNOWN, id="no steps"),
        pytest.param(rollback(before=None), view(after(50)), Helped.UNKNOWN, id="nothing was measured before"),
        pytest.param(
            rollback(before=BEFORE.model_copy(update={"tpot_mean": "slow"})),
            view(after(50)),
            Helped.UNKNOWN,
            id="what was measured before is no number",
        ),
        pytest.param(rollback(to=Mode.NGRAM), view(after(50)), Helped.UNKNOWN, id="another mode runs"),
        pytest.param(rollback(helped=Helped.FALSE), view(after(50)), Helped.FALSE, id="said once, not again"),
    ],
)
def test_verify(latch: RollbackStatus, seen: View, helped: Helped) -> None:
    assert verify(seen, latch).helped is helped


def test_the_load_point_after_is_kept_with_the_answer() -> None:
    verified = verify(view(after(50)), rollback())
    assert verified.after is not None
    assert (verified.after.tpot_mean, verified.after.running_requests) == ("50ms", 16)


def before_of(reason: Reason, *, fast_ms: float, **seen: Any) -> LoadPoint:
    slow = after(20)
    now = fifth(after(fast_ms))
    looked = measurement(slow=slow, fast=now, **seen)
    point = load_before(View(situation(measurement=looked), Mode.QUANTIZED_DRAFT, Stage.SETTLED), reason)
    assert point is not None
    return point


def test_what_was_before_is_what_the_newest_scrapes_show_not_what_the_window_remembers() -> None:
    assert before_of(Reason.LATENCY_OVER_LIMIT, fast_ms=40).tpot_mean == "40ms"
    assert before_of(Reason.ACCEPTANCE_COLLAPSED, fast_ms=40).tpot_mean == "40ms"
    changed = Change(reference=1, recent=2, since=NOW.timestamp() - 200, evidence_nats=13, threshold_nats=12)
    since = before_of(Reason.LATENCY_OVER_LIMIT, fast_ms=40, signals=Signals(tpot_rise=changed))
    assert 15 < 1000 * seconds_in(since.tpot_mean) < 40


def test_without_requests_there_is_no_p99_before() -> None:
    looked = measurement(slow=window(tpot=None))
    point = load_before(View(situation(measurement=looked), Mode.DRAFT, Stage.SETTLED), Reason.ACCEPTANCE_COLLAPSED)
    assert point is not None
    assert point.tpot_p99 is None


@pytest.mark.parametrize(
    ("latch", "expected"),
    [
        pytest.param(rollback(helped=Helped.FALSE), True, id="latency was the reason, and it did not help"),
        pytest.param(rollback(helped=Helped.UNKNOWN), False, id="not known yet"),
        pytest.param(rollback(helped=Helped.TRUE), False, id="it helped"),
        pytest.param(
            rollback(helped=Helped.FALSE, reason="AcceptanceCollapsed"), False, id="acceptance was the reason"
        ),
    ],
)
def test_clears_speculation(latch: RollbackStatus, *, expected: bool) -> None:
    assert clears_speculation(latch) is expected
