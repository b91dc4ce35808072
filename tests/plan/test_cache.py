"""How the KV cache lies in memory, held against block counts that vLLM printed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.accelerators import GIB
from specdecode.engine.models import ModelFacts, catalogue
from specdecode.engine.profiling import profiling
from specdecode.engine.version import EngineVersion
from specdecode.plan.cache import CacheLayout, cache_layout, layers_of

QWEN_8B = catalogue()["Qwen/Qwen3-8B"]
QWEN_06B = catalogue()["Qwen/Qwen3-0.6B"]
LLAMA_8B = catalogue()["meta-llama/Llama-3.1-8B-Instruct"]
LLAMA_70B = catalogue()["meta-llama/Llama-3.1-70B-Instruct"]
EAGLE3 = catalogue()["AngelSlim/Qwen3-8B_eagle3"]
GPT_OSS = catalogue()["openai/gpt-oss-20b"]
LATENT = replace(QWEN_8B, num_hidden_layers=61, kv_lora_rank=512, qk_rope_head_dim=64)
GEMMA_LIKE = replace(QWEN_8B, num_hidden_layers=62, num_sliding_layers=52, sliding_window=1024)
ALL_SLIDING = replace(LLAMA_8B, num_sliding_layers=32, sliding_window=4096)


def layout(
    *models: ModelFacts, version: str = "0.32.0", gpus: int = 1, element_bytes: int = 2, batched_tokens: int = 1024
) -> CacheLayout:
    rules = profiling(EngineVersion.parse(version), None, models[0].architecture)
    layers = tuple(kind for facts in models for kind in layers_of(facts, rules, gpus=gpus, element_bytes=element_bytes))
    return cache_layout(layers, rules, batched_tokens=batched_tokens)


@pytest.mark.parametrize(
    ("models", "gpus", "element_bytes", "bytes_per_token"),
    [
        pytest.param((QWEN_8B,), 1, 2, 147_456, id="Qwen3-8B alone"),
        pytest.param((QWEN_8B, EAGLE3), 1, 2, 151_552, id="with an EAGLE-3 head: one layer more"),
        pytest.param((QWEN_8B, QWEN_06B), 1, 2, 262_144, id="with a 0.6B draft model: 1.78 times"),
        pytest.param((LLAMA_8B,), 1, 2, 131_072, id="Llama-3.1-8B alone"),
        pytest.param((QWEN_8B,), 1, 1, 73_728, id="in FP8: half"),
        pytest.param((LLAMA_70B,), 2, 2, 163_840, id="70B over two GPUs: half the heads each"),
        pytest.param((LLAMA_8B,), 16, 2, 16_384, id="more GPUs than KV heads: one head each"),
        pytest.param((LATENT,), 8, 2, 70_272, id="a latent is whole on every GPU: Kimi-K2 on eight"),
    ],
)
def test_bytes_per_token(models: tuple[ModelFacts, ...], gpus: int, element_bytes: int, bytes_per_token: int) -> None:
    assert layout(*models, gpus=gpus, element_bytes=element_bytes).bytes_per_token == bytes_per_token


def test_the_first_engine_pads_a_latent() -> None:
    """DeepSeek-Coder-V2-Lite on vLLM 0.7.2: 29,055 blocks in 14.96 GiB are 27 layers of 640 elements of 2 bytes."""
    lite = replace(LATENT, num_hidden_layers=27)
    assert layout(lite, version="0.7.2").bytes_per_token == 27 * 640 * 2
    assert layout(lite, version="0.9.2").bytes_per_token == 27 * 576 * 2


def test_early_releases_keep_the_heads_of_a_latent_model() -> None:
    assert layout(LATENT, version="0.7.0").bytes_per_token == 61 * 32 * 2 * 256 * 2


def test_tokens_come_in_whole_blocks() -> None:
    """4 GiB of FP8 cache for Qwen3-8B: 3640 blocks, 58,240 tokens in vLLM 0.18.0 and 0.29.0."""
    for version in ("0.18.0", "0.29.0"):
        held = layout(QWEN_8B, version=version, element_bytes=1)
        assert held.tokens_in(4 * GIB, 4096) == 58_240
        assert held.tokens_in(-1, 4096) == 0
        assert held.requests_in(4 * GIB, 4096) == 3640 / 256


def test_a_sliding_layer_keeps_a_window() -> None:
    """gpt-oss-20b: 12 full and 12 sliding layers are two groups of twelve."""
    held = layout(GPT_OSS)
    page = 12 * 8 * 2 * 64 * 2 * 16
    assert held.bytes_per_block == page
    assert (held.full_groups, held.window_groups) == (1, 1)
    assert held.request_bytes(1024) == (64 + 64 + 1) * page, "a short request is kept whole"
    in_window = (127 + 2 * 1024 + 15) // 16 + 1
    assert held.request_bytes(131_072) == (8192 + in_window) * page


@pytest.mark.parametrize(
    ("version", "windowed"),
    [
        pytest.param("0.7.3", False, id="the first engine keeps every token in every layer"),
        pytest.param("0.9.0", False, id="so does the second until 0.9.1"),
        pytest.param("0.9.1", True, id="windows are honoured since 0.9.1"),
        pytest.param("0.32.0", True, id="and today"),
    ],
)
def test_windows_by_release(version: str, *, windowed: bool) -> None:
    assert (layout(GPT_OSS, version=version).window_groups > 0) is windowed


def test_steps_in_flight_by_release() -> None:
    one, two = (layout(GPT_OSS, version=version).held_tokens for version in ("0.25.0", "0.26.0"))
    assert (one, two) == (127 + 1024, 127 + 2 * 1024)


def test_the_printed_size_has_another_meaning_since_0_21() -> None:
    """Blocks / groups x block size before; concurrency x maximum length since."""
    before, since = (layout(GPT_OSS, version=version) for version in ("0.20.0", "0.21.0"))
    available = 1000 * before.bytes_per_block
    assert before.tokens_in(available, 131_072) == 1000 // 2 * 16
    assert since.tokens_in(available, 131_072) == 1000 * 131_072 // (8192 + (127 + 1024 + 15) // 16 + 1)


def test_a_length_that_ends_inside_a_block_counts_less_since_0_21() -> None:
    """1000 blocks hold 500 requests of two blocks each, 17 tokens long."""
    before, since = (layout(QWEN_8B, version=version) for version in ("0.20.0", "0.21.0"))
    assert before.tokens_in(1000 * before.bytes_per_block, 17) == 16_000
    assert since.tokens_in(1000 * since.bytes_per_block, 17) == 500 * 17


@pytest.mark.parametrize(
    ("version", "full", "windowed", "layers_of_a_group"),
    [
        pytest.param("0.11.0", 13, 12, 12, id="0.11: the smaller count, with padding"),
        pytest.param("0.12.0", 13, 12, 13, id="0.12: the larger one when it is within a quarter"),
        pytest.param("0.16.0", 14, 10, 10, id="0.16: 1.4 times is too far"),
        pytest.param("0.18.0", 14, 10, 14, id="0.18: within a half"),
        pytest.param("0.32.0", 10, 52, 10, id="five to one stays with the smaller count"),
    ],
)
def test_the_size_of_a_group_by_release(version: str, full: int, windowed: int, layers_of_a_group: int) -> None:
    facts = replace(GPT_OSS, num_hidden_layers=full + windowed, num_sliding_layers=windowed)
    held = layout(facts, version=version)
    assert held.bytes_per_block == layers_of_a_group * 8 * 2 * 64 * 2 * 16
    assert held.full_groups == -(-full // layers_of_a_group)
    assert held.window_groups == -(-windowed // layers_of_a_group)


def test_a_model_of_windows_only_is_one_group() -> None:
    held = layout(ALL_SLIDING)
    assert (held.full_groups, held.window_groups) == (0, 1)
    assert held.request_bytes(131_072) < held.bytes_per_token * 131_072


@given(
    available=st.integers(min_value=-(10**9), max_value=10**12),
    more=st.integers(min_value=0, max_value=10**10),
    length=st.integers(min_value=1, max_value=200_000),
    facts=st.sampled_from([QWEN_8B, GPT_OSS, GEMMA_LIKE, LATENT, ALL_SLIDING]),
    version=st.sampled_from(["0.7.3", "0.11.0", "0.20.0", "0.32.0"]),
)
def test_laws_of_every_layout(available: int, more: int, length: int, facts: ModelFacts, version: str) -> None:
    held = layout(facts, version=version)
    tokens = held.tokens_in(available, length)
    assert 0 <= tokens <= held.tokens_in(available + more, length), "more memory never holds less"
    assert held.request_bytes(length) <= held.request_bytes(length + 1), "a longer request never takes less"
    assert (held.requests_in(available, length) >= 1) is (available >= held.request_bytes(length))
    if held.window_groups == 0:
        assert tokens * held.bytes_per_token <= max(0, available)
