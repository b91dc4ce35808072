"""Start-up logs: every form of every line, whole logs of releases that differ, and text that is no log."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdecode.api.resource import Problem
from specdecode.engine.startup_log import CompileCache, LoggedSpeculation, StartupLog, parse_startup_log
from specdecode.engine.startup_log.patterns import FAILURES, PATTERNS
from specdecode.engine.startup_log.read import MAX_LOG_CHARACTERS

LOGS = Path(__file__).parents[1] / "data" / "engine" / "logs"
GIB = 1024**3


def read(text: str) -> StartupLog:
    log = parse_startup_log(text)
    assert isinstance(log, StartupLog), str(log)
    return log


def named(name: str) -> StartupLog:
    return read((LOGS / f"{name}.log").read_text())


def gib(size: float) -> int:
    return round(size * GIB)


def in_gib(log: StartupLog) -> dict[str, Any]:
    """What was read, sizes in GiB with two decimals, without what is not there."""
    values = {name: value for name, value in asdict(log).items() if value is not None}
    return {name: round(value / GIB, 2) if name.endswith("_bytes") else value for name, value in values.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "vllm-0.6.0-blocks-only",
            {
                "version": "0.6.0",
                "is_v0": True,
                "model": "meta-llama/Meta-Llama-3-8B-Instruct",
                "dtype": "bfloat16",
                "max_model_len": 8192,
                "max_num_seqs": 256,
                "utilization": "0.9",
                "enforce_eager": False,
                "block_size": 16,
                "weights_bytes": 14.96,
                "num_gpu_blocks": 27895,
            },
            id="0.6.0 prints blocks and no bytes",
        ),
        pytest.param(
            "vllm-0.6.4-profiling-results",
            {
                "total_bytes": 23.58,
                "weights_bytes": 14.25,
                "activation_peak_bytes": 1.43,
                "non_torch_bytes": 0.46,
                "kv_cache_bytes": 5.08,
                "utilization": "0.90",
                "num_gpu_blocks": 5945,
                "max_concurrency": 2.9,
            },
            id="0.6.4 prints the peak of all that PyTorch holds, weights included",
        ),
        pytest.param(
            "vllm-0.7.3-v0-t4",
            {
                "is_v0": True,
                "device": "cuda",
                "dtype": "float16",
                "total_bytes": 14.56,
                "requested_bytes": 7.28,
                "weights_bytes": 2.89,
                "non_torch_bytes": 0.01,
                "activation_peak_bytes": 2.02,
                "kv_cache_bytes": 2.36,
                "graph_bytes": 0.17,
                "num_gpu_blocks": 5519,
                "init_seconds": 52.09,
            },
            id="0.7.3, the V0 profile on three lines",
        ),
        pytest.param(
            "vllm-0.8.5-v0-draft-two-ranks",
            {
                "ranks": 3,
                "tensor_parallel_size": 4,
                "weights_bytes": 35.21,
                "kv_cache_bytes": 35.01,
                "non_torch_bytes": 2.05,
                "activation_peak_bytes": 1.24,
            },
            id="V0 prints target and draft apart; several ranks: least cache, most of the rest",
        ),
        pytest.param(
            "vllm-0.10.2-tp4-l40s",
            {
                "version": "0.10.2",
                "is_v0": False,
                "ranks": 4,
                "free_at_start_bytes": 43.93,
                "total_bytes": 44.42,
                "requested_bytes": 39.98,
                "weights_bytes": 15.28,
                "activation_peak_bytes": 1.47,
                "non_torch_bytes": 0.21,
                "graph_bytes": 2.31,
                "kv_cache_bytes": 22.98,
                "kv_cache_tokens": 376496,
                "compile_seconds": 31.0,
            },
            id="0.10.2 on four ranks; the size in bytes is of another rank than the least",
        ),
        pytest.param(
            "vllm-0.18.0-pinned",
            {
                "kv_cache_bytes": 4.0,
                "kv_cache_rounding_bytes": 0.0,
                "is_kv_cache_pinned": True,
                "kv_cache_dtype": "fp8",
                "kv_cache_tokens": 58240,
                "free_at_start_bytes": 47.0,
                "enforce_eager": True,
            },
            id="a fixed cache is known to the byte, from the arguments",
        ),
        pytest.param(
            "vllm-0.29.0-cold",
            {
                "consumed_bytes": 15.38,
                "activation_peak_bytes": 1.28,
                "graph_bytes": 0.03,
                "graph_estimate_bytes": 0.07,
                "is_graph_estimate_applied": True,
                "kv_cache_bytes": 18.86,
                "kv_cache_tokens": 137360,
                "max_concurrency": 33.54,
                "compile_cache": CompileCache.COLD,
                "compile_seconds": 40.15,
                "max_num_batched_tokens": 4096,
                "utilization": "0.75",
            },
            id="0.29.0 after a cold compilation",
        ),
        pytest.param(
            "vllm-0.29.0-warm-override",
            {
                "compile_cache": CompileCache.WARM,
                "num_gpu_blocks": 8967,
                "num_gpu_blocks_override": 1024,
                "kv_cache_tokens": 16384,
            },
            id="blocks as profiled and as overridden",
        ),
        pytest.param(
            "vllm-0.32.0-cpu-draft",
            {
                "version": "0.32.0",
                "device": "CPU",
                "is_v0": False,
                "kv_cache_rounding_bytes": 0.0,
                "is_kv_cache_pinned": True,
                "weights_bytes": None,
            },
            id="a CPU prints its cache and no weights",
        ),
        pytest.param(
            "vllm-0.20.2-too-long",
            {"kv_cache_bytes": 4.6, "max_model_len": 131072, "version": "0.20.2", "ranks": 1},
            id="colours and times of the cluster in front of the lines",
        ),
    ],
)
def test_a_whole_log(name: str, expected: dict[str, Any]) -> None:
    found = in_gib(named(name))
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vllm-0.27.1-does-not-fit", "No available memory for the cache blocks"),
        ("vllm-0.20.2-too-long", "To serve at least one request with the models's max seq len (131072), (16.0 GiB"),
    ],
)
def test_the_reason_of_a_failure_is_quoted(name: str, words: str) -> None:
    failure = named(name).failure
    assert failure is not None
    assert failure.startswith(words)
    assert len(failure) <= 400


def test_a_log_of_a_good_start_tells_of_no_failure() -> None:
    assert named("vllm-0.29.0-cold").failure is None


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        pytest.param("Loading model weights took 14.9595 GB", "weights_bytes", gib(14.9595), id="weights, GB is GiB"),
        pytest.param("Model loading took 14.9889 GB and 9.1 seconds", "weights_bytes", gib(14.9889), id="0.8.5"),
        pytest.param("Model loading took 15.27 GiB memory and 9.8 seconds", "weights_bytes", gib(15.27), id="0.12 on"),
        pytest.param("Available KV cache memory: -24.42 GiB", "kv_cache_bytes", gib(-24.42), id="a negative cache"),
        pytest.param("GPU KV cache size: 143,872 tokens", "kv_cache_tokens", 143872, id="tokens with commas"),
        pytest.param(
            "CPU KV cache size: 4,096 tokens, Maximum concurrency", "device", "CPU", id="0.33 names the device"
        ),
        pytest.param("GPU + host KV cache size: 96 tokens", "kv_cache_tokens", 96, id="0.33 with a host pool"),
        pytest.param("# CPU blocks: 2048", "num_gpu_blocks", 2048, id="the CPU backend of V0"),
        pytest.param("# cuda blocks: 2356, # CPU blocks: 99", "num_gpu_blocks", 2356, id="0.7 names the platform"),
        pytest.param(
            "initialization after num_gpu_blocks is: 3640", "num_gpu_blocks", 3640, id="V1 prints blocks later"
        ),
        pytest.param("Setting attention block size to 1072 tokens", "block_size", 1072, id="a raised block size"),
        pytest.param("Graph capturing finished in 33 secs, took 3.17 GiB", "graph_bytes", gib(3.17), id="graphs"),
        pytest.param(
            "Graph capturing finished in 33 secs, took -0.45 GiB",
            "graph_bytes",
            gib(-0.45),
            id="graphs that free memory",
        ),
        pytest.param("Estimated CUDA graph memory: 0.55 GiB total", "graph_estimate_bytes", gib(0.55), id="estimate"),
        pytest.param(
            "CUDA graph memory profiling is disabled (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0)",
            "is_graph_estimate_applied",
            False,
            id="an estimate that is not applied",
        ),
        pytest.param("torch.compile takes 12.34 s in total", "compile_seconds", 12.34, id="compiling, until 0.11"),
        pytest.param("torch.compile took 0.27 s in total", "compile_seconds", 0.27, id="compiling, since"),
        pytest.param("Compiling a graph for dynamic shape takes 9 s", "compile_cache", CompileCache.COLD, id="cold"),
        pytest.param("Directly load AOT compilation from path /c", "compile_cache", CompileCache.WARM, id="warm"),
        pytest.param(
            "Explicitly set (1.0/15.63) GiB for KV cache on node 0.",
            "is_kv_cache_pinned",
            True,
            id="a CPU cache that is set",
        ),
        pytest.param(
            "Auto set (1.5/15.63) GiB for KV cache on node 0", "kv_cache_bytes", gib(1.5), id="one that is not"
        ),
        pytest.param(
            "Initial free memory 47.0 GiB, reserved 4.0 GiB memory for KV Cache as",
            "kv_cache_bytes",
            gib(4),
            id="pinned",
        ),
        pytest.param(
            "worker init memory snapshot: (torch_peak=0.0GiB, free_memory=78.57GiB, total_memory=79.18GiB",
            "total_bytes",
            gib(79.18),
            id="the card at level DEBUG",
        ),
        pytest.param(
            "worker requested memory: 71.26GiB", "requested_bytes", gib(71.26), id="the budget at level DEBUG"
        ),
        pytest.param(
            "torch peak memory increase: 4.76GiB; non-torch forward increase memory: 0.13GiB; weights",
            "non_torch_bytes",
            gib(0.13),
            id="the profile at level DEBUG",
        ),
        pytest.param(
            "Chunked prefill is enabled with max_num_batched_tokens=2048.", "max_num_batched_tokens", 2048, id="step"
        ),
        pytest.param(
            "LLM engine (v0.20.0) with config: model='m', device_config=cpu, seed=0",
            "device",
            "CPU",
            id="a CPU, configured",
        ),
        pytest.param("vLLM API server version 0.11.0", "version", "0.11.0", id="the version of the server"),
        pytest.param(
            "▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0", "version", "0.32.0", id="the version beside the logo"
        ),
        pytest.param(
            "Initializing a V1 LLM engine (v0.14.0rc2.dev156+g4a5299c93) with config: model='m'",
            "version",
            "0.14.0rc2.dev156+g4a5299c93",
            id="a version between releases",
        ),
        pytest.param("Initializing an LLM engine (v0.6.3) with config: model='m'", "is_v0", True, id="V0 by its words"),
        pytest.param(
            "model weights take 8.51GiB; non_torch_memory takes 0.26GiB", "is_v0", True, id="V0 by its profile"
        ),
        pytest.param(
            '{"message": "Available KV cache memory: 26.43 GiB", "level": "INFO"}',
            "kv_cache_bytes",
            gib(26.43),
            id="JSON",
        ),
        pytest.param(
            "Free memory on device cuda:0 (9.5/79.18 GiB) on startup is less than desired GPU memory utilization "
            "(0.9, 71.26 GiB). Decrease",
            "free_at_start_bytes",
            gib(9.5),
            id="a card that is taken",
        ),
    ],
)
def test_a_line(line: str, field: str, value: object) -> None:
    assert getattr(read(f"INFO 01-01 00:00:00 [x.py:1] {line}"), field) == value


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 72.00 MiB.",
        "ValueError: The model's max seq len (131072) is larger than the maximum number of tokens that can be stored",
        "RuntimeError: Engine core initialization failed. See root cause above.",
        "AssertionError: Error in memory profiling. Initial free memory 1 GiB",
        "ValueError: Free memory on device (9.5/79.18 GiB) on startup is less than desired GPU memory utilization (0.9",
    ],
)
def test_a_failure_of_another_kind(line: str) -> None:
    failure = read(f"ERROR 01-01 00:00:00 [core.py:1] {line}").failure
    assert failure is not None
    assert failure in line


def test_the_root_cause_is_told_and_not_what_follows_from_it() -> None:
    failure = read("RuntimeError: Engine core initialization failed.\nValueError: CUDA out of memory. Tried").failure
    assert failure is not None
    assert failure.startswith("CUDA out of memory")


def configuration(words: str) -> str:
    return f"Initializing a V1 LLM engine (v0.20.0) with config: model='m/m', {words}, dtype=torch.float16"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(configuration("speculative_config=None"), None, id="no speculation"),
        pytest.param(
            configuration("speculative_config=SpeculativeConfig(method='ngram', model=None, num_spec_tokens=4)"),
            LoggedSpeculation("ngram", None, 4),
            id="ngram of the configuration",
        ),
        pytest.param(
            configuration("speculative_config=SpeculativeConfig(method='eagle3', model='a/b', num_spec_tokens=3)"),
            LoggedSpeculation("eagle3", "a/b", 3),
            id="a head of the configuration",
        ),
        pytest.param(
            configuration("speculative_config=SpeculativeConfig(draft_model='[ngram]', num_spec_tokens=4)"),
            LoggedSpeculation("ngram", None, 4),
            id="ngram before 0.8.2",
        ),
        pytest.param(
            configuration("speculative_config=SpeculativeConfig(draft_model='yuhuili/EAGLE-L3', num_spec_tokens=4)"),
            LoggedSpeculation("eagle", "yuhuili/EAGLE-L3", 4),
            id="a head before 0.8.2, by its name",
        ),
        pytest.param(
            configuration("speculative_config=SpeculativeConfig(draft_model='x/eagle3-8b', num_spec_tokens=x)"),
            LoggedSpeculation("eagle3", "x/eagle3-8b", None),
            id="a count that is none",
        ),
        pytest.param(
            configuration("speculative_config=SpeculativeConfig(draft_model='ibm/medusa-1', num_spec_tokens=4)"),
            LoggedSpeculation("medusa", "ibm/medusa-1", 4),
            id="medusa before 0.8.2",
        ),
        pytest.param(
            "non-default args: {'model': 'm/m', 'speculative_config': {'method': 'draft_model', 'model': 'd/d', "
            "'num_speculative_tokens': 5, 'quantization': 'fp8_per_tensor', 'n': {'a': [1, 2]}}, 'max_num_seqs': 8}",
            LoggedSpeculation("draft_model", "d/d", 5, "fp8_per_tensor", is_from_arguments=True),
            id="a dictionary of the arguments, with one inside",
        ),
        pytest.param(
            """args: Namespace(model='m/m', speculative_config='{"model": "d/d", "num_speculative_tokens": 5}', x=1)""",
            LoggedSpeculation("draft_model", "d/d", 5, is_from_arguments=True),
            id="JSON of the arguments",
        ),
        pytest.param(
            "args: Namespace(model='m/m', speculative_model='d/d', speculative_model_quantization='fp8', "
            "num_speculative_tokens=5)",
            LoggedSpeculation("draft_model", "d/d", 5, "fp8", is_from_arguments=True),
            id="the flags before 0.8.2",
        ),
        pytest.param(
            "args: Namespace(model='m/m', speculative_model=None, num_speculative_tokens=None)", None, id="unset flags"
        ),
        pytest.param(
            "non-default args: {'model': 'm/m', 'speculative_config': {'method': 'ngram', 'x': '" + "{" * 5000,
            LoggedSpeculation("ngram", None, None, is_from_arguments=True),
            id="a dictionary that does not end",
        ),
    ],
)
def test_speculation(text: str, expected: LoggedSpeculation | None) -> None:
    log = read(text)
    assert (log.speculation, log.model) == (expected, "m/m")


def test_the_draft_is_not_taken_for_the_target() -> None:
    log = read("non-default args: {'speculative_config': {'model': 'd/d', 'quantization': 'fp8'}, 'model': \"m/m\"}")
    assert (log.model, log.quantization) == ("m/m", None)


def test_the_configuration_is_believed_before_the_arguments() -> None:
    log = read("args: Namespace(model='a/a', max_model_len=7, max_num_seqs=3)\n" + configuration("max_seq_len=9"))
    assert (log.model, log.max_model_len, log.max_num_seqs, log.dtype) == ("m/m", 9, 3, "float16")


def test_a_second_start_replaces_the_first() -> None:
    first = named("vllm-0.29.0-cold")
    again = read((LOGS / "vllm-0.29.0-cold.log").read_text() + (LOGS / "vllm-0.7.3-v0-t4.log").read_text())
    assert (first.weights_bytes, again.weights_bytes) == (gib(15.27), gib(15.27))
    text = (LOGS / "vllm-0.27.1-does-not-fit.log").read_text()
    restarted = read(text + text.replace("-24.42", "3.5").split("(EngineCore pid=60) ERROR")[0])
    assert (restarted.kv_cache_bytes, restarted.failure) == (gib(3.5), None)


def test_a_restarted_server_replaces_everything() -> None:
    good, bad = ((LOGS / f"{name}.log").read_text() for name in ("vllm-0.10.2-tp4-l40s", "vllm-0.27.1-does-not-fit"))
    log = read(bad + good)
    assert (log.failure, log.model, log.kv_cache_tokens) == (None, "Qwen/Qwen3-32B", 376496)


def test_engines_side_by_side_are_one_start() -> None:
    line = "(EngineCore_DP{n} pid=6{n}) INFO [core.py:1] Initializing a V1 LLM engine (v0.20.0) with config: model='m'"
    size = "(EngineCore_DP{n} pid=6{n}) INFO [gpu_worker.py:1] Available KV cache memory: 1{n}.5 GiB"
    log = read("\n".join(text.format(n=n) for text in (line, size) for n in (0, 1)))
    assert (log.ranks, log.kv_cache_bytes) == (2, gib(10.5))


def test_a_size_in_bytes_is_exact() -> None:
    log = read("Available KV cache memory: 10.64 GiB\nCurrent kv cache memory in use is 11423138508 bytes.")
    assert (log.kv_cache_bytes, log.kv_cache_rounding_bytes) == (11423138508, 0)


def test_the_estimate_of_graphs_follows_from_the_equivalent_utilisation() -> None:
    log = read(
        "Free memory on device (46.0/50.0 GiB) on startup.\nCUDA graph memory profiling is enabled (default)."
        " The current --gpu-memory-utilization=0.8800 is equivalent to --gpu-memory-utilization=0.8600 without"
    )
    assert log.graph_estimate_bytes == pytest.approx(gib(1.0), rel=1e-6)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(StartupLog(version="0.18.1"), True, id="0.18 adds it"),
        pytest.param(StartupLog(version="0.26.0"), False, id="0.19 to 0.26 do not"),
        pytest.param(StartupLog(version="0.29.0", consumed_bytes=1), True, id="0.27 and newer do"),
        pytest.param(
            StartupLog(consumed_bytes=1, is_graph_estimate_applied=False),
            False,
            id="nobody does when it is not applied",
        ),
        pytest.param(StartupLog(), False, id="an unknown release"),
    ],
)
def test_whether_the_peak_holds_the_estimate(log: StartupLog, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert log.peak_includes_graph_estimate is expected


@pytest.mark.parametrize("name", [path.stem for path in LOGS.glob("*.log")])
def test_line_ends_and_order_do_not_matter(name: str) -> None:
    text = (LOGS / f"{name}.log").read_text()
    log = read(text)
    assert read(text.replace("\n", "\r\n")) == log
    assert read("100%|\r" + text.replace("\n", "\n\x00\ufffd garbage \x1b[31m\n")) == log


def test_backwards_is_the_same_start() -> None:
    lines = (LOGS / "vllm-0.29.0-cold.log").read_text().splitlines()
    assert asdict(read("\n".join(reversed(lines)))) == asdict(read("\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "is no start-up log of vLLM", id="nothing"),
        pytest.param(" \n\n", "is no start-up log of vLLM", id="blank lines"),
        pytest.param("# README\nhello", '"Available KV cache memory"', id="another text names what was looked for"),
        pytest.param("Starting with config: a=1, args: b", "is no start-up log of vLLM", id="another program's start"),
        pytest.param("\x00\x01\ufffd" * 1000, "is no start-up log of vLLM", id="a binary file"),
        pytest.param("x" * (MAX_LOG_CHARACTERS + 1), "at most 50 MB", id="a huge file"),
    ],
)
def test_text_that_is_no_log(text: str, words: str) -> None:
    problem = parse_startup_log(text)
    assert isinstance(problem, Problem)
    assert words in problem.message


_FRAGMENTS = st.sampled_from(
    [pattern.anchor for pattern in (*PATTERNS, *FAILURES)]
    + [line for path in LOGS.glob("*.log") for line in path.read_text().splitlines()]
    + [
        "non-default args: {",
        "args: Namespace(",
        "speculative_config={",
        "SpeculativeConfig(",
        "model='",
        "\x1b[1m",
        "²",
        "-",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(_FRAGMENTS, st.text(max_size=40), st.integers().map(str)), max_size=25), st.sampled_from(" \n")
)
def test_it_never_raises(fragments: list[str], separator: str) -> None:
    assert isinstance(parse_startup_log(separator.join(fragments)), StartupLog | Problem)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([path.stem for path in LOGS.glob("*.log")]), min_size=1, max_size=3), st.data())
def test_a_cut_log_never_raises(names: list[str], data: st.DataObject) -> None:
    text = "\n".join((LOGS / f"{name}.log").read_text() for name in names)
    cut = data.draw(st.integers(0, len(text)))
    assert isinstance(parse_startup_log(text[:cut]), StartupLog | Problem)


@pytest.mark.parametrize(
    "unit",
    [
        "(" * 50,
        "9" * 100 + " GiB for peak activation ",
        "# " * 50 + " blocks: ",
        "args: {'model': '" * 5,
        "Free memory on device (" * 4,
        "(Worker_TP0 pid=1) Model loading took 15.27 GiB\n",
        "with config: LLM engine (v1) with config: quantization=",
        "\x1b[" * 40,
        " \n",
    ],
)
def test_time_is_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        start = time.perf_counter()
        parse_startup_log(text)
        return time.perf_counter() - start

    small, large = (min(seconds(size) for _ in range(2)) for size in (250_000, 2_000_000))
    # Eight times the text; quadratic time would be 64 times as long.
    assert large < 24 * small + 0.2
