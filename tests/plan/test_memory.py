"""The arithmetic, held against published start-up logs of vLLM."""

from dataclasses import replace

import pytest

from specdecode.api.accelerators import ADA, GIB, HOPPER, TURING, Capability
from specdecode.api.vocabulary import Method
from specdecode.engine.models import catalogue
from specdecode.engine.profiling import Profiling, Sampler, profiling
from specdecode.engine.version import EngineVersion
from specdecode.plan import memory

QWEN_8B = catalogue()["Qwen/Qwen3-8B"]
QWEN_32B = catalogue()["Qwen/Qwen3-32B"]
LLAMA_8B = catalogue()["meta-llama/Llama-3.1-8B-Instruct"]


def rules(version: str, capability: Capability = HOPPER, method: Method | None = None) -> Profiling:
    return profiling(EngineVersion.parse(version), method, "Qwen3ForCausalLM", capability)


def test_the_request_is_rounded_up_as_vllm_does() -> None:
    assert memory.requested_bytes(1001, "0.92") == 921
    assert memory.requested_bytes(100, "0.92") == 92, "decimal arithmetic: no float makes it 93"


@pytest.mark.parametrize(
    ("name", "sequences", "tokens", "logged_gib"),
    [
        pytest.param("meta-llama/Llama-3.1-8B-Instruct", 1024, 8192, 4.76, id="Llama-3.1-8B"),
        pytest.param("meta-llama/Llama-3.1-70B-Instruct", 1024, 8192, 4.84, id="Llama-3.1-70B: not divided by 2 GPUs"),
        pytest.param("Qwen/Qwen3-0.6B", 1024, 8192, 5.56, id="Qwen3-0.6B"),
        pytest.param("Qwen/Qwen3-32B", 1024, 8192, 5.64, id="Qwen3-32B"),
        pytest.param("openai/gpt-oss-20b", 1024, 8192, 7.38, id="gpt-oss"),
    ],
)
def test_the_sampler_of_the_first_runner_sorts_the_vocabulary(
    name: str, sequences: int, tokens: int, logged_gib: float
) -> None:
    facts = catalogue()[name]
    peak = memory.sampler_peak(facts, Sampler.SORT, max_num_seqs=sequences, batched_tokens=tokens)
    assert (peak.nominal + memory.LIBRARY_WORKSPACE.nominal) / GIB == pytest.approx(logged_gib, abs=0.01)


def test_no_more_rows_are_sampled_than_tokens_are_batched() -> None:
    few = memory.sampler_peak(QWEN_8B, Sampler.SORT, max_num_seqs=1024, batched_tokens=64)
    assert few == memory.sampler_peak(QWEN_8B, Sampler.SORT, max_num_seqs=64, batched_tokens=64)


def test_each_newer_sampler_takes_less() -> None:
    sort, mask, gumbel = (
        memory.sampler_peak(QWEN_8B, sampler, max_num_seqs=256, batched_tokens=2048) for sampler in Sampler
    )
    assert mask.high < sort.low
    assert gumbel.high < mask.nominal


@pytest.mark.parametrize(
    ("is_compiled", "tokens", "logged_gib"),
    [
        pytest.param(True, 4096, 0.37, id="compiled, vLLM 0.29.0"),
        pytest.param(False, 4096, 0.41, id="eager, vLLM 0.29.0"),
    ],
)
def test_the_forward_peak_of_qwen3_8b(*, is_compiled: bool, tokens: int, logged_gib: float) -> None:
    peak = memory.forward_peak(QWEN_8B, tokens, 1, is_compiled=is_compiled)
    assert (peak.nominal + memory.LIBRARY_WORKSPACE.nominal) / GIB == pytest.approx(logged_gib, abs=0.01)


def test_an_eagle3_head_keeps_three_hidden_states() -> None:
    assert memory.auxiliary_states(QWEN_8B, 4096).nominal == 3 * 4096 * 4096 * 2


def test_a_larger_batch_takes_from_the_cache_what_was_measured() -> None:
    """RTX 4090, Qwen3-8B: 40,464 tokens with a batch of 2048 and 36,720 with 8192 (vllm-project/vllm#48322)."""
    small, large = (memory.forward_peak(QWEN_8B, tokens, 1, is_compiled=True) for tokens in (2048, 8192))
    assert large.nominal - small.nominal == pytest.approx((40_464 - 36_720) * 147_456, rel=0.02)


@pytest.mark.parametrize(
    ("name", "gpus", "steady_gib", "lost_gib"),
    [
        pytest.param("Qwen/Qwen3-8B", 1, 0.37, 0.84, id="Qwen3-8B, vLLM 0.29.0"),
        pytest.param("Qwen/Qwen3-32B", 2, 0.385, 0.47, id="Qwen3-32B on two GPUs, vLLM 0.28.0"),
    ],
)
def test_a_cold_start_costs_what_was_measured(name: str, gpus: int, steady_gib: float, lost_gib: float) -> None:
    cold = (memory.cold_start_peak(catalogue()[name], gpus).nominal + memory.LIBRARY_WORKSPACE.nominal) / GIB
    assert cold - steady_gib == pytest.approx(lost_gib, abs=0.1)


@pytest.mark.parametrize(
    ("gpus", "version", "capability", "has_nvlink", "inside_gib"),
    [
        pytest.param(1, "0.29.0", ADA, False, 0.11, id="one RTX 4090, second runner"),
        pytest.param(1, "0.18.0", ADA, False, 0.15, id="one RTX 4090, first runner"),
        pytest.param(1, "0.8.5", TURING, False, 0.04, id="one RTX 2060, first engine"),
        pytest.param(2, "0.11.0", HOPPER, True, 0.55, id="two H100"),
        pytest.param(4, "0.11.0", ADA, False, 0.21, id="four L40S"),
        pytest.param(8, "0.7.3", HOPPER, True, 7.16, id="eight H200 when the communicator was charged"),
    ],
)
def test_what_lies_outside_pytorch(
    *, gpus: int, version: str, capability: Capability, has_nvlink: bool, inside_gib: float
) -> None:
    estimate = memory.non_torch(rules(version, capability), gpus, has_nvlink=has_nvlink)
    assert estimate.low <= inside_gib * GIB <= estimate.high


def test_early_releases_of_the_second_engine_charge_the_context() -> None:
    before, after = (memory.non_torch(rules(version), 1, has_nvlink=False) for version in ("0.9.0", "0.9.2"))
    assert before.nominal - after.nominal == memory.context().nominal


def test_communication_beside_the_budget_grows_with_the_cards() -> None:
    one, two, eight = (memory.outside_communicator(rules("0.28.0"), gpus) for gpus in (1, 2, 8))
    assert one.high == 0
    assert two.nominal < eight.nominal
    assert memory.outside_communicator(rules("0.10.2"), 8).high == 0, "it was inside the budget then"


def test_buffers_of_the_second_runner() -> None:
    """Qwen3-8B, 256 sequences: 0.149 GiB."""
    own = memory.buffers(QWEN_8B, Sampler.GUMBEL, max_num_seqs=256, batched_tokens=2048, keeps_hidden_states=False)
    assert own / GIB == pytest.approx(0.149, abs=0.001)
    head = memory.buffers(QWEN_8B, Sampler.GUMBEL, max_num_seqs=256, batched_tokens=2048, keeps_hidden_states=True)
    assert head - own == 2048 * 4096 * 2
    first = memory.buffers(QWEN_8B, Sampler.MASK, max_num_seqs=256, batched_tokens=2048, keeps_hidden_states=False)
    assert first == 0


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
    ("positions", "max_model_len", "mib"),
    [
        pytest.param(131_072, 8192, 32, id="as long as the model was made for"),
        pytest.param(8192, 131_072, 32, id="as long as it is asked to be"),
    ],
)
def test_the_rotary_table_is_as_long_as_the_longer(positions: int, max_model_len: int, mib: int) -> None:
    facts = replace(LLAMA_8B, max_position_embeddings=positions)
    assert memory.rotary_cache_bytes(facts, max_model_len) == mib * 1024**2


def test_a_shard_of_the_weights() -> None:
    total = memory.weight_bytes(QWEN_32B, 16)
    one, two = memory.weights_per_gpu(total, 1), memory.weights_per_gpu(total, 2)
    assert one.nominal == total
    assert two.low <= 30.59 * GIB <= two.high, "as vLLM 0.11.0 loads it on two H100"
