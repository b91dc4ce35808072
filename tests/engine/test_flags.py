"""What each release understands of speculative decoding."""

from collections.abc import Callable

import pytest

from specdecode.api.vocabulary import Method
from specdecode.engine import flags
from specdecode.engine.flags import (
    BatchLimit,
    batch_limit,
    built_in_head_problem,
    method_problem,
    runs_v0,
    spelling,
    uses_v2_runner,
)
from specdecode.engine.version import EngineVersion

parse = EngineVersion.parse


@pytest.mark.parametrize(
    ("version", "method", "sentence"),
    [
        pytest.param("0.6.0", Method.DRAFT_MODEL, None, id="draft_model on the first generation"),
        pytest.param("0.9.2", Method.DRAFT_MODEL, None, id="draft_model in the last release with that generation"),
        pytest.param("0.10.0", Method.DRAFT_MODEL, "needs 0.15.1", id="draft_model refused by 0.10"),
        pytest.param("0.14.0", Method.DRAFT_MODEL, "use eagle or ngram", id="draft_model refused by 0.14"),
        pytest.param("0.15.1", Method.DRAFT_MODEL, None, id="draft_model seen running in 0.15.1"),
        pytest.param("0.32.0", Method.DRAFT_MODEL, None, id="draft_model in 0.32"),
        pytest.param("0.8.5", Method.EAGLE3, "needs 0.9.0", id="eagle3 before 0.9"),
        pytest.param("0.9.0", Method.EAGLE3, None, id="eagle3 in 0.9"),
        pytest.param("0.7.2", Method.MTP, "needs 0.7.3", id="mtp before 0.7.3"),
        pytest.param("0.7.3", Method.MTP, None, id="mtp in 0.7.3"),
        pytest.param("0.11.0", Method.SUFFIX, "needs 0.11.1", id="suffix before 0.11.1"),
        pytest.param("0.17.0", Method.NGRAM_GPU, "needs 0.18.0", id="ngram_gpu before 0.18"),
        pytest.param("0.19.1", Method.DFLASH, "needs 0.20.0", id="dflash before 0.20"),
        pytest.param("0.24.0", Method.DSPARK, "needs 0.25.0", id="dspark before 0.25"),
        pytest.param("0.32.0", Method.MEDUSA, None, id="medusa lives until 0.32"),
        pytest.param("0.33.0", Method.MEDUSA, "removed in vLLM 0.33.0", id="medusa gone in 0.33"),
        pytest.param("0.9.2", Method.MLP_SPECULATOR, None, id="mlp_speculator lives as long as the first generation"),
        pytest.param("0.10.0", Method.MLP_SPECULATOR, "removed in vLLM 0.10.0", id="mlp_speculator has no proposer"),
        pytest.param("0.6.0", Method.NGRAM, None, id="ngram is in every version"),
        pytest.param("0.6.0", Method.EAGLE, None, id="eagle is in every version"),
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
    ("version", "architecture", "sentence"),
    [
        pytest.param("0.7.3", "DeepseekV3ForCausalLM", None, id="DeepSeek first"),
        pytest.param("0.8.5", "MiMoForCausalLM", "only inside DeepseekV3ForCausalLM", id="MiMo not before 0.9"),
        pytest.param("0.9.0", "MiMoForCausalLM", None, id="MiMo since 0.9"),
        pytest.param("0.10.1", "Qwen3NextForCausalLM", "not inside Qwen3Next", id="Qwen3-Next not before 0.10.2"),
        pytest.param("0.10.2", "Qwen3NextForCausalLM", None, id="Qwen3-Next since 0.10.2"),
        pytest.param("0.11.0", "SomethingNewForCausalLM", None, id="every family since 0.11"),
    ],
)
def test_heads_inside_the_checkpoint(version: str, architecture: str, sentence: str | None) -> None:
    problem = built_in_head_problem(parse(version), architecture)
    assert (problem is None) is (sentence is None)
    assert problem is None or (sentence is not None and sentence in problem.message)


@pytest.mark.parametrize(
    ("version", "method", "is_v0"),
    [
        pytest.param("0.7.3", None, True, id="plain vLLM before 0.8"),
        pytest.param("0.8.0", None, False, id="plain vLLM since 0.8"),
        pytest.param("0.8.5", Method.NGRAM, True, id="n-gram still falls back in 0.8"),
        pytest.param("0.9.0", Method.NGRAM, False, id="n-gram since 0.9"),
        pytest.param("0.8.5", Method.EAGLE, True, id="eagle still falls back in 0.8"),
        pytest.param("0.9.0", Method.EAGLE3, False, id="eagle3 never"),
        pytest.param("0.8.5", Method.MTP, True, id="mtp in 0.8"),
        pytest.param("0.9.0", Method.MTP, False, id="mtp since 0.9"),
        pytest.param("0.8.5", Method.MEDUSA, True, id="medusa in 0.8"),
        pytest.param("0.9.0", Method.MEDUSA, False, id="medusa since 0.9"),
        pytest.param("0.9.2", Method.DRAFT_MODEL, True, id="draft_model up to 0.9"),
        pytest.param("0.16.0", Method.DRAFT_MODEL, False, id="draft_model when it came back"),
        pytest.param("0.9.2", Method.MLP_SPECULATOR, True, id="mlp_speculator up to 0.9"),
        pytest.param("0.32.0", Method.SUFFIX, False, id="nothing in newer releases"),
    ],
)
def test_the_engine_generation(version: str, method: Method | None, *, is_v0: bool) -> None:
    assert runs_v0(parse(version), method) is is_v0


@pytest.mark.parametrize(
    ("version", "method", "key"),
    [
        pytest.param("0.6.0", Method.NGRAM, BatchLimit.BY_BATCH_SIZE, id="the first generation honours the old key"),
        pytest.param("0.9.2", Method.DRAFT_MODEL, BatchLimit.BY_BATCH_SIZE, id="draft_model of 0.9 runs on it"),
        pytest.param("0.9.2", Method.EAGLE, None, id="the second generation ignores the key"),
        pytest.param("0.16.0", Method.DRAFT_MODEL, None, id="0.16 still reads and ignores it"),
        pytest.param("0.23.0", Method.NGRAM, None, id="nothing up to 0.23"),
        pytest.param("0.24.0", Method.NGRAM, BatchLimit.PER_BATCH_SIZE, id="the table since 0.24"),
    ],
)
def test_the_batch_limit(version: str, method: Method, key: BatchLimit | None) -> None:
    assert batch_limit(parse(version), method) is key


@pytest.mark.parametrize(
    ("version", "method", "architecture", "is_v2"),
    [
        pytest.param("0.21.0", None, "Qwen3ForCausalLM", False, id="nobody before 0.22"),
        pytest.param("0.22.0", None, "Qwen3ForCausalLM", True, id="Qwen3 first"),
        pytest.param("0.22.0", None, "LlamaForCausalLM", False, id="Llama not yet in 0.22"),
        pytest.param("0.23.0", Method.EAGLE3, "LlamaForCausalLM", True, id="Llama in 0.23"),
        pytest.param("0.23.0", Method.NGRAM, "LlamaForCausalLM", False, id="n-gram keeps the first runner"),
        pytest.param("0.23.0", Method.DFLASH, "LlamaForCausalLM", False, id="dflash keeps the first runner in 0.23"),
        pytest.param("0.24.0", Method.DFLASH, "LlamaForCausalLM", True, id="dflash in 0.24"),
        pytest.param("0.24.0", None, "Qwen2MoeForCausalLM", True, id="a listed mixture of experts"),
        pytest.param("0.24.0", None, "Phi3ForCausalLM", False, id="a dense model that is not listed in 0.24"),
        pytest.param("0.25.0", None, "Phi3ForCausalLM", True, id="every dense model since 0.25"),
        pytest.param("0.28.0", None, "MixtralForCausalLM", False, id="a mixture of experts in 0.28"),
        pytest.param("0.28.0", None, "Qwen3_5ForCausalLM", False, id="linear attention in 0.28"),
        pytest.param("0.25.0", Method.DSPARK, "DeepseekV4ForCausalLM", True, id="dspark on any model"),
        pytest.param("0.29.0", None, "MixtralForCausalLM", True, id="every model since 0.29"),
        pytest.param("0.30.0", Method.DRAFT_MODEL, "LlamaForCausalLM", False, id="draft_model until 0.30"),
        pytest.param("0.31.0", Method.DRAFT_MODEL, "LlamaForCausalLM", True, id="draft_model since 0.31"),
        pytest.param("0.31.0", Method.NGRAM, "LlamaForCausalLM", False, id="ngram until 0.31"),
        pytest.param("0.32.0", Method.NGRAM, "LlamaForCausalLM", True, id="ngram since 0.32"),
        pytest.param("0.33.0", Method.SUFFIX, "LlamaForCausalLM", False, id="suffix never"),
    ],
)
def test_the_model_runner(version: str, method: Method | None, architecture: str, *, is_v2: bool) -> None:
    assert uses_v2_runner(parse(version), method, architecture) is is_v2


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


@pytest.mark.parametrize(
    ("knows", "before", "since"),
    [
        pytest.param(flags.takes_speculative_config, "0.8.2", "0.8.3", id="one JSON argument instead of flags"),
        pytest.param(lambda version: not flags.needs_v2_block_manager(version), "0.6.2", "0.6.3", id="block manager"),
        pytest.param(lambda version: not flags.needs_eagle_name(version), "0.8.4", "0.8.5", id="a stated method holds"),
        pytest.param(flags.knows_draft_kv_cache_dtype, "0.25.1", "0.26.0", id="a cache type for the draft"),
        pytest.param(
            lambda version: not flags.needs_load_format(version, "bitsandbytes"), "0.8.1", "0.8.2", id="load format"
        ),
    ],
)
def test_what_came_with_a_release(knows: Callable[[EngineVersion], bool], before: str, since: str) -> None:
    assert not knows(parse(before))
    assert knows(parse(since))


def test_typical_acceptance_is_of_the_first_generation() -> None:
    assert flags.has_typical_acceptance(parse("0.9.2"), Method.DRAFT_MODEL)
    assert not flags.has_typical_acceptance(parse("0.9.2"), Method.EAGLE)
    assert not flags.needs_load_format(parse("0.6.0"), "awq")
