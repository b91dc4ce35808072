"""One cell in a word: off, measure P99, or ship; and one sentence with the numbers that say so. Pure.

A baseline has the first word. Without one acceptance decides by the floors that the guard itself has when nobody sets
them, and the sentence says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.guard import AcceptanceSpec
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import COLLAPSED_ACCEPTANCE_LENGTH
from specdecode.decide.facts import Interval
from specdecode.decide.wording import percent
from specdecode.sweep.compare import Comparison, Place, compare, place_of, speculates
from specdecode.sweep.statistics import Statistics, statistics_of
from specdecode.sweep.types import Measured

MIN_DRAFTS = 200
"""Fewer drafts may all belong to one odd request; the guard's own number."""
_MOST_REQUESTS = 100_000
"""More than anybody would send for one cell."""
_FLOORS = AcceptanceSpec()


class Word(StrEnum):
    """What to do at this point of the grid."""

    OFF = "off"
    MEASURE = "measure P99"
    SHIP = "ship"


class Basis(StrEnum):
    """What a verdict stands on."""

    BASELINE = "baseline"
    ACCEPTANCE = "acceptance"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Verdict:
    """A word, why, and what is missing for a surer one."""

    word: Word
    basis: Basis
    sentence: str
    requests_needed: int = 0
    """More of them in this cell, and in the baseline's, until the open question is answered; 0: none is open, or no
    number of them would answer it."""


@dataclass(frozen=True)
class Judged:
    """One cell: as measured, in numbers, compared, and in a word."""

    measured: Measured
    statistics: Statistics
    comparison: Comparison | None = None
    """None: nothing to compare with."""
    verdict: Verdict | None = None
    """None: the cell does not speculate."""


def times(interval: Interval) -> str:
    """A speed-up in a sentence: `1.42x (1.35 to 1.50)`; a bound that is not known is left out."""
    low, high = f"{interval.low:.2f}", f"{interval.high:.2f}"
    if interval.low <= 0 and math.isinf(interval.high):
        return f"{interval.value:.2f}x (no bounds)"
    if interval.low <= 0:
        return f"{interval.value:.2f}x (at most {high})"
    if math.isinf(interval.high):
        return f"{interval.value:.2f}x (at least {low})"
    return f"{interval.value:.2f}x ({low} to {high})"


def _collapsed(measured: Measured) -> str:
    """Why nothing of the draft is worth its time; empty: it may be. N-gram drafts cost next to nothing, so for them
    only speed decides, as for the guard.
    """
    drafted = measured.drafted
    if drafted is None or drafted.drafts < MIN_DRAFTS or measured.cell.mode == Mode.NGRAM:
        return ""
    length = drafted.acceptance_length
    if length > COLLAPSED_ACCEPTANCE_LENGTH:
        return ""
    return (
        f"acceptance collapsed: length {length:.2f} (limit {COLLAPSED_ACCEPTANCE_LENGTH:g}) and rate "
        f"{percent(drafted.acceptance_rate)} over {drafted.drafts:.0f} drafts"
    )


def _requests(number: int) -> str:
    return f"{number} more request{'' if number == 1 else 's'}"


def _open_mean(comparison: Comparison) -> Verdict:
    """The interval of the mean holds 1."""
    numbers = f"mean TPOT {times(comparison.tpot_mean)}, P99 {times(comparison.tpot_p99)}"
    needed, for_p99 = comparison.mean_requests_needed, comparison.p99_requests_needed
    if comparison.tpot_mean.low <= 0:
        sentence = (
            f"too few requests for an interval: {comparison.requests} are less than two rounds of "
            f"{comparison.concurrency} at once; {numbers}; {_requests(needed or 1)} would give one"
        )
        return Verdict(Word.MEASURE, Basis.BASELINE, sentence, max(needed or 1, for_p99))
    if needed is not None and needed <= _MOST_REQUESTS:
        more = max(needed, for_p99)
        sentence = f"neither surely faster nor slower: {numbers}; {_requests(more)} would show mean and P99"
        return Verdict(Word.MEASURE, Basis.BASELINE, sentence, more)
    then = f"the P99 decides, and takes {_requests(for_p99)}" if for_p99 else "the P99 decides"
    return Verdict(Word.MEASURE, Basis.BASELINE, f"too close to tell apart in the mean: {numbers}; {then}", for_p99)


def _faster_in_the_mean(comparison: Comparison) -> Verdict:
    """The tail has the last word: a mean hides the requests that lose."""
    mean, tail = comparison.tpot_mean, comparison.tpot_p99
    if tail.high < 1:
        sentence = f"mixed: mean TPOT {times(mean)}, but the P99 is surely worse, {times(tail)}; some requests lose"
        return Verdict(Word.MEASURE, Basis.BASELINE, sentence)
    more = comparison.p99_requests_needed
    if not more:
        sentence = f"faster: mean TPOT {times(mean)}, P99 not surely worse, {times(tail)}"
        return Verdict(Word.SHIP, Basis.BASELINE, sentence)
    slowest = f"P99 of {comparison.requests} requests {tail.value:.2f}x without bounds"
    if tail.value < 1:
        sentence = f"faster in the mean, {times(mean)}, but {slowest}; {_requests(more)} would give it both"
        return Verdict(Word.MEASURE, Basis.BASELINE, sentence, more)
    sentence = f"faster: mean TPOT {times(mean)}; {slowest}, {_requests(more)} would give it both"
    return Verdict(Word.SHIP, Basis.BASELINE, sentence, more)


def _by_speed(comparison: Comparison, collapsed: str) -> Verdict:
    mean, tail = comparison.tpot_mean, comparison.tpot_p99
    if collapsed:
        return Verdict(Word.OFF, Basis.BASELINE, f"{collapsed}; mean TPOT {times(mean)}")
    if mean.high < 1:
        return Verdict(Word.OFF, Basis.BASELINE, f"slower than without: mean TPOT {times(mean)}, P99 {times(tail)}")
    return _faster_in_the_mean(comparison) if mean.low > 1 else _open_mean(comparison)


_ONLY = "by acceptance only, without a baseline"


def _more_for(rate: Interval, floor: float, requests: int) -> int:
    """Requests until the interval of a rate no longer holds a floor; it narrows with their root."""
    away = abs(rate.value - floor)
    half = (rate.high - rate.low) / 2
    if away == 0 or half <= away:
        return 1 if half > 0 else 0
    return min(_MOST_REQUESTS, math.ceil(requests * ((half / away) ** 2 - 1)))


def _by_acceptance(measured: Measured, statistics: Statistics, rate: Interval) -> Verdict:
    off, review = _FLOORS.off_below_percent / 100, _FLOORS.review_below_percent / 100
    said = f"{percent(rate.value)} accepted ({percent(rate.low)} to {percent(rate.high)})"
    is_free = measured.cell.mode == Mode.NGRAM
    if rate.high < off and not is_free:
        return Verdict(Word.OFF, Basis.ACCEPTANCE, f"{_ONLY}: {said}, under the guard's floor of {percent(off)}")
    if rate.low >= review:
        sentence = f"{_ONLY}: {said}, above {percent(review)}; confirm the gain against a baseline"
        return Verdict(Word.SHIP, Basis.ACCEPTANCE, sentence)
    if rate.high < off:
        sentence = f"{_ONLY}: {said}; n-gram drafts cost little and may pay all the same, a baseline would show it"
        return Verdict(Word.MEASURE, Basis.ACCEPTANCE, sentence)
    if off <= rate.low and rate.high < review:
        sentence = f"{_ONLY}: {said}, between {percent(off)} and {percent(review)}: latency decides"
        return Verdict(Word.MEASURE, Basis.ACCEPTANCE, sentence)
    floor = min((off, review), key=lambda limit: abs(limit - rate.value))
    more = _more_for(rate, floor, statistics.answered)
    sentence = f"{_ONLY}: {said}, not surely on one side of {percent(floor)}; {_requests(more)} would show it"
    return Verdict(Word.MEASURE, Basis.ACCEPTANCE, sentence, more)


def _verdict(measured: Measured, statistics: Statistics, comparison: Comparison | None) -> Verdict:
    if not statistics.answered:
        why = f": {statistics.errors[0][0]}" if statistics.errors else ""
        return Verdict(Word.MEASURE, Basis.NOTHING, f"no request was answered{why}")
    collapsed = _collapsed(measured)
    if comparison is not None:
        return _by_speed(comparison, collapsed)
    if collapsed:
        return Verdict(Word.OFF, Basis.ACCEPTANCE, f"{_ONLY}: {collapsed}")
    if statistics.acceptance_rate is not None:
        return _by_acceptance(measured, statistics, statistics.acceptance_rate)
    sentence = "nothing to judge by: no baseline, and the endpoint counts no drafts; measure a baseline"
    return Verdict(Word.MEASURE, Basis.NOTHING, sentence)


def judged(measured: Measured, baselines: Mapping[Place, Measured]) -> Judged:
    """One cell, against the one without speculation at its place."""
    statistics = statistics_of(measured)
    if not speculates(measured):
        return Judged(measured, statistics)
    off = baselines.get(place_of(measured.cell))
    doubtful = [cell for cell in (measured, off) if cell is not None and cell.is_doubtful]
    if doubtful:
        which = "this cell" if measured in doubtful else "the cell without speculation"
        sentence = f"something disturbed {which}, its notes say what; measure it again"
        return Judged(measured, statistics, None, Verdict(Word.MEASURE, Basis.NOTHING, sentence))
    comparison = None if off is None else compare(measured, off)
    return Judged(measured, statistics, comparison, _verdict(measured, statistics, comparison))
