"""The page of all resources: what it says, that it says nothing else, and what a resource costs."""

import gc
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from exposed import SHOWN, everything_of, everything_of_shared, lines, show_the_table
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from specdecode.resource_metrics import FAMILIES, ROLLBACKS, Figures
from specdecode.resource_page import Key, ResourcePage
from specdecode.scrape import OPENMETRICS, TEXT, Format
from specdecode.telemetry import Metrics

RECORDED = Path(__file__).parent / "data" / "metrics"
"""What the client library itself made of the table, with an object per series."""
FORMATS = [pytest.param(TEXT, id="text"), pytest.param(OPENMETRICS, id="openmetrics")]


def read(page: ResourcePage, page_format: Format = TEXT) -> str:
    return "".join(page.pieces(is_openmetrics=page_format.is_openmetrics))


@pytest.mark.parametrize("page_format", FORMATS)
def test_the_page_says_what_the_client_library_would_say(page_format: Format) -> None:
    metrics = Metrics()
    show_the_table(metrics)
    page = b"".join(metrics.pieces(page_format)).decode()
    name = "openmetrics" if page_format.is_openmetrics else "text"
    recorded = (RECORDED / f"page.{name}.txt").read_text(encoding="utf-8")
    is_openmetrics = page_format.is_openmetrics
    assert lines(page, is_openmetrics=is_openmetrics) == lines(recorded, is_openmetrics=is_openmetrics)


@dataclass(frozen=True, eq=False)
class Fleet:
    """What some resources show, and how often they stepped down, by reason."""

    figures: Mapping[Key, Figures]
    rollbacks: Mapping[Key, Mapping[str, int]]

    def page(self) -> ResourcePage:
        page = ResourcePage()
        for key, figures in self.figures.items():
            page.show(*key, figures)
        for key, counts in self.rollbacks.items():
            for reason, count in counts.items():
                for _ in range(count):
                    page.count_rollback(*key, reason, 0.0)
        return page

    def collect(self) -> list[Metric]:
        """For the client library."""
        metrics: list[Metric] = []
        for family in FAMILIES:
            gauge = GaugeMetricFamily(family.name, family.help, labels=("namespace", "name", *family.labels))
            for key, figures in self.figures.items():
                for values, number in figures.get(family, ()):
                    gauge.add_metric((*key, *values), number)
            metrics.append(gauge)
        counter = CounterMetricFamily(ROLLBACKS.name, ROLLBACKS.help, labels=("namespace", "name", *ROLLBACKS.labels))
        for key, counts in self.rollbacks.items():
            for reason, count in counts.items():
                counter.add_metric((*key, reason), count, created=0.0)
        return [*metrics, counter]

    def said_by_the_library(self, page_format: Format) -> str:
        registry = CollectorRegistry()
        registry.register(self)  # type: ignore[arg-type] # it has what a collector needs
        made: bytes = (generate_openmetrics if page_format.is_openmetrics else generate_latest)(registry)
        return made.decode().removesuffix("# EOF\n")

    def labels(self) -> list[tuple[str, ...]]:
        """Of every series of a gauge: namespace, name, and what its family adds."""
        return sorted(
            (*key, *values) for key, figures in self.figures.items() for rows in figures.values() for values, _ in rows
        )


TEXTS = st.text(st.one_of(st.sampled_from('\\"\n\r\t{},=# \0\x85\u2028%'), st.characters(codec="utf-8")), max_size=8)
"""The characters that mean something to the format, and all others."""
KEYS = st.tuples(TEXTS, TEXTS)
NUMBERS = st.floats(allow_nan=False) | st.integers(0, 2**50).map(float) | st.sampled_from([0.0, 1.0])


@st.composite
def figures(draw: st.DrawFn) -> Figures:
    shown = draw(st.lists(st.sampled_from(FAMILIES), unique=True))
    found = {}
    for family in shown:
        labels = draw(st.lists(st.tuples(*[TEXTS] * len(family.labels)), min_size=1, max_size=3, unique=True))
        found[family] = tuple((values, draw(NUMBERS)) for values in labels)
    return found


FLEETS = st.builds(
    Fleet,
    st.dictionaries(KEYS, figures(), max_size=5),
    st.dictionaries(KEYS, st.dictionaries(TEXTS, st.integers(1, 3), min_size=1, max_size=2), max_size=2),
)


@pytest.mark.parametrize("page_format", FORMATS)
@given(fleet=FLEETS)
@settings(max_examples=60, deadline=None)
def test_whatever_is_shown_the_page_is_that_of_the_library(page_format: Format, fleet: Fleet) -> None:
    assert read(fleet.page(), page_format) == fleet.said_by_the_library(page_format)


@given(fleet=FLEETS)
@settings(max_examples=60, deadline=None)
def test_every_label_is_read_as_it_was_written(fleet: Fleet) -> None:
    names = {family.name: ("namespace", "name", *family.labels) for family in FAMILIES}
    found = sorted(
        tuple(sample.labels[label] for label in names[family.name])
        for family in text_string_to_metric_families(read(fleet.page()))
        for sample in family.samples
        if family.name in names
    )
    assert found == fleet.labels()


def test_text_that_cannot_be_encoded_does_not_take_the_page_from_the_others() -> None:
    metrics = Metrics()
    metrics.count_rollback("serving", "odd", "half of a character: \ud83d")
    everything_of(metrics, "serving", "chat")
    page = b"".join(metrics.pieces()).decode()
    assert 'reason="half of a character: ?"' in page
    assert 'name="chat"' in page


def test_every_family_is_on_the_page_and_nothing_is_left_of_a_deleted_resource() -> None:
    metrics = Metrics()
    for name in ("chat", "rag"):
        everything_of(metrics, "serving", name)
        metrics.count_rollback("serving", name, "AcceptanceCollapsed")
    page = metrics.page().decode()
    for family in (*FAMILIES, ROLLBACKS):
        found = [line for line in page.splitlines() if line.startswith(family.name) and 'name="chat"' in line]
        assert found, family.name
    metrics.forget("serving", "chat")
    metrics.forget("serving", "never-seen")
    page = metrics.page().decode()
    assert 'name="chat"' not in page
    assert 'name="rag"' in page


def test_a_page_is_of_the_moment_it_was_asked_for() -> None:
    metrics = Metrics()
    names = [f"deployment-{number}" for number in range(600)]
    for name in names:
        everything_of_shared(metrics, name)
        metrics.count_rollback("serving", name, "AcceptanceCollapsed")
    before = lines(metrics.page().decode())
    pieces = metrics.pieces()
    begun = [next(pieces), next(pieces)]
    for name in names[::2]:
        metrics.forget("serving", name)
    metrics.count_rollback("serving", names[1], "AcceptanceCollapsed")
    metrics.count_rollback("serving", names[1], "LatencyOverLimit")
    everything_of(metrics, "serving", names[3], model="another/model")
    everything_of(metrics, "serving", "a-new-one")
    assert lines(b"".join([*begun, *pieces]).decode()) == before
    assert lines(metrics.page().decode()) != before


def test_no_piece_is_long_however_many_resources_there_are() -> None:
    def longest(count: int) -> int:
        metrics = Metrics()
        for number in range(count):
            everything_of_shared(metrics, f"deployment-{number:05}")
            metrics.count_rollback("serving", f"deployment-{number:05}", "AcceptanceCollapsed")
        return max(len(piece) for page_format in (TEXT, OPENMETRICS) for piece in metrics.pieces(page_format))

    assert longest(3000) <= 1.1 * longest(1000)
    assert longest(3000) < 256 * 1024


@pytest.mark.parametrize("is_model_shared", [True, False], ids=["of the same model", "each of a model of its own"])
def test_a_resource_costs_little(*, is_model_shared: bool) -> None:
    """All that a resource can show: 39 series, which are 4 KB of text. Measured: 0.6 and 1.2 KiB."""
    count = 2000
    page = ResourcePage()
    info = next(family for family in SHOWN if family.name == "specdecode_deployment_info")
    ((_, *others), number) = SHOWN[info][0]

    def show(which: int) -> None:
        # New strings, as every parsed body has.
        model = "meta-llama/Llama-3.1-70B-Instruct" if is_model_shared else f"org-{which}/model-{which}-70B-Instruct"
        page.show(f"team-{which % 50}", f"deployment-{which:05}", {**SHOWN, info: (((model, *others), number),)})

    for which in range(-1500, 0):  # what is shared, and what is remembered to be shared
        show(which)
    gc.collect()
    tracemalloc.start()
    try:
        for which in range(count):
            show(which)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / count <= 1.5 * 1024
