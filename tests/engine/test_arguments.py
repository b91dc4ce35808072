"""The command line of a mode, and which extra arguments are let through."""

import json
from typing import Any

import pytest
from builders import resource

from specdecode.api.spec import ExtraArgument
from specdecode.api.vocabulary import Method
from specdecode.engine.arguments import (
    ActiveSpeculation,
    command_line,
    extra_argument_problem,
    known_arguments,
    speculative_config,
)
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
            id="only draft_model takes a tensor parallel size",
        ),
        pytest.param(
            ActiveSpeculation(Method.EAGLE, 3, max_batch_size=8, draft_name="head"),
            "0.16.0",
            {"method": "eagle", "num_speculative_tokens": 3, "model": "head", "disable_by_batch_size": 8},
            id="the old key of the batch limit",
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


@pytest.mark.parametrize(
    ("argument", "field", "sentence"),
    [
        pytest.param({"name": "enable-prefix-caching"}, "", None, id="a switch"),
        pytest.param({"name": "no-enable-prefix-caching"}, "", None, id="its negation"),
        pytest.param({"name": "tool-call-parser", "value": "hermes"}, "", None, id="an argument of the server"),
        pytest.param({"name": "scheduling-policy", "value": "priority"}, "", None, id="one of the choices"),
        pytest.param(
            {"name": "enable-prefix-cachin"}, "", "did you mean enable-prefix-caching?", id="a typo is not completed"
        ),
        pytest.param({"name": "zzz-qqq"}, "", "has no argument --zzz-qqq; remove it", id="nothing like it"),
        pytest.param(
            {"name": "enable-prefix-caching", "value": "true"}, ".value", "is a switch", id="a switch takes no value"
        ),
        pytest.param({"name": "seed"}, ".value", "needs a value", id="a value is missing"),
        pytest.param(
            {"name": "scheduling-policy", "value": "fair"}, ".value", "one of fcfs, priority", id="no such choice"
        ),
    ],
)
def test_extra_arguments_must_exist(argument: dict[str, str], field: str, sentence: str | None) -> None:
    problem = extra_argument_problem(V032, ExtraArgument.model_validate(argument))
    assert (problem is None) is (sentence is None)
    if problem is not None:
        assert problem.field == f"spec.engine.extraArgs[name={argument['name']}]{field}"
        assert sentence is not None
        assert sentence in problem.message


def test_where_no_list_is_at_hand_arguments_pass() -> None:
    assert known_arguments(EngineVersion(0, 31)) is None
    assert extra_argument_problem(EngineVersion(0, 31), ExtraArgument(name="zzz-qqq")) is None
    assert known_arguments(EngineVersion(0, 33)) is not None
