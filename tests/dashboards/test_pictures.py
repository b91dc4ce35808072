"""The fleet that the dashboards are shown with, and numbers as they are written."""

from pathlib import Path
from typing import Any

import pytest

from rehearsal.dashboards.deployment import deployment
from rehearsal.dashboards.scripts import COLLAPSES, scripts
from rehearsal.dashboards.words import colour_of, written
from rehearsal.dashboards.world import play
from specdecode.api.resource import read_status
from specdecode.api.status import ConditionType
from specdecode.api.vocabulary import Mode
from specdecode.kube import resource_path

BEGIN = 1_795_000_000.0
MODES = next(panel for panel in deployment()["panels"] if panel["title"] == "Mode")["fieldConfig"]["defaults"]
STEPS = {"thresholds": {"steps": [{"value": None, "color": "red"}, {"value": 0.5, "color": "green"}]}}


@pytest.mark.parametrize(
    ("value", "defaults", "text"),
    [
        pytest.param(0.4673, {"unit": "percentunit"}, "47 %", id="a ratio in per cent"),
        pytest.param(0.22, {"unit": "percentunit", "decimals": 1}, "22.0 %", id="with decimals"),
        pytest.param(0.025, {"unit": "s"}, "25 ms", id="less than a second"),
        pytest.param(2.5, {"unit": "s"}, "2.5 s", id="more than a second"),
        pytest.param(30 * 1024**3, {"unit": "bytes"}, "30.0 GiB", id="bytes"),
        pytest.param(0.0, {"unit": "bytes"}, "0", id="no bytes"),
        pytest.param(131_488.0, {"unit": "short"}, "131 K", id="many"),
        pytest.param(8.0, {}, "8", id="few"),
        pytest.param(1.9, {"unit": "suffix:x"}, "1.90x", id="a speed-up"),
        pytest.param(0.5, {"unit": "reqps"}, "0.5 req/s", id="a rate"),
        pytest.param(3.0, MODES, "Draft", id="a mode is a word"),
        pytest.param(1000 * BEGIN, {"unit": "dateTimeAsIso"}, "11:06:40", id="a moment"),
    ],
)
def test_numbers_as_they_are_written(value: float, defaults: dict[str, Any], text: str) -> None:
    assert written(value, defaults) == text


def test_colours_follow_words_and_steps() -> None:
    assert colour_of(1.0, MODES) == "#8e8e8e"
    assert [colour_of(value, STEPS) for value in (0.4, 0.5, 0.6)] == ["red", "green", "green"]
    assert colour_of(1.0, {}) == "text"


def test_three_minutes_of_the_fleet(tmp_path: Path) -> None:
    """The operator's own loop of reconciles brings every deployment to where it belongs, and all of it is scraped."""
    path = tmp_path / "history.om"
    world = play(scripts(60.0), begin=BEGIN, minutes=3.0, path=path)

    def status(namespace: str, name: str) -> Any:
        return read_status(world.cluster.objects[resource_path(namespace, name)])

    assert status(*COLLAPSES).mode is Mode.DRAFT
    assert status("research", "too-large").condition(ConditionType.STALLED).reason == "DoesNotFit"
    assert status("research", "night").condition(ConditionType.METRICS_AVAILABLE).reason == "NoTraffic"
    assert status("code", "review").condition(ConditionType.PAUSED).status == "True"
    lines = path.read_text().splitlines()
    assert lines[-1] == "# EOF"
    ticks = [line for line in lines if line.startswith("specdecode_tick_seconds_count")]
    assert len(ticks) == 13, "one scrape every 15 s"
    metered = [line for line in lines if line.startswith("specdecode:request_acceptance_rate_count")]
    assert metered
    assert all('specdecode_io_deployment="llama-70b"' in line for line in metered), "only one has the meter"
    moments = {float(line.rpartition(" ")[2]) for line in lines[:-1]}
    assert min(moments) == BEGIN
    assert max(moments) == BEGIN + 180
