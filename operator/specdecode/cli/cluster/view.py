"""Everything that `status` shows of one deployment, as named values: what `-o json` prints and the screen draws."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from specdecode.api.status import Bounds, ConditionType, FindingStatus, ModePlanStatus, ObservedStatus, rfc3339
from specdecode.api.values import bytes_of
from specdecode.api.vocabulary import Mode
from specdecode.cli.cluster.answer import Standing
from specdecode.cli.cluster.standing import standing_of
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.cluster.words import ago
from specdecode.decide.baseline import COLLAPSED_ACCEPTANCE_LENGTH
from specdecode.summary import size_text


@dataclass(frozen=True)
class Rung:
    """One mode of the ladder."""

    mode: Mode
    is_requested: bool
    is_running: bool
    fits: bool
    note: str
    """Why it runs, or why it does not."""


@dataclass(frozen=True)
class Number:
    """One measured number."""

    name: str
    value: str
    limit: str = ""
    """What it is held against; empty: nothing."""


@dataclass(frozen=True)
class Memory:
    """The KV cache of the mode that runs, per GPU, as planned and as measured."""

    planned: str
    planned_tokens: int | None
    measured: str
    """Empty: not measured yet under this spec."""
    measured_tokens: int | None
    error_percent: str


@dataclass(frozen=True)
class View:
    """One deployment."""

    namespace: str
    name: str
    model: str
    engine_version: str
    mode: Mode | None
    replicas: int
    ready_replicas: int
    created_at: datetime | None
    standing: Standing
    ladder: tuple[Rung, ...]
    numbers: tuple[Number, ...]
    measured_note: str
    """Of which mode and window the numbers are."""
    memory: Memory | None
    findings: tuple[FindingStatus, ...]


def _left_because(subject: Subject, mode: Mode) -> str:
    """Why a mode above the one that runs was left; empty: it was not."""
    latch = subject.latch
    if latch is not None and latch.from_mode is mode:
        return f"left {ago(latch.at, subject.now)}: {latch.reason}"
    for entry in subject.status.history:
        if entry.action == "RolledBack" and entry.from_mode is mode and entry.spec_hash == subject.status.spec_hash:
            return f"left {ago(entry.at, subject.now)}: {entry.reason}"
    return ""


def _why_not(subject: Subject, plan: ModePlanStatus, *, is_above: bool, is_next: bool) -> str:
    if not plan.fits:
        return f"does not fit: short by {plan.short_by or 'an unknown amount'} per GPU"
    if is_above:
        passed = "fits" if subject.latch is None else "passed over: not a cure for the cause, or never seen healthy"
        return _left_because(subject, plan.name) or passed
    return "fits; the next step down" if is_next else "fits"


def _note(subject: Subject, plans: tuple[ModePlanStatus, ...], position: int) -> str:
    plan, running = plans[position], subject.status.mode
    modes = [each.name for each in plans]
    at = modes.index(running) if running in modes else len(modes)
    if position == at and plan.fits:
        return "is being rolled out" if subject.has(ConditionType.RECONCILING) else "runs"
    after = next((each.name for each in plans[at + 1 :] if each.fits), None)
    return _why_not(subject, plan, is_above=position < at, is_next=plan.name is after)


def ladder_of(subject: Subject) -> tuple[Rung, ...]:
    """The modes, best first, with what keeps each from running."""
    plan = subject.status.plan
    if plan is None:
        return ()
    return tuple(
        Rung(
            mode=each.name,
            is_requested=each.name is plan.requested_mode,
            is_running=each.name is subject.status.mode,
            fits=each.fits,
            note=_note(subject, plan.modes, position),
        )
        for position, each in enumerate(plan.modes)
    )


def between(bounds: Bounds | None) -> str:
    """`25ms to 50ms`; `over 50ms`; empty: not measured."""
    if bounds is None:
        return ""
    return f"over {bounds.low}" if bounds.high == "unbounded" else f"{bounds.low} to {bounds.high}"


def _limit(text: str | None) -> str:
    return f"limit {text}" if text else ""


def _speedup(observed: ObservedStatus) -> Number:
    if observed.speedup is None:
        return Number("speed-up", "")
    interval = f"{observed.speedup_low} to {observed.speedup_high}"
    return Number("speed-up", f"{observed.speedup} ({interval})", f"by {observed.speedup_source}; above 1 it pays")


def _measured(subject: Subject, observed: ObservedStatus) -> Iterator[Number]:
    guard = subject.guard
    rate, acceptance = observed.acceptance_rate_percent, guard.acceptance
    floors = f"off below {acceptance.off_below_percent} %, review below {acceptance.review_below_percent} %"
    yield Number("acceptance", "" if rate is None else f"{rate} %", floors)
    length, collapse = observed.acceptance_length, f"collapsed at {COLLAPSED_ACCEPTANCE_LENGTH:g}"
    yield Number("tokens per step", length or "", collapse)
    yield _speedup(observed)
    yield Number("TPOT mean", observed.tpot_mean or "")
    yield Number("TPOT P99", between(observed.tpot_p99), _limit(guard.latency.tpot_p99))
    yield Number("TTFT P99", between(observed.ttft_p99), _limit(guard.latency.ttft_p99))
    yield Number("E2E P99", between(observed.e2e_p99), _limit(guard.latency.e2e_p99))
    running = observed.running_requests
    yield Number("load", "" if running is None else f"{running} running per replica")


def numbers_of(subject: Subject) -> tuple[Number, ...]:
    """What was measured last, with its limits; what was not measured is left out."""
    observed = subject.status.observed
    return () if observed is None else tuple(each for each in _measured(subject, observed) if each.value)


def _measured_note(subject: Subject) -> str:
    observed = subject.status.observed
    if observed is None:
        return "nothing was measured yet"
    note = f"of {observed.mode}, over {observed.window}"
    is_other = observed.mode is not subject.status.mode
    return f"{note}: not of {subject.status.mode}, which was not measured yet" if is_other else note


def memory_of(subject: Subject) -> Memory | None:
    """None: the mode that runs is not in the plan of this spec, or does not fit."""
    status = subject.status
    plans = () if status.plan is None else status.plan.modes
    plan = next((each for each in plans if each.name is status.mode and each.fits), None)
    if plan is None:
        return None
    entries = (each for each in status.calibration if each.spec_hash == status.spec_hash and each.mode is status.mode)
    entry = next(entries, None)
    return Memory(
        planned=plan.kv_cache or "",
        planned_tokens=plan.kv_cache_tokens,
        measured="" if entry is None else size_text(bytes_of(entry.measured_kv_cache)),
        measured_tokens=plan.measured_kv_cache_tokens,
        error_percent="" if entry is None else entry.error_percent,
    )


def view_of(subject: Subject) -> View:
    """Everything."""
    status, standing = subject.status, standing_of(subject)
    # What the standing says already is not said twice.
    findings = tuple(each for each in status.findings if each.message != standing.why)
    return View(
        namespace=subject.metadata.namespace,
        name=subject.metadata.name,
        model=subject.model,
        engine_version="" if status.plan is None else status.plan.engine_version or "",
        mode=status.mode,
        replicas=status.replicas or 0,
        ready_replicas=status.ready_replicas or 0,
        created_at=subject.created_at,
        standing=standing,
        ladder=ladder_of(subject),
        numbers=numbers_of(subject),
        measured_note=_measured_note(subject),
        memory=memory_of(subject),
        findings=findings,
    )


def wire(value: Any) -> Any:
    """A view as JSON has it: camelCase, moments as Kubernetes writes them."""
    if isinstance(value, dict):
        return {to_camel(name): wire(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [wire(each) for each in value]
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, StrEnum) else value


def document(view: View) -> dict[str, Any]:
    """One deployment for scripts."""
    values = asdict(view) | {"findings": [finding.model_dump() for finding in view.findings]}
    document: dict[str, Any] = wire(values)
    return document
