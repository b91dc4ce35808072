"""The arithmetic, held against published start-up logs of vLLM."""

from dataclasses import replace

import pytest

from specdecode.api.accelerators import GIB
from specdecode.engine.models import catalogue
from specdecode.engine.version import EngineVersion
from specdecode.plan import memory
from specdecode.plan.memory import Estimate

QWEN_8B = catalogue()["Qwen/Qwen3-8B"]
QWEN_06B = catalogue()["Qwen/Qwen3-0.6B"]
LLAMA_8B = catalogue()["meta-llama/Llama-3.1-8B-Instruct"]
LLAMA_70B = catalogue()["meta-llama/Llama-3.1-70B-Instruct"]
EAGLE3 = catalogue()["AngelSlim/Qwen3-8B_eagle3"]
GPT_OSS = catalogue()["openai/gpt-oss-20b"]


def test_the_request_is_rounded_up_as_vllm_does() -> None:
    assert memory.requested_bytes(1001, "0.92") == 921
    assert memory.requested_bytes(100, "0.92") == 92, "decimal arithmetic: no float makes it 93"


def test_estimates_are_combined_by_their_bounds() -> None:
    assert Estimate(1, 5, 6).larger_of(Estimate(2, 3, 9)) == Estimate(2, 5, 9)


@pytest.mark.parametrize(
    ("name", "sequences", "logged_gib"),
    [
        pytest.param("meta-llama/Llama-3.1-8B-Instruct", 1024, 4.76, id="Llama-3.1-8B"),
        pytest.param("meta-llama/Llama-3.1-70B-Instruct", 1024, 4.84, id="Llama-3.1-70B, two GPUs: not divided"),
        pytest.param("Qwen/Qwen3-0.6B", 1024, 5.56, id="Qwen3-0.6B"),
        pytest.param("openai/gpt-oss-20b", 1024, 7.38, id="gpt-oss"),
    ],
)
def test_the_sampler_of_the_first_runner(name: str, sequences: int, logged_gib: float) -> None:
    peak = memory.sampler_peak(sequences, catalogue()[name].vocab_size, v2_runner=False)
    assert peak.nominal / GIB == pytest.approx(logged_gib, rel=0.02)


def test_the_sampler_of_the_second_runner_is_smaller() -> None:
    old = memory.sampler_peak(256, 128_256, v2_runner=False)
    assert memory.sampler_peak(256, 128_256, v2_runner=True).high < old.low / 3


def test_the_forward_peak() -> None:
    peak = memory.forward_peak(QWEN_8B, 4096, 1)
    assert peak.low / GIB == pytest.approx(0.37, abs=0.01), "compiled"
    assert peak.high / GIB == pytest.approx(0.41, abs=0.01), "eager"


def test_a_warm_start_of_qwen3_8b_is_predicted() -> None:
    """RTX 4090 with 47.37 GiB, utilisation 0.75, 8 sequences, 4096 tokens, vLLM 0.29.0: 19.70 GiB, 143,472 tokens."""
    parts = (
        memory.weights_per_gpu(memory.weight_bytes(QWEN_8B, 16), 1),
        Estimate.exact(memory.rotary_cache_bytes(QWEN_8B, 4096)),
        memory.sampler_peak(8, QWEN_8B.vocab_size, v2_runner=True).larger_of(memory.forward_peak(QWEN_8B, 4096, 1)),
        memory.non_torch(1, EngineVersion(0, 29)),
        memory.cuda_graphs(QWEN_8B.num_hidden_layers, memory.capture_sizes(8, 0)),
    )
    left = memory.requested_bytes(int(47.37 * GIB), "0.75") - sum(part.nominal for part in parts)
    assert left / GIB == pytest.approx(19.70, abs=0.1)
    shape = memory.kv_shape(QWEN_8B, None, gpus=1, element_bytes=2, batched_tokens=4096)
    assert shape.tokens_in(left, 4096) == pytest.approx(143_472, rel=0.005)


@pytest.mark.parametrize(
    ("gpus", "version", "inside_gib"),
    [
        pytest.param(1, "0.29.0", 0.11, id="one GPU, second runner"),
        pytest.param(1, "0.18.0", 0.15, id="one GPU, first runner"),
        pytest.param(2, "0.11.0", 0.55, id="two H100"),
        pytest.param(4, "0.20.0", 0.21, id="four L40S"),
        pytest.param(8, "0.8.5", 7.16, id="eight H200 when the communicator was charged"),
    ],
)
def test_what_lies_outside_pytorch(gpus: int, version: str, inside_gib: float) -> None:
    estimate = memory.non_torch(gpus, EngineVersion.parse(version))
    assert estimate.low <= inside_gib * GIB <= estimate.high


@pytest.mark.parametrize(
    ("sequences", "speculative_tokens", "sizes"),
    [
        pytest.param(8, 0, 5, id="1, 2, 4, 8, 16"),
        pytest.param(256, 0, 51, id="up to 512"),
        pytest.param(1024, 0, 51, id="never beyond 512"),
        pytest.param(1, 3, 4, id="speculation: 1, 2, 4, 8 with the multiples of 4"),
        pytest.param(1, 4, 6, id="speculation: 1, 2, 4, 8 with 5 and 10"),
    ],
)
def test_capture_sizes(sequences: int, speculative_tokens: int, sizes: int) -> None:
    assert memory.capture_sizes(sequences, speculative_tokens) == sizes


@pytest.mark.parametrize(
    ("sequences", "logged_gib"),
    [pytest.param(8, 0.07, id="8 sequences"), pytest.param(256, 0.56, id="256 sequences")],
)
def test_graphs_lie_within_their_spread(sequences: int, logged_gib: float) -> None:
    estimate = memory.cuda_graphs(QWEN_8B.num_hidden_layers, memory.capture_sizes(sequences, 0))
    assert estimate.low <= logged_gib * GIB <= estimate.high


@pytest.mark.parametrize(
    ("target", "draft", "gpus", "element_bytes", "bytes_per_token"),
    [
        pytest.param(QWEN_8B, None, 1, 2, 147_456, id="Qwen3-8B alone"),
        pytest.param(QWEN_8B, EAGLE3, 1, 2, 151_552, id="with an EAGLE-3 head: one layer more"),
        pytest.param(QWEN_8B, QWEN_06B, 1, 2, 262_144, id="with a 0.6B draft model: 1.78 times"),
        pytest.param(LLAMA_8B, None, 1, 2, 131_072, id="Llama-3.1-8B alone"),
        pytest.param(QWEN_8B, None, 1, 1, 73_728, id="in FP8: half"),
        pytest.param(LLAMA_70B, None, 2, 2, 163_840, id="70B over two GPUs: half the heads each"),
        pytest.param(LLAMA_8B, None, 16, 2, 16_384, id="more GPUs than KV heads: one head each"),
    ],
)
def test_bytes_per_token(
    target: memory.ModelFacts, draft: memory.ModelFacts | None, gpus: int, element_bytes: int, bytes_per_token: int
) -> None:
    shape = memory.kv_shape(target, draft, gpus=gpus, element_bytes=element_bytes, batched_tokens=8192)
    assert shape.bytes_per_token == bytes_per_token


def test_tokens_come_in_whole_blocks() -> None:
    """4 GiB of FP8 cache for Qwen3-8B: 3640 blocks, 58,240 tokens in vLLM 0.18.0 and 0.29.0."""
    shape = memory.kv_shape(QWEN_8B, None, gpus=1, element_bytes=1, batched_tokens=4096)
    assert shape.tokens_in(4 * GIB, 4096) == 58_240
    assert shape.tokens_in(-1, 4096) == 0


def test_a_sliding_layer_keeps_a_window() -> None:
    shape = memory.kv_shape(GPT_OSS, None, gpus=1, element_bytes=2, batched_tokens=1024)
    per_layer = 8 * 2 * 64 * 2
    assert shape.bytes_per_token == 24 * per_layer
    assert shape.request_bytes(1024) == 24 * 1024 * per_layer, "a short request is kept whole"
    kept = 2176 + 16  # 127 + 2 x 1024 tokens in blocks of 16, and one block more
    assert shape.request_bytes(131_072) == (12 * 131_072 + 12 * kept) * per_layer
    everything = replace(shape, full_bytes_per_token=24 * per_layer, sliding_bytes_per_token=0)
    assert shape.tokens_in(10 * GIB, 131_072) > 1.9 * everything.tokens_in(10 * GIB, 131_072)
