"""The memory ledger of one mode on one GPU.

Two sums stand in one list. The first is the arithmetic people quote, in decimal bytes from the label on the card:
`memory` + `quotedWeights` = `left`. The second is what vLLM does: `budget` + weights + `rotaryCaches` +
`activationPeak` + `nonTorch` + `cudaGraphs` + `safety` = `kvCache`. It counts and does not judge.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from specdecode.api.vocabulary import KvCacheDtype, Method, Mode
from specdecode.engine.arguments import ActiveSpeculation
from specdecode.engine.flags import counts_cuda_graphs, knows_kv_cache_memory_bytes, uses_v2_runner
from specdecode.engine.models import ModelFacts
from specdecode.engine.quantization import QUANTIZATIONS, UNQUANTIZED_BITS
from specdecode.plan import memory
from specdecode.plan.ladder import speculation_of
from specdecode.plan.memory import Estimate, KvShape
from specdecode.plan.types import LedgerLine
from specdecode.plan.workload import Workload

_PIN_MARGIN_BYTES = 150 * 1024**2
"""What vLLM itself keeps back when it suggests a value for --kv-cache-memory-bytes."""

_WITHOUT_DRAFT_CACHE = frozenset({Method.MEDUSA, Method.MLP_SPECULATOR})
"""Methods whose heads attend to nothing of their own."""

_NAMED_SIZE = re.compile(r"(?<![0-9A-Za-z.])([0-9]+(?:\.[0-9]+)?)B(?![0-9A-Za-z])", re.IGNORECASE)

_ONE_BYTE_CACHES = frozenset({KvCacheDtype.FP8, KvCacheDtype.FP8_E4M3, KvCacheDtype.FP8_E5M2})


@dataclass(frozen=True)
class Ledger:
    """The lines of one mode, and what follows from them."""

    lines: tuple[LedgerLine, ...]
    kv_cache: Estimate
    """Per GPU; negative when the weights alone are too much."""
    shape: KvShape
    load_bytes: int
    """Read by one pod at its start, all GPUs together."""
    is_pinned: bool
    """Whether the plan fixes the size of the KV cache."""


@dataclass(frozen=True)
class Loaded:
    """One model in the memory of a mode."""

    facts: ModelFacts
    bits: float
    """Per weight of a linear layer, as it is kept."""

    @property
    def kept_bytes(self) -> int:
        """All GPUs together."""
        return memory.weight_bytes(self.facts, self.bits)

    @property
    def read_bytes(self) -> int:
        """What is read: a 16-bit checkpoint quantised while loading is still read in 16 bit."""
        return memory.weight_bytes(self.facts, self.facts.weight_bits)

    @property
    def quoted_bytes(self) -> int:
        """The arithmetic people quote: the size in the name times the bytes per weight, "70B in INT8 is 70 GB"."""
        if self.facts.parameters is None and self.facts.weight_bytes is not None:
            return self.kept_bytes
        return int(quoted_parameters(self.facts) * round(self.bits) / 8)


def quoted_parameters(facts: ModelFacts) -> int:
    """The size in a model's name, when it is within 15 % of its weights; else the weights."""
    exact = facts.total_parameters
    found = _NAMED_SIZE.search(facts.name.rpartition("/")[2].replace("-", " "))
    if found is None:
        return exact
    named = int(float(found.group(1)) * 1000**3)
    return named if abs(named - exact) <= 0.15 * exact else exact


def _bits(facts: ModelFacts, quantization: str | None) -> float:
    """Bits per linear weight: those of the checkpoint, unless a method quantises 16 bit while it loads."""
    if quantization is None or facts.weight_bits != UNQUANTIZED_BITS:
        return facts.weight_bits
    return QUANTIZATIONS[quantization].bits


def target_of(workload: Workload) -> Loaded:
    """The target as it is kept in memory."""
    return Loaded(workload.target, _bits(workload.target, workload.spec.model.quantization))


def draft_of(workload: Workload, active: ActiveSpeculation | None) -> Loaded | None:
    """The draft of a mode as it is kept in memory; None when the mode loads none."""
    if active is None or not active.loads_weights or workload.draft is None:
        return None
    return Loaded(workload.draft, _bits(workload.draft, active.draft_quantization))


def _gives(name: str, amount: Estimate, source: str) -> LedgerLine:
    return LedgerLine(name, amount.nominal, amount.low, amount.high, source)


def _takes(name: str, amount: Estimate, source: str) -> LedgerLine:
    return LedgerLine(name, -amount.nominal, -amount.high, -amount.low, source)


def _sum(lines: Iterable[LedgerLine]) -> Estimate:
    added = tuple(lines)
    return Estimate(
        sum(line.low_bytes for line in added), sum(line.bytes for line in added), sum(line.high_bytes for line in added)
    )


def _quoted_lines(workload: Workload, models: tuple[Loaded, ...]) -> tuple[LedgerLine, ...]:
    weights = -(-sum(model.quoted_bytes for model in models) // workload.gpus)
    given = _gives("memory", Estimate.exact(workload.gpu.label_bytes), f"label of {workload.spec.accelerator.product}")
    taken = _takes("quotedWeights", Estimate.exact(weights), "parameters in the name x bytes per weight, per GPU")
    return given, taken, _gives("left", _sum((given, taken)), "memory less quotedWeights, decimal bytes")


def _weights_source(loaded: Loaded) -> str:
    return f"{loaded.facts.name} at {loaded.bits:g} bits per linear weight; {loaded.facts.source}"


def _weight_lines(workload: Workload, target: Loaded, draft: Loaded | None) -> tuple[LedgerLine, ...]:
    models = {"targetWeights": target} | ({} if draft is None else {"draftWeights": draft})
    caches = sum(
        memory.rotary_cache_bytes(model.facts, workload.spec.engine.max_model_len) for model in models.values()
    )
    return (
        *(
            _takes(name, memory.weights_per_gpu(model.kept_bytes, workload.gpus), _weights_source(model))
            for name, model in models.items()
        ),
        _takes("rotaryCaches", Estimate.exact(caches), "positions x head dimension x 2 bytes, whole on every GPU"),
    )


def _activation_peak(workload: Workload, draft: Loaded | None, *, v2_runner: bool) -> LedgerLine:
    engine = workload.spec.engine
    peak = memory.sampler_peak(engine.max_num_seqs, workload.target.vocab_size, v2_runner=v2_runner)
    for facts in (workload.target, None if draft is None else draft.facts):
        if facts is not None:
            peak = peak.larger_of(memory.forward_peak(facts, engine.max_num_batched_tokens, workload.gpus))
    return _takes("activationPeak", peak, "the larger of the forward pass and the sampler")


def _cuda_graphs(
    workload: Workload, draft: Loaded | None, active: ActiveSpeculation | None, *, v2_runner: bool
) -> LedgerLine:
    engine = workload.spec.engine
    if engine.enforce_eager:
        return _takes("cudaGraphs", Estimate.exact(0), "enforceEager: none are captured")
    if not counts_cuda_graphs(workload.version, v2_runner=v2_runner):
        source = f"vLLM {workload.version} captures them outside its budget"
        return _takes("cudaGraphs", Estimate.exact(0), source)
    width = 0 if active is None else active.num_speculative_tokens
    sizes = memory.capture_sizes(engine.max_num_seqs, width)
    layers = workload.target.num_hidden_layers
    if draft is not None and not (v2_runner and active is not None and active.method is Method.DRAFT_MODEL):
        layers += draft.facts.num_hidden_layers
    return _takes("cudaGraphs", memory.cuda_graphs(layers, sizes), f"{layers} layers x {sizes} batch sizes x 0.4 MiB")


def _safety(workload: Workload, lines: tuple[LedgerLine, ...]) -> LedgerLine:
    """Without pinKvCache the engine fills its own budget and nothing is kept back. With it a wrong plan is an
    out-of-memory failure, so the whole spread is kept back, and the margin of vLLM's own suggestion.
    """
    if not _is_pinned(workload):
        return _takes("safety", Estimate.exact(0), "the engine sizes the KV cache itself; the spread is below")
    expected = _sum(lines)
    kept = expected.nominal - expected.low + _PIN_MARGIN_BYTES
    return _takes("safety", Estimate.exact(kept), "pinKvCache: the whole spread and 150 MiB")


def _is_pinned(workload: Workload) -> bool:
    return workload.spec.engine.pin_kv_cache and knows_kv_cache_memory_bytes(workload.version)


def _shape(workload: Workload, draft: Loaded | None, active: ActiveSpeculation | None) -> KvShape:
    keeps_cache = draft is not None and active is not None and active.method not in _WITHOUT_DRAFT_CACHE
    return memory.kv_shape(
        workload.target,
        draft.facts if draft is not None and keeps_cache else None,
        gpus=workload.gpus,
        element_bytes=1 if workload.spec.engine.kv_cache_dtype in _ONE_BYTE_CACHES else 2,
        batched_tokens=workload.spec.engine.max_num_batched_tokens,
    )


def ledger(workload: Workload, mode: Mode) -> Ledger:
    """Count the memory of one mode."""
    spec = workload.spec
    active = speculation_of(spec, mode)
    target, draft = target_of(workload), draft_of(workload, active)
    models = (target,) if draft is None else (target, draft)
    v2_runner = uses_v2_runner(workload.version, None if active is None else active.method)
    total, share = workload.gpu.memory_bytes, spec.engine.gpu_memory_utilization
    origin = "measured" if workload.gpu.is_measured else "stated or derived from the label"
    budget = Estimate.exact(memory.requested_bytes(total, share))
    counted = (
        _gives("budget", budget, f"{total} bytes as CUDA reports them ({origin}) x utilisation {share}"),
        *_weight_lines(workload, target, draft),
        _activation_peak(workload, draft, v2_runner=v2_runner),
        _takes("nonTorch", memory.non_torch(workload.gpus, workload.version), "CUDA context and communication"),
        _cuda_graphs(workload, draft, active, v2_runner=v2_runner),
    )
    counted = (*counted, _safety(workload, counted))
    kv_cache, is_pinned = _sum(counted), _is_pinned(workload)
    if is_pinned:
        kv_cache = Estimate.exact(kv_cache.nominal)
    return Ledger(
        lines=(*_quoted_lines(workload, models), *counted, _gives("kvCache", kv_cache, "what is left of the budget")),
        kv_cache=kv_cache,
        shape=_shape(workload, draft, active),
        load_bytes=sum(model.read_bytes for model in models),
        is_pinned=is_pinned,
    )
