"""What happens next to a deployment, and when. From conditions and the latch alone, as the operator itself does it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from specdecode.api.status import Condition, ConditionStatus, ConditionType, Helped, RollbackStatus
from specdecode.api.vocabulary import Action, Mode
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.cluster.words import ahead
from specdecode.decide.latch import RETRY_WAITS, next_retry
from specdecode.decide.settled import settled_since

_IDLE = "NoTraffic"


@dataclass(frozen=True)
class Coming:
    """One thing that will happen, or that is waited for."""

    text: str
    at: datetime | None = None
    """None: it depends on something else, which the text names."""

    def sentence(self, now: datetime) -> str:
        """With the moment."""
        return self.text if self.at is None else f"{self.text} {ahead(self.at, now)}"


def _rollout(subject: Subject) -> Coming | None:
    rolling = subject.condition(ConditionType.RECONCILING)
    if rolling is None or rolling.status is not ConditionStatus.TRUE:
        return None
    counts = f"{subject.status.ready_replicas or 0} of {subject.status.replicas or 0} pods are ready"
    return Coming(f"the rollout ends: {rolling.message or rolling.reason}, {counts}")


def unmeasured(subject: Subject) -> Condition | None:
    """Why nothing is measured; None: it is."""
    metrics = subject.condition(ConditionType.METRICS_AVAILABLE)
    is_measured = metrics is not None and metrics.status is ConditionStatus.TRUE and metrics.reason != _IDLE
    return None if is_measured else metrics


def _metrics(subject: Subject) -> Coming | None:
    metrics = unmeasured(subject)
    if metrics is None:
        return None
    if metrics.reason == _IDLE:
        return Coming("requests arrive: the engine is scraped and gets none, so there is nothing to judge")
    return Coming(f"metrics arrive: {metrics.message or metrics.reason}; until then nothing changes the mode")


def judged_from(subject: Subject) -> datetime | None:
    """When one whole window lies after the last rollout or outage; None: it does, or something else is waited for."""
    since = settled_since(subject.status)
    if since is None or subject.resource is None:
        return None
    moment = since + timedelta(seconds=subject.resource.window_seconds)
    return moment if moment > subject.now else None


def _settling(subject: Subject) -> Coming | None:
    moment = judged_from(subject)
    if moment is None:
        return None
    return Coming(f"judged by every rule, one window of {subject.guard.window} after the last change,", moment)


def _before_the_judgement(subject: Subject) -> tuple[Coming, ...]:
    """What it waits for; empty: nothing. While a rollout runs the metrics are those of what is going: no wait."""
    waits = (_rollout(subject), _metrics(subject), _settling(subject))
    return tuple(wait for wait in waits if wait is not None)[:1]


def watching(subject: Subject) -> tuple[Coming, ...]:
    """What stands before the next judgement, or that it is judged all the time."""
    if subject.guard.action is Action.RECOMMEND:
        always = Coming("judged at every evaluation; guard.action is Recommend, so nothing is changed")
    elif subject.status.mode is Mode.OFF:
        always = Coming("judged at every evaluation; there is no mode below Off")
    else:
        always = Coming("judged at every evaluation; the mode is left when a rule acts")
    return _before_the_judgement(subject) or (always,)


def _whether_it_helped(subject: Subject, latch: RollbackStatus) -> Iterator[Coming]:
    if latch.helped is not Helped.UNKNOWN or latch.before is None or latch.to is not subject.status.mode:
        return
    load = f"{latch.before.running_requests} running requests per replica"
    moment = judged_from(subject)
    wait = "one window after the rollout" if moment is None else "then"
    yield Coming(f"whether it helped is measured {wait}, as soon as the load is again near {load}")


def _by_itself(subject: Subject, latch: RollbackStatus) -> Coming:
    retry, moment = subject.guard.retry, next_retry(latch, subject.guard.retry)
    if retry is None:
        return Coming(f"{latch.to} stays: guard.retry is not set, so only a new spec or a retry by hand changes it")
    if moment is None:
        used = f"guard.retry.maxAttempts {retry.max_attempts} is used up"
        return Coming(f"{latch.to} stays: {used}, so only a new spec or a retry by hand changes it")
    if moment <= subject.now:
        return Coming(
            f"{RETRY_WAITS}: {subject.requested_mode}, by guard.retry {latch.attempts} of {retry.max_attempts}"
        )
    return Coming(
        f"{subject.requested_mode} is tried again by guard.retry {latch.attempts} of {retry.max_attempts}", moment
    )


def after_a_step(subject: Subject, latch: RollbackStatus) -> tuple[Coming, ...]:
    """What comes while a step down is in force."""
    return (*_before_the_judgement(subject), *_whether_it_helped(subject, latch), _by_itself(subject, latch))
