"""The modes of a spec, best first, and what each of them asks the engine to do.

The requested mode comes first, then the fallbacks in the order they are written, and `Off` always last. Whether a mode
fits is not decided here.
"""

from specdecode.api.spec import SpecDecodeDeploymentSpec, SpeculationSpec
from specdecode.api.vocabulary import Method, Mode
from specdecode.engine.arguments import ActiveSpeculation

_NGRAM_METHODS = frozenset({Method.NGRAM, Method.NGRAM_GPU})


def modes_of(spec: SpecDecodeDeploymentSpec, requested: Mode) -> tuple[Mode, ...]:
    """Every mode that may run, best first, each once."""
    fallbacks = () if spec.speculation is None else spec.speculation.fallbacks
    return tuple(dict.fromkeys((requested, *(Mode(fallback) for fallback in fallbacks), Mode.OFF)))


def _method(speculation: SpeculationSpec, mode: Mode) -> Method:
    if mode is not Mode.NGRAM or speculation.method in _NGRAM_METHODS:
        return speculation.method
    return Method.NGRAM


def speculation_of(spec: SpecDecodeDeploymentSpec, mode: Mode) -> ActiveSpeculation | None:
    """What a mode proposes tokens with; None for `Off`. `Draft` is the requested draft without its quantisation."""
    speculation = spec.speculation
    if speculation is None or mode is Mode.OFF:
        return None
    draft = None if mode is Mode.NGRAM else speculation.draft
    typical = speculation.typical_acceptance
    return ActiveSpeculation(
        method=_method(speculation, mode),
        num_speculative_tokens=speculation.num_speculative_tokens,
        max_batch_size=speculation.max_batch_size,
        draft_name=None if draft is None else draft.name,
        draft_revision=None if draft is None else draft.revision,
        draft_quantization=draft.quantization if draft is not None and mode is Mode.QUANTIZED_DRAFT else None,
        draft_kv_cache_dtype=None if draft is None else draft.kv_cache_dtype,
        posterior_threshold=None if typical is None else typical.posterior_threshold,
        posterior_alpha=None if typical is None else typical.posterior_alpha,
        prompt_lookup_min=speculation.ngram.prompt_lookup_min,
        prompt_lookup_max=speculation.ngram.prompt_lookup_max,
    )
