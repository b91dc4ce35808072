"""Why it is as it is: the last decision rule by rule, the step down in force with what each rule saw then, the
conditions, and what would change it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from specdecode.api.status import Condition, RollbackStatus, RuleOutcome, RuleStatus
from specdecode.api.vocabulary import Mode
from specdecode.cli.cluster.answer import Todo
from specdecode.cli.cluster.screen import commands, labelled
from specdecode.cli.cluster.standing import standing_of
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.cluster.view import wire
from specdecode.cli.cluster.words import ago, ahead, dated
from specdecode.decide.baseline import COLLAPSED_ACCEPTANCE_LENGTH
from specdecode.decide.latch import next_retry

_STYLES = {
    RuleOutcome.ACTS: "bold red",
    RuleOutcome.ADVISES: "yellow",
    RuleOutcome.HOLDS: "green",
    RuleOutcome.NOT_ASKED: "dim",
}


@dataclass(frozen=True)
class Told:
    """One decision."""

    at: datetime
    what: str
    message: str
    rules: tuple[RuleStatus, ...]


@dataclass(frozen=True)
class Explanation:
    """Everything that `explain` shows."""

    namespace: str
    name: str
    headline: str
    step: Told | None
    """The step down in force; None: none is."""
    decision: Told | None
    """The last decision, where it is not that step."""
    conditions: tuple[Condition, ...]
    changes: tuple[Todo, ...]
    """What would change it."""


def _step(latch: RollbackStatus) -> Told:
    return Told(latch.at, f"{latch.from_mode} -> {latch.to}: {latch.reason}", latch.message, latch.rules)


def _decision(subject: Subject) -> Told | None:
    decision, latch = subject.status.decision, subject.latch
    if decision is None:
        return None
    is_the_step = latch is not None and decision.reason == latch.reason and decision.mode is latch.to
    what = f"{decision.mode}: {decision.reason}"
    message = "" if latch is not None and decision.message == latch.message else decision.message
    return None if is_the_step else Told(decision.at, what, message, decision.rules)


def _limits(subject: Subject) -> Iterator[str]:
    guard = subject.guard
    yield f"acceptance length {COLLAPSED_ACCEPTANCE_LENGTH:g} or less in two scrapes"
    if subject.status.mode is Mode.QUANTIZED_DRAFT:
        yield f"{guard.acceptance.max_quantization_drop_points} points less acceptance than the unquantised draft"
    yield f"acceptance under {guard.acceptance.off_below_percent} % for {guard.window}, unless it pays all the same"
    yield f"slower than without speculation by {guard.latency.max_regression_percent} %"
    named = (("TPOT", guard.latency.tpot_p99), ("TTFT", guard.latency.ttft_p99), ("E2E", guard.latency.e2e_p99))
    for name, limit in named:
        if limit is not None:
            yield f"{name} P99 over {limit} for {guard.window}"


def _changes_of_a_step(subject: Subject, latch: RollbackStatus) -> Iterator[Todo]:
    moment = next_retry(latch, subject.guard.retry)
    yield Todo(f"a spec whose hash is not {latch.spec_hash}: model, engine, accelerator or speculation changed")
    yield Todo(f"a retry of {subject.requested_mode} by hand", subject.command("retry"))
    if moment is not None:
        yield Todo(f"time: guard.retry tries {subject.requested_mode} again {ahead(moment, subject.now)}")
    yield Todo("a mode of your choice", subject.command("force", "MODE"))


def _changes(subject: Subject) -> Iterator[Todo]:
    if subject.is_paused:
        yield Todo("to resume it", subject.command("resume"))
    elif subject.forced_mode:
        yield Todo("to clear the force", subject.command("force", "--clear"))
    elif subject.latch is not None:
        yield from _changes_of_a_step(subject, subject.latch)
    elif subject.status.mode is not Mode.OFF:
        yield Todo(f"the guard leaves {subject.status.mode} for one of: {'; '.join(_limits(subject))}")
        yield Todo("a new spec")
    else:
        yield Todo("a spec that asks for speculation")


def explanation_of(subject: Subject) -> Explanation:
    """Everything."""
    return Explanation(
        namespace=subject.metadata.namespace,
        name=subject.metadata.name,
        headline=standing_of(subject).headline,
        step=None if subject.latch is None else _step(subject.latch),
        decision=_decision(subject),
        conditions=subject.status.conditions,
        changes=tuple(_changes(subject)),
    )


def _grouped(rules: Sequence[RuleStatus]) -> dict[tuple[RuleOutcome, str], list[str]]:
    """Names of the rules by outcome and what they saw, the loudest first: many need the same, or lack it."""
    groups: dict[tuple[RuleOutcome, str], list[str]] = {}
    for rule in sorted(rules, key=lambda each: list(_STYLES).index(each.outcome)):
        groups.setdefault((rule.outcome, rule.saw), []).append(rule.rule)
    return groups


def _rules(rules: Sequence[RuleStatus]) -> RenderableType:
    if not rules:
        return Text("no rule was asked")
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in range(3):
        table.add_column(no_wrap=column < 2)
    for (outcome, saw), names in _grouped(rules).items():
        table.add_row(Text(str(outcome), style=_STYLES[outcome]), "\n".join(names), Text(saw))
    return table


def _told(title: str, told: Told, now: datetime) -> Iterator[RenderableType]:
    yield Text(f"{title}, {dated(told.at, now)}", style="bold")
    why = (("why", Text(told.message)),) if told.message else ()
    yield labelled((("what", Text(told.what)), *why, ("rules", _rules(told.rules))))
    yield Text()


def _conditions(conditions: Sequence[Condition], now: datetime) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in range(4):
        table.add_column(no_wrap=column < 3)
    for each in conditions:
        since = ago(each.last_transition_time, now)
        table.add_row(str(each.type), f"{each.status} {each.reason}", since, Text(each.message))
    return table


def sheet(found: Explanation, now: datetime) -> RenderableType:
    """For people."""
    parts: list[RenderableType] = [Text(f"{found.namespace}/{found.name}: {found.headline}", style="bold"), Text()]
    if found.step is not None:
        parts += _told("The step down in force", found.step, now)
    if found.decision is not None:
        parts += _told("The last decision" if found.step is None else "What holds since", found.decision, now)
    if found.step is None and found.decision is None:
        parts += [Text("No decision was recorded yet; the conditions are all there is."), Text()]
    parts += [Text("Conditions, and since when", style="bold"), _conditions(found.conditions, now), Text()]
    parts += [Text("What would change it", style="bold"), commands(found.changes)]
    return Group(*parts)


def document(found: Explanation) -> dict[str, Any]:
    """For scripts."""
    values = asdict(found) | {"conditions": [each.model_dump() for each in found.conditions]}
    for name, told in (("step", found.step), ("decision", found.decision)):
        if told is not None:
            values[name] = asdict(told) | {"rules": [rule.model_dump() for rule in told.rules]}
    document: dict[str, Any] = wire(values)
    return document
