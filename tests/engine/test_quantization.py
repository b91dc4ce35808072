"""Quantisation methods by release and by checkpoint."""

import json
from pathlib import Path

import pytest

from specdecode.api.resource import Problem
from specdecode.engine.quantization import QUANTIZATIONS, checkpoint_problem, find, online_fp8
from specdecode.engine.version import EngineVersion

FIELD = "spec.model.quantization"


@pytest.mark.parametrize(
    ("version", "name", "sentence"),
    [
        pytest.param("0.32.0", "fp8_per_tensor", None, id="online FP8"),
        pytest.param("0.19.0", "fp8_per_tensor", "use fp8 on a 16-bit", id="online FP8 under its old name"),
        pytest.param("0.27.0", "bitsandbytes", None, id="bitsandbytes until 0.27"),
        pytest.param("0.28.0", "bitsandbytes", "removed in vLLM 0.28.0", id="bitsandbytes gone in 0.28"),
        pytest.param("0.24.0", "gguf", "removed in vLLM 0.24.0", id="gguf became a plugin"),
        pytest.param("0.32.0", "int8", "has no such method", id="int8 is no name in vLLM"),
        pytest.param("0.32.0", "compressed-tensors", None, id="INT8 and FP8 checkpoints"),
    ],
)
def test_methods_by_version(version: str, name: str, sentence: str | None) -> None:
    found = find(EngineVersion.parse(version), name, FIELD)
    if sentence is None:
        assert found == QUANTIZATIONS[name]
    else:
        assert isinstance(found, Problem)
        assert found.field == FIELD
        assert sentence in found.message
        assert "leave the field out" in found.message


@pytest.mark.parametrize(
    ("name", "checkpoint", "sentence"),
    [
        pytest.param("fp8_per_tensor", None, None, id="a 16-bit checkpoint is quantised while it loads"),
        pytest.param("awq", None, "only reads checkpoints made for it", id="awq cannot be made from 16 bit"),
        pytest.param("awq_marlin", "awq", None, id="another kernel for the same checkpoint"),
        pytest.param("fp8", "fp8", None, id="the checkpoint's own name"),
        pytest.param("fp8_per_tensor", "awq", "contradicts the checkpoint, which is awq", id="a contradiction"),
    ],
)
def test_methods_by_checkpoint(name: str, checkpoint: str | None, sentence: str | None) -> None:
    problem = checkpoint_problem(QUANTIZATIONS[name], checkpoint, FIELD)
    assert (problem is None) is (sentence is None)
    assert problem is None or (sentence is not None and sentence in problem.message)


def test_online_fp8_is_renamed_in_020() -> None:
    assert online_fp8(EngineVersion(0, 19)) == "fp8"
    assert online_fp8(EngineVersion(0, 20)) == "fp8_per_tensor"


REGISTRY: dict[str, tuple[str, str | None]] = json.loads(
    (Path(__file__).parent.parent / "data/engine/quantization-methods.json").read_text()
)
"""First release and first one without it, from `quantization/__init__.py` of 46 releases."""


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_a_method_is_offered_exactly_where_the_registry_has_it(name: str) -> None:
    since, gone_in = REGISTRY[name]
    ours = QUANTIZATIONS[name]
    if name == "mxfp4":
        since = "0.28.0"  # before, the name reads the checkpoints of gpt-oss only and leaves linear layers alone
    assert str(ours.since) == since
    assert (None if ours.gone_in is None else str(ours.gone_in)) == gone_in
