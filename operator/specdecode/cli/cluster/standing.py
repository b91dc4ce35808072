"""How a deployment stands: one word, why, what comes, and what to do. An ordered tuple of small questions; the first
that answers is the answer, so what overrules everything else stands first.
"""

from collections.abc import Callable

from specdecode.api.status import ConditionStatus, ConditionType, Helped, RollbackStatus
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE, Mode
from specdecode.cli.cluster.answer import Mood, Standing, Todo
from specdecode.cli.cluster.coming import Coming, after_a_step, judged_from, unmeasured, watching
from specdecode.cli.cluster.subject import Subject
from specdecode.cli.cluster.words import dated
from specdecode.decide.breaker import HELD
from specdecode.decide.decision import Reason

SPECULATION, PLANNED, STALLED = ConditionType.SPECULATION_ACTIVE, ConditionType.PLANNED, ConditionType.STALLED


def _explain(subject: Subject) -> Todo:
    return Todo("every rule with what it saw", subject.command("explain"))


def _describe(subject: Subject) -> Todo:
    return Todo("what the cluster says of the pods", subject.kubectl("describe", f"deployment/{subject.metadata.name}"))


def _logs(subject: Subject) -> Todo:
    words = ("logs", f"--selector=specdecode.io/deployment={subject.metadata.name}", "--prefix", "--tail=50")
    return Todo("the engine's own words", subject.kubectl(*words))


def _not_seen(subject: Subject) -> Standing | None:
    if subject.is_seen:
        return None
    is_new = subject.status.observed_generation is None
    what = "no operator has looked at it yet" if is_new else "the operator has not looked at the newest spec yet"
    return Standing(
        "NotSeen" if is_new else "Outdated",
        Mood.WATCH,
        what if is_new else f"{what}; below is what it said of the one before",
        "it looks within a second when it runs, may see this namespace, and is not itself waiting for the API server",
        (Coming("the operator looks at it"),),
        (
            Todo(
                "whether the operator runs",
                subject.everywhere("get", "pods", "-A", "-l", "app.kubernetes.io/name=specdecode-operator"),
            ),
        ),
    )


def _paused(subject: Subject) -> Standing | None:
    if not subject.is_paused:
        return None
    return Standing(
        "Paused",
        Mood.WATCH,
        f"paused: {subject.status.mode or 'what runs'} stays and nothing is changed",
        "a person set specdecode.io/paused; nothing is judged or applied while it is there",
        (Coming("nothing, until it is resumed"),),
        (Todo("let the guard work again", subject.command("resume")),),
    )


def _refused(subject: Subject) -> Standing | None:
    planned = subject.condition(PLANNED)
    if planned is None or planned.status is ConditionStatus.TRUE:
        return None
    # Of what runs, not of what is asked for: the old spec's mode, or nothing at all.
    is_serving = subject.has(ConditionType.READY)
    runs = f"{subject.status.mode} of the spec before keeps serving" if is_serving else "nothing serves"
    if planned.status is ConditionStatus.UNKNOWN:
        waits = (Coming("the model is looked up by itself; the deployment goes on as soon as it is known"),)
        return Standing("LookingUp", Mood.WATCH, f"the model is being looked up; {runs}", planned.message, waits)
    verb = "does not fit" if planned.reason == "DoesNotFit" else "is refused"
    return Standing(
        planned.reason,
        Mood.BAD,
        f"the spec {verb}; {runs}",
        planned.message,
        (Coming("nothing, until the spec changes"),),
        (
            Todo("try a change before applying it", f"{subject.caller.program} plan -f FILE"),
            Todo("what a change does to what runs", f"{subject.caller.program} diff -f FILE{subject.caller.options}"),
        ),
    )


def _stalled(subject: Subject) -> Standing | None:
    if not subject.has(STALLED):
        return None
    reason = subject.reason(STALLED)
    is_engine = reason == Reason.ENGINE_NOT_STARTING
    return Standing(
        reason,
        Mood.BAD,
        f"{subject.status.mode or 'the engine'} does not get up, and the operator can do nothing more about it",
        subject.message(STALLED),
        (Coming("it goes on by itself as soon as the cause is gone" if is_engine else "nothing, until a person acts"),),
        (_describe(subject), _logs(subject)) if is_engine else (_explain(subject),),
    )


def _is_forced(subject: Subject) -> bool:
    # While a step down is in force too, the condition tells of that one.
    decision = subject.status.decision
    return Reason.FORCED in (subject.reason(SPECULATION), "" if decision is None else decision.reason)


def _forced(subject: Subject) -> Standing | None:
    if not subject.forced_mode or not _is_forced(subject):
        return None
    return Standing(
        "Forced",
        Mood.WATCH,
        f"{subject.forced_mode} runs because a person forced it",
        f"{ANNOTATION_FORCE_MODE} is {subject.forced_mode}; nothing is judged while it is there",
        (Coming("nothing, until the force is cleared"),),
        (Todo("let the guard work again", subject.command("force", "--clear")),),
    )


def _retry_pending(subject: Subject) -> Standing | None:
    latch = subject.latch
    if not subject.pending_retry or latch is None:
        return None
    return Standing(
        "RetryPending",
        Mood.WATCH,
        f"a retry was asked for: {subject.requested_mode} replaces {latch.to} at the operator's next visit",
        f"rolled back for {latch.reason} {dated(latch.at, subject.now)}: {latch.message}",
        (Coming(f"{subject.requested_mode} is rolled out, usually within a minute, and judged one window later"),),
        (Todo("watch it", subject.command("status", "--watch")),),
    )


def _held(subject: Subject) -> Standing | None:
    reason = subject.reason(SPECULATION)
    if reason not in HELD:
        return None
    is_shared = reason == Reason.CIRCUIT_BREAKER_OPEN
    cause = "so many deployments want to step down that the cause is probably shared"
    limit = "its namespace has used up its steps for ten minutes"
    comes = "nothing, until it no longer wants to step, or a person forces a mode" if is_shared else "it may step later"
    return Standing(
        reason,
        Mood.BAD if is_shared else Mood.WATCH,
        f"{subject.status.mode} stays although a rule would leave it: {cause if is_shared else limit}",
        subject.message(SPECULATION),
        (Coming(comes),),
        (
            Todo("how the others stand", f"{subject.caller.program} status -A{subject.caller.options}"),
            Todo("turn this one off all the same", subject.command("force", "Off")),
        ),
    )


def _recommended(subject: Subject) -> Standing | None:
    if subject.reason(SPECULATION) != Reason.STEP_DOWN_RECOMMENDED:
        return None
    newest = next(iter(subject.status.history), None)
    mode = str(newest.to) if newest is not None and newest.action == "Recommended" else "MODE"
    return Standing(
        "Recommended",
        Mood.WATCH,
        f"{subject.status.mode} runs on; the guard would leave it and may not",
        subject.message(SPECULATION),
        (Coming("nothing: guard.action is Recommend"),),
        (_explain(subject), Todo("follow the advice by hand", subject.command("force", mode))),
    )


def _outcome(latch: RollbackStatus) -> str:
    before, after = latch.before, latch.after
    if latch.helped is Helped.UNKNOWN:
        return (
            "whether it helped is not known yet" if before else "whether it helped cannot be known: no load before it"
        )
    numbers = f": mean TPOT {before.tpot_mean} -> {after.tpot_mean} at the same load" if before and after else ""
    return f"it helped{numbers}" if latch.helped is Helped.TRUE else f"it did not help{numbers}"


def _rolled_back(subject: Subject) -> Standing | None:
    latch = subject.latch
    if latch is None:
        return None
    other = "" if latch.helped is not Helped.FALSE else "; look at the engine and its load instead"
    calm = [Todo("nothing has to be done now: it serves")] if subject.has(ConditionType.READY) else []
    todo = [*calm, _explain(subject), Todo(f"try {subject.requested_mode} once more", subject.command("retry"))]
    todo.append(
        Todo("see what another spec would do", f"{subject.caller.program} diff -f FILE{subject.caller.options}")
    )
    return Standing(
        "RolledBack",
        Mood.WATCH,
        f"rolled back from {latch.from_mode} to {latch.to} {dated(latch.at, subject.now)}; {_outcome(latch)}{other}",
        f"{latch.reason}: {latch.message}",
        after_a_step(subject, latch),
        tuple(todo),
    )


def _starting(subject: Subject) -> Standing | None:
    if not subject.has(ConditionType.RECONCILING):
        return None
    return Standing(
        "Starting",
        Mood.WATCH,
        f"{subject.status.mode or 'the engine'} is being rolled out",
        subject.message(ConditionType.RECONCILING),
        watching(subject),
        (Todo("watch it", subject.command("status", "--watch")), _describe(subject)),
    )


def _no_data(subject: Subject) -> Standing | None:
    metrics = unmeasured(subject)
    if metrics is None:
        return None
    is_idle = metrics.reason == "NoTraffic"
    targets = Todo("whether the pods are scraped", subject.kubectl("get", "podmonitors,pods", "--show-labels"))
    return Standing(
        metrics.reason,
        Mood.GOOD if is_idle else Mood.WATCH,
        f"{subject.status.mode} runs; {'nobody asks it anything' if is_idle else 'nothing can be said of it'}",
        f"{metrics.message or metrics.reason}; no data is not bad data, so the mode stays",
        watching(subject),
        () if is_idle else (targets,),
    )


def _qualifying(subject: Subject) -> Standing | None:
    if subject.reason(SPECULATION) != Reason.QUALIFYING:
        return None
    message = subject.message(SPECULATION)
    comes = (Coming(f"{subject.requested_mode} runs and is held against it as soon as enough was seen"),)
    return Standing("Qualifying", Mood.GOOD, f"{subject.status.mode} runs first, to be measured", message, comes)


def _settling(subject: Subject) -> Standing | None:
    moment = judged_from(subject)
    if moment is None:
        return None
    wait = f"what was measured before the last change does not count: one window of {subject.guard.window} is needed"
    return Standing(
        "Settling", Mood.GOOD, f"{subject.status.mode} runs and is not fully judged yet", wait, watching(subject)
    )


def _as_requested(subject: Subject) -> Standing:
    is_off = subject.status.mode is Mode.OFF
    return Standing(
        "NotRequested" if is_off else "AsRequested",
        Mood.GOOD,
        "no speculation runs, as the spec asks" if is_off else f"{subject.status.mode} runs as requested",
        "no rule acts",
        watching(subject),
    )


_QUESTIONS: tuple[Callable[[Subject], Standing | None], ...] = (
    _not_seen,
    _paused,
    _refused,
    _stalled,
    _forced,
    _retry_pending,
    _held,
    _recommended,
    _rolled_back,
    _starting,
    _no_data,
    _settling,
    _qualifying,
)


def standing_of(subject: Subject) -> Standing:
    """How it stands."""
    answers = (question(subject) for question in _QUESTIONS)
    return next((answer for answer in answers if answer is not None), None) or _as_requested(subject)
