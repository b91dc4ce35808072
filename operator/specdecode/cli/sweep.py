"""`specdecode sweep`: what speculation brings at an endpoint, by temperature and concurrency."""

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from specdecode.api.resource import Problem
from specdecode.cli.complaints import INVALID, complain
from specdecode.cli.console import Screen
from specdecode.cli.planning import HubOption, ModelsDirectoryOption
from specdecode.cli.sweep_options import Endpoints, Words, endpoints_of, grid_of, key_of
from specdecode.cli.sweep_progress import Shown, cell_text
from specdecode.cli.sweep_start import Asked, Engines, engines_of
from specdecode.cli.sweep_tables import print_report
from specdecode.lookup.find import Sources
from specdecode.sweep.journal import BASELINE, MAIN, Head, Journal, Writer
from specdecode.sweep.options import Grid, amount_of
from specdecode.sweep.prompts import Api
from specdecode.sweep.report import Report, document, report_of
from specdecode.sweep.run import Run
from specdecode.sweep.targets import (
    Known,
    Say,
    differences,
    look_at,
    measure_running,
    measure_started,
    role_of,
    run_until_done,
)
from specdecode.sweep.types import Cell, Sweep

INCOMPLETE = 1
"""Exit code when not everything could be measured."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_TITLE = "nothing to measure"
REPORT_NAME = "report.json"


class Output(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"


Work = Callable[[Run, Say], Coroutine[Any, Any, tuple[str, ...]]]


@dataclass(frozen=True)
class Job:
    """A run, ready to begin."""

    head: Head
    cells: tuple[tuple[str, Cell], ...]
    """All of them, by role."""
    work: Work
    remarks: tuple[str, ...] = ()
    saved: Sweep | None = None
    """A baseline that was measured before."""


@dataclass(frozen=True)
class Manner:
    """How a run is confirmed and shown."""

    output: Output
    pictures: bool
    is_confirmed: bool


def _fail(*problems: Problem) -> typer.Exit:
    complain(_TITLE, problems)
    return typer.Exit(INVALID)


def _job_of_endpoints(grid: Grid, endpoints: Endpoints) -> Job:
    """Looks at the endpoints. Raises typer.Exit after a complaint."""
    known: list[Known] = []
    for address in endpoints.addresses:
        found = run_until_done(look_at(address))
        if isinstance(found, Problem):
            raise _fail(found)
        known.append(found)
    main = known[0]
    saved = endpoints.saved
    if saved is not None and saved.model != main.identity.model:
        message = f"was measured with the model {saved.model}, the endpoint serves {main.identity.model}"
        raise _fail(Problem("--baseline", endpoints.asked["baseline"], message))
    told = {"modes": main.mode, "num-speculative-tokens": str(main.num_speculative_tokens)}
    asked = {**grid.asked(), **told, **endpoints.asked}
    remarks = [note for each in known for note in each.notes]
    remarks += [note for other in known[1:] for note in differences(main, other)]
    return Job(
        Head(asked, {each.address.role: each.side for each in known}, time.time()),
        tuple(
            (each.address.role, cell) for each in known for cell in grid.cells(each.mode, each.num_speculative_tokens)
        ),
        lambda run, _say: measure_running(run, known),
        tuple(remarks),
        saved,
    )


def _job_of_engines(grid: Grid, engines: Engines, directory: Path) -> Job:
    cells = (
        (role_of(variant), cell)
        for variant, _ in engines.started
        for cell in grid.cells(str(variant.plan.mode), variant.num_speculative_tokens)
    )
    return Job(
        Head({**grid.asked(), **engines.asked}, engines.sides, time.time()),
        tuple(cells),
        lambda run, say: measure_started(run, engines.started, directory, say),
    )


def _confirm(console: Console, manner: Manner) -> None:
    """Raises typer.Exit when the user does not want it, or cannot be asked."""
    if manner.is_confirmed:
        return
    if not (sys.stdin.isatty() and console.is_terminal):
        raise _fail(Problem("--yes", "", "is missing, and nobody is here to ask; give it to send all of this"))
    try:
        if not typer.confirm("Send them?", err=True):
            raise typer.Exit(INCOMPLETE)
    except typer.Abort:
        raise typer.Exit(INTERRUPTED) from None


def _measure(grid: Grid, job: Job, directory: Path, manner: Manner) -> int:
    """Returns the exit code."""
    console = Screen(stderr=True, soft_wrap=True, highlight=False)
    with Writer(directory) as writer:
        problem = writer.open(job.head)
        if problem is not None:
            raise _fail(problem)
        missing = [cell for role, cell in job.cells if not writer.journal.has(role, cell)]
        done = len(job.cells) - len(missing)
        for remark in job.remarks:
            console.print(f"[yellow]note:[/] {escape(remark)}")
        if done:
            console.print(f"{done} of {len(job.cells)} cells are in {escape(str(directory))} already")
        amount = amount_of(grid, missing)
        if missing:
            console.print(f"{len(missing)} cells: {amount}; results go to {escape(str(directory))}")
            _confirm(console, manner)
        with Shown(len(missing), amount.requests, console) as shown:
            errors, code = _worked(Run(grid, writer, shown.watcher()), job.work, shown.say)
        _finish(console, writer.journal, job, directory, manner)
    if errors:
        complain("not everything could be measured; the same command goes on", _as_problems(errors))
    elif code == INTERRUPTED:
        console.print("[yellow]interrupted:[/] what there is was kept; the same command goes on")
    return code


def _as_problems(errors: Sequence[str]) -> list[Problem]:
    return [Problem("sweep", "", error) for error in errors]


def _worked(run: Run, work: Work, say: Say) -> tuple[tuple[str, ...], int]:
    """What went wrong, and the exit code."""
    try:
        errors = run_until_done(work(run, say))
    except KeyboardInterrupt:
        return (), INTERRUPTED
    return errors, INCOMPLETE if errors else 0


def _finish(console: Console, journal: Journal, job: Job, directory: Path, manner: Manner) -> None:
    """Print and keep what there is."""
    main, baseline = journal.sweep(MAIN), journal.sweep(BASELINE) or job.saved
    if main is None:
        # Only the engine without speculation was measured, as yet.
        main, baseline = journal.sweep(BASELINE), None
    if main is None:
        return
    report = report_of(main, baseline)
    notes = [f"{cell_text(*key)}: {note}" for key, cell in journal.cells.items() for note in cell.notes]
    body = {**document(report), "isComplete": _is_complete(journal, job), "notes": [*job.remarks, *notes]}
    text = json.dumps(body, indent=2, allow_nan=False)
    if manner.output is Output.JSON:
        typer.echo(text)
    else:
        print_report(Screen(), report)
        for note in notes:
            typer.echo(f"note: {note}")
    try:
        (directory / REPORT_NAME).write_text(f"{text}\n", encoding="utf-8")
        if manner.pictures:
            _draw(console, report, directory)
    except OSError as error:
        problem = Problem("--output-directory", str(directory), f"cannot be written: {error.strerror or error}")
        complain("the report was printed and could not be kept", (problem,))


def _draw(console: Console, report: Report, directory: Path) -> None:
    from specdecode.sweep.picture import write_pictures  # noqa: PLC0415 - needs an optional extra

    for path in write_pictures(report, directory):
        console.print(f"drawn: {escape(str(path))}")


def _is_complete(journal: Journal, job: Job) -> bool:
    return all(journal.has(role, cell) for role, cell in job.cells)


def _check_pictures(*, are_wanted: bool) -> None:
    """Before anything is measured. Raises typer.Exit after a complaint."""
    if are_wanted and importlib.util.find_spec("matplotlib") is None:
        message = "needs matplotlib; install it with: pip install 'specdecode-operator[pictures]'"
        raise _fail(Problem("--pictures", "", message))


def _check_source(url: str | None, file: str | None, *, is_started: bool, others: Sequence[tuple[str, object]]) -> None:
    """Either an address or a file to start. Raises typer.Exit after a complaint."""
    if (url is None) == (file is None):
        which = "are both given; leave one out" if url else "are both missing; name an endpoint, or a file to start"
        raise _fail(Problem("URL and --file", "", which))
    if is_started != (file is not None):
        which = "goes with -f FILE" if is_started else "is missing: a file alone starts nothing"
        raise _fail(Problem("--start", "", which))
    if is_started:
        given = next((option for option, value in others if value), None)
        if given is not None:
            raise _fail(Problem(given, "", "goes with a URL; an engine that is started needs none"))


def sweep(
    url: Annotated[str | None, typer.Argument(help="An OpenAI-compatible endpoint of vLLM.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Of code, extraction, summary, chat, story. Omitted: all of them.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Your own, as JSONL: a text, a prompt or messages a line.")
    ] = None,
    temperature: Annotated[str, typer.Option(help="Numbers with commas between them.")] = "0,0.4,0.8,1.0",
    concurrency: Annotated[str, typer.Option(help="Requests at once; numbers with commas between them.")] = "1,4,16",
    requests: Annotated[int, typer.Option(help="Of each cell, after the warm-up. A bounded P99 needs 459.")] = 32,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 200,
    warm_up: Annotated[int, typer.Option(help="Requests before each cell that do not count.")] = 4,
    seed: Annotated[int, typer.Option(help="From which every request's own seed follows.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request has failed.")] = 120.0,
    api: Annotated[Api, typer.Option(help="Where texts are sent to; a base model has no chat.")] = Api.CHAT,
    model: Annotated[str, typer.Option(help="Omitted: the first that the endpoint serves.")] = "",
    api_key_env: Annotated[str | None, typer.Option(help="Name of the variable that holds the API key.")] = None,
    metrics_url: Annotated[str, typer.Option(help="Where /metrics is elsewhere.")] = "",
    baseline: Annotated[
        str | None,
        typer.Option(metavar="URL|DIRECTORY", help="The same engine without speculation, or a saved run of it."),
    ] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", help="YAML with one SpecDecodeDeployment.")] = None,
    start: Annotated[bool, typer.Option("--start", help="Start the engines of the file here, one by one.")] = False,  # noqa: FBT002 - typer
    modes: Annotated[
        str | None, typer.Option(help="To start. Omitted: the requested one and Off. With a URL: which mode it runs.")
    ] = None,
    num_speculative_tokens: Annotated[
        str | None, typer.Option(help="To start each mode with: 1,3,5. Omitted: the file's.")
    ] = None,
    python: Annotated[str, typer.Option(help="Interpreter of the environment with vLLM.")] = "python3",
    output_directory: Annotated[Path, typer.Option(help="What is measured is kept there, and gone on with.")] = Path(
        "sweep"
    ),
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
    *,
    pictures: Annotated[bool, typer.Option("--pictures", help="Also draw them into the output directory.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")] = False,
    hub: HubOption = False,
    models_directory: ModelsDirectoryOption = None,
) -> None:
    """Measure what speculation brings: latency, throughput and acceptance by temperature and concurrency.

    It sends what it announces, once, and keeps every finished cell: the same command goes on where it ended. Exit code
    0: done; 1: not everything could be measured; 2: the input cannot be used; 130: interrupted.
    """
    others = (
        ("--baseline", baseline),
        ("--metrics-url", metrics_url),
        ("--api-key-env", api_key_env),
        ("--model", model),
    )
    _check_source(url, file, is_started=start, others=others)
    _check_pictures(are_wanted=pictures)
    words = Words(kind, prompts, temperature, concurrency, requests, max_tokens, warm_up, seed, timeout, api)
    grid = grid_of(words)
    if isinstance(grid, tuple):
        raise _fail(*grid)
    try:
        if file is not None:
            sources = Sources(models_directory=models_directory, is_hub_allowed=hub)
            engines = engines_of(Asked(file, modes, num_speculative_tokens, python, sources))
            if engines is None:
                raise typer.Exit(INVALID)
            if isinstance(engines, Problem):
                raise _fail(engines)
            job = _job_of_engines(grid, engines, output_directory)
        else:
            assert url is not None
            key = key_of(api_key_env)
            if isinstance(key, Problem):
                raise _fail(key)
            endpoints = endpoints_of(
                url,
                grid,
                baseline=baseline,
                key=key,
                metrics_url=metrics_url,
                model=model,
                modes=modes,
                numbers=num_speculative_tokens,
            )
            if isinstance(endpoints, Problem):
                raise _fail(endpoints)
            job = _job_of_endpoints(grid, endpoints)
        code = _measure(grid, job, output_directory, Manner(output, pictures, yes))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)
