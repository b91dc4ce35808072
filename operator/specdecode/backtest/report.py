"""What a walk through history found: values that are printed, drawn and compared. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from specdecode.api.status import EvidenceItem, rfc3339
from specdecode.api.vocabulary import Mode
from specdecode.decide.facts import Availability


@dataclass(frozen=True)
class Decided:
    """A decision that would have been taken."""

    at: datetime
    action: str
    """As in the history of a status: RolledBack, Recommended, Retried, SteppedBackUp, Qualified."""
    from_mode: Mode
    to: Mode
    reason: str
    message: str
    evidence: tuple[EvidenceItem, ...] = ()
    changed_at: datetime | None = None
    """When that which led to it most likely began; None: not known, or it did not begin at one moment."""

    @property
    def delay_seconds(self) -> float | None:
        """From the change to the decision."""
        return None if self.changed_at is None else (self.at - self.changed_at).total_seconds()


@dataclass(frozen=True)
class Found:
    """Advice, for as long as it stood."""

    reason: str
    message: str
    since: datetime
    until: datetime | None = None
    """None: to the end."""


@dataclass(frozen=True)
class Ran:
    """What history ran, from a moment on."""

    since: datetime
    mode: Mode
    is_judged_anew: bool = False
    """Whether the mode is judged again although it was left, because history went on in it for so long."""


@dataclass(frozen=True)
class Unmeasured:
    """A stretch in which nothing could be judged for want of measurements."""

    since: datetime
    until: datetime
    availability: Availability
    cause: str


@dataclass(frozen=True)
class Walk:
    """One way through history under one guard."""

    changed: Mapping[str, str]
    """Fields that differ from the resource, as written; empty: none."""
    decisions: tuple[Decided, ...]
    findings: tuple[Found, ...]
    ran: tuple[Ran, ...]
    unmeasured: tuple[Unmeasured, ...]


@dataclass(frozen=True)
class Report:
    """All ways through one history."""

    namespace: str
    name: str
    source: str
    start: datetime
    """First and last scrape."""
    end: datetime
    scrape_interval_seconds: float
    step_seconds: float
    steps: int
    walks: tuple[Walk, ...]
    """As written first."""


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _decision(decided: Decided) -> dict[str, Any]:
    return {
        "at": _text(decided.at),
        "action": decided.action,
        "from": decided.from_mode.value,
        "to": decided.to.value,
        "reason": decided.reason,
        "message": decided.message,
        "evidence": [item.model_dump(mode="json", exclude_none=True) for item in decided.evidence],
        "changedAt": _text(decided.changed_at),
        "delaySeconds": decided.delay_seconds,
    }


def _walk(walk: Walk) -> dict[str, Any]:
    return {
        "changed": dict(walk.changed),
        "decisions": [_decision(decided) for decided in walk.decisions],
        "findings": [
            {
                "reason": found.reason,
                "message": found.message,
                "since": _text(found.since),
                "until": _text(found.until),
            }
            for found in walk.findings
        ],
        "ran": [
            {"since": _text(ran.since), "mode": ran.mode.value, "judgedAnew": ran.is_judged_anew} for ran in walk.ran
        ],
        "unmeasured": [
            {
                "since": _text(gap.since),
                "until": _text(gap.until),
                "availability": gap.availability.value,
                "cause": gap.cause,
            }
            for gap in walk.unmeasured
        ],
    }


def document(report: Report) -> dict[str, Any]:
    """The report as JSON: camelCase, stable; fields are only ever added. Moments are RFC 3339, seconds are numbers.

    `walks`: as written first, then the one with other thresholds, which are its `changed`. Of a walk: `decisions`
    (`changedAt` and `delaySeconds` are null where no moment of change is known), `findings` (`until` is null for what
    stood to the end), `ran` (the mode of history from a moment on; `judgedAnew` where it was judged again although it
    had been left) and `unmeasured` (stretches that could not be judged).
    """
    return {
        "namespace": report.namespace,
        "name": report.name,
        "source": report.source,
        "start": _text(report.start),
        "end": _text(report.end),
        "scrapeIntervalSeconds": report.scrape_interval_seconds,
        "stepSeconds": report.step_seconds,
        "steps": report.steps,
        "walks": [_walk(walk) for walk in report.walks],
    }
