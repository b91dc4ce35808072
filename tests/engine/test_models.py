"""Model facts: the spec's, the catalogue's, and the numbers that published logs confirm."""

import pytest

from specdecode.api.accelerators import GIB
from specdecode.api.facts import ModelFactsSpec
from specdecode.api.resource import Problem
from specdecode.engine.models import ModelFacts, catalogue, derived_head, model_facts
from specdecode.plan.memory import rotary_cache_bytes, weight_bytes

FACTS = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 128256,
}


def spec_facts(**overrides: object) -> ModelFactsSpec:
    return ModelFactsSpec.model_validate({**FACTS, "parameters": 8_030_261_248} | overrides)


@pytest.mark.parametrize(
    ("name", "loaded_gib"),
    [
        pytest.param("meta-llama/Llama-3.1-8B-Instruct", 14.9889, id="Llama-3.1-8B"),
        pytest.param("Qwen/Qwen3-8B", 15.27, id="Qwen3-8B"),
        pytest.param("Qwen/Qwen3-32B", 61.03, id="Qwen3-32B"),
        pytest.param("Qwen/Qwen3-0.6B", 1.12, id="Qwen3-0.6B, tied"),
        pytest.param("Qwen/Qwen2.5-1.5B-Instruct", 2.8875, id="Qwen2.5-1.5B, tied, with biases"),
        pytest.param("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 67.72, id="70B in FP8, embedding in 16 bit"),
        pytest.param("Qwen/Qwen3-8B-AWQ", 5.71, id="8B in AWQ, embedding in 16 bit"),
        pytest.param("openai/gpt-oss-120b", 64.38, id="gpt-oss-120b in MXFP4"),
    ],
)
def test_weights_and_rotary_cache_are_what_vllm_logs_as_loaded(name: str, loaded_gib: float) -> None:
    facts = catalogue()[name]
    counted = weight_bytes(facts, facts.weight_bits) + rotary_cache_bytes(facts, 0)
    assert counted / GIB == pytest.approx(loaded_gib, rel=0.006)


def test_a_weight_count_is_that_of_its_dimensions() -> None:
    """The catalogue's counts are computed; a slip of a digit in a dimension shows here."""
    for facts in catalogue().values():
        if facts.is_head or facts.num_experts or facts.parameters is None:
            continue
        attention = 2 * facts.num_attention_heads + 2 * facts.num_key_value_heads
        layer = facts.hidden_size * (attention * facts.head_dim + 3 * facts.intermediate_size)
        counted = facts.embedding_parameters + facts.num_hidden_layers * layer
        assert counted == pytest.approx(facts.parameters, rel=0.001), facts.name


def test_a_head_borrows_the_embedding() -> None:
    head = catalogue()["yuhuili/EAGLE3-LLaMA3.1-Instruct-8B"]
    assert head.is_head
    assert head.embedding_parameters == 32_000 * 4096, "only its own small lm_head"
    first = catalogue()["yuhuili/EAGLE-LLaMA3.1-Instruct-8B"]
    assert first.embedding_parameters == 0, "an EAGLE head has neither embedding nor lm_head"


def test_a_head_inside_the_checkpoint_is_one_layer_of_the_target() -> None:
    target = catalogue()["Qwen/Qwen3-8B"]
    head = derived_head(target)
    assert (head.num_hidden_layers, head.embedding_parameters) == (1, 0)
    assert head.total_parameters == target.linear_parameters // 36


def test_facts_of_the_spec_come_first() -> None:
    facts = model_facts("spec.model", "Qwen/Qwen3-8B", spec_facts(family="own"))
    assert isinstance(facts, ModelFacts)
    assert (facts.source, facts.vocab_size, facts.family) == ("spec", 128256, "own")
    assert (facts.head_dim, facts.intermediate_size) == (128, 4 * 4096), "what is omitted follows from the rest"


def test_a_size_on_disk_stands_for_the_weights() -> None:
    facts = model_facts("spec.model", "own", spec_facts(parameters=None, weightBytes="16Gi", headDim=64))
    assert isinstance(facts, ModelFacts)
    assert facts.weight_bytes == 16 * GIB
    assert facts.total_parameters == 8 * GIB, "two bytes each"
    assert weight_bytes(facts, 16) == 16 * GIB
    assert weight_bytes(facts, 8) == 8 * GIB + facts.embedding_parameters


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("meta-llama/Llama-3.1-8B-instruct", id="another spelling is another model"),
        pytest.param("meta-llama/Llama-3.1-8B-Instruct-FP8", id="a suffix is another checkpoint"),
        pytest.param("/models/own", id="a path is not read"),
    ],
)
def test_an_unknown_model_says_how_to_describe_it(name: str) -> None:
    problem = model_facts("spec.speculation.draft", name, None)
    assert isinstance(problem, Problem)
    assert problem.field == "spec.speculation.draft.name"
    assert "spec.speculation.draft.facts: {architecture:" in problem.message


@pytest.mark.parametrize(
    ("gpus", "splits"),
    [
        pytest.param(1, True, id="one GPU"),
        pytest.param(8, True, id="one KV head each"),
        pytest.param(16, True, id="KV heads are replicated"),
        pytest.param(3, False, id="32 heads do not split in three"),
    ],
)
def test_heads_split_over_gpus(gpus: int, *, splits: bool) -> None:
    assert catalogue()["meta-llama/Llama-3.1-8B-Instruct"].splits_over(gpus) is splits


def test_kv_heads_must_match_too() -> None:
    assert not catalogue()["microsoft/phi-4"].splits_over(4), "40 heads split in four, 10 KV heads do not"


def test_every_source_is_public() -> None:
    assert all(len(facts.source) > len("catalogue: ") for facts in catalogue().values())
