"""What others run, on the same counters: rules over fixed windows, beside which the guard is shown.

Each answers with the scrapes at which it would act. All of them know the healthy mean beforehand, as a canary's
baseline would tell it. After an action a rule begins anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .traffic import DRAFT_LENGTH, Floats
from .world import SCRAPE_SECONDS, Increments, Whole

_FAILING = 0.9
"""Part of the baseline under which a window fails."""
_ARGO_SECONDS, _ARGO_FAILURES = 300.0, 4
"""Argo Rollouts' documented example: a measurement every 5 minutes, failureLimit 3; failures accumulate."""
_FLAGGER_SECONDS, _FLAGGER_FAILURES = 60.0, 10
"""Flagger's documented example: interval 1m, threshold 10; failures accumulate."""
_FIXED_RATE, _FIXED_SECONDS = 0.5, 300.0
_Z_ONE_SIDED = 3.0902323061678132
"""Standard normal quantile of 99.9 %."""


def _windows(increments: Increments, seconds: float) -> tuple[Floats, Floats, Whole]:
    """Drafts, accepted tokens and last scrape of consecutive windows."""
    size = int(seconds / SCRAPE_SECONDS)
    count = len(increments.drafts) // size
    drafts = increments.drafts[: count * size].reshape(count, size).sum(axis=1)
    accepted = increments.accepted_tokens[: count * size].reshape(count, size).sum(axis=1)
    return drafts, accepted, (np.arange(count, dtype=np.intp) + 1) * size - 1


def _accumulating(increments: Increments, length: float, seconds: float, failures: int) -> Whole:
    drafts, accepted, last = _windows(increments, seconds)
    fails = (drafts > 0) & (1 + accepted / np.maximum(drafts, 1) < _FAILING * length)
    return last[fails][failures - 1 :: failures]


def argo_like(increments: Increments, length: float) -> Whole:
    """5-minute windows; acts at the 4th whose acceptance length is under 0.9 of the baseline."""
    return _accumulating(increments, length, _ARGO_SECONDS, _ARGO_FAILURES)


def flagger_like(increments: Increments, length: float) -> Whole:
    """1-minute windows; acts at the 10th that fails."""
    return _accumulating(increments, length, _FLAGGER_SECONDS, _FLAGGER_FAILURES)


def fixed_threshold(increments: Increments, _length: float) -> Whole:
    """Acts when one 5-minute window accepts less than half of the draft tokens."""
    drafts, accepted, last = _windows(increments, _FIXED_SECONDS)
    return last[(drafts > 0) & (accepted < _FIXED_RATE * DRAFT_LENGTH * drafts)]


def binomial_test(increments: Increments, length: float) -> Whole:
    """Acts when a 5-minute window lies below the baseline at 0.1 %, as if draft tokens were independent."""
    drafts, accepted, last = _windows(increments, _FIXED_SECONDS)
    rate, tokens = (length - 1) / DRAFT_LENGTH, DRAFT_LENGTH * np.maximum(drafts, 1)
    z: Floats = (accepted / tokens - rate) / np.sqrt(rate * (1 - rate) / tokens)
    is_below: NDArray[np.bool_] = (drafts > 0) & (z < -_Z_ONE_SIDED)
    return last[is_below]


Rule = Callable[[Increments, float], NDArray[np.intp]]
RIVALS: Mapping[str, Rule] = {
    "Argo-like": argo_like,
    "Flagger-like": flagger_like,
    "rate < 50 %": fixed_threshold,
    "binomial 0.1 %": binomial_test,
}


@dataclass(frozen=True)
class Delays:
    """From a fault to the action, over many faults."""

    seconds: tuple[float, ...]
    """Of the faults that were seen."""
    missed: int
    """Not seen within the time that was simulated."""

    @property
    def count(self) -> int:
        """Faults."""
        return len(self.seconds) + self.missed

    def quantile(self, quantile: float) -> float:
        """Of the delays; a fault that was missed took for ever."""
        every = np.sort(np.array([*self.seconds, *[np.inf] * self.missed]))
        return float(every[min(len(every) - 1, int(np.ceil(quantile * len(every))) - 1)]) if len(every) else np.nan
