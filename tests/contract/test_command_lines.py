"""The command line against the real parser and config classes: what we render, and what must be refused.

What we list of arguments and keys is compared in `test_surface`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from builders import resource
from contract.commandlines import command_lines, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearsal.vllm.ask import Accepted, Asked, Refused

FLAGS = Path(__file__).parents[1] / "data/engine/flags"

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


# --- what we render ---


METHODS: dict[str, dict[str, Any]] = {
    "ngram": {},
    "ngram_gpu": {},
    "suffix": {},
    "draft_model": {"name": "Qwen/Qwen3-0.6B"},
    "quantized draft_model": {"name": "Qwen/Qwen3-0.6B", "quantization": "fp8_per_tensor"},
    "quantized draft_model with an fp8 cache": {
        "name": "Qwen/Qwen3-0.6B",
        "quantization": "fp8_per_tensor",
        "kvCacheDtype": "fp8",
    },
    "eagle3": {"name": "AngelSlim/Qwen3-8B_eagle3"},
}
NEEDS_MORE = {"suffix": "Arctic Inference", "ngram_gpu": "compil"}
"""What vLLM 0.32 wants installed or enabled for a method, beside the command line."""


@st.composite
def speculations(draw: st.DrawFn) -> dict[str, Any] | None:
    """Any speculation of Qwen3-8B, or none."""
    name = draw(st.sampled_from([None, *METHODS]))
    if name is None:
        return None
    speculation: dict[str, Any] = {
        "method": name.removeprefix("quantized ").partition(" ")[0],
        "numSpeculativeTokens": draw(st.integers(min_value=1, max_value=8)),
    }
    batch = draw(st.none() | st.integers(min_value=1, max_value=300))
    if batch is not None:
        speculation["maxBatchSize"] = batch
    if METHODS[name]:
        speculation["draft"] = METHODS[name]
    allowed = (["Draft"] if "quantized" in name else []) + (["NGram"] if "ngram" not in name else [])
    speculation["fallbacks"] = draw(st.lists(st.sampled_from(allowed), unique=True)) if allowed else []
    lowest = draw(st.integers(min_value=1, max_value=4))
    speculation["ngram"] = {"promptLookupMin": lowest, "promptLookupMax": draw(st.integers(lowest, 8))}
    return speculation


@st.composite
def engines(draw: st.DrawFn) -> dict[str, Any]:
    """Any size of server."""
    sequences = draw(st.integers(min_value=1, max_value=512))
    return {
        "maxModelLen": draw(st.sampled_from([512, 1000, 4096, 8192, 32_768, 40_960])),
        "maxNumSeqs": sequences,
        "maxNumBatchedTokens": draw(st.integers(min_value=max(sequences, 4096), max_value=65_536)),
        "gpuMemoryUtilization": draw(st.sampled_from(["0.5", "0.85", "0.92", "0.975"])),
        "kvCacheDtype": draw(st.sampled_from(["auto", "fp8"])),
        "pinKvCache": draw(st.booleans()),
        "enforceEager": draw(st.booleans()),
        "extraArgs": draw(
            st.lists(
                st.sampled_from(
                    [
                        {"name": "enable-prefix-caching"},
                        {"name": "no-enable-prefix-caching"},
                        {"name": "scheduling-policy", "value": "priority"},
                        {"name": "seed", "value": "7"},
                    ]
                ),
                unique_by=lambda argument: argument["name"].removeprefix("no-"),
            )
        ),
    }


# Not reset between examples: the engine answers each question by itself.
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    speculation=speculations(),
    server=engines(),
    gpus=st.sampled_from([1, 2, 4, 8]),
    quantization=st.sampled_from([None, "fp8_per_tensor"]),
)
def test_whatever_is_planned_is_accepted_and_understood(
    engine: Asked,
    models: Path,
    speculation: dict[str, Any] | None,
    server: dict[str, Any],
    gpus: int,
    quantization: str | None,
) -> None:
    overrides: dict[str, Any] = {
        "spec.model": {"name": "Qwen/Qwen3-8B"} | ({"quantization": quantization} if quantization else {}),
        "spec.engine": server | {"image": f"vllm/vllm-openai:v{engine.release}"},
        "spec.accelerator": {"product": "NVIDIA-H100-80GB-HBM3", "count": gpus},
        "spec.speculation": speculation,
    }
    for line in command_lines(resource(**overrides), models):
        wanted = expected(line.arguments)
        answer = engine.configure(line.local)
        if wanted["method"] in NEEDS_MORE and isinstance(answer, Refused):
            assert NEEDS_MORE[wanted["method"]] in answer.problem, answer
            answer = engine.parse(line.arguments)
            assert isinstance(answer, Accepted), answer
            continue
        assert isinstance(answer, Accepted), f"{answer}\n{line.arguments}"
        assert {name: answer.understood[name] for name in wanted} == wanted


def golden(text: str) -> list[list[str]]:
    """The command lines of a golden file: blocks of lines that are arguments."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        argument = line.strip()
        if argument.startswith("--"):
            blocks[-1].append(argument)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def test_every_command_line_of_the_golden_files_is_accepted(engine: Asked) -> None:
    blocks = golden((FLAGS / f"{engine.release}.txt").read_text())
    assert len(blocks) > 5
    for arguments in blocks:
        assert engine.parse(arguments) == Accepted({}), arguments


# --- what must be refused: the check can fail ---

GOOD = ("--model=me/model", "--max-model-len=2048", "--tensor-parallel-size=1")


def speculative(**keys: Any) -> str:
    return f"--speculative-config={json.dumps(keys)}"


def test_a_plain_command_line_is_accepted(engine: Asked) -> None:
    good = speculative(method="ngram", num_speculative_tokens=3, prompt_lookup_max=4)
    assert engine.parse((*GOOD, good)) == Accepted({})


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        pytest.param("--speculative-model=me/draft", "unrecognized arguments", id="a flag that went in 0.8.3"),
        pytest.param("--max-num-sequences=4", "unrecognized arguments", id="a flag that never was"),
        pytest.param("--dtype=float7", "invalid choice", id="a choice that is none"),
        pytest.param("--max-num-seqs=many", "invalid", id="a word for a number"),
        pytest.param("--max-num-seqs", "expected one argument", id="no value where one is needed"),
        pytest.param("--enforce-eager=true", "ignored explicit argument", id="a value for a switch"),
        pytest.param("--speculative-config={", "cannot be converted", id="JSON that is none"),
        pytest.param(
            speculative(method="ngram", num_speculative_tokens=3, disable_by_batch_size=4),
            "Unexpected keyword argument",
            id="a key that went in 0.17",
        ),
        pytest.param(
            speculative(method="ngram", num_speculative_tokens=3, acceptance_method="typical_acceptance_sampler"),
            "Unexpected keyword argument",
            id="a key that went after 0.9.2",
        ),
        pytest.param(speculative(method="telepathy", num_speculative_tokens=3), "Input should be", id="no such method"),
        pytest.param(speculative(method="ngram", num_speculative_tokens=0), "greater than 0", id="no tokens"),
    ],
)
def test_a_broken_command_line_is_refused(engine: Asked, argument: str, problem: str) -> None:
    answer = engine.parse((*GOOD, argument))
    assert isinstance(answer, Refused), answer
    assert problem in answer.problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"draft_tensor_parallel_size": 3}, "cannot be other value than", id="a draft of another size"),
        pytest.param({"tensor_parallel_size": 2}, "not a valid argument", id="the key that is always an error"),
        pytest.param({"quantization": "bitsandbytes"}, "Unknown quantization method", id="quantisation that went"),
        pytest.param({"num_speculative_tokens": None}, "num_speculative_tokens", id="no number of tokens"),
    ],
)
def test_what_only_the_config_classes_see_is_refused(
    engine: Asked, models: Path, change: dict[str, Any], problem: str
) -> None:
    qwen: dict[str, Any] = {
        "spec.model": {"name": "Qwen/Qwen3-8B"},
        "spec.engine.image": f"vllm/vllm-openai:v{engine.release}",
        "spec.speculation": {"method": "draft_model", "numSpeculativeTokens": 3, "draft": METHODS["draft_model"]},
    }
    line = command_lines(resource(**qwen), models)[0]
    assert isinstance(engine.configure(line.local), Accepted)
    name = "--speculative-config="
    (given_keys,) = (json.loads(text.removeprefix(name)) for text in line.local if text.startswith(name))
    keys = {key: value for key, value in {**given_keys, **change}.items() if value is not None}
    answer = engine.configure([text for text in line.local if not text.startswith(name)] + [speculative(**keys)])
    assert isinstance(answer, Refused), answer
    assert problem in answer.problem
