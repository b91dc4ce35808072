"""Requests, and what their drafts accept: heavy-tailed clusters fitted to published moments.

A request has a number of engine steps and an acceptance of its own; its steps scatter around that. Four kinds of
traffic are fitted to what the traces of SpecDecode-Bench (arXiv 2601.11580; Llama-3.1-8B, EAGLE, three draft tokens)
show in the mean: acceptance length, steps per request, the design effect (variance of an acceptance length over
requests / what independent steps would have) as it is and with requests capped at 256 steps, and the P99 of the time
per output token at a step of 9.3 ms. No trace is used: requests are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAFT_LENGTH = 3
"""Draft tokens per step, k."""
CAP_STEPS = 256
"""Where the published design effects cap a request."""
STEP_SECONDS = 9.3e-3
"""Of an 8B target on an H100 with an EAGLE head, few requests at once."""
_SCATTER = 0.53
"""Variance of the tokens one step accepts around its request's mean a is this times a (k - a): the variance of 1.19 to
1.30 that the published sample sizes imply for the sum of both scatters."""


@dataclass(frozen=True)
class Component:
    """Requests of one sort."""

    share: float
    median_steps: float
    spread: float
    """Standard deviation of the logarithm of the steps."""
    most_steps: float
    acceptance_length: float
    """Mean over its requests."""
    deviation: float
    """Standard deviation of it between requests."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        """Steps, and accepted tokens per step, of `count` requests. Lengths are log-normal; acceptances follow a beta
        distribution on 0..k, so that no request accepts less than nothing or more than was drafted.
        """
        drawn = np.exp(self.spread * rng.standard_normal(count)) * self.median_steps
        steps = np.clip(np.round(drawn), 2, self.most_steps)
        mean = (self.acceptance_length - 1) / DRAFT_LENGTH
        weight = mean * (1 - mean) / (self.deviation / DRAFT_LENGTH) ** 2 - 1
        return steps, DRAFT_LENGTH * rng.beta(mean * weight, (1 - mean) * weight, count)


@dataclass(frozen=True)
class Moments:
    """What is published of a trace, or measured of a model."""

    acceptance_length: float
    steps: float
    """Mean per request."""
    design_effect: float
    capped_acceptance_length: float
    capped_steps: float
    capped_design_effect: float
    tpot_p99_ms: float
    """At STEP_SECONDS."""


@dataclass(frozen=True)
class Kind:
    """One kind of traffic."""

    name: str
    components: tuple[Component, ...]
    published: Moments
    """What the components were fitted to."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        """Steps, and mean accepted tokens per step, of `count` requests, in no order."""
        shares = np.array([component.share for component in self.components])
        which = rng.choice(len(shares), size=count, p=shares / shares.sum())
        steps, accepted = np.empty(count), np.empty(count)
        for place, component in enumerate(self.components):
            chosen = which == place
            steps[chosen], accepted[chosen] = component.draw(rng, int(chosen.sum()))
        return steps, accepted

    def with_acceptance_length(self, acceptance_length: float, name: str) -> "Kind":
        """The same requests accepting more or less, as another content or another method would."""
        ratio = (acceptance_length - 1) / (self.published.acceptance_length - 1)
        components = tuple(
            replace(part, acceptance_length=1 + ratio * (part.acceptance_length - 1), deviation=ratio * part.deviation)
            for part in self.components
        )
        moments = replace(self.published, acceptance_length=acceptance_length)
        return Kind(name, components, moments)


def accepted_in(rng: np.random.Generator, steps: Floats, accepted_per_step: Floats) -> Floats:
    """Tokens that so many steps accept, of requests with these means; whole numbers."""
    variance = _SCATTER * accepted_per_step * (DRAFT_LENGTH - accepted_per_step)
    drawn = steps * accepted_per_step + np.sqrt(steps * variance) * rng.standard_normal(steps.shape)
    return np.clip(np.round(drawn), 0, DRAFT_LENGTH * steps)


def _design_effect(steps: Floats, accepted: Floats, means: Floats) -> float:
    mean = accepted.sum() / steps.sum()
    scatter = _SCATTER * means * (DRAFT_LENGTH - means) + (means - mean) ** 2
    per_step = (steps * scatter).sum() / steps.sum()
    return float(np.var(accepted - mean * steps) / steps.mean() / per_step)


def moments_of(kind: Kind, rng: np.random.Generator, count: int) -> Moments:
    """The same moments of the model, from `count` requests."""
    steps, means = kind.draw(rng, count)
    capped = np.minimum(steps, CAP_STEPS)
    accepted, accepted_capped = accepted_in(rng, steps, means), accepted_in(rng, capped, means)
    tpot_ms = 1000 * STEP_SECONDS * steps / (steps + accepted)
    return Moments(
        acceptance_length=float(1 + accepted.sum() / steps.sum()),
        steps=float(steps.mean()),
        design_effect=_design_effect(steps, accepted, means),
        capped_acceptance_length=float(1 + accepted_capped.sum() / capped.sum()),
        capped_steps=float(capped.mean()),
        capped_design_effect=_design_effect(capped, accepted_capped, means),
        tpot_p99_ms=float(np.quantile(tpot_ms, 0.99)),
    )


GSM8K = Kind("GSM8K", (Component(1, 63.7, 0.40, 512, 2.394, 0.122),), Moments(2.394, 69.1, 2.0, 2.394, 69.1, 2.0, 4.72))
CNN = Kind(
    "CNN/DailyMail", (Component(1, 134, 0.25, 256, 2.331, 0.177),), Moments(2.331, 138.2, 4.9, 2.331, 138.2, 4.9, 4.97)
)
SHAREGPT = Kind(
    "ShareGPT",
    (
        Component(0.984, 254, 0.70, 1500, 2.296, 0.265),
        # Answers that the draft hardly knows, as in another language.
        Component(0.015, 254, 0.70, 1500, 1.25, 0.12),
        # Answers that go on to the limit.
        Component(0.001, 5600, 0.30, 8000, 1.32, 0.15),
    ),
    Moments(2.255, 330.3, 112.4, 2.284, 205.2, 17.6, 7.30),
)
INSTRUCTCODER = Kind(
    "InstructCoder",
    (
        Component(0.9842, 54, 0.70, 400, 2.697, 0.225),
        Component(0.0100, 54, 0.70, 400, 1.60, 0.15),
        # One request in 170 loops: a mean of 106 steps where the capped mean is 69, and 6,698 steps published for it.
        Component(0.0058, 6400, 0.15, 8000, 1.70, 0.12),
    ),
    Moments(2.352, 106.4, 783.5, 2.665, 68.8, 10.2, 5.53),
)
KINDS = (GSM8K, CNN, SHAREGPT, INSTRUCTCODER)


def mixed(name: str, parts: Sequence[tuple[float, Kind]]) -> Kind:
    """Several kinds at once, by their shares of the requests; the moments are those of the mean."""
    components = tuple(
        replace(component, share=share * component.share / sum(each.share for each in kind.components))
        for share, kind in parts
        for component in kind.components
    )
    total = sum(share * kind.published.steps for share, kind in parts)
    length = sum(share * kind.published.steps * kind.published.acceptance_length for share, kind in parts) / total
    moments = replace(parts[0][1].published, acceptance_length=length, steps=total / sum(share for share, _ in parts))
    return Kind(name, components, moments)
