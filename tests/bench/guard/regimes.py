"""Whole regimes through the judge of production: tokens against the best fixed setting, and against plain decoding.

Users ask again as soon as they are answered, so that tokens show what a setting is worth; what a restart costs is in
it, because the pods that stay carry everybody. Tokens are counted in the mean, without the scatter of requests: what
the judge sees has all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from specdecode.api.vocabulary import Mode

from .deployment import CONTEXT_TOKENS, REPLICAS, Deployment, Played, Timing, tape_of
from .traffic import SHAREGPT, Floats, Kind
from .world import SCRAPE_SECONDS, STEP_TIME, Course, simulate, steady

_SCRAPES_PER_HOUR = 240
_KIND = SHAREGPT


@dataclass(frozen=True)
class Regime:
    """Points in time, linear or in steps between them."""

    name: str
    hours: float
    users: tuple[tuple[float, float], ...] = ((0, 16),)
    """(from hour, users per replica), in steps."""
    lengths: tuple[tuple[float, float], ...] = ((0, 2.394),)
    """(hour, acceptance length), in steps unless `is_gradual`."""
    is_gradual: bool = False
    slowness: tuple[tuple[float, float], ...] = ((0, 1),)
    """(from hour, times every step, with speculation and without), in steps: a cause that is elsewhere."""
    guard: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scrapes(self) -> int:
        """How many."""
        return int(self.hours * _SCRAPES_PER_HOUR)

    def _steps(self, points: tuple[tuple[float, float], ...]) -> Floats:
        hours = np.arange(self.scrapes) / _SCRAPES_PER_HOUR
        place = np.searchsorted([hour for hour, _ in points], hours, side="right") - 1
        return np.array([value for _, value in points])[place]

    @property
    def running(self) -> Floats:
        """Users per replica, by scrape."""
        return self._steps(self.users)

    @property
    def acceptance_length(self) -> Floats:
        """By scrape."""
        if not self.is_gradual:
            return self._steps(self.lengths)
        hours = np.arange(self.scrapes) / _SCRAPES_PER_HOUR
        return np.interp(hours, [hour for hour, _ in self.lengths], [length for _, length in self.lengths])

    def step_seconds(self, mode: Mode, running: Floats) -> Floats:
        """Of an engine with so many users."""
        step = STEP_TIME.off if mode is Mode.OFF else STEP_TIME.draft
        return self._steps(self.slowness) * step(running, CONTEXT_TOKENS)

    def tokens(self, mode: Mode, pods_up: Floats) -> Floats:
        """Per scrape interval, of all replicas that are up; they carry the users of all."""
        step = self.step_seconds(mode, self.running * REPLICAS / pods_up)
        per_step = 1.0 if mode is Mode.OFF else self.acceptance_length
        return REPLICAS * self.running * SCRAPE_SECONDS * per_step / step


_RETRY = {"retry": {"after": "1h", "maxAttempts": 3}}

REGIMES = (
    Regime("gains 1.45", 8),
    Regime("gains 1.05", 8, lengths=((0, 1.75),)),
    Regime("loses 3 % all day", 8, lengths=((0, 1.62),)),
    Regime("loses 20 % all day", 8, lengths=((0, 1.33),)),
    Regime("collapse after 2 h", 8, lengths=((0, 2.394), (2, 1.05))),
    Regime("dip of 20 min", 8, lengths=((0, 2.394), (2, 1.05), (2.33, 2.394)), guard=_RETRY),
    Regime("load 8 -> 128", 8, users=((0, 8), (2, 128)), lengths=((0, 1.9),)),
    Regime("load 8 -> 128 -> 8", 8, users=((0, 8), (2, 128), (4, 8)), lengths=((0, 1.9),), guard=_RETRY),
    Regime("load between bands", 8, users=((0, 8), (2, 92)), lengths=((0, 1.8),)),
    Regime("decay over 6 h", 8, lengths=((0, 2.394), (1, 2.394), (7, 1.1)), is_gradual=True),
    Regime("everything 1.7 times slower", 8, slowness=((0, 1), (2, 1.7))),
    Regime("content 2.4 -> 1.9 -> 2.4", 8, lengths=((0, 2.394), (2, 1.9), (5, 2.394))),
)


@dataclass(frozen=True)
class Outcome:
    """Of one regime."""

    name: str
    of_best_fixed: float
    """Tokens, over those of the better of always on and always off."""
    best_fixed: Mode
    worst_hour: float
    """Tokens in the worst hour, wherever it begins, over those of plain decoding."""
    worst_hour_of_restarts: float
    """The same had each step been taken the moment speculation stopped paying: what restarts cost by themselves."""
    moves: tuple[str, ...]
    """What happened, in hours."""


def _course(regime: Regime, kind: Kind, mode: Mode) -> Course:
    course = steady(kind, 0.0, regime.scrapes)
    is_on = np.full(regime.scrapes, mode is not Mode.OFF)
    step = regime.step_seconds(mode, regime.running)
    healthy = kind.published.acceptance_length
    accepting = (regime.acceptance_length - 1) / (healthy - 1)
    return replace(course, accepting=accepting, step_seconds=step, speculates=is_on)


def play(regime: Regime, seed: int) -> Played:
    """The regime through the judge."""
    users = regime.running.astype(np.intp)
    tapes = {
        mode: [
            tape_of(simulate(_course(regime, _KIND, mode), seed + 2 * pod + (mode is Mode.OFF), users), mode)
            for pod in range(REPLICAS)
        ]
        for mode in (Mode.DRAFT, Mode.OFF)
    }
    timing = Timing.drawn(np.random.default_rng(seed))
    return Deployment(tapes, timing, guard=regime.guard).play()


def _worst_hour(got: Floats, plain: Floats) -> float:
    hour = np.ones(_SCRAPES_PER_HOUR)
    return float((np.convolve(got, hour, "valid") / np.convolve(plain, hour, "valid")).min())


def outcome(regime: Regime, seed: int) -> Outcome:
    """Tokens of the guarded deployment beside those of both fixed settings."""
    played = play(regime, seed)
    ticks = len(played.modes)
    everybody, up = np.full(regime.scrapes, float(REPLICAS)), np.full(regime.scrapes, float(REPLICAS))
    up[:ticks] = played.pods_up
    is_off = np.zeros(regime.scrapes, dtype=np.bool_)
    is_off[:ticks] = [mode is Mode.OFF for mode in played.modes]
    is_off[ticks:] = is_off[ticks - 1]
    got = np.where(is_off, regime.tokens(Mode.OFF, up), regime.tokens(Mode.DRAFT, up))
    plain, drafted = regime.tokens(Mode.OFF, everybody), regime.tokens(Mode.DRAFT, everybody)
    at_once = np.where((up == REPLICAS) & ~is_off, np.maximum(got, plain), got)
    best = Mode.DRAFT if drafted.sum() >= plain.sum() else Mode.OFF
    moves = tuple(f"{move.at / 3600:.2f} h {move.mode} ({move.reason})" for move in played.moves)
    of_best = float(got.sum() / max(plain.sum(), drafted.sum()))
    return Outcome(regime.name, of_best, best, _worst_hour(got, plain), _worst_hour(at_once, plain), moves)
