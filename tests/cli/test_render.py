"""`specdecode render`: the objects of one mode as YAML."""

from typing import Any

import pytest
import yaml
from builders import body
from typer.testing import CliRunner, Result

from specdecode.cli import app

TOO_LARGE = {
    "spec.model": {"name": "meta-llama/Llama-3.1-70B-Instruct"},
    "spec.speculation.draft": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "spec.speculation.fallbacks": ["NGram"],
}


def run(*documents: Any, options: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(app, ["render", "-f", "-", *options], input=yaml.safe_dump_all(documents))


def arguments(result: Result) -> list[str]:
    objects = {item["kind"]: item for item in yaml.safe_load_all(result.stdout)}
    assert set(objects) == {"Service", "Deployment"}
    containers = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return list(containers[0]["args"])


@pytest.mark.parametrize(
    ("options", "method"),
    [
        pytest.param((), '"quantization":"fp8_per_tensor"', id="the requested mode"),
        pytest.param(("--mode", "NGram"), '"method":"ngram"', id="another rung"),
    ],
)
def test_the_objects_of_a_mode(options: tuple[str, ...], method: str) -> None:
    result = run(body(), options=options)
    assert result.exit_code == 0, result.output
    config = next(argument for argument in arguments(result) if argument.startswith("--speculative-config"))
    assert method in config
    assert "&id" not in result.stdout


def test_off_has_no_speculation() -> None:
    rendered = arguments(run(body(), options=("--mode", "Off")))
    assert not [argument for argument in rendered if argument.startswith("--speculative-config")]


@pytest.mark.parametrize(
    ("overrides", "options", "sentence"),
    [
        pytest.param(TOO_LARGE, (), "does not fit: short by", id="a mode that does not fit is not rendered"),
        pytest.param(
            {"spec.speculation.fallbacks": []},
            ("--mode", "NGram"),
            "choose one of QuantizedDraft, Off",
            id="a mode that is not on the ladder",
        ),
        pytest.param(
            TOO_LARGE
            | {"spec.model": {"name": "meta-llama/Llama-3.1-405B-Instruct"}, "spec.accelerator.count": 16}
            | {"spec.accelerator.memory": "24Gi"},
            (),
            "more GPUs would help",
            id="nothing else helps",
        ),
    ],
)
def test_what_cannot_be_rendered(overrides: dict[str, Any], options: tuple[str, ...], sentence: str) -> None:
    result = run(body(**overrides), options=options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert sentence in result.stderr


def test_what_does_not_fit_has_rungs_that_do() -> None:
    assert run(body(**TOO_LARGE), options=("--mode", "NGram")).exit_code == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("a: [", "is not YAML", id="broken YAML"),
        pytest.param(yaml.safe_dump(body(**{"spec.engine.maxNumSeqs": 0})), "spec.engine.maxNumSeqs", id="a bad spec"),
    ],
)
def test_bad_input_is_told(text: str, sentence: str) -> None:
    result = CliRunner().invoke(app, ["render", "-f", "-"], input=text)
    assert result.exit_code == 2
    assert sentence in result.stderr
