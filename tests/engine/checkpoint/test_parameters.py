"""Counts of weights, against published totals, and the sizes that vLLM logs after loading."""

import pytest

from specdecode.api.accelerators import GIB
from specdecode.engine.models import catalogue, derived_head
from specdecode.plan.memory import rotary_cache_bytes, weight_bytes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.1-70B-Instruct", 70_553_706_496),
        ("meta-llama/Llama-3.1-405B-Instruct", 405_853_388_800),
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824),
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("meta-llama/Llama-2-13b-hf", 13_015_864_320),
        ("meta-llama/Llama-2-70b-hf", 68_976_648_192),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("Qwen/Qwen3-1.7B", 1_720_574_976),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("Qwen/Qwen3-14B", 14_768_307_200),
        ("Qwen/Qwen3-32B", 32_762_123_264),
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("Qwen/Qwen2.5-14B-Instruct", 14_770_033_664),
        ("Qwen/Qwen2.5-32B-Instruct", 32_763_876_352),
        ("Qwen/Qwen2.5-72B-Instruct", 72_706_203_648),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552),
        ("mistralai/Mistral-Nemo-Instruct-2407", 12_247_782_400),
        ("mistralai/Ministral-8B-Instruct-2410", 8_019_808_256),
        ("mistralai/Mistral-Small-24B-Instruct-2501", 23_572_403_200),
        ("mistralai/Mistral-Large-Instruct-2411", 122_610_069_504),
        ("01-ai/Yi-34B", 34_388_917_248),
        ("microsoft/phi-4", 14_659_507_200),
        ("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552),
        ("microsoft/Phi-3-medium-4k-instruct", 13_960_238_080),
        ("microsoft/Phi-4-mini-instruct", 3_836_021_760),
        ("google/gemma-2b", 2_506_172_416),
        ("google/gemma-7b", 8_537_680_896),
        ("google/gemma-2-2b-it", 2_614_341_888),
        ("google/gemma-2-9b-it", 9_241_705_984),
        ("google/gemma-2-27b-it", 27_227_128_320),
        ("google/gemma-3-1b-it", 999_885_952),
        ("google/gemma-3-4b-it", 4_300_079_472),
        ("google/gemma-3-27b-it", 27_432_406_640),
        ("Qwen/Qwen3-VL-2B-Instruct", 2_127_532_032),
        ("Qwen/Qwen3-VL-4B-Instruct", 4_437_815_808),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696),
        ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704),
        ("mistralai/Mixtral-8x22B-v0.1", 140_620_634_112),
        ("Qwen/Qwen1.5-MoE-A2.7B", 14_315_784_192),
        ("Qwen/Qwen3-30B-A3B", 30_532_122_624),
        ("Qwen/Qwen3-235B-A22B", 235_093_634_560),
        ("openai/gpt-oss-20b", 20_914_757_184),
        ("openai/gpt-oss-120b", 116_829_156_672),
        ("deepseek-ai/DeepSeek-V2-Lite", 15_706_484_224),
        ("deepseek-ai/DeepSeek-V3", 671_026_419_200),
        ("moonshotai/Kimi-K2-Instruct", 1_026_408_232_448),
    ],
)
def test_the_formula_gives_the_published_total_to_the_last_weight(name: str, parameters: int) -> None:
    assert catalogue()[name].parameters == parameters


@pytest.mark.parametrize(
    ("name", "loaded_gib", "tolerance"),
    [
        pytest.param("meta-llama/Llama-3.1-8B-Instruct", 14.9889, 0.003, id="Llama-3.1-8B"),
        pytest.param("Qwen/Qwen3-8B", 15.2683, 0.003, id="Qwen3-8B"),
        pytest.param("Qwen/Qwen3-32B", 61.03, 0.003, id="Qwen3-32B"),
        pytest.param("Qwen/Qwen2.5-32B-Instruct", 61.0374, 0.003, id="Qwen2.5-32B"),
        pytest.param("Qwen/Qwen3-0.6B", 1.12, 0.005, id="Qwen3-0.6B, tied; the log has two places only"),
        pytest.param("Qwen/Qwen2.5-1.5B-Instruct", 2.8875, 0.003, id="Qwen2.5-1.5B, tied, with biases"),
        pytest.param(
            "mistralai/Mistral-Small-3.2-24B-Instruct-2506", 44.76, 0.003, id="Mistral-Small with its encoder"
        ),
        pytest.param("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 67.72, 0.015, id="70B in FP8, embedding in 16 bit"),
        pytest.param("Qwen/Qwen3-8B-AWQ", 5.71, 0.015, id="8B in AWQ, embedding in 16 bit"),
        pytest.param("openai/gpt-oss-120b", 64.38, 0.015, id="gpt-oss-120b in MXFP4"),
        pytest.param("openai/gpt-oss-20b", 13.47, 0.015, id="gpt-oss-20b in MXFP4"),
    ],
)
def test_weights_and_rotary_cache_are_what_vllm_logs_as_loaded(name: str, loaded_gib: float, tolerance: float) -> None:
    facts = catalogue()[name]
    counted = weight_bytes(facts, facts.weight_bits) + rotary_cache_bytes(facts, 0)
    assert counted / GIB == pytest.approx(loaded_gib, rel=tolerance)


def test_only_the_routed_experts_of_kimi_k2_thinking_are_in_4_bit() -> None:
    facts = catalogue()["moonshotai/Kimi-K2-Thinking"]
    experts = 60 * 384 * 3 * 7168 * 2048
    assert facts.linear_parameters == experts
    assert weight_bytes(facts, facts.weight_bits) == pytest.approx(594e9, rel=0.01), "the size of the repository"


def test_layers_for_multi_token_prediction_are_no_part_of_the_target() -> None:
    target = catalogue()["deepseek-ai/DeepSeek-V3"]
    assert target.mtp_parameters == 11_610_068_224, "one layer with experts, its norms and the joining projection"
    assert derived_head(target).total_parameters == target.mtp_parameters
    assert derived_head(target).num_hidden_layers == 1


@pytest.mark.parametrize(
    ("name", "layers", "sliding", "window"),
    [
        pytest.param("google/gemma-2-9b-it", 42, 21, 4096, id="every second layer of Gemma 2"),
        pytest.param("google/gemma-3-27b-it", 62, 52, 1024, id="five of six layers of Gemma 3"),
        pytest.param("google/gemma-3-1b-it", 26, 22, 512, id="Gemma 3 with an incomplete last group"),
        pytest.param("openai/gpt-oss-20b", 24, 12, 128, id="every second layer of gpt-oss"),
        pytest.param("mistralai/Mistral-7B-v0.1", 32, 32, 4096, id="every layer of the first Mistral"),
        pytest.param("mistralai/Mistral-7B-Instruct-v0.3", 32, 0, None, id="no layer of its successor"),
        pytest.param("microsoft/Phi-3-mini-4k-instruct", 32, 32, 2047, id="every layer of Phi-3 mini"),
        pytest.param("microsoft/Phi-4-mini-instruct", 32, 0, None, id="a window wider than the context is none"),
        pytest.param("Qwen/Qwen2.5-7B-Instruct", 28, 0, None, id="Qwen2.5 has it switched off"),
    ],
)
def test_layers_with_a_window(name: str, layers: int, sliding: int, window: int | None) -> None:
    facts = catalogue()[name]
    assert (facts.num_hidden_layers, facts.num_sliding_layers, facts.sliding_window) == (layers, sliding, window)


def test_the_sliding_layers_of_gemma_4_have_heads_of_their_own() -> None:
    facts = catalogue()["google/gemma-4-31B-it"]
    assert (facts.num_key_value_heads, facts.head_dim) == (4, 512), "of the layers that keep every token"
    assert (facts.sliding_num_key_value_heads, facts.sliding_head_dim, facts.num_sliding_layers) == (16, 256, 50)


def test_what_mla_caches() -> None:
    facts = catalogue()["moonshotai/Kimi-K2-Instruct"]
    assert (facts.kv_lora_rank, facts.qk_rope_head_dim) == (512, 64)
    assert facts.splits_over(16), "the latent is whole on every GPU"


@pytest.mark.parametrize(
    ("name", "width"),
    [
        pytest.param("microsoft/Phi-4-mini-instruct", 96, id="three quarters of a head are rotated"),
        pytest.param("google/gemma-3-27b-it", 256, id="Gemma 3 has two tables"),
        pytest.param("Qwen/Qwen3-8B", None, id="the whole head"),
    ],
)
def test_width_of_the_rotary_tables(name: str, width: int | None) -> None:
    assert catalogue()[name].rotary_dim == width


@pytest.mark.parametrize(
    ("name", "visited"),
    [
        pytest.param("Qwen/Qwen3-30B-A3B", 8 * 768, id="eight experts"),
        pytest.param("mistralai/Mixtral-8x7B-v0.1", 2 * 14336, id="two experts"),
        pytest.param("deepseek-ai/DeepSeek-V2-Lite", 6 * 1408 + 2 * 1408, id="six experts and two shared ones"),
        pytest.param("Qwen/Qwen2-57B-A14B-Instruct", 8 * 2560 + 20480, id="eight experts and a wide shared one"),
        pytest.param("google/gemma-4-26B-A4B-it", 8 * 704 + 2112, id="experts beside an ordinary layer"),
        pytest.param("Qwen/Qwen3-8B", 12288, id="no experts"),
    ],
)
def test_width_that_one_token_visits(name: str, visited: int) -> None:
    assert catalogue()[name].intermediate_size == visited


@pytest.mark.parametrize(
    ("name", "parameters", "own_rows"),
    [
        pytest.param("yuhuili/EAGLE3-LLaMA3.1-Instruct-8B", 424_689_664, 32_000, id="EAGLE-3 has a small lm_head"),
        pytest.param("yuhuili/EAGLE-LLaMA3.1-Instruct-8B", 251_662_336, 0, id="EAGLE has none"),
        pytest.param("z-lab/Qwen3-8B-DFlash-b16", 1_048_626_432, 0, id="DFlash has five layers and none"),
    ],
)
def test_weights_of_a_head_without_what_it_borrows(name: str, parameters: int, own_rows: int) -> None:
    head = catalogue()[name]
    assert head.is_head
    assert head.parameters == parameters
    assert head.embedding_parameters == own_rows * head.hidden_size
