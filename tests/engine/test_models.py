"""Model facts: the spec's, the catalogue's, and the numbers that published logs confirm."""

from dataclasses import replace

import pytest

from specdecode.api.accelerators import GIB
from specdecode.api.facts import ModelFactsSpec
from specdecode.api.resource import Problem
from specdecode.engine.models import ModelFacts, catalogue, derived_head, from_spec, model_facts
from specdecode.plan.memory import weight_bytes

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


def test_a_head_inside_a_checkpoint_that_says_its_size_has_that_size() -> None:
    target = catalogue()["deepseek-ai/DeepSeek-V3"]
    assert derived_head(target).total_parameters == target.mtp_parameters


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


def test_facts_of_a_user_with_windows_experts_and_half_a_rotation() -> None:
    facts = from_spec(
        "own",
        spec_facts(
            slidingWindow=1024,
            numSlidingLayers=20,
            numExperts=8,
            numExpertsPerTok=2,
            moeIntermediateSize=2048,
            partialRotaryFactor="0.5",
            quantization="awq",
        ),
    )
    assert (facts.sliding_window, facts.num_sliding_layers, facts.rotary_dim) == (1024, 20, 64)
    assert (facts.num_experts, facts.intermediate_size) == (8, 2 * 2048)
    assert (facts.quantization, facts.weight_bits) == ("awq", 4.15625)


def test_facts_of_a_user_with_a_latent() -> None:
    facts = from_spec("own", spec_facts(kvLoraRank=512, qkRopeHeadDim=64, quantization="own_method"))
    assert (facts.kv_lora_rank, facts.qk_rope_head_dim) == (512, 64)
    assert facts.weight_bits == 16, "a method that is unknown here is counted in 16 bit"


@pytest.mark.parametrize(
    ("overrides", "field", "says"),
    [
        pytest.param({"parameters": 80_302_612_480}, "parameters", "give about 8835301376", id="a zero too many"),
        pytest.param({"parameters": 803_026_124}, "parameters", "give about 8835301376", id="a digit too few"),
        pytest.param({"parameters": None, "weightBytes": "160Gi"}, "weightBytes", "is 19.4 bytes for each", id="bytes"),
        pytest.param({"weightBytes": "1Gi"}, "weightBytes", "is 0.134 bytes for each", id="too few bytes"),
        pytest.param(
            {"architecture": "OwnMoeForCausalLM", "weightBytes": "1Ti"},
            "weightBytes",
            "for each of 8030261248 weights",
            id="bytes against the stated weights, where the dimensions say nothing",
        ),
        pytest.param(
            {
                "architecture": "Qwen3MoeForCausalLM",
                "numExperts": 128,
                "numExpertsPerTok": 8,
                "moeIntermediateSize": 768,
            },
            "parameters",
            "contradicts the dimensions",
            id="128 experts are more",
        ),
    ],
)
def test_numbers_that_contradict_each_other(overrides: dict[str, object], field: str, says: str) -> None:
    problem = model_facts("spec.model", "own", spec_facts(**overrides))
    assert isinstance(problem, Problem)
    assert problem.field == f"spec.model.facts.{field}"
    assert says in problem.message


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"parameters": 12_000_000_000}, id="half as much again"),
        pytest.param({"architecture": "LlamaForCausalLMEagle3", "parameters": 400_000_000}, id="a head is small"),
        pytest.param({"architecture": "MedusaModel", "parameters": 400_000_000}, id="so is Medusa"),
        pytest.param({"architecture": "OwnMoeForCausalLM", "parameters": 235_000_000_000}, id="experts not described"),
        pytest.param({"architecture": "OwnMoe", "parameters": None, "weightBytes": "900Gi"}, id="nor their number"),
    ],
)
def test_numbers_that_may_be(overrides: dict[str, object]) -> None:
    assert isinstance(model_facts("spec.model", "own", spec_facts(**overrides)), ModelFacts)


def test_facts_do_not_get_round_an_architecture_that_cannot_be_planned() -> None:
    problem = model_facts("spec.model", "own", spec_facts(architecture="Qwen3NextForCausalLM"))
    assert isinstance(problem, Problem)
    assert (problem.field, problem.value) == ("spec.model.facts.architecture", "Qwen3NextForCausalLM")
    assert "recurrent state" in problem.message


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("deepseek-ai/DeepSeek-V4-Flash", "an indexer"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "recurrent state"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "within chunks"),
    ],
)
def test_a_known_model_that_cannot_be_planned_says_why(name: str, says: str) -> None:
    problem = model_facts("spec.model", name, None, catalogue()["Qwen/Qwen3-8B"])
    assert isinstance(problem, Problem)
    assert (problem.field, problem.value) == ("spec.model.name", name)
    assert says in problem.message
    assert name not in catalogue()


@pytest.mark.parametrize(
    "looked_up",
    [
        pytest.param(catalogue()["Qwen/Qwen3-8B"], id="facts"),
        pytest.param(Problem("spec.model.name", "own/model", "is gated"), id="a reason why there are none"),
    ],
)
def test_what_was_looked_up_comes_last(looked_up: ModelFacts | Problem) -> None:
    assert model_facts("spec.model", "own/model", None, looked_up) == looked_up
    known = model_facts("spec.model", "Qwen/Qwen3-4B", None, looked_up)
    assert isinstance(known, ModelFacts)
    assert known.name == "Qwen/Qwen3-4B"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("meta-llama/Llama-3.1-8B-instruct", id="another spelling is another model"),
        pytest.param("meta-llama/Llama-3.1-8B-Instruct-W4", id="a suffix is another checkpoint"),
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


@pytest.mark.parametrize(
    ("architecture", "vocabulary", "family"),
    [
        pytest.param("LlamaForCausalLM", 128_256, "llama-3", id="a fine-tune of Llama 3"),
        pytest.param("Qwen3ForCausalLM", 151_936, "qwen3", id="a fine-tune of Qwen3"),
        pytest.param("Qwen2ForCausalLM", 152_064, None, id="Qwen2 and Qwen2.5 look alike"),
        pytest.param("LlamaForCausalLM", 99_999, None, id="a vocabulary of its own"),
    ],
)
def test_the_family_of_a_model_that_was_looked_up(architecture: str, vocabulary: int, family: str | None) -> None:
    found = replace(catalogue()["Qwen/Qwen3-8B"], architecture=architecture, vocab_size=vocabulary, family=None)
    known = model_facts("spec.model", "acme/own", None, found)
    assert isinstance(known, ModelFacts)
    assert known.family == family


def test_a_stated_family_stays() -> None:
    found = replace(catalogue()["Qwen/Qwen3-8B"], name="acme/own", family="own")
    assert model_facts("spec.model", "acme/own", None, found) == found


def test_what_a_latent_model_keeps_whole_and_twice() -> None:
    """DeepSeek-R1: 61 layers of 7168 x (1536 + 576), and 512 x 128 x 256 of `kv_b_proj`."""
    facts = catalogue()["deepseek-ai/DeepSeek-R1"]
    assert facts.whole_parameters == 61 * 7168 * (1536 + 576)
    assert facts.unpacked_parameters == 61 * 512 * 128 * (128 + 128)
    assert catalogue()["Qwen/Qwen3-8B"].whole_parameters == 0


def test_a_latent_model_without_its_latent_is_refused() -> None:
    problem = model_facts("spec.model", "me/v3", spec_facts(architecture="DeepseekV3ForCausalLM"))
    assert isinstance(problem, Problem)
    assert problem.field == "spec.model.facts.kvLoraRank"
    assert "copy kv_lora_rank and qk_rope_head_dim" in problem.message
