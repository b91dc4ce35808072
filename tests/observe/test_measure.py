"""One tick: answers of Prometheus in, one of four words per deployment out."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from builders import NOW, resource
from hypothesis import given
from hypothesis import strategies as st

from specdecode.api.vocabulary import Method, Mode
from specdecode.decide.facts import Availability, CacheReading, Histogram, Measurement
from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.measure import Subject, measure, subject_of
from specdecode.observe.prometheus import Answer, Failure, Sample, Samples

KEY = ("serving", "llama-70b")
SUBJECT = Subject(KEY, Mode.QUANTIZED_DRAFT, metric_names(EngineVersion(0, 32, 0)), 300.0)
STATE = {"targets": 2.0, "up": 2.0, "age": 4.0}
COUNTED = {
    "drafts": 4000.0,
    "draft_tokens": 20_000.0,
    "accepted_tokens": 15_000.0,
    "requests": 600.0,
    "preemptions": 1.0,
    "step_sum": 400.0,
    "step_count": 4000.0,
    "tpot_sum": 12.0,
    "tpot_count": 600.0,
    "running": 16.0,
    "waiting": 2.0,
    "kv_cache_usage": 0.4,
}
BUCKETS = {("tpot_bucket", "0.025"): 580.0, ("tpot_bucket", "0.05"): 579.5, ("tpot_bucket", "+Inf"): 600.0}


def labels(
    mode: str = "QuantizedDraft", arm: str = "main", namespace: str = "serving", name: str = "llama-70b"
) -> dict[str, str]:
    every = {
        "namespace": namespace,
        "specdecode_io_deployment": name,
        "specdecode_io_mode": mode,
        "specdecode_io_arm": arm,
    }
    return {label: value for label, value in every.items() if value}


@dataclass
class World:
    """What Prometheus has of one deployment, mode and arm."""

    labels: Mapping[str, str] = field(default_factory=labels)
    state: Mapping[str, float | None] = field(default_factory=lambda: STATE)
    counted: Mapping[str, float | None] = field(default_factory=lambda: COUNTED)
    """The same in every window; None is NaN."""
    buckets: Mapping[tuple[str, str], float] = field(default_factory=lambda: BUCKETS)
    windows: tuple[str, ...] = ("60s", "300s")

    def series(self, window: str | None) -> Iterable[tuple[dict[str, str], float | None]]:
        if window is None:
            return [({**self.labels, "fact": fact}, value) for fact, value in self.state.items()]
        if window not in self.windows:
            return []
        placed = {**self.labels, "window": window}
        facts = [({**placed, "fact": fact}, value) for fact, value in self.counted.items()]
        return facts + [({**placed, "fact": fact, "le": le}, value) for (fact, le), value in self.buckets.items()]


class Canned:
    """A Prometheus that knows some worlds, and may fail for one of the requests."""

    def __init__(self, *worlds: World, failing: str | None = None) -> None:
        self.worlds = worlds
        self.failing = failing
        self.asked: list[tuple[str, datetime]] = []

    async def query(self, promql: str, *, at: datetime) -> Answer:
        self.asked.append((promql, at))
        found = re.search(r'"window","(\w+)"', promql)
        window = found[1] if found else None
        if self.failing is not None and self.failing == (window or "state"):
            return Failure("Prometheus answered only in part: store gateway 3 is down")
        series = [pair for world in self.worlds for pair in world.series(window)]
        return Samples(
            tuple(Sample(place, value) for place, value in series if value is not None),
            tuple(place for place, value in series if value is None),
        )


async def measured(client: Canned, *subjects: Subject, scrape: float = 15.0) -> Mapping[tuple[str, str], Measurement]:
    return await measure(client, subjects or (SUBJECT,), now=NOW, scrape_interval_seconds=scrape)


def without(facts: Mapping[str, float | None], *names: str) -> dict[str, float | None]:
    return {name: value for name, value in facts.items() if name not in names}


async def test_healthy_traffic_is_measured_in_two_windows() -> None:
    found = (await measured(Canned(World())))[KEY]
    assert (found.availability, found.cause) == (Availability.MEASURED, "")
    assert (found.mode, found.pods_up, found.newest_sample_age_seconds) == (Mode.QUANTIZED_DRAFT, 2, 4.0)
    assert found.fast is not None
    assert found.slow is not None
    assert (found.fast.seconds, found.slow.seconds) == (60.0, 300.0)
    assert (found.slow.acceptance_rate, found.slow.acceptance_length) == (0.75, 4.75)
    assert (found.slow.running_requests, found.slow.waiting_requests, found.slow.kv_cache_usage) == (16.0, 2.0, 0.4)
    assert (found.slow.step_seconds_sum, found.slow.step_count, found.slow.preemptions) == (400.0, 4000.0, 1.0)


async def test_bucket_counts_ascend_even_where_extrapolation_does_not() -> None:
    found = (await measured(Canned(World())))[KEY]
    assert found.slow is not None
    ascending = ((0.025, 580.0), (0.05, 580.0), (float("inf"), 600.0))
    assert found.slow.tpot == Histogram(ascending, sum_seconds=12.0, count=600.0)
    assert found.slow.ttft is None


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(World(buckets={("tpot_bucket", "0.025"): 600.0}), id="no infinite bucket"),
        pytest.param(World(buckets={}), id="no buckets"),
        pytest.param(World(buckets={("tpot_bucket", "1.2.3"): 600.0}), id="a bound that is no number"),
        pytest.param(World(counted=without(COUNTED, "tpot_sum")), id="no sum"),
        pytest.param(World(counted=without(COUNTED, "tpot_count")), id="no count"),
    ],
)
async def test_a_histogram_with_a_part_missing_is_none(world: World) -> None:
    found = (await measured(Canned(world)))[KEY]
    assert found.availability is Availability.MEASURED
    assert found.slow is not None
    assert found.slow.tpot is None


@pytest.mark.parametrize(
    ("world", "availability", "cause"),
    [
        pytest.param(
            World(counted=without(COUNTED, "drafts", "draft_tokens", "accepted_tokens")),
            Availability.MEASURED,
            "",
            id="no counters of speculation at all: there is none",
        ),
        pytest.param(
            World(counted=without(COUNTED, "accepted_tokens")),
            Availability.NO_DATA,
            "a part of the counters",
            id="drafts without accepted tokens are a broken answer, no collapse",
        ),
        pytest.param(
            World(counted=without(COUNTED, "requests")),
            Availability.NO_DATA,
            "less than two scrapes",
            id="pods too young for an increase",
        ),
        pytest.param(
            World(counted=without(COUNTED, "running")), Availability.NO_DATA, "less than two scrapes", id="no load"
        ),
        pytest.param(World(windows=("300s",)), Availability.NO_DATA, "less than two scrapes", id="no fast window"),
        pytest.param(
            World(counted={**COUNTED, "accepted_tokens": None}),
            Availability.NO_DATA,
            "NaN for accepted_tokens",
            id="NaN is no number",
        ),
        pytest.param(
            World(state=dict.fromkeys(STATE), counted=dict.fromkeys(COUNTED), buckets={}),
            Availability.NO_DATA,
            "NaN for accepted_tokens, age",
            id="everything is NaN",
        ),
        pytest.param(
            World(state={"targets": 2.0, "up": 0.0}),
            Availability.NO_DATA,
            "the pods are down: 2 scraped",
            id="pods are down",
        ),
        pytest.param(
            World(state={"age": 4.0}), Availability.NO_DATA, "no pod is scraped any more", id="left-over series"
        ),
        pytest.param(
            World(state={"targets": 2.0, "up": 2.0}),
            Availability.NO_DATA,
            "without the metrics of vLLM",
            id="scraped without vLLM's metrics",
        ),
        pytest.param(
            World(state={**STATE, "age": 45.1}),
            Availability.NO_DATA,
            "stale: no sample for more than 45s",
            id="older than three scrapes",
        ),
        pytest.param(World(state={**STATE, "age": 45.0}), Availability.MEASURED, "", id="three scrapes old"),
        pytest.param(World(state={**STATE, "age": -30.1}), Availability.NO_DATA, "clock skew", id="from the future"),
        pytest.param(World(state={**STATE, "age": -29.0}), Availability.MEASURED, "", id="clocks a little apart"),
        pytest.param(
            World(counted={**COUNTED, "drafts": 0.0, "requests": 0.0, "running": 0.0}),
            Availability.NO_TRAFFIC,
            "no request ran or finished within 5m",
            id="idle",
        ),
        pytest.param(
            World(counted={**COUNTED, "drafts": 0.0, "requests": 0.0}),
            Availability.MEASURED,
            "",
            id="one long request runs",
        ),
        pytest.param(
            World(labels=labels(mode="Off")),
            Availability.NO_DATA,
            "series of llama-70b in mode Off and none in mode QuantizedDraft",
            id="another mode only",
        ),
        pytest.param(
            World(labels=labels(arm="")),
            Availability.NO_DATA,
            "lack the label specdecode_io_mode or",
            id="the arm is not copied",
        ),
        pytest.param(
            World(labels=labels(namespace="")),
            Availability.NO_DATA,
            "carry no label namespace",
            id="the namespace is not copied",
        ),
        pytest.param(
            World(labels=labels(namespace="elsewhere")),
            Availability.NO_DATA,
            "no pod of llama-70b is scraped",
            id="the same name in another namespace",
        ),
        pytest.param(
            World(labels=labels(name="other")),
            Availability.NO_DATA,
            "no pod of llama-70b is scraped",
            id="nothing of this deployment",
        ),
    ],
)
async def test_availability(world: World, availability: Availability, cause: str) -> None:
    found = (await measured(Canned(world)))[KEY]
    assert found.availability is availability
    assert cause in found.cause
    assert (found.cause == "") is (availability is Availability.MEASURED)


@pytest.mark.parametrize("failing", ["state", "60s", "300s"])
async def test_one_failed_or_partial_request_makes_everything_unreachable(failing: str) -> None:
    other = replace(SUBJECT, key=("serving", "other"))
    found = await measured(Canned(World(), failing=failing), SUBJECT, other)
    assert {item.availability for item in found.values()} == {Availability.UNREACHABLE}
    assert all("store gateway 3" in item.cause for item in found.values())
    assert set(found) == {KEY, other.key}


async def test_deployments_modes_and_arms_are_kept_apart() -> None:
    off = Subject(("serving", "plain"), Mode.OFF, SUBJECT.metric_names, 300.0)
    busy = {**COUNTED, "requests": 7.0}
    worlds = (
        World(),
        World(labels(mode="Off", name="plain"), counted=without(busy, "drafts", "draft_tokens", "accepted_tokens")),
        World(labels(arm="control"), counted={**COUNTED, "requests": 1.0}),
        World(labels(mode="Draft"), counted={**COUNTED, "requests": 2.0}),
        World(labels(namespace="elsewhere"), counted={**COUNTED, "requests": 3.0}),
    )
    found = await measured(Canned(*worlds), SUBJECT, off)
    requests = {key: item.slow.requests for key, item in found.items() if item.slow}
    assert requests == {KEY: 600.0, off.key: 7.0}


async def test_a_tick_asks_once_for_all_and_at_one_instant() -> None:
    client = Canned()
    subjects = [replace(SUBJECT, key=("serving", f"m{index}"), window_seconds=60.0 + index) for index in range(50)]
    found = await measured(client, *subjects)
    assert len(found) == 50
    assert len(client.asked) <= 8
    assert {at for _, at in client.asked} == {NOW}


async def test_a_long_scrape_interval_lengthens_window_and_patience() -> None:
    client = Canned(World(state={**STATE, "age": 280.0}, windows=("400s",)))
    found = (await measured(client, scrape=100.0))[KEY]
    assert found.availability is Availability.MEASURED
    assert found.slow is not None
    assert found.slow.seconds == 400.0


async def test_only_the_given_namespaces_are_asked_for() -> None:
    client = Canned(World())
    await measure(client, (SUBJECT,), now=NOW, scrape_interval_seconds=15.0, namespaces=("serving",))
    assert all('namespace=~"serving"' in text for text, _ in client.asked)


async def test_nobody_to_measure_asks_nothing() -> None:
    client = Canned()
    assert await measure(client, (), now=NOW, scrape_interval_seconds=15.0) == {}
    assert client.asked == []


V0_NAMES = metric_names(EngineVersion(0, 7, 3), Method.DRAFT_MODEL)
V0_COUNTED: dict[str, float | None] = {
    **without(COUNTED, "drafts", "tpot_sum", "tpot_count"),
    "draft_tokens": 200_000.0,
    "accepted_tokens": 190_000.0,
    "emitted_tokens": 100_000.0,
}
"""Totals added up: 40,000 drafts by the counter, where 4000 steps were taken; 2.5 tokens came out of each."""


async def test_an_engine_of_the_first_generation_is_measured_by_its_steps() -> None:
    subject = replace(SUBJECT, metric_names=V0_NAMES, num_speculative_tokens=5)
    found = (await measured(Canned(World(counted=V0_COUNTED, buckets={})), subject))[KEY]
    assert found.availability is Availability.MEASURED
    assert found.slow is not None
    assert (found.slow.drafts, found.slow.draft_tokens, found.slow.acceptance_length) == (4000.0, 20_000.0, 2.5)
    assert found.slow.acceptance_rate == pytest.approx(0.3)


async def test_an_engine_that_fell_back_to_the_first_generation_is_read_as_one() -> None:
    names = metric_names(EngineVersion(0, 9, 2), Method.NGRAM)
    assert names.drafts is not None
    subject = replace(SUBJECT, metric_names=names, num_speculative_tokens=5)
    found = (await measured(Canned(World(counted=V0_COUNTED)), subject))[KEY]
    assert found.slow is not None
    assert (found.slow.drafts, found.slow.acceptance_length) == (4000.0, 2.5)


async def test_a_fleet_of_every_version_is_measured_in_one_tick() -> None:
    versions = [EngineVersion(0, 6, 0), EngineVersion(0, 7, 3), EngineVersion(0, 8, 5), EngineVersion(0, 9, 2)]
    versions += [EngineVersion(0, minor, 0) for minor in range(10, 34)]
    subjects, worlds = [], []
    for version in versions:
        name = f"v{version.minor}"
        method = Method.DRAFT_MODEL if version < EngineVersion(0, 10) else Method.NGRAM
        names = metric_names(version, method)
        seconds = 60.0 + 10 * version.minor
        subjects.append(Subject(("serving", name), SUBJECT.mode, names, seconds, num_speculative_tokens=5))
        counted = COUNTED if names.emitted_tokens is None else V0_COUNTED
        worlds.append(World(labels(name=name), counted=counted, windows=("60s", "120s", "300s", "600s")))
    client = Canned(*worlds)
    found = await measured(client, *subjects)
    assert len(client.asked) <= 8
    lengths = {key[1]: item.slow.acceptance_length for key, item in found.items() if item.slow is not None}
    expected = {f"v{version.minor}": 2.5 if version < EngineVersion(0, 10) else 4.75 for version in versions}
    assert lengths == expected


def caches(*sizes: tuple[str, str]) -> tuple[World, ...]:
    """One world per size of KV cache that a pod reports, beside the healthy one."""
    reported = [{"fact": "cache", "num_gpu_blocks": blocks, "block_size": size} for blocks, size in sizes]
    empty = World(state={}, counted={}, buckets={})
    return World(), *(replace(empty, labels={**labels(), **more}, state={"cache": 1.0}) for more in reported)


@pytest.mark.parametrize(
    ("sizes", "reading"),
    [
        pytest.param([("4681", "128"), ("3640", "128")], CacheReading(3640, 128), id="the smallest pod"),
        pytest.param([("None", "16"), ("4681", "16")], CacheReading(4681, 16), id="one has not counted yet"),
        pytest.param([("None", "None")], None, id="nobody says"),
        pytest.param([], None, id="no such series"),
    ],
)
async def test_the_cache_of_the_engines_is_read(sizes: list[tuple[str, str]], reading: CacheReading | None) -> None:
    found = (await measured(Canned(*caches(*sizes))))[KEY]
    assert found.availability is Availability.MEASURED
    assert found.cache == reading


async def test_the_cache_of_another_arm_or_mode_is_not_read() -> None:
    told = {"fact": "cache", "num_gpu_blocks": "7", "block_size": "16"}
    others = (labels(arm="control"), labels(mode="Off"), labels(namespace="elsewhere"))
    worlds = [World({**place, **told}, state={"cache": 1.0}, counted={}, buckets={}) for place in others]
    assert (await measured(Canned(World(), *worlds)))[KEY].cache is None


ODD = st.text() | st.sampled_from(["None", "NaN", "-1", "1e9", "0", "cache", "drafts", "60s", "+Inf"])


@given(
    series=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["num_gpu_blocks", "block_size", "le", "fact", "window", "engine"]), ODD),
            st.floats(),
        ),
        max_size=8,
    )
)
async def test_no_label_value_and_no_number_breaks_a_tick(series: list[tuple[dict[str, str], float]]) -> None:
    class Odd:
        async def query(self, promql: str, *, at: datetime) -> Answer:  # noqa: ARG002  the signature of a client
            placed = [({**labels(), **more}, value) for more, value in series]
            return Samples(tuple(Sample(place, value) for place, value in placed if math.isfinite(value)))

    found = await measure(Odd(), (SUBJECT,), now=NOW, scrape_interval_seconds=15.0)
    assert isinstance(found[KEY], Measurement)


@pytest.mark.parametrize(
    ("mode", "version", "names", "tokens"),
    [
        pytest.param(
            Mode.DRAFT, "0.9.2", metric_names(EngineVersion(0, 9, 2), Method.DRAFT_MODEL), 5, id="first generation"
        ),
        pytest.param(
            Mode.NGRAM,
            "0.9.2",
            metric_names(EngineVersion(0, 9, 2), Method.NGRAM),
            5,
            id="n-gram is of the second",
        ),
        pytest.param(Mode.OFF, "0.32.0", metric_names(EngineVersion(0, 32)), 0, id="no speculation"),
    ],
)
def test_what_is_asked_follows_from_mode_and_version(mode: Mode, version: str, names: MetricNames, tokens: int) -> None:
    wanted = resource(**{"spec.guard.window": "2m"})
    subject = subject_of(wanted, mode, EngineVersion.parse(version))
    assert subject == Subject(wanted.key, mode, names, 120.0, tokens)
