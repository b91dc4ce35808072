"""The unquantised draft runs first, until what it accepts is known; then the quantised one is held against it."""

from rehearsal.stage import Stage
from rehearsal.stories.common import (
    WINDOW_SECONDS,
    applied_mode_is,
    condition_is,
    manifest,
    serve,
    speculation,
    told_why,
)
from rehearsal.stories.quantized_draft import QUANTIZED, UNQUANTIZED
from rehearsal.story import Story


async def play(stage: Stage) -> None:
    """A quantised draft that is worse, and then one that is as good."""
    stage.behave(draft=UNQUANTIZED, quantized_draft=QUANTIZED)
    draft = {"name": "meta-llama/Llama-3.2-1B-Instruct", "quantization": "fp8_per_tensor"}
    guard = {"window": f"{WINDOW_SECONDS}s", "qualify": True}
    body = manifest(stage, speculation=speculation(draft=draft, fallbacks=["Draft"]), guard=guard)
    await serve(stage, body, mode="Draft", concurrency=6)
    await stage.expect(
        "the condition says why", condition_is(stage, "SpeculationActive", "True", "Qualifying"), within=30
    )
    seconds = await stage.expect(
        "it is known, and the quantised draft follows", applied_mode_is(stage, "QuantizedDraft"), within=150
    )
    await stage.expect("an Event says it", lambda: stage.events("Qualified"), within=10)
    accepted = (await stage.status())["baseline"]["draft"]
    stage.say(f"unquantised it accepts {accepted['acceptanceRatePercent']} % of {accepted['draftTokens']} draft tokens")
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.expect("the better of both runs: Draft", applied_mode_is(stage, "Draft"), within=120)
    await told_why(stage, "QuantizationDrop")
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    stage.say("a better export of the quantised draft is there; a person asks for another try")
    stage.behave(quantized_draft=UNQUANTIZED)
    await stage.ask_retry("a better export")
    await stage.expect("the quantised draft runs at once", applied_mode_is(stage, "QuantizedDraft"), within=30)
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.expect("it is measured", condition_is(stage, "MetricsAvailable", "True", "Measured"), within=60)
    # A whole window, and the scrapes after a start that are not looked at.
    await stage.holds(
        "as good as the other: it stays", applied_mode_is(stage, "QuantizedDraft"), seconds=WINDOW_SECONDS + 10
    )
    observed = (await stage.status())["observed"]
    await stage.check("what was measured is the quantised draft", observed["mode"] == "QuantizedDraft")
    stage.keep(qualified_after_seconds=round(seconds, 1), accepted=accepted)


QUALIFY = Story("qualify", "the unquantised draft shows what it accepts, then the better of both runs", play)
