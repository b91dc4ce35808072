"""The JSON of `specdecode plan` has the shape that its module describes: no key more, none less."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import ABSENT, body
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel
from typer.testing import CliRunner

from specdecode.cli import app, wire

LOGS = Path(__file__).parents[1] / "data" / "engine" / "logs"


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Line(Document):
    name: str
    bytes: int
    low_bytes: int
    high_bytes: int
    source: str


class Quoted(Document):
    memory_bytes: int
    weights_bytes: int
    left_bytes: int


class ModeDocument(Document):
    name: str
    fits: bool
    short_bytes: int
    quoted: Quoted
    ledger: list[Line]
    kv_cache_bytes_per_gpu: int
    kv_cache_low_bytes_per_gpu: int
    kv_cache_high_bytes_per_gpu: int
    bytes_per_token: int
    kv_cache_tokens: int
    requests_at_max_model_len: float
    load_bytes: int
    startup_budget_seconds: int
    args: list[str]
    remedies: list[str]


class AdviceDocument(Document):
    reason: str
    message: str


class PlanDocument(Document):
    name: str
    namespace: str
    engine_version: str
    requested_mode: str
    fits: bool
    gpu_count: int
    gpu_memory_bytes: int
    gpu_label_bytes: int
    modes: list[ModeDocument]
    advice: list[AdviceDocument]
    sources: list[str]
    baseline_key: str
    draft_key: str


class ComparedLineDocument(Document):
    name: str
    unit: str
    planned: float
    low: float
    high: float
    measured: float
    difference: float
    is_inside: bool


class ComparisonDocument(Document):
    mode: str
    ranks: int
    term_off: str | None
    failure: str | None
    notes: list[str]
    assumptions: list[str]
    lines: list[ComparedLineDocument]
    log: dict[str, Any]


class AgainstDocument(PlanDocument):
    comparison: ComparisonDocument


class DifferenceDocument(Document):
    name: str
    left: str | float | None
    right: str | float | None


class Side(Document):
    file: str
    plan: PlanDocument


class Differs(Document):
    numbers: list[DifferenceDocument]
    flags: list[DifferenceDocument]


class SideBySideDocument(Document):
    left: Side
    right: Side
    differs: Differs


def run(*options: str, text: str | None = None) -> Any:
    result = CliRunner().invoke(app, ["plan", "-o", "json", *options], input=text)
    assert result.exit_code in {0, 1}, result.output
    return json.loads(result.stdout)


SPECS = [
    pytest.param({}, id="a draft that fits"),
    pytest.param({"spec.speculation": ABSENT}, id="no speculation"),
    pytest.param({"spec.accelerator.count": 1}, id="what does not fit"),
    pytest.param({"spec.engine.pinKvCache": True}, id="a fixed cache"),
]


@pytest.mark.parametrize("overrides", SPECS)
def test_a_plan(overrides: dict[str, Any]) -> None:
    plan = PlanDocument.model_validate(run("-f", "-", text=yaml.safe_dump(body(**overrides))))
    assert plan.requested_mode == plan.modes[0].name
    assert plan.fits == plan.modes[0].fits == (plan.modes[0].short_bytes == 0)
    for mode in plan.modes:
        low, high = mode.kv_cache_low_bytes_per_gpu, mode.kv_cache_high_bytes_per_gpu
        assert low <= mode.kv_cache_bytes_per_gpu <= high
        assert mode.quoted.memory_bytes - mode.quoted.weights_bytes == mode.quoted.left_bytes


def test_several_plans_are_a_list() -> None:
    documents = run("-f", "-", text=yaml.safe_dump_all([body(), body(**{"metadata.name": "second"})]))
    plans = TypeAdapter(list[PlanDocument]).validate_python(documents)
    assert [plan.name for plan in plans] == ["llama-70b", "second"]


@pytest.mark.parametrize("name", ["vllm-0.29.0-cold", "vllm-0.29.0-eager-ngram", "vllm-0.29.0-warm-override"])
def test_a_plan_against_a_log(name: str) -> None:
    document = AgainstDocument.model_validate(run("--log", str(LOGS / f"{name}.log")))
    assert document.comparison.term_off is None
    assert document.comparison.mode == document.requested_mode
    assert all(line.is_inside for line in document.comparison.lines)
    assert document.comparison.log["version"] == "0.29.0"


def test_the_log_in_a_comparison_is_plain() -> None:
    log = run("--log", str(LOGS / "vllm-0.29.0-eager-ngram.log"))["comparison"]["log"]
    assert log["speculation"] == {
        "method": "ngram",
        "model": None,
        "numSpeculativeTokens": 4,
        "quantization": None,
        "isFromArguments": True,
    }


def test_a_comparison_is_yaml_as_well() -> None:
    log = str(LOGS / "vllm-0.29.0-cold.log")
    result = CliRunner().invoke(app, ["plan", "--log", log, "-o", "yaml"])
    assert yaml.safe_load(result.stdout) == run("--log", log)


def test_two_plans(tmp_path: Path) -> None:
    for name, limit in (("a.yaml", 64), ("b.yaml", 32)):
        (tmp_path / name).write_text(yaml.safe_dump(body(**{"spec.engine.maxNumSeqs": limit})))
    document = SideBySideDocument.model_validate(run("--compare", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")))
    flags = {entry.name: (entry.left, entry.right) for entry in document.differs.flags}
    assert flags["--max-num-seqs"] == ("64", "32")
    assert {"kvCache", "kvCacheTokens"} <= {entry.name for entry in document.differs.numbers}
    assert document.left.file.endswith("a.yaml")


@pytest.mark.parametrize(
    "model", [PlanDocument, ModeDocument, Line, ComparisonDocument, ComparedLineDocument, SideBySideDocument, Differs]
)
def test_every_key_is_described_where_the_document_is_made(model: type[BaseModel]) -> None:
    assert wire.__doc__ is not None
    for name in model.model_fields:
        assert f"`{to_camel(name)}`" in wire.__doc__, to_camel(name)
