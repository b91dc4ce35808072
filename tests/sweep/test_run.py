"""Cells measured over real HTTP: each request once, in lanes, with the counters of their time; and ended early."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sweep.moody_engine import Engine, Mood, moody_engine

from specdecode.sweep.endpoint import Endpoint, Identity
from specdecode.sweep.journal import BASELINE, MAIN, Head, Journal, Side, Writer
from specdecode.sweep.load import INTERRUPTED, CellRun, EndedError
from specdecode.sweep.options import Grid
from specdecode.sweep.prompts import Kind, Prompt
from specdecode.sweep.run import Run, Subject
from specdecode.sweep.types import Cell, Measured

GRID = Grid(
    kinds=(Kind("code", tuple(Prompt(f"prompt {number}") for number in range(5))),),
    temperatures=(0.0, 1.0),
    concurrencies=(1, 3),
    requests=6,
    max_tokens=4,
    warm_up=2,
    seed=0,
    timeout_seconds=5.0,
)
CELL = Cell("Draft", 3, "code", 0.0, 3)
HEAD = Head(GRID.asked(), {MAIN: Side("e", "m"), BASELINE: Side("b", "m")})


@asynccontextmanager
async def cell_run(engine: Engine, cell: Cell = CELL, grid: Grid = GRID) -> AsyncIterator[CellRun]:
    async with Endpoint(engine.url, timeout_seconds=grid.timeout_seconds) as endpoint:
        yield CellRun(endpoint, cell, grid, "m", salt="s")


async def measured(engine: Engine, cell: Cell = CELL, grid: Grid = GRID) -> Measured:
    async with cell_run(engine, cell, grid) as run:
        await run.measure()
    return run.measured()


async def test_a_cell() -> None:
    with moody_engine() as engine:
        found = await measured(engine)
    assert found.is_whole
    assert found.notes == ()
    assert len(found.answers) == len(found.answered) == 6
    assert [answer.output_tokens for answer in found.answers] == [4] * 6
    assert found.drafted is not None
    assert found.drafted.drafts == 6 * 5, "the warm-up is not in it"
    assert found.drafted.accepted_at == (30.0, 30.0, 0.0)
    assert max(answer.e2e_seconds for answer in found.answers) <= found.seconds < 5


async def test_everything_is_sent_once_and_no_more() -> None:
    with moody_engine() as engine:
        await measured(engine)
    assert len(engine.bodies) == 2 + 6
    assert len({body["seed"] for body in engine.bodies}) == 8
    salts = {body["cache_salt"] for body in engine.bodies}
    assert len(salts) == 8, "none is answered out of the prefix cache"
    assert all(len(salt) <= 128 and salt.isalnum() for salt in salts), "vLLM takes no other"
    asked = Counter(body["messages"][0]["content"] for body in engine.bodies[2:])
    assert asked == {"prompt 0": 2, **{f"prompt {number}": 1 for number in range(1, 5)}}


@pytest.mark.parametrize(
    "concurrency", [pytest.param(1, id="one after the other"), pytest.param(3, id="three at once")]
)
async def test_as_many_at_once_as_asked(concurrency: int) -> None:
    with moody_engine(Mood(token_seconds=0.01)) as engine:
        await measured(engine, replace(CELL, concurrency=concurrency))
    assert engine.most_at_once == concurrency


async def test_a_failed_request_is_an_answer_and_is_not_sent_again() -> None:
    with moody_engine(Mood(breaks_off=True)) as engine:
        async with cell_run(engine) as run:
            with pytest.raises(EndedError, match="every request failed; the answer broke off"):
                await run.measure()
    assert len(engine.bodies) == 8
    assert [bool(answer.error) for answer in run.measured().answers] == [True] * 6


@pytest.mark.parametrize(
    ("mood", "sentence"),
    [
        pytest.param(Mood(others_per_request=1), "other traffic: the engine finished 12", id="other people's requests"),
        pytest.param(Mood(restarts_at=6), "another engine counts", id="the engine restarts"),
    ],
)
async def test_counters_that_are_not_ours_alone_are_told(mood: Mood, sentence: str) -> None:
    with moody_engine(mood) as engine:
        found = await measured(engine)
    assert found.is_whole
    assert sentence in found.notes[0]


async def test_without_metrics_the_times_are_measured_all_the_same() -> None:
    with moody_engine(Mood(shows_metrics=False)) as engine:
        found = await measured(engine)
    assert found.is_whole
    assert found.drafted is None
    assert "acceptance unknown" in found.notes[0]


async def test_an_endpoint_that_refuses_everything_is_left_after_the_warm_up() -> None:
    with moody_engine(Mood(refuses="no chat template")) as engine:
        async with cell_run(engine) as run:
            with pytest.raises(EndedError, match="no chat template"):
                await run.measure()
    assert len(engine.bodies) == 2


async def test_an_endpoint_that_dies_leaves_what_it_answered() -> None:
    with moody_engine(Mood(dies_after=5)) as engine:
        async with cell_run(engine, replace(CELL, concurrency=1)) as run:
            with pytest.raises(EndedError, match="is gone"):
                await run.measure()
    found = run.measured()
    assert not found.is_whole
    assert INTERRUPTED in found.notes
    assert len(found.answered) == 3


@asynccontextmanager
async def whole_run(directory: Path, *engines: Engine) -> AsyncIterator[tuple[Run, Sequence[Subject]]]:
    with Writer(directory) as writer:
        assert writer.open(HEAD) is None
        subjects = []
        for role, engine in zip((MAIN, BASELINE), engines, strict=False):
            mode, tokens = ("Draft", 3) if role == MAIN else ("Off", 0)
            endpoint = Endpoint(engine.url, timeout_seconds=GRID.timeout_seconds)
            subjects.append(Subject(role, endpoint, Identity("m", "0.32.0", None), mode, tokens))
        yield Run(GRID, writer), subjects
        for subject in subjects:
            await subject.endpoint.__aexit__(None, None, None)


async def finished(directory: Path, *engines: Engine) -> Journal:
    async with whole_run(directory, *engines) as (run, subjects):
        await run.measure(subjects)
    return run.writer.journal


async def test_endpoints_take_turns_and_answer_the_same(tmp_path: Path) -> None:
    with moody_engine() as engine, moody_engine(Mood(speculates=False)) as other:
        journal = await finished(tmp_path, engine, other)
    assert list(journal.cells) == [
        (MAIN, Cell("Draft", 3, "code", 0.0, 1)),
        (BASELINE, Cell("Off", 0, "code", 0.0, 1)),
        (BASELINE, Cell("Off", 0, "code", 0.0, 3)),
        (MAIN, Cell("Draft", 3, "code", 0.0, 3)),
        (MAIN, Cell("Draft", 3, "code", 1.0, 1)),
        (BASELINE, Cell("Off", 0, "code", 1.0, 1)),
        (BASELINE, Cell("Off", 0, "code", 1.0, 3)),
        (MAIN, Cell("Draft", 3, "code", 1.0, 3)),
    ]
    seeds = [sorted(body["seed"] for body in each.bodies) for each in (engine, other)]
    assert seeds[0] == seeds[1]


async def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    with moody_engine(Mood(dies_after=20)) as engine:
        async with whole_run(tmp_path, engine) as (run, subjects):
            with pytest.raises(EndedError):
                await run.measure(subjects)
    with moody_engine() as engine:
        journal = await finished(tmp_path, engine)
        again = await finished(tmp_path, engine)
    assert len(engine.bodies) == 2 * 8, "two cells of four were whole; a third call has nothing to do"
    assert all(cell.is_whole for cell in journal.cells.values())
    assert len(again.cells) == len(journal.cells) == 4


async def test_who_is_interrupted_keeps_the_cell_under_way_as_not_whole(tmp_path: Path) -> None:
    with moody_engine(Mood(token_seconds=0.02)) as engine:
        async with whole_run(tmp_path, engine) as (run, subjects):
            task = asyncio.create_task(run.measure(subjects))
            await asyncio.to_thread(engine.wait_for, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    (kept,) = run.writer.journal.cells.values()
    assert not kept.is_whole
    assert 1 <= len(kept.answers) < 6
    assert INTERRUPTED in kept.notes
