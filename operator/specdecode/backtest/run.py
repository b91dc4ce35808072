"""From what a person asks to a report: read, choose, lay out, walk. What is wrong comes back as a value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from specdecode.api.resource import Problem, SpecDecodeDeployment
from specdecode.backtest import openmetrics
from specdecode.backtest.choice import Choice, Wanted, choose, no_engine, wrong_version
from specdecode.backtest.history import History, history_of
from specdecode.backtest.report import Report, Walk
from specdecode.backtest.series import EVERY_NAME, Read, between
from specdecode.backtest.walk import REARM_AFTER, walk
from specdecode.engine.metrics import MetricNames
from specdecode.engine.version import EngineVersion
from specdecode.observe.queries import NAME
from specdecode.observe.subject import subject_of
from specdecode.plan.types import Plan

Advance = Callable[[str, float, float], None]
"""Told what is being done, how much more of it was, and how much it is as a whole."""


def _silent(_what: str, _more: float, _whole: float) -> None:
    return None


@dataclass(frozen=True)
class Asked:
    """What is to be held against history."""

    resource: SpecDecodeDeployment
    plan: Plan
    deployment: str | None = None
    namespace: str | None = None
    start: float | None = None
    end: float | None = None
    """Unix seconds; None: from the first sample, to the last; of a Prometheus the day before now."""
    step_seconds: float | None = None
    rearm_after: timedelta = REARM_AFTER
    changes: Mapping[str, str] = field(default_factory=dict)
    """Thresholds that are changed in `other`, by field of the spec."""
    other: SpecDecodeDeployment | None = None
    """The resource with other thresholds; None: only the one as written is held against history."""
    advance: Advance = _silent

    @property
    def version(self) -> EngineVersion:
        """Of the engine."""
        return EngineVersion.parse(self.plan.engine_version)

    @property
    def names(self) -> MetricNames:
        """What the requested mode exposes."""
        return subject_of(self.resource, self.resource.requested_mode, self.version).metric_names

    def choice(self, series: tuple[Mapping[str, str], ...]) -> Choice | Problem:
        """The series to look at."""
        return choose(Wanted(self.resource, self.deployment, self.namespace), series)


def unusable(asked: Asked, read: Read, where: tuple[str, str]) -> Problem | None:
    """Why what was read is of no use, if it is not. `where` is the option that named the source, and its value."""
    missing = no_engine(asked.names, read.names, *where)
    return missing or wrong_version(asked.names, asked.plan.engine_version, read.names)


def moment_text(seconds: float) -> str:
    """A moment in Unix seconds, as people read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _of_file(path: Path, asked: Asked, read: Read) -> History | Problem:
    running = tuple(line.labels for line in read.lines if line.labels[NAME] == asked.names.running)
    choice = asked.choice(running)
    if isinstance(choice, Problem):
        return choice
    first, last = min(line.at[0] for line in read.lines), max(line.at[-1] for line in read.lines)
    start, end = first if asked.start is None else asked.start, last if asked.end is None else asked.end
    lines = between(read.lines, start, end)
    if not lines:
        covered = (
            f"to --end {moment_text(end)} holds no sample: {path} covers {moment_text(first)} to {moment_text(last)}"
        )
        return Problem("--start", moment_text(start), covered)
    return history_of(lines, choice, asked.resource, asked.version, asked.step_seconds)


def from_file(path: Path, asked: Asked) -> History | Problem:
    """The history that a file of OpenMetrics text holds."""
    size = path.stat().st_size if path.is_file() else 0
    read = openmetrics.read_openmetrics(path, EVERY_NAME, lambda more: asked.advance("reading", more, size))
    if isinstance(read, Problem):
        return read
    return unusable(asked, read, (openmetrics.FIELD, str(path))) or _of_file(path, asked, read)


def report_of(history: History, asked: Asked, source: str) -> Report:
    """Every decision that would have been taken, under the resource as written and with the other thresholds."""
    steps = len(history.moments)

    def walked(what: str, resource: SpecDecodeDeployment, changed: Mapping[str, str]) -> Walk:
        return walk(
            history,
            resource,
            asked.plan,
            changed=changed,
            rearm_after=asked.rearm_after,
            advance=lambda more: asked.advance(what, more, steps),
        )

    walks = [walked("judging", asked.resource, {})]
    if asked.other is not None:
        walks.append(walked("judging with other thresholds", asked.other, asked.changes))
    namespace, name = asked.resource.key
    return Report(
        namespace=asked.namespace or namespace,
        name=asked.deployment or name,
        source=source,
        start=datetime.fromtimestamp(int(history.first_at), UTC),
        end=datetime.fromtimestamp(int(history.last_at), UTC),
        scrape_interval_seconds=history.scrape_interval_seconds,
        step_seconds=history.step_seconds,
        steps=steps,
        walks=tuple(walks),
    )
