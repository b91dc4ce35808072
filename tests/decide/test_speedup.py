"""The predicted speed-up: what each cause does to it, and how far it is from what others measured."""

from dataclasses import replace

import pytest
from bench.speedup import (
    Judged,
    fit,
    implied_acceptance_length,
    is_eagle_class,
    judge,
    mean_error,
    read_points,
    summary,
    wrong_signs,
)

from specdecode.decide.speedup import (
    GPUS,
    Drafting,
    Hardware,
    Load,
    Network,
    acceptance_length,
    drafting_share,
    predict_speedup,
    step_seconds,
)

TARGET = Network(7.505e9, 15.01e9, 32, 4096, 131_072)
HEAD = Network(0.416e9, 0.832e9, 1, 4096, 4096)
ONE_H100 = Hardware(GPUS["H100"])
QUIET, BUSY = Load(1, 500), Load(128, 500)
EAGLE3 = Drafting(tokens=3, acceptance_length=2.4, draft=HEAD)
LOOKUP = Drafting(tokens=3, acceptance_length=1.9, draft=None)


def speedup(
    drafting: Drafting = EAGLE3, load: Load = QUIET, hardware: Hardware = ONE_H100, target: Network = TARGET
) -> float:
    return predict_speedup(target, hardware, load, drafting).value


def test_an_acceptance_length_is_one_and_the_shares_of_each_position() -> None:
    assert acceptance_length([0.673, 0.440, 0.281]) == pytest.approx(2.394)
    assert acceptance_length([]) == 1


def test_a_step_without_speculation_takes_what_one_h100_needs_for_8b() -> None:
    assert step_seconds(TARGET, ONE_H100, QUIET, None) == pytest.approx(7.3e-3, rel=0.05)


def test_the_value_lies_inside_its_interval_and_lookups_are_more_certain() -> None:
    drafted, looked_up = (predict_speedup(TARGET, ONE_H100, QUIET, one) for one in (EAGLE3, LOOKUP))
    assert drafted.low < drafted.value < drafted.high
    assert looked_up.high / looked_up.low < drafted.high / drafted.low


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(speedup(), speedup(replace(EAGLE3, acceptance_length=1.8)), id="longer accepted runs"),
        pytest.param(speedup(), speedup(load=BUSY), id="few requests: the weights are read anyway"),
        pytest.param(
            speedup(load=Load(64, 4000)), speedup(load=Load(64, 500)), id="long contexts: both sides read them"
        ),
        pytest.param(
            speedup(load=BUSY), speedup(load=replace(BUSY, prompt_tokens_per_output_token=3)), id="short prompts"
        ),
        pytest.param(speedup(), speedup(replace(EAGLE3, draft=TARGET)), id="a draft smaller than its target"),
        pytest.param(speedup(), speedup(replace(EAGLE3, tokens=7)), id="no more draft tokens than are accepted"),
        pytest.param(speedup(LOOKUP), speedup(replace(LOOKUP, draft=HEAD)), id="lookups that cost no pass"),
        pytest.param(
            speedup(replace(LOOKUP, share=0.4), BUSY), speedup(replace(LOOKUP, share=1.0), BUSY), id="few idle drafts"
        ),
        pytest.param(
            speedup(load=BUSY), speedup(load=BUSY, hardware=Hardware(GPUS["RTX 4090"])), id="a GPU with spare FLOPs"
        ),
        pytest.param(
            speedup(target=replace(TARGET, expert_bytes=0.0)),
            speedup(target=replace(TARGET, expert_bytes=60e9, active_share=1 / 16)),
            id="dense: further tokens need no further experts",
        ),
    ],
)
def test_what_pays_more(better: float, worse: float) -> None:
    assert better > 1.02 * worse


@pytest.mark.parametrize(
    ("drafting", "share"),
    [
        pytest.param(EAGLE3, 1.0, id="a network always drafts"),
        pytest.param(replace(LOOKUP, share=0.25), 0.25, id="measured: that"),
        pytest.param(replace(LOOKUP, acceptance_length=1.0), 0.0, id="nothing accepted: nothing was found"),
        pytest.param(LOOKUP, 0.648, id="text that repeats itself is found more often"),
    ],
)
def test_share_of_steps_that_draft(drafting: Drafting, share: float) -> None:
    assert drafting_share(drafting) == pytest.approx(share, abs=0.001)


def test_every_expert_is_read_once_there_are_many_tokens() -> None:
    mixture = Network(3e9, 2e9, 24, 2880, 49_152, expert_bytes=10e9, active_share=4 / 32)
    assert mixture.bytes_for(1) == pytest.approx(2e9 + 10e9 / 8)
    assert mixture.bytes_for(500) == pytest.approx(12e9)


def test_several_gpus_share_the_work_and_pay_for_talking() -> None:
    alone, shared = (step_seconds(TARGET, Hardware(GPUS["H100"], ranks), BUSY, None) for ranks in (1, 4))
    assert alone / 4 < shared < alone


JUDGED = judge(read_points()[0])


def eagle_class(*, is_carried: bool) -> list[Judged]:
    return [one for one in JUDGED if is_eagle_class(one.point) and one.is_carried is is_carried]


def n_gram(*, is_carried: bool) -> list[Judged]:
    return [one for one in JUDGED if one.point.method == "ngram" and one.is_carried is is_carried]


@pytest.mark.parametrize("is_carried", [False, True], ids=["from its acceptance", "from its lightest load"])
def test_reach(*, is_carried: bool) -> None:
    assert mean_error(eagle_class(is_carried=is_carried)) <= 0.06
    assert mean_error(n_gram(is_carried=is_carried)) <= 0.09


def test_the_sign_is_right_wherever_it_matters() -> None:
    assert not wrong_signs(JUDGED)


def test_nineteen_of_twenty_points_lie_inside_the_interval() -> None:
    inside = [one for one in JUDGED if one.predicted.low <= one.point.speedup <= one.predicted.high]
    assert len(inside) >= 0.95 * len(JUDGED)


def test_a_data_set_that_was_not_in_the_fit_is_predicted_as_well() -> None:
    points = [point for point in read_points()[0] if "2601.11580" in point.source]
    constants = fit([point for point in points if point.dataset != "CNN/DailyMail"], rounds=3)
    unseen = judge([point for point in points if point.dataset == "CNN/DailyMail"], constants)
    assert mean_error([one for one in unseen if is_eagle_class(one.point)]) <= 0.10
    assert mean_error([one for one in unseen if one.point.method == "ngram"]) <= 0.06


def test_an_implied_acceptance_length_gives_the_measured_speedup_back() -> None:
    point = read_points()[0][0]
    drafting = Drafting(point.tokens, implied_acceptance_length(point), None)
    assert predict_speedup(TARGET, ONE_H100, point.load, drafting).value == pytest.approx(point.speedup, rel=1e-6)


def test_the_summary_names_what_was_left_out() -> None:
    said = summary(JUDGED, read_points()[1])
    assert "EAGLE class" in said
    assert "21 the baseline is another drafter" in said
