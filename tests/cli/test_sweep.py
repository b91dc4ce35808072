"""`specdecode sweep`: the whole command against small real endpoints, and against engines that it starts."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from builders import body
from sweep.moody_engine import Mood, moody_engine
from typer.testing import CliRunner, Result

from specdecode.cli.sweep import REPORT_NAME, sweep
from specdecode.sweep.journal import NAME

ROOT = Path(__file__).parents[2]
SMALL = ("--kind", "code", "--temperature", "0,1", "--concurrency", "1,2", "--requests", "3", "--warm-up", "1")
FEW = (*SMALL, "--max-tokens", "4", "--yes")
ALL_OF_SMALL = 2 * 2 * (3 + 1)

app = typer.Typer()
app.command()(sweep)


def run(directory: Path, *words: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [*words, "--output-directory", str(directory)], env=environment)


def cells(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / NAME).read_text().splitlines()[1:]]


def test_a_sweep_with_a_baseline(tmp_path: Path) -> None:
    with moody_engine() as engine, moody_engine(Mood(speculates=False)) as other:
        result = run(tmp_path, engine.url, "--baseline", other.url, "--modes", "Draft", *FEW)
    assert result.exit_code == 0, result.output
    assert "8 cells: 32 requests" in result.stderr
    assert "at most 128 output tokens" in result.stderr
    assert len(re.findall(r"\[\d/8\]", result.stderr)) == 8, "a line for each cell where there is no terminal"
    assert len(engine.bodies) == len(other.bodies) == ALL_OF_SMALL
    assert [(cell["role"], cell["cell"]["mode"]) for cell in cells(tmp_path)].count(("baseline", "Off")) == 4
    assert json.loads((tmp_path / REPORT_NAME).read_text())["isComplete"] is True


def test_json_is_all_that_is_on_standard_output(tmp_path: Path) -> None:
    with moody_engine() as engine:
        result = run(tmp_path, engine.url, *FEW, "-o", "json")
    assert json.loads(result.stdout)["notes"] == []


def test_the_same_command_goes_on_and_another_one_does_not(tmp_path: Path) -> None:
    with moody_engine() as engine:
        assert run(tmp_path, engine.url, *FEW).exit_code == 0
        again = run(tmp_path, engine.url, *FEW)
        other = run(tmp_path, engine.url, *FEW, "--seed", "1")
    assert again.exit_code == 0
    assert "4 of 4 cells are in" in again.stderr
    assert other.exit_code == 2
    assert "its --seed is 0, not 1" in other.stderr
    assert len(engine.bodies) == ALL_OF_SMALL


def test_an_endpoint_that_dies_leaves_a_result_and_goes_on_later(tmp_path: Path) -> None:
    with moody_engine(Mood(dies_after=10)) as engine:
        result = run(tmp_path, engine.url, *FEW)
        assert result.exit_code == 1, result.output
        assert "is gone" in result.stderr
        assert [cell["isWhole"] for cell in cells(tmp_path)] == [True, True, False]
        engine.mood.dies_after = None
        assert run(tmp_path, engine.url, *FEW).exit_code == 0
    newest = {json.dumps(cell["cell"]): cell["isWhole"] for cell in cells(tmp_path)}
    assert list(newest.values()) == [True] * 4


def test_a_saved_run_is_a_baseline(tmp_path: Path) -> None:
    with moody_engine(Mood(speculates=False)) as other, moody_engine() as engine:
        assert run(tmp_path / "off", other.url, *FEW).exit_code == 0
        result = run(tmp_path / "on", engine.url, "--baseline", str(tmp_path / "off"), *FEW)
        longer = run(tmp_path / "x", engine.url, "--baseline", str(tmp_path / "off"), *FEW, "--max-tokens", "5")
    assert result.exit_code == 0, result.output
    assert longer.exit_code == 2
    assert "was made with --max-tokens 4" in longer.stderr


@pytest.mark.parametrize(
    ("mood", "sentence"),
    [
        pytest.param(Mood(speculates=False), "has no vllm:spec_decode series", id="an engine without speculation"),
        pytest.param(Mood(shows_metrics=False), "acceptance is not measured", id="an engine without metrics"),
        pytest.param(Mood(others_per_request=2), "other traffic: the engine finished 9", id="other people's requests"),
    ],
)
def test_what_is_measured_all_the_same_and_told(tmp_path: Path, mood: Mood, sentence: str) -> None:
    with moody_engine(mood) as engine:
        result = run(tmp_path, engine.url, *FEW)
    assert result.exit_code == 0, result.output
    assert sentence in result.stderr
    assert any(sentence in note for note in json.loads((tmp_path / REPORT_NAME).read_text())["notes"])


def test_the_key_comes_from_the_environment_and_is_nowhere_else(tmp_path: Path) -> None:
    with moody_engine(Mood(key="s3cret")) as engine:
        result = run(tmp_path, engine.url, "--api-key-env", "MY_KEY", *FEW, environment={"MY_KEY": "s3cret"})
        wrong = run(tmp_path / "x", engine.url, "--api-key-env", "MY_KEY", *FEW, environment={"MY_KEY": "0ther"})
    assert result.exit_code == 0, result.output
    assert wrong.exit_code == 2
    assert {headers["Authorization"] for headers in engine.headers} == {"Bearer s3cret"}
    kept = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert not re.search("s3cret|0ther", result.output + wrong.output + kept)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(("--temperature", "0,3"), "--temperature is 0,3", id="a temperature out of range"),
        pytest.param(("--concurrency", ""), "nothing is none", id="an empty grid"),
        pytest.param(("--kind", ","), "names no kind", id="no kind"),
        pytest.param(("--requests", "0"), "--requests is 0", id="no requests"),
        pytest.param(("--max-tokens", "1"), "--max-tokens is 1", id="answers of one token have no time per token"),
        pytest.param(("--timeout", "nan"), "--timeout is nan", id="no time"),
        pytest.param(("--kind", "code", "--prompts", "x"), "are both given", id="two sources of prompts"),
        pytest.param(("--prompts", "/nowhere"), "cannot be read", id="prompts that are not there"),
        pytest.param(("--api-key-env", "s3cret-key"), "not the key", id="the key instead of its variable"),
        pytest.param(("--baseline", "/nowhere"), "holds no saved run", id="a baseline that is not there"),
        pytest.param(("--baseline", "http://"), "--baseline is http://", id="a baseline that is no address"),
        pytest.param(("--modes", "Draft,Off"), "an endpoint that runs has one", id="two modes of one engine"),
        pytest.param(("--modes", "Off"), "it speculates", id="told that it does not speculate, and it does"),
        pytest.param(("--num-speculative-tokens", "1,3"), "has one", id="two numbers of tokens of one engine"),
        pytest.param(("--metrics-url", "metrics"), "--metrics-url is metrics", id="metrics that are no address"),
        pytest.param(("--model", "other"), "is not served", id="a model that is not served"),
        pytest.param(("--start",), "goes with -f FILE", id="nothing to start"),
        pytest.param(("-f", "x.yaml"), "URL and --file", id="an address and a file"),
    ],
)
def test_input_that_is_refused_before_anything_is_sent(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    with moody_engine() as engine:
        result = run(tmp_path / "out", engine.url, "--yes", *words)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert "s3cret" not in result.output
    assert not engine.bodies
    assert not (tmp_path / "out").exists()


def test_prompts_that_are_not_jsonl_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('"a"\nhello\n')
    result = run(tmp_path / "out", "http://127.0.0.1:1", "--prompts", str(tmp_path / "p.jsonl"), "--yes")
    assert result.exit_code == 2
    assert "line 2 is not JSON" in result.stderr


def test_a_saved_run_of_another_model_is_no_baseline(tmp_path: Path) -> None:
    with moody_engine(Mood(speculates=False, serves=("other",))) as other, moody_engine() as engine:
        assert run(tmp_path / "off", other.url, *FEW).exit_code == 0
        result = run(tmp_path / "on", engine.url, "--baseline", str(tmp_path / "off"), *FEW)
    assert result.exit_code == 2
    assert "was measured with the model other, the endpoint serves m" in result.stderr


@pytest.mark.parametrize(
    ("mood", "sentence"),
    [
        pytest.param(Mood(speculates=False, serves=("other",)), "serves other, not m", id="another model"),
        pytest.param(Mood(speculates=False, version="0.31.0"), "is vLLM 0.31.0, not 0.32.0", id="another version"),
    ],
)
def test_what_makes_a_baseline_doubtful_is_told(tmp_path: Path, mood: Mood, sentence: str) -> None:
    with moody_engine() as engine, moody_engine(mood) as other:
        result = run(tmp_path, engine.url, "--baseline", other.url, *FEW)
    assert result.exit_code == 0, result.output
    assert f"note: the baseline {sentence}" in result.stderr


def test_an_endpoint_is_not_its_own_baseline(tmp_path: Path) -> None:
    result = run(tmp_path, "http://127.0.0.1:1", "--baseline", "http://127.0.0.1:1/v1", *FEW)
    assert result.exit_code == 2
    assert "is the endpoint itself" in result.stderr


def test_pictures_are_drawn_into_the_directory(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with moody_engine() as engine, moody_engine(Mood(speculates=False)) as other:
        result = run(tmp_path, engine.url, "--baseline", other.url, *FEW, "--pictures")
    assert result.exit_code == 0, result.output
    assert list(tmp_path.glob("*.png"))


def test_a_report_that_cannot_be_kept_is_printed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / REPORT_NAME).mkdir()
    with moody_engine() as engine:
        result = run(tmp_path, engine.url, *FEW, "-o", "json")
    assert json.loads(result.stdout)["isComplete"]
    assert "cannot be written: Is a directory" in result.stderr


def test_a_baseline_that_speculates_is_none(tmp_path: Path) -> None:
    with moody_engine() as engine, moody_engine() as other:
        result = run(tmp_path, engine.url, "--baseline", other.url, *FEW)
    assert result.exit_code == 2
    assert "speculates; name an engine without" in result.stderr


def test_without_somebody_to_ask_it_sends_nothing(tmp_path: Path) -> None:
    with moody_engine() as engine:
        result = run(tmp_path, engine.url, *SMALL)
        sent = len(engine.bodies)
        smaller = run(tmp_path, engine.url, *FEW, "--requests", "1")
    assert result.exit_code == 2
    assert "16 requests" in result.stderr
    assert "--yes" in result.stderr
    assert sent == 0
    assert smaller.exit_code == 0, "a run that never began is in nobody's way"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_keeps_what_there_is_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    # A job in the background ignores Ctrl-C, and so does what it starts.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = "import typer; from specdecode.cli.sweep import sweep; app = typer.Typer(); app.command()(sweep); app()"
    with moody_engine(Mood(token_seconds=0.05)) as engine:
        words = [engine.url, *FEW, "--output-directory", str(tmp_path)]
        process = subprocess.Popen(
            [sys.executable, "-c", f"{hears}; {program}", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        engine.wait_for(4 + 3)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 130, errors
        assert output, "the table of what there is"
        assert "interrupted" in errors
        assert "Traceback" not in errors
        assert cells(tmp_path)[0]["isWhole"]
        engine.mood.token_seconds = 0.0
        before = len(engine.bodies)
        assert run(tmp_path, *words[:-2]).exit_code == 0
        assert len(engine.bodies) - before == 3 * 4, "the first cell was whole"


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Stands for an environment with vLLM. It does not start n-gram."""
    program, behaviour = tmp_path / "python", tmp_path / "behaviour.json"
    behaviour.write_text('{"start_seconds": 0.1, "c0_ms": 2}')
    program.write_text(
        "#!/bin/sh\nshift 3\n"
        'case "$*" in *ngram*) echo "ValueError: no n-gram here" >&2; exit 1;; esac\n'
        f"export PYTHONPATH={ROOT / 'operator'} REHEARSAL_BEHAVIOUR={behaviour}\n"
        f'exec {sys.executable} -m rehearsal.engine "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


def test_a_started_engine_of_another_version_is_told_and_nothing_is_started_twice(tmp_path: Path, python: str) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(body(**{"spec.engine.image": "vllm/vllm-openai:v0.31.0"})))
    words = ("-f", str(tmp_path / "spec.yaml"), "--start", "--python", python, "--modes", "Draft", "--yes")
    grid = ("--kind", "code", "--temperature", "0", "--concurrency", "2", "--requests", "2", "--max-tokens", "4")
    first, second = (run(tmp_path / "out", *words, *grid) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert "vLLM 0.32.0 runs, and the flags are for 0.31.0" in first.stderr
    assert "the engine starts" in first.stderr
    assert "the engine starts" not in second.stderr


def test_a_started_engine_that_dies_says_its_last_words(tmp_path: Path, python: str) -> None:
    """The stand-in is killed from outside after its first requests, as the kernel does when memory ends."""
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(body()))
    program = Path(python)
    program.write_text(
        program.read_text().replace("exec ", "(sleep 6; echo 'OutOfMemoryError: no memory' >&2; kill -9 $$) &\nexec ")
    )
    words = ("-f", str(tmp_path / "spec.yaml"), "--start", "--python", python, "--modes", "Draft", "--yes")
    grid = ("--kind", "code", "--temperature", "0", "--concurrency", "2", "--requests", "5000", "--max-tokens", "100")
    result = run(tmp_path / "out", *words, *grid)
    assert result.exit_code == 1, result.output
    assert "Draft-5: the endpoint" in result.stderr
    assert "the engine's last words: OutOfMemoryError: no memory" in result.stderr
    (cell,) = cells(tmp_path / "out")
    assert not cell["isWhole"]


def test_it_starts_the_engines_of_a_file_and_goes_on_past_one_that_fails(tmp_path: Path, python: str) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(body()))
    words = ("-f", str(tmp_path / "spec.yaml"), "--start", "--python", python, "--modes", "NGram,Draft,Off")
    grid = ("--kind", "code", "--temperature", "0", "--concurrency", "2", "--requests", "3", "--max-tokens", "8")
    result = run(tmp_path / "out", *words, *grid, "--num-speculative-tokens", "2,4", "--yes")
    assert result.exit_code == 1, result.output
    assert "NGram-2: the engine ended with 1 before it answered: ValueError: no n-gram here" in result.stderr
    found = [
        (cell["role"], cell["cell"]["mode"], cell["cell"]["num_speculative_tokens"]) for cell in cells(tmp_path / "out")
    ]
    assert found == [("baseline", "Off", 0), ("sweep", "Draft", 2), ("sweep", "Draft", 4)]
    assert [len(cell["drafted"]["accepted_at"]) for cell in cells(tmp_path / "out")[1:]] == [2, 4]
    assert (tmp_path / "out" / "engine-Draft-4.log").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(("-f", "/nowhere.yaml", "--start"), "does not exist", id="no file"),
        pytest.param(("-f", "-", "--start", "--modes", "Fast"), "must be of QuantizedDraft", id="no such mode"),
        pytest.param(("-f", "-", "--start", "--python", "/no/python"), "is no program", id="no interpreter"),
        pytest.param(("-f", "-", "--start", "--num-speculative-tokens", "0"), "from 1 to 64", id="no tokens"),
        pytest.param(("-f", "-", "--start", "--baseline", "http://x"), "goes with a URL", id="a baseline elsewhere"),
        pytest.param(("-f", "-"), "a file alone starts nothing", id="--start was forgotten"),
        pytest.param((), "are both missing", id="nothing to ask"),
    ],
)
def test_what_cannot_be_started(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    options = [*words, "--yes", "--output-directory", str(tmp_path / "out")]
    result = CliRunner().invoke(app, options, input=yaml.safe_dump(body()))
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr


def test_a_model_that_is_not_on_this_machine(tmp_path: Path) -> None:
    facts = {"architecture": "LlamaForCausalLM", "numHiddenLayers": 2, "hiddenSize": 256, "intermediateSize": 512}
    facts |= {"numAttentionHeads": 4, "numKeyValueHeads": 2, "headDim": 64, "vocabSize": 1024}
    facts |= {"maxPositionEmbeddings": 8192, "parameters": 1_000_000}
    overrides = {
        "spec.model": {"name": "/models/absent", "facts": facts},
        "spec.cache": {"claimName": "models"},
        "spec.speculation": {"method": "ngram", "numSpeculativeTokens": 3},
    }
    options = ["-f", "-", "--start", "--python", sys.executable, "--yes", "--output-directory", str(tmp_path / "out")]
    result = CliRunner().invoke(app, options, input=yaml.safe_dump(body(**overrides)))
    assert result.exit_code == 2, result.output
    assert "/models/absent" in result.stderr
    assert "does not exist on this machine" in result.stderr
