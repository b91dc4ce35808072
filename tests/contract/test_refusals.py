"""What vLLM says when it will not start, provoked, and what the operator makes of it.

Most of it the operator refuses itself, before a pod exists: then the engine must still refuse it, in the words that the
check was written for, or the check would stand in the way of what works. What concerns memory is known only to the
engine: then the operator must find the reason in its log.

Not provoked here, because it needs
* a GPU: CUDA out of memory at load, at graph capture or in a kernel; illegal memory accesses; Triton and FlashInfer;
  "Error in memory profiling"; that a card is in use is said by the engine's own function, about made-up sizes;
* weights that do not fit together: heads whose quantisation is inherited, shards that no kernel divides, an EAGLE3 head
  on a target without the interface, mixed page sizes: found while weights load, which stand-ins have none of;
* an engine that is not installed: draft models in 0.10 to 0.14, `draft_tensor_parallel_size` of the first model runner,
  the first generation's refusals of chunked prefill, Ray and pictures; "is larger than the maximum number of tokens";
* a model that speculates by itself (MTP): `num_speculative_tokens` that n_predict does not divide, LoRA with adaptive
  verification.
Refused requests are in `test_http`: `min_p` and `logit_bias` with speculation.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from builders import body
from contract.releases import Definitions
from contract.served import arguments, one_at_a_time, real
from contract.standins import config_json, make_model

from rehearsal.engine.arguments import parse_arguments
from rehearsal.engine.speculation import ConfigError
from rehearsal.processes import free_ports
from rehearsal.vllm.ask import Accepted, Asked, Refused
from rehearsal.vllm.environment import EngineEnvironment
from rehearsal.vllm.serve import TinyPair
from specdecode.api.resource import Rejection, parse
from specdecode.engine.catalogue import catalogue
from specdecode.engine.startup_log import StartupLog, parse_startup_log
from specdecode.plan.make import make_plan

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

QWEN, SMALL, AWQ = "Qwen/Qwen2.5-3B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-3B-Instruct-AWQ"
LARGE = "Qwen/Qwen2.5-7B-Instruct"
GPUS = {"product": "NVIDIA-H100-80GB-HBM3", "count": 1}


# --- what the operator refuses first ---


def speculation(**changes: Any) -> dict[str, Any]:
    """Of a spec."""
    return {"method": "draft_model", "numSpeculativeTokens": 3, "draft": {"name": SMALL}} | changes


def refusal(release: str, overrides: Mapping[str, Any]) -> str:
    """What the operator says to a spec; empty: it would plan it."""
    whole = {
        "spec.model": {"name": QWEN},
        "spec.engine": {"image": f"vllm/vllm-openai:v{release}", "maxModelLen": 8192},
        "spec.accelerator": GPUS,
        "spec.speculation": speculation(),
        **overrides,
    }
    parsed = parse(body(**whole))
    found = parsed if isinstance(parsed, Rejection) else make_plan(parsed)
    return str(found) if isinstance(found, Rejection) else ""


@dataclass(frozen=True)
class Line:
    """A command line that a spec like the other one would give."""

    target: str = QWEN
    draft: str | None = SMALL
    flags: tuple[str, ...] = ()
    keys: Mapping[str, Any] | None = None

    def words(self, models: Path) -> list[str]:
        """With directories in place of the models."""

        def stand_in(name: str) -> str:
            return str(make_model(models, config_json(catalogue()[name])))

        keys: dict[str, Any] = {"method": "draft_model", "num_speculative_tokens": 3}
        if self.draft is not None:
            keys["model"] = stand_in(self.draft)
        given = {key: value for key, value in (keys | dict(self.keys or {})).items() if value is not None}
        common = (f"--model={stand_in(self.target)}", "--max-model-len=8192", *self.flags)
        return [*common, f"--speculative-config={json.dumps(given)}"]


NGRAM = {"method": "ngram", "prompt_lookup_max": 3}

REFUSED_BY_BOTH = [
    pytest.param(
        {"spec.model": {"name": LARGE}},
        "has a vocabulary of 151936 and the target one of 152064",
        Line(target=LARGE),
        "Target and draft model should have the same vocabulary size. Target model vocab_size=152064. "
        "Draft model vocab_size=151936.",
        id="a draft with another vocabulary",
    ),
    pytest.param(
        {"spec.speculation": {"method": "draft_model", "draft": {"name": SMALL}}},
        "spec.speculation.numSpeculativeTokens",
        Line(keys={"num_speculative_tokens": None}),
        "num_speculative_tokens",
        id="no number of tokens",
    ),
    pytest.param(
        {"spec.speculation": speculation(numSpeculativeTokens=0)},
        "spec.speculation.numSpeculativeTokens",
        Line(keys={"num_speculative_tokens": 0}),
        "Input should be greater than 0",
        id="no tokens",
    ),
    pytest.param(
        {"spec.model": {"name": AWQ, "quantization": "fp8_per_tensor"}},
        "spec.model.quantization",
        Line(target=AWQ, flags=("--quantization=fp8_per_tensor",)),
        "does not match the quantization method specified in the `quantization` argument",
        id="a method beside that of the checkpoint",
    ),
    pytest.param(
        {"spec.speculation": speculation(draft={"name": SMALL, "quantization": "bitsandbytes"})},
        "removed in vLLM 0.28.0",
        Line(keys={"quantization": "bitsandbytes"}),
        "Unknown quantization method: bitsandbytes. Must be one of",
        id="a method that went",
    ),
    pytest.param(
        {"spec.engine.maxModelLen": 65_536},
        "the model was made for at most 32768 tokens",
        Line(flags=("--max-model-len=65536",)),
        "User-specified max_model_len (65536) is greater than the derived max_model_len",
        id="more context than the model was made for",
    ),
    pytest.param(
        {
            "spec.speculation": {
                "method": "ngram",
                "numSpeculativeTokens": 3,
                "ngram": {"promptLookupMin": 5, "promptLookupMax": 3},
            }
        },
        "spec.speculation.ngram",
        Line(draft=None, keys=NGRAM | {"prompt_lookup_min": 5}),
        "prompt_lookup_min=5 must be <= prompt_lookup_max=3",
        id="a lookup whose least is more than its most",
    ),
    pytest.param(
        {"spec.engine.extraArgs": [{"name": "speculative-model", "value": "me/draft"}]},
        "spec.engine.extraArgs",
        Line(flags=("--speculative-model=me/draft",)),
        "unrecognized arguments: --speculative-model=me/draft",
        id="a flag that went in 0.8.3",
    ),
    pytest.param(
        {"spec.engine.extraArgs": [{"name": "scheduling-policy", "value": "luck"}]},
        "must be one of fcfs, priority",
        Line(flags=("--scheduling-policy=luck",)),
        "invalid choice: 'luck'",
        id="a choice that is none",
    ),
    pytest.param(
        {"spec.engine.maxNumSeqs": 64, "spec.engine.maxNumBatchedTokens": 32},
        "must be at least maxNumSeqs (64)",
        Line(flags=("--max-num-seqs=64", "--max-num-batched-tokens=32")),
        "max_num_batched_tokens (32) must be greater than or equal to max_num_seqs (64)",
        id="a step with less tokens than requests",
    ),
    pytest.param(
        {"spec.accelerator": GPUS | {"count": 3}},
        "spec.accelerator.count",
        Line(draft=None, flags=("--tensor-parallel-size=3",), keys=NGRAM),
        "Total number of attention heads (16) must be divisible by tensor parallel size (3)",
        id="heads that the GPUs do not divide",
    ),
]


def test_the_good_ones_are_taken_by_both(engine: Asked, models: Path) -> None:
    """What is changed below is the only thing wrong."""
    assert refusal(engine.release, {}) == ""
    assert isinstance(engine.configure(Line().words(models)), Accepted)
    assert isinstance(engine.configure(Line(draft=None, keys=NGRAM).words(models)), Accepted)


@pytest.mark.parametrize(("overrides", "ours", "line", "theirs"), REFUSED_BY_BOTH)
def test_what_the_operator_refuses_the_engine_would(
    engine: Asked, models: Path, overrides: Mapping[str, Any], ours: str, line: Line, theirs: str
) -> None:
    assert ours in refusal(engine.release, overrides)
    answer = engine.configure(line.words(models))
    assert isinstance(answer, Refused), answer
    assert theirs in answer.problem


@pytest.mark.parametrize(
    ("keys", "theirs"),
    [
        pytest.param(
            {"draft_tensor_parallel_size": 3},
            "speculative_draft_tensor_parallel_size=3 cannot be other value than 1 or target model "
            "tensor_parallel_size",
            id="a draft on other GPUs than its target",
        ),
        pytest.param(
            {"tensor_parallel_size": 2},
            "'tensor_parallel_size' is not a valid argument in the speculative_config. Please pass "
            "'draft_tensor_parallel_size' instead.",
            id="the key that is always an error",
        ),
        pytest.param({"disable_by_batch_size": 4}, "Unexpected keyword argument", id="a key that went in 0.17"),
        pytest.param(
            {"max_model_len": 65_536}, "(65536) is greater than the derived max_model_len", id="draft context"
        ),
        pytest.param({"method": "suffix", "model": None}, "Arctic Inference is required", id="what is not installed"),
        pytest.param(
            {"method": "ngram", "model": None, "use_heterogeneous_vocab": True},
            "use_heterogeneous_vocab only works with method='draft_model'",
            id="another vocabulary without a draft",
        ),
    ],
)
def test_what_no_spec_can_ask_for_is_still_refused(
    engine: Asked, models: Path, keys: Mapping[str, Any], theirs: str
) -> None:
    """Why the operator renders these keys as it does, or never."""
    answer = engine.configure(Line(keys=keys).words(models))
    assert isinstance(answer, Refused), answer
    assert theirs in answer.problem


SIMULATED_TOO = [
    pytest.param({"num_speculative_tokens": 0}, id="no tokens"),
    pytest.param({"num_speculative_tokens": None}, id="no number of tokens"),
    pytest.param({"quantization": "bitsandbytes"}, id="a method that went"),
    pytest.param({"method": "telepathy"}, id="a method that never was"),
    pytest.param({"draft_tensor_parallel_size": 3}, id="a draft on other GPUs than its target"),
    pytest.param({"tensor_parallel_size": 2}, id="the key that is always an error"),
    pytest.param({"disable_by_batch_size": 4}, id="a key that went in 0.17"),
    pytest.param(NGRAM | {"model": None, "prompt_lookup_min": 5}, id="a lookup whose least is more than its most"),
]
SAID = (
    "Input should be greater than 0",
    "`num_speculative_tokens` was not provided",
    "Unknown quantization method: bitsandbytes. Must be one of",
    "Input should be",
    "speculative_draft_tensor_parallel_size=3 cannot be other value than 1 or target model tensor_parallel_size",
    "Please pass 'draft_tensor_parallel_size' instead.",
    "Unexpected keyword argument",
    "prompt_lookup_min=5 must be <= prompt_lookup_max=3",
)


@pytest.mark.parametrize("keys", SIMULATED_TOO)
def test_the_simulated_engine_refuses_in_the_same_words(
    reference: Asked, models: Path, keys: Mapping[str, Any]
) -> None:
    words = Line(keys=keys).words(models)
    answer = reference.configure(words)
    assert isinstance(answer, Refused), answer
    with pytest.raises(ConfigError) as refused:
        parse_arguments(words)
    assert {text for text in SAID if text in answer.problem} == {text for text in SAID if text in str(refused.value)}
    assert any(text in answer.problem for text in SAID), answer


# --- what only the engine knows ---


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        pytest.param("no cache at all", "No available memory for the cache blocks. Try increasing", id="nothing left"),
        pytest.param(
            "less than one request",
            "To serve at least one request with the model's max seq len (512), (2.0 GiB KV cache is needed",
            id="too little for one request",
        ),
        pytest.param("a full card", "(8.0/80.0 GiB) on startup is less than desired GPU memory", id="a card in use"),
    ],
)
@pytest.mark.parametrize("release", ["0.32.0", "0.33.0"])
def test_the_reader_of_logs_finds_the_reason(
    declared: Mapping[str, Definitions], release: str, situation: str, words: str
) -> None:
    raised = declared[release].words[situation]
    assert raised.startswith("ValueError: "), raised
    log = parse_startup_log(f"(EngineCore pid=77) ERROR 11-22 20:53:01 [core.py:1150] {raised}\n")
    assert isinstance(log, StartupLog)
    assert log.failure is not None
    assert words in log.failure


@dataclass(frozen=True)
class Failed:
    """An engine that did not start."""

    returncode: int | None
    log: str


async def _failed(environment: EngineEnvironment, words: list[str], folder: Path) -> Failed:
    (port,) = free_ports(1)
    process = real(environment.running, words, folder, port)
    await process.start()
    try:
        async with asyncio.timeout(240):
            while process.is_running:  # noqa: ASYNC110 - a process tells nobody that it ended
                await asyncio.sleep(0.25)
    finally:
        await process.stop()
    return Failed(process.returncode, (folder / "engine.log").read_text(errors="replace"))


PINNED = "--kv-cache-memory-bytes="
FAILING = {"too little memory": [f"{PINNED}1000000"], "all of the machine": ["--gpu-memory-utilization=1.0"]}


@pytest.fixture(scope="module")
def failed(
    engine_environment: EngineEnvironment, pair: TinyPair, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Failed]:
    """Engines that are started with too little, both at once."""
    folders = [tmp_path_factory.mktemp("failed") for _ in FAILING]
    rest = [word for word in arguments("draft", pair) if not word.startswith(PINNED)]

    async def all_of_them() -> list[Failed]:
        starts = zip(FAILING.values(), folders, strict=True)
        return await asyncio.gather(*(_failed(engine_environment, [*rest, *words], folder) for words, folder in starts))

    with one_at_a_time(engine_environment.running):
        return dict(zip(FAILING, asyncio.run(all_of_them()), strict=True))


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        pytest.param(
            "too little memory",
            "To serve at least one request with the model's max seq len (512)",
            id="a cache too small for one request",
        ),
        pytest.param("all of the machine", "less than desired CPU memory utilization (1.0", id="more than is free"),
    ],
)
def test_an_engine_without_memory_ends_and_says_why(failed: Mapping[str, Failed], situation: str, words: str) -> None:
    """The reason, and not the last exception: that says only that the engine's core did not start."""
    found = failed[situation]
    assert found.returncode == 1
    assert "Engine core initialization failed" in found.log
    log = parse_startup_log(found.log)
    assert isinstance(log, StartupLog)
    assert log.failure is not None
    assert words in log.failure
    assert log.version == "0.32.0"
