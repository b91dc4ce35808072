"""Transitions worth an Event: computed from the old and the new status, so that nothing is said twice. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from specdecode.api.resource import Metadata, digest
from specdecode.api.status import Condition, ConditionStatus, ConditionType, Helped, SpecDecodeDeploymentStatus, rfc3339
from specdecode.api.vocabulary import API_VERSION, KIND
from specdecode.decide.breaker import HELD

_WARNINGS = frozenset({"RolledBack", "Recommended"})


@dataclass(frozen=True)
class Note:
    """One Event on the resource."""

    reason: str
    message: str
    is_warning: bool
    at: datetime
    is_finding: bool = False
    """It may come and go: not said again within an hour."""


REPEATED_AFTER = timedelta(hours=1)
"""For findings."""
UNTOLD_FOR = timedelta(minutes=10)
"""How long after a decision it may still have to be told; Kubernetes keeps an Event for an hour."""


def _flipped(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus, kind: ConditionType) -> Condition | None:
    """The new condition when its status, or its reason while abnormal, is another than before."""
    before, after = old.condition(kind), new.condition(kind)
    if after is None or (before is not None and before.status is after.status and before.reason == after.reason):
        return None
    return after


def _history_note(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus) -> Note | None:
    if not new.history or (old.history and old.history[0] == new.history[0]):
        return None
    entry = new.history[0]
    message = f"{entry.from_mode} -> {entry.to}: {entry.reason}: {entry.message}"
    return Note(entry.action, message, entry.action in _WARNINGS, entry.at)


def _helped_note(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus, now: datetime) -> Note | None:
    if old.rollback is None or new.rollback is None or old.rollback.at != new.rollback.at:
        return None
    if old.rollback.helped is not Helped.UNKNOWN or new.rollback.helped is Helped.UNKNOWN:
        return None
    before, after = new.rollback.before, new.rollback.after
    helped = new.rollback.helped is Helped.TRUE
    numbers = f"mean TPOT {before.tpot_mean} -> {after.tpot_mean}" if before and after else "no numbers"
    return Note("StepHelped" if helped else "StepDidNotHelp", f"{numbers} at the same load", not helped, now)


def _is_blindness(old: SpecDecodeDeploymentStatus, metrics: Condition) -> bool:
    """Prometheus is gone, or data that was there no longer is. The first scrapes of a new pod are merely awaited."""
    before = old.condition(ConditionType.METRICS_AVAILABLE)
    had_data = before is not None and before.status is ConditionStatus.TRUE
    return metrics.reason == "Unreachable" or (metrics.reason == "NoData" and had_data)


def _finding_notes(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus, now: datetime) -> list[Note]:
    """Findings that appear. That a step is held is told by the condition already."""
    known = {finding.reason for finding in old.findings} | HELD
    return [
        Note(finding.reason, finding.message, is_warning=False, at=now, is_finding=True)
        for finding in new.findings
        if finding.reason not in known
    ]


def _condition_notes(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus, now: datetime) -> list[Note]:
    notes = []
    stalled = _flipped(old, new, ConditionType.STALLED)
    if stalled is not None and stalled.status is ConditionStatus.TRUE:
        notes.append(Note(stalled.reason, stalled.message, is_warning=True, at=now))
    speculation = _flipped(old, new, ConditionType.SPECULATION_ACTIVE)
    if speculation is not None and speculation.reason in HELD:
        notes.append(Note(speculation.reason, speculation.message, is_warning=True, at=now))
    metrics = _flipped(old, new, ConditionType.METRICS_AVAILABLE)
    if metrics is not None and _is_blindness(old, metrics):
        notes.append(Note("MetricsUnavailable", metrics.message, is_warning=True, at=now))
    if metrics is not None and metrics.status is ConditionStatus.TRUE and metrics.reason == "Measured":
        notes.append(Note("MetricsAvailable", metrics.message, is_warning=False, at=now))
    ready = _flipped(old, new, ConditionType.READY)
    if ready is not None and ready.status is ConditionStatus.TRUE:
        notes.append(Note(ready.reason, ready.message, is_warning=False, at=now))
    return notes


def transitions(old: SpecDecodeDeploymentStatus, new: SpecDecodeDeploymentStatus, now: datetime) -> tuple[Note, ...]:
    """What happened between two statuses, worst news first."""
    notes = [note for note in (_history_note(old, new), _helped_note(old, new, now)) if note is not None]
    return tuple(notes + _condition_notes(old, new, now) + _finding_notes(old, new, now))


def untold(old: SpecDecodeDeploymentStatus, now: datetime) -> SpecDecodeDeploymentStatus:
    """The status without what was decided a short time ago, so that it is told: the process that decided may have died
    before. An Event that is there already is not posted twice.
    """
    is_recent = bool(old.history) and now - old.history[0].at < UNTOLD_FOR
    return old.model_copy(update={"history": old.history[1:]}) if is_recent else old


def worth_telling(notes: Iterable[Note], told: Mapping[str, datetime]) -> tuple[Note, ...]:
    """The notes without findings that were told a short time ago; `told` is when each finding last was, by reason."""
    return tuple(
        note
        for note in notes
        if not note.is_finding or note.reason not in told or note.at - told[note.reason] >= REPEATED_AFTER
    )


def event_body(metadata: Metadata, note: Note) -> dict[str, Any]:
    """The Event. Its name follows from what it says, so that a crash cannot post it twice."""
    at = rfc3339(note.at)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata.name}.{digest([metadata.uid, note.reason, at])}",
            "namespace": metadata.namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
        },
        "reason": note.reason,
        "message": note.message[:1024],
        "type": "Warning" if note.is_warning else "Normal",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": "specdecode-operator"},
        "reportingComponent": "specdecode.io/operator",
        "reportingInstance": "specdecode-operator",
    }
