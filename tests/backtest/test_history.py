"""From samples to what each pod said at the moments at which the operator would have looked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from backtest.recorded import DRAFT_TOKENS, LABELS, RUNNING, T0, Recorded, lines
from builders import resource

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Arm, Mode
from specdecode.backtest.choice import Choice
from specdecode.backtest.history import History, history_of, looks, scrape_interval
from specdecode.backtest.series import Read, between, line_of
from specdecode.engine.version import EngineVersion
from specdecode.observe.prometheus import Line
from specdecode.observe.queries import Fact

LLAMA = Choice("llama-70b", "serving")
VERSION = EngineVersion(0, 32, 0)
MAIN = Mode.QUANTIZED_DRAFT, Arm.MAIN


def history(*pods: Recorded, choice: Choice = LLAMA, step: float | None = None) -> History:
    found = history_of(lines(*pods), choice, resource(), VERSION, step)
    assert isinstance(found, History), found
    return found


def labelled(**changes: str) -> dict[str, str]:
    return {name: value for name, value in {**LABELS, **changes}.items() if value}


def test_one_pod_is_seen_at_every_scrape() -> None:
    found = history(Recorded(seconds=600))
    assert found.scrape_interval_seconds == found.step_seconds == 15
    assert (found.first_at, found.last_at) == (T0, T0 + 585)
    arrivals = found.arrivals[MAIN]
    assert sorted(arrivals.frames) == list(range(40))
    for number, frame in arrivals.frames.items():
        (reading,) = frame.values()
        assert 0 < found.moments[number] - reading.at <= 0.5
        assert reading.running == RUNNING
    assert arrivals.layout.num_speculative_tokens == DRAFT_TOKENS


def test_engines_of_one_pod_are_added() -> None:
    whole, parts = (history(Recorded(seconds=60, engines=engines)) for engines in (1, 2))
    place = whole.arrivals[MAIN].layout.index[Fact.STEP_COUNT]
    counts = [next(iter(found.arrivals[MAIN].frames[3].values())).counters[place] for found in (whole, parts)]
    assert counts[1] == pytest.approx(counts[0], rel=0.05)


def test_an_engine_that_comes_later_is_added_from_then_on() -> None:
    late = tuple(
        Line({**line.labels, "engine": "1"}, line.at[2:], line.values[2:]) for line in lines(Recorded(seconds=60))
    )
    found = history_of((*lines(Recorded(seconds=60)), *late), LLAMA, resource(), VERSION)
    assert isinstance(found, History)
    running = [next(iter(frame.values())).running for frame in found.arrivals[MAIN].frames.values()]
    assert running == [RUNNING, RUNNING, 2 * RUNNING, 2 * RUNNING]


def test_modes_and_arms_are_kept_apart() -> None:
    off = Recorded(seconds=60, begin=60, labels=labelled(specdecode_io_mode="Off"), instance="b", is_speculating=False)
    control = replace(
        off, begin=0, labels=labelled(specdecode_io_mode="Off", specdecode_io_arm="control"), instance="c"
    )
    unknown = replace(off, labels=labelled(specdecode_io_mode="Warp"), instance="d")
    found = history(Recorded(seconds=60), off, control, unknown)
    assert set(found.arrivals) == {MAIN, (Mode.OFF, Arm.MAIN), (Mode.OFF, Arm.CONTROL)}
    assert min(found.arrivals[Mode.OFF, Arm.MAIN].frames) == 4


def test_pods_without_the_gauge_of_running_requests_were_not_scraped() -> None:
    odd = Line({**LABELS, "__name__": "vllm:generation_tokens_total", "instance": "b"}, np.array([T0]), np.array([1.0]))
    found = history_of((*lines(Recorded(seconds=60)), odd), LLAMA, resource(), VERSION)
    assert isinstance(found, History)
    assert {instance for frame in found.arrivals[MAIN].frames.values() for instance in frame} == {"vllm/10.0.0.1:8000"}


def test_other_deployments_are_passed_over() -> None:
    other = Recorded(seconds=60, labels=labelled(specdecode_io_deployment="other"), instance="b")
    alone, beside = history(Recorded(seconds=60)), history(Recorded(seconds=60), other)
    assert [len(frame) for frame in beside.arrivals[MAIN].frames.values()] == [1] * len(alone.arrivals[MAIN].frames)


def test_without_our_labels_everything_is_of_the_requested_mode() -> None:
    found = history(Recorded(seconds=60, labels={"pod": "a"}, instance=""), choice=Choice())
    assert set(found.arrivals) == {MAIN}


@pytest.mark.parametrize(
    ("pod", "choice", "sentence"),
    [
        pytest.param(Recorded(seconds=10), LLAMA, "no pod was scraped twice", id="one scrape"),
        pytest.param(
            Recorded(labels=labelled(specdecode_io_mode="")), LLAMA, "lack the label specdecode_io_mode", id="no mode"
        ),
        pytest.param(
            Recorded(labels=labelled(specdecode_io_arm="")),
            LLAMA,
            "{source_labels: [__meta_kubernetes_pod_label_specdecode_io_arm], target_label: specdecode_io_arm}",
            id="no arm: the line to add",
        ),
    ],
)
def test_no_history(pod: Recorded, choice: Choice, sentence: str) -> None:
    found = history_of(lines(pod), choice, resource(), VERSION)
    assert isinstance(found, Problem)
    assert sentence in str(found)


@pytest.mark.parametrize(
    ("scrapes", "step", "phase"),
    [
        pytest.param([[0, 15, 30]], 15, 0.5, id="one pod: shortly after it"),
        pytest.param([[0, 15, 30], [4, 19, 34]], 15, 4.5, id="two pods: after both"),
        pytest.param([[0, 15, 30], [12, 27, 42]], 15, 0.5, id="two pods around the turn"),
        pytest.param([[0.0, 15.002, 29.999]], 15, 0.502, id="jitter"),
        pytest.param([[0, 5, 10]], 15, 0.5, id="a step of three scrapes"),
        pytest.param([[0, 0.6, 1.2]], 0.6, 0.3, id="a step so short that there is no margin"),
    ],
)
def test_moments(scrapes: list[list[float]], step: float, phase: float) -> None:
    moments = looks([np.array(at, dtype=np.float64) for at in scrapes], step)
    assert moments[0] % step == pytest.approx(phase, abs=1e-3)
    assert moments[-1] >= max(max(at) for at in scrapes)
    assert np.diff(moments) == pytest.approx(step)


def test_the_usual_interval_survives_a_lost_scrape() -> None:
    assert scrape_interval([np.array([0.0, 15.001, 30.0, 60.0])]) == 15.0
    assert scrape_interval([np.array([3.0])]) is None


def test_a_stretch_of_time() -> None:
    line = Line({}, np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    assert [found.values.tolist() for found in between([line], 2, 2.5)] == [[2.0]]
    assert between([line], 4, 5) == ()


def test_a_line_without_repeats_and_gaps() -> None:
    line = line_of({}, np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, np.nan, np.inf]))
    assert (line.at.tolist(), line.values.tolist()) == ([1.0], [2.0])


def test_what_was_read_is_a_value() -> None:
    found: Any = Read((), frozenset())
    with pytest.raises(AttributeError):
        found.lines = ()
