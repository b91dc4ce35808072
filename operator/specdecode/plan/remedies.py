"""What would make a mode fit. Each change is really planned again; only those that suffice are named.

It proposes single changes, from the one that costs least to the one that costs a GPU, and applies none.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from specdecode.api.spec import SpecDecodeDeploymentSpec
from specdecode.api.vocabulary import KvCacheDtype, Mode
from specdecode.engine.flags import knows_draft_kv_cache_dtype
from specdecode.engine.models import ModelFacts
from specdecode.engine.quantization import online_fp8
from specdecode.plan.ladder import speculation_of
from specdecode.plan.ledger import ledger
from specdecode.plan.workload import Workload

_HIGHEST_UTILIZATION = Decimal("0.95")
"""Above it CUDA graphs and allocations outside the budget run out of memory (vllm-project/vllm#15598 at 0.98)."""

_LOWEST_UTILIZATION = Decimal("0.50")

_FEWEST_BATCHED_TOKENS = 512
"""Below it a prefill takes too many steps to be worth a remedy."""

_SHORTEST_CONTEXT = 1024
_GPU_COUNTS = (2, 4, 8, 16)

Fits = Callable[[Workload, Mode], bool]
Change = tuple[str, Workload, Mode]
"""What to write into the spec, and what is planned then."""


def _engine(workload: Workload, **changes: object) -> Workload:
    engine = workload.spec.engine.model_copy(update=changes)
    return _spec(workload, engine=engine)


def _spec(workload: Workload, **changes: object) -> Workload:
    spec: SpecDecodeDeploymentSpec = workload.spec.model_copy(update=changes)
    return replace(workload, spec=spec)


def _utilizations(workload: Workload, mode: Mode) -> Iterator[Change]:
    """More for the cache; less when the card runs out of memory beside the budget."""
    share = Decimal(workload.spec.engine.gpu_memory_utilization)
    is_card_full = ledger(workload, mode).spare.nominal < 0
    step = Decimal("-0.01") if is_card_full else Decimal("0.01")
    while _LOWEST_UTILIZATION <= (share := share + step) <= (1 if is_card_full else _HIGHEST_UTILIZATION):
        yield f"engine.gpuMemoryUtilization {share}", _engine(workload, gpu_memory_utilization=str(share)), mode


def _sequences(workload: Workload, mode: Mode) -> Iterator[Change]:
    sequences = workload.spec.engine.max_num_seqs
    while (sequences := sequences // 2) >= 1:
        yield f"engine.maxNumSeqs {sequences}", _engine(workload, max_num_seqs=sequences), mode


def _batched_tokens(workload: Workload, mode: Mode) -> Iterator[Change]:
    engine = workload.spec.engine
    tokens = engine.max_num_batched_tokens
    while (tokens := tokens // 2) >= max(_FEWEST_BATCHED_TOKENS, engine.max_num_seqs):
        yield f"engine.maxNumBatchedTokens {tokens}", _engine(workload, max_num_batched_tokens=tokens), mode


def _context(workload: Workload, mode: Mode) -> Iterator[Change]:
    """The longest context in whole thousands that fits; what one request holds never shrinks with its length."""
    counted, asked = ledger(workload, mode), workload.spec.engine.max_model_len
    lengths = range(_SHORTEST_CONTEXT, asked, _SHORTEST_CONTEXT)
    longest = bisect_right(lengths, counted.kv_cache.nominal, key=counted.layout.request_bytes)
    if longest > 0:
        length = lengths[longest - 1]
        yield f"engine.maxModelLen {length}", _engine(workload, max_model_len=length), mode


def _cache_dtype(workload: Workload, mode: Mode) -> Iterator[Change]:
    if workload.spec.engine.kv_cache_dtype in {KvCacheDtype.AUTO, KvCacheDtype.BFLOAT16}:
        yield "engine.kvCacheDtype fp8", _engine(workload, kv_cache_dtype=KvCacheDtype.FP8), mode


def _speculative_tokens(workload: Workload, mode: Mode) -> Iterator[Change]:
    """Fewer proposed tokens mean fewer captured graphs."""
    speculation = workload.spec.speculation
    if speculation is None or mode is Mode.OFF:
        return
    for tokens in range(speculation.num_speculative_tokens - 1, 0, -1):
        changed = speculation.model_copy(update={"num_speculative_tokens": tokens})
        yield f"speculation.numSpeculativeTokens {tokens}", _spec(workload, speculation=changed), mode


def _draft_cache_dtype(workload: Workload, mode: Mode) -> Iterator[Change]:
    """The draft's own cache in FP8, where the release knows the key."""
    speculation = workload.spec.speculation
    if speculation is None or speculation.draft is None or not knows_draft_kv_cache_dtype(workload.version):
        return
    if mode not in {Mode.DRAFT, Mode.QUANTIZED_DRAFT} or speculation.draft.kv_cache_dtype is not None:
        return
    draft = speculation.draft.model_copy(update={"kv_cache_dtype": KvCacheDtype.FP8})
    changed = _spec(workload, speculation=speculation.model_copy(update={"draft": draft}))
    yield "speculation.draft.kvCacheDtype fp8", changed, mode


def _can_be_quantized(facts: ModelFacts | None, method: str | None) -> bool:
    """Whether it is known to be in 16 bit. A user's size on disk does not say how the weights are stored."""
    return facts is not None and facts.quantization is None and method is None and facts.parameters is not None


def _draft_quantization(workload: Workload, mode: Mode) -> Iterator[Change]:
    speculation = workload.spec.speculation
    if speculation is None or speculation.draft is None or mode is not Mode.DRAFT:
        return
    if _can_be_quantized(workload.draft, speculation.draft.quantization):
        method = online_fp8(workload.version)
        draft = speculation.draft.model_copy(update={"quantization": method})
        changed = _spec(workload, speculation=speculation.model_copy(update={"draft": draft}))
        yield f"speculation.draft.quantization {method}", changed, Mode.QUANTIZED_DRAFT


def _target_quantization(workload: Workload, mode: Mode) -> Iterator[Change]:
    model = workload.spec.model
    if _can_be_quantized(workload.target, model.quantization):
        method = online_fp8(workload.version)
        changed = _spec(workload, model=model.model_copy(update={"quantization": method}))
        yield f"model.quantization {method}", changed, mode


def _gpus(workload: Workload, mode: Mode) -> Iterator[Change]:
    accelerator = workload.spec.accelerator
    models = [facts for facts in (workload.target, workload.draft) if facts is not None]
    for count in _GPU_COUNTS:
        if count > accelerator.count and all(facts.splits_over(count) for facts in models):
            changed = _spec(workload, accelerator=accelerator.model_copy(update={"count": count}))
            yield f"accelerator.count {count}", changed, mode


def _without_draft(workload: Workload, mode: Mode) -> Iterator[Change]:
    active = speculation_of(workload.spec, mode)
    if active is not None and active.loads_weights:
        yield "speculation.method ngram, which loads no draft", workload, Mode.NGRAM


WAYS: tuple[Callable[[Workload, Mode], Iterator[Change]], ...] = (
    _utilizations,
    _sequences,
    _batched_tokens,
    _speculative_tokens,
    _context,
    _draft_quantization,
    _draft_cache_dtype,
    _cache_dtype,
    _target_quantization,
    _without_draft,
    _gpus,
)
"""Cheapest first. Each gives its changes from the smallest on; the first that fits is the remedy."""


def remedies(workload: Workload, mode: Mode, fits: Fits) -> tuple[str, ...]:
    """Every single change that makes `mode` fit, as `engine.maxNumSeqs 32`, cheapest first."""
    found = (
        next((words for words, changed, planned in way(workload, mode) if fits(changed, planned)), None) for way in WAYS
    )
    return tuple(words for words in found if words is not None)
