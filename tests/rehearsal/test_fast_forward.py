"""Hours of the simulated engine on paper: what a Prometheus would have kept, as the backtest reads it."""

from itertools import pairwise
from pathlib import Path

import pytest
from builders import NOW

from rehearsal.engine.behaviour import Behaviour
from rehearsal.fast_forward import SCRAPE_SECONDS, fast_forward
from specdecode.api.vocabulary import Method
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion

VERSION = EngineVersion(0, 32, 0)
NAMES = metric_names(VERSION, Method.DRAFT_MODEL)


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    path = tmp_path / "history.om"
    begin = int(NOW.timestamp())
    fast_forward(path, lambda _: Behaviour(draft=0.5), begin=begin, hours=0.1, requests=2, version=VERSION, names=NAMES)
    return path.read_text().splitlines()


def values(lines: list[str], name: str) -> list[float]:
    return [float(line.split()[-2]) for line in lines if line.startswith(f"{name}{{")]


def test_every_series_has_a_sample_per_scrape_and_its_time(lines: list[str]) -> None:
    moments = [int(line.split()[-1]) for line in lines if line.startswith(f"{NAMES.drafts}{{")]
    assert len(moments) == 24
    assert {later - earlier for earlier, later in pairwise(moments)} == {SCRAPE_SECONDS}
    assert lines[-1] == "# EOF"


def test_counters_rise_and_acceptance_is_that_of_the_engine(lines: list[str]) -> None:
    drafts, accepted = values(lines, str(NAMES.drafts)), values(lines, NAMES.accepted_tokens)
    assert drafts == sorted(drafts)
    assert accepted[-1] / drafts[-1] == pytest.approx(0.5 + 0.25 + 0.125, rel=0.05)


def test_histograms_end_in_their_count(lines: list[str]) -> None:
    endless = [line for line in lines if line.startswith(f"{NAMES.itl}_bucket") and 'le="+Inf"' in line]
    assert float(endless[-1].split()[-2]) == values(lines, f"{NAMES.itl}_count")[-1]
