"""Advice on load and latency: when speculation pays, and what the guard will be able to see. Rules speak; they change
nothing.
"""

from bisect import bisect_left
from collections.abc import Iterator

from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import Mode
from specdecode.engine.arguments import limits_batch_size
from specdecode.engine.flags import batch_limit, runs_v0
from specdecode.engine.metrics import edges
from specdecode.plan.ladder import speculation_of
from specdecode.plan.review import Review, Said, gib
from specdecode.plan.types import Advice

_MANY_SEQUENCES = 32


def max_batch_size_missing(review: Review) -> Said:
    speculation, sequences = review.speculation, review.spec.engine.max_num_seqs
    if speculation is None or speculation.max_batch_size is not None or sequences <= _MANY_SEQUENCES:
        return None
    return Advice(
        "MaxBatchSizeMissing",
        f"up to {sequences} requests run at once and maxBatchSize is not set: when many run, verifying drafts costs "
        "more than it gives; set speculation.maxBatchSize, 32 is a start",
    )


def max_batch_size_unsupported(review: Review) -> Said:
    active = speculation_of(review.spec, review.requested.mode)
    version = review.workload.version
    if active is None or not limits_batch_size(active, review.spec.engine.max_num_seqs):
        return None
    if batch_limit(version, active.method) is not None:
        return None
    return Advice(
        "MaxBatchSizeUnsupported",
        f"vLLM {version} has nothing that stops {active.method} at a batch size (the first engine generation has, and "
        "0.24 and newer; between them disable_by_batch_size is read and ignored, then gone): maxBatchSize "
        f"{active.max_batch_size} has no effect; lower maxNumSeqs or use an engine of 0.24 or newer",
    )


def slow_acceptance(review: Review) -> Said:
    """Its logger adds the totals of its life to the counters every five seconds, so that ratios are means over it."""
    active, version = speculation_of(review.spec, review.requested.mode), review.workload.version
    if active is None or not runs_v0(version, active.method):
        return None
    return Advice(
        "AcceptanceReactsSlowly",
        f"method {active.method} runs in the first engine generation of vLLM {version}, whose counters are means over "
        "the life of the engine: the guard sees a fall of acceptance late; latency limits react at once",
    )


def ttft(review: Review) -> Said:
    latency = review.guard.latency
    if not review.is_speculating or latency.ttft_p99 is None or latency.tpot_p99 is not None:
        return None
    return Advice(
        "TtftNotImproved",
        f"ttftP99 {latency.ttft_p99} is limited and tpotP99 is not: speculation shortens the time per output token and "
        "not the time to the first one; set guard.latency.tpotP99",
    )


def no_latency_limit(review: Review) -> Said:
    latency = review.guard.latency
    limits = (latency.tpot_p99, latency.ttft_p99, latency.e2e_p99)
    if not review.is_speculating or any(limit is not None for limit in limits):
        return None
    return Advice(
        "LimitUnsetNoLatencyGuard",
        "no latency limit is set: the guard judges by acceptance, and by the mean time per output token once a "
        "baseline is recorded; set guard.latency.tpotP99 to protect the P99",
    )


def _edge_sentence(name: str, limit: str, known: tuple[float, ...]) -> str | None:
    seconds = seconds_of(limit)
    if seconds < known[0]:
        return f"{name} {limit} is below the first edge ({known[0] * 1000:g} ms): it cannot be seen, use the mean"
    if seconds in known:
        return None
    if seconds > known[-1]:
        return f"{name} {limit} is above the last edge ({known[-1]:g} s): it can never be exceeded for sure"
    above = bisect_left(known, seconds)
    low, high = known[above - 1] * 1000, known[above] * 1000
    return f"{name} {limit} lies between {low:g} ms and {high:g} ms and is judged as exceeded only beyond {high:g} ms"


def _off_edges(review: Review) -> Iterator[str]:
    latency, known = review.guard.latency, edges(review.workload.version)
    for name, limit, of_histogram in (
        ("tpotP99", latency.tpot_p99, known.tpot_seconds),
        ("ttftP99", latency.ttft_p99, known.ttft_seconds),
        ("e2eP99", latency.e2e_p99, known.e2e_seconds),
    ):
        sentence = None if limit is None else _edge_sentence(name, limit, of_histogram)
        if sentence is not None:
            yield sentence


def limit_off_edge(review: Review) -> Said:
    sentences = tuple(_off_edges(review))
    if not sentences:
        return None
    return Advice("LimitNotOnBucketEdge", f"vLLM's histograms have fixed edges: {'; '.join(sentences)}")


def production_temperature(review: Review) -> Said:
    if not review.is_speculating:
        return None
    return Advice(
        "MeasureAtProductionTemperature",
        "acceptance falls with temperature and the gain with concurrency: measure both as in production, not at "
        "temperature 0 with one request",
    )


def control_replica(review: Review) -> Said:
    if review.guard.baseline.control_replicas == 0:
        return None
    if not review.is_speculating:
        return Advice(
            "ControlNeedsSpeculation",
            "guard.baseline.controlReplicas is 1 and the spec asks for no speculation: there is nothing to compare and "
            "no control replica runs",
        )
    replicas = review.spec.replicas
    if replicas is None or replicas > 1:
        return None
    return Advice(
        "ControlNeedsTwoReplicas",
        f"the control replica is one of spec.replicas and {replicas} leaves none that speculates, so none runs and the "
        "baseline is the one recorded while speculation is off; set spec.replicas to 2 or more",
    )


def qualification(review: Review) -> Said:
    if not review.guard.qualify:
        return None
    unquantized = next((rung for rung in review.ladder if rung.mode is Mode.DRAFT), None)
    if review.requested.mode is Mode.QUANTIZED_DRAFT and unquantized is not None and unquantized.fits:
        return None
    if review.requested.mode is not Mode.QUANTIZED_DRAFT:
        why = "the spec asks for no quantised draft"
    elif unquantized is None:
        why = "the unquantised draft is not among speculation.fallbacks; add Draft to them"
    else:
        why = f"the unquantised draft does not fit, short by {gib(unquantized.short_bytes)} per GPU"
    return Advice("QualifyHasNoEffect", f"guard.qualify is set and nothing is qualified: {why}")
