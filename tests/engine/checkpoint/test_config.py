"""One reader for every config.json: what it takes from each kind, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.resource import Problem
from specdecode.engine.checkpoint.config import facts_of_config
from specdecode.engine.checkpoint.safetensors import CheckpointWeights, Tensors
from specdecode.engine.facts import ModelFacts

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
}
MLA = LLAMA | {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_experts_per_tok": 2,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 1,
}
EMBEDDING = 1000 * 64


def read(config: dict[str, object], weights: CheckpointWeights | None = None) -> ModelFacts:
    facts = facts_of_config("own/model", config, source="test", weights=weights)
    assert isinstance(facts, ModelFacts), facts
    return facts


def refusal(config: dict[str, object]) -> str:
    problem = facts_of_config("own/model", config, source="test", field="spec.model.name")
    assert isinstance(problem, Problem), problem
    assert (problem.field, problem.value) == ("spec.model.name", "own/model")
    return problem.message


def files(**parts: tuple[str, int, int]) -> CheckpointWeights:
    """Type, elements and bytes of each part; `layer_3` stands for `layer 3`."""
    return CheckpointWeights(
        tuple(Tensors(part.replace("layer_", "layer "), *amount) for part, amount in parts.items())
    )


def test_what_is_left_out_has_its_default() -> None:
    facts = read({key: value for key, value in LLAMA.items() if key != "num_key_value_heads"})
    assert (facts.num_key_value_heads, facts.head_dim, facts.tie_word_embeddings) == (8, 8, False)
    assert (facts.quantization, facts.weight_bits, facts.is_multimodal, facts.num_experts) == (None, 16, False, 0)


def test_null_is_as_good_as_absent() -> None:
    nulls = dict.fromkeys(("sliding_window", "head_dim", "num_experts", "rope_scaling", "quantization_config"))
    assert read(LLAMA | nulls) == read(LLAMA)


@pytest.mark.parametrize(
    ("change", "weights"),
    [
        pytest.param({"attention_bias": True}, 4 * (64 + 2 * 16 + 64), id="biases of all four projections"),
        pytest.param({"mlp_bias": True}, 4 * (2 * 128 + 64), id="biases of the feed-forward layers"),
        pytest.param({"tie_word_embeddings": True}, -EMBEDDING, id="one embedding for both ends"),
        pytest.param({"head_dim": 16}, 4 * 64 * 8 * (2 * 8 + 2 * 2), id="heads wider than their share"),
        pytest.param({"model_type": "qwen2"}, 4 * (64 + 2 * 16), id="Qwen2 has biases without saying so"),
        pytest.param({"model_type": "qwen3"}, 4 * 2 * 8, id="Qwen3 has norms of queries and keys"),
        pytest.param({"model_type": "gemma2"}, 4 * 2 * 64 - EMBEDDING, id="Gemma 2 has four norms and ties"),
    ],
)
def test_what_an_architecture_adds_to_the_weights(change: dict[str, object], weights: int) -> None:
    assert (read(LLAMA | change).parameters or 0) - (read(LLAMA).parameters or 0) == weights


@pytest.mark.parametrize(
    ("change", "sliding"),
    [
        pytest.param({"model_type": "mistral", "sliding_window": 64}, 4, id="Mistral: all"),
        pytest.param({"model_type": "mistral", "sliding_window": None}, 0, id="Mistral with null: none"),
        pytest.param({"model_type": "llama", "sliding_window": 64}, 0, id="Llama does not read the key"),
        pytest.param(
            {"model_type": "qwen2", "sliding_window": 64, "max_window_layers": 3}, 0, id="Qwen2: not unless on"
        ),
        pytest.param(
            {"model_type": "qwen2", "sliding_window": 64, "max_window_layers": 3, "use_sliding_window": True},
            1,
            id="Qwen2: the layers above max_window_layers",
        ),
        pytest.param(
            {"model_type": "qwen2", "sliding_window": 64, "max_window_layers": 3, "use_sliding_window": False},
            0,
            id="Qwen2: switched off",
        ),
        pytest.param({"model_type": "gemma2", "sliding_window": 64}, 2, id="Gemma 2: every second"),
        pytest.param(
            {"model_type": "gemma3_text", "sliding_window": 64, "sliding_window_pattern": 4},
            3,
            id="Gemma 3: by pattern",
        ),
        pytest.param(
            {
                "model_type": "gpt_oss",
                "sliding_window": 64,
                "layer_types": ["sliding_attention", *["full_attention"] * 3],
            },
            1,
            id="as the list of layers says",
        ),
    ],
)
def test_layers_with_a_window(change: dict[str, object], sliding: int) -> None:
    facts = read(LLAMA | change)
    assert facts.num_sliding_layers == sliding
    assert (facts.sliding_window is None) is (sliding == 0)


@pytest.mark.parametrize(
    ("change", "longest"),
    [
        pytest.param({}, 2048, id="as stated"),
        pytest.param(
            {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}},
            8192,
            id="stretched by YaRN",
        ),
        pytest.param(
            {"rope_scaling": {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 1024}},
            2048,
            id="already counted",
        ),
        pytest.param({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 2048, id="Llama's counts already"),
        pytest.param({"rope_scaling": {"type": "yarn", "factor": "big"}}, 2048, id="nonsense is left alone"),
    ],
)
def test_longest_context(change: dict[str, object], longest: int) -> None:
    assert read(LLAMA | change).max_position_embeddings == longest


@pytest.mark.parametrize(
    ("change", "width"),
    [
        pytest.param({"partial_rotary_factor": 0.5}, 4, id="half a head"),
        pytest.param({"rope_parameters": {"partial_rotary_factor": 0.25}}, 2, id="in the newer place"),
        pytest.param({"rope_parameters": {"partial_rotary_factor": 7}}, None, id="nonsense is left alone"),
        pytest.param({"partial_rotary_factor": 1.0}, None, id="the whole head"),
    ],
)
def test_rotary_width(change: dict[str, object], width: int | None) -> None:
    assert read(LLAMA | change).rotary_dim == width


class TestExperts:
    def test_deepseek(self) -> None:
        facts = read(MLA | {"q_lora_rank": 24, "topk_method": "noaux_tc"})
        attention = 64 * 24 + 24 * 8 * 12 + 64 * (16 + 4) + 16 * 8 * (8 + 8) + 8 * 8 * 64
        norms = 24 + 16 + 2 * 64
        experts = 3 * 64 * 32 * (8 + 1) + 64 * 8 + 8
        total = 2 * EMBEDDING + 4 * (attention + norms) + 3 * 64 * 128 + 3 * experts + 64
        assert facts.parameters == total
        assert facts.mtp_parameters == attention + norms + experts + 64 + 2 * 64 * 64 + 2 * 64
        assert (facts.kv_lora_rank, facts.qk_rope_head_dim, facts.num_experts) == (16, 4, 8)
        assert facts.intermediate_size == 128, "the dense layer is wider than what a token visits elsewhere"

    def test_queries_without_a_latent(self) -> None:
        facts, with_latent = read(MLA), read(MLA | {"q_lora_rank": 24})
        difference = 4 * (64 * 8 * 12 - (64 * 24 + 24 * 8 * 12 + 24))
        assert (facts.parameters or 0) - (with_latent.parameters or 0) == difference

    def test_every_second_layer_but_the_listed(self) -> None:
        moe = LLAMA | {
            "model_type": "qwen2_moe",
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
        }
        every = read(moe)
        some = read(moe | {"decoder_sparse_step": 2, "mlp_only_layers": [3]})
        per_sparse, per_dense = 3 * 64 * 16 * 4 + 64 * 4, 3 * 64 * 128
        assert (every.parameters or 0) - (some.parameters or 0) == 3 * (per_sparse - per_dense)

    def test_a_layer_frequency(self) -> None:
        every, second = read(MLA), read(MLA | {"moe_layer_freq": 2})
        per_sparse, per_dense = 3 * 64 * 32 * 9 + 64 * 8, 3 * 64 * 128
        assert (every.parameters or 0) - (second.parameters or 0) == 2 * (per_sparse - per_dense)

    def test_glm_4_5_corrects_its_scores(self) -> None:
        config = {key: value for key, value in MLA.items() if "rank" not in key and "qk_" not in key}
        glm = read(config | {"model_type": "glm4_moe", "attention_bias": True, "use_qk_norm": True})
        plain = read(config | {"model_type": "deepseek_v3", "num_nextn_predict_layers": 0})
        assert (glm.parameters or 0) - (plain.parameters or 0) == 4 * (64 + 2 * 16) + 4 * 2 * 8 + 3 * 8


class TestWrappers:
    def test_a_text_model_inside_a_model_for_images(self) -> None:
        outer = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "vision_config": {"x": 1}}
        facts = read(outer | {"text_config": LLAMA, "tie_word_embeddings": False})
        assert facts.is_multimodal
        assert facts.architecture == "LlavaForConditionalGeneration"
        assert facts.parameters == read(LLAMA).parameters, "an encoder is known by the files only"

    def test_keys_that_gemma_3_leaves_to_transformers(self) -> None:
        text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
        outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text, "vision_config": {"a": 1}}
        facts = read(outer)
        assert (facts.num_attention_heads, facts.num_key_value_heads, facts.head_dim) == (8, 4, 256)
        assert (facts.vocab_size, facts.tie_word_embeddings, facts.num_sliding_layers) == (262_208, True, 29)

    def test_the_wrapper_says_whether_the_embedding_is_tied(self) -> None:
        assert read({"text_config": LLAMA, "tie_word_embeddings": True}).tie_word_embeddings

    def test_two_wrappers(self) -> None:
        assert read({"architectures": ["OwnOmni"], "thinker_config": {"text_config": LLAMA}}).hidden_size == 64

    def test_the_architecture_may_follow_from_the_type(self) -> None:
        assert read({key: value for key, value in LLAMA.items() if key != "architectures"}).architecture == (
            "LlamaForCausalLM"
        )

    def test_the_type_may_follow_from_the_architecture(self) -> None:
        assert read({key: value for key, value in LLAMA.items() if key != "model_type"}) == read(LLAMA)

    def test_the_quantisation_may_stand_inside(self) -> None:
        inner = LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
        assert read({"architectures": ["OwnVL"], "text_config": inner}).quantization == "awq"


class TestHeads:
    def test_a_vocabulary_of_its_own_gives_an_eagle_3_head_away(self) -> None:
        facts = read(LLAMA | {"num_hidden_layers": 1, "draft_vocab_size": 100})
        layer = 64 * (2 * 64 + 2 * 16) + 3 * 64 * 128
        assert facts.is_head
        assert facts.embedding_parameters == 100 * 64
        assert facts.parameters == layer + 64 * (64 + 2 * 16) + 3 * 64 * 64 + 4 * 64 + 100 * 64

    def test_an_eagle_3_head_without_one_has_an_lm_head_over_all(self) -> None:
        facts = read(LLAMA | {"architectures": ["Eagle3LlamaForCausalLM"], "num_hidden_layers": 1})
        assert (facts.draft_vocab_size, facts.embedding_parameters) == (1000, EMBEDDING)

    def test_a_wide_target(self) -> None:
        head = LLAMA | {"architectures": ["LlamaForCausalLMEagle3"], "num_hidden_layers": 1}
        assert (read(head | {"target_hidden_size": 128}).parameters or 0) - (read(head).parameters or 0) == 3 * 64 * 64

    def test_the_format_of_the_speculators_library(self) -> None:
        layer = {key: value for key, value in LLAMA.items() if key != "architectures"} | {"num_hidden_layers": 1}
        config = {
            "architectures": ["Eagle3Speculator"],
            "speculators_model_type": "eagle3",
            "draft_vocab_size": 100,
            "transformer_layer_config": layer,
        }
        facts = read(config)
        assert facts.parameters == read(layer | {"draft_vocab_size": 100}).parameters
        assert facts.architecture == "Eagle3LlamaForCausalLM"

    def test_the_older_format_with_the_decoder_below_model(self) -> None:
        config = {"architectures": ["EagleLlamaForCausalLM"], "model_type": "eagle", "model": LLAMA}
        assert read(config | {"draft_vocab_size": 50}).draft_vocab_size == 50

    @pytest.mark.parametrize(
        ("extra", "layers"),
        [
            pytest.param({"dflash_config": {"target_layer_ids": [1, 2, 3]}}, 3, id="layers as listed"),
            pytest.param({"aux_hidden_state_layer_ids": [1, 2]}, 2, id="layers as the library lists them"),
            pytest.param({}, 4, id="as many as it has itself"),
        ],
    )
    def test_dflash_looks_at_layers_of_the_target(self, extra: dict[str, object], layers: int) -> None:
        facts = read(LLAMA | {"architectures": ["DFlashDraftModel"], "model_type": "qwen3"} | extra)
        body = read(LLAMA | {"model_type": "qwen3"})
        assert (facts.parameters or 0) - ((body.parameters or 0) - 2 * EMBEDDING) == layers * 64 * 64 + 64

    def test_dspark_has_a_table_of_transitions(self) -> None:
        spark = LLAMA | {"architectures": ["Qwen3DSparkModel"], "model_type": "qwen3"}
        assert (read(spark | {"markov_rank": 8}).parameters or 0) - (read(spark).parameters or 0) == 8 * 2 * 1000

    def test_a_projection_in_the_files_gives_an_eagle_head_away(self) -> None:
        weights = files(
            fc=("BF16", 8192, 16384), embed_tokens=("BF16", EMBEDDING, 2 * EMBEDDING), layer_0=("BF16", 100, 200)
        )
        facts = read(LLAMA | {"num_hidden_layers": 1}, weights)
        assert facts.architecture == "EagleLlamaForCausalLM"
        assert facts.parameters == 8292, "not the embedding"
        assert "shared with the target" in facts.source


class TestFiles:
    def test_32_bit_files_are_loaded_in_16(self) -> None:
        facts = read(LLAMA, files(embed_tokens=("F32", EMBEDDING, 4 * EMBEDDING), lm_head=("F32", EMBEDDING, 1)))
        assert (facts.parameters, facts.weight_bytes) == (2 * EMBEDDING, None)

    def test_a_tied_lm_head_that_is_stored_twice_counts_once(self) -> None:
        weights = files(embed_tokens=("BF16", EMBEDDING, 1), lm_head=("BF16", EMBEDDING, 1), rest=("BF16", 64, 128))
        assert read(LLAMA | {"tie_word_embeddings": True}, weights).parameters == EMBEDDING + 64

    def test_an_lm_head_that_is_neither_stored_nor_tied_is_allocated(self) -> None:
        assert read(LLAMA, files(embed_tokens=("BF16", EMBEDDING, 1))).parameters == 2 * EMBEDDING

    def test_buffers_are_not_weights(self) -> None:
        weights = files(embed_tokens=("BF16", EMBEDDING, 1), lm_head=("BF16", EMBEDDING, 1), buffers=("F32", 9, 36))
        assert read(LLAMA, weights).parameters == 2 * EMBEDDING

    def test_an_encoder_is_counted_and_never_quantised(self) -> None:
        weights = files(
            embed_tokens=("BF16", EMBEDDING, 1),
            lm_head=("BF16", EMBEDDING, 1),
            encoder=("BF16", 500, 1000),
            layer_0=("BF16", 10_000, 20_000),
        )
        facts = read(LLAMA, weights)
        assert facts.is_multimodal
        assert facts.parameters == 2 * EMBEDDING + 10_500
        assert facts.linear_parameters == 10_000 - 9 * 64, "without encoder and norms"

    @pytest.mark.parametrize("part", ["mtp", "layer_4"])
    def test_layers_for_multi_token_prediction_are_left_out(self, part: str) -> None:
        parts = {
            "embed_tokens": ("F8_E4M3", EMBEDDING, EMBEDDING),
            "lm_head": ("BF16", EMBEDDING, 2 * EMBEDDING),
            part: ("F8_E4M3", 3_000_000, 3_000_000),
        }
        facts = read(MLA | {"quantization_config": {"quant_method": "fp8"}}, files(**parts))
        assert facts.weight_bytes == 3 * EMBEDDING
        assert facts.mtp_parameters == 3_000_000
        assert "0.00 GB of multi-token-prediction layers are not counted" in facts.source

    def test_a_quantised_checkpoint_takes_what_its_files_take(self) -> None:
        config = LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
        weights = files(
            embed_tokens=("BF16", EMBEDDING, 2 * EMBEDDING), lm_head=("BF16", EMBEDDING, 9), layer_0=("I32", 100, 400)
        )
        facts = read(config, weights)
        assert (facts.weight_bytes, facts.parameters) == (2 * EMBEDDING + 409, read(LLAMA).parameters)
        assert (facts.quantization, facts.weight_bits) == ("awq", 4.15625)

    def test_attention_that_is_left_in_16_bit(self) -> None:
        skipped = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
        facts = read(LLAMA | {"quantization_config": skipped})
        assert facts.linear_parameters == 4 * 3 * 64 * 128, "the feed-forward layers alone"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        pytest.param({"_diffusers_version": "0.30"}, "a pipeline of diffusers", id="a diffusers pipeline"),
        pytest.param({"_class_name": "UNet2DConditionModel"}, "part of a diffusers pipeline", id="a part of one"),
        pytest.param({"peft_type": "LORA"}, "describes an adapter", id="an adapter"),
        pytest.param({"tokenizer_class": "X", "added_tokens_decoder": {}}, "describes a tokenizer", id="a tokenizer"),
        pytest.param({"weight_map": {}}, "index of the weights", id="an index"),
        pytest.param({"feature_extractor_type": "X"}, "a preprocessor", id="a preprocessor"),
        pytest.param({"medusa_num_heads": 4, "hidden_size": 8}, "Medusa heads", id="Medusa heads"),
        pytest.param({"bos_token_id": 1}, "describes no language model", id="a generation config"),
        pytest.param({}, "describes no language model", id="an empty object"),
        pytest.param({"architectures": ["Qwen3NextForCausalLM"]}, "recurrent state", id="linear attention by name"),
        pytest.param(
            LLAMA | {"layer_types": ["full_attention", "linear_attention"]}, "recurrent state", id="and by its layers"
        ),
        pytest.param({"architectures": ["MambaForCausalLM"], "state_size": 16}, "recurrent state", id="Mamba"),
        pytest.param(MLA | {"index_topk": 2048}, "an indexer", id="sparse MLA by its keys"),
        pytest.param({"architectures": ["Llama4ForConditionalGeneration"]}, "within chunks", id="chunked attention"),
        pytest.param({"architectures": ["T5ForConditionalGeneration"]}, "encoder-decoder", id="an encoder-decoder"),
        pytest.param({"architectures": ["BertModel"]}, "generates no tokens", id="an encoder"),
        pytest.param(LLAMA | {"num_kv_shared_layers": 10}, "shares the cache", id="layers that share their cache"),
        pytest.param({"architectures": ["OwnForCausalLM"]}, "OwnForCausalLM is not known", id="an unknown class"),
        pytest.param({"hidden_size": 64}, "a model without architectures and model_type", id="no class at all"),
        pytest.param(LLAMA | {"hidden_size": "64"}, "hidden_size is '64'", id="a number as text"),
        pytest.param(LLAMA | {"intermediate_size": [1, 2]}, "intermediate_size is [1, 2]", id="a list"),
        pytest.param(LLAMA | {"num_hidden_layers": 0}, "num_hidden_layers is 0", id="no layers"),
        pytest.param(LLAMA | {"layer_types": "x" * 90}, "...", id="a long value is shortened"),
        pytest.param({"model_type": "llama", "hidden_size": 64}, "lacks num_hidden_layers", id="missing dimensions"),
        pytest.param({"model_type": "deepseek_v3"} | LLAMA | {"kv_lora_rank": 512}, "lacks qk_rope_head_dim", id="MLA"),
        pytest.param(LLAMA | {"hidden_size": 4}, "no head_dim", id="more heads than width"),
    ],
)
def test_what_is_refused_and_why(config: dict[str, object], says: str) -> None:
    assert says in refusal(config)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*MLA, "text_config", "quantization_config", "layer_types", "model"]), JSON))
def test_whatever_stands_in_it_the_answer_is_facts_or_one_problem(change: dict[str, object]) -> None:
    answer = facts_of_config("own/model", MLA | change, source="test")
    assert isinstance(answer, ModelFacts | Problem)
    if isinstance(answer, ModelFacts):
        assert answer.total_parameters > 0
        assert answer.linear_parameters >= 0
        assert answer.head_dim > 0
