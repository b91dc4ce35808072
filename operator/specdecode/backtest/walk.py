"""A walk through history under one guard: every decision that would have been taken, and what else was seen. Pure.

History cannot be changed. Where it goes on in a mode that the guard would have left, the decision stands until
`guard.retry` tries the mode again, history changes the mode itself, or it has gone on for so long that it is judged
anew, as if a person had tried it again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import EvidenceItem, HistoryEntry, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.backtest.eyes import Eyes, Look
from specdecode.backtest.history import History
from specdecode.backtest.replay import Replay
from specdecode.backtest.report import Decided, Found, Ran, Unmeasured, Walk
from specdecode.backtest.series import Advance
from specdecode.decide.baseline import COLLAPSED_ACCEPTANCE_LENGTH
from specdecode.decide.decision import Decision, Reason
from specdecode.decide.facts import Availability, Measurement
from specdecode.plan.types import Plan

REARM_AFTER = timedelta(hours=24)

_ADVANCE_EVERY = 1000
_BLIND = frozenset({Availability.NO_DATA, Availability.UNREACHABLE})


def _moment(seconds: float) -> datetime:
    """In whole seconds, as the operator reads its clock."""
    return datetime.fromtimestamp(int(seconds), UTC)


def _collapsed_since(measurement: Measurement) -> float | None:
    """The beginning of the newest batches in a row that are all collapsed."""
    since = None
    for batch in reversed([batch for batch in measurement.batches if batch.drafts > 0]):
        if batch.acceptance_length > COLLAPSED_ACCEPTANCE_LENGTH:
            break
        since = batch.at - batch.seconds
    return since


def changed_at(reason: str, measurement: Measurement) -> datetime | None:
    """When that which led to a decision most likely began: as the detectors say, where they are certain."""
    signals = measurement.signals
    changes = (signals.acceptance_fall, signals.tpot_rise)
    since = max((change.since for change in changes if change is not None and change.is_certain), default=None)
    if since is None and reason == Reason.ACCEPTANCE_COLLAPSED:
        since = _collapsed_since(measurement)
    return None if since is None else _moment(since)


def _evidence(decision: Decision) -> tuple[EvidenceItem, ...]:
    if decision.recommended is not None:
        return decision.findings[0].evidence
    return decision.rollback.evidence if decision.rollback is not None else ()


def _decided(entry: HistoryEntry, decision: Decision, measurement: Measurement) -> Decided:
    is_for_the_worse = entry.action in ("RolledBack", "Recommended")
    return Decided(
        at=entry.at,
        action=entry.action,
        from_mode=entry.from_mode,
        to=entry.to,
        reason=entry.reason,
        message=entry.message,
        evidence=_evidence(decision) if is_for_the_worse else (),
        changed_at=changed_at(entry.reason, measurement) if is_for_the_worse else None,
    )


class _Diary:
    """What happened so far."""

    def __init__(self, status: SpecDecodeDeploymentStatus) -> None:
        self.decisions: list[Decided] = []
        self.ran: list[Ran] = []
        self._findings: list[Found] = []
        self._open: dict[str, Found] = {}
        self._unmeasured: list[Unmeasured] = []
        self._blind: tuple[datetime, Measurement] | None = None
        self._status = status

    def note(self, now: datetime, look: Look, decision: Decision, status: SpecDecodeDeploymentStatus) -> None:
        """One step; most of them bring nothing new."""
        measurement = look.measurement
        is_blind = measurement.availability in _BLIND
        if is_blind or self._blind is not None:
            self._note_sight(now, measurement if is_blind else None)
        if status is self._status:
            return
        if status.history and status.history[:1] != self._status.history[:1]:
            self.decisions.append(_decided(status.history[0], decision, measurement))
        self._note_findings(now, status)
        self._status = status

    def _note_sight(self, now: datetime, measurement: Measurement | None) -> None:
        if self._blind is not None:
            since, then = self._blind
            if measurement is not None and (measurement.availability, measurement.cause) == (
                then.availability,
                then.cause,
            ):
                return
            self._unmeasured.append(Unmeasured(since, now, then.availability, then.cause))
        self._blind = None if measurement is None else (now, measurement)

    def _note_findings(self, now: datetime, status: SpecDecodeDeploymentStatus) -> None:
        standing = {finding.reason: finding for finding in status.findings}
        for reason in [reason for reason in self._open if reason not in standing]:
            found = self._open.pop(reason)
            self._findings.append(Found(found.reason, found.message, found.since, now))
        for reason, finding in standing.items():
            self._open.setdefault(reason, Found(reason, finding.message, finding.since))

    def closed(self, now: datetime, changed: Mapping[str, str]) -> Walk:
        """The whole, at the last moment."""
        self._note_sight(now, None)
        findings = sorted((*self._findings, *self._open.values()), key=lambda found: found.since)
        return Walk(changed, tuple(self.decisions), tuple(findings), tuple(self.ran), tuple(self._unmeasured))


class _Walker:
    """The guard's will and what history ran, side by side."""

    def __init__(self, replay: Replay, rearm_after: timedelta) -> None:
        self._replay = replay
        self._rearm_after = rearm_after
        self._ran: Mode | None = None
        self._wanted: Mode | None = None
        self._apart_since: datetime | None = None

    def follow(self, now: datetime, mode: Mode) -> Ran | None:
        """What history runs now; tells when that is news."""
        has_changed = mode is not self._ran
        self._ran = mode
        if mode is self._wanted:
            self._apart_since = None
            return Ran(now, mode) if has_changed else None
        if has_changed:
            self._adopt(now, mode)
            return Ran(now, mode)
        self._apart_since = self._apart_since or now
        if now - self._apart_since < self._rearm_after:
            return None
        self._adopt(now, mode)
        return Ran(now, mode, is_judged_anew=True)

    def _adopt(self, now: datetime, mode: Mode) -> None:
        self._replay.adopt(mode, now)
        self._apart_since = None

    def step(self, now: datetime, look: Look) -> Decision:
        """Judge one moment."""
        decision = self._replay.step(now, look.measurement, look.mode, is_rolled_out=look.is_rolled_out)
        self._wanted = decision.mode
        return decision


def _as_of_then(resource: SpecDecodeDeployment) -> SpecDecodeDeployment:
    """The resource without what a person or the operator wrote since: of its status only what was measured counts."""
    status = SpecDecodeDeploymentStatus(baseline=resource.status.baseline, calibration=resource.status.calibration)
    metadata = resource.metadata.model_copy(update={"annotations": {}})
    return resource.model_copy(update={"status": status, "metadata": metadata})


def walk(
    history: History,
    resource: SpecDecodeDeployment,
    plan: Plan,
    *,
    changed: Mapping[str, str] | None = None,
    rearm_after: timedelta = REARM_AFTER,
    advance: Advance = lambda _: None,
) -> Walk:
    """Judge every moment of a history. `advance` is told how many moments were; `changed` names what is different in
    the resource from the one that was written.
    """
    replay = Replay(_as_of_then(resource), plan, scrape_interval_seconds=history.scrape_interval_seconds)
    eyes, walker, diary = Eyes(history), _Walker(replay, rearm_after), _Diary(replay.status)
    now = _moment(history.first_at)
    for number, seconds in enumerate(history.moments.tolist()):
        now = _moment(seconds)
        look = eyes.look(number, seconds, replay.resource)
        if look.mode is not None:
            ran = walker.follow(now, look.mode)
            if ran is not None:
                diary.ran.append(ran)
        decision = walker.step(now, look)
        diary.note(now, look, decision, replay.status)
        if number % _ADVANCE_EVERY == 0:
            advance(min(_ADVANCE_EVERY, len(history.moments) - number))
    return diary.closed(now, changed or {})
