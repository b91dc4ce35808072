"""A cell against the same cell without speculation. Pure.

The same requests, by prompt and seed, are asked in both: what they share cancels. Where they are not the same the same
formula gives the interval of two independent samples.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from specdecode.api.vocabulary import Mode
from specdecode.decide.detect.clusters import student_quantile
from specdecode.decide.facts import Interval
from specdecode.sweep.statistics import (
    Part,
    around,
    busy_of,
    half_width,
    influences_of,
    is_countable,
    one,
    quantile_interval,
    requests_for,
    timed,
    tokens_of,
    tpot_of,
)
from specdecode.sweep.types import Answer, Cell, Measured, Sweep

Place = tuple[str, float, int]
"""Kind, temperature and concurrency: what two cells must share to be compared."""

_MOST_TIMES = 100
"""A difference that takes this many times the requests is none that anybody would wait for."""
_FEW_ROUNDS = 4
"""With two the interval of a mean is four times as wide as with these."""


@dataclass(frozen=True)
class Comparison:
    """How many times as fast as the other cell; 0 or infinity where a bound is not known."""

    tpot_mean: Interval
    """95 %; of the mean over requests, as vLLM's own histogram has it."""
    tpot_p50: Interval
    """96 % at least: each quantile's interval holds with 98 %."""
    tpot_p99: Interval
    throughput: Interval | None
    requests: int
    """With a time per output token, in the cell that has fewer."""
    concurrency: int
    """As many requests are one round, which is what means are of."""

    @property
    def rounds(self) -> int:
        """Rounds of the cell that has fewer requests, the last one perhaps in part."""
        return math.ceil(self.requests / self.concurrency)

    @property
    def p99_requests_needed(self) -> int:
        """More requests in each cell until the P99 has both bounds."""
        return max(0, requests_for(0.99) - self.requests)

    @property
    def mean_requests_needed(self) -> int | None:
        """More requests in each cell until the mean is surely above or below 1, if what was seen so far goes on; None:
        no number that anybody would wait for.
        """
        away, half, rounds = abs(math.log(self.tpot_mean.value)), spread(self.tpot_mean), self.rounds
        if half < away:
            return 0
        if math.isinf(half):
            return max(1, _FEW_ROUNDS * self.concurrency - self.requests)
        of_one_round = half / _width(rounds)
        most = _MOST_TIMES * rounds
        needed = rounds + bisect_left(
            range(rounds, most), True, key=lambda number: of_one_round * _width(number) < away
        )
        return None if needed >= most else max(1, (needed - rounds) * self.concurrency)


def _width(rounds: int) -> float:
    """Half of the interval of a mean of so many rounds, at least two, each with a deviation of one."""
    return student_quantile(rounds - 1) / math.sqrt(rounds)


def spread(interval: Interval) -> float:
    """Half of an interval, as a logarithm; infinite without bounds."""
    return math.log(interval.high / interval.low) / 2 if interval.low > 0 else math.inf


def place_of(cell: Cell) -> Place:
    """Where a cell stands, whatever runs there."""
    return cell.kind, cell.temperature, cell.concurrency


def speculates(measured: Measured) -> bool:
    """Whether speculation ran."""
    return measured.cell.mode != Mode.OFF or (measured.drafted is not None and measured.drafted.drafts > 0)


def newest(cells: Iterable[Measured]) -> tuple[Measured, ...]:
    """One of each cell: the last that is whole, or else the last."""
    found: dict[Cell, Measured] = {}
    for measured in cells:
        if measured.is_whole or not (measured.cell in found and found[measured.cell].is_whole):
            found[measured.cell] = measured
    return tuple(found.values())


def baselines_of(sweep: Sweep, baseline: Sweep | None) -> Mapping[Place, Measured]:
    """Cells without speculation by their place: of the baseline, or else of the sweep itself."""
    others = () if baseline is None else baseline.cells
    return {
        place_of(measured.cell): measured
        for measured in (*newest(sweep.cells), *newest(others))
        if not speculates(measured) and timed(measured.answered, tpot_of)
    }


def _half_width(on: Sequence[Answer], off: Sequence[Answer], over: Part, under: Part, concurrency: int) -> float:
    """Of the logarithm of how many times sum over / sum under is larger in one than in the other."""
    ours, theirs = influences_of(on, over, under), influences_of(off, over, under)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    influences = [theirs.get(key, 0.0) - ours.get(key, 0.0) for key in keys]
    return half_width(influences, concurrency, math.ceil(min(len(ours), len(theirs)) / concurrency))


def _mean(on: Sequence[Answer], off: Sequence[Answer], concurrency: int) -> Interval:
    ours, theirs = (math.fsum(map(tpot_of, answers)) / len(answers) for answers in (on, off))
    return around(theirs / ours, _half_width(on, off, tpot_of, one, concurrency))


def _quantile(on: Sequence[Answer], off: Sequence[Answer], quantile: float) -> Interval:
    ours, theirs = (quantile_interval([tpot_of(answer) for answer in answers], quantile) for answers in (on, off))
    # More than half of the answers may come in one piece, and take no time after it.
    return Interval(
        theirs.low / ours.high if ours.high > 0 else 0.0,
        theirs.value / ours.value if ours.value > 0 else math.inf,
        theirs.high / ours.low if ours.low > 0 else math.inf,
    )


def _throughput(on: Measured, off: Measured) -> Interval | None:
    if not (is_countable(on) and is_countable(off)):
        return None
    answers = [timed(measured.answered, busy_of) for measured in (on, off)]
    half = _half_width(answers[0], answers[1], busy_of, tokens_of, on.cell.concurrency)
    return around(on.output_tokens_per_second / off.output_tokens_per_second, half)


def compare(on: Measured, off: Measured) -> Comparison | None:
    """How much faster `on` is than `off`; None where one of them has no time per output token."""
    ours, theirs = (timed(measured.answered, tpot_of) for measured in (on, off))
    if not (math.fsum(map(tpot_of, ours)) > 0 and math.fsum(map(tpot_of, theirs)) > 0):
        return None
    return Comparison(
        tpot_mean=_mean(ours, theirs, on.cell.concurrency),
        tpot_p50=_quantile(ours, theirs, 0.5),
        tpot_p99=_quantile(ours, theirs, 0.99),
        throughput=_throughput(on, off),
        requests=min(len(ours), len(theirs)),
        concurrency=on.cell.concurrency,
    )


def pooled(intervals: Sequence[Interval]) -> Interval:
    """The geometric mean of independent speed-ups; at least one."""
    middle = math.fsum(math.log(interval.value) for interval in intervals) / len(intervals)
    half = math.sqrt(math.fsum(spread(interval) ** 2 for interval in intervals)) / len(intervals)
    # Without bounds the half is infinite.
    return Interval(math.exp(middle - half), math.exp(middle), math.exp(middle + half))
