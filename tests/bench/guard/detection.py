"""Detectors and rivals on the same counters: false alarms of healthy days, and delays after faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specdecode.decide.detect import EMPTY_WATCH, Watch, signals

from .rivals import RIVALS, Delays
from .traffic import KINDS, Kind
from .watching import SIGNALS, batches, certain, first_certain, grown, watch_over
from .world import SCRAPE_SECONDS, SCRAPES_PER_DAY, Course, accepting_for, simulate, steady, with_fault

RATES_PER_SECOND = (1.0, 0.2)
_DAYS_AT_ONCE = 10
_WARM_SCRAPES = SCRAPES_PER_DAY
_SNAPSHOTS = 20
_LONGEST_LEAD = 40
"""Scrapes before a fault: rules with fixed windows start anywhere."""
GUARD = "guard"


@dataclass(frozen=True)
class Traffic:
    """One kind at one rate."""

    kind: Kind
    per_second: float

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.kind.name} {self.per_second:g}/s"

    def seed(self, *salt: int) -> int:
        """Different for everything that is drawn, and the same at every run."""
        return int(
            np.random.SeedSequence([KINDS.index(self.kind), int(10 * self.per_second), *salt]).generate_state(1)[0]
        )


TRAFFIC = tuple(Traffic(kind, rate) for rate in RATES_PER_SECOND for kind in KINDS)


@dataclass(frozen=True)
class FalseAlarms:
    """Of healthy days."""

    traffic: str
    days: float
    by_signal: Mapping[str, int]
    """Of the detectors."""
    by_rule: Mapping[str, int]
    """Of the rivals."""

    def per_month(self, name: str) -> float:
        """In 30 deployment-days."""
        counted = {**self.by_signal, **self.by_rule}
        return 30 * counted[name] / self.days


def false_alarms(traffic: Traffic, days: int) -> FalseAlarms:
    """Every alarm is false: nothing happens."""
    by_signal, by_rule = dict.fromkeys(SIGNALS, 0), dict.fromkeys(RIVALS, 0)
    watch, left = EMPTY_WATCH, days
    length = traffic.kind.published.acceptance_length
    while left > 0:
        some = min(left, _DAYS_AT_ONCE)
        increments = simulate(steady(traffic.kind, traffic.per_second, some * SCRAPES_PER_DAY), traffic.seed(1, left))
        alarms = watch_over(increments, watch)
        watch, left = alarms.watch, left - some
        for name, scrapes in alarms.scrapes.items():
            by_signal[name] += len(scrapes)
        for name, rule in RIVALS.items():
            by_rule[name] += len(rule(increments, length))
    return FalseAlarms(traffic.name, days, by_signal, by_rule)


@dataclass(frozen=True)
class Fault:
    """Something that happens to acceptance at once."""

    name: str
    length_ratio: float = 1.0
    """Times the acceptance length."""
    length: float | None = None
    """Or the acceptance length itself."""
    horizon_hours: float = 3.0
    slowness: float = 1.0
    """Times every step."""
    signal: str = "acceptance_fall"
    """Where it shows."""

    def accepting(self, kind: Kind) -> float:
        """What accepted tokens are multiplied by."""
        ratio = self.length_ratio if self.length is None else self.length / kind.published.acceptance_length
        return accepting_for(kind, ratio)


COLLAPSE = Fault("collapse to 1.05", length=1.05, horizon_hours=1.0)
FIFTH = Fault("-20 %", length_ratio=0.8)
TENTH = Fault("-10 %", length_ratio=0.9, horizon_hours=6.0)
SLOWER = Fault("steps of 15 ms instead of 9.3", horizon_hours=1.0, slowness=15 / 9.3, signal="tpot_rise")
"""61 %, of which the P99 of vLLM's histogram shows nothing below 10 ms."""


def warmed(traffic: Traffic, salt: int = 0) -> tuple[Watch, ...]:
    """Watches at moments of a healthy day, the first after two hours."""
    increments = simulate(steady(traffic.kind, traffic.per_second, _WARM_SCRAPES), traffic.seed(2, salt))
    wanted = set(np.linspace(480, _WARM_SCRAPES - 1, _SNAPSHOTS).astype(int).tolist())
    watch, found = EMPTY_WATCH, []
    for scrape, batch in enumerate(batches(increments, -_WARM_SCRAPES * SCRAPE_SECONDS)):
        watch = grown(watch, batch)
        if scrape in wanted:
            found.append(watch)
    return tuple(found)


def _faulty(traffic: Traffic, fault: Fault, rng: np.random.Generator) -> tuple[Course, float]:
    lead = int(rng.integers(_LONGEST_LEAD // 2, _LONGEST_LEAD))
    at_seconds = (lead + rng.random()) * SCRAPE_SECONDS
    scrapes = lead + int(fault.horizon_hours * 3600 / SCRAPE_SECONDS)
    course = steady(traffic.kind, traffic.per_second, scrapes)
    return with_fault(course, at_seconds, fault.accepting(traffic.kind), fault.slowness), at_seconds


def _delay(scrape: int | None, at_seconds: float, rng: np.random.Generator) -> float | None:
    """From the fault to the operator's first look after a scrape; None: not seen."""
    if scrape is None:
        return None
    return (scrape + 1) * SCRAPE_SECONDS - at_seconds + SCRAPE_SECONDS * rng.random()


def _collected(seconds: Sequence[float | None]) -> Delays:
    seen = [delay for delay in seconds if delay is not None]
    return Delays(tuple(seen), len(seconds) - len(seen))


def delays(traffic: Traffic, fault: Fault, faults: int) -> dict[str, Delays]:
    """By rule; the guard is its detector of falling acceptance. Faults begin anywhere between two scrapes."""
    rng = np.random.default_rng(traffic.seed(3, int(1000 * fault.accepting(traffic.kind) * fault.slowness)))
    watches = [watch for watch in warmed(traffic) if not certain(signals(watch), fault.signal)]
    found: dict[str, list[float | None]] = {name: [] for name in (GUARD, *RIVALS)}
    length = traffic.kind.published.acceptance_length
    for place in range(faults):
        course, at_seconds = _faulty(traffic, fault, rng)
        increments = simulate(course, int(rng.integers(2**31)))
        first = int(at_seconds / SCRAPE_SECONDS)
        scrape = first_certain(watches[place % len(watches)], increments, 0.0, fault.signal)
        # What was certain before the fault is a false alarm, and counted as one elsewhere.
        if scrape is None or scrape >= first:
            found[GUARD].append(_delay(scrape, at_seconds, rng))
        for name, rule in RIVALS.items():
            after = [int(last) for last in rule(increments, length) if last >= first]
            found[name].append(_delay(next(iter(after), None), at_seconds, rng))
    return {name: _collected(seconds) for name, seconds in found.items()}
