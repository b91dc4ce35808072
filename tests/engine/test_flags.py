"""What each release understands of speculative decoding."""

import pytest

from specdecode.api.vocabulary import Method
from specdecode.engine import flags
from specdecode.engine.flags import BatchLimit, batch_limit, method_problem, spelling, uses_v2_runner
from specdecode.engine.version import EngineVersion

parse = EngineVersion.parse


@pytest.mark.parametrize(
    ("version", "method", "sentence"),
    [
        pytest.param("0.9.2", Method.DRAFT_MODEL, "0.16 or newer", id="draft_model on V0 cannot be watched"),
        pytest.param("0.10.0", Method.DRAFT_MODEL, "use eagle or ngram", id="draft_model refused by 0.10"),
        pytest.param("0.14.0", Method.DRAFT_MODEL, "use eagle or ngram", id="draft_model refused by 0.14"),
        pytest.param("0.15.1", Method.DRAFT_MODEL, None, id="draft_model seen running in 0.15.1"),
        pytest.param("0.32.0", Method.DRAFT_MODEL, None, id="draft_model in 0.32"),
        pytest.param("0.9.2", Method.EAGLE3, "needs 0.10.0", id="eagle3 before 0.10"),
        pytest.param("0.10.0", Method.EAGLE3, None, id="eagle3 in 0.10"),
        pytest.param("0.8.5", Method.MTP, "needs 0.9.0", id="mtp before 0.9"),
        pytest.param("0.11.0", Method.SUFFIX, "needs 0.12.0", id="suffix before 0.12"),
        pytest.param("0.17.0", Method.NGRAM_GPU, "needs 0.18.0", id="ngram_gpu before 0.18"),
        pytest.param("0.24.0", Method.DFLASH, "needs 0.25.0", id="dflash before 0.25"),
        pytest.param("0.24.0", Method.DSPARK, "needs 0.25.0", id="dspark before 0.25"),
        pytest.param("0.32.0", Method.MEDUSA, None, id="medusa lives until 0.32"),
        pytest.param("0.33.0", Method.MEDUSA, "removed in vLLM 0.33.0", id="medusa gone in 0.33"),
        pytest.param("0.33.0", Method.MLP_SPECULATOR, "removed in vLLM 0.33.0", id="mlp_speculator gone in 0.33"),
        pytest.param("0.8.5", Method.NGRAM, None, id="ngram is in every version"),
        pytest.param("0.8.5", Method.EAGLE, None, id="eagle is in every version"),
    ],
)
def test_methods_by_version(version: str, method: Method, sentence: str | None) -> None:
    problem = method_problem(parse(version), method)
    assert (problem is None) is (sentence is None)
    if problem is not None:
        assert problem.field == "spec.speculation.method"
        assert problem.value == method
        assert sentence is not None
        assert sentence in problem.message


def test_every_method_has_a_row() -> None:
    assert set(flags.METHODS) == set(Method)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        pytest.param("0.10.2", "deepseek_mtp", id="one name per model before 0.11"),
        pytest.param("0.11.0", "mtp", id="one name for all since"),
    ],
)
def test_the_spelling_of_mtp(version: str, name: str) -> None:
    assert spelling(parse(version), Method.MTP) == name
    assert spelling(parse(version), Method.NGRAM) == "ngram"


@pytest.mark.parametrize(
    ("version", "key"),
    [
        pytest.param("0.16.0", BatchLimit.BY_BATCH_SIZE, id="the old key, last in 0.16"),
        pytest.param("0.17.0", None, id="nothing from 0.17"),
        pytest.param("0.23.0", None, id="nothing up to 0.23"),
        pytest.param("0.24.0", BatchLimit.PER_BATCH_SIZE, id="the table since 0.24"),
    ],
)
def test_the_batch_limit(version: str, key: BatchLimit | None) -> None:
    assert batch_limit(parse(version)) is key


@pytest.mark.parametrize(
    ("version", "method", "is_v2"),
    [
        pytest.param("0.28.0", None, False, id="planned as the first runner while it depends on the model"),
        pytest.param("0.29.0", None, True, id="plain vLLM since 0.29"),
        pytest.param("0.30.0", Method.DRAFT_MODEL, False, id="draft_model until 0.30"),
        pytest.param("0.31.0", Method.DRAFT_MODEL, True, id="draft_model since 0.31"),
        pytest.param("0.31.0", Method.NGRAM, False, id="ngram until 0.31"),
        pytest.param("0.32.0", Method.NGRAM, True, id="ngram since 0.32"),
        pytest.param("0.29.0", Method.EAGLE3, True, id="eagle3 as plain vLLM"),
        pytest.param("0.33.0", Method.SUFFIX, False, id="suffix never"),
    ],
)
def test_the_model_runner(version: str, method: Method | None, *, is_v2: bool) -> None:
    assert uses_v2_runner(parse(version), method) is is_v2


@pytest.mark.parametrize(
    ("version", "v2_runner", "is_counted"),
    [
        pytest.param("0.19.1", False, False, id="first runner: estimate off by default"),
        pytest.param("0.20.0", False, True, id="first runner: counted"),
        pytest.param("0.28.0", True, False, id="second runner: estimate is 0"),
        pytest.param("0.29.0", True, True, id="second runner: counted"),
    ],
)
def test_cuda_graphs_count(version: str, *, v2_runner: bool, is_counted: bool) -> None:
    assert flags.counts_cuda_graphs(parse(version), v2_runner=v2_runner) is is_counted


def test_the_pinned_cache_and_remote_code() -> None:
    assert not flags.knows_kv_cache_memory_bytes(parse("0.10.1"))
    assert flags.knows_kv_cache_memory_bytes(parse("0.10.2"))
    assert flags.trusts_remote_code(parse("0.17.1"))
    assert not flags.trusts_remote_code(parse("0.18.0"))
