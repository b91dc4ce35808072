"""Every query of the dashboards, and every alert, asked of a real Prometheus that holds what the operator and its
engines show: half an hour of eight deployments, played in a time that jumps. Takes about 35 s, most of it the playing.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from dashboards.alert_cases import CASES, unit_tests

from rehearsal.binaries import Binaries
from rehearsal.dashboards.ask import Line, asked
from rehearsal.dashboards.files import ALERTS, FOLDER
from rehearsal.dashboards.kept import KeptPrometheus
from rehearsal.dashboards.pictures import VARIABLES, picture
from rehearsal.dashboards.read import Shown, annotations, panels
from rehearsal.dashboards.scripts import COLLAPSES, scripts
from rehearsal.dashboards.world import SCRAPE_SECONDS, play
from rehearsal.prometheus import Prometheus

MINUTES = 24.0
SPAN = tuple[float, float]

LIMITS = {
    "percentunit": (0.0, 1.0),
    "s": (0.0, 5.0),
    "suffix:x": (0.3, 4.0),
    "bytes": (1e6, 80 * 1024**3),
    "reqps": (0.0, 20.0),
    "ops": (0.0, 20.0),
    "short": (0.0, 1e6),
}
"""What is plausible in this fleet, by unit."""
OWN_LIMITS = {
    "KV cache: planned too much (+), too little (-)": (-0.3, 0.3),
    "Acceptance length: tokens per step": (1.0, 5.0),
    "Tokens per step": (1.0, 5.0),
    "Mode": (1.0, 4.0),
    "Leader": (1.0, 1.0),
    "Leaders": (1.0, 1.0),
    "Deployments": (8.0, 8.0),
    "Rolled back": (0.0, 2.0),
    "Stalled": (1.0, 1.0),
    "Circuit breaker": (0.0, 0.0),
}


@pytest.fixture(scope="module")
def span() -> SPAN:
    """Unix seconds of the half hour, which has just ended."""
    end = time.time() - 2 * SCRAPE_SECONDS
    return end - MINUTES * 60, end


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, span: SPAN) -> Path:
    path = tmp_path_factory.mktemp("dashboards") / "history.om"
    play(scripts(MINUTES), begin=span[0], minutes=MINUTES, path=path)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prometheus(binaries: Binaries, history: Path) -> AsyncIterator[Prometheus]:
    prometheus = KeptPrometheus(binaries, history.parent / "prometheus")
    await prometheus.take(history)
    async with prometheus:
        yield prometheus


def all_panels() -> list[Any]:
    found = []
    for name, variables in VARIABLES.items():
        for place, panel in enumerate(panels(FOLDER / f"{name}.json", variables)):
            if panel.targets:
                found.append(pytest.param(panel, id=f"{name} {place}: {panel.title}"))
    return found


async def everything(prometheus: Prometheus, panel: Shown, span: SPAN) -> list[Line]:
    """What a panel shows in the end, and what it showed before the collapse."""
    before = span[0] + 0.55 * (span[1] - span[0])
    return [*await asked(prometheus, panel, span[0], before, 30.0), *await asked(prometheus, panel, *span, 30.0)]


@pytest.mark.parametrize("panel", all_panels())
async def test_a_panel_shows_something_and_it_is_plausible(panel: Shown, prometheus: Prometheus, span: SPAN) -> None:
    lines = await everything(prometheus, panel, span)
    values = [value for line in lines for value in line.values if math.isfinite(value)]
    assert values, "the panel is empty"
    unit = panel.defaults["unit"]
    low, high = OWN_LIMITS.get(panel.title) or LIMITS.get(unit, (1000 * span[0], 1000 * span[1] + 10_000))
    assert low <= min(values), panel.title
    assert max(values) <= high, panel.title
    if panel.kind == "table":
        for label, _ in panel.columns:
            assert label == "Value" or all(line.labels[label] for line in lines), f"a row without {label}"


@pytest.mark.parametrize("panel", [param for param in all_panels() if param.values[0].kind == "timeseries"])
async def test_no_query_of_a_panel_is_silent(panel: Shown, prometheus: Prometheus, span: SPAN) -> None:
    for target in panel.targets:
        answer = await prometheus.query_range(target.expression, *span, 30.0)
        values = [float(value) for series in answer for _, value in series["values"]]
        assert any(map(math.isfinite, values)), target.legend


async def test_a_decision_is_marked_at_the_moment_it_was_taken(prometheus: Prometheus, span: SPAN) -> None:
    (expression,) = annotations(FOLDER / "deployment.json", VARIABLES["deployment"])
    (series,) = await prometheus.query_range(expression, *span, 30.0)
    assert series["metric"] == {"action": "RolledBack", "from": "Draft", "to": "Off", "reason": "AcceptanceCollapsed"}
    (moment,) = {float(value) / 1000 for _, value in series["values"]}
    assert 0 < moment - (span[0] + 0.6 * MINUTES * 60) < 90, "the users changed after 60 % of the time"


async def test_the_edges_hold_what_the_engine_knows(prometheus: Prometheus, span: SPAN) -> None:
    """The P99 lies above the mean of its requests' time per output token here, and both edges are edges."""
    shown = {panel.title: panel for panel in panels(FOLDER / "deployment.json", VARIABLES["deployment"])}
    mean, *_ = await asked(prometheus, shown["TPOT, mean"], *span, 30.0)
    lines = {line.name: line for line in await asked(prometheus, shown["TPOT, P50 and P99"], *span, 30.0)}
    edges = (0.0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2)
    for quantile in ("P50", "P99"):
        low, high = lines[f"{quantile} above"].values, lines[f"{quantile} at most"].values
        for below, above in zip(low, high, strict=True):
            if math.isfinite(below):
                place = [index for index, edge in enumerate(edges) if edge == pytest.approx(below, abs=1e-6)]
                assert above == pytest.approx(edges[place[0] + 1])
    at_most = dict(zip(lines["P99 at most"].at, lines["P99 at most"].values, strict=True))
    assert all(value <= at_most[at] for at, value in zip(mean.at, mean.values, strict=True) if math.isfinite(value))


async def test_both_can_be_drawn(prometheus: Prometheus, span: SPAN, tmp_path: Path) -> None:
    for name in VARIABLES:
        path = await picture(prometheus, name, tmp_path, span)
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert path.stat().st_size > 50_000


async def promtool(binaries: Binaries, *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        str(binaries.promtool), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_promtool_takes_the_rules(binaries: Binaries) -> None:
    code, said = await promtool(binaries, "check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))
    assert code == 0, said


async def test_every_alert_fires_when_it_should_and_only_then(binaries: Binaries, tmp_path: Path) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump(unit_tests(str(ALERTS))))
    code, said = await promtool(binaries, "test", "rules", str(file))
    assert code == 0, said
    assert len(CASES) == 36


async def told(prometheus: Prometheus, what: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = (await client.get(f"{prometheus.url}/api/v1/{what}")).json()
    found: list[dict[str, Any]] = answer["data"]["groups" if what == "rules" else what]
    return found


async def are_evaluated(prometheus: Prometheus) -> bool:
    return all(rule["health"] == "ok" for group in await told(prometheus, "rules") for rule in group["rules"])


@pytest.mark.parametrize(
    ("alert", "name", "words"),
    [
        pytest.param("SpecDecodeRolledBack", "llama-70b", "left Draft for Off at 20", id="a rollback, with its moment"),
        pytest.param("SpecDecodeStalled", "too-large", "(DoesNotFit)", id="a spec that does not fit"),
        pytest.param("SpecDecodePlanError", "llama-8b", "in mode Draft: 21.9", id="a plan, with its error in per cent"),
        pytest.param("SpecDecodeStepDownRecommended", "stories", "guard.action is Recommend", id="a recommendation"),
        pytest.param("SpecDecodePaused", "review", "of code/review", id="a pause"),
    ],
)
async def test_an_alert_speaks_of_the_deployment(
    alerts: list[dict[str, Any]], alert: str, name: str, words: str
) -> None:
    own = [each for each in alerts if each["labels"]["alertname"] == alert and each["labels"].get("name") == name]
    assert len(own) == 1
    assert words in own[0]["annotations"]["description"]
    assert name in own[0]["annotations"]["summary"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alerts(binaries: Binaries, history: Path) -> list[dict[str, Any]]:
    """What fires or is about to, over the end of the history as if it were now."""
    kept = KeptPrometheus(binaries, history.parent / "alerts", rules=ALERTS, lookback_seconds=600)
    await kept.take(history)
    async with kept:
        for _ in range(100):
            if await are_evaluated(kept):
                return await told(kept, "alerts")
            await asyncio.sleep(0.1)
    pytest.fail("ten seconds, and a rule was never evaluated")


async def test_a_healthy_part_of_the_fleet_is_left_alone(alerts: list[dict[str, Any]]) -> None:
    heard = {(each["labels"]["alertname"], each["labels"].get("name")) for each in alerts}
    assert not [each for each in heard if each[1] == "summaries"]
    assert ("SpecDecodeRolledBack", COLLAPSES[1]) in heard
    assert not {"SpecDecodeOperatorDown", "SpecDecodeTwoLeaders", "SpecDecodeNoLeader"} & {name for name, _ in heard}
