"""A glance at many deployments at once: a handful of numbers for each, made by Prometheus, in one request. Pure.

A large fleet is mostly at rest. To read every counter and bucket of ten thousand deployments at every tick would cost
more than the rest of the operator together; a glance costs five numbers each. It decides nothing: it only says whom to
look at closely, see `rest`.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.vocabulary import Arm
from specdecode.observe.prometheus import Samples
from specdecode.observe.queries import ARM, DEPLOYMENT, FACT, FAST_WINDOW_SCRAPES, MODE, NAMESPACE, Series

GlanceKey = tuple[str, str, str]
"""Namespace, deployment and mode; of the main arm."""

MAX_LIMITS = 12
"""Different limits that one request asks about. A deployment with another one is looked at closely all the time."""


@dataclass(frozen=True)
class Limit:
    """A limit of the guard as a histogram can answer it: by the first edge at or above it."""

    base: str
    """Name of the histogram, without suffix."""
    edge: float
    """Upper bound of a bucket in seconds, finite."""

    @property
    def fact(self) -> str:
        """What the share of requests above it is called in an answer."""
        return f"{self.base}>{self.edge:g}"


@dataclass(frozen=True, slots=True)
class Glance:
    """One deployment in the mode that runs, over the fast window. NaN: nothing was counted."""

    acceptance_length: float = math.nan
    tpot_seconds: float = math.nan
    running_requests: float = math.nan
    """All pods together, at this moment."""
    pods_up: float = 0.0
    scraped_at: float = math.nan
    """Unix seconds of the newest scrape."""
    over: float = 0.0
    """Highest share of requests above one of the limits that were asked about."""


class _Fact(StrEnum):
    ACCEPTANCE_LENGTH = "acceptance_length"
    TPOT = "tpot_seconds"
    RUNNING = "running_requests"
    UP = "pods_up"
    SCRAPED_AT = "scraped_at"


_BY = f"by ({NAMESPACE},{DEPLOYMENT},{MODE})"


def _selector(series: Series, *more: str) -> str:
    return "{" + ",".join((f"{ARM}={json.dumps(Arm.MAIN)}", *series.matchers, *more)) + "}"


def _rate(names: Iterable[str], selector: str, window: str) -> str:
    """Increase per second of whichever of the names is there, summed over engines and pods."""
    return " or ".join(f"sum {_BY} (rate({name}{selector}[{window}]))" for name in names)


def _edge_matcher(edge: float) -> str:
    """Prometheus 3 writes `1.0` where its predecessors keep what the engine wrote."""
    written = sorted({f"{edge:g}", repr(edge), f"{edge:.1f}" if float(f"{edge:.1f}") == edge else f"{edge:g}"})
    return f"le=~{json.dumps('|'.join(re.escape(text) for text in written))}"


def _labelled(expression: str, fact: str) -> str:
    return f'label_replace({expression},{json.dumps(FACT)},{json.dumps(fact)},"","")'


def glance_query(series: Series, limits: Iterable[Limit], *, scrape_interval_seconds: float) -> str:
    """Everything that a glance is, of every deployment, in one request."""
    selector = _selector(series)
    window = f"{math.ceil(FAST_WINDOW_SCRAPES * scrape_interval_seconds)}s"
    accepted, drafts = (_rate(series.of(name), selector, window) for name in ("accepted_tokens", "drafts"))
    running = series.of("running")
    asked: list[tuple[str, str]] = [
        (_Fact.UP, f"sum {_BY} (up{selector})"),
        *((_Fact.RUNNING, f"sum {_BY} ({name}{selector})") for name in running),
        *((_Fact.SCRAPED_AT, f"max {_BY} (timestamp({name}{selector}))") for name in running),
    ]
    if drafts:
        asked.append((_Fact.ACCEPTANCE_LENGTH, f"1 + ({accepted}) / ({drafts})"))
    for base in series.of("tpot"):
        total, count = (_rate((f"{base}_{part}",), selector, window) for part in ("sum", "count"))
        asked.append((_Fact.TPOT, f"{total} / {count}"))
    for limit in sorted(set(limits), key=lambda each: each.fact):
        within = _rate((f"{limit.base}_bucket",), _selector(series, _edge_matcher(limit.edge)), window)
        asked.append((limit.fact, f"1 - {within} / {_rate((f'{limit.base}_count',), selector, window)}"))
    return " or ".join(_labelled(expression, fact) for fact, expression in asked)


def glances(answer: Samples) -> dict[GlanceKey, Glance]:
    """What the answer says, by deployment and mode."""
    facts: dict[GlanceKey, dict[str, float]] = {}
    for sample in answer.samples:
        labels = sample.labels
        key = labels.get(NAMESPACE, ""), labels.get(DEPLOYMENT, ""), labels.get(MODE, "")
        facts.setdefault(key, {})[labels[FACT]] = sample.value
    return {key: _glance(found) for key, found in facts.items()}


def _glance(found: Mapping[str, float]) -> Glance:
    nan = math.nan
    return Glance(
        found.get(_Fact.ACCEPTANCE_LENGTH, nan),
        found.get(_Fact.TPOT, nan),
        found.get(_Fact.RUNNING, nan),
        found.get(_Fact.UP, 0.0),
        found.get(_Fact.SCRAPED_AT, nan),
        max((value for fact, value in found.items() if ">" in fact), default=0.0),
    )
