"""The time per output token against what the same load used to cost.

Load is the number of running requests, in bands a third wide; each band has a mean of its own, so that neither the
shape of the curve nor a daily rhythm of load looks like a change. A band that was hardly seen is learnt and not judged.
"""

import math
from dataclasses import dataclass, replace

from specdecode.decide.detect.cusum import NO_TOTALS, Totals, increment, stepped
from specdecode.decide.detect.family import Family, advanced, family_learnt, family_of, family_reset
from specdecode.decide.detect.reference import EMPTY_LEARNER, Learner, observed, rebased
from specdecode.decide.facts import Batch, Change

_RISES = (0.1, 0.2)
_BAND_WIDTH = math.log(4 / 3)
_MIN_BAND_BATCHES = 20
_MEMORY_HOURS = 4


_NO_RISES = family_of(*_RISES)


@dataclass(frozen=True, slots=True)
class Band:
    """Mean time per output token at one load."""

    index: int
    batches: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TokenTime:
    """State of the detectors of the time per output token; the signal is a ratio to what the band costs."""

    bands: tuple[Band, ...] = ()
    learner: Learner = EMPTY_LEARNER
    totals: Totals = NO_TOTALS
    rises: Family = _NO_RISES


EMPTY_TOKEN_TIME = TokenTime()


def token_seconds(batch: Batch) -> tuple[float, float] | None:
    """Mean time per output token, and the number of requests or tokens it is the mean of; None without any.

    Of the requests that finished, each counting once: a long odd one weighs no more than another. Where requests finish
    and that histogram stays empty, engine time by tokens.
    """
    if batch.tpot_count > 0:
        return batch.tpot_seconds_sum / batch.tpot_count, batch.tpot_count
    if batch.requests > 0 and batch.generation_tokens > 0 and batch.step_seconds_sum > 0:
        return batch.step_seconds_sum / batch.generation_tokens, batch.generation_tokens
    return None


def _band_index(running_requests: float) -> int:
    return round(math.log(max(running_requests, 0.5)) / _BAND_WIDTH)


def _band_of(bands: tuple[Band, ...], index: int) -> Band:
    return next((band for band in bands if band.index == index), Band(index, 0.0, 0.0))


def _with(bands: tuple[Band, ...], old: Band, seconds: float, weight: float, memory: float) -> tuple[Band, ...]:
    batches = min(old.batches + 1, memory)
    new = Band(old.index, batches, old.seconds + weight * (seconds - old.seconds) / batches if old.batches else seconds)
    return (*(band for band in bands if band.index != old.index), new)


def _stepped(state: TokenTime, ratio: float, weight: float, threshold_nats: float) -> Family:
    distance = ratio / state.learner.reference.mean - 1
    cusums = tuple(
        stepped(cusum, increment(state.learner.reference, cusum.shift, distance, weight), state.totals)
        for cusum in state.rises.cusums
    )
    return advanced(state.rises, cusums, [cusum.tail.nats(cusum.level) for cusum in cusums], threshold_nats)


def _settled(state: TokenTime) -> TokenTime:
    """A change that lasted is the new normal, at every load."""
    ratio = state.totals.mean_since(state.rises.onset)
    batches = state.totals.batches - state.rises.onset.batches
    return replace(
        state,
        bands=tuple(replace(band, seconds=band.seconds * ratio / state.learner.reference.mean) for band in state.bands),
        learner=rebased(state.learner, state.learner.reference.mean, batches),
        rises=family_reset(state.rises),
    )


def watched(state: TokenTime, batch: Batch, threshold_nats: float, batches_per_hour: float) -> TokenTime:
    """The state after one more batch; itself when no request finished."""
    measured = token_seconds(batch)
    if measured is None:
        return state
    seconds, volume = measured
    band = _band_of(state.bands, _band_index(batch.running_requests))
    weight = state.learner.weight(volume)
    memory = _MEMORY_HOURS * batches_per_hour
    if band.batches < _MIN_BAND_BATCHES:
        bands = _with(state.bands, band, seconds, weight, memory)
        return TokenTime(bands, state.learner, state.totals, state.rises)
    ratio = seconds / band.seconds
    old = state.totals
    totals = Totals(batch.at, old.batches + 1, old.weight + weight, old.value + weight * ratio)
    rises = _stepped(state, ratio, weight, threshold_nats) if state.learner.reference.is_ready else state.rises
    is_suspicious = rises.evidence_nats >= threshold_nats / 2
    learner, batches = observed(
        state.learner, ratio, volume, weight, batches_per_hour=batches_per_hour, is_suspicious=is_suspicious
    )
    if batches:
        rises = family_learnt(rises, batches)
    bands = state.bands if is_suspicious else _with(state.bands, band, seconds, weight, memory)
    after = TokenTime(bands, learner, totals, rises)
    return _settled(after) if rises.has_lasted(batches_per_hour) else after


def rise(state: TokenTime, threshold_nats: float) -> Change | None:
    """What is known of a rise at a given load, as ratios to what that load costs; None before that is known."""
    if not state.learner.reference.is_ready:
        return None
    is_up = state.rises.evidence_nats > 0
    onset, reference = state.rises.onset, state.learner.reference.mean
    recent = state.totals.mean_since(onset) if is_up else reference
    since = onset.at if is_up else state.totals.at
    return Change(reference, recent, since, state.rises.evidence_nats, threshold_nats)
