"""Advice on memory: what is large, what does not fit, and what the draft costs. Rules speak; they change nothing."""

from specdecode.api.accelerators import FP8_SINCE
from specdecode.api.vocabulary import METHODS_WITHOUT_DRAFT, Fallback, Method, Mode
from specdecode.engine.quantization import UNQUANTIZED_BITS, online_fp8
from specdecode.plan.review import Review, Said, gb, gib
from specdecode.plan.types import Advice

_TARGET_SHARE = 0.70
_DRAFT_SHARE = 0.15
_SMALLEST_RATIO, _LARGEST_RATIO = 8.0, 12.0
_WARM_START_BYTES = 256 * 1024**2
"""Less is the spread of the formula itself."""

_SERVABLE_SHARE = 0.05
"""4 of 160 GB is not servable: what is left must hold activations, graphs and every request's cache."""


def target_weights(review: Review) -> Said:
    share = review.share_of_gpu(review.taken(review.requested, "targetWeights"))
    if share <= _TARGET_SHARE:
        return None
    return Advice(
        "TargetWeightsOver70Percent",
        f"the target's weights take {share:.0%} of each GPU, more than 70 %: little is left for requests; quantise the "
        "target or use more GPUs",
    )


def draft_weights(review: Review) -> Said:
    share = review.share_of_gpu(review.taken(review.requested, "draftWeights"))
    if share <= _DRAFT_SHARE:
        return None
    return Advice(
        "DraftOver15Percent",
        f"the draft's weights take {share:.0%} of each GPU, more than 15 %; quantise the draft or choose a smaller one",
    )


def draft_ratio(review: Review) -> Said:
    speculation, draft = review.speculation, review.draft
    if speculation is None or draft is None or speculation.method is not Method.DRAFT_MODEL:
        return None
    ratio = review.workload.target.total_parameters / draft.total_parameters
    if ratio > _LARGEST_RATIO:
        return Advice(
            "DraftRatioTooSmall",
            f"the draft is 1:{ratio:.0f} of the target, outside 1:8 to 1:12: so small a draft is cheap but rejected "
            "often; choose a larger one of the same family or measure its acceptance first",
        )
    if ratio < _SMALLEST_RATIO:
        return Advice(
            "DraftRatioTooLarge",
            f"the draft is 1:{ratio:.1f} of the target, outside 1:8 to 1:12: so large a draft is accepted but each of "
            "its steps costs too much; choose a smaller one of the same family",
        )
    return None


def family(review: Review) -> Said:
    draft, target = review.draft, review.workload.target
    if draft is None or draft.family is None or target.family is None or draft.family == target.family:
        return None
    return Advice(
        "FamilyMismatch",
        f"the draft is of family {draft.family} and the target of {target.family}: even with vocabularies of one size "
        "another tokenizer or training is accepted far less; quantise a draft of the same family instead",
    )


def quantize_draft_first(review: Review) -> Said:
    speculation, draft = review.speculation, review.draft
    is_quantizable = (
        speculation is not None
        and speculation.draft is not None
        and speculation.draft.quantization is None
        and draft is not None
        and draft.quantization is None
    )
    is_needed = any(rule(review) is not None for rule in (draft_weights, family, tight, not_servable))
    if not is_quantizable or not is_needed:
        return None
    return Advice(
        "QuantizeDraftFirst",
        "quantise the draft before relaxing its family or size: speculation.draft.quantization "
        f"{online_fp8(review.workload.version)}, with fallback {Fallback.DRAFT} where that fits",
    )


def draft_cache(review: Review) -> Said:
    requested, off = review.requested, review.off
    if requested.bytes_per_token <= off.bytes_per_token and review.taken(requested, "draftWeights") == 0:
        return None
    if off.kv_cache_tokens == 0:
        return None
    lost = off.kv_cache_tokens - requested.kv_cache_tokens
    return Advice(
        "DraftTakesKvCache",
        f"the draft leaves room for {requested.kv_cache_tokens} tokens instead of {off.kv_cache_tokens} "
        f"({lost / off.kv_cache_tokens:.0%} less): {gib(review.taken(requested, 'draftWeights'))} of weights per GPU, "
        f"and {requested.bytes_per_token} instead of {off.bytes_per_token} bytes per token",
    )


def not_servable(review: Review) -> Said:
    requested, gpus = review.requested, review.workload.gpus
    quoted = {line.name: line.bytes * gpus for line in requested.ledger}
    if requested.fits and quoted["left"] >= _SERVABLE_SHARE * quoted["memory"]:
        return None
    verdict = "hardly servable" if requested.fits else "not servable"
    missing = "" if requested.fits else f"; short by {gib(requested.short_bytes)} per GPU for one request"
    remedies = f"; {' or '.join(requested.remedies)} would fit" if requested.remedies else ""
    return Advice(
        "NotServable",
        f"{gb(-quoted['quotedWeights'])} of weights leave {gb(quoted['left'])} of {gb(quoted['memory'])}: {verdict}"
        f"{missing}{remedies}",
    )


def tight(review: Review) -> Said:
    cache = next(line for line in review.requested.ledger if line.name == "kvCache")
    needed = review.requested.request_bytes
    if not review.requested.fits or cache.low_bytes >= needed:
        return None
    return Advice(
        "TightMemory",
        f"the plan fits by {gib(cache.bytes - needed)} per GPU and may be wrong by {gib(cache.bytes - cache.low_bytes)}"
        ": the engine may refuse to start; lower maxModelLen or maxNumSeqs",
    )


def tight_card(review: Review) -> Said:
    """Eight cards on PCIe failed so with 1.57 GiB beside their budget (vllm-project/vllm#51590)."""
    lines = {line.name: line for line in review.requested.ledger}
    spare, outside = lines["spare"], lines["outsideBudget"]
    if not review.requested.fits or spare.low_bytes >= 0:
        return None
    return Advice(
        "TightCard",
        f"beside its budget the engine takes {gib(-outside.high_bytes)} to {gib(-outside.low_bytes)} per GPU and "
        f"{gib(spare.bytes - outside.bytes)} are left: it may run out of memory after its KV cache is allocated; lower "
        "engine.gpuMemoryUtilization",
    )


def fallback_does_not_fit(review: Review) -> Said:
    failing = [plan for plan in review.ladder[1:-1] if not plan.fits]
    if not failing:
        return None
    named = ", ".join(f"{plan.mode} (short by {gib(plan.short_bytes)} per GPU)" for plan in failing)
    return Advice(
        "FallbackDoesNotFit",
        f"{named}: what does not fit is no fallback; the guard steps past it",
    )


_UNCOUNTED_ARGUMENTS = frozenset(
    {
        *("enable-lora", "compilation-config", "cudagraph-capture-sizes", "max-cudagraph-capture-size"),
        *("performance-mode", "limit-mm-per-prompt"),
    }
)
"""Arguments that change what a GPU holds in a way that no line of the ledger counts."""


def uncounted_arguments(review: Review) -> Said:
    names = [argument.name for argument in review.spec.engine.extra_args if argument.name in _UNCOUNTED_ARGUMENTS]
    if not names:
        return None
    return Advice(
        "ArgumentNotCounted",
        f"changes the memory in a way that the plan does not count: {', '.join(names)}; compare with "
        "vllm:cache_config_info after the first start, which also corrects the next plan",
    )


def multimodal(review: Review) -> Said:
    target = review.workload.target
    if not target.is_multimodal:
        return None
    return Advice(
        "EncoderNotCounted",
        f"{target.architecture} also loads and profiles an encoder, whose activations the plan does not count: the "
        "first start tells, and corrects the next plan",
    )


def warm_start(review: Review) -> Said:
    """Pods start without a compile cache; one that is kept gives back what the compiler's benchmarks took."""
    peak = next(line for line in review.requested.ledger if line.name == "activationPeak")
    gained = peak.high_bytes - peak.bytes
    if not review.requested.fits or gained < _WARM_START_BYTES:
        return None
    return Advice(
        "WarmStartHasMoreKv",
        f"planned for a start without a compile cache, as every new pod has it: one with a kept cache has up to "
        f"{gib(gained)} more KV cache per GPU ({gained // review.requested.bytes_per_token} tokens); pinKvCache is "
        "immune to the difference",
    )


def ngram_for_summaries(review: Review) -> Said:
    speculation = review.speculation
    if speculation is None or speculation.method in METHODS_WITHOUT_DRAFT:
        return None
    if Mode.NGRAM in (plan.mode for plan in review.ladder):
        return None
    return Advice(
        "NgramForSummaries",
        "n-gram speculation needs no memory and fits summarising and retrieval, where answers repeat the prompt; list "
        f"{Fallback.NGRAM} in speculation.fallbacks",
    )


def fp8_without_hardware(review: Review) -> Said:
    speculation = review.speculation
    draft = None if speculation is None else speculation.draft
    names = (review.spec.model.quantization, None if draft is None else draft.quantization)
    is_older = review.workload.gpu.compute_capability < FP8_SINCE
    if not is_older or not any(name is not None and "fp8" in name for name in names):
        return None
    return Advice(
        "Fp8WithoutHardware",
        f"{review.spec.accelerator.product} has no FP8 arithmetic: weights are kept in FP8 and computed in 16 bit, "
        f"which saves memory and not time; {UNQUANTIZED_BITS:.0f} bit or AWQ may be faster",
    )
