"""Acceptance is healthy, load rises, and the P99 of the time per output token crosses its limit."""

from rehearsal.stage import Stage
from rehearsal.stories.common import (
    applied_mode_is,
    condition_is,
    helped,
    manifest,
    serve,
    speculating_pods,
    speculation,
    told_why,
)
from rehearsal.story import Story

# Five proposed tokens, 59 % of them accepted: 4.0 tokens per step. Each token costs 1 ms of verification, so at 3
# requests a step of 31 ms beats 11 ms per token, and at 36 requests a step of 229 ms loses against 44 ms per token.
ACCEPTANCE = 0.83
TOKENS = 5
LIMIT = "50ms"
QUIET, BUSY = 3, 36


async def play(stage: Stage) -> None:
    """Quiet, then busy."""
    stage.behave(
        draft=ACCEPTANCE,
        c0_ms=8.0,
        c1_us_per_token=1000.0,
        ckv_ns_per_token=0.0,
        draft_ms_per_token=1.0,
        overhead_ms=0.0,
    )
    guard = {"window": "30s", "latency": {"tpotP99": LIMIT}}
    body = manifest(stage, speculation=speculation(numSpeculativeTokens=TOKENS), guard=guard)
    await serve(stage, body, mode="Draft", concurrency=QUIET)
    await stage.holds("quiet: speculation pays, nothing is changed", lambda: _is_on(stage), seconds=35)
    stage.say(f"load rises to {BUSY} requests at a time; acceptance stays healthy")
    stage.traffic.concurrency = BUSY
    seconds = await stage.expect("Off is applied", applied_mode_is(stage, "Off"), within=120)
    await told_why(stage, "LatencyOverLimit")
    await stage.expect("it serves again", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.check("no pod carries a speculative flag", not speculating_pods(stage))
    await helped(stage)
    stage.keep(off_applied_after_seconds=round(seconds, 1), limit=LIMIT)


async def _is_on(stage: Stage) -> bool:
    return (await stage.status()).get("mode") == "Draft"


LATENCY = Story("latency", "load rises and TPOT P99 crosses its limit: Off, and it helped", play)
