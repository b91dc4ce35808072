"""Speculation changes how soon a token comes, never which: greedy answers are the same in every mode."""

from collections.abc import Awaitable, Callable

from rehearsal.stage import Stage
from rehearsal.stories.common import applied_mode_is
from rehearsal.story import Story
from rehearsal.vllm.real import prompts
from rehearsal.vllm_stories.common import answers, manifest, serving, speculation
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE

PROMPTS = prompts()[::9]
MAX_TOKENS = 64


async def _answers_in(stage: Stage, mode: str) -> list[list[str]]:
    await stage.expect(f"{mode} is applied", applied_mode_is(stage, mode), within=30)
    await serving(stage, f"{mode} serves")
    await stage.check(f"the mode is {mode}", (await stage.status()).get("mode") == mode)
    return await answers(stage, PROMPTS, MAX_TOKENS)


async def _drafted(stage: Stage) -> float:
    """Draft tokens that were accepted so far, of all pods."""
    found = await stage.prometheus.query("sum(max_over_time(vllm:spec_decode_num_accepted_tokens_total[1h]))")
    return float(found[0]["value"][1]) if found else 0.0


async def play(stage: Stage) -> None:
    """The draft model, n-gram, and neither: one after the other, on the same prompts."""
    await stage.apply(manifest(stage, speculation=speculation(stage, fallbacks=["NGram"])))
    told = {"Draft": await _answers_in(stage, "Draft")}
    accepted = 0.0
    for mode in ("NGram", "Off"):
        # The pod goes away with the next mode: what it accepted must have been scraped.
        accepted = await stage.expect_value("draft tokens were accepted", _more_than(stage, accepted), within=30)
        await stage.annotate(ANNOTATION_FORCE_MODE, mode)
        told[mode] = await _answers_in(stage, mode)
    for mode in ("Draft", "NGram"):
        pairs = zip(PROMPTS, told[mode], told["Off"], strict=True)
        differs = [prompt for prompt, answer, plain in pairs if answer != plain]
        await stage.check(f"all {len(PROMPTS)} answers of {mode} are those without speculation: {differs}", not differs)
    lengths = {len(answer) for answer in told["Off"]}
    await stage.check(f"every answer has {MAX_TOKENS} tokens", lengths == {MAX_TOKENS})
    distinct = len({tuple(answer) for answer in told["Off"]})
    await stage.check("the prompts have different answers", distinct > len(PROMPTS) // 2)
    stage.keep(prompts=len(PROMPTS), tokens_each=MAX_TOKENS, distinct_answers=distinct, accepted_draft_tokens=accepted)


def _more_than(stage: Stage, accepted: float) -> Callable[[], Awaitable[float | None]]:
    async def probe() -> float | None:
        now = await _drafted(stage)
        return now if now > accepted else None

    return probe


SAME_ANSWER = Story("same-answer", "greedy answers are the same with a draft, with n-gram and without", play)
