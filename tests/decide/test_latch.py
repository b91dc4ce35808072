"""Which mode is asked for: pause, force, latch, retry, re-arm."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW, child, measurement, plan, resource, situation, status

from specdecode.api.status import HistoryEntry, RollbackStatus, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Reason, Step
from specdecode.decide.facts import Availability
from specdecode.decide.latch import RETRY_WAITS, asked_mode, attempts
from specdecode.decide.situation import Situation

HASH = resource().spec_hash
REQUESTED = Mode.QUANTIZED_DRAFT


def rollback(**overrides: Any) -> RollbackStatus:
    good = RollbackStatus(
        from_mode=REQUESTED,
        to=Mode.NGRAM,
        reason="AcceptanceCollapsed",
        message="acceptance length 1.04",
        at=NOW - timedelta(hours=1),
        spec_hash=HASH,
    )
    return good.model_copy(update=overrides)


def latched(**overrides: Any) -> SpecDecodeDeploymentStatus:
    return status(rollback=rollback(**overrides))


def retrying(after: str = "1h", max_attempts: int = 2) -> dict[str, Any]:
    return {"spec.guard": {"retry": {"after": after, "maxAttempts": max_attempts}}}


REMEMBERED = child(mode=Mode.OFF, rolled_back_for=HASH, rolled_back_from=REQUESTED, reason="AcceptanceCollapsed")
LOST = SpecDecodeDeploymentStatus()
PAUSED = {"specdecode.io/paused": "true"}


@pytest.mark.parametrize(
    ("at", "mode", "reason", "step"),
    [
        pytest.param(situation(), REQUESTED, Reason.AS_REQUESTED, Step.KEEP, id="nothing special: as requested"),
        pytest.param(
            situation(plan=plan(Mode.OFF)), Mode.OFF, Reason.NOT_REQUESTED, Step.KEEP, id="the spec asks for none"
        ),
        pytest.param(situation(status=latched()), Mode.NGRAM, Reason.ROLLED_BACK, Step.KEEP, id="latched"),
        pytest.param(
            situation(status=latched(), child=child()),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="a crash between latch and child: the latch alone decides",
        ),
        pytest.param(
            situation(status=latched(spec_hash="otherhash0")),
            REQUESTED,
            Reason.REARMED,
            Step.UP,
            id="another spec re-arms",
        ),
        pytest.param(
            situation(status=LOST, child=REMEMBERED),
            Mode.OFF,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="status is lost: the child remembers",
        ),
        pytest.param(
            situation(status=LOST, child=REMEMBERED, annotations={"specdecode.io/retry": "1"}),
            Mode.OFF,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="status is lost: an old retry annotation does not undo the rollback",
        ),
        pytest.param(
            situation(status=status(), child=REMEMBERED),
            REQUESTED,
            Reason.AS_REQUESTED,
            Step.KEEP,
            id="a crash between retry and child: status alone decides",
        ),
        pytest.param(
            situation(
                status=LOST, child=child(mode=Mode.OFF, rolled_back_for="otherhash0", rolled_back_from=REQUESTED)
            ),
            REQUESTED,
            Reason.AS_REQUESTED,
            Step.KEEP,
            id="status is lost, and the child remembers another spec",
        ),
        pytest.param(
            situation(status=LOST, child=child(mode=Mode.OFF, rolled_back_for=HASH)),
            REQUESTED,
            Reason.AS_REQUESTED,
            Step.KEEP,
            id="status is lost, and the record of the child is incomplete",
        ),
        pytest.param(
            situation(
                status=LOST,
                child=child(is_ours=False, mode=Mode.OFF, rolled_back_for=HASH, rolled_back_from=REQUESTED),
            ),
            REQUESTED,
            Reason.AS_REQUESTED,
            Step.KEEP,
            id="a foreign child remembers nothing for us",
        ),
        pytest.param(situation(status=LOST, child=None), REQUESTED, Reason.AS_REQUESTED, Step.KEEP, id="brand-new"),
        pytest.param(situation(annotations=PAUSED), REQUESTED, Reason.PAUSED, Step.KEEP, id="paused: what runs stays"),
        pytest.param(
            situation(annotations=PAUSED, status=latched(spec_hash="otherhash0"), child=child(mode=Mode.NGRAM)),
            Mode.NGRAM,
            Reason.PAUSED,
            Step.KEEP,
            id="paused: even a new spec waits",
        ),
        pytest.param(
            situation(annotations=PAUSED, child=None), REQUESTED, Reason.PAUSED, Step.KEEP, id="paused before it exists"
        ),
        pytest.param(
            situation(annotations=PAUSED, child=None, status=latched()),
            Mode.NGRAM,
            Reason.PAUSED,
            Step.KEEP,
            id="paused, latched, and the child is gone",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/paused": "yes"}),
            REQUESTED,
            Reason.AS_REQUESTED,
            Step.KEEP,
            id="only the word true pauses",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/force-mode": "Off"}),
            Mode.OFF,
            Reason.FORCED,
            Step.KEEP,
            id="forced off",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/force-mode": "QuantizedDraft"}, status=latched()),
            REQUESTED,
            Reason.FORCED,
            Step.KEEP,
            id="forced against the latch",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/force-mode": "Off"} | PAUSED),
            REQUESTED,
            Reason.PAUSED,
            Step.KEEP,
            id="pause is stronger than force",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/force-mode": "Turbo"}, status=latched()),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="an unknown word forces nothing",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/retry": "1"}, status=latched()),
            REQUESTED,
            Reason.RETRIED,
            Step.UP,
            id="the retry annotation unlatches",
        ),
        pytest.param(
            situation(
                annotations={"specdecode.io/retry": "1"},
                status=latched().model_copy(update={"acknowledged_retry": "1"}),
            ),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="a value that was acted on does not unlatch again",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/retry": ""}, status=latched()),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="an empty value asks for nothing",
        ),
        pytest.param(
            situation(spec=retrying(), status=latched(at=NOW - timedelta(minutes=59))),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="guard.retry: not yet",
        ),
        pytest.param(
            situation(spec=retrying(), status=latched(at=NOW - timedelta(hours=1))),
            REQUESTED,
            Reason.RETRIED,
            Step.UP,
            id="guard.retry: after the first rollback",
        ),
        pytest.param(
            situation(spec=retrying(), status=latched(at=NOW - timedelta(minutes=119), attempts=2)),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="guard.retry: the second wait is twice as long",
        ),
        pytest.param(
            situation(spec=retrying(), status=latched(at=NOW - timedelta(hours=2), attempts=2)),
            REQUESTED,
            Reason.RETRIED,
            Step.UP,
            id="guard.retry: after the second wait",
        ),
        pytest.param(
            situation(spec=retrying(), status=latched(at=NOW - timedelta(days=365), attempts=3)),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="guard.retry: no more attempts",
        ),
        pytest.param(
            situation(spec=retrying(after="999999h999999h", max_attempts=10), status=latched(attempts=10)),
            Mode.NGRAM,
            Reason.ROLLED_BACK,
            Step.KEEP,
            id="guard.retry: a wait beyond the calendar",
        ),
    ],
)
def test_asked_mode(at: Situation, mode: Mode, reason: Reason, step: Step) -> None:
    asked = asked_mode(at)
    assert (asked.mode, asked.reason, asked.step) == (mode, reason, step)
    assert asked.is_judged is (reason in {Reason.AS_REQUESTED, Reason.NOT_REQUESTED, Reason.ROLLED_BACK})


@pytest.mark.parametrize(
    ("availability", "is_retried"),
    [
        pytest.param(Availability.MEASURED, True, id="measured"),
        pytest.param(Availability.NO_TRAFFIC, True, id="scraped, and nobody asks it anything"),
        pytest.param(Availability.NO_DATA, False, id="no fresh series"),
        pytest.param(Availability.UNREACHABLE, False, id="no answer from Prometheus"),
    ],
)
def test_a_retry_that_is_due_waits_until_somebody_can_see_what_comes_of_it(
    availability: Availability,
    is_retried: bool,  # noqa: FBT001 - a column
) -> None:
    blind = replace(measurement(), availability=availability)
    due = latched(at=NOW - timedelta(hours=1))
    asked = asked_mode(situation(spec=retrying(), status=due, measurement=blind))
    assert (asked.reason is Reason.RETRIED) == is_retried
    assert (RETRY_WAITS in asked.message) == (not is_retried)
    by_hand = situation(annotations={"specdecode.io/retry": "1"}, status=due, measurement=blind)
    assert asked_mode(by_hand).reason is Reason.RETRIED, "a person may see more"


@pytest.mark.parametrize(
    ("at", "acknowledged"),
    [
        pytest.param(situation(annotations={"specdecode.io/retry": "a"}), "a", id="not latched: only acknowledged"),
        pytest.param(situation(annotations={"specdecode.io/retry": "a"}, status=latched()), "a", id="unlatched"),
        pytest.param(
            situation(annotations={"specdecode.io/retry": "a"}, status=latched(spec_hash="otherhash0")),
            "a",
            id="re-armed by a new spec at the same moment",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/retry": "a"}, status=LOST, child=REMEMBERED),
            "a",
            id="status was lost: taken as seen",
        ),
        pytest.param(
            situation(annotations={"specdecode.io/retry": "a"} | PAUSED, status=latched()),
            None,
            id="paused: acted on later",
        ),
        pytest.param(situation(), None, id="no annotation"),
    ],
)
def test_acknowledged_retry(at: Situation, acknowledged: str | None) -> None:
    assert asked_mode(at).acknowledged_retry == acknowledged


def test_the_latch_is_gone_after_a_retry_and_stays_otherwise() -> None:
    assert asked_mode(situation(status=latched(), annotations={"specdecode.io/retry": "1"})).rollback is None
    assert asked_mode(situation(status=latched(), annotations=PAUSED)).rollback == rollback()
    assert (
        asked_mode(situation(status=latched(), annotations={"specdecode.io/force-mode": "Off"})).rollback == rollback()
    )


def test_a_rebuilt_latch_says_where_it_comes_from() -> None:
    rebuilt = asked_mode(situation(status=LOST, child=REMEMBERED)).rollback
    assert rebuilt is not None
    assert (rebuilt.from_mode, rebuilt.to, rebuilt.reason) == (REQUESTED, Mode.OFF, "AcceptanceCollapsed")
    assert (rebuilt.spec_hash, rebuilt.at) == (HASH, NOW)
    assert "read from the Deployment" in rebuilt.message


@pytest.mark.parametrize(
    "wanted",
    [pytest.param("Turbo", id="unknown word"), pytest.param("Draft", id="a mode that is not on the ladder")],
)
def test_a_mode_that_cannot_be_forced_is_answered_with_the_choices(wanted: str) -> None:
    at = situation(plan=plan(REQUESTED, Mode.OFF), annotations={"specdecode.io/force-mode": wanted})
    (advice,) = asked_mode(at).advice
    assert advice.reason is Reason.FORCED_MODE_UNAVAILABLE
    assert advice.message.endswith("the modes that fit are QuantizedDraft, Off")
    assert f'"{wanted}"' in advice.message


def entry(action: str, spec_hash: str) -> HistoryEntry:
    return HistoryEntry(
        at=NOW, action=action, spec_hash=spec_hash, from_mode=REQUESTED, to=Mode.OFF, reason="X", message=""
    )


def test_attempts_count_the_rollbacks_of_this_spec() -> None:
    history = (entry("RolledBack", HASH), entry("Retried", HASH), entry("RolledBack", "otherhash0"))
    assert attempts(situation(status=status(history=history))) == 2
    assert attempts(situation()) == 1


def test_attempts_are_counted_on_even_when_the_history_has_forgotten_the_first() -> None:
    last = entry("RolledBack", HASH).model_copy(update={"attempts": 9})
    assert attempts(situation(status=status(history=(last,)))) == 10


def test_a_further_step_down_is_the_same_attempt() -> None:
    assert attempts(situation(status=latched(attempts=3))) == 3
