"""What each release counts before it sizes its cache."""

import pytest

from specdecode.api.accelerators import AMPERE, TURING
from specdecode.api.vocabulary import Method
from specdecode.engine.profiling import Profiling, Sampler, is_v0, profiling
from specdecode.engine.version import EngineVersion


def rules(version: str, method: Method | None = None) -> Profiling:
    return profiling(EngineVersion.parse(version), method, "LlamaForCausalLM")


@pytest.mark.parametrize(
    ("version", "method", "field", "expected"),
    [
        pytest.param("0.16.0", None, "sampler", Sampler.SORT, id="0.16 sorts the vocabulary"),
        pytest.param("0.17.0", None, "sampler", Sampler.MASK, id="0.17 masks in place"),
        pytest.param("0.32.0", None, "sampler", Sampler.GUMBEL, id="the second runner samples without either"),
        pytest.param("0.32.0", Method.SUFFIX, "sampler", Sampler.MASK, id="suffix stays on the first runner"),
        pytest.param("0.19.0", None, "counts_cuda_graphs", False, id="0.19 captures graphs outside its budget"),
        pytest.param("0.20.0", None, "counts_cuda_graphs", True, id="0.20 counts them"),
        pytest.param("0.6.3", None, "charges_context", False, id="0.6.3 compares with the free memory at start"),
        pytest.param("0.6.4", None, "charges_context", True, id="0.6.4 looks at the whole card"),
        pytest.param("0.6.5", None, "charges_context", False, id="0.6.5 compares snapshots"),
        pytest.param("0.8.5", None, "charges_context", True, id="the second engine looks at the whole card at first"),
        pytest.param("0.9.1", None, "charges_context", False, id="and compares snapshots since 0.9.1"),
        pytest.param("0.10.2", None, "charges_communicator", True, id="0.10 creates NCCL after the first reading"),
        pytest.param("0.11.0", None, "charges_communicator", False, id="0.11 creates it before"),
        pytest.param("0.26.0", None, "charges_buffers", False, id="0.26 subtracts what it knows by name"),
        pytest.param("0.27.0", None, "charges_buffers", True, id="0.27 subtracts all that is gone"),
        pytest.param("0.6.4", Method.DRAFT_MODEL, "charges_draft", True, id="0.6.4 sees the draft"),
        pytest.param("0.7.3", Method.DRAFT_MODEL, "charges_draft", False, id="0.7 profiles the target alone"),
        pytest.param("0.32.0", Method.DRAFT_MODEL, "charges_draft", True, id="the second engine loads both before"),
        pytest.param("0.11.0", None, "autotunes_at_cold_start", False, id="0.11 has no combined kernels"),
        pytest.param("0.12.0", None, "autotunes_at_cold_start", True, id="0.12 benchmarks them"),
    ],
)
def test_rules_by_release(version: str, method: Method | None, field: str, expected: object) -> None:
    assert getattr(rules(version, method), field) == expected


def test_old_cards_keep_the_first_engine_while_it_exists() -> None:
    assert is_v0(EngineVersion(0, 9, 2), None, TURING)
    assert not is_v0(EngineVersion(0, 9, 2), None, AMPERE)
    assert not is_v0(EngineVersion(0, 11), None, TURING)
