"""What the answers of one cell say, with intervals. Pure.

Requests are what is drawn at random, not tokens: tokens of one request are alike. Requests that ran at once share the
engine's steps and its slow moments, so means are of blocks of them. Quantiles lie between order statistics, whatever
the distribution.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specdecode.decide.detect.clusters import ratio_interval, student_quantile
from specdecode.decide.facts import Interval
from specdecode.decide.quantiles import CONFIDENCE, ranks
from specdecode.sweep.types import Answer, Drafted, Measured

_DESIGN_EFFECT = 10
"""Tokens of one request accept alike: measured design effects lie between 2 and 18 (traces of arXiv 2601.11580)."""
_Z = 1.959963984540054
"""Two-sided 95 % of the standard normal distribution."""

Key = tuple[int, int]
"""Prompt and seed: the same of two cells are the same request."""
Part = Callable[[Answer], float]


@dataclass(frozen=True)
class Latency:
    """One latency of a cell in seconds. A bound is 0 or infinite where there are too few requests for it."""

    requests: int
    mean: Interval
    """Of requests, 95 %."""
    p50: Interval
    """Each of the two bounds of a quantile holds with 99 %."""
    p95: Interval
    p99: Interval


@dataclass(frozen=True)
class Statistics:
    """One cell in numbers; None where it has no answer to tell from."""

    requests: int
    answered: int
    prompts: int
    """Different ones among the answered."""
    errors: tuple[tuple[str, int], ...]
    """The commonest first."""
    ttft: Latency | None
    tpot: Latency | None
    output_tokens_per_second: Interval | None
    running_requests: float
    """Mean at once; less than the cell's concurrency when its last requests end one by one."""
    acceptance_rate: Interval | None
    acceptance_length: Interval | None
    accepted_at: tuple[float, ...]
    """Of all drafts, the part whose token at this position was accepted."""


def requests_for(quantile: float) -> int:
    """Requests from which on a quantile has a finite upper bound: 459 for P99."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(quantile))


def in_order(answers: Sequence[Answer]) -> list[Answer]:
    """As they were asked, whatever order they came in."""
    return sorted(answers, key=lambda answer: (answer.started_at, answer.prompt, answer.seed, answer.e2e_seconds))


def timed(answers: Sequence[Answer], part: Part) -> list[Answer]:
    """Answers that have a latency, in order; a clock that ran back is no measurement."""
    return [answer for answer in in_order(answers) if 0 <= part(answer) < math.inf]


def tpot_of(answer: Answer) -> float:
    """Time per output token."""
    return answer.tpot_seconds


def _ttft_of(answer: Answer) -> float:
    return answer.ttft_seconds


def around(value: float, half: float) -> Interval:
    """An interval from half of its width as a logarithm; 0 to infinity when that is infinite."""
    if math.isinf(half):
        return Interval(0.0, value, math.inf)
    return Interval(value * math.exp(-half), value, value * math.exp(half))


def half_width(influences: Sequence[float], size: int, blocks_of_one: int) -> float:
    """Half of the 95 % interval of the logarithm of an estimate; infinite from fewer than two blocks.

    `influences`: by how much each request moves that logarithm, in order; their sum is 0. `size`: requests of a block,
    as many as ran at once, so that a cell of less than two rounds says nothing of its own spread. `blocks_of_one`: of
    the smaller of the samples that are compared; it has to show the spread by itself.
    Source: linearised ratio estimator, blocks as the clusters (Cochran, Sampling Techniques, 6.3 and 9A).
    """
    blocks = [math.fsum(influences[first : first + size]) for first in range(0, len(influences), size)]
    count = len(blocks)
    mean = ratio_interval([count * block for block in blocks], [1.0] * count)
    if mean is None or blocks_of_one < 2:
        return math.inf
    return (mean.high - mean.value) * student_quantile(blocks_of_one - 1) / student_quantile(count - 1)


def influences_of(answers: Sequence[Answer], over: Part, under: Part) -> dict[Key, float]:
    """How much each request moves log(sum over / sum under). Both sums are above zero."""
    overs, unders = math.fsum(map(over, answers)), math.fsum(map(under, answers))
    moved: dict[Key, float] = {}
    for answer in answers:
        key = (answer.prompt, answer.seed)
        moved[key] = moved.get(key, 0.0) + over(answer) / overs - under(answer) / unders
    return moved


def _ratio(answers: Sequence[Answer], over: Part, under: Part, scale: float, concurrency: int) -> Interval:
    influences = list(influences_of(answers, over, under).values())
    value = scale * math.fsum(map(over, answers)) / math.fsum(map(under, answers))
    return around(value, half_width(influences, concurrency, math.ceil(len(influences) / concurrency)))


def quantile_interval(values: Sequence[float], quantile: float) -> Interval:
    """A quantile of values between its order statistics; 0 and infinity where these do not exist."""
    ordered = sorted(values)
    low, high = ranks(len(ordered), quantile)
    return Interval(
        ordered[low - 1] if low >= 1 else 0.0,
        ordered[max(0, math.ceil(len(ordered) * quantile - 1e-9) - 1)],
        ordered[high - 1] if high <= len(ordered) else math.inf,
    )


def one(_answer: Answer) -> float:
    """Every request counts the same."""
    return 1.0


def latency_of(answers: Sequence[Answer], part: Part, concurrency: int) -> Latency | None:
    """One latency of some answers; None without any, or where the clock saw no time pass."""
    found = timed(answers, part)
    values = [part(answer) for answer in found]
    if not values or math.fsum(values) <= 0:
        return None
    p50, p95, p99 = (quantile_interval(values, quantile) for quantile in (0.5, 0.95, 0.99))
    return Latency(len(values), _ratio(found, part, one, 1.0, concurrency), p50, p95, p99)


def tokens_of(answer: Answer) -> float:
    """What throughput counts."""
    return float(answer.output_tokens)


def busy_of(answer: Answer) -> float:
    """Seconds that a request took of one of the places at once."""
    return answer.e2e_seconds


def is_countable(measured: Measured) -> bool:
    """Whether there is a throughput at all."""
    found = timed(measured.answered, busy_of)
    return measured.seconds > 0 and sum(map(busy_of, found)) > 0 and sum(map(tokens_of, found)) > 0


def _throughput(measured: Measured) -> Interval | None:
    """Tokens / time that requests took, times the requests at once: then requests are what varies."""
    if not is_countable(measured):
        return None
    found = timed(measured.answered, busy_of)
    at_once = math.fsum(map(busy_of, found)) / measured.seconds
    return _ratio(found, tokens_of, busy_of, at_once, measured.cell.concurrency)


def rate_interval(accepted: float, proposed: float) -> Interval:
    """Accepted / proposed tokens with a 95 % interval: Wilson's, of as many tokens as are worth an independent one."""
    rate, worth = min(1.0, accepted / proposed), proposed / _DESIGN_EFFECT
    middle = (rate * worth + _Z**2 / 2) / (worth + _Z**2)
    half = _Z * math.sqrt(rate * (1 - rate) * worth + _Z**2 / 4) / (worth + _Z**2)
    return Interval(min(rate, max(0.0, middle - half)), rate, max(rate, min(1.0, middle + half)))


def _acceptance(drafted: Drafted | None) -> tuple[Interval | None, Interval | None, tuple[float, ...]]:
    if drafted is None or not drafted.draft_tokens > 0:
        return None, None, ()
    rate = rate_interval(drafted.accepted_tokens, drafted.draft_tokens)
    if not drafted.drafts > 0:
        return rate, None, ()
    proposed = drafted.draft_tokens / drafted.drafts
    length = Interval(1 + proposed * rate.low, 1 + proposed * rate.value, 1 + proposed * rate.high)
    return rate, length, tuple(accepted / drafted.drafts for accepted in drafted.accepted_at)


def statistics_of(measured: Measured) -> Statistics:
    """One cell in numbers."""
    answered, concurrency = measured.answered, measured.cell.concurrency
    busy = math.fsum(busy_of(answer) for answer in timed(answered, busy_of))
    rate, length, accepted_at = _acceptance(measured.drafted)
    errors = Counter(answer.error for answer in measured.answers if answer.error)
    return Statistics(
        requests=len(measured.answers),
        answered=len(answered),
        prompts=len({answer.prompt for answer in answered}),
        errors=tuple(sorted(errors.items(), key=lambda item: (-item[1], item[0]))),
        ttft=latency_of(answered, _ttft_of, concurrency),
        tpot=latency_of(answered, tpot_of, concurrency),
        output_tokens_per_second=_throughput(measured),
        running_requests=busy / measured.seconds if measured.seconds > 0 else 0.0,
        acceptance_rate=rate,
        acceptance_length=length,
        accepted_at=accepted_at,
    )
