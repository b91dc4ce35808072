"""What the operator would have seen at each moment of a history: the mode that ran, and its measurement. Pure."""

from dataclasses import dataclass, replace

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import Arm, Mode
from specdecode.backtest.history import Arrivals, Frame, History
from specdecode.decide.facts import Availability, Measurement
from specdecode.observe.causes import MAX_AGE_SECONDS, Group, why_not
from specdecode.observe.follow import Followed
from specdecode.observe.readings import Pod
from specdecode.observe.subject import subject_of

_ROLLING_SCRAPES = 1.5
"""Pods of another mode that were scraped so short a time ago are still there."""


@dataclass(frozen=True)
class Look:
    """One moment."""

    measurement: Measurement
    mode: Mode | None
    """None: nothing has run yet."""
    is_rolled_out: bool


_NOTHING_YET = Look(Measurement(Availability.NO_DATA, "nothing was scraped yet"), None, is_rolled_out=False)


class _Course:
    """One mode or arm so far."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.since = 0.0
        """Unix seconds since when its pods have been answering without a long pause."""
        self.newest_at = float("-inf")
        self._pods: dict[str, float] = {}

    def take(self, number: int, now: float, max_age_seconds: float) -> Frame:
        """What arrived at a moment; empty when nothing did."""
        frame = self.arrivals.frames.get(number)
        if not frame:
            return {}
        if now - self.newest_at > max_age_seconds:
            self.since = now
        for instance, reading in frame.items():
            self._pods[instance] = reading.at
            self.newest_at = max(self.newest_at, reading.at)
        return frame

    def pods_up(self, oldest: float) -> int:
        """Pods that were scraped since `oldest`."""
        if min(self._pods.values()) < oldest:
            self._pods = {instance: at for instance, at in self._pods.items() if at >= oldest}
        return len(self._pods)


class Eyes:
    """Look at every moment, in order."""

    def __init__(self, history: History) -> None:
        self._history = history
        interval = history.scrape_interval_seconds
        self._interval_seconds = interval
        self._max_age_seconds = max(MAX_AGE_SECONDS, 3 * interval)
        courses = {place: _Course(arrivals) for place, arrivals in history.arrivals.items()}
        self._mains = {mode: course for (mode, arm), course in courses.items() if arm is Arm.MAIN}
        self._control = courses.get((Mode.OFF, Arm.CONTROL))
        self._mode: Mode | None = None
        self._followed: Followed | None = None
        self._resource: SpecDecodeDeployment | None = None

    def look(self, number: int, now: float, resource: SpecDecodeDeployment) -> Look:
        """What is seen at a moment, by its number and in Unix seconds; `resource.status` is the newest one."""
        frames = {mode: course.take(number, now, self._max_age_seconds) for mode, course in self._mains.items()}
        mode = self._running(now)
        if mode is None:
            return _NOTHING_YET
        followed = self._follow(mode, resource)
        course = self._mains[mode]
        if frames[mode]:
            followed.take(Arm.MAIN, course.arrivals.layout, frames[mode], now)
        measurement = self._measured(followed, course, now)
        if self._control is not None and followed.subject.control_names is not None:
            measurement = replace(measurement, control=self._seen_beside(self._control, followed, number, now))
        return Look(measurement, mode, is_rolled_out=self._is_alone(mode, now))

    def _running(self, now: float) -> Mode | None:
        """The mode whose pods came last, of those that answer; while none does, the one that ran."""
        answering = [mode for mode, course in self._mains.items() if now - course.newest_at <= self._max_age_seconds]
        return max(answering, key=lambda mode: self._mains[mode].since, default=self._mode)

    def _is_alone(self, mode: Mode, now: float) -> bool:
        recent = now - _ROLLING_SCRAPES * self._interval_seconds
        return not any(course.newest_at > recent for other, course in self._mains.items() if other is not mode)

    def _follow(self, mode: Mode, resource: SpecDecodeDeployment) -> Followed:
        if self._followed is None or mode is not self._mode:
            self._mode, self._resource = mode, resource
            subject = subject_of(resource, mode, self._history.version)
            self._followed = Followed(subject, self._interval_seconds)
        elif resource is not self._resource:
            self._resource = resource
            self._followed.subject = subject_of(resource, mode, self._history.version)
        return self._followed

    def _measured(self, followed: Followed, course: _Course, now: float) -> Measurement:
        why = self._why_not(followed, course, now)
        if why is not None:
            return Measurement(Availability.NO_DATA, why, followed.subject.mode)
        return followed.measurement(
            now, pods_up=course.pods_up(now - self._max_age_seconds), age_seconds=now - course.newest_at
        )

    def _seen_beside(self, course: _Course, followed: Followed, number: int, now: float) -> Measurement:
        """The control arm."""
        frame = course.take(number, now, self._max_age_seconds)
        if frame:
            followed.take(Arm.CONTROL, course.arrivals.layout, frame, now)
        why = self._why_not(followed, course, now)
        if why is not None:
            return Measurement(Availability.NO_DATA, why, Mode.OFF, Arm.CONTROL)
        return followed.control(
            now, pods_up=course.pods_up(now - self._max_age_seconds), age_seconds=now - course.newest_at
        )

    def _why_not(self, followed: Followed, course: _Course, now: float) -> str | None:
        if now - course.newest_at <= self._max_age_seconds:
            return None
        group = Group(targets=1.0, up=1.0, pods={"": Pod(course.newest_at)})
        return why_not(group, followed.subject.metric_names, now, self._interval_seconds)
