"""What would make a mode fit. Each change is really planned again; only those that suffice are named.

It proposes single changes, from the one that costs least to the one that costs a GPU, and applies none.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from specdecode.api.spec import SpecDecodeDeploymentSpec
from specdecode.api.vocabulary import KvCacheDtype, Mode
from specdecode.engine.models import ModelFacts
from specdecode.engine.quantization import online_fp8
from specdecode.plan.ladder import speculation_of
from specdecode.plan.ledger import ledger
from specdecode.plan.workload import Workload

_HIGHEST_UTILIZATION = Decimal("0.95")
"""Above it CUDA graphs and allocations outside the budget run out of memory (vllm-project/vllm#15598 at 0.98)."""

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
    share = Decimal(workload.spec.engine.gpu_memory_utilization)
    while (share := share + Decimal("0.01")) <= _HIGHEST_UTILIZATION:
        yield f"engine.gpuMemoryUtilization {share}", _engine(workload, gpu_memory_utilization=str(share)), mode


def _sequences(workload: Workload, mode: Mode) -> Iterator[Change]:
    sequences = workload.spec.engine.max_num_seqs
    while (sequences := sequences // 2) >= 1:
        yield f"engine.maxNumSeqs {sequences}", _engine(workload, max_num_seqs=sequences), mode


def _context(workload: Workload, mode: Mode) -> Iterator[Change]:
    counted = ledger(workload, mode)
    room = counted.shape.tokens_in(counted.kv_cache.nominal, workload.spec.engine.max_model_len)
    length = room // _SHORTEST_CONTEXT * _SHORTEST_CONTEXT
    if length >= _SHORTEST_CONTEXT:
        yield f"engine.maxModelLen {length}", _engine(workload, max_model_len=length), mode


def _cache_dtype(workload: Workload, mode: Mode) -> Iterator[Change]:
    if workload.spec.engine.kv_cache_dtype in {KvCacheDtype.AUTO, KvCacheDtype.BFLOAT16}:
        yield "engine.kvCacheDtype fp8", _engine(workload, kv_cache_dtype=KvCacheDtype.FP8), mode


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
    _context,
    _cache_dtype,
    _draft_quantization,
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
