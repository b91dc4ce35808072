"""Laws that hold for every spec, not only for the published ones."""

from typing import Any

from builders import resource
from hypothesis import given, settings
from hypothesis import strategies as st

from specdecode.engine.parser import known_arguments
from specdecode.engine.version import EngineVersion
from specdecode.plan.cache import BLOCK_TOKENS
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

TARGET = {
    "architecture": "LlamaForCausalLM",
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 128256,
    "parameters": 8_030_261_248,
}

lengths = st.sampled_from([1024, 4096, 8192, 32_768])
sequences = st.integers(min_value=1, max_value=512)
memories = st.integers(min_value=16, max_value=192)
gpus = st.sampled_from([1, 2, 4, 8])


def planned(**overrides: Any) -> Plan:
    plan = make_plan(resource(**overrides))
    assert isinstance(plan, Plan), str(plan)
    return plan


def pair(memory_gib: int, count: int, length: int, most: int, **draft: Any) -> Plan:
    return planned(
        **{
            "spec.accelerator.memory": f"{memory_gib}Gi",
            "spec.accelerator.count": count,
            "spec.engine.maxModelLen": length,
            "spec.engine.maxNumSeqs": most,
            "spec.model": {"name": "me/target", "facts": TARGET},
            "spec.speculation.draft": {"name": "me/draft", "facts": TARGET | draft},
            "spec.speculation.fallbacks": [],
        }
    )


@given(memory=memories, more=st.integers(min_value=1, max_value=64), count=gpus, length=lengths, most=sequences)
def test_more_memory_is_never_worse(memory: int, more: int, count: int, length: int, most: int) -> None:
    small, large = pair(memory, count, length, most), pair(memory + more, count, length, most)
    for before, after in zip(small.ladder, large.ladder, strict=True):
        assert after.kv_cache_bytes_per_gpu > before.kv_cache_bytes_per_gpu
        assert after.kv_cache_tokens >= before.kv_cache_tokens
        assert after.fits or not before.fits
        assert after.short_bytes <= before.short_bytes


@given(
    extra=st.integers(min_value=0, max_value=1_000_000_000), memory=memories, count=gpus, length=lengths, most=sequences
)
def test_a_byte_of_draft_is_a_byte_less_of_cache(extra: int, memory: int, count: int, length: int, most: int) -> None:
    weights = TARGET["parameters"]
    assert isinstance(weights, int)
    light = pair(memory, count, length, most).requested
    heavy = pair(memory, count, length, most, parameters=weights + extra * count).requested
    assert light.kv_cache_bytes_per_gpu - heavy.kv_cache_bytes_per_gpu == 2 * extra


@given(memory=memories, count=gpus, length=lengths, most=sequences)
def test_a_mode_fits_exactly_when_one_request_does(memory: int, count: int, length: int, most: int) -> None:
    for mode in pair(memory, count, length, most).ladder:
        needed = length * mode.bytes_per_token
        spare = next(line.bytes for line in mode.ledger if line.name == "spare")
        assert mode.fits is (mode.kv_cache_bytes_per_gpu >= needed and spare >= 0)
        assert mode.short_bytes == max(0, needed - mode.kv_cache_bytes_per_gpu, -spare)
        assert mode.fits is (mode.requests_at_max_model_len >= 1)
        assert mode.kv_cache_tokens % BLOCK_TOKENS == 0
        assert mode.kv_cache_tokens * mode.bytes_per_token <= max(0, mode.kv_cache_bytes_per_gpu)
        assert mode.fits or mode.kv_cache_tokens == 0
        assert not (mode.fits and mode.remedies)


@given(memory=memories, count=gpus, length=lengths, most=sequences)
def test_stepping_down_the_ladder_never_needs_more_than_off(memory: int, count: int, length: int, most: int) -> None:
    plan = pair(memory, count, length, most)
    assert plan.ladder[-1].kv_cache_bytes_per_gpu >= plan.requested.kv_cache_bytes_per_gpu


@settings(max_examples=60)
@given(
    length=lengths,
    most=sequences,
    pinned=st.booleans(),
    eager=st.booleans(),
    batch=st.integers(min_value=1, max_value=600),
    method=st.sampled_from(["ngram", "draft_model", "suffix", "ngram_gpu"]),
)
def test_every_rendered_flag_is_known_and_given_once(
    *, length: int, most: int, pinned: bool, eager: bool, batch: int, method: str
) -> None:
    speculation: dict[str, Any] = {"method": method, "numSpeculativeTokens": 3, "maxBatchSize": batch}
    if method == "draft_model":
        speculation["draft"] = {"name": "meta-llama/Llama-3.1-8B-Instruct", "quantization": "fp8_per_tensor"}
    plan = planned(
        **{
            "spec.engine.maxModelLen": length,
            "spec.engine.maxNumSeqs": most,
            "spec.engine.pinKvCache": pinned,
            "spec.engine.enforceEager": eager,
            "spec.engine.extraArgs": [{"name": "enable-prefix-caching"}],
            "spec.speculation": speculation,
        }
    )
    known = known_arguments(EngineVersion(0, 32))
    assert known is not None
    for mode in plan.ladder:
        names = [argument.removeprefix("--").split("=")[0] for argument in mode.arguments]
        assert len(names) == len(set(names))
        assert mode.arguments[0].startswith("--model=")
        for argument, name in zip(mode.arguments, names, strict=True):
            assert argument.startswith("--")
            assert known[name].is_switch is ("=" not in argument), name
