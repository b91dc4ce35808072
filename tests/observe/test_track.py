"""Counters through time: restarts, lost scrapes, pods that come and go, and what a window says of them."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdecode.api.vocabulary import Method
from specdecode.decide.facts import Batch, Histogram, Window
from specdecode.engine.metrics import edges, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.queries import Fact
from specdecode.observe.track import (
    Column,
    Layout,
    Reading,
    Track,
    layout_of,
    reading_of,
    standard_layout,
    temperature_family,
)

NEW = EngineVersion(0, 32, 0)
NAMES = metric_names(NEW)
LAYOUT = layout_of(NAMES, {Fact.TPOT: (0.025, 0.05)}, 5)
PER_SECOND: Mapping[Column, float] = {
    "drafts": 10.0,
    "draft_tokens": 50.0,
    "accepted_tokens": 30.0,
    "generation_tokens": 40.0,
    "requests": 2.0,
    "preemptions": 0.5,
    "step_sum": 0.4,
    "step_count": 10.0,
    "tpot_sum": 0.05,
    "tpot_count": 2.0,
    ("tpot", 0.025): 1.0,
    ("tpot", 0.05): 1.5,
    ("tpot", math.inf): 2.0,
}
"""What one pod counts in a second."""


def counted(
    seconds: float, at: float, *, without: tuple[Column, ...] = (), layout: Layout = LAYOUT, **gauges: float
) -> Reading:
    """A pod that has been counting for some seconds."""
    values: dict[Column, float] = {key: rate * seconds for key, rate in PER_SECOND.items() if key not in without}
    return reading_of(layout, at, values | {"running": 16.0, "waiting": 2.0, "kv_cache_usage": 0.4} | gauges)


def track(keep_seconds: float = 330.0, layout: Layout = LAYOUT) -> Track:
    return Track(layout, keep_seconds)


def steady(scrapes: int, *, pods: int = 1, interval: float = 15.0) -> Track:
    """Pods that have been scraped regularly since second 0."""
    found = track()
    for scrape in range(scrapes):
        at = scrape * interval
        found.take({f"pod-{pod}": counted(1000 + at, at) for pod in range(pods)}, at)
    return found


def window(found: Track, seconds: float, now: float) -> Window:
    answer = found.window(seconds, now)
    assert answer is not None
    return answer


def test_a_window_is_exactly_what_was_counted_in_it() -> None:
    whole = window(steady(41), 300.0, 600.0)
    assert whole.seconds == 300.0
    assert (whole.drafts, whole.draft_tokens, whole.accepted_tokens) == (3000.0, 15_000.0, 9000.0)
    assert (whole.requests, whole.generation_tokens, whole.preemptions) == (600.0, 12_000.0, 150.0)
    assert whole.step_seconds == pytest.approx(0.04)
    assert (whole.running_requests, whole.waiting_requests, whole.kv_cache_usage) == (16.0, 2.0, 0.4)
    assert whole.tpot == Histogram(((0.025, 300.0), (0.05, 450.0), (math.inf, 600.0)), pytest.approx(15.0), 600.0)
    assert whole.ttft is None


def test_a_fast_window_is_four_scrapes_at_any_moment_between_two() -> None:
    found = steady(41)
    for late in (0.0, 0.1, 7.0, 14.9):
        assert window(found, 60.0, 600.0 + late).drafts == 600.0
        assert len(found.batches(60.0, 600.0 + late)) == 4


def test_the_older_part_of_a_window_is_the_window_without_the_newer_one() -> None:
    found = steady(41)
    older = window(found, 300.0, 600.0).before(window(found, 60.0, 600.0))
    assert (older.drafts, older.seconds) == (2400.0, 240.0)


def test_pods_are_added_up_and_their_load_is_a_mean() -> None:
    found = track()
    for at in (0.0, 15.0):
        found.take({"a": counted(at, at, running=10.0), "b": counted(at, at, running=20.0, kv_cache_usage=0.9)}, at)
    whole = window(found, 60.0, 15.0)
    assert (whole.drafts, whole.running_requests, whole.kv_cache_usage) == (300.0, 15.0, 0.9)


def test_load_is_weighted_by_time() -> None:
    found = track()
    for at, running in ((0.0, 0.0), (15.0, 10.0), (60.0, 30.0)):
        found.take({"a": counted(at, at, running=running)}, at)
    assert window(found, 300.0, 60.0).running_requests == 25.0


@pytest.mark.parametrize(
    ("readings", "drafts", "seconds"),
    [
        pytest.param([counted(100, 0), counted(115, 15)], 150.0, 15.0, id="two scrapes"),
        pytest.param([counted(100, 0), counted(145, 45)], 450.0, 45.0, id="two scrapes were lost: the next spans them"),
        pytest.param([counted(100, 0), counted(4, 15)], 40.0, 15.0, id="a restart: all since it counts"),
        pytest.param([counted(100, 0), counted(0, 15)], 0.0, 15.0, id="a restart, and nothing since"),
        pytest.param([counted(100, 0), counted(100, 15)], 0.0, 15.0, id="idle"),
        pytest.param([counted(100, 0), counted(100 * (1 - 1e-12), 15)], 0.0, 15.0, id="a rounding is no restart"),
    ],
)
def test_one_step(readings: list[Reading], drafts: float, seconds: float) -> None:
    found = track()
    batches = [found.take({"a": reading}, reading.at) for reading in readings]
    last = batches[-1]
    assert last is not None
    assert (last.drafts, last.seconds, last.at) == (drafts, seconds, seconds)


@pytest.mark.parametrize(
    "readings",
    [
        pytest.param([counted(100, 0)], id="one scrape counts nothing"),
        pytest.param([counted(100, 0), counted(100, 0)], id="the same scrape twice"),
        pytest.param([counted(100, 15), counted(85, 0)], id="an answer that comes late"),
        pytest.param([counted(100, 0), counted(500, 400)], id="a gap longer than what is kept"),
    ],
)
def test_nothing_new(readings: list[Reading]) -> None:
    found = track()
    newest = [found.take({"a": reading}, reading.at) for reading in readings][-1]
    assert newest is None
    assert found.window(300.0, readings[-1].at) is None
    assert found.batches(300.0, readings[-1].at) == ()


def test_one_counter_that_fell_is_a_restart_of_the_pod() -> None:
    """After a restart a counter may already be beyond where the old process was; all of it is new."""
    layout = Layout(("generation_tokens", "requests"))
    found = track(layout=layout)
    found.take({"a": reading_of(layout, 0, {"generation_tokens": 5.0, "requests": 70.0})}, 0)
    batch = found.take({"a": reading_of(layout, 15, {"generation_tokens": 6.0, "requests": 2.0})}, 15)
    assert batch is not None
    assert (batch.generation_tokens, batch.requests) == (6.0, 2.0)


def test_a_new_pod_starts_where_it_is_first_seen() -> None:
    found = steady(3)
    batch = found.take({"pod-0": counted(1045, 45), "new": counted(9, 45)}, 45)
    assert batch is not None
    assert batch.drafts == 150.0
    batch = found.take({"pod-0": counted(1060, 60), "new": counted(24, 60)}, 60)
    assert batch is not None
    assert batch.drafts == 300.0


def test_a_pod_that_is_gone_is_forgotten_and_its_counts_stay() -> None:
    found = steady(3, pods=2)
    for at in range(45, 420, 15):
        found.take({"pod-0": counted(1000 + at, at)}, at)
    assert set(found._last) == {"pod-0"}
    assert window(found, 300.0, 405.0).drafts == 3000.0


def test_pods_with_scrapes_of_their_own_make_batches_that_ascend() -> None:
    found = track()
    found.take({"a": counted(0, 0), "b": counted(0, 1)}, 2)
    first = found.take({"a": counted(15, 15)}, 16)
    second = found.take({"b": counted(13, 14)}, 17)
    assert first is not None
    assert second is not None
    assert (first.at, second.at, second.seconds) == (15.0, 15.0, 13.0)
    assert window(found, 60.0, 17.0).drafts == 280.0


def test_what_is_older_than_what_is_kept_is_dropped() -> None:
    found = steady(2000)
    assert len(found._batches) < 100
    assert len(found.batches(300.0, 1999 * 15.0)) == 20
    assert window(found, 300.0, 1999 * 15.0).drafts == 3000.0


def test_a_long_window_outgrows_its_first_table() -> None:
    found = Track(LAYOUT, 3700.0)
    for at in range(0, 7200, 15):
        found.take({"a": counted(at, at)}, at)
    assert window(found, 3600.0, 7185.0).drafts == 36_000.0


@pytest.mark.parametrize(
    ("without", "is_known"),
    [
        pytest.param(("drafts", "draft_tokens", "accepted_tokens"), True, id="no speculation"),
        pytest.param(("accepted_tokens",), False, id="drafts without accepted tokens are no collapse"),
        pytest.param(("drafts",), False, id="drafts are not counted where they should be"),
        pytest.param(("requests",), False, id="no requests"),
        pytest.param(("preemptions", "step_sum", "step_count", "generation_tokens"), True, id="nothing that must be"),
    ],
)
def test_a_part_of_the_counters_is_missing(without: tuple[Column, ...], is_known: bool) -> None:  # noqa: FBT001
    found = track()
    found.take({"a": counted(0, 0, without=without)}, 0)
    batch = found.take({"a": counted(15, 15, without=without)}, 15)
    answer = found.window(60, 15)
    assert (answer is not None) is is_known
    assert batch is not None
    assert (batch.drafts, batch.accepted_tokens) in ((150.0, 450.0), (0.0, 0.0))


def test_a_counter_that_pauses_for_one_scrape_hides_its_window_and_goes_on() -> None:
    found = track()
    for at in range(0, 180, 15):
        missing: tuple[Column, ...] = ("accepted_tokens",) if at == 30 else ()
        batch = found.take({"a": counted(at, at, without=missing)}, at)
        answer = found.window(60, at)
        assert (answer is None) is (at == 0 or 30 <= at < 105)
        if answer is not None:
            assert answer.acceptance_length == 4.0
        assert batch is None or batch.drafts in (0.0, 150.0)


def test_a_counter_that_appears_on_a_known_pod_starts_where_it_is_first_seen() -> None:
    """A changed scrape configuration lets through what was counted for days."""
    hidden: tuple[Column, ...] = ("drafts", "draft_tokens", "accepted_tokens")
    found = track()
    found.take({"a": counted(1e6, 0, without=hidden)}, 0)
    first = found.take({"a": counted(1e6 + 15, 15)}, 15)
    second = found.take({"a": counted(1e6 + 30, 30)}, 30)
    assert first is not None
    assert second is not None
    assert (first.drafts, second.drafts) == (0.0, 150.0)
    assert window(found, 60, 30).acceptance_length == 4.0


def test_buckets_that_are_missing_in_a_part_of_the_window_make_no_histogram() -> None:
    buckets: tuple[Column, ...] = (("tpot", 0.025), ("tpot", 0.05), ("tpot", math.inf))
    found = track()
    for at in (0.0, 15.0, 30.0, 45.0):
        found.take({"a": counted(at, at, without=buckets if at < 30 else ())}, at)
    assert window(found, 300, 45).tpot is None
    assert window(found, 15, 45).tpot is not None


V0_NAMES = metric_names(EngineVersion(0, 7, 3), Method.DRAFT_MODEL)
V0 = layout_of(V0_NAMES, {}, 5)


def test_an_engine_of_the_first_generation_is_measured_by_its_steps() -> None:
    rates: dict[Column, float] = {"draft_tokens": 50_000.0, "accepted_tokens": 4e4, "emitted_tokens": 25_000.0}
    rates |= {"step_count": 400.0, "step_sum": 4.0, "requests": 7.0}
    found = track(layout=V0)
    for scrape in range(3):
        values = {key: rate * scrape for key, rate in rates.items()}
        batch = found.take({"a": reading_of(V0, scrape * 15, values)}, scrape * 15)
    assert batch is not None
    assert (batch.drafts, batch.acceptance_length) == (400.0, 2.5)
    whole = window(found, 60, 30)
    assert (whole.drafts, whole.acceptance_length) == (800.0, 2.5)


def test_an_engine_that_fell_back_to_the_first_generation_is_read_as_one() -> None:
    names = metric_names(EngineVersion(0, 9, 2), Method.NGRAM)
    layout = layout_of(names, {}, 5)
    rates: dict[Column, float] = {"draft_tokens": 5000.0, "accepted_tokens": 4e3, "emitted_tokens": 2500.0}
    rates |= {"step_count": 400.0, "requests": 7.0}
    found = track(layout=layout)
    for scrape in range(2):
        values = {key: rate * scrape for key, rate in rates.items()}
        found.take({"a": reading_of(layout, scrape * 15, values)}, scrape * 15)
    assert window(found, 60, 15).acceptance_length == 2.5


def test_an_engine_without_tpot_has_none() -> None:
    layout = standard_layout(metric_names(EngineVersion(0, 10, 0)), edges(EngineVersion(0, 10, 0)))
    assert "tpot_sum" not in layout.index
    assert set(layout.histograms) == {"ttft", "e2e"}


def test_the_mean_of_tpot_needs_no_buckets() -> None:
    layout = layout_of(NAMES, {})
    found = track(layout=layout)
    for at in (0.0, 15.0):
        batch = found.take({"a": counted(at, at, layout=layout)}, at)
    assert batch is not None
    assert (batch.tpot_seconds_sum, batch.tpot_count) == (0.75, 30.0)
    assert window(found, 60, 15).tpot is None


def test_other_edges_keep_what_was_counted() -> None:
    found = steady(21)
    before = window(found, 60.0, 300.0)
    found.lay_out(layout_of(NAMES, {Fact.TPOT: (0.025,), Fact.TTFT: (0.1,)}, 5))
    after = window(found, 60.0, 300.0)
    assert after.drafts == before.drafts
    assert after.tpot == Histogram(((0.025, 60.0), (math.inf, 120.0)), pytest.approx(3.0), 120.0)
    assert after.ttft is None
    values: dict[Column, float] = {key: rate * 1315 for key, rate in PER_SECOND.items()}
    batch = found.take({"pod-0": reading_of(found.layout, 315, values)}, 315)
    assert batch is not None
    assert batch.drafts == 150.0


def test_acceptance_is_told_apart_by_temperature() -> None:
    cold, warm = temperature_family("0"), temperature_family("0.5-1")
    layout = layout_of(NAMES, {cold: (0.5, 1.0), warm: (0.5, 1.0)})
    found = track(layout=layout)
    assert found.temperatures(60, 0) == ()
    for scrape in range(2):
        values: dict[Column, float] = {f"{cold}_sum": 8.0 * scrape, f"{cold}_count": 10.0 * scrape}
        values |= {(cold, 0.5): 1.0 * scrape, (cold, 1.0): 10.0 * scrape, (cold, math.inf): 10.0 * scrape}
        found.take({"a": reading_of(layout, scrape * 15, values)}, scrape * 15)
    (bucket,) = found.temperatures(60, 15)
    assert bucket.temperature == "0"
    assert bucket.acceptance == Histogram(((0.5, 1.0), (1.0, 10.0), (math.inf, 10.0)), 8.0, 10.0)
    assert steady(3).temperatures(60, 30) == ()


LIVES = st.lists(
    st.tuples(
        st.integers(1, 4),  # scrape intervals until the next scrape that arrives
        st.booleans(),  # whether the pod restarts before it
        st.integers(0, 64).map(lambda part: part / 64),  # where in the interval; no counter falls by a rounding error
        st.integers(0, 40),  # tokens per second
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=250)
@given(lives=st.lists(LIVES, min_size=1, max_size=3))
def test_restarts_and_lost_scrapes_never_make_a_negative_or_inflated_increment(
    lives: list[list[tuple[int, bool, float, int]]],
) -> None:
    """What is counted between a scrape and the restart is lost; nothing else is, and nothing is invented."""
    layout = layout_of(NAMES, {Fact.TPOT: (0.025,)})
    found = Track(layout, 1e6)
    true, lost, at = 0.0, 0.0, 0.0
    counters = [7000.0 + pod for pod in range(len(lives))]
    ats = [0.0] * len(lives)

    def reading(pod: int) -> Reading:
        values: dict[Column, float] = {"requests": counters[pod], "tpot_sum": counters[pod] / 100}
        values |= {"tpot_count": counters[pod], ("tpot", 0.025): counters[pod], ("tpot", math.inf): counters[pod]}
        return reading_of(layout, ats[pod], values)

    found.take({str(pod): reading(pod) for pod in range(len(lives))}, 0.0)
    for step in range(max(len(life) for life in lives)):
        for pod, life in enumerate(lives):
            if step >= len(life):
                continue
            intervals, restarts, where, rate = life[step]
            gained = 15.0 * intervals * rate
            if restarts and gained * (1 - where) < counters[pod]:
                lost += gained * where
                counters[pod] = gained * (1 - where)
            else:
                counters[pod] += gained
            true += gained
            ats[pod] += 15.0 * intervals
        at = max(ats)
        batch = found.take({str(pod): reading(pod) for pod in range(len(lives))}, at)
        assert batch is None or batch.requests >= 0
    whole = found.window(1e6, at)
    assert whole is not None
    assert whole.requests == pytest.approx(true - lost)
    assert whole.tpot is not None
    counts = [count for _, count in whole.tpot.buckets]
    assert counts == sorted(counts)
    assert sum(batch.requests for batch in found.batches(1e6, at)) == pytest.approx(true - lost)


@given(
    rows=st.lists(
        st.lists(st.one_of(st.floats(0, 1e15), st.just(math.nan)), min_size=13, max_size=13), min_size=1, max_size=12
    )
)
def test_whatever_is_counted_no_number_is_negative_or_undefined(rows: list[list[float]]) -> None:
    found = track()
    for scrape, row in enumerate(rows):
        batch = found.take({"a": Reading(scrape * 15.0, np.array(row))}, scrape * 15.0)
        if batch is not None:
            numbers = [getattr(batch, name) for name in Batch.__slots__]
            assert all(math.isfinite(number) and number >= 0 for number in numbers)
    found.window(300, len(rows) * 15.0)
