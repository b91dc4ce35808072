"""What a sweep found: values that are printed, drawn and compared. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from specdecode.api.status import rfc3339
from specdecode.decide.facts import Interval
from specdecode.sweep.break_even import Curve, break_even_sentence, curves_of
from specdecode.sweep.compare import Comparison, Place, baselines_of, newest, place_of, speculates
from specdecode.sweep.statistics import Latency, Statistics, requests_for, statistics_of
from specdecode.sweep.suggest import Suggestion, suggestions_of
from specdecode.sweep.types import Measured, Sweep
from specdecode.sweep.verdict import Judged, Verdict, judged


@dataclass(frozen=True)
class Report:
    """A sweep, judged."""

    sweep: Sweep
    baseline: Sweep | None
    cells: tuple[Judged, ...]
    """Those that speculate by mode, number of tokens, kind, temperature and concurrency; then those that do not."""
    baseline_cells: tuple[Judged, ...]
    """Of the baseline, in numbers only."""
    curves: tuple[Curve, ...]
    """Speed-up by concurrency; empty without a baseline."""
    suggestions: tuple[Suggestion, ...]
    caveats: tuple[str, ...]
    """What a reader has to know before trusting the numbers, each in one sentence."""


def _name(measured: Measured) -> str:
    cell = measured.cell
    return f"{cell.mode} {cell.kind} at temperature {cell.temperature:g}, {cell.concurrency} at once"


def _on_the_baseline(
    sweep: Sweep, baseline: Sweep | None, cells: tuple[Judged, ...], found: Mapping[Place, Measured]
) -> Iterator[str]:
    asking = [one for one in cells if one.verdict is not None]
    if not asking:
        yield "nothing that was measured speculates: there is nothing to judge"
    elif not found and baseline is not None and any(speculates(measured) for measured in baseline.cells):
        yield "the baseline speculates itself and is none; name an endpoint or a run with mode Off"
    elif not found:
        yield (
            "there is no baseline, so nothing says whether speculation is faster; run again with --baseline and the "
            "URL of the same engine without speculation, or the directory of a sweep of it"
        )
    else:
        missing = [one.measured for one in asking if place_of(one.measured.cell) not in found]
        if missing:
            yield f"{len(missing)} of {len(asking)} cells have no baseline at their place, first {_name(missing[0])}"
    if baseline is not None:
        for what, ours, theirs in (
            ("model", sweep.model, baseline.model),
            ("engine version", sweep.engine_version, baseline.engine_version),
        ):
            if ours and theirs and ours != theirs:
                yield f"the baseline has another {what}, {theirs} instead of {ours}: not only speculation differs"


def _on_the_cells(cells: tuple[Judged, ...]) -> Iterator[str]:
    for one in cells:
        statistics, measured = one.statistics, one.measured
        if not measured.is_whole:
            yield f"{_name(measured)}: ended early, {statistics.requests} requests"
        failed = statistics.requests - statistics.answered
        if failed:
            commonest = statistics.errors[0][0]
            yield f"{_name(measured)}: {failed} of {statistics.requests} requests failed, most often: {commonest}"


def _on_the_numbers(cells: tuple[Judged, ...]) -> Iterator[str]:
    answered = [one.statistics for one in cells if one.statistics.tpot is not None]
    enough = requests_for(0.99)
    counts = [one.tpot.requests for one in answered if one.tpot is not None]
    few = sum(count < enough for count in counts)
    if few:
        yield f"{few} of {len(counts)} cells have too few requests for a bounded P99, which takes {enough} in each"
    repeated = [one for one in answered if one.prompts < one.answered]
    if repeated:
        least = min(one.prompts for one in repeated)
        yield f"prompts were asked more than once ({least} different ones): the intervals hold for these prompts"


def report_of(sweep: Sweep, baseline: Sweep | None) -> Report:
    """Judge a sweep, against a baseline where there is one; `Off` cells of the sweep itself are one as well."""
    found = baselines_of(sweep, baseline)
    measured = sorted(newest(sweep.cells), key=lambda one: (not speculates(one), one.cell))
    cells = tuple(judged(one, found) for one in measured)
    others = () if baseline is None else sorted(newest(baseline.cells), key=lambda one: one.cell)
    curves = curves_of(cells)
    caveats = (*_on_the_baseline(sweep, baseline, cells, found), *_on_the_numbers(cells), *_on_the_cells(cells))
    return Report(
        sweep=sweep,
        baseline=baseline,
        cells=cells,
        baseline_cells=tuple(Judged(one, statistics_of(one)) for one in others),
        curves=curves,
        suggestions=suggestions_of(cells, curves, found),
        caveats=caveats,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {"low": _number(interval.low), "value": _number(interval.value), "high": _number(interval.high)}


def _latency(latency: Latency | None) -> dict[str, Any] | None:
    if latency is None:
        return None
    return {
        "requests": latency.requests,
        "mean": _interval(latency.mean),
        "p50": _interval(latency.p50),
        "p95": _interval(latency.p95),
        "p99": _interval(latency.p99),
    }


def _statistics(statistics: Statistics) -> dict[str, Any]:
    return {
        "requests": statistics.requests,
        "answered": statistics.answered,
        "prompts": statistics.prompts,
        "errors": [{"message": message, "requests": count} for message, count in statistics.errors],
        "ttftSeconds": _latency(statistics.ttft),
        "tpotSeconds": _latency(statistics.tpot),
        "outputTokensPerSecond": _interval(statistics.output_tokens_per_second),
        "runningRequests": _number(statistics.running_requests),
        "acceptanceRate": _interval(statistics.acceptance_rate),
        "acceptanceLength": _interval(statistics.acceptance_length),
        "acceptedAtPosition": [_number(part) for part in statistics.accepted_at],
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "requests": comparison.requests,
        "tpotMean": _interval(comparison.tpot_mean),
        "tpotP50": _interval(comparison.tpot_p50),
        "tpotP99": _interval(comparison.tpot_p99),
        "throughput": _interval(comparison.throughput),
    }


def _verdict(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "word": verdict.word.value,
        "basis": verdict.basis.value,
        "sentence": verdict.sentence,
        "requestsNeeded": verdict.requests_needed,
    }


def _cell(one: Judged) -> dict[str, Any]:
    cell = one.measured.cell
    return {
        "mode": cell.mode,
        "numSpeculativeTokens": cell.num_speculative_tokens,
        "kind": cell.kind,
        "temperature": cell.temperature,
        "concurrency": cell.concurrency,
        "seconds": _number(one.measured.seconds),
        "whole": one.measured.is_whole,
        **_statistics(one.statistics),
        "speedup": _comparison(one.comparison),
        "verdict": _verdict(one.verdict),
    }


def _curve(curve: Curve) -> dict[str, Any]:
    mode, tokens = curve.setting
    return {
        "mode": mode,
        "numSpeculativeTokens": tokens,
        "temperature": curve.temperature,
        "concurrency": curve.break_even,
        "sentence": break_even_sentence(curve),
        "points": [{"concurrency": point.concurrency, "speedup": _interval(point.speedup)} for point in curve.points],
    }


def _baseline(baseline: Sweep, cells: tuple[Judged, ...]) -> dict[str, Any]:
    return {
        "endpoint": baseline.endpoint,
        "model": baseline.model,
        "engineVersion": baseline.engine_version,
        "cells": [_cell(one) for one in cells],
    }


def document(report: Report) -> dict[str, Any]:
    """The report as JSON: camelCase, stable; fields are only ever added. Neither NaN nor infinity is in it: a number
    that is not known, or a bound that does not exist, is null.

    `cells[].speedup` is null without a baseline, `cells[].verdict` where nothing speculates. `breakEven[].concurrency`
    is null where no break-even was seen. `suggestions[].value` is null for a field to leave out.
    """
    sweep, baseline = report.sweep, report.baseline
    return {
        "endpoint": sweep.endpoint,
        "model": sweep.model,
        "engineVersion": sweep.engine_version,
        "startedAt": rfc3339(datetime.fromtimestamp(sweep.started_at, UTC)),
        "asked": dict(sweep.asked),
        "baseline": None if baseline is None else _baseline(baseline, report.baseline_cells),
        "cells": [_cell(one) for one in report.cells],
        "breakEven": [_curve(curve) for curve in report.curves],
        "suggestions": [
            {"path": suggested.path, "value": suggested.value, "reason": suggested.reason}
            for suggested in report.suggestions
        ],
        "caveats": list(report.caveats),
    }
