"""Simulated deployments through the judge of production: healthy days, drift of content, collapses and losses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specdecode.api.vocabulary import Method, Mode

from .deployment import CONTEXT_TOKENS, REPLICAS, Deployment, Timing, off_step_seconds, tape_of
from .detection import Fault, Traffic
from .rivals import Delays
from .traffic import GSM8K, SHAREGPT, Floats, Kind
from .world import (
    SCRAPE_SECONDS,
    SCRAPES_PER_DAY,
    STEP_TIME,
    Course,
    Increments,
    simulate,
    steady,
    with_fault,
)

_WARM_TICKS = 2880
"""Twelve healthy hours before a fault."""
_LEAD_TICKS = 12
_LEAST_TICKS = 100
"""A stretch that is shorter has no window to be judged by."""
_LEAD_SCRAPES, _TAIL_SCRAPES = 120, 20
_SUSPICIOUS_SPEEDUP, _SUSPICIOUS_LENGTH = 1.03, 1.15
_STRETCHES = (2, 4, 8, 20)
"""Scrapes. Every rule that steps looks at two scrapes at least and at one window at most."""


@dataclass(frozen=True)
class Judged:
    """Healthy time that was looked at."""

    name: str
    days: float
    ticks: int
    """Of them that went through the judge; in the others no stretch of traffic could have made it step."""
    steps: tuple[str, ...]
    """Reason and sentence of each step: all of them are false."""
    advice: Mapping[str, int] = field(default_factory=dict)
    """Ticks by finding."""

    @property
    def per_month(self) -> float:
        """Steps in 30 deployment-days."""
        return 30 * len(self.steps) / self.days


def _trailing(values: Floats, size: int) -> Floats:
    total = np.concatenate((np.zeros(size), np.cumsum(values)))
    summed: Floats = total[size:] - total[:-size]
    return summed


def is_suspicious(increments: Increments, off_seconds: float) -> NDArray[np.bool_]:
    """By scrape, whether some stretch that ends there shows hardly any gain or acceptance: nothing else can make the
    judge step, where a baseline is known.
    """
    found = np.zeros(len(increments.drafts), dtype=np.bool_)
    for size in _STRETCHES:
        seconds = _trailing(increments.step_seconds_sum, size)
        tokens, drafts = _trailing(increments.generation_tokens, size), _trailing(increments.drafts, size)
        finished, tpot = _trailing(increments.requests, size), _trailing(increments.tpot_sum, size)
        found |= tokens * off_seconds < _SUSPICIOUS_SPEEDUP * seconds
        found |= finished * off_seconds < _SUSPICIOUS_SPEEDUP * tpot
        found |= (drafts > 0) & (_trailing(increments.accepted_tokens, size) < (_SUSPICIOUS_LENGTH - 1) * drafts)
    return found


def stretches(suspicious: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First scrape and end of what must be judged: what is suspicious, with the time before and after it."""
    start, end = 0, 0
    for place in np.flatnonzero(suspicious).tolist():
        if end and place - _LEAD_SCRAPES > end:
            yield start, end
            end = 0
        if not end:
            start = max(0, place - _LEAD_SCRAPES)
        end = min(len(suspicious), place + _TAIL_SCRAPES)
    if end:
        yield start, end


def _steps_in(increments: Increments, rng: np.random.Generator, method: Method, played: "_Tally") -> None:
    """Play a stretch; after a step it goes on from there with speculation on, as if somebody had asked for a retry."""
    left = increments
    while len(left.drafts) > _LEAST_TICKS:
        mode = Mode.NGRAM if method is Method.NGRAM else Mode.DRAFT
        deployment = Deployment(
            {mode: [tape_of(left, mode)]}, Timing.drawn(rng, 1), method=method, has_baseline=played.has_baseline
        )
        tick = 0
        while tick < deployment.ticks and not deployment.played.moves:
            deployment.step(tick)
            tick += 1
        played.ticks += tick
        for reason, count in deployment.played.advice.items():
            played.advice[reason] = played.advice.get(reason, 0) + count
        played.steps.extend(f"{move.reason}: {move.message}" for move in deployment.played.moves)
        left = left.part(tick + 1, len(left.drafts))


@dataclass
class _Tally:
    has_baseline: bool
    ticks: int = 0
    steps: list[str] = field(default_factory=list)
    advice: dict[str, int] = field(default_factory=dict)


def judge_healthy(name: str, courses: Sequence[Course], seed: int, *, has_baseline: bool = True) -> Judged:
    """All of it through the judge where it could step at all; everything where nothing is known to compare with."""
    rng, tally = np.random.default_rng(seed), _Tally(has_baseline)
    for course in courses:
        increments = simulate(course, int(rng.integers(2**31)))
        method = Method.EAGLE3 if course.draft_share is None else Method.NGRAM
        suspicious = is_suspicious(increments, off_step_seconds())
        if not has_baseline:
            suspicious[:] = True
        for start, end in stretches(suspicious):
            _steps_in(increments.part(start, end), rng, method, tally)
    days = sum(course.scrapes for course in courses) / SCRAPES_PER_DAY
    return Judged(name, days, tally.ticks, tuple(tally.steps), tally.advice)


def judge_steady(traffic: Traffic, days: int, *, has_baseline: bool = True) -> Judged:
    """Nothing ever happens."""
    courses = [steady(traffic.kind, traffic.per_second, SCRAPES_PER_DAY)] * days
    return judge_healthy(traffic.name, courses, traffic.seed(4), has_baseline=has_baseline)


def _levels(rng: np.random.Generator, lengths: Sequence[float], shortest_hours: float, longest_hours: float) -> Floats:
    """Acceptance lengths by scrape over one day, each held for a while, then another one."""
    found: list[Floats] = []
    while sum(map(len, found)) < SCRAPES_PER_DAY:
        held = int(rng.uniform(shortest_hours, longest_hours) * 3600 / SCRAPE_SECONDS)
        found.append(np.full(max(1, held), rng.choice(lengths)))
    return np.concatenate(found)[:SCRAPES_PER_DAY]


def _content(rng: np.random.Generator, kind: Kind, per_second: float, lengths: Sequence[float]) -> Course:
    course = steady(kind, per_second, SCRAPES_PER_DAY)
    length = _levels(rng, lengths, 0.1, 4)
    return replace(course, accepting=(length - 1) / (kind.published.acceptance_length - 1))


def _day_and_night(rng: np.random.Generator, per_second: float) -> Course:
    """Maths by day, chat that the draft guesses badly by night; less of everything by night."""
    course = steady(GSM8K, per_second, SCRAPES_PER_DAY)
    phase = 2 * np.pi * (np.arange(SCRAPES_PER_DAY) / SCRAPES_PER_DAY + rng.random())
    chat = SHAREGPT.with_acceptance_length(2.0, "chat")
    arrivals = per_second * (1 + 0.6 * np.cos(phase))
    return replace(course, arrivals_per_second=arrivals, other=chat, other_share=(1 - np.cos(phase)) / 2)


def _ngram(rng: np.random.Generator, per_second: float) -> Course:
    """Code edits and maths by n-grams: 2.04 and 1.17 tokens per step, each a gain."""
    course = steady(GSM8K, per_second, SCRAPES_PER_DAY)
    length = _levels(rng, (2.04, 1.17), 0.2, 6)
    step = float(STEP_TIME.ngram_step(np.array(1.0), CONTEXT_TOKENS))
    return replace(
        course,
        accepting=(length - 1) / (GSM8K.published.acceptance_length - 1),
        step_seconds=np.full(SCRAPES_PER_DAY, step),
        draft_share=np.where(length > 1.5, 0.7, 0.35),
    )


DRIFTS = ("content 3.4 / 2.6 / 1.8", "day and night", "n-gram 2.04 / 1.17")
"""Healthy drift: what is accepted changes with the content, and every bit of it is a gain."""


def judge_drift(name: str, days: int, per_second: float) -> Judged:
    """Every step is false."""
    seed = [DRIFTS.index(name), int(10 * per_second)]
    rng = np.random.default_rng(seed)
    makers: Mapping[str, Any] = {
        DRIFTS[0]: lambda: _content(rng, GSM8K, per_second, (3.4, 2.6, 1.8)),
        DRIFTS[1]: lambda: _day_and_night(rng, per_second),
        DRIFTS[2]: lambda: _ngram(rng, per_second),
    }
    courses = [makers[name]() for _ in range(days)]
    return judge_healthy(f"{name}, {per_second:g}/s", courses, int(rng.integers(2**31)))


@dataclass(frozen=True)
class Stepped:
    """From faults to steps of the judge."""

    delays: Delays
    early: int
    """Steps before the fault: false ones."""
    reasons: Mapping[str, int]


def _played_until_moved(deployment: Deployment) -> None:
    tick = 0
    while tick < deployment.ticks and not deployment.played.moves:
        deployment.step(tick)
        tick += 1


def _warmed(traffic: Traffic, rng: np.random.Generator) -> Deployment:
    course = steady(traffic.kind, traffic.per_second / REPLICAS, _WARM_TICKS)
    tapes = [tape_of(simulate(course, int(rng.integers(2**31))), Mode.DRAFT) for _ in range(REPLICAS)]
    deployment = Deployment({Mode.DRAFT: tapes}, Timing.drawn(rng))
    deployment.play()
    assert not deployment.played.moves, "a healthy morning was called a fault"
    return deployment


def judge_fault(traffic: Traffic, fault: Fault, faults: int) -> Stepped:
    """Faults of all pods at once, anywhere between two scrapes of pods that are scraped at different moments, each
    after the same healthy morning.
    """
    rng = np.random.default_rng(traffic.seed(5, int(1000 * fault.accepting(traffic.kind))))
    warmed = _warmed(traffic, rng)
    scrapes = _LEAD_TICKS + int(fault.horizon_hours * 3600 / SCRAPE_SECONDS)
    course = steady(traffic.kind, traffic.per_second / REPLICAS, scrapes)
    found: list[float] = []
    reasons: dict[str, int] = {}
    early = 0
    for _ in range(faults):
        timing = Timing.drawn(rng)
        fault_at = (_LEAD_TICKS + rng.random()) * SCRAPE_SECONDS
        tapes = []
        for phase in timing.scrape_phases:
            faulty = with_fault(course, fault_at - phase, fault.accepting(traffic.kind))
            tapes.append(tape_of(simulate(faulty, int(rng.integers(2**31))), Mode.DRAFT))
        deployment = Deployment({Mode.DRAFT: tapes}, timing)
        deployment.go_on_from(warmed)
        _played_until_moved(deployment)
        for move in deployment.played.moves:
            delay = move.at - deployment.origin_seconds - fault_at
            early += delay < 0
            if delay >= 0:
                found.append(delay)
                reasons[move.reason] = reasons.get(move.reason, 0) + 1
    return Stepped(Delays(tuple(found), faults - len(found) - early), early, reasons)
