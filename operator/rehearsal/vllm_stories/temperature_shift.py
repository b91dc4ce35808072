"""Production moves from temperature 0 to 1: acceptance really collapses, and speculation is turned off.

The pair was chosen so that no floor of the guard had to be: the defaults stand, 50 % to turn off and 65 % to review.
vLLM's draft model proposes its likeliest token, and the target accepts it with the probability that it gives that token
itself. At temperature 0 that is how often both have the same favourite, which only the difference between the models
decides; at temperature 1 it is the favourite's own probability, which the sharpness of the lm_head decides. So the two
were set one by one: a difference of 0.02 accepts 74 % (0.05 accepted 48, 0.03 accepted 66), and a sharpness of 4 leaves
2 to 12 % at temperature 1, from run to run. Measured with three tokens a draft and prompts that vary.

The meter runs in the engine's pod and tells the two apart, request by request.
"""

from rehearsal.stage import Stage
from rehearsal.stories.common import (
    applied_mode_is,
    condition_is,
    healthy_for_a_window,
    serve,
    speculating_pods,
    told_why,
)
from rehearsal.story import Story
from rehearsal.vllm_stories.common import START_WITHIN_SECONDS, WINDOW_SECONDS, manifest, serving

CONCURRENCY = 4
OFF_WITHIN_SECONDS = 60
REASONS = ("AcceptanceCollapsed", "AcceptanceBelowFloor")
"""Which of the two comes first hangs on the last tokens of one scrape: the first wants a length under 1.1."""
SERVE_ON_REQUESTS = 20
_LAST_SECONDS = 12
"""Three scrapes: what was seen last."""


async def _accepted_percent(stage: Stage, seconds: int) -> float:
    """Of the draft tokens of the last seconds, from the engine's own counters."""
    name, span = "vllm:spec_decode_num", f"[{seconds}s]"
    accepted, proposed = (f"sum(rate({name}_{kind}_tokens_total{span}))" for kind in ("accepted", "draft"))
    found = await stage.prometheus.query(f"100 * {accepted} / {proposed}")
    return round(float(found[0]["value"][1]), 1)


async def _metered_percent(stage: Stage) -> dict[str, float]:
    """What the meter in the pod has measured: mean acceptance of the requests, by range of temperature.

    Of engines that are gone as well, for as long as Prometheus looks back here.
    """
    name = "specdecode:request_acceptance_rate"
    sums = (f"sum by (temperature_bucket) (last_over_time({name}_{part}[10m]))" for part in ("sum", "count"))
    found = await stage.prometheus.query("100 * " + " / ".join(sums))
    return {each["metric"]["temperature_bucket"]: round(float(each["value"][1]), 1) for each in found}


async def play(stage: Stage) -> None:
    """Healthy at temperature 0, then temperature 1; nothing else changes."""
    body = manifest(stage, guard={"window": f"{WINDOW_SECONDS}s", "meter": True})
    await serve(stage, body, mode="Draft", concurrency=CONCURRENCY, within=START_WITHIN_SECONDS)
    await healthy_for_a_window(stage)
    before = await _accepted_percent(stage, WINDOW_SECONDS)
    metered = await _metered_percent(stage)
    await stage.check(f"the meter saw one temperature only: {metered}", len(metered) == 1)
    stage.say(f"production moves to temperature 1; at 0 it accepted {before} %")
    stage.traffic.temperature = 1.0
    seconds = await stage.expect("Off is applied", applied_mode_is(stage, "Off"), within=OFF_WITHIN_SECONDS)
    after = await _accepted_percent(stage, _LAST_SECONDS)
    stage.say(f"at 1 it accepted {after} %")
    stage.keep(off_applied_after_seconds=round(seconds, 1), accepted_at_0_percent=before, accepted_at_1_percent=after)
    reason = (await stage.status())["rollback"]["reason"]
    await stage.check(f"acceptance is the reason: {reason}", reason in REASONS)
    await told_why(stage, reason)
    await serving(stage, "the engine is back without speculation")
    await stage.check("no pod carries a speculative flag", not speculating_pods(stage))
    probe = condition_is(stage, "SpeculationActive", "False", "RolledBack")
    await stage.expect("SpeculationActive=False RolledBack", probe, within=10)
    answered = stage.traffic.ok

    async def served_on() -> bool:
        return stage.traffic.ok >= answered + SERVE_ON_REQUESTS

    await stage.expect(f"{SERVE_ON_REQUESTS} more requests are answered", served_on, within=60)
    await stage.check("no request failed", stage.traffic.failed == 0)
    metered = await _metered_percent(stage)
    await stage.check(f"the meter told the two apart: {metered}", max(metered.values()) > 3 * min(metered.values()))
    stage.keep(metered_percent_by_temperature=metered)
    stage.keep(requests=stage.traffic.ok, failed=stage.traffic.failed, retried=stage.traffic.retried)


TEMPERATURE_SHIFT = Story(
    "temperature-shift", "temperature 0 becomes 1: acceptance really collapses, Off, and it serves on", play
)
