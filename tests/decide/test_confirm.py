"""When a retry has proved itself, and what that is good for."""

from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, measurement, off_band, off_baseline, situation, status, window

from specdecode.api.status import BaselineStatus, HistoryEntry
from specdecode.api.vocabulary import Mode
from specdecode.decide.confirm import is_confirmed
from specdecode.decide.decide import decide
from specdecode.decide.decision import Reason, Step
from specdecode.decide.facts import Interval, Signals
from specdecode.decide.latch import attempts
from specdecode.decide.situation import Situation, Stage, View

HASH = situation().resource.spec_hash
SURE = Signals(acceptance_rate=Interval(0.6, 0.75, 0.9))


def entry(action: str, spec_hash: str = HASH, attempt: int | None = None) -> HistoryEntry:
    modes = {"from_mode": Mode.OFF, "to": Mode.QUANTIZED_DRAFT}
    return HistoryEntry(
        at=NOW, action=action, spec_hash=spec_hash, attempts=attempt, reason="Test", message="", **modes
    )


def seen(*history: HistoryEntry, tpot: str = "30ms", signals: Signals = SURE, **overrides: Any) -> Situation:
    known = status(history=history, baseline=BaselineStatus(off=off_baseline(off_band(tpot))))
    looked = replace(overrides.pop("measurement", measurement()), signals=signals)
    return situation(status=known, measurement=looked, **overrides)


RETRIED = entry("Retried")


@pytest.mark.parametrize(
    ("at", "confirmed"),
    [
        pytest.param(seen(RETRIED), True, id="tried again, and it surely pays"),
        pytest.param(seen(), False, id="nothing was tried again"),
        pytest.param(seen(entry("Confirmed"), RETRIED), False, id="it was said already"),
        pytest.param(seen(entry("Retried", "other")), False, id="tried again under another spec"),
        pytest.param(seen(RETRIED, tpot="20ms"), False, id="it may as well cost as much as it brings"),
        pytest.param(seen(RETRIED, tpot="soon"), False, id="nothing but a prediction"),
        pytest.param(seen(RETRIED, signals=Signals()), False, id="acceptance is not known yet"),
        pytest.param(
            seen(RETRIED, signals=Signals(acceptance_rate=Interval(0.3, 0.75, 0.9))),
            False,
            id="acceptance may lie under the break-even",
        ),
        pytest.param(seen(RETRIED, measurement=measurement(slow=window(drafts=0.0))), False, id="nothing is drafted"),
    ],
)
def test_a_retry_is_confirmed_when_it_surely_pays(at: Situation, *, confirmed: bool) -> None:
    assert is_confirmed(View(at, Mode.QUANTIZED_DRAFT, Stage.SETTLED)) is confirmed


def test_it_is_said_and_changes_nothing_else() -> None:
    decision = decide(seen(RETRIED))
    assert (decision.mode, decision.step, decision.reason) == (Mode.QUANTIZED_DRAFT, Step.KEEP, Reason.CONFIRMED)
    assert decision.rollback is None


def test_afterwards_a_rollback_is_the_first_again() -> None:
    assert attempts(seen(entry("RolledBack", attempt=2))) == 3
    assert attempts(seen(entry("Confirmed"), RETRIED, entry("RolledBack", attempt=2))) == 1
    assert attempts(seen(entry("RolledBack", "other", attempt=2))) == 1
