"""A resource from nothing but a log: what is read, what is assumed, and what cannot be done without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import GIB

from specdecode.api.resource import Rejection, SpecDecodeDeployment, parse
from specdecode.api.vocabulary import Mode
from specdecode.engine.startup_log import LoggedSpeculation, StartupLog, parse_startup_log
from specdecode.plan.log.resource import Reconstructed, resource_of

LOGS = Path(__file__).parents[2] / "data" / "engine" / "logs"

GOOD = StartupLog(
    version="0.29.0",
    model="Qwen/Qwen3-8B",
    max_model_len=4096,
    max_num_seqs=8,
    max_num_batched_tokens=4096,
    utilization="0.75",
    total_bytes=int(47.37 * GIB),
)


def made(log: StartupLog) -> Reconstructed:
    result = resource_of(log)
    assert isinstance(result, Reconstructed), str(result)
    return result


def resource(log: StartupLog) -> SpecDecodeDeployment:
    parsed = parse(made(log).body)
    assert not isinstance(parsed, Rejection), str(parsed)
    return parsed


def test_a_log_with_everything_needs_no_assumption() -> None:
    log = parse_startup_log((LOGS / "vllm-0.29.0-eager-ngram.log").read_text())
    assert isinstance(log, StartupLog)
    spec = resource(log).spec
    assert made(log).assumptions == ()
    assert (spec.model.name, spec.engine.image, spec.engine.max_model_len) == (
        "Qwen/Qwen3-8B",
        "vllm/vllm-openai:v0.29.0",
        4096,
    )
    assert (spec.engine.max_num_seqs, spec.engine.max_num_batched_tokens) == (8, 4096)
    assert (spec.engine.gpu_memory_utilization, spec.engine.enforce_eager) == ("0.75", True)
    assert (spec.accelerator.memory, spec.accelerator.count) == (str(log.total_bytes), 1)
    assert resource(log).requested_mode is Mode.NGRAM


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        pytest.param({}, (256, 2048, "0.92"), id="a small card"),
        pytest.param({"version": "0.19.1"}, (256, 2048, "0.90"), id="the utilisation before 0.20"),
        pytest.param({"total_bytes": int(79.18 * GIB)}, (1024, 8192, "0.92"), id="an H100"),
        pytest.param({"total_bytes": int(79.15 * GIB)}, (256, 2048, "0.92"), id="an A100 of the same size"),
        pytest.param({"total_bytes": int(267.69 * GIB)}, (1024, 16384, "0.92"), id="a B300"),
        pytest.param(
            {"total_bytes": int(267.69 * GIB), "version": "0.27.1"}, (1024, 8192, "0.92"), id="a B300 before 0.28"
        ),
        pytest.param({"is_v0": True, "version": "0.7.3"}, (256, 4096, "0.90"), id="V0 takes the longest request"),
        pytest.param(
            {"is_v0": True, "version": "0.7.3", "max_model_len": 512}, (256, 2048, "0.90"), id="V0, at least 2048"
        ),
    ],
)
def test_limits_that_were_left_to_vllm_are_its_defaults_and_named(
    changes: dict[str, Any], limits: tuple[int, int, str]
) -> None:
    silent = replace(GOOD, max_num_seqs=None, max_num_batched_tokens=None, utilization=None)
    result = made(replace(silent, **changes))
    engine = result.body["spec"]["engine"]
    assert (engine["maxNumSeqs"], engine["maxNumBatchedTokens"], engine["gpuMemoryUtilization"]) == limits
    assert [said.split(" is taken as ")[0] for said in result.assumptions] == [
        "maxNumSeqs",
        "maxNumBatchedTokens",
        "gpuMemoryUtilization",
    ]
    assert f"is taken as {limits[0]}, the default of vLLM" in result.assumptions[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"model": None}, "does not name the model", id="no model"),
        pytest.param({"version": None}, "does not name the version of vLLM", id="no version"),
        pytest.param({"version": "dev"}, "does not name the version of vLLM", id="a version that is none"),
        pytest.param({"max_model_len": None}, "does not name the longest request", id="no length"),
        pytest.param({"total_bytes": None}, "does not say how much memory the GPU has", id="no card"),
        pytest.param({"device": "CPU"}, "a plan is for GPUs", id="a CPU"),
    ],
)
def test_what_is_missing_is_told_with_the_way_out(changes: dict[str, Any], words: str) -> None:
    result = resource_of(replace(GOOD, **changes))
    assert isinstance(result, Rejection)
    assert [problem.message for problem in result.problems if words in problem.message]
    assert all("--file" in problem.message for problem in result.problems)


def test_everything_that_is_missing_is_told_at_once() -> None:
    result = resource_of(StartupLog(version="0.29.0"))
    assert isinstance(result, Rejection)
    assert len(result.problems) == 3


@pytest.mark.parametrize(
    ("changes", "path", "value"),
    [
        pytest.param({"dtype": "float16"}, "model.dtype", "float16", id="16 bit of another kind"),
        pytest.param({"dtype": "float32"}, "model.dtype", None, id="a type that is not planned"),
        pytest.param({"quantization": "awq_marlin"}, "model.quantization", "awq_marlin", id="a quantisation"),
        pytest.param({"revision": "abc"}, "model.revision", "abc", id="a revision"),
        pytest.param({"kv_cache_dtype": "fp8_e5m2"}, "engine.kvCacheDtype", "fp8_e5m2", id="a cache of 8 bit"),
        pytest.param({"kv_cache_dtype": "fp8_ds_mla"}, "engine.kvCacheDtype", None, id="a cache that is not planned"),
        pytest.param({"version": "0.14.0rc2.dev1+g4a"}, "engine.image", "vllm/vllm-openai:v0.14.0", id="a build"),
        pytest.param({"tensor_parallel_size": 4}, "accelerator.count", 4, id="four cards"),
        pytest.param({"total_bytes": int(79.18 * GIB)}, "accelerator.product", "NVIDIA-H100-80GB-HBM3", id="a product"),
        pytest.param({}, "accelerator.product", "unknown", id="memory of no known product"),
        pytest.param({"model": "/models/own"}, "cache.claimName", "models", id="a path below the cache"),
        pytest.param({"is_kv_cache_pinned": True}, "engine.pinKvCache", True, id="a fixed cache"),
    ],
)
def test_a_field(changes: dict[str, Any], path: str, value: object) -> None:
    spec = made(replace(GOOD, **changes)).body["spec"]
    parent, _, name = path.partition(".")
    assert spec.get(parent, {}).get(name) == value


@pytest.mark.parametrize(
    ("speculation", "block"),
    [
        pytest.param(
            LoggedSpeculation("draft_model", "d/d", 5, "fp8_per_tensor"),
            {
                "method": "draft_model",
                "numSpeculativeTokens": 5,
                "draft": {"name": "d/d", "quantization": "fp8_per_tensor"},
            },
            id="a quantised draft",
        ),
        pytest.param(
            LoggedSpeculation("eagle3", "d/d", None),
            {"method": "eagle3", "numSpeculativeTokens": 1, "draft": {"name": "d/d"}},
            id="a head of unknown length",
        ),
        pytest.param(
            LoggedSpeculation("mtp", "m/m", 3), {"method": "mtp", "numSpeculativeTokens": 3}, id="a head of the target"
        ),
    ],
)
def test_speculation(speculation: LoggedSpeculation, block: dict[str, Any]) -> None:
    assert made(replace(GOOD, speculation=speculation)).body["spec"]["speculation"] == block
