"""Whether the engine starts at all: judged while a rollout runs, from what the cluster says of the pods.

Only what another mode could cure steps down: a crash loop, or a start that takes longer than its weights can explain.
A missing image, a missing Secret or a full cluster would meet every mode alike: they are reported, and nothing steps.
"""

import json
from datetime import datetime, timedelta

from specdecode.api.status import EvidenceItem, rfc3339
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import PodFact
from specdecode.decide.situation import View
from specdecode.decide.wording import beginning, shortened, span
from specdecode.engine.last_words import cause_of
from specdecode.plan.startup import startup_budget_seconds

MIN_RESTARTS = 3
"""One restart may be chance, or a preemption; the third is a pattern."""

_CRASH_LOOP = "CrashLoopBackOff"
_MEETS_EVERY_MODE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Waiting reasons of the kubelet that come before the first line of the engine."""
_PENDING_GRACE = timedelta(minutes=2)
"""With maxSurge 0 a new pod waits for the GPU of the old one, whose requests may take this long to finish."""
_BOUND_AT_ONCE = timedelta(minutes=1)
_WORDS = 160
"""Characters of the container's last words."""


def _candidates(view: View) -> list[PodFact]:
    """Pods of the judged mode that should serve and do not, oldest first."""
    pods = view.situation.cluster.pods
    waiting = [pod for pod in pods if pod.mode is view.mode and not pod.is_ready and not pod.is_terminating]
    return sorted(waiting, key=lambda pod: pod.created_at)


def _not_ready_since(pod: PodFact) -> datetime:
    return pod.not_ready_since or pod.created_at


def _not_ready_for(view: View, pod: PodFact) -> timedelta:
    return view.situation.now - _not_ready_since(pod)


def _budget(view: View) -> timedelta:
    plan = view.plan.mode(view.mode)
    return timedelta(seconds=startup_budget_seconds(plan.load_bytes if plan else 0))


def _is_crash_looping(view: View, pod: PodFact) -> bool:
    """Three restarts, the last of them not just now: a pod that served for weeks may crash once without meaning it."""
    is_steady = _not_ready_for(view, pod).total_seconds() >= view.situation.fast_window_seconds
    return pod.waiting_reason == _CRASH_LOOP and pod.restarts >= MIN_RESTARTS and is_steady


def _is_overdue(view: View, pod: PodFact) -> bool:
    """The Deployment's own deadline also runs while a pod waits for a node, so it speaks only of pods that did not."""
    if pod.waiting_reason not in ("", _CRASH_LOOP):
        return False  # for example Evicted: a pod that is over, not one that starts
    if _not_ready_for(view, pod) > _budget(view):
        return True
    child = view.situation.cluster.child
    is_current = child is not None and child.observed_generation >= child.generation
    is_deadline_over = child is not None and is_current and child.progress_deadline_exceeded
    return is_deadline_over and _not_ready_since(pod) - pod.created_at < _BOUND_AT_ONCE


def _last_words(pod: PodFact) -> str:
    cause = cause_of(pod.message)
    words = shortened(pod.message, _WORDS) if cause is None else beginning(cause, _WORDS)
    return f", last words {json.dumps(words, ensure_ascii=False)}" if words else ""


def _lighter(view: View) -> Mode | None:
    """The next mode that fits and leaves at least as much memory to the KV cache: a heavier one fails the same way."""
    plan = view.plan.mode(view.mode)
    if plan is None:
        return view.down
    rungs = (view.plan.mode(mode) for mode in view.below)
    return next(
        (rung.mode for rung in rungs if rung and rung.kv_cache_bytes_per_gpu >= plan.kv_cache_bytes_per_gpu), None
    )


def _stepping(view: View, pod: PodFact) -> Finding | None:
    restarts = EvidenceItem(name="restarts", value=str(pod.restarts), limit=str(MIN_RESTARTS))
    if _is_crash_looping(view, pod):
        what = f"the engine of {view.mode} does not start: {pod.name} restarted {pod.restarts} times{_last_words(pod)}"
        return view.step(Reason.ENGINE_NOT_STARTING, what, _lighter(view), (restarts,))
    if _is_overdue(view, pod):
        budget = span(_budget(view).total_seconds())
        since = rfc3339(_not_ready_since(pod))
        what = f"the engine of {view.mode} does not start: {pod.name} is not ready since {since}{_last_words(pod)}"
        evidence = (EvidenceItem(name="notReadySince", value=since, limit=budget), restarts)
        return view.step(Reason.ENGINE_NOT_STARTING, what, _lighter(view), evidence)
    return None


def _reported(view: View, pod: PodFact) -> Finding | None:
    """What every mode would meet."""
    if pod.waiting_reason in _MEETS_EVERY_MODE:
        what = f"{pod.name} waits with {pod.waiting_reason}"
    elif pod.is_pending and view.situation.now - pod.created_at >= _PENDING_GRACE:
        what = f"{pod.name} was not given a node since {rfc3339(pod.created_at)}"
    else:
        return None
    message = f"{what}{_last_words(pod)}: every mode would meet the same, so nothing is changed; it needs a person"
    return Finding(Reason.ENGINE_NOT_STARTING, message)


def engine_not_starting(view: View) -> Finding | None:
    """Pods of the judged mode that crash or outlive their start-up budget; or that cannot even be started."""
    child = view.situation.cluster.child
    if child is not None and child.is_rolled_out:
        return None
    pods = _candidates(view)
    meets_every_mode = [pod for pod in pods if pod.is_pending or pod.waiting_reason in _MEETS_EVERY_MODE]
    stepping = (_stepping(view, pod) for pod in pods if pod not in meets_every_mode)
    reported = (_reported(view, pod) for pod in meets_every_mode)
    return next((finding for finding in (*stepping, *reported) if finding is not None), None)
