"""Engines as children of the sweep: their command line, their start, their last words, their end."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from specdecode.api.resource import Problem
from specdecode.sweep.launcher import Command, StartedEngine, check, last_words
from specdecode.sweep.load import EndedError

ROOT = Path(__file__).parents[2]
COMMAND = Command(
    name="Draft-3",
    python=sys.executable,
    arguments=(
        "--model=/models/target",
        "--host=0.0.0.0",
        "--port=8000",
        '--speculative-config={"method":"draft_model","model":"/models/draft","num_speculative_tokens":3}',
    ),
    variables={},
    start_seconds=20.0,
)


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Stands for the interpreter of an environment with vLLM: its module is the simulated engine."""
    program = tmp_path / "python"
    run = f"exec {sys.executable} -m rehearsal.engine"
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "-P -m vllm.entrypoints.openai.api_server" ] && shift 3\n{run} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def command(python: str, tmp_path: Path) -> Command:
    (tmp_path / "behaviour.json").write_text('{"start_seconds": 0.1}')
    variables = {"PYTHONPATH": str(ROOT / "operator"), "REHEARSAL_BEHAVIOUR": str(tmp_path / "behaviour.json")}
    return replace(COMMAND, python=python, variables=variables)


def test_the_command_line_is_the_pod_s_on_this_machine() -> None:
    words = replace(COMMAND, models=Path("/data/models")).here(1234)
    assert words == [
        sys.executable,
        *("-P", "-m", "vllm.entrypoints.openai.api_server"),
        "--model=/data/models/target",
        "--host=127.0.0.1",
        "--port=1234",
        '--speculative-config={"method":"draft_model","model":"/data/models/draft","num_speculative_tokens":3}',
    ]


@pytest.mark.parametrize(
    ("made", "changed", "sentence"),
    [
        pytest.param(("target", "draft"), {}, None, id="everything is there"),
        pytest.param(("target",), {}, "draft: does not exist on this machine", id="the draft is missing"),
        pytest.param((), {}, "target: does not exist on this machine", id="the model is missing"),
        pytest.param(("target", "draft"), {"python": "/no/python"}, "--python is /no/python", id="no interpreter"),
        pytest.param((), {"arguments": ("--model=org/name",)}, None, id="a name on the hub is no path"),
    ],
)
def test_what_can_be_known_before(
    tmp_path: Path, made: tuple[str, ...], changed: dict[str, object], sentence: str | None
) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    found = check(replace(COMMAND, models=tmp_path, **changed))  # type: ignore[arg-type]  # fields by name
    assert (found is None) == (sentence is None)
    assert found is None or sentence is None or sentence in str(found)
    assert found is None or isinstance(found, Problem)


async def test_it_serves_while_the_block_runs_and_is_gone_afterwards(command: Command, tmp_path: Path) -> None:
    async with StartedEngine(command, tmp_path / "engine.log") as engine:
        async with httpx.AsyncClient(trust_env=False) as client:
            (model,) = (await client.get(f"{engine.url}/v1/models")).json()["data"]
        assert engine._process is not None
        group = engine._process.pid
    assert model["id"] == "/models/target"
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    assert engine.url in (tmp_path / "engine.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(
            ("--no-such-flag",), "error: unrecognized arguments: --no-such-flag", id="a flag it does not know"
        ),
        pytest.param(("--gpu-memory-utilization=1.5",), "GPU memory utilization must be less than 1.0", id="a value"),
    ],
)
async def test_one_that_does_not_start_says_why(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    wrong = replace(command, arguments=(*command.arguments, *arguments))
    with pytest.raises(EndedError) as caught:
        async with StartedEngine(wrong, tmp_path / "engine.log"):
            pass
    assert "before it answered" in str(caught.value)
    assert sentence in str(caught.value)
    assert str(tmp_path / "engine.log") in str(caught.value)


async def test_one_that_never_answers_is_given_up_and_stopped(command: Command, tmp_path: Path) -> None:
    (tmp_path / "behaviour.json").write_text('{"start_seconds": 60}')
    engine = StartedEngine(replace(command, start_seconds=1.0), tmp_path / "engine.log")
    with pytest.raises(EndedError, match="did not answer within 1 s"):
        async with engine:
            pass
    assert await engine.has_ended()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        pytest.param("a\nValueError: too little memory\nbye\n", "ValueError: too little memory", id="the error"),
        pytest.param(
            "(EngineCore) ERROR 11-23 [core.py] ValueError: the cause\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "(EngineCore) ERROR 11-23 [core.py] ValueError: the cause",
            id="the cause, not that there is one",
        ),
        pytest.param(
            "RuntimeError: the cause\nWARNING 11-23 03:24:33 [x.py] can cause errors like OSError: too many files\n",
            "RuntimeError: the cause",
            id="a warning that quotes an error is none",
        ),
        pytest.param("usage: vllm\nvllm: error: unrecognized arguments: --x\n", "--x", id="argparse"),
        pytest.param("Killed\n", "Killed", id="no error is named: the last line"),
        pytest.param("", "it said nothing", id="nothing"),
    ],
)
def test_last_words(log: str, said: str) -> None:
    assert last_words(log).endswith(said)
