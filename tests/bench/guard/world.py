"""What two scrapes show of simulated requests: increments of the engine's counters, scrape by scrape.

Requests arrive by themselves (a Poisson process) or keep a fixed number of users busy, and share the time of engine
steps. All of it is arrays: 90 days at one request a second take seconds. A request's answer is as long as it is: when
drafts accept less, it takes more steps and stays longer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from specdecode.engine.metrics import edges
from specdecode.engine.version import EngineVersion

from .traffic import DRAFT_LENGTH, STEP_SECONDS, Floats, Kind, accepted_in

SCRAPE_SECONDS = 15.0
SCRAPES_PER_DAY = 5760
ENGINE = EngineVersion(0, 32, 0)
EDGES = edges(ENGINE)
_REQUESTS_AT_ONCE = 200_000
"""Bounds the memory of one pass."""
_TTFT_MEDIAN_SECONDS, _TTFT_SPREAD = 0.06, 0.4
"""A prefill of some hundred tokens on an H100."""

Whole = NDArray[np.intp]


@dataclass(frozen=True)
class Course:
    """What happens to one engine; arrays have the shape (scrapes,)."""

    kind: Kind
    arrivals_per_second: Floats
    accepting: Floats
    """Times the accepted tokens per step; 1 is healthy."""
    step_seconds: Floats
    speculates: NDArray[np.bool_]
    other: Kind | None = None
    """What the traffic turns into, or is mixed with."""
    other_share: Floats | None = None
    """Share of the requests that are of the other kind."""
    draft_share: Floats | None = None
    """Share of the steps that draft at all; None: every step. N-grams draft only where they find a match."""

    @property
    def scrapes(self) -> int:
        """How many."""
        return len(self.accepting)

    @cached_property
    def progress(self) -> Floats:
        """Healthy speculative steps that one request has done at the edges of the scrapes; shape (scrapes + 1,)."""
        accepted = self.kind.published.acceptance_length - 1
        tokens = np.where(self.speculates, 1 + accepted * self.accepting, 1.0)
        done = tokens / (1 + accepted) / self.step_seconds * SCRAPE_SECONDS
        return np.concatenate(((0.0,), np.cumsum(done)))


def steady(kind: Kind, arrivals_per_second: float, scrapes: int) -> Course:
    """Nothing ever happens."""
    return Course(
        kind=kind,
        arrivals_per_second=np.full(scrapes, arrivals_per_second),
        accepting=np.ones(scrapes),
        step_seconds=np.full(scrapes, STEP_SECONDS),
        speculates=np.ones(scrapes, dtype=np.bool_),
    )


@dataclass
class Increments:
    """Counted between two scrapes; arrays of shape (scrapes,), histograms (scrapes, buckets)."""

    drafts: Floats
    accepted_tokens: Floats
    generation_tokens: Floats
    requests: Floats
    step_seconds_sum: Floats
    step_count: Floats
    running: Floats
    """At the end of the interval."""
    tpot_sum: Floats
    tpot: Floats
    ttft_sum: Floats
    ttft: Floats
    e2e_sum: Floats
    e2e: Floats

    @staticmethod
    def nothing(scrapes: int) -> "Increments":
        """Zeros."""
        histograms = {
            "tpot": len(EDGES.tpot_seconds) + 1,
            "ttft": len(EDGES.ttft_seconds) + 1,
            "e2e": len(EDGES.e2e_seconds) + 1,
        }
        names = [field.name for field in fields(Increments)]
        shapes = {name: (scrapes, histograms[name]) if name in histograms else (scrapes,) for name in names}
        return Increments(**{name: np.zeros(shape) for name, shape in shapes.items()})

    @property
    def draft_tokens(self) -> Floats:
        """Proposed."""
        return DRAFT_LENGTH * self.drafts

    @property
    def acceptance_length(self) -> Floats:
        """By scrape; NaN without drafts."""
        drafts = np.where(self.drafts > 0, self.drafts, np.nan)
        return 1 + self.accepted_tokens / drafts

    def part(self, start: int, end: int) -> "Increments":
        """Some of the scrapes."""
        return Increments(**{field.name: getattr(self, field.name)[start:end] for field in fields(self)})


@dataclass(frozen=True)
class _Requests:
    """Requests on the axis of progress."""

    begin: Floats
    steps: Floats
    accepted_per_step: Floats
    times: Floats | None = None
    """Seconds since the start at which they came, where that is exact; None: from their begin."""
    is_there: NDArray[np.bool_] | None = None
    """By scrape, whether their user is there; None: always."""


def _kinds(course: Course, rng: np.random.Generator, scrape: Whole) -> tuple[Floats, Floats]:
    steps, accepted = course.kind.draw(rng, len(scrape))
    if course.other is not None and course.other_share is not None:
        is_other = rng.random(len(scrape)) < course.other_share[scrape]
        steps[is_other], accepted[is_other] = course.other.draw(rng, int(is_other.sum()))
    return steps, accepted


def _arriving(course: Course, rng: np.random.Generator) -> Iterator[_Requests]:
    """Poisson arrivals, in passes."""
    counts = rng.poisson(course.arrivals_per_second * SCRAPE_SECONDS)
    passes = max(1, int(counts.sum()) // _REQUESTS_AT_ONCE)
    for scrapes in np.array_split(np.arange(course.scrapes), passes):
        scrape = np.repeat(scrapes, counts[scrapes])
        times = (scrape + rng.random(len(scrape))) * SCRAPE_SECONDS
        steps, accepted = _kinds(course, rng, scrape)
        begin = np.interp(times, np.arange(course.scrapes + 1) * SCRAPE_SECONDS, course.progress)
        yield _Requests(begin, steps, accepted, times)


def _busy(course: Course, rng: np.random.Generator, users: Whole) -> Iterator[_Requests]:
    """So many users, by scrape, that ask again at once; answers follow each other on the axis of progress."""
    total = course.progress[-1]
    mean_steps = course.kind.draw(rng, 10_000)[0].mean()
    count = int(total / mean_steps * 1.2) + 200
    for user in range(int(users.max())):
        steps, accepted = course.kind.draw(rng, count)
        ends = np.cumsum(steps) - rng.random() * mean_steps
        begin = np.maximum(ends - steps, 0)  # the first one is under way already
        steps = ends - begin
        is_in = (steps > 0) & (begin < total)
        if course.other is not None and course.other_share is not None:
            scrape = np.searchsorted(course.progress, begin[is_in], side="right") - 1
            is_other = rng.random(len(scrape)) < course.other_share[scrape]
            drawn = course.other.draw(rng, int(is_other.sum()))[1]
            places = np.flatnonzero(is_in)[is_other]
            accepted[places] = drawn
        yield _Requests(begin[is_in], steps[is_in], accepted[is_in], is_there=users > user)


def _add(total: Floats, place: Whole, weights: Floats | None = None) -> None:
    """Add up by place, touching only the part of the table that is meant."""
    if len(place) == 0:
        return
    first = int(place.min())
    counted = np.bincount(place - first, weights=weights)
    flat = total.reshape(-1)
    flat[first : first + len(counted)] += counted


def _observe(table: Floats, sums: Floats, bounds: tuple[float, ...], scrape: Whole, seconds: Floats) -> None:
    bucket = np.searchsorted(np.asarray(bounds), seconds, side="left")
    _add(table, scrape * table.shape[1] + bucket)
    _add(sums, scrape, seconds)


def _finish(
    into: Increments, course: Course, rng: np.random.Generator, requests: _Requests, last: Whole, tokens: Floats
) -> None:
    """Requests that end within the course are counted where they end."""
    end = requests.begin + requests.steps
    is_done = (end < course.progress[-1]) & (tokens > 1)
    if requests.is_there is not None:
        is_done &= requests.is_there[last]
    seconds_axis = np.arange(course.scrapes + 1) * SCRAPE_SECONDS
    finished = np.interp(end, course.progress, seconds_axis)
    started = np.interp(requests.begin, course.progress, seconds_axis) if requests.times is None else requests.times
    decode = (finished - started)[is_done]
    scrape = last[is_done]
    ttft = _TTFT_MEDIAN_SECONDS * np.exp(_TTFT_SPREAD * rng.standard_normal(len(scrape)))
    _add(into.requests, scrape)
    _observe(into.tpot, into.tpot_sum, EDGES.tpot_seconds, scrape, decode / tokens[is_done])
    _observe(into.ttft, into.ttft_sum, EDGES.ttft_seconds, scrape, ttft)
    _observe(into.e2e, into.e2e_sum, EDGES.e2e_seconds, scrape, ttft + decode)


def _count(into: Increments, course: Course, rng: np.random.Generator, requests: _Requests) -> None:
    """Spread requests over the scrapes they live through."""
    axis, end = course.progress, requests.begin + requests.steps
    first = np.searchsorted(axis, requests.begin, side="right") - 1
    last = np.minimum(np.searchsorted(axis, end, side="right") - 1, course.scrapes - 1)
    parts = last - first + 1
    owner = np.repeat(np.arange(len(parts)), parts)
    scrape = np.arange(int(parts.sum())) - np.repeat(np.cumsum(parts) - parts, parts) + first[owner]
    if requests.is_there is not None:
        is_there = requests.is_there[scrape]
        owner, scrape = owner[is_there], scrape[is_there]
    lived = np.minimum(end[owner], axis[scrape + 1]) - np.maximum(requests.begin[owner], axis[scrape])
    seconds = np.maximum(lived, 0) / np.diff(axis)[scrape] * SCRAPE_SECONDS
    steps = np.maximum(np.round(seconds / course.step_seconds[scrape]), 0)
    share = np.ones(len(scrape)) if course.draft_share is None else course.draft_share[scrape]
    drafts = np.where(course.speculates[scrape], np.round(share * steps), 0)
    means = np.clip(requests.accepted_per_step[owner] * course.accepting[scrape] / share, 0, DRAFT_LENGTH)
    accepted = accepted_in(rng, drafts, means)
    _add(into.drafts, scrape, drafts)
    _add(into.accepted_tokens, scrape, accepted)
    _add(into.generation_tokens, scrape, steps + accepted)
    _add(into.step_count, scrape, steps)
    _add(into.step_seconds_sum, scrape, seconds)
    _add(into.running, scrape[end[owner] > axis[scrape + 1]])
    tokens = np.zeros(len(parts))
    _add(tokens, owner, steps + accepted)
    _finish(into, course, rng, requests, last, tokens)


def simulate(course: Course, seed: int, users: Whole | None = None) -> Increments:
    """What every scrape shows. `users`: so many, by scrape, that ask again at once; None: requests arrive by
    themselves.
    """
    rng = np.random.default_rng(seed)
    increments = Increments.nothing(course.scrapes)
    requests = _arriving(course, rng) if users is None else _busy(course, rng, users)
    for some in requests:
        _count(increments, course, rng, some)
    return increments


@dataclass(frozen=True)
class StepTime:
    """Seconds of an engine step of Llama-3.1-8B on an H100 (constants released with arXiv 2601.11580)."""

    base: float = 5.886e-3
    per_token: float = 21.01e-6
    per_cached_token: float = 39.3e-9
    drafting: float = 2.135e-3
    overhead: float = 1.207e-3
    ngram: float = 0.0059
    """Drafting by n-grams, as a part of verification."""

    def off(self, running: Floats, context: float) -> Floats:
        """Without speculation; `running` requests with `context` cached tokens each."""
        return self.base + self.per_token * running + self.per_cached_token * context * running

    def draft(self, running: Floats, context: float) -> Floats:
        """With an EAGLE head and three tokens."""
        verification = self.off(running, context) + self.per_token * DRAFT_LENGTH * running
        return verification + self.drafting + self.overhead

    def ngram_step(self, running: Floats, context: float) -> Floats:
        """With n-grams, three tokens in every step."""
        return (self.off(running, context) + self.per_token * DRAFT_LENGTH * running) * (1 + self.ngram)


STEP_TIME = StepTime()


def with_fault(course: Course, at_seconds: float, accepting: float, slowness: float = 1.0) -> Course:
    """The same course with another acceptance, and steps that take `slowness` times as long, from a moment on; the
    scrape it falls into has a part of both.
    """
    starts = np.arange(course.scrapes) * SCRAPE_SECONDS
    share = np.clip((starts + SCRAPE_SECONDS - at_seconds) / SCRAPE_SECONDS, 0, 1)
    return replace(
        course,
        accepting=course.accepting * (1 - share * (1 - accepting)),
        step_seconds=course.step_seconds * (1 - share * (1 - slowness)),
    )


def accepting_for(kind: Kind, ratio: float) -> float:
    """What to multiply accepted tokens by, so that the acceptance length is multiplied by `ratio`."""
    length = kind.published.acceptance_length
    return (ratio * length - 1) / (length - 1)


def without_speculation(course: Course, step_seconds: float) -> Course:
    """The same requests on an engine that drafts nothing."""
    return replace(
        course,
        step_seconds=np.full(course.scrapes, step_seconds),
        speculates=np.zeros(course.scrapes, dtype=np.bool_),
    )
