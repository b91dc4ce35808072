"""What speculation brings: the time of a token without it / with it, as an interval, from the best source there is.

1. the control replica: same time, same traffic;
2. what this deployment did without speculation at the same load, recorded in status;
3. a prediction from its acceptance and its own step time.

The time of a token is `sum of step times / generated tokens`: both are exact, and unlike the time per output token of
finished requests they do not wait for a request to end.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.status import OffBand, OffBaseline
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import MIN_REQUESTS, bands_around
from specdecode.decide.detect.clusters import ratio_interval
from specdecode.decide.facts import Availability, Batch, Interval, Measurement
from specdecode.decide.steptime import draft_cost, off_step_seconds
from specdecode.decide.wording import seconds_in
from specdecode.plan.types import Plan

MIN_BATCHES = 2
FEW_REQUESTS = 100
"""One request may hold most of the tokens of fewer, as at night, when less than one comes in three seconds."""
_RECORDED_ERROR = 0.05
"""A recorded band is rewritten only when it moved by more."""
_LOAD_SLOPE = 0.2
"""Where one band stands for its neighbourhood: a step takes at most this much longer, relatively, per relative
difference in load (EAGLE constants of arXiv 2601.11580: +16 % from 16 to 32 running requests of 1,000 tokens)."""
_PREDICTION_ERROR = 0.25
"""Largest errors on published points: 14 % EAGLE-3, 23 % EAGLE (Llama-3.1-8B, arXiv 2601.11580)."""


class Source(StrEnum):
    """Where the comparison without speculation comes from, best first."""

    CONTROL = "control replica"
    BASELINE = "recorded baseline"
    PREDICTION = "prediction"


@dataclass(frozen=True, slots=True)
class Benefit:
    """The net speed-up."""

    speedup: Interval
    """Above 1: speculation pays."""
    source: Source
    sentence: str
    """With the numbers, the source and the load."""
    of_mean_request: float = math.nan
    """Speed-up of the mean finished request, where each counts once however long it is; NaN: not known."""
    requests: float = 0.0
    """Finished requests that it was measured on."""

    @property
    def is_loss(self) -> bool:
        """Whether it surely does not pay. Where few requests finished, the tokens of a single one that loops may
        outweigh all others: then the mean request must agree.
        """
        is_confirmed = self.requests >= FEW_REQUESTS or math.isnan(self.of_mean_request) or self.of_mean_request < 1
        return self.speedup.high < 1 and is_confirmed


def _tokens_prior(batches: Sequence[Batch], seconds: float, tokens: float, design_effect: float) -> float | None:
    """Variance of the time per token that one token is expected to bring, from the design effect of acceptance: what
    varies is how many tokens the same steps make.
    """
    proposed, accepted = (
        sum([batch.draft_tokens for batch in batches]),
        sum([batch.accepted_tokens for batch in batches]),
    )
    if math.isnan(design_effect) or proposed <= 0:
        return None
    rate = accepted / proposed
    return (seconds / tokens) ** 2 * proposed / tokens * rate * (1 - rate) * design_effect


def token_seconds(batches: Sequence[Batch], design_effect: float = math.nan) -> Interval | None:
    """Time of one token of one request; None when no time passed or no token came.

    A step yields no first token, so those of the requests are taken out. Engines without a counter of tokens are read
    by what requests took. `design_effect`, of draft tokens, steadies the interval of few batches.
    """
    pairs = [(batch.step_seconds_sum, max(0.0, batch.generation_tokens - batch.requests)) for batch in batches]
    tokens = sum(made for _, made in pairs)
    prior = _tokens_prior(batches, sum([taken for taken, _ in pairs]), tokens, design_effect) if tokens > 0 else None
    if tokens <= 0:
        pairs = [(batch.tpot_seconds_sum, batch.tpot_count) for batch in batches]
    seconds = ratio_interval([taken for taken, _ in pairs], [made for _, made in pairs], prior_variance=prior)
    return seconds if seconds is not None and seconds.value > 0 else None


def running_requests(batches: Sequence[Batch]) -> float:
    """Mean per pod."""
    return sum([batch.running_requests for batch in batches]) / len(batches)


def _spread(interval: Interval) -> float:
    """Half of the interval, as a logarithm."""
    if interval.low <= 0:
        return math.inf
    return math.log(interval.high / interval.low) / 2


def _speedup(off: Interval, on: Interval) -> Interval:
    value, spread = off.value / on.value, math.hypot(_spread(off), _spread(on))
    return Interval(value * math.exp(-spread), value, value * math.exp(spread))


def _within(value: float, relative: float) -> Interval:
    return Interval(value / (1 + relative), value, value * (1 + relative))


def _request_token_seconds(batches: Sequence[Batch]) -> float:
    """Time per output token of the mean finished request; NaN where none took any."""
    seconds, count = sum([batch.tpot_seconds_sum for batch in batches]), sum([batch.tpot_count for batch in batches])
    return seconds / count if seconds > 0 and count > 0 else math.nan


def _finished(batches: Sequence[Batch]) -> float:
    return sum([batch.requests for batch in batches])


def _benefit(speedup: Interval, source: Source, where: str, of_mean_request: float, requests: float) -> Benefit:
    numbers = f"speed-up {speedup.value:.2f} ({speedup.low:.2f}..{speedup.high:.2f})"
    how = "by prediction" if source is Source.PREDICTION else f"against the {source}"
    return Benefit(speedup, source, f"{numbers} {how} at {where}", of_mean_request, requests)


def _between(measurement: Measurement, moments: tuple[float, float]) -> tuple[Batch, ...]:
    after, until = moments
    return tuple(batch for batch in measurement.batches if after < batch.at <= until)


def _by_control(
    measurement: Measurement, speculating: Sequence[Batch], on: Interval, moments: tuple[float, float]
) -> Benefit | None:
    control = measurement.control
    if control is None or control.availability is not Availability.MEASURED:
        return None
    batches = _between(control, moments)
    if len(batches) < MIN_BATCHES or sum([batch.requests for batch in batches]) < MIN_REQUESTS:
        return None
    off = token_seconds(batches)
    if off is None:
        return None
    of_mean_request = _request_token_seconds(batches) / _request_token_seconds(speculating)
    where = f"the same time, {running_requests(batches):.0f} running requests on it"
    return _benefit(_speedup(off, on), Source.CONTROL, where, of_mean_request, _finished(speculating))


def _band_seconds(band: OffBand) -> float:
    return seconds_in(band.step_mean or band.tpot_mean)


def _band_request_seconds(band: OffBand) -> float:
    return seconds_in(band.tpot_mean)


def _recorded(
    bands: Sequence[OffBand], running_requests: float, seconds_of: Callable[[OffBand], float] = _band_seconds
) -> Interval | None:
    """Time of a token without speculation at this load: between two recorded loads, or near one."""
    known = [(band.running_requests, seconds_of(band)) for band in bands]
    known = [(load, seconds) for load, seconds in known if seconds > 0]
    if not known:
        return None
    if len(known) > 1:
        (low, low_seconds), (high, high_seconds) = known[0], known[-1]
        share = (running_requests - low) / (high - low)
        return _within(low_seconds + share * (high_seconds - low_seconds), _RECORDED_ERROR)
    load, seconds = known[0]
    distance = abs(running_requests - load) / max(load, 1)
    return _within(seconds, _RECORDED_ERROR + _LOAD_SLOPE * distance)


def _by_baseline(plan: Plan, off: OffBaseline | None, batches: Sequence[Batch], on: Interval) -> Benefit | None:
    load = running_requests(batches)
    bands = bands_around(off, plan.baseline_key, load)
    recorded, of_request = _recorded(bands, load), _recorded(bands, load, _band_request_seconds)
    if recorded is None:
        return None
    of_mean_request = math.nan if of_request is None else of_request.value / _request_token_seconds(batches)
    where = f"{load:.0f} running requests per replica"
    return _benefit(_speedup(recorded, on), Source.BASELINE, where, of_mean_request, _finished(batches))


def _by_prediction(plan: Plan, mode: Mode, batches: Sequence[Batch], on: Interval) -> Benefit | None:
    rung = plan.mode(mode)
    drafts, steps = sum([batch.drafts for batch in batches]), sum([batch.step_count for batch in batches])
    if rung is None or drafts <= 0 or steps <= 0:
        return None
    running = running_requests(batches)
    tokens = sum([batch.draft_tokens for batch in batches])
    # N-gram drafts only where it finds a match: tokens per step, not per draft, is what has to be verified.
    cost = draft_cost(rung, tokens / max(drafts, steps))
    step_seconds = sum([batch.step_seconds_sum for batch in batches]) / steps
    predicted = _within(off_step_seconds(step_seconds, running, cost), _PREDICTION_ERROR)
    where = f"{running:.0f} running requests per replica"
    return _benefit(_speedup(predicted, on), Source.PREDICTION, where, math.nan, _finished(batches))


def expected_benefit(
    plan: Plan,
    mode: Mode,
    measurement: Measurement,
    off: OffBaseline | None,
    *,
    since: float = -math.inf,
    until: float = math.inf,
    predicts: bool = True,
) -> Benefit | None:
    """What speculation brings in `mode`; None: too little was measured to say.

    `since` and `until` (Unix seconds) restrict it to a part of the slow window. Without `predicts` only what was
    measured counts.
    """
    if mode is Mode.OFF or measurement.availability is not Availability.MEASURED:
        return None
    is_comparable = measurement.control is not None or (off is not None and off.key == plan.baseline_key)
    if not predicts and not is_comparable:
        return None
    moments = since, until
    batches = _between(measurement, moments)
    effect = measurement.signals.design_effect
    on = token_seconds(batches, effect) if len(batches) >= MIN_BATCHES else None
    if on is None:
        return None
    return (
        _by_control(measurement, batches, on, moments)
        or _by_baseline(plan, off, batches, on)
        or (_by_prediction(plan, mode, batches, on) if predicts else None)
    )
