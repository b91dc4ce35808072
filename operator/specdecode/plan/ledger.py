"""The memory ledger of one mode on one GPU.

Three sums stand in one list. The first is the arithmetic people quote, in decimal bytes from the label on the card:
`memory` + `quotedWeights` = `left`. The second is what vLLM does: `budget` + weights + `rotaryCaches` +
`activationPeak` + `buffers` + `nonTorch` + `cudaGraphs` + `calibration` + `safety` = `kvCache`. The third is the card:
`total` less the budget, + `outsideBudget` = `spare`. It counts and does not judge.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from specdecode.api.vocabulary import KvCacheDtype, Method, Mode
from specdecode.engine.arguments import ActiveSpeculation
from specdecode.engine.flags import knows_kv_cache_memory_bytes
from specdecode.engine.models import BYTES_16_BIT
from specdecode.engine.profiling import Profiling, Sampler, profiling
from specdecode.plan import memory
from specdecode.plan.cache import CacheLayout, cache_layout, layers_of
from specdecode.plan.estimate import Estimate, sum_of
from specdecode.plan.ladder import speculation_of
from specdecode.plan.loaded import Loaded, draft_of, target_of
from specdecode.plan.shape import shape_of
from specdecode.plan.types import LedgerLine
from specdecode.plan.workload import Workload

_PIN_MARGIN_BYTES = 150 * 1024**2
"""What vLLM itself keeps back when it suggests a value for --kv-cache-memory-bytes."""

_WITHOUT_DRAFT_CACHE = frozenset({Method.MEDUSA, Method.MLP_SPECULATOR})
"""Methods whose heads attend to nothing of their own."""

_KEEPS_HIDDEN_STATES = frozenset({Method.EAGLE, Method.EAGLE3, Method.MTP, Method.DFLASH, Method.DSPARK})
"""Methods whose head starts from the target's hidden states."""

_WHOLE_ON_V0 = frozenset({Method.EAGLE, Method.MLP_SPECULATOR})
"""Heads that the first engine generation refuses to split."""

_RUN_TO_RUN_BYTES = 50 * 1024**2
"""Equal starts of one engine differ by 0.03 GiB (two boots of one rig on vLLM 0.24.0)."""


_ONE_BYTE_CACHES = frozenset({KvCacheDtype.FP8, KvCacheDtype.FP8_E4M3, KvCacheDtype.FP8_E5M2})


@dataclass(frozen=True)
class Ledger:
    """The lines of one mode, and what follows from them."""

    lines: tuple[LedgerLine, ...]
    kv_cache: Estimate
    """Per GPU; negative when the weights alone are too much."""
    spare: Estimate
    """Per GPU: what is left of the card when everything runs; negative when it runs out of memory beside its budget."""
    layout: CacheLayout
    load_bytes: int
    """Read by one pod at its start, all GPUs together."""
    is_pinned: bool
    """Whether the plan fixes the size of the KV cache."""
    shape: str
    """See `ModePlan.shape`."""


def _gives(name: str, amount: Estimate, source: str) -> LedgerLine:
    return LedgerLine(name, amount.nominal, amount.low, amount.high, source)


def _takes(name: str, amount: Estimate, source: str) -> LedgerLine:
    return LedgerLine(name, -amount.nominal, -amount.high, -amount.low, source)


def _sum(lines: Iterable[LedgerLine]) -> Estimate:
    return sum_of(Estimate(line.low_bytes, line.bytes, line.high_bytes) for line in lines)


def _quoted_lines(workload: Workload, models: tuple[Loaded, ...]) -> tuple[LedgerLine, ...]:
    weights = -(-sum(model.quoted_bytes for model in models) // workload.gpus)
    given = _gives("memory", Estimate.exact(workload.gpu.label_bytes), f"label of {workload.spec.accelerator.product}")
    taken = _takes("quotedWeights", Estimate.exact(weights), "parameters in the name x bytes per weight, per GPU")
    return given, taken, _gives("left", _sum((given, taken)), "memory less quotedWeights, decimal bytes")


def _weights_source(loaded: Loaded) -> str:
    return f"{loaded.facts.name} at {loaded.bits:g} bits per linear weight; {loaded.facts.source}"


@dataclass(frozen=True)
class _Mode:
    """One mode of a workload, with everything its lines are counted from."""

    workload: Workload
    active: ActiveSpeculation | None
    target: Loaded
    draft: Loaded | None
    rules: Profiling

    @property
    def models(self) -> tuple[Loaded, ...]:
        """What is loaded."""
        return (self.target,) if self.draft is None else (self.target, self.draft)

    @property
    def draft_gpus(self) -> int:
        """GPUs that share the draft."""
        is_whole = self.active is not None and self.active.method in _WHOLE_ON_V0 and self.rules.is_v0
        return 1 if is_whole else self.workload.gpus

    @property
    def is_pinned(self) -> bool:
        """Whether the plan fixes the size of the KV cache."""
        workload = self.workload
        return workload.spec.engine.pin_kv_cache and knows_kv_cache_memory_bytes(workload.version)


def _mode(workload: Workload, mode: Mode) -> _Mode:
    active = speculation_of(workload.spec, mode)
    method = None if active is None else active.method
    rules = profiling(
        workload.version,
        method,
        workload.target.architecture,
        workload.gpu.compute_capability,
        is_quantized=workload.target.quantization is not None,
    )
    if any(argument.name == "disable-hybrid-kv-cache-manager" for argument in workload.spec.engine.extra_args):
        rules = replace(rules, batches_in_flight=0)
    return _Mode(workload, active, target_of(workload), draft_of(workload, active), rules)


def _weight_lines(mode: _Mode) -> Iterator[LedgerLine]:
    target, draft = mode.target, mode.draft
    yield _takes("targetWeights", target.share(mode.workload.gpus), _weights_source(target))
    if draft is not None:
        yield _takes("draftWeights", draft.share(mode.draft_gpus), _weights_source(draft))
    length = mode.workload.spec.engine.max_model_len
    caches = sum(memory.rotary_cache_bytes(model.facts, length) for model in mode.models)
    yield _takes("rotaryCaches", Estimate.exact(caches), "positions x head dimension x 2 bytes, whole on every GPU")


def _steady_peak(mode: _Mode) -> Estimate:
    engine = mode.workload.spec.engine
    tokens, gpus = engine.max_num_batched_tokens, mode.workload.gpus
    peak = memory.sampler_peak(
        mode.target.facts, mode.rules.sampler, max_num_seqs=engine.max_num_seqs, batched_tokens=tokens
    )
    is_compiled = _is_compiled(mode)
    forward = memory.forward_peak(mode.target.facts, tokens, gpus, is_compiled=is_compiled)
    if mode.active is not None and mode.active.method is Method.EAGLE3:
        forward = forward.plus(memory.auxiliary_states(mode.target.facts, tokens))
    if mode.draft is not None:
        forward = forward.larger_of(memory.forward_peak(mode.draft.facts, tokens, gpus, is_compiled=is_compiled))
    return peak.larger_of(forward)


def _is_compiled(mode: _Mode) -> bool:
    return not mode.workload.spec.engine.enforce_eager and not mode.rules.is_v0


def _activation_peak(mode: _Mode) -> LedgerLine:
    """Pods start without a compile cache, so the cold start is the likely one; a warm one takes less. A pinned cache is
    not sized by what the profiling run saw.
    """
    steady, workspace = _steady_peak(mode), memory.LIBRARY_WORKSPACE
    if mode.is_pinned or not (_is_compiled(mode) and mode.rules.autotunes_at_cold_start):
        return _takes("activationPeak", steady.plus(workspace), "the larger of the forward pass and the sampler")
    cold = steady.larger_of(memory.cold_start_peak(mode.target.facts, mode.workload.gpus)).plus(workspace)
    peak = Estimate(steady.low + workspace.low, cold.nominal, cold.high)
    if cold.nominal > steady.nominal + workspace.nominal:
        source = "benchmarks of the compiler at a start without a compile cache; the low end is a start with one"
        return _takes("activationPeak", peak, source)
    return _takes("activationPeak", peak, "the larger of the forward pass and the sampler")


def _buffers(mode: _Mode) -> LedgerLine:
    engine = mode.workload.spec.engine
    if not mode.rules.charges_buffers:
        return _takes("buffers", Estimate.exact(0), f"vLLM {mode.workload.version} does not charge them")
    keeps = mode.active is not None and mode.active.method in _KEEPS_HIDDEN_STATES
    size = memory.buffers(
        mode.target.facts,
        mode.rules.sampler,
        max_num_seqs=engine.max_num_seqs,
        batched_tokens=engine.max_num_batched_tokens,
        keeps_hidden_states=keeps,
    )
    return _takes("buffers", Estimate.exact(size), "counts of output tokens per sequence, hidden states for a head")


def _graphs(mode: _Mode) -> Estimate:
    engine = mode.workload.spec.engine
    if engine.enforce_eager:
        return Estimate.exact(0)
    sizes = memory.capture_sizes(engine.max_num_seqs, 0 if mode.active is None else mode.active.num_speculative_tokens)
    return memory.cuda_graphs(_captured_layers(mode), sizes)


def _captured_layers(mode: _Mode) -> int:
    layers = mode.target.facts.num_hidden_layers
    # The second runner runs a stand-alone draft without graphs.
    is_eager_draft = (
        mode.rules.sampler is Sampler.GUMBEL and mode.active is not None and mode.active.method is Method.DRAFT_MODEL
    )
    return layers if mode.draft is None or is_eager_draft else layers + mode.draft.facts.num_hidden_layers


def _cuda_graphs(mode: _Mode) -> LedgerLine:
    if mode.workload.spec.engine.enforce_eager:
        return _takes("cudaGraphs", Estimate.exact(0), "enforceEager: none are captured")
    if not mode.rules.counts_cuda_graphs:
        source = f"vLLM {mode.workload.version} captures them outside its budget"
        return _takes("cudaGraphs", Estimate.exact(0), source)
    return _takes("cudaGraphs", _graphs(mode), f"{_captured_layers(mode)} layers, 0.4 MiB for each captured batch size")


def _not_charged(mode: _Mode) -> LedgerLine | None:
    """V0 sizes the cache as if the draft were not there."""
    if mode.draft is None or mode.rules.charges_draft:
        return None
    share = mode.draft.share(mode.draft_gpus)
    source = f"vLLM {mode.workload.version} profiles the target alone; the draft lies outside its budget"
    return _gives("draftNotCharged", share, source)


def _calibrated(mode: _Mode, shape: str, budget: int, counted: tuple[LedgerLine, ...]) -> LedgerLine | None:
    """What an engine of this shape really took, against the lines above."""
    known = next((entry for entry in mode.workload.calibrations if entry.shape == shape), None)
    if known is None:
        return None
    correction = budget - known.non_kv_bytes - _sum(counted).nominal
    spread = Estimate(correction - _RUN_TO_RUN_BYTES, correction, correction + _RUN_TO_RUN_BYTES)
    return _gives("calibration", spread, "measured: a started engine of the same shape, vllm:cache_config_info")


def _safety(mode: _Mode, available: Estimate) -> LedgerLine:
    """Without pinKvCache the engine fills its own budget and nothing is kept back. With it a wrong plan is an
    out-of-memory failure, so the whole spread is kept back, and the margin of vLLM's own suggestion.
    """
    if not mode.is_pinned:
        return _takes("safety", Estimate.exact(0), "the engine sizes the KV cache itself; the spread is below")
    kept = available.nominal - available.low + _PIN_MARGIN_BYTES
    return _takes("safety", Estimate.exact(kept), "pinKvCache: the whole spread and 150 MiB")


def _card_lines(mode: _Mode, budget: int) -> tuple[LedgerLine, ...]:
    """What must fit beside the budget, or the engine fails after its cache is allocated."""
    workload = mode.workload
    parts = [memory.outside_communicator(mode.rules, workload.gpus)]
    if not mode.rules.charges_context:
        parts.append(memory.context())
    if not mode.rules.counts_cuda_graphs:
        parts.append(_graphs(mode))
    if mode.draft is not None and not mode.rules.charges_draft:
        parts.append(mode.draft.share(mode.draft_gpus))
    total = _gives("total", Estimate.exact(workload.gpu.memory_bytes), "memory of the card, as CUDA reports it")
    outside = _takes("outsideBudget", sum_of(parts), "CUDA context, communication and what is not profiled")
    beside = _takes("budgetTaken", Estimate.exact(budget), "the budget of the engine")
    return total, beside, outside, _gives("spare", _sum((total, beside, outside)), "left of the card")


def _layout(mode: _Mode) -> CacheLayout:
    engine, gpus = mode.workload.spec.engine, mode.workload.gpus
    layers = layers_of(mode.target.facts, mode.rules, gpus=gpus, element_bytes=_element_bytes(engine.kv_cache_dtype))
    if mode.draft is not None and mode.active is not None and mode.active.method not in _WITHOUT_DRAFT_CACHE:
        # Without its own type the draft's cache is kept like the target's.
        own = _element_bytes(mode.active.draft_kv_cache_dtype or engine.kv_cache_dtype)
        layers += layers_of(mode.draft.facts, mode.rules, gpus=mode.draft_gpus, element_bytes=own)
    return cache_layout(layers, mode.rules, batched_tokens=engine.max_num_batched_tokens)


def _element_bytes(dtype: KvCacheDtype) -> int:
    return 1 if dtype in _ONE_BYTE_CACHES else BYTES_16_BIT


def _counted_lines(mode: _Mode, budget: int) -> tuple[LedgerLine, ...]:
    workload = mode.workload
    origin = "measured" if workload.gpu.is_measured else "stated or derived from the label"
    source = (
        f"{workload.gpu.memory_bytes} bytes as CUDA reports them ({origin}) x utilisation "
        f"{workload.spec.engine.gpu_memory_utilization}"
    )
    outside = memory.non_torch(mode.rules, workload.gpus, has_nvlink=workload.gpu.has_nvlink)
    lines = (
        _gives("budget", Estimate.exact(budget), source),
        *_weight_lines(mode),
        _not_charged(mode),
        _activation_peak(mode),
        _buffers(mode),
        _takes("nonTorch", outside, "CUDA libraries and communication"),
        _cuda_graphs(mode),
    )
    return tuple(line for line in lines if line is not None)


def ledger(workload: Workload, mode: Mode) -> Ledger:
    """Count the memory of one mode."""
    counted_mode = _mode(workload, mode)
    budget = memory.requested_bytes(workload.gpu.memory_bytes, workload.spec.engine.gpu_memory_utilization)
    counted = _counted_lines(counted_mode, budget)
    available = _sum(counted)
    shape = shape_of(workload, counted_mode.active)
    measured = _calibrated(counted_mode, shape, budget, counted)
    if measured is not None:
        # What was measured replaces what was estimated, and its spread.
        half = (measured.high_bytes - measured.low_bytes) // 2
        nominal = available.nominal + measured.bytes
        available, counted = Estimate(nominal - half, nominal, nominal + half), (*counted, measured)
    safety = _safety(counted_mode, available)
    is_pinned = counted_mode.is_pinned
    kept = available.plus(Estimate.exact(safety.bytes))
    kv_cache = Estimate.exact(kept.nominal) if is_pinned else kept
    card = _card_lines(counted_mode, budget)
    return Ledger(
        lines=(
            *_quoted_lines(workload, counted_mode.models),
            *counted,
            safety,
            _gives("kvCache", kv_cache, "what is left of the budget"),
            *card,
        ),
        kv_cache=kv_cache,
        spare=Estimate(card[-1].low_bytes, card[-1].bytes, card[-1].high_bytes),
        layout=_layout(counted_mode),
        load_bytes=sum(model.read_bytes for model in counted_mode.models),
        is_pinned=is_pinned,
        shape=shape,
    )
