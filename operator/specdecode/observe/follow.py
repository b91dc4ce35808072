"""One deployment in one mode through time: the counters of both arms, and what the detectors made of them. Pure.

Production feeds it with what Prometheus answers, a backtest with history and a simulation with its own; what comes out
is what the judgement looks at.
"""

from collections.abc import Mapping
from typing import Any

from specdecode.api.vocabulary import Arm, Mode
from specdecode.decide import detect
from specdecode.decide.facts import NO_SIGNALS, Availability, Batch, CacheReading, Measurement, Window
from specdecode.decide.wording import span
from specdecode.observe.queries import FAST_WINDOW_SCRAPES
from specdecode.observe.subject import Subject
from specdecode.observe.track import Layout, Reading, Track

INCOMPLETE = "the window holds less than two scrapes, or a part of the counters is missing"
_BEYOND_NUMBERS = (ArithmeticError, ValueError)
"""Counters that no engine writes overflow a statistic, or make it divide by zero. It knows nothing then and begins
anew: the numbers of one deployment must not end the tick of all.
"""
_SPARE_SCRAPES = 4
"""Kept beyond the slow window, so that a lost scrape at its far end costs nothing."""


def _is_idle(window: Window) -> bool:
    return window.running_requests == 0 and window.drafts == 0 and window.requests == 0


class Followed:
    """What is remembered of one subject. `subject` may be replaced by one of the same identity."""

    def __init__(self, subject: Subject, scrape_interval_seconds: float) -> None:
        self.subject = subject
        self._scrape_interval_seconds = scrape_interval_seconds
        self._tracks: dict[Arm, Track] = {}
        self._watch = detect.EMPTY_WATCH

    @property
    def fast_seconds(self) -> float:
        """The fast window."""
        return FAST_WINDOW_SCRAPES * self._scrape_interval_seconds

    @property
    def slow_seconds(self) -> float:
        """`guard.window`; one that holds too few scrapes is lengthened to the fast window."""
        return max(self.subject.window_seconds, self.fast_seconds)

    @property
    def keep_seconds(self) -> float:
        """How far back counters are remembered."""
        return self.slow_seconds + _SPARE_SCRAPES * self._scrape_interval_seconds

    def take(self, arm: Arm, layout: Layout, readings: Mapping[str, Reading], now: float) -> Batch | None:
        """The newest readings of the pods of one arm, by instance, in the order of `layout`. `now` is Unix seconds.

        The detectors see a batch of the main arm when all of it lies in the time that the mode has been settled.
        """
        track = self._tracks.get(arm)
        if track is None:
            track = self._tracks[arm] = Track(layout, self.keep_seconds)
        elif track.layout is not layout and track.layout != layout:
            track.lay_out(layout)
        batch = track.take(readings, now)
        since = self.subject.settled_since
        if batch is not None and arm is Arm.MAIN and since is not None and batch.at - batch.seconds >= since:
            self._watch = self._watched(batch)
        return batch

    def _watched(self, batch: Batch) -> detect.Watch:
        try:
            return detect.watched(
                self._watch,
                batch,
                days_per_false_step=self.subject.days_per_false_step,
                scrape_interval_seconds=self._scrape_interval_seconds,
            )
        except _BEYOND_NUMBERS:
            return detect.EMPTY_WATCH

    def measurement(
        self, now: float, *, pods_up: int, age_seconds: float, cache: CacheReading | None = None
    ) -> Measurement:
        """What was measured of the main arm, at a moment at which its pods answer."""
        track = self._tracks.get(Arm.MAIN)
        return self._of_arm(
            Arm.MAIN,
            self.subject.mode,
            now,
            pods_up=pods_up,
            newest_sample_age_seconds=age_seconds,
            cache=cache,
            signals=NO_SIGNALS if track is None else detect.signals(self._watch),
            temperatures=() if track is None else track.temperatures(self.slow_seconds, now),
        )

    def control(self, now: float, *, pods_up: int, age_seconds: float) -> Measurement:
        """What was measured of the control arm, at a moment at which its pods answer."""
        return self._of_arm(Arm.CONTROL, Mode.OFF, now, pods_up=pods_up, newest_sample_age_seconds=age_seconds)

    def _of_arm(self, arm: Arm, mode: Mode, now: float, **seen: Any) -> Measurement:
        track = self._tracks.get(arm)
        fast = None if track is None else track.window(self.fast_seconds, now)
        slow = None if track is None else track.window(self.slow_seconds, now)
        if track is None or fast is None or slow is None:
            return Measurement(Availability.NO_DATA, INCOMPLETE, mode, arm, **seen)
        batches = track.batches(self.slow_seconds, now)
        is_idle = _is_idle(slow)
        availability = Availability.NO_TRAFFIC if is_idle else Availability.MEASURED
        cause = f"no request ran or finished within {span(slow.seconds)}" if is_idle else ""
        return Measurement(availability, cause, mode, arm, fast, slow, batches=batches, **seen)
