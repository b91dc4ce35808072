"""`specdecode plan --compare`: two plans side by side."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import body
from typer.testing import CliRunner, Result

from specdecode.cli import app


def run(directory: Path, left: tuple[Any, ...], right: tuple[Any, ...]) -> Result:
    files = directory / "a.yaml", directory / "b.yaml"
    for file, documents in zip(files, (left, right), strict=True):
        file.write_text(yaml.safe_dump_all(documents))
    return CliRunner().invoke(app, ["plan", "--compare", *map(str, files)])


def named(name: str, **overrides: Any) -> dict[str, Any]:
    return body(**{"metadata.name": name} | overrides)


def row(result: Result, name: str) -> list[str]:
    return next(line for line in result.stdout.splitlines() if line.startswith(name)).removeprefix(name).split()


def test_two_plans_side_by_side(tmp_path: Path) -> None:
    result = run(tmp_path, (named("one"),), (named("two", **{"spec.engine.maxNumSeqs": 32}),))
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert f"A  serving/one of {tmp_path}/a.yaml" in result.stdout
    assert f"B  serving/two of {tmp_path}/b.yaml" in result.stdout
    assert row(result, "mode ") == ["QuantizedDraft", "QuantizedDraft"]
    assert row(result, "fits ") == ["yes", "yes"]
    left, unit, right, _, difference, _ = row(result, "KV cache")
    assert unit == "GiB"
    assert difference.startswith("+")
    assert float(difference) == pytest.approx(float(right) - float(left), abs=0.011)
    assert "  --max-num-seqs\n  - 64\n  + 32\n" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if "{" not in line and "/" not in line) <= 80


def test_a_flag_that_one_side_has(tmp_path: Path) -> None:
    result = run(tmp_path, (named("one"),), (named("one", **{"spec.engine.enforceEager": True}),))
    assert "  --enforce-eager\n  + set\n" in result.stdout


def test_the_same_plan_twice(tmp_path: Path) -> None:
    result = run(tmp_path, (named("one"),), (named("one"),))
    assert "the flags are the same" in result.stdout
    assert row(result, "tokens in the KV cache")[:2] == [row(result, "tokens in the KV cache")[0]] * 2


def test_one_that_does_not_fit_is_exit_code_1(tmp_path: Path) -> None:
    small = named("one", **{"spec.accelerator.count": 1})
    result = run(tmp_path, (named("one"),), (small,))
    assert result.exit_code == 1
    assert row(result, "fits ") == ["yes", "no"]
    assert "short by" in result.stdout
    assert "none" in row(result, "modes that fit")


def test_several_resources_are_matched_by_name(tmp_path: Path) -> None:
    result = run(tmp_path, (named("one"), named("two")), (named("two"), named("one")))
    assert result.exit_code == 0
    assert result.stdout.count("A  serving/") == result.stdout.count("B  serving/") == 2


@pytest.mark.parametrize(
    ("left", "right", "sentences"),
    [
        pytest.param(
            (named("one"), named("two")),
            (named("one"),),
            ["serving/two of", "matched by namespace and name"],
            id="one has nothing beside it",
        ),
        pytest.param(
            (named("one"), named("two")),
            (named("two"), named("three")),
            ["serving/one of", "serving/three of"],
            id="two",
        ),
        pytest.param((named("one"), named("one")), (named("one"),), ["more than once"], id="a name twice"),
        pytest.param(
            (named("one", **{"spec.engine.maxNumSeqs": 0}),),
            (named("one"),),
            ["spec.engine.maxNumSeqs"],
            id="a bad spec",
        ),
        pytest.param((), (named("one"),), ["holds no SpecDecodeDeployment"], id="an empty file"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, left: tuple[Any, ...], right: tuple[Any, ...], sentences: list[str]
) -> None:
    result = run(tmp_path, left, right)
    assert result.exit_code == 2
    assert result.stdout == ""
    for sentence in sentences:
        assert sentence in result.stderr.replace("\n", " ")


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["plan", "--compare", str(tmp_path / "a"), str(tmp_path / "b")])
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
