"""Advice on load and latency: when speculation pays, and what the guard will be able to see. Rules speak; they change
nothing.
"""

from bisect import bisect_left
from collections.abc import Iterator

from specdecode.api.values import seconds_of
from specdecode.engine import metrics
from specdecode.engine.arguments import limits_batch_size
from specdecode.engine.flags import batch_limit
from specdecode.plan.ladder import speculation_of
from specdecode.plan.review import Review, Said
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
    if batch_limit(version) is not None:
        return None
    return Advice(
        "MaxBatchSizeUnsupported",
        f"vLLM {version} has nothing that stops speculation at a batch size (gone in 0.17, back in 0.24): maxBatchSize "
        f"{active.max_batch_size} has no effect; lower maxNumSeqs or use an engine of 0.24 or newer",
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


def _edge_sentence(name: str, limit: str, edges: tuple[float, ...]) -> str | None:
    seconds = seconds_of(limit)
    if seconds < edges[0]:
        return f"{name} {limit} is below the first edge ({edges[0] * 1000:g} ms): it cannot be seen, use the mean"
    if seconds in edges:
        return None
    if seconds > edges[-1]:
        return f"{name} {limit} is above the last edge ({edges[-1]:g} s): it can never be exceeded for sure"
    above = bisect_left(edges, seconds)
    low, high = edges[above - 1] * 1000, edges[above] * 1000
    return f"{name} {limit} lies between {low:g} ms and {high:g} ms and is judged as exceeded only beyond {high:g} ms"


def _off_edges(review: Review) -> Iterator[str]:
    latency = review.guard.latency
    for name, limit, edges in (
        ("tpotP99", latency.tpot_p99, metrics.TPOT_EDGES_SECONDS),
        ("ttftP99", latency.ttft_p99, metrics.TTFT_EDGES_SECONDS),
        ("e2eP99", latency.e2e_p99, metrics.E2E_EDGES_SECONDS),
    ):
        sentence = None if limit is None else _edge_sentence(name, limit, edges)
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
    return Advice(
        "ControlReplicaNotRunning",
        "controlReplicas 1 is accepted, but this version of the operator does not start a control replica yet: the "
        "baseline is the one recorded while speculation was off",
    )
