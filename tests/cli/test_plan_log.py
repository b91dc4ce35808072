"""`specdecode plan --log`: what is printed of a plan against a start, and what cannot be compared."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import ABSENT, GIB, body
from typer.testing import CliRunner, Result

from specdecode.cli import app

LOGS = Path(__file__).parents[1] / "data" / "engine" / "logs"
COLD = str(LOGS / "vllm-0.29.0-cold.log")

LAB = {
    "spec.model": {"name": "Qwen/Qwen3-8B"},
    "spec.engine": {
        "image": "vllm/vllm-openai:v0.29.0",
        "maxModelLen": 4096,
        "maxNumSeqs": 8,
        "maxNumBatchedTokens": 4096,
        "gpuMemoryUtilization": "0.75",
    },
    "spec.accelerator": {"product": "lab", "memory": str(int(47.37 * GIB)), "count": 1},
    "spec.speculation": ABSENT,
}


def lab(**overrides: Any) -> dict[str, Any]:
    return body(**{key: dict(value) if isinstance(value, dict) else value for key, value in LAB.items()} | overrides)


def run(*documents: Any, log: str = COLD, options: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(app, ["plan", "-f", "-", "--log", log, *options], input=yaml.safe_dump_all(documents))


def test_a_plan_against_its_engine() -> None:
    result = run(lab())
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for words in ("mode Off, against a log", "vLLM 0.29.0 on 1 x 47.37 GiB", "137360", "every line is inside its band"):
        assert words in result.stdout


def test_a_term_that_is_off_is_named_with_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(Path(COLD).read_text().replace("1.28 GiB for peak", "3.28 GiB for peak"))
    result = run(lab(), log=str(log))
    assert result.exit_code == 0
    assert "off: activation peak: planned" in result.stdout
    assert "torch.compile cache was cold" in result.stdout
    assert "OFF" in result.stdout


def test_the_log_alone_is_planned() -> None:
    result = CliRunner().invoke(app, ["plan", "--log", COLD])
    assert result.exit_code == 0
    assert "default/from-log" in result.stdout
    assert "assumed" not in result.stdout


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(Path(COLD).read_text().replace("'max_num_seqs': 8", "'x': 8"))
    result = CliRunner().invoke(app, ["plan", "--log", str(log)])
    assert "assumed: maxNumSeqs is taken as 256, the default of vLLM 0.29.0" in result.stdout


def test_a_log_of_another_engine_is_said_so() -> None:
    result = run(lab(**{"spec.engine.maxNumSeqs": 16}))
    assert "not the same: --max-num-seqs: the plan has 16, the log 8" in result.stdout


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        pytest.param((), "Off", id="as the log says"),
        pytest.param(("--mode", "NGram"), "NGram", id="as asked"),
    ],
)
def test_the_mode(options: tuple[str, ...], mode: str) -> None:
    ngram = lab(**{"spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4}})
    assert f"mode {mode}, against a log" in run(ngram, options=options).stdout


def test_an_excerpt_is_compared_with_the_requested_mode(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("Model loading took 15.27 GiB memory\nModel loading took 15.27 GiB memory\n")
    result = run(lab(), log=str(log))
    assert "the log: vLLM\n" in result.stdout
    assert "weights" in result.stdout


def test_a_failed_start_is_quoted_and_a_plan_that_does_not_fit_is_exit_code_1() -> None:
    small = lab(**{"spec.accelerator.memory": "12Gi"})
    result = run(small, log=str(LOGS / "vllm-0.27.1-does-not-fit.log"))
    assert result.exit_code == 1
    assert "the engine did not start: No available memory for the cache blocks" in result.stdout


def test_a_log_without_sizes_says_so(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("INFO vLLM API server version 0.29.0")
    result = run(lab(), log=str(log))
    assert result.exit_code == 0
    assert "prints no size that the plan has" in result.stdout


def test_of_several_resources_the_one_with_the_model_is_meant() -> None:
    result = run(body(), lab(**{"metadata.name": "lab"}))
    assert "serving/lab, mode Off" in result.stdout


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [
        pytest.param((lab(), lab(**{"metadata.name": "second"})), "leave only the one meant", id="two of the model"),
        pytest.param((body(), body(**{"metadata.name": "second"})), "the log is of Qwen/Qwen3-8B", id="none of it"),
        pytest.param((lab(**{"spec.engine.maxNumSeqs": 0}),), "spec.engine.maxNumSeqs", id="a bad spec"),
        pytest.param((), "holds no SpecDecodeDeployment", id="no spec"),
    ],
)
def test_a_file_that_does_not_go_with_the_log(documents: tuple[Any, ...], sentence: str) -> None:
    result = run(*documents)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sentence in result.stderr


def test_a_mode_that_is_not_planned() -> None:
    result = run(lab(), options=("--mode", "Draft"))
    assert result.exit_code == 2
    assert "choose one of Off" in result.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, "does not exist", id="no such file"),
        pytest.param(b"", "is no start-up log of vLLM", id="an empty file"),
        pytest.param(b"hello\n", "is no start-up log of vLLM", id="another text"),
        pytest.param(bytes(range(256)) * 100, "is no start-up log of vLLM", id="a binary file"),
        pytest.param(b"INFO Model loading took 15.27 GiB memory", "does not name the model", id="an excerpt alone"),
    ],
)
def test_a_log_that_cannot_be_used(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    log = tmp_path / "engine.log"
    if content is not None:
        log.write_bytes(content)
    result = CliRunner().invoke(app, ["plan", "--log", str(log)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    assert "cannot be read" in CliRunner().invoke(app, ["plan", "--log", str(tmp_path)]).stderr


def test_a_huge_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdecode.cli.logs._MAX_BYTES", 1024**2)
    log = tmp_path / "engine.log"
    log.write_bytes(b"x" * (1024**2 + 1))
    assert "larger than 1 MB" in CliRunner().invoke(app, ["plan", "--log", str(log)]).stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_log_from_windows(tmp_path: Path, encoding: str) -> None:
    log = tmp_path / "engine.log"
    log.write_text(Path(COLD).read_text(), encoding=encoding, newline="\r\n")
    assert CliRunner().invoke(app, ["plan", "--log", str(log)]).exit_code == 0


def test_a_log_from_standard_input(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(lab()))
    result = CliRunner().invoke(app, ["plan", "-f", str(spec), "--log", "-"], input=Path(COLD).read_bytes())
    assert result.exit_code == 0
    assert "every line is inside its band" in result.stdout
