"""All detectors of one mode under one spec. Pure: a frozen state and a batch in, the next state out.

A state that was lost is rebuilt by giving the batches of history again.
"""

import math
from dataclasses import dataclass, replace

from specdecode.decide.detect import acceptance, decay, scatter, token_time
from specdecode.decide.detect.acceptance import EMPTY_ACCEPTANCE, Acceptance
from specdecode.decide.detect.confidence import EMPTY_SEQUENCE, Sequence95, taken
from specdecode.decide.detect.decay import NO_DECAY, Decay
from specdecode.decide.detect.scatter import NO_SCATTER, Scatter
from specdecode.decide.detect.token_time import EMPTY_TOKEN_TIME, TokenTime
from specdecode.decide.facts import Batch, Signals

_SECONDS_PER_DAY = 86_400
_DETECTORS = 8
"""Falls by drafts and by requests and rises of time, two sizes each; rises of acceptance; decay. They share the false
alarms that are allowed."""


@dataclass(frozen=True, slots=True)
class Watch:
    """State of the detectors; a few kilobytes."""

    acceptance: Acceptance = EMPTY_ACCEPTANCE
    token_time: TokenTime = EMPTY_TOKEN_TIME
    decay: Decay = NO_DECAY
    scatter: Scatter = NO_SCATTER
    rate: Sequence95 = EMPTY_SEQUENCE
    """Of the batches' acceptance rates."""
    threshold_nats: float = math.inf
    """As of the newest batch."""


EMPTY_WATCH = Watch()
_SPANS_SCRAPES = 10
"""A batch of more scrapes, after an outage or read again in coarse steps, is no batch like the others: only the slow
detector takes it.
"""


def threshold(days_per_false_step: int, scrape_interval_seconds: float) -> float:
    """Evidence in nats that a change must reach: the logarithm of the batches from one false alarm of a detector to the
    next.
    """
    batches = days_per_false_step * _SECONDS_PER_DAY / scrape_interval_seconds
    return math.log(batches * _DETECTORS)


def watched(watch: Watch, batch: Batch, *, days_per_false_step: int, scrape_interval_seconds: float) -> Watch:
    """The state after one more batch, which must be newer than those before it."""
    threshold_nats = threshold(days_per_false_step, scrape_interval_seconds)
    batches_per_hour = 3600 / scrape_interval_seconds
    slow = watch.decay
    if batch.drafts > 0:
        length = batch.acceptance_length
        slow = decay.watched(slow, batch.at, length, batch.drafts, threshold_nats, scrape_interval_seconds)
    if batch.seconds > _SPANS_SCRAPES * scrape_interval_seconds:
        return replace(watch, decay=slow, threshold_nats=threshold_nats)
    return Watch(
        acceptance.watched(watch.acceptance, batch, threshold_nats, batches_per_hour),
        token_time.watched(watch.token_time, batch, threshold_nats, batches_per_hour),
        slow,
        scatter.watched(watch.scatter, batch),
        taken(watch.rate, min(1.0, batch.acceptance_rate)) if batch.draft_tokens > 0 else watch.rate,
        threshold_nats,
    )


def signals(watch: Watch) -> Signals:
    """What the detectors say now."""
    return Signals(
        acceptance_fall=acceptance.fall(watch.acceptance, watch.threshold_nats),
        acceptance_rise=acceptance.rise(watch.acceptance, watch.threshold_nats),
        tpot_rise=token_time.rise(watch.token_time, watch.threshold_nats),
        decay=watch.decay.found,
        acceptance_rate=watch.rate.interval,
        design_effect=watch.scatter.design_effect,
    )
