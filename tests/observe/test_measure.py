"""Ticks: what Prometheus answers in, one of four words per deployment out; and what a restart of the operator costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from builders import NOW, condition, resource, status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from observe.engines import BUCKETS, GAUGES, NAMES, RATES, T0, Engine, Prometheus, labels, without

from specdecode.api.status import ConditionType
from specdecode.api.vocabulary import Arm, Method, Mode
from specdecode.decide.facts import NO_SIGNALS, Availability, CacheReading, Measurement, Signals
from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.measure import REBUILD_ATTEMPTS, Observer
from specdecode.observe.prometheus import Answer, Past, Sample, Samples
from specdecode.observe.subject import Subject, subject_of

KEY = ("serving", "llama-70b")
SUBJECT = Subject(KEY, Mode.QUANTIZED_DRAFT, NAMES, 300.0, num_speculative_tokens=5, spec_hash="a")
SETTLED = replace(SUBJECT, settled_since=T0 - 7200)
SECOND = Engine(instance="10.0.0.2:8000", phase=11.0)
SPECULATION = ("drafts", "draft_tokens", "accepted_tokens")


@pytest.fixture(autouse=True)
def detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors that only keep what they are shown; `design_effect` is how many batches that was."""
    seen = SimpleNamespace(
        EMPTY_WATCH=(),
        watched=lambda watch, batch, **_: (*watch, batch),
        signals=lambda watch: Signals(design_effect=float(len(watch))),
    )
    monkeypatch.setattr("specdecode.observe.follow.detect", seen)


@dataclass
class Run:
    """An operator that ticks; the last tick is at `NOW`."""

    prometheus: Prometheus
    scrape: float = 15.0
    namespaces: tuple[str, ...] = ()
    observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        self.observer = Observer(self.prometheus, scrape_interval_seconds=self.scrape, namespaces=self.namespaces)

    async def tick(self, *subjects: Subject, before: float = 0.0) -> Mapping[tuple[str, str], Measurement]:
        """One tick, some seconds before `NOW`."""
        return await self.observer.tick(subjects or (SUBJECT,), NOW - timedelta(seconds=before))

    async def ticks(
        self, *subjects: Subject, count: int = 24, every: float = 15.0
    ) -> Mapping[tuple[str, str], Measurement]:
        """Several ticks up to `NOW`."""
        for left in range(count - 1, 0, -1):
            await self.tick(*subjects, before=left * every)
        return await self.tick(*subjects)


async def measured(*engines: Engine, subject: Subject = SUBJECT, **more: Any) -> Measurement:
    """What six minutes of ticks say of one subject."""
    return (await Run(Prometheus(engines), **more).ticks(subject))[subject.key]


async def test_healthy_traffic_is_measured_in_two_windows() -> None:
    found = await measured(Engine(caches=(("3640", "16"),)), SECOND)
    assert (found.availability, found.cause) == (Availability.MEASURED, "")
    assert (found.mode, found.arm, found.pods_up, found.newest_sample_age_seconds) == (SUBJECT.mode, Arm.MAIN, 2, 4.0)
    assert found.cache == CacheReading(3640, 16)
    assert found.fast is not None
    assert found.slow is not None
    assert (found.fast.seconds, found.slow.seconds) == (60.0, 300.0)
    assert (found.fast.drafts, found.slow.drafts) == (1200.0, 6000.0)
    assert (found.slow.acceptance_rate, found.slow.acceptance_length) == (0.75, 4.75)
    assert (found.slow.running_requests, found.slow.waiting_requests, found.slow.kv_cache_usage) == (16.0, 2.0, 0.4)
    assert found.slow.tpot is not None
    assert found.slow.tpot.buckets == ((0.025, 900.0), (0.05, 1200.0), (math.inf, 1200.0))
    assert found.slow.tpot.mean_seconds == pytest.approx(0.02)
    assert found.slow.ttft is not None
    assert found.slow.e2e is not None
    assert len(found.batches) == 20
    assert sum(batch.drafts for batch in found.batches) == found.slow.drafts
    assert found.control is None
    assert found.temperatures == ()


@pytest.mark.parametrize(
    "buckets",
    [
        pytest.param({}, id="no buckets"),
        pytest.param({"tpot": {"0.025": 2.0}}, id="no infinite bucket"),
        pytest.param({"tpot": {"1.2.3": 2.0}}, id="a bound that is no number"),
    ],
)
async def test_a_histogram_with_a_part_missing_is_none(buckets: Mapping[str, Mapping[str, float]]) -> None:
    found = await measured(Engine(buckets=buckets))
    assert found.availability is Availability.MEASURED
    assert found.slow is not None
    assert found.slow.tpot is None


async def test_pods_with_other_edges_are_read_by_the_edges_they_share() -> None:
    other = replace(SECOND, buckets={"tpot": {"0.02": 1.0, "0.05": 2.0, "+Inf": 2.0}})
    found = await measured(Engine(), other)
    assert found.slow is not None
    assert found.slow.tpot is not None
    assert found.slow.tpot.buckets == ((0.05, 1200.0), (math.inf, 1200.0))


async def test_edges_that_change_keep_the_counters() -> None:
    """A new pod of the same mode comes with `--custom-histogram-buckets`."""
    run = Run(Prometheus((Engine(),)))
    await run.ticks()
    run.prometheus.engines = (Engine(), replace(SECOND, started=T0 + 16, buckets={"tpot": {"0.05": 2.0, "+Inf": 2.0}}))
    for later in (15, 30, 45):
        found = (await run.tick(before=-later))[KEY]
    assert found.slow is not None
    assert found.slow.drafts == 3150.0
    assert found.slow.tpot is not None
    assert [bound for bound, _ in found.slow.tpot.buckets] == [0.05, math.inf]


@pytest.mark.parametrize(
    ("engine", "availability", "cause"),
    [
        pytest.param(
            without(Engine(), *SPECULATION),
            Availability.MEASURED,
            "",
            id="no counters of speculation at all: there is none",
        ),
        pytest.param(
            without(Engine(), "accepted_tokens"),
            Availability.NO_DATA,
            "a part of the counters",
            id="drafts without accepted tokens are a broken answer, no collapse",
        ),
        pytest.param(
            without(Engine(), "requests"), Availability.NO_DATA, "a part of the counters", id="requests are missing"
        ),
        pytest.param(
            Engine(started=T0 - 10), Availability.NO_DATA, "less than two scrapes", id="a pod too young for an increase"
        ),
        pytest.param(
            Engine(not_a_number=("accepted_tokens",)),
            Availability.NO_DATA,
            "NaN for accepted_tokens",
            id="NaN is no number",
        ),
        pytest.param(
            Engine(not_a_number=("targets", "scraped_at", *RATES, *GAUGES)),
            Availability.NO_DATA,
            "NaN for accepted_tokens, draft_tokens, drafts",
            id="everything is NaN",
        ),
        pytest.param(
            Engine(up=0.0, has_metrics=False),
            Availability.NO_DATA,
            "the pods are down: 1 scraped",
            id="pods are down",
        ),
        pytest.param(Engine(targets=None), Availability.NO_DATA, "no pod is scraped any more", id="left-over series"),
        pytest.param(
            Engine(has_metrics=False),
            Availability.NO_DATA,
            "without the metrics of vLLM",
            id="scraped without vLLM's metrics",
        ),
        pytest.param(
            without(Engine(), "running"),
            Availability.NO_DATA,
            "without the metrics of vLLM",
            id="nothing says when it was scraped",
        ),
        pytest.param(
            Engine(lost=frozenset({0, 1, 2})),
            Availability.NO_DATA,
            "stale: no sample for more than 45s",
            id="older than three scrapes",
        ),
        pytest.param(Engine(lost=frozenset({0, 1})), Availability.MEASURED, "", id="two scrapes were lost"),
        pytest.param(
            Engine(clock_ahead=35.0),
            Availability.NO_DATA,
            "clock skew",
            id="from the future",
        ),
        pytest.param(Engine(clock_ahead=33.0), Availability.MEASURED, "", id="clocks a little apart"),
        pytest.param(
            Engine(rates=dict.fromkeys(RATES, 0.0), gauges={**GAUGES, "running": 0.0}),
            Availability.NO_TRAFFIC,
            "no request ran or finished within 5m",
            id="idle",
        ),
        pytest.param(Engine(rates=dict.fromkeys(RATES, 0.0)), Availability.MEASURED, "", id="one long request runs"),
        pytest.param(
            Engine(labels(mode="Off")),
            Availability.NO_DATA,
            "series of llama-70b in mode Off and none in mode QuantizedDraft",
            id="another mode only",
        ),
        pytest.param(
            Engine(labels(arm="")),
            Availability.NO_DATA,
            "lack the label specdecode_io_arm; let the scrape configuration copy it from the pod: add {source_labels: "
            "[__meta_kubernetes_pod_label_specdecode_io_arm], target_label: specdecode_io_arm} to relabel_configs",
            id="the arm is not copied",
        ),
        pytest.param(
            Engine(labels(mode="")), Availability.NO_DATA, "target_label: specdecode_io_mode}", id="nor the mode"
        ),
        pytest.param(
            Engine(labels(namespace="")),
            Availability.NO_DATA,
            "carry no label namespace; let the scrape configuration copy it from the pod: add {source_labels: "
            "[__meta_kubernetes_namespace], target_label: namespace} to relabel_configs",
            id="the namespace is not copied",
        ),
        pytest.param(
            Engine(labels(namespace="elsewhere")),
            Availability.NO_DATA,
            "no pod of llama-70b is scraped",
            id="the same name in another namespace",
        ),
        pytest.param(
            Engine(labels(name="other")),
            Availability.NO_DATA,
            "no pod of llama-70b is scraped",
            id="nothing of this deployment",
        ),
    ],
)
async def test_availability(engine: Engine, availability: Availability, cause: str) -> None:
    found = await measured(engine)
    assert found.availability is availability
    assert cause in found.cause
    assert (found.cause == "") is (availability is Availability.MEASURED)


async def test_less_than_two_scrapes_are_no_window() -> None:
    run = Run(Prometheus((Engine(),)))
    first = (await run.tick(before=15))[KEY]
    assert (first.availability, first.fast, first.batches) == (Availability.NO_DATA, None, ())
    second = (await run.tick())[KEY]
    assert second.availability is Availability.MEASURED
    assert len(second.batches) == 1


async def test_a_pod_that_restarts_counts_from_zero() -> None:
    found = await measured(Engine(started=T0 - 64 - 7.5, before=T0 - 86_400))
    assert found.slow is not None
    assert found.slow.drafts == pytest.approx(3000 - 75, abs=80)
    assert found.slow.acceptance_length == pytest.approx(4.75)
    assert min(batch.drafts for batch in found.batches) >= 0


async def test_a_lost_scrape_costs_nothing() -> None:
    found = await measured(Engine(lost=frozenset({3, 7, 8})))
    assert found.slow is not None
    assert found.slow.drafts == 3000.0
    assert sorted(batch.seconds for batch in found.batches)[-2:] == [30.0, 45.0]


@pytest.mark.parametrize("failing", ["state", "counters"])
async def test_one_failed_or_partial_request_makes_everything_unreachable(failing: str) -> None:
    run = Run(Prometheus((Engine(),)))
    other = replace(SUBJECT, key=("serving", "other"))
    await run.ticks(SUBJECT, other)
    run.prometheus.failing = frozenset({failing})
    found = await run.tick(SUBJECT, other, before=-15)
    assert {item.availability for item in found.values()} == {Availability.UNREACHABLE}
    assert all("store gateway 3" in item.cause for item in found.values())
    assert set(found) == {KEY, other.key}
    run.prometheus.failing = frozenset()
    after = (await run.tick(SUBJECT, other, before=-30))[KEY]
    assert after.slow is not None
    assert (after.availability, after.slow.drafts) == (Availability.MEASURED, 3000.0), "the next tick spans it"
    assert after.batches[-1].seconds == 30.0


async def test_what_happened_in_a_long_outage_is_not_counted() -> None:
    run = Run(Prometheus((Engine(),)))
    await run.ticks(SUBJECT, count=24)
    found = (await run.tick(before=-900))[KEY]
    assert (found.availability, found.batches) == (Availability.NO_DATA, ())
    found = (await run.tick(before=-915))[KEY]
    assert [batch.seconds for batch in found.batches] == [15.0]


@pytest.mark.parametrize("not_a_number", [("accepted_tokens",), ("scraped_at", *RATES, *GAUGES)])
async def test_nan_changes_nothing_that_is_remembered(not_a_number: tuple[str, ...]) -> None:
    run = Run(Prometheus((Engine(),)))
    await run.ticks()
    run.prometheus.engines = (Engine(not_a_number=not_a_number),)
    blind = (await run.tick(before=-15))[KEY]
    assert (blind.availability, blind.slow) == (Availability.NO_DATA, None)
    run.prometheus.engines = (Engine(),)
    after = (await run.tick(before=-30))[KEY]
    assert after.slow is not None
    assert (after.slow.drafts, after.slow.acceptance_length) == (3000.0, 4.75)


async def test_a_scrape_in_the_future_changes_nothing_that_is_remembered() -> None:
    run = Run(Prometheus((Engine(),)))
    await run.ticks()
    run.prometheus.engines = (Engine(clock_ahead=60.0),)
    blind = (await run.tick(before=-15))[KEY]
    assert (blind.availability, blind.slow) == (Availability.NO_DATA, None)
    run.prometheus.engines = (Engine(),)
    after = (await run.tick(before=-30))[KEY]
    assert after.slow is not None
    assert (after.slow.drafts, after.batches[-1].seconds) == (3000.0, 30.0), "the next tick spans it"


async def test_deployments_modes_and_arms_are_kept_apart() -> None:
    off = Subject(("serving", "plain"), Mode.OFF, NAMES, 300.0)

    def busy(requests: float, **place: str) -> Engine:
        return Engine(labels(**place), rates={**RATES, "requests": requests}, instance="10.0.0.9:8000")

    engines = (
        Engine(),
        without(busy(7, mode="Off", name="plain"), *SPECULATION),
        busy(1, arm="control"),
        busy(3, mode="Draft"),
        busy(4, namespace="elsewhere"),
    )
    found = await Run(Prometheus(engines)).ticks(SUBJECT, off)
    requests = {key: item.slow.requests for key, item in found.items() if item.slow}
    assert requests == {KEY: 600.0, off.key: 2100.0}


async def test_the_control_arm_is_measured_at_the_same_time_where_one_is_wanted() -> None:
    subject = replace(SUBJECT, control_names=NAMES)
    control = without(Engine(labels(arm="control", mode="Off"), instance="10.0.0.9:8000"), *SPECULATION)
    found = await measured(Engine(), control, subject=subject)
    assert found.control is not None
    assert (found.control.availability, found.control.mode, found.control.arm) == (
        Availability.MEASURED,
        Mode.OFF,
        Arm.CONTROL,
    )
    assert found.control.slow is not None
    assert (found.control.slow.requests, found.control.slow.drafts) == (600.0, 0.0)
    assert [batch.at for batch in found.control.batches] == [batch.at for batch in found.batches]
    assert found.control.signals is NO_SIGNALS
    assert (await measured(Engine(), control)).control is None, "none is wanted"
    assert (await measured(Engine(), subject=subject)).control is None, "none was seen"
    blind = await measured(Engine(), replace(control, up=0.0), subject=subject)
    assert blind.availability is Availability.MEASURED
    assert blind.control is not None
    assert (blind.control.availability, blind.control.arm) == (Availability.NO_DATA, Arm.CONTROL)
    assert "the pods are down" in blind.control.cause


async def test_acceptance_of_requests_is_told_apart_by_temperature() -> None:
    run = Run(Prometheus())
    base = "specdecode:request_acceptance_rate"
    for tick in range(3):
        extra = {
            (("__name__", f"{base}_{suffix}"), ("temperature_bucket", "0.5-1"), *bound): value * tick
            for suffix, bound, value in (
                ("sum", (), 4.0),
                ("count", (), 10.0),
                ("bucket", (("le", "0.5"),), 8.0),
                ("bucket", (("le", "+Inf"),), 10.0),
            )
        }
        run.prometheus.engines = (Engine(extra=extra),)
        found = (await run.tick(before=-15 * tick))[KEY]
    (bucket,) = found.temperatures
    assert (bucket.temperature, bucket.acceptance.buckets) == ("0.5-1", ((0.5, 16.0), (math.inf, 20.0)))
    assert bucket.acceptance.mean_seconds == 0.4


async def test_a_tick_asks_twice_for_all_and_at_one_instant() -> None:
    run = Run(Prometheus())
    subjects = [replace(SUBJECT, key=("serving", f"m{index}"), window_seconds=60.0 + index) for index in range(50)]
    found = await run.tick(*subjects)
    assert len(found) == 50
    assert len(run.prometheus.asked) == 2
    assert {at for _, at in run.prometheus.asked} == {T0}
    assert run.prometheus.asked_ranges == []


async def test_a_long_scrape_interval_lengthens_window_and_patience() -> None:
    run = Run(Prometheus((Engine(interval=100.0, phase=80.0, lost=frozenset({0, 1})),)), scrape=100.0)
    found = (await run.ticks(every=100.0))[KEY]
    assert (found.availability, found.newest_sample_age_seconds) == (Availability.MEASURED, 280.0)
    assert found.slow is not None
    assert found.slow.seconds == 400.0


async def test_only_the_given_namespaces_are_asked_for() -> None:
    run = Run(Prometheus(), namespaces=("serving",))
    await run.tick()
    assert all('namespace=~"serving"' in text for text, _ in run.prometheus.asked)


async def test_nobody_to_measure_asks_nothing() -> None:
    prometheus = Prometheus()
    observer = Observer(prometheus, scrape_interval_seconds=15.0)
    assert await observer.tick((), NOW) == {}
    assert prometheus.asked == []


V0_RATES = {"draft_tokens": 5000.0, "accepted_tokens": 4000.0, "emitted_tokens": 2500.0, "step_count": 40.0}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(metric_names(EngineVersion(0, 7, 3), Method.DRAFT_MODEL), id="first generation"),
        pytest.param(metric_names(EngineVersion(0, 9, 2), Method.NGRAM), id="fell back to the first generation"),
    ],
)
async def test_an_engine_of_the_first_generation_is_measured_by_its_steps(names: MetricNames) -> None:
    """Totals added up: far more drafts by the counter than steps were taken; 2.5 tokens came out of each."""
    rates = {"requests": 2.0, "step_sum": 0.4} | V0_RATES
    engine = Engine(names=names, rates=rates, buckets={})
    found = await measured(engine, subject=replace(SUBJECT, metric_names=names))
    assert found.availability is Availability.MEASURED
    assert found.slow is not None
    assert (found.slow.drafts, found.slow.acceptance_length) == (12_000.0, 2.5)


async def test_a_fleet_of_every_version_is_measured_in_one_tick() -> None:
    versions = [EngineVersion(0, 6, 0), EngineVersion(0, 7, 3), EngineVersion(0, 8, 5), EngineVersion(0, 9, 2)]
    versions += [EngineVersion(0, minor, 0) for minor in range(10, 34)]
    subjects, engines = [], []
    for version in versions:
        name = f"v{version.minor}"
        method = Method.DRAFT_MODEL if version < EngineVersion(0, 10) else Method.NGRAM
        names = metric_names(version, method)
        subjects.append(Subject(("serving", name), SUBJECT.mode, names, 300.0, num_speculative_tokens=5))
        rates = dict(RATES) if names.emitted_tokens is None else {"requests": 2.0, "step_sum": 0.4} | V0_RATES
        if names.tpot is None:
            rates = {fact: rate for fact, rate in rates.items() if not fact.startswith("tpot")}
        buckets = {} if names.tpot is None else BUCKETS
        engines.append(Engine(labels(name=name), instance=f"{name}:8000", names=names, rates=rates, buckets=buckets))
    run = Run(Prometheus(tuple(engines)))
    found = await run.ticks(*subjects, count=6)
    assert len(run.prometheus.asked) == 12
    lengths = {key[1]: item.slow.acceptance_length for key, item in found.items() if item.slow is not None}
    expected = {f"v{version.minor}": 2.5 if version < EngineVersion(0, 10) else 4.75 for version in versions}
    assert lengths == expected


async def test_an_engine_with_the_old_and_the_new_name_of_a_series_is_counted_once() -> None:
    """One release exposes both; an older engine in the fleet makes both be asked for."""
    old = metric_names(EngineVersion(0, 10, 0))
    extra = {(("__name__", f"vllm:time_per_output_token_seconds_{part}"),): T0 for part in ("sum", "count")}
    subjects = (SUBJECT, replace(SUBJECT, key=("serving", "old"), metric_names=old))
    found = (await Run(Prometheus((Engine(extra=extra),))).ticks(*subjects))[KEY]
    assert found.slow is not None
    assert found.slow.step_seconds == pytest.approx(0.04)


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
    others = (labels(arm="control"), labels(mode="Off"), labels(namespace="elsewhere"))
    strangers = [Engine(place, caches=(("7", "16"),)) for place in others]
    found = await measured(Engine(caches=tuple(sizes)), *strangers)
    assert found.availability is Availability.MEASURED
    assert found.cache == reading


ODD = st.text() | st.sampled_from(
    ["None", "NaN", "-1", "1e9", "0", "cache", "scraped_at", "targets", "+Inf", "0.1", "vllm:num_requests_running"]
)
ODD_LABELS = ["num_gpu_blocks", "block_size", "le", "fact", "__name__", "instance", "temperature_bucket"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ticks=st.lists(
        st.lists(st.tuples(st.dictionaries(st.sampled_from(ODD_LABELS), ODD), st.floats()), max_size=8),
        min_size=1,
        max_size=3,
    )
)
async def test_no_label_value_and_no_number_breaks_a_tick(ticks: list[list[tuple[dict[str, str], float]]]) -> None:
    class Odd:
        series: list[tuple[dict[str, str], float]]

        async def query(self, promql: str, *, at: datetime) -> Answer:  # noqa: ARG002  the signature of a client
            placed = [({**labels(), **more}, value) for more, value in self.series]
            return Samples(tuple(Sample(place, value) for place, value in placed if math.isfinite(value)))

        async def query_range(self, *_: Any, **__: Any) -> Past:
            raise AssertionError

    odd = Odd()
    observer = Observer(odd, scrape_interval_seconds=15.0)
    for number, series in enumerate(ticks):
        odd.series = series
        found = await observer.tick((SUBJECT,), NOW + timedelta(seconds=15 * number))
        assert isinstance(found[KEY], Measurement)


# What a restart of the operator costs


async def test_after_a_restart_the_first_tick_has_full_windows_and_the_detectors_their_hour() -> None:
    engines = (Engine(), SECOND)
    lasting = (await Run(Prometheus(engines)).ticks(replace(SETTLED, settled_since=T0 - 3600), count=300))[KEY]
    run = Run(Prometheus(engines))
    restarted = (await run.tick(SETTLED))[KEY]
    assert run.observer.problem == ""
    assert len(run.prometheus.asked) + len(run.prometheus.asked_ranges) <= 8
    assert (restarted.fast, restarted.slow) == (lasting.fast, lasting.slow)
    assert restarted.batches == lasting.batches
    assert restarted.signals.design_effect == pytest.approx(lasting.signals.design_effect, abs=4)
    assert restarted.signals.design_effect > 230
    await run.tick(SETTLED, before=-15)
    assert len(run.prometheus.asked_ranges) <= 6, "it is read once"


async def test_a_mode_that_has_only_just_begun_has_no_past_to_read() -> None:
    for subject in (SUBJECT, replace(SUBJECT, settled_since=T0 - 20)):
        run = Run(Prometheus((Engine(),)))
        await run.tick(subject)
        assert run.prometheus.asked_ranges == []


async def test_the_detectors_see_only_what_was_counted_while_settled() -> None:
    run = Run(Prometheus((Engine(),)))
    found = await run.ticks(SUBJECT, count=10)
    assert found[KEY].signals.design_effect == 0
    settled = replace(SUBJECT, settled_since=T0 - 4)
    for later in (15, 30, 45):
        found = await run.tick(settled, before=-later)
    assert found[KEY].signals.design_effect == 3, "the batch that began at the moment itself counts, no earlier one"
    assert run.prometheus.asked_ranges == [], "what is remembered need not be read"


async def test_detectors_that_were_rebuilt_see_nothing_from_before_the_mode_was_settled() -> None:
    run = Run(Prometheus((Engine(),)))
    found = (await run.tick(replace(SUBJECT, settled_since=T0 - 600)))[KEY]
    assert found.signals.design_effect == 39
    assert len(found.batches) == 20


async def test_another_spec_begins_anew() -> None:
    run = Run(Prometheus((Engine(),)))
    await run.tick(SETTLED, before=15)
    found = (await run.tick(replace(SUBJECT, spec_hash="b", settled_since=None)))[KEY]
    assert (found.availability, found.signals.design_effect) == (Availability.NO_DATA, 0)


async def test_a_longer_window_is_filled_from_the_past() -> None:
    run = Run(Prometheus((Engine(),)))
    await run.tick(SETTLED, before=15)
    found = (await run.tick(replace(SETTLED, window_seconds=1800.0)))[KEY]
    assert found.slow is not None
    assert found.slow.drafts == 18_000.0


async def test_a_past_that_cannot_be_read_is_said_and_blocks_nothing() -> None:
    run = Run(Prometheus((Engine(),), failing=frozenset({"range"})))
    first = (await run.tick(SETTLED, before=75))[KEY]
    assert first.availability is Availability.NO_DATA
    assert "could not be read again: Prometheus answered 503: too many samples" in run.observer.problem
    second = (await run.tick(SETTLED, before=60))[KEY]
    assert second.availability is Availability.MEASURED
    for before in (45, 30, 15):
        await run.tick(SETTLED, before=before)
    assert len(run.prometheus.asked_ranges) == REBUILD_ATTEMPTS, "who is refused the first part asks for no other"
    found = (await run.tick(SETTLED))[KEY]
    assert run.observer.problem == ""
    assert len(found.batches) == 5


async def test_a_second_attempt_at_the_past_replaces_what_was_remembered_since() -> None:
    run = Run(Prometheus((Engine(),), failing=frozenset({"range"})))
    await run.tick(SETTLED, before=15)
    run.prometheus.failing = frozenset()
    found = (await run.tick(SETTLED))[KEY]
    assert len(found.batches) == 20
    assert found.signals.design_effect > 230


async def test_the_past_waits_until_the_pods_are_seen() -> None:
    run = Run(Prometheus())
    await run.tick(SETTLED, before=15)
    assert run.prometheus.asked_ranges == []
    run.prometheus.engines = (Engine(),)
    assert len((await run.tick(SETTLED))[KEY].batches) == 20


async def test_the_past_of_a_restarted_pod_and_of_the_control_arm_is_read_as_it_happened() -> None:
    subject = replace(SETTLED, control_names=NAMES)
    control = without(Engine(labels(arm="control", mode="Off"), instance="10.0.0.9:8000"), *SPECULATION)
    restarted = Engine(started=T0 - 100, before=T0 - 86_400, lost=frozenset({9}))
    found = (await Run(Prometheus((restarted, control))).tick(subject))[KEY]
    assert found.slow is not None
    assert found.slow.drafts == pytest.approx(3000 - 75, abs=80)
    assert found.slow.acceptance_length == pytest.approx(4.75)
    assert found.control is not None
    assert found.control.slow is not None
    assert found.control.slow.requests == 600.0


async def test_what_was_not_there_in_the_past_is_not_read() -> None:
    subject = replace(SETTLED, control_names=NAMES)
    young = Engine(started=T0 - 200)
    found = (await Run(Prometheus((young, without(SECOND, "running")))).tick(subject))[KEY]
    assert found.slow is not None
    assert found.slow.drafts == pytest.approx(1800, abs=150)
    assert found.control is None


async def test_a_thousand_restarts_of_engines_make_no_false_number() -> None:
    run, subjects, engines = Run(Prometheus()), [], []
    for number in range(100):
        name = f"m{number}"
        subjects.append(replace(SUBJECT, key=("serving", name)))
        engines.append(Engine(labels(name=name), instance=f"{name}:8000"))
    for tick in range(10):
        at = 15.0 * tick
        run.prometheus.engines = tuple(
            replace(engine, before=engine.started, started=T0 + at - 4 - (number * 7 + tick) % 15)
            for number, engine in enumerate(run.prometheus.engines or engines)
        )
        found = await run.tick(*subjects, before=-at)
        for item in found.values():
            lengths = [batch.acceptance_length for batch in item.batches if batch.drafts > 0]
            assert lengths == pytest.approx([4.75] * len(lengths))
            assert all(0 <= batch.drafts <= 150 + 1e-6 for batch in item.batches)


# What is measured


@pytest.mark.parametrize(
    ("mode", "version", "names", "tokens"),
    [
        pytest.param(
            Mode.DRAFT, "0.9.2", metric_names(EngineVersion(0, 9, 2), Method.DRAFT_MODEL), 5, id="first generation"
        ),
        pytest.param(
            Mode.NGRAM, "0.9.2", metric_names(EngineVersion(0, 9, 2), Method.NGRAM), 5, id="n-gram is of the second"
        ),
        pytest.param(Mode.OFF, "0.32.0", metric_names(EngineVersion(0, 32)), 0, id="no speculation"),
    ],
)
def test_what_is_asked_follows_from_mode_and_version(mode: Mode, version: str, names: MetricNames, tokens: int) -> None:
    wanted = resource(**{"spec.guard.window": "2m"})
    subject = subject_of(wanted, mode, EngineVersion.parse(version))
    assert subject == Subject(wanted.key, mode, names, 120.0, tokens, wanted.spec_hash, 30, None, None)


def test_the_control_arm_is_wanted_beside_speculation_only() -> None:
    wanted = resource(**{"spec.guard.baseline.controlReplicas": 1})
    version = EngineVersion(0, 32)
    assert subject_of(wanted, Mode.DRAFT, version).control_names == metric_names(version)
    assert subject_of(wanted, Mode.OFF, version).control_names is None


def test_a_mode_is_settled_since_the_last_transition() -> None:
    settled = resource().model_copy(
        update={
            "status": status(
                conditions=(
                    condition(ConditionType.RECONCILING, "False", seconds_ago=600),
                    condition(ConditionType.METRICS_AVAILABLE, "True", seconds_ago=90),
                )
            )
        }
    )
    assert subject_of(settled, Mode.DRAFT, EngineVersion(0, 32)).settled_since == T0 - 90
