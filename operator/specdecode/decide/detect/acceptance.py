"""Acceptance, counted in two ways: by drafts and by requests.

By drafts it is 1 + accepted tokens / drafts: prompt, but one request that answers in circles weighs as much as fifty
others while it runs. By requests it is the mean step / the mean time per output token of the requests that finished:
every request counts once, however long it is, but only at its end. A fault shows in both. So a fall that one shows and
the other confirms needs no patience; one that requests deny has to outlast a long request, so that the first such
request of a deployment is no alarm.
"""

import math
from dataclasses import dataclass, replace

from specdecode.decide.detect.cusum import NO_TOTALS, Cusum, Totals, confirmed, increment, stepped
from specdecode.decide.detect.family import Family, advanced, family_learnt, family_of, family_reset
from specdecode.decide.detect.reference import EMPTY_LEARNER, Learner, observed, rebased
from specdecode.decide.facts import Batch, Change

_BY_DRAFTS, _BY_REQUESTS = (0.1, 0.2), (0.1, 0.2)
_RISES = (0.2,)
_CONFIRMING = 0.5
"""Part of the shift that the other way of counting has to show since the onset."""
_CONFIRMING_DEVIATIONS = 4.5
"""Standard errors that requests must show it with: single long requests move drafts dozens of times a day, so that what
confirms them must not be there by chance."""


_NO_FALLS, _NO_RISES = family_of(*_BY_DRAFTS, *_BY_REQUESTS), family_of(*_RISES)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """State of the detectors of acceptance."""

    by_drafts: Learner = EMPTY_LEARNER
    by_requests: Learner = EMPTY_LEARNER
    totals: Totals = NO_TOTALS
    falls: Family = _NO_FALLS
    rises: Family = _NO_RISES


EMPTY_ACCEPTANCE = Acceptance()


def length_by_requests(batch: Batch) -> float | None:
    """Mean step / mean time per output token of the requests that finished; None when none did, or no step was seen."""
    if batch.tpot_count <= 0 or batch.tpot_seconds_sum <= 0 or batch.step_count <= 0:
        return None
    return batch.step_seconds_sum / batch.step_count * batch.tpot_count / batch.tpot_seconds_sum


def _confirms_by_requests(state: Acceptance, totals: Totals, cusum: Cusum) -> bool | None:
    """Whether the requests that finished since the onset show the shift as well, beyond chance; None: none finished."""
    reference = state.by_requests.reference
    weight = totals.second_weight - cusum.onset.second_weight
    if not reference.is_ready or weight <= 0:
        return None
    wanted = max(_CONFIRMING * cusum.shift, _CONFIRMING_DEVIATIONS * math.sqrt(reference.careful_variance / weight))
    return totals.second_mean_since(cusum.onset) <= reference.mean * (1 - wanted)


def _confirms_by_drafts(state: Acceptance, totals: Totals, cusum: Cusum) -> bool:
    """Whether drafts have shown the shift as well since the onset."""
    return totals.mean_since(cusum.onset) <= state.by_drafts.reference.mean * (1 - _CONFIRMING * cusum.shift)


@dataclass(frozen=True, slots=True)
class _Counted:
    """One batch, counted in both ways."""

    length: float
    weight: float
    requests_length: float | None
    requests_weight: float


def _counted(state: Acceptance, batch: Batch) -> _Counted:
    by_requests = length_by_requests(batch)
    requests_weight = 0.0 if by_requests is None else state.by_requests.weight(batch.tpot_count)
    return _Counted(batch.acceptance_length, state.by_drafts.weight(batch.drafts), by_requests, requests_weight)


def _added(totals: Totals, batch: Batch, counted: _Counted) -> Totals:
    second = 0.0 if counted.requests_length is None else counted.requests_weight * counted.requests_length
    return Totals(
        batch.at,
        totals.batches + 1,
        totals.weight + counted.weight,
        totals.value + counted.weight * counted.length,
        totals.second_weight + counted.requests_weight,
        totals.second_value + second,
    )


def _falls(state: Acceptance, counted: _Counted, totals: Totals, threshold_nats: float) -> Family:
    """The falls: first the detectors by drafts, then those by requests, each with the other way's opinion."""
    cusums: list[Cusum] = []
    evidence: list[float] = []
    before, requests_length = state.totals, counted.requests_length
    distance = 1 - counted.length / state.by_drafts.reference.mean
    for cusum in state.falls.cusums[: len(_BY_DRAFTS)]:
        now = stepped(cusum, increment(state.by_drafts.reference, cusum.shift, distance, counted.weight), before)
        nats = 0.0
        if now.level > 0:
            is_confirmed = _confirms_by_requests(state, totals, now)
            now = confirmed(now) if is_confirmed else now
            nats = now.evidence(batches=totals.batches - now.onset.batches, is_confirmed=is_confirmed)
        cusums.append(now)
        evidence.append(nats)
    is_counted = requests_length is not None and state.by_requests.reference.is_ready
    distance = 1 - requests_length / state.by_requests.reference.mean if requests_length is not None else 0.0
    for cusum in state.falls.cusums[len(_BY_DRAFTS) :]:
        now = cusum
        if is_counted:
            nats = increment(state.by_requests.reference, cusum.shift, distance, counted.requests_weight)
            now = stepped(cusum, nats, before)
        if now.level > 0 and _confirms_by_drafts(state, totals, now):
            now = confirmed(now)
            evidence.append(now.confirmed_tail.nats(now.level))
        else:
            evidence.append(0.0)
        cusums.append(now)
    return advanced(state.falls, tuple(cusums), evidence, threshold_nats)


def _rises(state: Acceptance, counted: _Counted, threshold_nats: float) -> Family:
    distance = counted.length / state.by_drafts.reference.mean - 1
    cusums = tuple(
        stepped(cusum, increment(state.by_drafts.reference, cusum.shift, distance, counted.weight), state.totals)
        for cusum in state.rises.cusums
    )
    return advanced(state.rises, cusums, [cusum.tail.nats(cusum.level) for cusum in cusums], threshold_nats)


def _settled(state: Acceptance, changed: Family) -> Acceptance:
    """A change that lasted is the new normal, by both ways of counting."""
    batches = state.totals.batches - changed.onset.batches
    second = state.totals.second_mean_since(changed.onset)
    is_known = state.by_requests.reference.is_ready and second > 0
    return replace(
        state,
        by_drafts=rebased(state.by_drafts, state.totals.mean_since(changed.onset), batches),
        by_requests=rebased(state.by_requests, second, batches) if is_known else state.by_requests,
        falls=family_reset(state.falls),
        rises=family_reset(state.rises),
    )


def watched(state: Acceptance, batch: Batch, threshold_nats: float, batches_per_hour: float) -> Acceptance:
    """The state after one more batch; itself when nothing was drafted."""
    if batch.drafts <= 0:
        return state
    counted = _counted(state, batch)
    totals = _added(state.totals, batch, counted)
    falls, rises = state.falls, state.rises
    if state.by_drafts.reference.is_ready:
        falls, rises = _falls(state, counted, totals, threshold_nats), _rises(state, counted, threshold_nats)
    is_suspicious = max(falls.evidence_nats, rises.evidence_nats) >= threshold_nats / 2
    by_drafts, batches = observed(
        state.by_drafts,
        counted.length,
        batch.drafts,
        counted.weight,
        batches_per_hour=batches_per_hour,
        is_suspicious=is_suspicious,
    )
    by_requests = state.by_requests
    if counted.requests_length is not None:
        by_requests, _ = observed(
            by_requests,
            counted.requests_length,
            batch.tpot_count,
            counted.requests_weight,
            batches_per_hour=batches_per_hour,
            is_suspicious=is_suspicious,
        )
    if batches:
        falls, rises = family_learnt(falls, batches), family_learnt(rises, batches)
    after = Acceptance(by_drafts, by_requests, totals, falls, rises)
    changed = next((family for family in (falls, rises) if family.has_lasted(batches_per_hour)), None)
    return after if changed is None else _settled(after, changed)


def fall(state: Acceptance, threshold_nats: float) -> Change | None:
    """What is known of a fall of the acceptance length, counted by drafts; None before the reference is known."""
    return _change(state, state.falls, threshold_nats)


def rise(state: Acceptance, threshold_nats: float) -> Change | None:
    """The same of a rise."""
    return _change(state, state.rises, threshold_nats)


def _change(state: Acceptance, family: Family, threshold_nats: float) -> Change | None:
    if not state.by_drafts.reference.is_ready:
        return None
    onset, reference = family.onset, state.by_drafts.reference.mean
    is_up = family.evidence_nats > 0
    recent = state.totals.mean_since(onset) if is_up else reference
    since = onset.at if is_up else state.totals.at
    return Change(reference, recent, since, family.evidence_nats, threshold_nats)
