"""What a careful colleague would say about a plan. The tuple reads like a checklist, most pressing first."""

from collections.abc import Callable

from specdecode.plan import advice_engine, advice_memory, advice_traffic
from specdecode.plan.review import Review, Said
from specdecode.plan.types import Advice

RULES: tuple[Callable[[Review], Said], ...] = (
    advice_memory.not_servable,
    advice_memory.tight,
    advice_memory.tight_card,
    advice_memory.fallback_does_not_fit,
    advice_engine.remote_code,
    advice_engine.version_unknown,
    advice_engine.typical_acceptance,
    advice_engine.draft_revision_not_passed,
    advice_engine.eagle_head_by_name,
    advice_engine.pin_unsupported,
    advice_engine.suffix_package,
    advice_engine.draft_context,
    advice_memory.target_weights,
    advice_memory.draft_weights,
    advice_memory.draft_ratio,
    advice_memory.family,
    advice_memory.quantize_draft_first,
    advice_memory.fp8_without_hardware,
    advice_memory.draft_cache,
    advice_memory.warm_start,
    advice_memory.uncounted_arguments,
    advice_memory.multimodal,
    advice_memory.ngram_for_summaries,
    advice_traffic.max_batch_size_missing,
    advice_traffic.max_batch_size_unsupported,
    advice_traffic.slow_acceptance,
    advice_traffic.ttft,
    advice_traffic.no_latency_limit,
    advice_traffic.limit_off_edge,
    advice_traffic.production_temperature,
    advice_traffic.control_replica,
    advice_traffic.qualification,
    advice_engine.revision_not_pinned,
    advice_engine.cache_claim_missing,
)


def advise(review: Review) -> tuple[Advice, ...]:
    """Everything that is worth saying, most pressing first."""
    said = (rule(review) for rule in RULES)
    return tuple(advice for advice in said if advice is not None)
