"""The fp8 draft accepts 12 points less than the unquantised one did: its quantisation is taken back, no more."""

from rehearsal.stage import Stage
from rehearsal.stories.common import (
    applied_mode_is,
    condition_is,
    helped,
    manifest,
    serve,
    speculation,
    status_has,
    told_why,
)
from rehearsal.story import Story

UNQUANTIZED = 0.86
"""74 % of three proposed tokens are accepted."""
QUANTIZED = 0.78
"""62 % of three proposed tokens are accepted."""


async def play(stage: Stage) -> None:
    """First the unquantised draft, then the quantised one."""
    stage.behave(draft=UNQUANTIZED, quantized_draft=QUANTIZED)
    await serve(stage, manifest(stage), mode="Draft", concurrency=6)
    await stage.expect(
        "the unquantised draft's own acceptance is remembered", status_has(stage, "baseline", "draft"), within=90
    )
    before = (await stage.status())["baseline"]["draft"]["acceptanceRatePercent"]
    stage.say(f"unquantised it accepts {before} %; a new spec asks for the fp8 draft")
    draft = {"name": "meta-llama/Llama-3.2-1B-Instruct", "quantization": "fp8_per_tensor"}
    await stage.apply(manifest(stage, speculation=speculation(draft=draft, fallbacks=["Draft"])))
    await stage.expect("the quantised draft is rolled out", applied_mode_is(stage, "QuantizedDraft"), within=30)
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    modes = {mode["name"]: mode for mode in (await stage.status())["plan"]["modes"]}
    await stage.check(
        "memory for the step back was planned", modes["Draft"]["fits"] and modes["Draft"]["kvCacheTokens"]
    )
    seconds = await stage.expect("back to Draft, not Off", applied_mode_is(stage, "Draft"), within=120)
    await told_why(stage, "QuantizationDrop")
    await stage.expect("it serves", condition_is(stage, "Ready", "True", "Serving"), within=60)
    await stage.expect("speculation is still on", condition_is(stage, "SpeculationActive", "True"), within=30)
    (speculating,) = [pod for pod in stage.pods() if not pod.terminating]
    config = next(argument for argument in speculating.args if argument.startswith("--speculative-config="))
    await stage.check("the draft runs without its quantisation", "quantization" not in config)
    await helped(stage)
    stage.keep(unquantized_percent=before, back_to_draft_after_seconds=round(seconds, 1))


QUANTIZED_DRAFT = Story(
    "quantized-draft", "the fp8 draft accepts 12 points less: back to Draft, speculation stays on", play
)
