"""The simulated engine against the real one: command line, metrics, and the arithmetic that stands for the GPU."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rehearsal.engine.arguments import EngineArguments, parse_arguments
from rehearsal.engine.behaviour import CHECK_SECONDS, Behaviour, BehaviourFile, DraftKind, write_behaviour
from rehearsal.engine.cache import kv_cache_tokens
from rehearsal.engine.metrics import EngineMetrics, bounds_up_to
from rehearsal.engine.model import Step, accepted_tokens, log_acceptance, step_seconds
from rehearsal.engine.speculation import ConfigError
from specdecode.api.resource import Rejection, parse
from specdecode.plan.make import make_plan

DATA = Path(__file__).parents[1] / "data"
CAPTURES = sorted((DATA / "engine").glob("*.prom"))
PLANS = sorted((DATA / "plan").iterdir())

DRAFT = {"method": "draft_model", "model": "d", "num_speculative_tokens": 3}
CAPTURED = ("--model=tiny", "--max-model-len=512", f"--speculative-config={json.dumps(DRAFT)}")
"""As the engine of the captures was started."""


def _speculative(**changes: object) -> str:
    keys = {key: value for key, value in (DRAFT | changes).items() if value is not None}
    return f"--speculative-config={json.dumps(keys)}"


# Command line


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--model=m", "--max-num-seqs=64"], id="joined by an equals sign"),
        pytest.param(["--model", "m", "--max-num-seqs", "64"], id="two words"),
        pytest.param(["m", "--max-num-seqs=64"], id="the model as positional argument"),
        pytest.param(["m", "--max-num-se=64"], id="an abbreviation that can mean one argument only"),
        pytest.param(["m", "--max-num-seqs=64", "--served-model-name=m", "--tensor-parallel-size=1"], id="long forms"),
        pytest.param(["m", "--max-num-seqs=64", "-tp", "1"], id="a short form"),
        pytest.param(["m", "--max-num-seqs=64", "--no-enable-prefix-caching"], id="a switch that is turned off"),
    ],
)
def test_accepted_forms(words: list[str]) -> None:
    arguments = parse_arguments(words)
    assert (arguments.model, arguments.served_model_name, arguments.max_num_seqs) == ("m", "m", 64)
    assert arguments.draft_kind is DraftKind.OFF


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["m", "--foo"], "unrecognized arguments: --foo", id="an unknown argument"),
        pytest.param(["m", "--num-speculative-tokens=3"], "unrecognized arguments", id="a flag that 0.8.3 removed"),
        pytest.param(["m", "--enable-p"], "ambiguous option", id="an abbreviation with two meanings"),
        pytest.param(["m", "--seed=1", "--seed=1"], "given more than once", id="twice"),
        pytest.param(["m", "--model=n"], "named twice", id="two models"),
        pytest.param(["m", "--max-num-seqs=many"], "invalid int value: 'many'", id="a word for a number"),
        pytest.param(["m", "--max-model-len=8x"], "Invalid integer value: 8x", id="an unknown suffix"),
        pytest.param(["m", "--dtype=fp4"], "invalid choice: 'fp4'", id="not among the choices"),
        pytest.param(["m", "--speculative-config={"], "cannot be converted", id="broken JSON"),
    ],
)
def test_a_command_line_that_the_parser_refuses(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(words)
    assert caught.value.code == 2
    output = capsys.readouterr().err
    assert "vllm serve: error: " in output
    assert message in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([_speculative(foo=1)], "Unexpected keyword argument", id="an unknown key"),
        pytest.param([_speculative(disable_by_batch_size=8)], "Unexpected keyword", id="a key that 0.17 removed"),
        pytest.param([_speculative(method="magic")], "Input should be one of", id="an unknown method"),
        pytest.param([_speculative(model=None)], "without speculative model", id="a draft without a model"),
        pytest.param([_speculative(num_speculative_tokens=None)], "was not provided", id="no number of tokens"),
        pytest.param([_speculative(num_speculative_tokens=0)], "greater than 0", id="no token"),
        pytest.param(
            [_speculative(tensor_parallel_size=1)], "is not a valid argument", id="the wrong name of the size"
        ),
        pytest.param(
            ["--tensor-parallel-size=4", _speculative(draft_tensor_parallel_size=2)],
            "cannot be other value than 1",
            id="a draft on some of the GPUs",
        ),
        pytest.param(
            [_speculative(quantization="bitsandbytes")], "Unknown quantization", id="quantisation that is gone"
        ),
        pytest.param(["--spec-tokens=3", _speculative()], "both set", id="a shortcut beside the JSON"),
        pytest.param(["--gpu-memory-utilization=1.2"], "must be less than 1.0", id="more memory than there is"),
    ],
)
def test_a_configuration_that_the_engine_refuses(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_arguments(["m", *words])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({}, DraftKind.DRAFT, id="a draft model"),
        pytest.param({"quantization": "fp8"}, DraftKind.QUANTIZED_DRAFT, id="a draft model that is quantised"),
        pytest.param({"method": "ngram", "model": None}, DraftKind.NGRAM, id="n-gram needs no model"),
        pytest.param({"method": "eagle3"}, DraftKind.EAGLE, id="a head"),
        pytest.param({"draft_tensor_parallel_size": 1}, DraftKind.DRAFT, id="a draft on one GPU"),
    ],
)
def test_the_kind_of_draft_follows_from_the_command_line(changes: dict[str, object], kind: DraftKind) -> None:
    assert parse_arguments(["m", _speculative(**changes)]).draft_kind is kind


@pytest.mark.parametrize("case", PLANS, ids=[case.name for case in PLANS])
def test_every_planned_command_line_is_accepted(case: Path) -> None:
    resource = parse(yaml.safe_load((case / "resource.yaml").read_text()))
    assert not isinstance(resource, Rejection)
    plan = make_plan(resource)
    assert not isinstance(plan, Rejection)
    for mode in plan.ladder:
        assert parse_arguments(mode.arguments).model == resource.spec.model.name


# Metrics


def _engine(*words: str) -> tuple[EngineArguments, str]:
    arguments = parse_arguments(words)
    return arguments, EngineMetrics(arguments, kv_cache_tokens=599_168, created=1.8e9).exposition().decode()


def _families(text: str) -> dict[str, tuple[str, str]]:
    families = text_string_to_metric_families(text)
    return {family.name: (family.type, family.documentation) for family in families if family.name.startswith("vllm:")}


def _samples(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each series of vLLM by name and labels; of the cache configuration, whose values differ, the label names."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples if family.name.startswith("vllm:") else ():
            is_config = sample.name == "vllm:cache_config_info"
            labels: Iterable[object] = sample.labels if is_config else sample.labels.items()
            yield sample.name, tuple(sorted(map(str, labels)))


@pytest.mark.parametrize("capture", CAPTURES, ids=[capture.stem for capture in CAPTURES])
def test_metrics_are_those_of_a_real_engine(capture: Path) -> None:
    real = capture.read_text()
    _, simulated = _engine(*CAPTURED)
    assert _families(simulated) == _families(real)
    assert list(_samples(simulated)) == list(_samples(real)), "names, labels, bounds of buckets, and their order"


def test_without_speculation_its_series_are_absent() -> None:
    _, speculating = _engine(*CAPTURED)
    _, plain = _engine("--model=tiny", "--max-model-len=512")
    missing = _families(speculating).keys() - _families(plain).keys()
    assert missing
    assert all(name.startswith("vllm:spec_decode_") for name in missing)


def test_there_is_one_position_for_each_proposed_token() -> None:
    _, text = _engine("--model=tiny", _speculative(num_speculative_tokens=5))
    positions = [labels for name, labels in _samples(text) if name.endswith("tokens_per_pos_total")]
    assert len(positions) == 5


def test_bounds_up_to_max_model_len() -> None:
    assert bounds_up_to(512) == (1, 2, 5, 10, 20, 50, 100, 200, 500)


# KV cache

LLAMA_70B = ("meta-llama/Llama-3.1-70B-Instruct", "-tp=2", "--quantization=fp8", "--max-model-len=8192")
DRAFT_8B = _speculative(model="meta-llama/Llama-3.1-8B-Instruct", quantization="fp8")


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        # 2 x 80 layers x 4 heads of a GPU x 128 x 2 bytes are 163,840 a token.
        pytest.param((*LLAMA_70B, "--kv-cache-memory-bytes=16777216000"), 102_400, id="the bytes that were asked for"),
        pytest.param(
            (*LLAMA_70B, DRAFT_8B, "--kv-cache-memory-bytes=16777216000"), 73_136, id="target and draft share them"
        ),
        pytest.param(
            (*LLAMA_70B, "--kv-cache-memory-bytes=16777216000", "--kv-cache-dtype=fp8"), 204_800, id="half as wide"
        ),
        pytest.param((*LLAMA_70B, "--kv-cache-memory-bytes=1"), 8192, id="one request always fits"),
        pytest.param((*LLAMA_70B, "--gpu-memory-utilization=0.90"), 219_072, id="what is left of the GPU"),
        pytest.param(("meta-llama/Llama-3.1-8B-Instruct", "--max-model-len=512"), 441_440, id="a small model"),
        pytest.param(("unknown", "--max-model-len=512"), 441_440, id="an unknown one is as large"),
    ],
)
def test_kv_cache_follows_from_the_command_line(words: tuple[str, ...], tokens: int) -> None:
    assert kv_cache_tokens(parse_arguments(words)) == tokens


def test_the_plan_is_a_little_wrong_about_a_simulated_engine() -> None:
    case = next(case for case in PLANS if case.name == "h100-fp8-pair")
    resource = parse(yaml.safe_load((case / "resource.yaml").read_text()))
    assert not isinstance(resource, Rejection)
    plan = make_plan(resource)
    assert not isinstance(plan, Rejection)
    for mode in plan.ladder:
        error = mode.kv_cache_tokens / kv_cache_tokens(parse_arguments(mode.arguments)) - 1
        assert 0 < abs(error) < 0.1, mode.mode


# Model

CONSTANTS = ("c0_ms", "c1_us_per_token", "ckv_ns_per_token", "draft_ms_per_token", "overhead_ms")
KINDS = st.sampled_from([DraftKind.DRAFT, DraftKind.NGRAM, DraftKind.EAGLE])
COUNTS = st.integers(0, 10_000)


@given(st.sampled_from(CONSTANTS), st.floats(0, 100), st.floats(0, 100), COUNTS, COUNTS, st.integers(0, 16), KINDS)
def test_a_step_takes_longer_with_every_constant(
    name: str, low: float, more: float, tokens: int, kv_tokens: int, passes: int, kind: DraftKind
) -> None:
    step = Step(tokens, kv_tokens, passes, kind)
    fast, slow = (Behaviour().model_copy(update={name: value}) for value in (low, low + more))
    assert step_seconds(fast, step) <= step_seconds(slow, step)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 16), KINDS)
def test_a_step_takes_longer_with_all_that_it_computes(
    tokens: int, more_tokens: int, kv_tokens: int, more_kv_tokens: int, passes: int, kind: DraftKind
) -> None:
    small = Step(tokens, kv_tokens, passes, kind)
    large = Step(tokens + more_tokens, kv_tokens + more_kv_tokens, passes + 1, kind)
    assert step_seconds(Behaviour(), small) <= step_seconds(Behaviour(), large)


@pytest.mark.parametrize(
    ("step", "milliseconds"),
    [
        pytest.param(Step(tokens=36, kv_tokens=0), 44.0, id="36 requests without speculation"),
        pytest.param(Step(36 * 6, 0, 5, DraftKind.DRAFT), 229.0, id="36 requests with five proposed tokens each"),
        pytest.param(Step(3, 0, 0, DraftKind.NGRAM), 11.0, id="n-gram found nothing: nothing is added"),
        pytest.param(Step(18, 0, 5, DraftKind.NGRAM), 26.0 * 1.0059, id="n-gram drafting is cheap"),
    ],
)
def test_seconds_of_a_step(step: Step, milliseconds: float) -> None:
    behaviour = Behaviour(c0_ms=8, c1_us_per_token=1000, ckv_ns_per_token=0, draft_ms_per_token=1, overhead_ms=0)
    assert step_seconds(behaviour, step) * 1e3 == pytest.approx(milliseconds)
    assert step_seconds(behaviour.model_copy(update={"slow_factor": 3}), step) * 1e3 == pytest.approx(3 * milliseconds)


@given(st.floats(0, 1), st.integers(0, 16), st.integers())
def test_never_more_is_accepted_than_proposed(acceptance: float, proposed: int, seed: int) -> None:
    accepted = accepted_tokens(Random(seed), math.log(acceptance) if acceptance else -math.inf, proposed)
    assert 0 <= accepted <= proposed


@pytest.mark.parametrize("acceptance", [0.0, 0.08, 0.5, 0.87, 1.0])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_mean_of_accepted_tokens(acceptance: float, temperature: float) -> None:
    behaviour = Behaviour(draft=acceptance, temperature_sensitivity=0.5)
    random, rounds, proposed = Random(1), 20_000, 4
    logarithm = log_acceptance(behaviour, DraftKind.DRAFT, temperature)
    mean = sum(accepted_tokens(random, logarithm, proposed) for _ in range(rounds)) / rounds
    effective = acceptance * math.exp(-0.5 * temperature)
    assert mean == pytest.approx(sum(effective**position for position in range(1, proposed + 1)), abs=0.05)


# Behaviour


def test_the_behaviour_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "behaviour.json"
    file = BehaviourFile(path)
    assert file.at(0.0) == Behaviour(), "no file yet"
    write_behaviour(path, Behaviour(draft=0.1))
    assert file.at(CHECK_SECONDS / 2) == Behaviour(), "looked at a moment ago"
    assert file.at(CHECK_SECONDS) == Behaviour(draft=0.1)
    path.write_text('{"draft": 7}')
    assert file.at(2 * CHECK_SECONDS) == Behaviour(draft=0.1), "nonsense changes nothing"
    assert [entry.name for entry in tmp_path.iterdir()] == ["behaviour.json"], "no rest of an unfinished write"


@pytest.mark.parametrize(
    ("behaviour", "kind", "fails"),
    [
        pytest.param(Behaviour(), DraftKind.DRAFT, False, id="nothing fails by default"),
        pytest.param(Behaviour(exit_code_at_start=1), DraftKind.OFF, True, id="every mode fails"),
        pytest.param(
            Behaviour(exit_code_at_start=1, fail_modes=(DraftKind.DRAFT,)),
            DraftKind.DRAFT,
            True,
            id="the one that is named",
        ),
        pytest.param(
            Behaviour(exit_code_at_start=1, fail_modes=(DraftKind.DRAFT,)), DraftKind.OFF, False, id="and no other"
        ),
    ],
)
def test_who_fails_at_start(behaviour: Behaviour, kind: DraftKind, *, fails: bool) -> None:
    assert behaviour.fails_at_start(kind) is fails
