"""`specdecode backtest`: what the guard would have decided, from history."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from specdecode.api.resource import Problem
from specdecode.api.values import DURATION, seconds_of
from specdecode.backtest.against import changed_resource, read_changes
from specdecode.backtest.history import History
from specdecode.backtest.report import Report, document
from specdecode.backtest.run import Asked, from_file, report_of
from specdecode.cli.complaints import INVALID, complain
from specdecode.cli.console import Screen
from specdecode.cli.decisions import print_report
from specdecode.cli.documents import FileOption, read_resources
from specdecode.cli.planning import HubOption, ModelsDirectoryOption, Planned, planned
from specdecode.lookup.find import Sources

_TITLE = "nothing to judge"


class Output(StrEnum):
    """How decisions are printed."""

    TABLE = "table"
    JSON = "json"


@dataclass
class _Bars:
    """Progress on a terminal, one bar for each thing that is done."""

    progress: Progress
    _tasks: dict[str, TaskID] = field(default_factory=dict)

    def advance(self, what: str, more: float, whole: float) -> None:
        """More of something was done."""
        if what not in self._tasks:
            self._tasks[what] = self.progress.add_task(what, total=whole)
        self.progress.advance(self._tasks[what], more)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    console = Screen(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _fail(*problems: Problem) -> typer.Exit:
    complain(_TITLE, problems)
    return typer.Exit(INVALID)


def _seconds(option: str, text: str | None) -> float | None:
    """A moment as Unix seconds. Raises typer.Exit after a complaint."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = "must be a moment, for example 2026-11-22T12:00:00Z or 1795694400"
        raise _fail(Problem(option, text, message)) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(option: str, text: str | None) -> float | None:
    """A duration in seconds. Raises typer.Exit after a complaint."""
    if text is None:
        return None
    seconds = seconds_of(text) if re.fullmatch(DURATION, text) else 0.0
    if seconds <= 0:
        raise _fail(Problem(option, text, "must be a duration above zero, for example 15s, 90m or 24h"))
    return seconds


def _resource(file: str, name: str | None, sources: Sources) -> Planned:
    """The one resource of a file, or the one of that name. Raises typer.Exit after a complaint."""
    found = read_resources(file)
    if isinstance(found, Problem):
        raise _fail(found)
    named = [pair for pair in found if pair[0] == name] if len(found) > 1 else list(found)
    if len(named) != 1:
        labels = ", ".join(label for label, _ in found)
        message = f"is needed: the file holds {labels}; choose one of them" if name is None else f"is none of {labels}"
        raise _fail(Problem("--deployment", name or "", message))
    result = planned(*named[0], sources)
    if result is None:
        raise typer.Exit(INVALID)
    return result


def _source(prometheus: str | None, openmetrics: Path | None) -> None:
    if (prometheus is None) == (openmetrics is None):
        which = "are both given; leave one out" if prometheus else "are both missing; name one of them"
        raise _fail(Problem("--prometheus and --openmetrics", "", which))
    if prometheus is not None and not re.match(r"https?://", prometheus):
        raise _fail(Problem("--prometheus", prometheus, "must be a URL, for example http://127.0.0.1:9090"))


def _asked(planned_resource: Planned, against: Sequence[str]) -> Asked:
    resource, plan = planned_resource
    changes = read_changes(against)
    if isinstance(changes, Problem):
        raise _fail(changes)
    if not changes:
        return Asked(resource, plan)
    other = changed_resource(resource, changes)
    if isinstance(other, tuple):
        raise _fail(*other)
    return Asked(resource, plan, changes=changes, other=other)


def _draw(path: Path, history: History, report: Report) -> None:
    try:
        # An optional extra: everything else works without it.
        from specdecode.backtest.picture import draw  # noqa: PLC0415 - see above
    except ImportError:
        message = "needs matplotlib; install it with: pip install 'specdecode-operator[pictures]'"
        raise _fail(Problem("--picture", str(path), message)) from None
    try:
        draw(path, history, report)
    except (OSError, ValueError) as error:
        raise _fail(Problem("--picture", str(path), f"cannot be written: {error}")) from None


def backtest(
    file: FileOption,
    prometheus: Annotated[str | None, typer.Option(help="URL of a Prometheus with the history.")] = None,
    openmetrics: Annotated[
        Path | None, typer.Option(help="File with the history, as `promtool tsdb dump-openmetrics` writes it.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Omitted: the whole file; of a Prometheus, 24h.")] = None,
    end: Annotated[str | None, typer.Option(help="Omitted: the end of the file; of a Prometheus, now.")] = None,
    step: Annotated[
        str | None, typer.Option(help="Time between two judgements. Omitted: as between two scrapes.")
    ] = None,
    deployment: Annotated[
        str | None, typer.Option(help="Which one, where the history or the file of resources has several.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Its namespace, where that is not clear.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
    picture: Annotated[Path | None, typer.Option(help="Also draw it: a PNG, SVG or PDF.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Judge again with a changed field of the guard, and show both. Repeatable: all are changed together.",
        ),
    ] = None,
    rearm_after: Annotated[
        str, typer.Option(help="When a mode that was left is judged anew, where history goes on in it.")
    ] = "24h",
    prometheus_token_file: Annotated[Path | None, typer.Option(help="File with a bearer token.")] = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print what was advised and not seen.")] = False,
    hub: HubOption = False,
    models_directory: ModelsDirectoryOption = None,
) -> None:
    """Run the guard over history: every decision that it would have taken, with time, reason, numbers and delay.

    It is the code that runs in the cluster. Series without the labels of the operator are taken as this resource's, in
    the requested mode. Of the resource's status only the recorded baseline is used. Exit code 2: the input cannot be
    used.
    """
    _source(prometheus, openmetrics)
    start_seconds, end_seconds = _seconds("--start", start), _seconds("--end", end)
    step_seconds, rearm_seconds = _duration("--step", step), _duration("--rearm-after", rearm_after)
    sources = Sources(models_directory=models_directory, is_hub_allowed=hub)
    asked = _asked(_resource(file, deployment, sources), against or ())
    assert rearm_seconds is not None
    with _progress() as progress:
        asked = replace(
            asked,
            deployment=deployment,
            namespace=namespace,
            start=start_seconds,
            end=end_seconds,
            step_seconds=step_seconds,
            rearm_after=timedelta(seconds=rearm_seconds),
            advance=_Bars(progress).advance,
        )
        history = _history(asked, prometheus, openmetrics, prometheus_token_file)
        if isinstance(history, Problem):
            progress.stop()
            raise _fail(history)
        report = report_of(history, asked, str(openmetrics or prometheus))
    if output is Output.JSON:
        typer.echo(json.dumps(document(report), indent=2))
    else:
        print_report(Screen(), report, is_verbose=verbose)
    if picture is not None:
        _draw(picture, history, report)


def _history(
    asked: Asked, prometheus: str | None, openmetrics: Path | None, token_file: Path | None
) -> History | Problem:
    if openmetrics is not None:
        return from_file(openmetrics, asked)
    # Only this source needs the client library, which takes half a second to load.
    from specdecode.backtest.remote import from_prometheus  # noqa: PLC0415 - see above

    assert prometheus is not None, "one of both is given"
    return from_prometheus(prometheus, asked, token_file=token_file)
