"""Acceptance decays over six hours, told in seconds: history on paper, and the guard of the cluster over it."""

import time

from rehearsal.backtests import backtest
from rehearsal.engine.behaviour import Behaviour
from rehearsal.fast_forward import fast_forward
from rehearsal.stage import Body, Stage
from rehearsal.stories.common import manifest
from rehearsal.story import Story
from specdecode.api.resource import Rejection, parse
from specdecode.api.status import BaselineStatus, OffBand, OffBaseline, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Method
from specdecode.decide.wording import duration_text
from specdecode.engine.metrics import metric_names
from specdecode.engine.version import EngineVersion
from specdecode.plan.make import make_plan

HOURS = 7.0
HEALTHY, AFTER_SIX_HOURS = 0.87, 0.30
"""3.3 tokens a step at first, 1.4 in the end: with a draft that takes 12 ms a step, twice as fast as without it first,
and slower in the end."""
REQUESTS = 3
OFF_SECONDS = 0.0185
"""A step without speculation, by the engine's own constants."""
VERSION = EngineVersion(0, 32, 0)


def behaviour_at(hours: float) -> Behaviour:
    """Every hour a little less is accepted."""
    share = min(1.0, hours / 6)
    return Behaviour(draft=HEALTHY + share * (AFTER_SIX_HOURS - HEALTHY), draft_ms_per_token=4.0)


def with_baseline(body: Body) -> Body:
    """The resource with what it did without speculation before: it is history too."""
    resource = parse(body)
    assert not isinstance(resource, Rejection), str(resource)
    plan = make_plan(resource)
    assert not isinstance(plan, Rejection), str(plan)
    step = duration_text(OFF_SECONDS)
    band = OffBand(running_requests=REQUESTS, tpot_mean=step, step_mean=step, at="2026-11-01T00:00:00Z")
    baseline = BaselineStatus(off=OffBaseline(key=plan.baseline_key, bands=(band,)))
    return body | {"status": SpecDecodeDeploymentStatus(baseline=baseline).to_wire()}


async def play(stage: Stage) -> None:
    """The slope is seen while speculation still pays, and told; it is turned off when it does not."""
    history = stage.directory / "history.om"
    begin = int(time.time() - HOURS * 3600)
    stage.say(f"{HOURS:g} hours of an engine whose draft decays, on paper")
    names = metric_names(VERSION, Method.DRAFT_MODEL)
    fast_forward(history, behaviour_at, begin=begin, hours=HOURS, requests=REQUESTS, version=VERSION, names=names)
    stage.say("specdecode backtest: the same guard over this history")
    guard = {"window": "5m", "acceptance": {"offBelowPercent": 5, "reviewBelowPercent": 5}}
    report = await backtest(stage, with_baseline(manifest(stage, guard=guard)), "--openmetrics", str(history))
    (walk,) = report["walks"]
    decays = [found for found in walk["findings"] if found["reason"] == "AcceptanceDecays"]
    await stage.check(
        "it says that acceptance decays, and what to try first", decays and "restart" in decays[0]["message"]
    )
    stage.say(f"{decays[0]['since']}: {decays[0]['message']}")
    (decision,) = walk["decisions"]
    await stage.check("one step, when it no longer pays", decision["reason"] == "SlowerThanBaseline")
    await stage.check(
        "long after the slope was told: while it paid, nothing was done", decays[0]["since"] < decision["at"]
    )
    stage.say(f"{decision['at']}: {decision['from']} -> {decision['to']}: {decision['message']}")
    stage.keep(decays=decays[0], decision=decision)


SLOW_DECAY = Story("slow-decay", "acceptance decays over hours: told while it pays, Off when it does not", play, gpus=0)
