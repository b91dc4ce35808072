"""`make rehearse`: plays the stories on a real control plane and tells them while they happen."""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rehearsal.binaries import BinariesError
from rehearsal.binaries.ways import Say
from rehearsal.engines import SIMULATED, Engines
from rehearsal.narrator import Narrator, narrators
from rehearsal.processes import ProcessError
from rehearsal.report import entry, write_picture, write_report
from rehearsal.rig import Rig, raised
from rehearsal.series import read_series
from rehearsal.stage import ExpectationError, Stage
from rehearsal.stories import STORIES
from rehearsal.story import Result, Story
from rehearsal.vllm.environment import EnvironmentMissingError
from rehearsal.vllm.launcher import LaunchError
from rehearsal.vllm.real import real_engines
from rehearsal.vllm_stories import VLLM_STORIES
from specdecode.errors import ClusterError

console = Console()


class EngineKind(StrEnum):
    """Which engine the nodes run."""

    SIMULATED = "simulated"
    VLLM = "vllm"


@dataclass(frozen=True)
class Repertoire:
    """The stories of one kind of engine, and what it takes to play them."""

    stories: tuple[Story, ...]
    at_once: int
    """Stories played side by side: what two cores carry without the engines falling behind their step times."""
    prepare: Callable[[Path, Say], Awaitable[Engines]]
    """In a folder of the rehearsal's."""


async def _simulated(_: Path, __: Say) -> Engines:
    return SIMULATED


REPERTOIRES = {
    EngineKind.SIMULATED: Repertoire(STORIES, 3, _simulated),
    EngineKind.VLLM: Repertoire(VLLM_STORIES, 2, real_engines),
}


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def _chosen(repertoire: Repertoire, names: list[str]) -> list[Story]:
    known = {story.name: story for story in repertoire.stories}
    unknown = [name for name in names if name not in known]
    if unknown:
        console.print(f"[red]no story {', '.join(unknown)}[/]; there are: {', '.join(known)}")
        raise typer.Exit(2)
    return [known[name] for name in names] or list(repertoire.stories)


@dataclass(frozen=True)
class _Show:
    """What all stories of one rehearsal share."""

    rig: Rig
    engines: Engines
    report: Path
    slots: asyncio.Semaphore
    keep: asyncio.Event | None
    """Set when the looking around is over; None: nothing is kept."""


async def _play(show: _Show, story: Story, narrator: Narrator) -> dict[str, Any]:
    """Play one story; a failure is a result, not an exception."""
    async with AsyncExitStack() as slot:
        await slot.enter_async_context(show.slots)
        narrator.started = time.time()
        narrator.tell("step", f"— {story.summary}")
        stage = Stage(
            show.rig,
            story.name,
            narrator,
            gpus=story.gpus,
            engines=show.engines,
            installs_operator=story.installs_operator,
        )
        try:
            async with stage:
                result = await _played(stage, story, show.report)
                if show.keep is not None:
                    # What is kept costs little; the next story may begin.
                    await slot.aclose()
                    _show_around(stage)
                    await show.keep.wait()
        except (ProcessError, ClusterError, OSError) as failure:
            narrator.tell("failed", f"the stage could not be set or cleared: {failure}")
            result = Result(story.name, passed=False, seconds=narrator.elapsed_seconds, error=str(failure))
    return entry(story, result, narrator, getattr(stage, "watcher", None))


async def _played(stage: Stage, story: Story, report: Path) -> Result:
    narrator = stage.narrator
    narrator.started = time.time()
    error = ""
    try:
        await story.play(stage)
        if not story.installs_operator:
            await stage.check("the chart's rights sufficed", not stage.forbidden())
    except ExpectationError as failure:
        error = str(failure)
    except Exception as failure:  # noqa: BLE001 - a story that breaks must not end the others
        error = f"{type(failure).__name__}: {failure}"
    seconds = narrator.elapsed_seconds
    await _picture(stage, story, report, seconds)
    narrator.tell("failed" if error else "held", f"story {'failed' if error else 'passed'} after {seconds:.0f} s")
    if error:
        narrator.tell("failed", f"{error}\nthe operator's last words:\n{stage.running_operator.log_tail(15)}")
    return Result(story.name, not error, seconds, error)


async def _picture(stage: Stage, story: Story, report: Path, seconds: float) -> None:
    if not stage.prometheus.process.is_running:
        await stage.prometheus.start()
    series = await read_series(stage.prometheus, stage.narrator.started, time.time())
    await asyncio.to_thread(write_picture, report, story, series, stage.watcher, seconds)


def _show_around(stage: Stage) -> None:
    console.print(
        f"\n[bold]{stage.namespace}[/] keeps running. Look around:\n"
        f"  export KUBECONFIG={stage.rig.plane.kubeconfig}\n"
        f"  export PATH={stage.rig.plane.binaries.kubectl.parent}:$PATH\n"
        f"  kubectl -n {stage.namespace} get sdd,deployments,pods\n"
        f"  kubectl -n {stage.namespace} describe sdd chat\n"
        f"  Prometheus   {stage.prometheus.url}\n"
        f"  operator     {stage.running_operator.url}/metrics\n"
        f"  operator log {stage.running_operator.log}\n"
        f"  engines      {' '.join(f'http://{address}/metrics' for address in stage.ready_addresses())}\n"
        "Ctrl-C stops everything.\n",
        highlight=False,
        soft_wrap=True,
    )


@dataclass(frozen=True)
class _Rehearsal:
    """What a person asked for."""

    repertoire: Repertoire
    stories: list[Story]
    directory: Path
    report: Path

    async def play(self, keep: asyncio.Event | None) -> bool:
        """Play all stories; returns whether all passed."""
        voices = narrators([story.name for story in self.stories], console)
        engines = await self.repertoire.prepare(self.directory, _say)
        started = time.monotonic()
        async with raised(self.directory, _say) as rig:
            show = _Show(rig, engines, self.report, asyncio.Semaphore(self.repertoire.at_once), keep)
            entries = await asyncio.gather(*(_play(show, story, voices[story.name]) for story in self.stories))
        _sum_up(self.report, entries, time.monotonic() - started)
        return all(story["passed"] for story in entries)


def _sum_up(report: Path, entries: list[dict[str, Any]], seconds: float) -> None:
    path = write_report(report, entries, seconds)
    for story in entries:
        mark = "[green]passed[/]" if story["passed"] else "[bold red]failed[/]"
        console.print(f"{mark}  {story['name']:<16} {story['seconds']:6.1f} s  {story['error']}", highlight=False)
    _say(f"{len(entries)} stories in {seconds:.0f} s; report: {path}")


async def _until_signalled(rehearsal: _Rehearsal, *, keep: bool) -> bool:
    """Play until done or told to stop; with `keep` the first Ctrl-C ends the looking around."""
    stop = asyncio.Event() if keep else None
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(rehearsal.play(stop))

    def end() -> None:
        # What is kept ends in good order; everything else is cancelled, and cleans up on the way.
        if stop is not None and not stop.is_set():
            stop.set()
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return await task


def rehearse(
    story: Annotated[list[str] | None, typer.Option(help="Play only this story; repeatable.")] = None,
    report: Annotated[Path, typer.Option(help="Folder for report.json and the pictures.")] = Path("report"),
    engine: Annotated[EngineKind, typer.Option(help="What the nodes run, each with its own stories.")] = (
        EngineKind.SIMULATED
    ),
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards.")] = False,
) -> None:
    """Play the stories on a real control plane, without a GPU."""
    repertoire = REPERTOIRES[engine]
    stories = _chosen(repertoire, story or [])
    directory = Path(tempfile.mkdtemp(prefix="specdecode-rehearsal-"))
    try:
        passed = asyncio.run(_until_signalled(_Rehearsal(repertoire, stories, directory, report), keep=keep))
    except (BinariesError, ProcessError, EnvironmentMissingError, LaunchError) as error:
        console.print("[bold red]error:[/]", end=" ")
        console.print(str(error), highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(3) from None
    except asyncio.CancelledError:
        console.print("stopped; everything that was started is gone")
        raise typer.Exit(130) from None
    finally:
        _tidy(directory)
    sys.exit(0 if passed else 1)


def _tidy(directory: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(directory)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(rehearse)
    app()
