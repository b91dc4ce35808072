"""`specdecode plan`: what is printed, where, and with which exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import ABSENT, body
from typer.testing import CliRunner, Result

from specdecode.cli import app

TOO_LARGE = {
    "spec.model": {"name": "meta-llama/Llama-3.1-70B-Instruct"},
    "spec.speculation.draft": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "spec.speculation.fallbacks": [],
}


def run(*documents: Any, options: tuple[str, ...] = ()) -> Result:
    text = yaml.safe_dump_all(documents)
    return CliRunner().invoke(app, ["plan", "-f", "-", *options], input=text)


def test_a_plan_that_fits() -> None:
    result = run(body())
    assert result.exit_code == 0
    assert result.stderr == ""
    for words in (
        "serving/llama-70b",
        "QuantizedDraft, requested: fits",
        "160 GB on the label, 78 GB of weights, 82 GB left",
        "target weights",
        " tokens in the KV cache at 229376 bytes per token and GPU",
        " requests of maxModelLen at once",
        "DraftTakesKvCache",
        "--tensor-parallel-size=2",
        "Off: fits",
    ):
        assert words in result.stdout


def test_a_plan_that_does_not_fit() -> None:
    result = run(body(**TOO_LARGE))
    assert result.exit_code == 1
    assert "160 GB on the label, 156 GB of weights, 4 GB left" in result.stdout
    assert re.search(r"short by [0-9]\.[0-9]{2} GiB per GPU", result.stdout)
    assert "  model.quantization fp8_per_tensor" in result.stdout


def test_several_resources_are_planned_one_by_one() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside"}}
    both = (body(), other, body(**{"metadata.name": "second"}))
    assert [plan["name"] for plan in json.loads(run(*both, options=("-o", "json")).stdout)] == ["llama-70b", "second"]
    yamls = list(yaml.safe_load_all(run(*both, options=("-o", "yaml")).stdout))
    assert [plan["name"] for plan in yamls] == ["llama-70b", "second"]


def test_several_tables_are_apart() -> None:
    shown = run(body(), body(**{"metadata.name": "second"})).stdout
    assert "\n\nserving/second\n" in shown


def test_what_can_be_planned_is_planned_beside_what_cannot() -> None:
    result = run(body(), body(**{"metadata.name": "second", "spec.engine.maxNumSeqs": 0}))
    assert result.exit_code == 2
    assert "serving/llama-70b" in result.stdout
    assert "second: InvalidSpec" in result.stderr


@pytest.mark.parametrize(
    ("overrides", "sentences"),
    [
        pytest.param(
            {"spec.engine.gpuMemoryUtilization": "1.5"},
            ["spec.engine.gpuMemoryUtilization", '"1.5"', "at most 1"],
            id="a rule of the types",
        ),
        pytest.param(
            {"spec.engine.maxModelLen": 200_000, "spec.model.quantization": "int8"},
            ["QuantizationNotUsable", "spec.engine.maxModelLen is 200000", "set 131072 or less", "no such method"],
            id="two rules of the plan",
        ),
        pytest.param({"spec.model.name": ABSENT}, ["spec.model.name", "is required"], id="a missing field"),
        pytest.param({"kind": "Deployment"}, ["must be specdecode.io/v1alpha1 SpecDecodeDeployment"], id="wrong kind"),
        pytest.param({"metadata": "name"}, ["metadata"], id="metadata of the wrong type"),
        pytest.param({"spec.engine": {1: 2}}, ["spec.engine"], id="a key that is no text"),
    ],
)
def test_a_bad_resource_is_told_in_one_block(overrides: dict[str, Any], sentences: list[str]) -> None:
    result = run(body(**overrides))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for sentence in sentences:
        assert sentence in result.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, "does not exist", id="no such file"),
        pytest.param(b"", "holds no SpecDecodeDeployment", id="an empty file"),
        pytest.param(b"a: [1", "is not YAML at line", id="broken YAML"),
        pytest.param(b"a: \xff\xfe", "is not UTF-8", id="no text"),
        pytest.param(b"a: \x07", "is not YAML", id="a control character"),
        pytest.param(b"just words", "is no object", id="a text"),
        pytest.param(b"- 1\n- 2\n", "is no object", id="a list"),
        pytest.param(b"a: 1\n---\nb: 2\n", "holds no SpecDecodeDeployment", id="other objects"),
        pytest.param(b"[" * 5000, "is not YAML", id="nested beyond reason"),
        pytest.param(b"!!python/object/apply:os.system ['true']", "is not YAML", id="a tag that would run code"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "resource.yaml"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(app, ["plan", "-f", str(path)])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_directory_and_a_name_with_a_nul_are_no_files(tmp_path: Path) -> None:
    for name in (str(tmp_path), "a\0b"):
        result = CliRunner().invoke(app, ["plan", "-f", name])
        assert result.exit_code == 2
        assert "cannot be read" in result.stderr


def test_markup_in_a_value_is_printed_as_it_is() -> None:
    result = run(body(**{"spec.model.name": "[bold]me[/]"}))
    assert "[bold]me[/]" in result.stderr


def test_the_module_runs_as_a_program_without_colours_when_piped() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "specdecode", "plan", "-f", "-"],
        input=yaml.safe_dump(body()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "\x1b[" not in finished.stdout


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "specdecode", "plan", "-f", "-"],
        input=yaml.safe_dump(body()),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"},
    )
    assert finished.returncode == 0, finished.stderr
    assert "TTTT" in finished.stdout
    assert finished.stdout.isascii()


def test_the_band_is_shown_beside_the_number() -> None:
    shown = run(body()).stdout
    assert re.search(r"KV cache 3[0-9]\.[0-9]{2} GiB per GPU, [0-9.]+ to [0-9.]+\n", shown)
    assert re.search(r"K  KV cache +3[0-9]\.[0-9]{2} +[0-9.]+ to [0-9.]+ *\n", shown)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param((), "--file", id="nothing at all"),
        pytest.param(("-f", "a.yaml", "--mode", "Off"), "add --log LOG", id="a mode without a log"),
        pytest.param(("--compare", "a", "b", "-f", "c"), "leave --file and --log out", id="three files"),
        pytest.param(("--compare", "a", "b", "--log", "c"), "leave --file and --log out", id="two files and a log"),
        pytest.param(("--compare", "-", "-"), "read once only", id="standard input beside itself"),
        pytest.param(("-f", "-", "--log", "-"), "read once only", id="standard input twice"),
    ],
)
def test_options_that_contradict_each_other(options: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, ["plan", *options])
    assert result.exit_code == 2
    assert words in result.stderr


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("specdecode 0.")
