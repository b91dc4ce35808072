"""The command line of a mode, and which extra arguments are let through."""

import json
from typing import Any

import pytest
from builders import resource

from specdecode.api.vocabulary import KvCacheDtype, Method
from specdecode.engine.arguments import ActiveSpeculation, command_line, speculative_config
from specdecode.engine.version import EngineVersion

V032 = EngineVersion(0, 32)
DRAFT = ActiveSpeculation(
    Method.DRAFT_MODEL,
    num_speculative_tokens=5,
    max_batch_size=32,
    draft_name="meta-llama/Llama-3.2-1B-Instruct",
    draft_revision="main",
    draft_quantization="fp8_per_tensor",
)
NGRAM = ActiveSpeculation(Method.NGRAM, num_speculative_tokens=4)


def test_the_whole_command_line_in_its_order() -> None:
    spec = resource(
        **{
            "spec.model.revision": "abc",
            "spec.model.servedName": "llama",
            "spec.engine.enforceEager": True,
            "spec.engine.extraArgs": [{"name": "enable-prefix-caching"}, {"name": "seed", "value": "7"}],
        }
    ).spec
    assert command_line(spec, V032, DRAFT, pinned_bytes=1024) == (
        "--model=meta-llama/Llama-3.1-70B-Instruct",
        "--served-model-name=llama",
        "--revision=abc",
        "--dtype=bfloat16",
        "--quantization=fp8_per_tensor",
        "--tensor-parallel-size=2",
        "--max-model-len=8192",
        "--max-num-seqs=64",
        "--max-num-batched-tokens=8192",
        "--gpu-memory-utilization=0.92",
        "--kv-cache-dtype=auto",
        "--kv-cache-memory-bytes=1024",
        "--enforce-eager",
        (
            '--speculative-config={"draft_tensor_parallel_size":2,"method":"draft_model",'
            '"model":"meta-llama/Llama-3.2-1B-Instruct","num_speculative_tokens":5,'
            '"num_speculative_tokens_per_batch_size":[[1,32,5],[33,64,0]],"quantization":"fp8_per_tensor",'
            '"revision":"main"}'
        ),
        "--host=0.0.0.0",
        "--port=8000",
        "--enable-prefix-caching",
        "--seed=7",
    )


def test_without_speculation_and_options_little_remains() -> None:
    spec = resource(**{"spec.model": {"name": "Qwen/Qwen3-8B"}}).spec
    line = command_line(spec, V032, None)
    assert "--served-model-name=Qwen/Qwen3-8B" in line
    absent = ("--revision", "--quantization", "--kv-cache-memory-bytes", "--enforce-eager", "--speculative-config")
    assert not [argument for argument in line if argument.startswith(absent)]


def test_a_flag_the_version_does_not_know_is_left_out() -> None:
    line = command_line(resource().spec, EngineVersion(0, 10, 1), None, pinned_bytes=1024)
    assert not [argument for argument in line if argument.startswith("--kv-cache-memory-bytes")]


@pytest.mark.parametrize(
    ("active", "version", "config"),
    [
        pytest.param(
            NGRAM,
            "0.32.0",
            {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 2, "prompt_lookup_max": 5},
            id="n-gram has bounds and no model",
        ),
        pytest.param(
            ActiveSpeculation(Method.MTP, 1),
            "0.10.2",
            {"method": "deepseek_mtp", "num_speculative_tokens": 1},
            id="a head inside the checkpoint has no model",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE3, 3, draft_name="head"),
            "0.32.0",
            {"method": "eagle3", "num_speculative_tokens": 3, "model": "head"},
            id="a head is split as the release does it",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE, 3, max_batch_size=8, draft_name="head"),
            "0.8.5",
            {
                "method": "eagle",
                "num_speculative_tokens": 3,
                "model": "head",
                "draft_tensor_parallel_size": 1,
                "disable_by_batch_size": 9,
            },
            id="the old key of the batch limit stops at its number, the field above it; no head is split",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE, 3, max_batch_size=8, draft_name="head"),
            "0.16.0",
            {"method": "eagle", "num_speculative_tokens": 3, "model": "head"},
            id="a key that is read and ignored is not written",
        ),
        pytest.param(
            ActiveSpeculation(
                Method.DRAFT_MODEL, 3, draft_name="small", posterior_threshold="0.09", posterior_alpha="0.3"
            ),
            "0.9.2",
            {
                "method": "draft_model",
                "num_speculative_tokens": 3,
                "model": "small",
                "draft_tensor_parallel_size": 2,
                "acceptance_method": "typical_acceptance_sampler",
                "posterior_threshold": 0.09,
                "posterior_alpha": 0.3,
            },
            id="typical acceptance as numbers",
        ),
        pytest.param(
            ActiveSpeculation(Method.NGRAM, 3, posterior_threshold="0.09"),
            "0.9.2",
            {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_min": 2, "prompt_lookup_max": 5},
            id="no typical acceptance where a fallback runs on the second generation",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE3, 3, draft_name="head", draft_kv_cache_dtype=KvCacheDtype.FP8),
            "0.26.0",
            {"method": "eagle3", "num_speculative_tokens": 3, "model": "head", "kv_cache_dtype": "fp8"},
            id="the draft's own cache type",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE3, 3, draft_name="head", draft_kv_cache_dtype=KvCacheDtype.FP8),
            "0.25.0",
            {"method": "eagle3", "num_speculative_tokens": 3, "model": "head"},
            id="no cache type for the draft before 0.26",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE, 3, max_batch_size=8, draft_name="head"),
            "0.20.0",
            {"method": "eagle", "num_speculative_tokens": 3, "model": "head"},
            id="no key for the batch limit from 0.17 to 0.23",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE, 3, max_batch_size=64, draft_name="head"),
            "0.32.0",
            {"method": "eagle", "num_speculative_tokens": 3, "model": "head"},
            id="a limit that cannot be exceeded is not written",
        ),
    ],
)
def test_the_speculative_config(active: ActiveSpeculation, version: str, config: dict[str, Any]) -> None:
    rendered = speculative_config(active, EngineVersion.parse(version), tensor_parallel_size=2, max_num_seqs=64)
    assert rendered == config
    json.dumps(rendered)
