"""A plan against a start: every release's prints, what is off, and why."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import ABSENT, GIB, resource
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.resource import Rejection
from specdecode.api.vocabulary import Mode
from specdecode.engine.startup_log import CompileCache, LoggedSpeculation, StartupLog, parse_startup_log
from specdecode.plan.log.compare import ComparedLine, Comparison, Unit, compare, mode_of_log
from specdecode.plan.make import make_plan
from specdecode.plan.titles import title
from specdecode.plan.types import LedgerLine, ModePlan, Plan

LOGS = Path(__file__).parents[2] / "data" / "engine" / "logs"


def logged(name: str) -> StartupLog:
    log = parse_startup_log((LOGS / f"{name}.log").read_text())
    assert isinstance(log, StartupLog)
    return log


def planned(**overrides: Any) -> Plan:
    """Qwen3-8B without speculation on a card of 47.37 GiB, as the logs of 0.29.0 are."""
    spec = {
        "spec.model": {"name": "Qwen/Qwen3-8B"},
        "spec.engine": {
            "image": "vllm/vllm-openai:v0.29.0",
            "maxModelLen": 4096,
            "maxNumSeqs": 8,
            "maxNumBatchedTokens": 4096,
            "gpuMemoryUtilization": "0.75",
        },
        "spec.accelerator": {"product": "lab", "memory": str(int(47.37 * GIB)), "count": 1},
        "spec.speculation": ABSENT,
    }
    plan = make_plan(resource(**spec | overrides))
    assert not isinstance(plan, Rejection), str(plan)
    return plan


CAPACITY = ("tokens", "tokensInMeasuredKvCache", "requests")

NGRAM = {"spec.engine.enforceEager": True, "spec.speculation": {"method": "ngram", "numSpeculativeTokens": 4}}
L40S = {
    "spec.model.name": "Qwen/Qwen3-32B",
    "spec.engine": {
        "image": "vllm/vllm-openai:v0.10.2",
        "maxModelLen": 32768,
        "maxNumSeqs": 256,
        "gpuMemoryUtilization": "0.9",
    },
    "spec.accelerator": {"product": "NVIDIA-L40S", "count": 4},
}


def run(name: str, **overrides: Any) -> Comparison:
    plan, log = planned(**overrides), logged(name)
    mode = plan.mode(mode_of_log(plan, log) or plan.requested_mode)
    assert mode is not None
    return compare(plan, mode, log)


def line(comparison: Comparison, name: str) -> ComparedLine:
    return next(line for line in comparison.lines if line.name == name)


def names(comparison: Comparison) -> list[str]:
    return [line.name for line in comparison.lines]


@pytest.mark.parametrize(
    ("name", "overrides", "mode", "expected"),
    [
        pytest.param(
            "vllm-0.29.0-cold",
            {},
            Mode.OFF,
            ["budget", "weights", "activationPeak", "cudaGraphs", "nonTorch", "kvCache", *CAPACITY],
            id="0.29.0: consumed and the estimate inside the peak are told apart",
        ),
        pytest.param(
            "vllm-0.29.0-eager-ngram",
            NGRAM,
            Mode.NGRAM,
            ["budget", "weights", "activationPeak", "nonTorch", "kvCache", *CAPACITY],
            id="0.29.0 without graphs",
        ),
        pytest.param(
            "vllm-0.29.0-warm-override",
            {},
            Mode.OFF,
            ["budget", "weights", "activationPeak", "cudaGraphs", "nonTorch", "kvCache"],
            id="overridden blocks say nothing of tokens",
        ),
        pytest.param(
            "vllm-0.10.2-tp4-l40s",
            L40S,
            Mode.OFF,
            [
                "budget",
                "weights",
                "activationPeak",
                "nonTorch",
                "kvCache",
                "tokens",
                "tokensInMeasuredKvCache",
                "requests",
            ],
            id="0.10.2 on four cards: graphs are outside the budget",
        ),
        pytest.param(
            "vllm-0.18.0-pinned",
            {
                "spec.engine.image": "vllm/vllm-openai:v0.18.0",
                "spec.engine.kvCacheDtype": "fp8",
                "spec.engine.enforceEager": True,
            },
            Mode.OFF,
            ["weights", "tokensInMeasuredKvCache"],
            id="a fixed cache: only what a token takes",
        ),
    ],
)
def test_what_a_release_prints_is_inside_the_band(
    name: str, overrides: dict[str, Any], mode: Mode, expected: list[str]
) -> None:
    comparison = run(name, **overrides)
    assert (comparison.mode, names(comparison)) == (mode, expected)
    assert [line.name for line in comparison.lines if not line.is_inside] == []
    assert comparison.term_off is None


@pytest.mark.parametrize(
    ("size", "cache_dtype", "tokens"),
    [
        # Printed by vLLM 0.18.0 and 0.29.0 on one card, with --kv-cache-memory-bytes 4294967296.
        pytest.param(4294967296, "fp8", 58240, id="fp8 in 4 GiB: 3640 blocks"),
        pytest.param(4294967296, "auto", 29120, id="16 bit in 4 GiB"),
        pytest.param(0, "auto", 0, id="nothing"),
        pytest.param(-GIB, "auto", 0, id="less than nothing"),
    ],
)
def test_the_tokens_of_a_measured_cache_are_exact(size: int, cache_dtype: str, tokens: int) -> None:
    plan = planned(**{"spec.engine.kvCacheDtype": cache_dtype})
    log = StartupLog(version="0.29.0", kv_cache_bytes=size, kv_cache_tokens=tokens)
    found = line(compare(plan, plan.requested, log), "tokensInMeasuredKvCache")
    assert (found.planned, found.low, found.high, found.is_inside) == (tokens, tokens, tokens, True)


@pytest.mark.parametrize(
    ("version", "tokens"),
    [
        pytest.param("0.20.2", 29120, id="until 0.20: blocks x block size"),
        # 1820 blocks hold 28.89 requests of 1000 tokens in 63 blocks each.
        pytest.param("0.21.0", 28888, id="since 0.21: requests x length, less for a length between blocks"),
        pytest.param(None, 28888, id="an unknown version is a new one"),
        pytest.param("1.0.0", 28888, id="and so is the next major one"),
    ],
)
def test_the_size_line_means_another_thing_since_0_21(version: str | None, tokens: int) -> None:
    plan = planned(**{"spec.engine.maxModelLen": 1000})
    log = StartupLog(version=version, kv_cache_bytes=4 * GIB, kv_cache_tokens=tokens, max_model_len=1000)
    assert line(compare(plan, plan.requested, log), "tokensInMeasuredKvCache").planned == tokens


@pytest.mark.parametrize(
    ("changes", "block"),
    [
        pytest.param({"block_size": 32}, 32, id="as printed"),
        pytest.param({"num_gpu_blocks": 910}, 32, id="as tokens and blocks say"),
        pytest.param({"device": "CPU"}, 128, id="the default of the CPU backend"),
        pytest.param({"num_gpu_blocks": 911}, 16, id="blocks that are of something else"),
    ],
)
def test_blocks_of_another_size(changes: dict[str, Any], block: int) -> None:
    plan = planned()
    # Room for a few tokens more than whole blocks of any size.
    size = plan.requested.bytes_per_token * 29_135
    log = StartupLog(version="0.20.0", kv_cache_bytes=size, kv_cache_tokens=29_120, **changes)
    assert line(compare(plan, plan.requested, log), "tokensInMeasuredKvCache").planned == 29_135 // block * block


def test_a_window_scales_with_the_planned_tokens() -> None:
    rung = replace(planned().requested, kv_cache_bytes_per_gpu=100 * 1000, bytes_per_block=1000, kv_cache_tokens=5000)
    log = StartupLog(version="0.29.0", kv_cache_bytes=50 * 1000, kv_cache_tokens=2500)
    assert line(compare(planned(), rung, log), "tokensInMeasuredKvCache").planned == 2500
    none = replace(rung, kv_cache_tokens=0)
    assert names(compare(planned(), none, log)) == ["kvCache"]


def changed(**changes: Any) -> StartupLog:
    return replace(logged("vllm-0.29.0-cold"), **changes)


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        pytest.param(
            {"activation_peak_bytes": int(3.2 * GIB)},
            ["activation peak: planned", "measured 3.13 GiB", "torch.compile cache was cold (40 s)"],
            id="a cold compilation took more",
        ),
        pytest.param(
            {"activation_peak_bytes": int(3.2 * GIB), "compile_seconds": None},
            ["activation peak", "torch.compile cache was cold, and"],
            id="a cold compilation of unknown length",
        ),
        pytest.param(
            {"activation_peak_bytes": int(0.1 * GIB), "compile_cache": CompileCache.WARM},
            ["activation peak", "cache was warm"],
            id="a warm compilation took less",
        ),
        pytest.param(
            {"activation_peak_bytes": int(3.2 * GIB), "compile_cache": None},
            ["activation peak", "maxNumBatchedTokens and maxNumSeqs"],
            id="a peak that compiling does not explain",
        ),
        pytest.param(
            {"graph_estimate_bytes": None, "activation_peak_bytes": 5 * GIB},
            ["activations and CUDA graphs: planned", "measured 5.00 GiB"],
            id="a peak that holds an estimate nobody printed",
        ),
        pytest.param(
            {"graph_estimate_bytes": GIB, "activation_peak_bytes": int(2.2 * GIB)},
            ["CUDA graphs: planned 0.07 GiB (0.04 GiB to 0.14 GiB), measured 1.00 GiB", "really took 0.03 GiB"],
            id="a larger estimate of the graphs",
        ),
        pytest.param(
            {"graph_estimate_bytes": GIB, "activation_peak_bytes": int(2.2 * GIB), "graph_bytes": None},
            ["CUDA graphs", "from two samples; fewer"],
            id="a larger estimate that nothing followed",
        ),
        pytest.param(
            {"weights_bytes": 8 * GIB, "consumed_bytes": int(8.11 * GIB), "quantization": "fp8"},
            ["weights: planned 15.27 GiB", "measured 8.00 GiB", "loaded Qwen/Qwen3-8B as fp8"],
            id="other weights",
        ),
        pytest.param(
            {"weights_bytes": 8 * GIB, "consumed_bytes": None, "model": None, "kv_cache_bytes": None},
            ["weights", "loaded its model; check"],
            id="other weights of a model without a name",
        ),
        pytest.param(
            {"requested_bytes": 40 * GIB},
            ["budget of the engine", "the engine took 0.75 of 47.37 GiB"],
            id="another budget",
        ),
        pytest.param(
            {"requested_bytes": 40 * GIB, "total_bytes": None, "utilization": None},
            ["the engine took a share of a card"],
            id="another budget of unknown parts",
        ),
        pytest.param(
            {"consumed_bytes": int(16.54 * GIB)},
            ["outside PyTorch", "measured 1.27 GiB", "what its benchmarks allocated"],
            id="a cold compilation that was still held",
        ),
        pytest.param(
            {"consumed_bytes": 20 * GIB, "free_at_start_bytes": 40 * GIB, "compile_cache": None},
            ["outside PyTorch", "7.37 GiB of the card was taken when the engine started"],
            id="another process on the card",
        ),
        pytest.param(
            {"consumed_bytes": 20 * GIB, "compile_cache": None},
            ["outside PyTorch", "differ by interconnect"],
            id="communication",
        ),
        pytest.param(
            {"consumed_bytes": None, "non_torch_bytes": 2 * GIB, "total_bytes": None, "compile_cache": None},
            ["outside PyTorch: planned", "measured 2.00 GiB"],
            id="as releases before 0.27 print it",
        ),
        pytest.param(
            {"kv_cache_tokens": 90_000},
            ["tokens in that KV cache: planned 137,328 tokens", "check kvCacheDtype and the dimensions"],
            id="another size of a token",
        ),
        pytest.param(
            {"kv_cache_tokens": 90_000, "num_gpu_blocks": 5625},
            ["tokens in that KV cache", "the engine has 5625 blocks"],
            id="another size of a token, with blocks",
        ),
        pytest.param(
            {"kv_cache_bytes": 10 * GIB, "kv_cache_tokens": None},
            ["KV cache: planned", "measured 10.00 GiB", "the rest is in what this release does not print"],
            id="a cache that the terms do not explain",
        ),
        pytest.param(
            {"kv_cache_bytes": None, "kv_cache_tokens": 90_000},
            ["tokens in the KV cache: planned", "measured 90,000 tokens"],
            id="tokens alone",
        ),
    ],
)
def test_the_term_that_is_off_is_named_with_a_reason(changes: dict[str, Any], sentences: list[str]) -> None:
    plan = planned()
    told = compare(plan, plan.requested, changed(**changes)).term_off
    assert told is not None
    for sentence in sentences:
        assert sentence in told


QUIET = {
    "requested_bytes": None,
    "consumed_bytes": None,
    "activation_peak_bytes": None,
    "graph_estimate_bytes": None,
    "is_graph_estimate_applied": None,
}
"""What releases before 0.26 print at level INFO: weights, cache, tokens."""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, "torch.compile cache was cold", id="a cold compilation"),
        pytest.param(
            {"kv_cache_bytes": 20 * GIB, "compile_cache": CompileCache.WARM}, "cache was warm", id="a warm one"
        ),
        pytest.param({"compile_cache": None}, "the utilisation may not be the planned ones", id="no budget either"),
        pytest.param(
            {"compile_cache": None, "requested_bytes": int(35.53 * GIB)}, ": this release prints", id="with a budget"
        ),
    ],
)
def test_a_log_that_prints_little_is_compared_as_a_whole(changes: dict[str, Any], reason: str) -> None:
    plan = planned()
    log = changed(**QUIET | {"kv_cache_bytes": 12 * GIB} | changes)
    comparison = compare(plan, plan.requested, log)
    found = line(comparison, "besideWeights")
    budget = log.requested_bytes or next(line.bytes for line in plan.requested.ledger if line.name == "budget")
    assert found.measured == budget - (log.weights_bytes or 0) - (log.kv_cache_bytes or 0)
    assert comparison.term_off is not None
    assert comparison.term_off.startswith("all beside the weights")
    assert reason in comparison.term_off


def test_what_is_as_planned_as_a_whole_is_inside() -> None:
    plan = planned()
    comparison = compare(plan, plan.requested, changed(**QUIET))
    assert "besideWeights" in names(comparison)
    assert comparison.term_off is None


@pytest.mark.parametrize("version", ["0.20.2", "0.23.0"])
def test_an_estimate_that_the_plan_counts_is_taken_as_applied(version: str) -> None:
    plan = planned(**{"spec.engine.image": f"vllm/vllm-openai:v{version}", "spec.model.name": "Qwen/Qwen3-32B"})
    log = StartupLog(version=version, activation_peak_bytes=GIB, graph_estimate_bytes=GIB // 10)
    graphs = next(line for line in plan.requested.ledger if line.name == "cudaGraphs")
    shown = names(compare(plan, plan.requested, log))
    assert ("cudaGraphs" in shown) == (graphs.bytes != 0)
    assert line(compare(plan, plan.requested, log), "activationPeak").measured == GIB


def test_an_estimate_that_is_not_applied_is_not_compared() -> None:
    plan = planned()
    log = changed(is_graph_estimate_applied=False)
    comparison = compare(plan, plan.requested, log)
    assert "cudaGraphs" not in names(comparison)
    assert line(comparison, "activationPeak").measured == log.activation_peak_bytes


def test_blocks_stand_for_bytes_and_tokens_in_the_first_releases() -> None:
    plan = planned()
    blocks = plan.requested.kv_cache_bytes_per_gpu // plan.requested.bytes_per_block
    log = StartupLog(version="0.6.0", is_v0=True, num_gpu_blocks=blocks, weights_bytes=int(15.27 * GIB))
    comparison = compare(plan, plan.requested, log)
    assert names(comparison) == ["weights", "kvCache", "tokens"]
    assert line(comparison, "kvCache").measured == blocks * plan.requested.bytes_per_block
    assert (line(comparison, "tokens").measured, comparison.term_off) == (blocks * 16, None)


def test_a_cpu_is_compared_by_weights_and_tokens_alone() -> None:
    log = changed(device="CPU", kv_cache_bytes=4294967296, kv_cache_rounding_bytes=0, kv_cache_tokens=29056)
    comparison = compare(planned(), planned().requested, log)
    assert names(comparison) == ["weights", "tokensInMeasuredKvCache"]
    assert comparison.term_off is None
    assert any("CPU" in note for note in comparison.notes)


def test_a_real_engine_on_a_cpu_has_the_planned_tokens() -> None:
    log = logged("vllm-0.32.0-cpu-draft")
    assert log.speculation is not None
    facts = {
        "architecture": "LlamaForCausalLM",
        "hiddenSize": 256,
        "numAttentionHeads": 4,
        "numKeyValueHeads": 2,
        "headDim": 64,
        "vocabSize": 1024,
        "weightBytes": "2Mi",
    }
    draft = {"name": log.speculation.model, "facts": facts | {"numHiddenLayers": 1}}
    plan = planned(
        **{
            "spec.model": {"name": log.model, "facts": facts | {"numHiddenLayers": 6}},
            "spec.engine": {"image": "vllm/vllm-openai:v0.32.0", "maxModelLen": log.max_model_len},
            "spec.speculation": {"method": "draft_model", "numSpeculativeTokens": 3, "draft": draft},
            "spec.cache": {"claimName": "models"},
        }
    )
    mode = plan.mode(mode_of_log(plan, log) or Mode.OFF)
    assert mode is plan.requested
    tokens = line(compare(plan, mode, log), "tokensInMeasuredKvCache")
    assert tokens.planned == tokens.low == tokens.high == tokens.measured > 0


def test_a_mode_that_does_not_fit_is_compared_by_its_terms() -> None:
    plan = planned(**{"spec.accelerator.memory": "20Gi"})
    comparison = compare(plan, plan.requested, logged("vllm-0.27.1-does-not-fit"))
    assert not plan.requested.fits
    assert names(comparison) == ["weights", "besideWeights", "kvCache"]
    assert comparison.failure is not None
    assert "No available memory" in comparison.failure


def test_requests_of_another_length_are_not_compared() -> None:
    plan = planned(**{"spec.engine.maxModelLen": 8192})
    comparison = compare(plan, plan.requested, logged("vllm-0.29.0-cold"))
    assert "requests" not in names(comparison)
    assert "--max-model-len: the plan has 8192, the log 4096" in comparison.notes


def test_a_plan_without_a_length_is_compared() -> None:
    rung = replace(planned().requested, arguments=())
    assert "requests" not in names(compare(planned(), rung, logged("vllm-0.29.0-cold")))


@pytest.mark.parametrize(
    ("changes", "overrides", "notes"),
    [
        pytest.param({}, {}, (), id="the same"),
        pytest.param({"utilization": "0.750"}, {}, (), id="the same number, written otherwise"),
        pytest.param({"version": "0.29.0+cu130"}, {}, (), id="the same release, built otherwise"),
        pytest.param(
            {"version": "0.27.1"}, {}, ("the plan is for vLLM 0.29.0, the log is of 0.27.1",), id="another release"
        ),
        pytest.param(
            {"model": "a/b", "max_num_seqs": 256},
            {},
            (
                "--model: the plan has Qwen/Qwen3-8B, the log a/b",
                "--max-num-seqs: the plan has 8, the log 256",
            ),
            id="another model and limit",
        ),
        pytest.param(
            {"num_gpu_blocks_override": 7, "num_gpu_blocks": None},
            {},
            ("--num-gpu-blocks-override gave the engine 7 blocks; its tokens are not compared",),
            id="blocks that were set",
        ),
        pytest.param(
            {},
            {"spec.engine.pinKvCache": True},
            ("the plan fixes the KV cache with --kv-cache-memory-bytes, the other does not; its size is not compared",),
            id="only the plan fixes the cache",
        ),
        pytest.param(
            {"pipeline_parallel_size": 2}, {}, ("the engine ran 2 pipeline stages; a plan is for one",), id="stages"
        ),
    ],
)
def test_what_is_not_the_same_is_noted(
    changes: dict[str, Any], overrides: dict[str, Any], notes: tuple[str, ...]
) -> None:
    plan = planned(**overrides)
    assert compare(plan, plan.requested, changed(**changes)).notes == notes


def speculating(method: str, **changes: Any) -> StartupLog:
    model = None if method == "ngram" else "d/d"
    return StartupLog(has_configuration=True, speculation=LoggedSpeculation(method, model, 5, **changes))


DRAFT_LADDER = {"spec.speculation.fallbacks": ["Draft", "NGram"]}


@pytest.mark.parametrize(
    ("log", "mode"),
    [
        pytest.param(StartupLog(), None, id="an excerpt says nothing"),
        pytest.param(StartupLog(has_configuration=True), Mode.OFF, id="a configuration without speculation"),
        pytest.param(speculating("ngram"), Mode.NGRAM, id="ngram"),
        pytest.param(speculating("draft_model", quantization="fp8"), Mode.QUANTIZED_DRAFT, id="a quantised draft"),
        pytest.param(
            speculating("draft_model", is_from_arguments=True), Mode.DRAFT, id="arguments without a quantisation"
        ),
        pytest.param(speculating("draft_model"), Mode.QUANTIZED_DRAFT, id="a configuration does not say: as requested"),
    ],
)
def test_the_mode_is_the_logs(log: StartupLog, mode: Mode | None) -> None:
    plan = make_plan(resource())
    assert not isinstance(plan, Rejection)
    assert mode_of_log(plan, log) is mode


def test_a_mode_that_is_not_on_the_ladder_is_none() -> None:
    assert mode_of_log(planned(), speculating("eagle3")) is None


def _line(name: str, size: int, spread: int) -> LedgerLine:
    return LedgerLine(name, size, size - spread, size + spread, "made up")


@given(
    weights=st.integers(1, 80 * GIB),
    peak=st.integers(0, 9 * GIB),
    spread=st.integers(0, GIB),
    error=st.integers(-GIB, GIB),
)
def test_a_number_is_off_exactly_when_it_is_outside_its_band(weights: int, peak: int, spread: int, error: int) -> None:
    ledger = (_line("targetWeights", -weights, spread), _line("activationPeak", -peak, spread))
    rung: ModePlan = replace(planned_rung(), ledger=ledger)
    log = StartupLog(weights_bytes=weights + error, activation_peak_bytes=peak)
    comparison = compare(planned_plan(), rung, log)
    is_off = abs(error) > spread + int(0.01 * GIB)
    assert line(comparison, "weights").is_inside is not is_off
    assert line(comparison, "weights").difference == error
    assert (comparison.term_off is not None) is is_off


_PLAN = planned()


def planned_plan() -> Plan:
    return _PLAN


def planned_rung() -> ModePlan:
    return _PLAN.requested


def test_every_line_has_words_of_its_own() -> None:
    for name in {entry.name for entry in planned_rung().ledger} - {
        "memory",
        "quotedWeights",
        "left",
        "total",
        "budgetTaken",
    }:
        assert title(name) != name
    assert title("somethingNew") == "somethingNew"
    assert Unit.BYTES == "bytes"
