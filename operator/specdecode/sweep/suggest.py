"""What to write into the resource, from what a sweep measured. Pure.

A field is suggested only when the numbers carry it, and only fields that the resource has.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from specdecode.api.guard import AcceptanceSpec, LatencySpec
from specdecode.decide.facts import Interval
from specdecode.decide.wording import percent, spoken
from specdecode.sweep.break_even import Curve, Setting, setting_of
from specdecode.sweep.compare import Place, compare, place_of, pooled
from specdecode.sweep.statistics import quantile_interval, timed, tpot_of
from specdecode.sweep.types import Measured
from specdecode.sweep.verdict import Basis, Judged, Word, times

_FLOORS = AcceptanceSpec()
_REGRESSION = LatencySpec().max_regression_percent
_MAX_DURATION_MS = 999_999
"""A duration has at most six digits."""


@dataclass(frozen=True)
class Suggestion:
    """One field of a `SpecDecodeDeployment`."""

    path: str
    """Dotted, as in YAML: `spec.guard.latency.tpotP99`."""
    value: int | str | None
    """None: leave the field out."""
    reason: str


def _settings(cells: Sequence[Judged]) -> dict[Setting, list[Judged]]:
    """Cells that speculate, by what the engine ran with."""
    found: dict[Setting, list[Judged]] = {}
    for judged in cells:
        if judged.verdict is not None:
            found.setdefault(setting_of(judged.measured.cell), []).append(judged)
    return found


def _against(ours: Sequence[Judged], theirs: Sequence[Judged]) -> Interval | None:
    """How many times as fast one setting is as another where both were measured; None: nowhere."""
    others = {place_of(judged.measured.cell): judged.measured for judged in theirs}
    pairs = [
        compare(judged.measured, others[place])
        for judged in ours
        if (place := place_of(judged.measured.cell)) in others
    ]
    found = [pair.tpot_mean for pair in pairs if pair is not None]
    return pooled(found) if found else None


def _fastest(settings: Mapping[Setting, Sequence[Judged]]) -> tuple[Setting, Interval] | None:
    """The setting that is surely faster than every other one, and by how much than the next; None: there is none."""
    for setting, cells in settings.items():
        against = [_against(cells, others) for other, others in settings.items() if other != setting]
        leads = [lead for lead in against if lead is not None and lead.low > 1]
        if leads and len(leads) == len(against):
            return setting, min(leads, key=lambda lead: lead.value)
    return None


def _off(cells: Sequence[Judged], curves: Sequence[Curve]) -> Iterator[Suggestion]:
    """Leaving speculation out, when every cell says so; or when every place surely costs, its kinds taken together."""
    verdicts = [judged.verdict for judged in cells if judged.verdict is not None]
    words = Counter(verdict.word for verdict in verdicts)
    costs = all(judged.comparison is not None for judged in cells) and all(
        point.speedup.high < 1 for curve in curves for point in curve.points
    )
    if set(words) == {Word.OFF}:
        compared = all(verdict.basis is Basis.BASELINE for verdict in verdicts)
        by = "a baseline" if compared else "acceptance, not in all cells a baseline"
        yield Suggestion(
            "spec.speculation", None, f"mode Off: the verdict of all {len(verdicts)} cells is off, by {by}"
        )
    elif words[Word.OFF] and not words[Word.SHIP] and costs:
        reason = (
            "mode Off: at every temperature and concurrency speculation surely costs, all kinds of prompts together; "
            f"{words[Word.OFF]} of {len(verdicts)} cells say so by themselves"
        )
        yield Suggestion("spec.speculation", None, reason)


def _tokens(settings: Mapping[Setting, Sequence[Judged]]) -> Iterator[Suggestion]:
    """The number of tokens, where several were measured in a mode."""
    for mode in dict.fromkeys(mode for mode, _ in settings):
        same = {setting: cells for setting, cells in settings.items() if setting[0] == mode and setting[1] > 0}
        best = _fastest(same) if len(same) > 1 else None
        if best is not None:
            (_, tokens), lead = best
            numbers = ", ".join(str(number) for _, number in sorted(same))
            reason = f"of {numbers} tokens in mode {mode}, {tokens} is surely the fastest: {times(lead)} the next one"
            yield Suggestion("spec.speculation.numSpeculativeTokens", tokens, reason)


def _batch_size(curves: Sequence[Curve]) -> Iterator[Suggestion]:
    """The most requests at once: only where every temperature surely pays up to there, and surely costs above."""
    numbers = sorted({point.concurrency for curve in curves for point in curve.points})
    points = [point for curve in curves for point in curve.points]
    for below, above in pairwise(numbers):
        if all(point.speedup.low > 1 if point.concurrency <= below else point.speedup.high < 1 for point in points):
            reason = f"speculation surely pays up to {below} requests at once, and surely costs from {above}"
            yield Suggestion("spec.speculation.maxBatchSize", below, reason)


def _floor(cells: Sequence[Judged]) -> Iterator[Suggestion]:
    """The acceptance that divides what paid from what cost, where the default does not."""
    known = [
        (judged.statistics.acceptance_rate.value, judged.comparison.tpot_mean)
        for judged in cells
        if judged.statistics.acceptance_rate is not None and judged.comparison is not None
    ]
    paid = min((rate for rate, speedup in known if speedup.low > 1), default=math.inf)
    cost = max((rate for rate, speedup in known if speedup.high < 1), default=-math.inf)
    if cost >= paid:
        return
    if 100 * paid < _FLOORS.off_below_percent:
        floor = math.floor(100 * paid)
        beside = "" if math.isinf(cost) else f", and cost at {percent(cost)}"
        what = f"speculation surely paid at an acceptance of {percent(paid)}{beside}"
    elif 100 * cost >= _FLOORS.off_below_percent:
        floor = min(100, math.floor(100 * cost) + 1)
        beside = "" if math.isinf(paid) else f", and paid at {percent(paid)}"
        what = f"speculation surely cost at an acceptance of {percent(cost)}{beside}"
    else:
        return
    reason = f"{what}: the default, {_FLOORS.off_below_percent} %, is on the wrong side of it"
    yield Suggestion("spec.guard.acceptance.offBelowPercent", floor, reason)
    if floor > _FLOORS.review_below_percent:
        reason = f"must not be below offBelowPercent, and is {_FLOORS.review_below_percent} by default"
        yield Suggestion("spec.guard.acceptance.reviewBelowPercent", floor, reason)


def _limit(baselines: Mapping[Place, Measured]) -> Iterator[Suggestion]:
    """A limit for the P99: the baseline's own at the highest load. Its kinds and temperatures are taken together:
    without speculation a token takes as long whatever it says.
    """
    most = max((concurrency for _, _, concurrency in baselines), default=0)
    answers = [
        answer
        for (_, _, concurrency), measured in baselines.items()
        if concurrency == most
        for answer in timed(measured.answered, tpot_of)
    ]
    p99 = quantile_interval([tpot_of(answer) for answer in answers], 0.99) if answers else None
    if p99 is None or not 0 < p99.high < math.inf:
        return
    limit_ms = math.ceil(1000 * p99.high * (1 + _REGRESSION / 100))
    if limit_ms <= _MAX_DURATION_MS:
        reason = (
            f"without speculation the P99 TPOT at {most} at once is at most {spoken(p99.high)} "
            f"({len(answers)} requests); {_REGRESSION} % more is a regression"
        )
        yield Suggestion("spec.guard.latency.tpotP99", f"{limit_ms}ms", reason)


def suggestions_of(
    cells: Sequence[Judged], curves: Sequence[Curve], baselines: Mapping[Place, Measured]
) -> tuple[Suggestion, ...]:
    """Every field that the numbers carry; of several settings, for the one that is surely the fastest."""
    settings = _settings(cells)
    off = tuple(_off([judged for judged in cells if judged.verdict is not None], curves))
    if off:
        return off
    found = list(_tokens(settings))
    best = next(iter(settings), None) if len(settings) == 1 else (_fastest(settings) or (None,))[0]
    if best is not None:
        found += _batch_size([curve for curve in curves if curve.setting == best])
        found += _floor(settings[best])
    return (*found, *_limit(baselines))
