"""The detectors of production on simulated counters: what they say of healthy days, and how soon they see a fault.

A watch is a frozen value: it is grown on healthy traffic once, and every fault branches off from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from specdecode.decide.detect import EMPTY_WATCH, Watch, signals, watched
from specdecode.decide.facts import Batch, Change, Signals

from .world import SCRAPE_SECONDS, Increments

DAYS_PER_FALSE_STEP = 30
"""The default of the guard."""
SIGNALS: tuple[str, ...] = ("acceptance_fall", "acceptance_rise", "tpot_rise", "decay")


def batches(increments: Increments, start: float = 0.0) -> Iterator[Batch]:
    """One per scrape, as a track makes them of one pod."""
    counted = zip(
        increments.drafts.tolist(),
        increments.accepted_tokens.tolist(),
        increments.generation_tokens.tolist(),
        increments.requests.tolist(),
        increments.step_seconds_sum.tolist(),
        increments.step_count.tolist(),
        increments.tpot_sum.tolist(),
        increments.running.tolist(),
        strict=True,
    )
    draft_length = 3
    for place, (drafts, accepted, generated, requests, step_sum, steps, tpot_sum, running) in enumerate(counted):
        yield Batch(
            at=start + (place + 1) * SCRAPE_SECONDS,
            seconds=SCRAPE_SECONDS,
            drafts=drafts,
            draft_tokens=draft_length * drafts,
            accepted_tokens=accepted,
            generation_tokens=generated,
            requests=requests,
            step_seconds_sum=step_sum,
            step_count=steps,
            tpot_seconds_sum=tpot_sum,
            tpot_count=requests,
            running_requests=running,
        )


def grown(watch: Watch, batch: Batch) -> Watch:
    """The watch after one more batch."""
    return watched(watch, batch, days_per_false_step=DAYS_PER_FALSE_STEP, scrape_interval_seconds=SCRAPE_SECONDS)


def certain(said: Signals, name: str) -> bool:
    """Whether a signal is certain."""
    change: Change | None = getattr(said, name)
    return change is not None and change.is_certain


@dataclass(frozen=True)
class Alarms:
    """Of healthy traffic: scrapes at which a signal became certain, by signal."""

    scrapes: dict[str, list[int]]
    watch: Watch
    """After the last of them."""


def watch_over(increments: Increments, watch: Watch = EMPTY_WATCH) -> Alarms:
    """Every scrape, in order."""
    alarms: dict[str, list[int]] = {name: [] for name in SIGNALS}
    was = dict.fromkeys(SIGNALS, False)
    for scrape, batch in enumerate(batches(increments)):
        watch = grown(watch, batch)
        said = signals(watch)
        for name in SIGNALS:
            is_certain = certain(said, name)
            if is_certain and not was[name]:
                alarms[name].append(scrape)
            was[name] = is_certain
    return Alarms(alarms, watch)


def first_certain(watch: Watch, increments: Increments, start: float, name: str) -> int | None:
    """The first scrape at which a signal is certain; None: none of these."""
    for scrape, batch in enumerate(batches(increments, start)):
        watch = grown(watch, batch)
        if certain(signals(watch), name):
            return scrape
    return None
