"""A glance: five numbers of every deployment in one request. That Prometheus understands it is a system test."""

import math

import pytest

from specdecode.api.vocabulary import Method
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.observe.glance import Glance, Limit, glance_query, glances
from specdecode.observe.prometheus import Sample, Samples
from specdecode.observe.queries import Series

NEW = metric_names(EngineVersion(0, 32, 0), Method.DRAFT_MODEL)
OLD = metric_names(EngineVersion(0, 8, 3))
LABELS = {"namespace": "serving", "specdecode_io_deployment": "chat", "specdecode_io_mode": "Draft"}


def query(*names: object, limits: tuple[Limit, ...] = (), namespaces: tuple[str, ...] = ()) -> str:
    return glance_query(Series(names, namespaces), limits, scrape_interval_seconds=15)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param(query(NEW), ['"pods_up"', '"scraped_at"', "drafts_total", "[60s]"], id="over four scrapes"),
        pytest.param(query(NEW, namespaces=("a",)), ['namespace=~"a"'], id="of its namespaces"),
        pytest.param(
            query(NEW, limits=(Limit("x", 1.0),)), ['le=~"1|1\\\\.0"', '"x>1"'], id="an edge, however written"
        ),
        pytest.param(query(NEW, limits=(Limit("x", 0.025),)), ['le=~"0\\\\.025"'], id="a fraction"),
    ],
)
def test_what_is_asked(text: str, parts: list[str]) -> None:
    for part in parts:
        assert part in text


def test_what_an_engine_does_not_count_is_not_asked_for() -> None:
    text = query(OLD)
    assert "acceptance_length" not in text
    assert "tpot_seconds" not in text


def sample(fact: str, value: float, **labels: str) -> Sample:
    return Sample(LABELS | {"fact": fact} | labels, value)


def test_what_an_answer_says() -> None:
    found = glances(
        Samples(
            (
                sample("pods_up", 2),
                sample("scraped_at", 100),
                sample("acceptance_length", 3.1),
                sample("tpot_seconds", 0.02),
                sample("running_requests", 7),
                sample("x>1", 0.004),
                sample("x>0.5", 0.2),
                sample("pods_up", 1, specdecode_io_mode="Off"),
            )
        )
    )
    assert found["serving", "chat", "Draft"] == Glance(3.1, 0.02, 7, 2, 100, 0.2)
    off = found["serving", "chat", "Off"]
    assert (off.pods_up, off.over) == (1, 0)
    assert math.isnan(off.acceptance_length)
