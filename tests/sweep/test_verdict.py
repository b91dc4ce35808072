"""A word and a sentence per cell; where speculation stops paying; what to write into the resource."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from sweep.sweeps import answer, cell, drafted, failed, measured, off, pair, steady, sweep

from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.sweep.break_even import break_even_sentence
from specdecode.sweep.report import Report, report_of
from specdecode.sweep.types import Drafted, Measured
from specdecode.sweep.verdict import Basis, Verdict, Word


def verdict_of(on: Measured, without: Measured | None = None) -> Verdict:
    """What is said of one cell."""
    found = report_of(sweep(on), None if without is None else sweep(without)).cells[0].verdict
    assert found is not None
    return found


def _with(counters: Drafted, pair_: tuple[Measured, Measured]) -> tuple[Measured, Measured]:
    return replace(pair_[0], drafted=counters), pair_[1]


def _tail(times: float, *, every: int) -> Callable[[int], float]:
    """One request of so many takes so many times as long."""
    usual = steady(0.01)
    return lambda number: usual(number) * (times if number % every == 0 else 1)


@pytest.mark.parametrize(
    ("cells", "word", "says"),
    [
        pytest.param(
            pair(cell(), on_ms=10, off_ms=15, requests=500),
            Word.SHIP,
            "P99 not surely worse, 1.5",
            id="faster in mean and P99: ship",
        ),
        pytest.param(
            pair(cell(), on_ms=10, off_ms=15),
            Word.SHIP,
            "359 more requests would give it both",
            id="faster, too few requests for a P99 that looks faster: ship, and say so",
        ),
        pytest.param(
            (measured(cell(), _tail(5, every=50)), measured(off(cell()), steady(0.02))),
            Word.MEASURE,
            "359 more requests would give it both",
            id="faster in the mean, too few requests for a P99 that looks slower: measure",
        ),
        pytest.param(
            (measured(cell(), _tail(5, every=20), 600), measured(off(cell()), steady(0.02), 600)),
            Word.MEASURE,
            "the P99 is surely worse",
            id="faster in the mean, and surely slower in the tail: measure",
        ),
        pytest.param(
            pair(cell(), on_ms=15, off_ms=10), Word.OFF, "slower than without: mean TPOT 0.6", id="slower: off"
        ),
        pytest.param(
            pair(cell(), on_ms=10, off_ms=10.2, spread=0.3),
            Word.MEASURE,
            "neither surely faster nor slower",
            id="as fast as without, as far as is known: measure",
        ),
        pytest.param(
            pair(cell(concurrency=8), on_ms=10, off_ms=15, requests=8),
            Word.MEASURE,
            "8 are less than two rounds of 8 at once",
            id="one round: measure, however fast it looks",
        ),
        pytest.param(
            _with(drafted(0.03), pair(cell(), on_ms=10, off_ms=15)),
            Word.OFF,
            "acceptance collapsed: length 1.09 (limit 1.1) and rate 3.0 % over 20000 drafts; mean TPOT 1.4",
            id="acceptance collapsed: off, whatever the clock says",
        ),
        pytest.param(
            _with(drafted(0.03, 150), pair(cell(), on_ms=10, off_ms=15)),
            Word.SHIP,
            "faster",
            id="a collapse of 150 drafts is none: they may be of one odd request",
        ),
        pytest.param(
            _with(drafted(0.03), pair(cell(mode="NGram"), on_ms=10, off_ms=15)),
            Word.SHIP,
            "faster",
            id="n-gram drafts are rarely accepted and nearly free: speed decides",
        ),
        pytest.param(
            (Measured(cell(), 1.0, (failed(1, "connection refused"),)), measured(off(cell()), steady(0.02))),
            Word.MEASURE,
            "no request was answered: connection refused",
            id="nothing was answered: the first error is named",
        ),
    ],
)
def test_with_a_baseline(cells: tuple[Measured, Measured], word: Word, says: str) -> None:
    found = verdict_of(*cells)
    assert found.word is word
    assert says in found.sentence


@pytest.mark.parametrize(
    ("on", "word", "says"),
    [
        pytest.param(drafted(0.8), Word.SHIP, "confirm the gain against a baseline", id="most is accepted: ship"),
        pytest.param(drafted(0.58), Word.MEASURE, "latency decides", id="between the floors: measure"),
        pytest.param(drafted(0.3), Word.OFF, "under the guard's floor of 50.0 %", id="little is accepted: off"),
        pytest.param(drafted(0.02), Word.OFF, "acceptance collapsed", id="hardly anything is accepted: off"),
        pytest.param(drafted(0.48, 300), Word.MEASURE, "more requests would show it", id="too few tokens to say"),
        pytest.param(drafted(0.66, 300), Word.MEASURE, "not surely on one side of 65.0 %", id="the nearer floor"),
    ],
)
def test_without_a_baseline_acceptance_decides_and_says_so(on: Drafted, word: Word, says: str) -> None:
    found = verdict_of(measured(cell(), steady(0.02), counters=on))
    assert (found.word, found.basis) == (word, Basis.ACCEPTANCE)
    assert "by acceptance only" in found.sentence
    assert says in found.sentence


def test_without_a_baseline_few_accepted_ngram_drafts_may_pay() -> None:
    found = verdict_of(measured(cell(mode="NGram"), steady(0.02), counters=drafted(0.2)))
    assert found.word is Word.MEASURE
    assert "may pay all the same" in found.sentence


def test_with_neither_a_baseline_nor_counters_nothing_is_known() -> None:
    found = verdict_of(measured(cell(), steady(0.02)))
    assert (found.word, found.basis) == (Word.MEASURE, Basis.NOTHING)
    assert "measure a baseline" in found.sentence


@pytest.mark.parametrize(
    ("on_is_doubtful", "off_is_doubtful", "says"),
    [
        pytest.param(True, False, "something disturbed this cell", id="answers came in bursts"),
        pytest.param(False, True, "something disturbed the cell without speculation", id="the baseline was disturbed"),
    ],
)
def test_a_disturbed_cell_is_not_judged(*, on_is_doubtful: bool, off_is_doubtful: bool, says: str) -> None:
    on, plain = pair(cell(), on_ms=10, off_ms=20)
    on, plain = replace(on, is_doubtful=on_is_doubtful), replace(plain, is_doubtful=off_is_doubtful)
    (found,) = report_of(sweep(on), sweep(plain)).cells
    assert found.comparison is None
    assert found.verdict is not None
    assert (found.verdict.word, found.verdict.requests_needed) == (Word.MEASURE, 0)
    assert says in found.verdict.sentence


def test_what_does_not_speculate_is_not_judged() -> None:
    assert report_of(sweep(measured(off(cell()), steady(0.02))), None).cells[0].verdict is None


def grid(
    speedups: dict[tuple[float, int], float], *, rate: float = 0.7, requests: int = 100, tokens: int = 3
) -> Report:
    """A sweep with these speed-ups at temperature and concurrency."""
    pairs = [
        pair(cell(*place, tokens=tokens), on_ms=20 / speedup, off_ms=20, requests=requests, rate=rate, spread=0.03)
        for place, speedup in speedups.items()
    ]
    return report_of(sweep(*(on for on, _ in pairs)), sweep(*(without for _, without in pairs)))


@pytest.mark.parametrize(
    ("speedups", "sentence"),
    [
        pytest.param(
            {(0.4, 1): 1.5, (0.4, 4): 1.25, (0.4, 16): 0.8},
            "temperature 0.4: breaks even near 8 at once (1.50x at 1, 1.25x at 4, 0.80x at 16)",
            id="it falls through 1 half way between 4 and 16, as concurrencies double",
        ),
        pytest.param(
            {(0, 1): 1.5, (0, 4): 1.2},
            "temperature 0: pays everywhere, up to 4 at once (1.50x at 1, 1.20x at 4)",
            id="pays",
        ),
        pytest.param(
            {(1, 2): 0.9, (1, 4): 0.8},
            "temperature 1: costs everywhere, from 2 at once (0.90x at 2, 0.80x at 4)",
            id="costs",
        ),
        pytest.param({(1, 2): 0.9}, "temperature 1: costs everywhere, from 2 at once (0.90x at 2)", id="one point"),
        pytest.param(
            {(1, 1): 0.8, (1, 4): 1.2},
            "temperature 1: no break-even to be seen up to 4 at once (0.80x at 1, 1.20x at 4)",
            id="it pays with more at once: no break-even of this kind",
        ),
        pytest.param(
            {(1, 1): 0.8, (1, 4): 1.0, (1, 16): 0.8},
            "temperature 1: nowhere surely faster, up to 16 at once (0.80x at 1, 1.00x at 4, 0.80x at 16)",
            id="it costs, and in the middle nobody knows: no break-even there",
        ),
    ],
)
def test_where_speculation_stops_paying(speedups: dict[tuple[float, int], float], sentence: str) -> None:
    (curve,) = grid(speedups).curves
    assert break_even_sentence(curve) == sentence


def test_kinds_of_prompts_are_taken_together_by_temperature() -> None:
    pairs = [pair(cell(0, 4, kind=kind), on_ms=10, off_ms=off_ms) for kind, off_ms in (("code", 20), ("story", 5))]
    (curve,) = report_of(sweep(*(on for on, _ in pairs)), sweep(*(without for _, without in pairs))).curves
    assert curve.points[0].speedup.value == pytest.approx(1.0, rel=0.05)


def test_a_fall_within_the_noise_may_be_none() -> None:
    pairs = [
        pair(cell(0, n), on_ms=20 / faster, off_ms=20, requests=40, spread=0.4) for n, faster in ((1, 1.1), (4, 0.9))
    ]
    (curve,) = report_of(sweep(*(on for on, _ in pairs)), sweep(*(without for _, without in pairs))).curves
    assert "may break even near" in break_even_sentence(curve)


def suggested(report: Report) -> dict[str, Any]:
    """Fields and values."""
    return {suggestion.path: suggestion.value for suggestion in report.suggestions}


def test_every_cell_is_off_and_so_is_the_suggestion() -> None:
    assert suggested(grid({(0, 1): 0.9, (1, 4): 0.7})) == {"spec.speculation": None}


def _two_kinds(code_off_ms: float, story_off_ms: float) -> Report:
    """One that is surely slower, and one that differs too much from itself to say."""
    pairs = [
        pair(cell(0, 4, kind="code"), on_ms=40, off_ms=code_off_ms),
        pair(cell(0, 4, kind="story"), on_ms=10.5, off_ms=story_off_ms, spread=0.6),
    ]
    return report_of(sweep(*(on for on, _ in pairs)), sweep(*(without for _, without in pairs)))


def test_a_cell_that_cannot_say_does_not_outvote_the_rest_of_its_place() -> None:
    report = _two_kinds(10, 10)
    assert {one.verdict.word for one in report.cells if one.verdict is not None} == {Word.OFF, Word.MEASURE}
    assert suggested(report) == {"spec.speculation": None}


def test_kinds_that_only_together_may_pay_keep_speculation() -> None:
    assert "spec.speculation" not in suggested(_two_kinds(38, 11.5))


def test_one_cell_that_pays_keeps_speculation() -> None:
    assert "spec.speculation" not in suggested(grid({(0, 1): 1.2, (1, 4): 0.7}))


def _tokens(**faster: float) -> Report:
    """Numbers of tokens, and how fast each is."""
    without = measured(off(cell()), steady(0.02))
    on = [
        measured(cell(tokens=int(name[1:])), steady(0.02 / value, seed=5), counters=drafted(0.7))
        for name, value in faster.items()
    ]
    return report_of(sweep(*on), sweep(without))


def test_the_fastest_number_of_tokens_is_suggested() -> None:
    assert suggested(_tokens(n1=1.2, n3=1.6, n5=1.3))["spec.speculation.numSpeculativeTokens"] == 3


def test_of_numbers_that_are_as_fast_none_is_suggested() -> None:
    assert "spec.speculation.numSpeculativeTokens" not in suggested(_tokens(n3=1.5, n5=1.5))


def test_one_number_of_tokens_is_no_choice() -> None:
    assert "spec.speculation.numSpeculativeTokens" not in suggested(_tokens(n3=1.5))


def test_a_batch_size_divides_what_pays_from_what_costs() -> None:
    assert suggested(grid({(0, 4): 1.3, (0, 16): 0.8, (1, 4): 1.1, (1, 16): 0.6}))["spec.speculation.maxBatchSize"] == 4


def test_no_batch_size_where_temperatures_disagree() -> None:
    assert "spec.speculation.maxBatchSize" not in suggested(
        grid({(0, 4): 1.3, (0, 16): 1.1, (1, 4): 1.1, (1, 16): 0.6})
    )


def _by_rate(*pairs: tuple[float, float]) -> Report:
    """Acceptance and speed-up of cells."""
    cells = [
        pair(cell(number / 10), on_ms=20 / faster, off_ms=20, rate=rate) for number, (rate, faster) in enumerate(pairs)
    ]
    return report_of(sweep(*(on for on, _ in cells)), sweep(*(without for _, without in cells)))


_OFF_BELOW, _REVIEW_BELOW = "spec.guard.acceptance.offBelowPercent", "spec.guard.acceptance.reviewBelowPercent"


@pytest.mark.parametrize(
    ("report", "floors"),
    [
        pytest.param(_by_rate((0.7, 1.5), (0.424, 1.3), (0.2, 0.9)), {_OFF_BELOW: 42}, id="it paid below the floor"),
        pytest.param(_by_rate((0.7, 1.5), (0.53, 0.8)), {_OFF_BELOW: 54}, id="it cost above the floor"),
        pytest.param(
            _by_rate((0.9, 1.5), (0.71, 0.8)),
            {_OFF_BELOW: 72, _REVIEW_BELOW: 72},
            id="a floor above the review band takes it along",
        ),
        pytest.param(_by_rate((0.7, 1.5), (0.3, 0.8)), {}, id="the default divides them: nothing to change"),
        pytest.param(_by_rate((0.4, 1.5), (0.6, 0.8)), {}, id="what paid accepted less than what cost: no floor does"),
        pytest.param(_by_rate((0.3, 1.0), (0.6, 1.5)), {}, id="what is not sure carries nothing"),
    ],
)
def test_a_floor_for_acceptance(report: Report, floors: dict[str, int]) -> None:
    found = suggested(report)
    assert {path: found[path] for path in (_OFF_BELOW, _REVIEW_BELOW) if path in found} == floors


def test_a_limit_for_the_p99_is_the_baselines_with_all_temperatures_together() -> None:
    report = grid({(temperature / 10, at): 1.2 for temperature in range(5) for at in (1, 4)})
    (limit,) = [one for one in report.suggestions if one.path == "spec.guard.latency.tpotP99"]
    assert limit.value == "23ms"
    assert "at 4 at once" in limit.reason
    assert "500 requests" in limit.reason


def test_too_few_requests_carry_no_limit() -> None:
    assert "spec.guard.latency.tpotP99" not in suggested(grid({(0.0, 1): 1.2, (0.0, 4): 1.2}))


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(0.00002, id="microseconds: a limit is at least one ms"), pytest.param(2.5, id="seconds")],
)
def test_a_limit_is_a_duration_of_the_resource(seconds: float) -> None:
    on = measured(cell(), steady(seconds / 2), 500, counters=drafted(0.7))
    report = report_of(sweep(on), sweep(measured(off(cell()), steady(seconds), 500)))
    assert "spec.guard.latency.tpotP99" in suggested(report)
    assert isinstance(_applied(report), SpecDecodeDeployment)


def _applied(report: Report) -> object:
    """A resource with every suggestion written into it, read as the operator reads it."""
    body = yaml.safe_load(_RESOURCE)
    for suggestion in report.suggestions:
        *parents, last = suggestion.path.split(".")
        node = body
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = suggestion.value
    return parse(body)


_RESOURCE = """
apiVersion: specdecode.io/v1alpha1
kind: SpecDecodeDeployment
metadata: {name: chat, namespace: serving}
spec:
  model: {name: meta-llama/Llama-3.1-70B-Instruct}
  engine: {image: "vllm/vllm-openai:v0.32.0", maxModelLen: 8192}
  accelerator: {product: NVIDIA-H100-80GB-HBM3, count: 4}
  speculation: {method: draft_model, numSpeculativeTokens: 5, draft: {name: meta-llama/Llama-3.2-1B-Instruct}}
"""


@pytest.mark.parametrize(
    ("report", "paths"),
    [
        pytest.param(grid({(0, 1): 0.9}), {"spec.speculation"}, id="without speculation"),
        pytest.param(_tokens(n1=1.2, n3=1.6), {"spec.speculation.numSpeculativeTokens"}, id="a number of tokens"),
        pytest.param(grid({(0, 4): 1.3, (0, 16): 0.8}), {"spec.speculation.maxBatchSize"}, id="a batch size"),
        pytest.param(_by_rate((0.9, 1.5), (0.71, 0.8)), {_OFF_BELOW, _REVIEW_BELOW}, id="both floors of acceptance"),
        pytest.param(
            grid({(0, 4): 1.3}, requests=500), {"spec.guard.latency.tpotP99"}, id="a limit for the P99, as a duration"
        ),
    ],
)
def test_the_operator_takes_what_is_suggested(report: Report, paths: set[str]) -> None:
    assert set(suggested(report)) == paths
    found = _applied(report)
    assert isinstance(found, SpecDecodeDeployment), found


def test_several_settings_without_a_fastest_one_suggest_nothing_of_their_own() -> None:
    assert suggested(_tokens(n3=1.5, n5=1.5)) == {}


def test_an_answer_after_the_clock_stood_still_is_no_crash() -> None:
    frozen = Measured(cell(), 0.0, (answer(1, 0.0), answer(2, 0.0)), drafted(0.7, 300))
    assert verdict_of(frozen, measured(off(cell()), steady(0.02))).basis is Basis.ACCEPTANCE
