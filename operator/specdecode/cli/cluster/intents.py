"""What a person may ask of the guard by an annotation, and what follows from it. Said before it is done."""

from collections.abc import Mapping
from dataclasses import dataclass

from specdecode.api.status import rfc3339
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE, ANNOTATION_PAUSED, ANNOTATION_RETRY, Mode
from specdecode.cli.cluster.subject import Subject


@dataclass(frozen=True)
class Intent:
    """Annotations to set, or to take away (None)."""

    annotations: Mapping[str, str | None]
    """Empty: it is so already."""
    sentences: tuple[str, ...]
    """What will happen."""


@dataclass(frozen=True)
class Refusal:
    """Why it makes no sense, and what would."""

    message: str


def _restart(subject: Subject, mode: str) -> str:
    count = subject.status.replicas or 0
    if str(subject.status.mode) == mode:
        return f"{mode} runs already: no pod restarts"
    if count == 0:
        return "no pod runs, so none restarts"
    if count == 1:
        return "the only pod restarts: there is no service until it is ready again"
    return f"{count} pods restart one after the other; the others serve meanwhile"


def _overruled(subject: Subject) -> tuple[str, ...]:
    if subject.is_paused:
        return (f"it is paused, so this takes effect only after: {subject.command('resume')}",)
    if subject.forced_mode:
        return (
            f"{subject.forced_mode} is forced, so this takes effect only after: {subject.command('force', '--clear')}",
        )
    return ()


def retry(subject: Subject) -> Intent | Refusal:
    """Try the requested mode once more."""
    latch = subject.latch
    if latch is None:
        runs = f"{subject.status.mode} runs" if subject.status.mode else "nothing runs"
        return Refusal(f"{subject.metadata.name} is not rolled back: {runs}, and there is nothing to try again")
    wanted = subject.requested_mode
    judged = f"it is judged one window of {subject.guard.window} after the rollout"
    return Intent(
        {ANNOTATION_RETRY: rfc3339(subject.now)},
        (
            f"{wanted} replaces {latch.to} at the operator's next visit; {_restart(subject, str(wanted))}",
            f"{judged}; where nothing changed since {latch.reason}, it is rolled back again",
            *_overruled(subject),
        ),
    )


def pause(subject: Subject) -> Intent | Refusal:
    """Hands off."""
    if subject.is_paused:
        return Intent({}, ("it is paused already",))
    runs = subject.status.mode or "what runs"
    return Intent(
        {ANNOTATION_PAUSED: "true"},
        (f"{runs} stays: nothing is judged, and neither a rule nor a new spec changes anything until it is resumed",),
    )


def resume(subject: Subject) -> Intent | Refusal:
    """Take the pause away."""
    if ANNOTATION_PAUSED not in subject.metadata.annotations:
        return Intent({}, ("it is not paused",))
    still = f"; {subject.forced_mode} stays forced" if subject.forced_mode else ""
    retries = "; the retry that was asked for is done" if subject.pending_retry else ""
    return Intent(
        {ANNOTATION_PAUSED: None},
        (f"the operator applies the spec as it is now, and what the guard decided, and judges again{still}{retries}",),
    )


def _mode_named(text: str) -> Mode | None:
    return next((mode for mode in Mode if mode.lower() == text.lower()), None)


def force(subject: Subject, text: str) -> Intent | Refusal:
    """Run a mode of a person's choice."""
    plan = subject.status.plan
    if plan is None:
        return Refusal(f"{subject.metadata.name} has no plan yet, so nobody knows what fits; see status")
    fitting = [str(each.name) for each in plan.modes if each.fits]
    mode = _mode_named(text)
    rung = next((each for each in plan.modes if each.name is mode), None)
    choices = f"the modes that fit are {', '.join(fitting)}" if fitting else "no mode fits"
    if rung is None:
        return Refusal(f"{text} is not on the ladder of {subject.metadata.name}: {choices}")
    if not rung.fits:
        return Refusal(f"{rung.name} does not fit: short by {rung.short_by or 'memory'} per GPU; {choices}")
    if subject.forced_mode == rung.name:
        return Intent({}, (f"{rung.name} is forced already",))
    clear = subject.command("force", "--clear")
    sentences = [f"{rung.name} runs from the operator's next visit on; {_restart(subject, rung.name)}"]
    sentences.append(f"nothing is judged until the force is cleared: {clear}")
    if subject.is_paused:
        sentences.append(f"it is paused, so this takes effect only after: {subject.command('resume')}")
    return Intent({ANNOTATION_FORCE_MODE: str(rung.name)}, tuple(sentences))


def clear(subject: Subject) -> Intent | Refusal:
    """Take the force away."""
    if not subject.forced_mode:
        return Intent({}, ("no mode is forced",))
    latch = subject.latch
    standing = subject.requested_mode if latch is None or latch.spec_hash != subject.status.spec_hash else latch.to
    return Intent(
        {ANNOTATION_FORCE_MODE: None},
        (f"{standing} runs from the operator's next visit on and is judged; {_restart(subject, str(standing))}",),
    )
