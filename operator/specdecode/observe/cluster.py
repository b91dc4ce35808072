"""What the cluster says, read from the bodies of the owned Deployment and its pods. Pure; it reads no API.

Only what the judgement needs is kept. A body that lacks a part, as a pod does before the kubelet has seen it, reads as
"nothing yet", never as bad.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from specdecode.api.resource import Metadata
from specdecode.api.vocabulary import (
    ANNOTATION_INTENT_HASH,
    ANNOTATION_MODE,
    ANNOTATION_REASON,
    ANNOTATION_ROLLED_BACK_FOR,
    ANNOTATION_ROLLED_BACK_FROM,
    ANNOTATION_SPEC_HASH,
    GROUP,
    KIND,
    LABEL_MODE,
    Mode,
)
from specdecode.decide.facts import Child, PodFact
from specdecode.manifests.names import CONTAINER

Body = Mapping[str, Any]

_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")

# A container that is about to start; everything else that waits waits for a reason.
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


def _mode(text: str | None) -> Mode | None:
    """A word that is no mode was written by a newer operator, or by hand: unknown, not an error."""
    return Mode(text) if text in set(Mode) else None


def _reason(text: str) -> str:
    """Of a rollback. What is no word of ours was written by somebody else."""
    return text if _REASON.fullmatch(text) else ""


def _condition(conditions: Iterable[Body] | None, kind: str) -> Body:
    return next((condition for condition in conditions or () if condition.get("type") == kind), {})


def is_controlled_by(metadata: Body, uid: str) -> bool:
    """Whether the controller of the object with that metadata is the one with that uid."""
    references = metadata.get("ownerReferences") or ()
    return bool(uid) and any(owner.get("controller") and owner.get("uid") == uid for owner in references)


def is_left_behind(metadata: Body, owner: Metadata) -> bool:
    """Whether the object with that metadata belongs to a deleted resource of the name of `owner`.

    Two resources of one name cannot exist: a controller of our kind and that name with another uid is gone.
    """
    return any(
        reference.get("controller")
        and reference["kind"] == KIND
        and reference["apiVersion"].partition("/")[0] == GROUP
        and reference["name"] == owner.name
        and reference["uid"] != owner.uid
        for reference in metadata.get("ownerReferences") or ()
    )


def pods_of(deployment: Body | None, pods: Iterable[PodFact]) -> tuple[PodFact, ...]:
    """The pods without those that are older than their Deployment: they were made by one of the same name before it,
    and the garbage collector has not come to them yet.
    """
    made_at = None if deployment is None else deployment["metadata"].get("creationTimestamp")
    if made_at is None:
        return tuple(pods)
    return tuple(pod for pod in pods if pod.created_at >= datetime.fromisoformat(made_at))


def child_of(deployment: Body, owner_uid: str) -> Child:
    """The Deployment as the judgement sees it. `owner_uid` is the uid of the resource it should belong to."""
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    annotations = metadata.get("annotations") or {}
    progressing = _condition(status.get("conditions"), "Progressing")
    return Child(
        uid=metadata["uid"],
        is_ours=is_controlled_by(metadata, owner_uid),
        generation=metadata["generation"],
        observed_generation=status.get("observedGeneration", 0),
        desired_replicas=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated_replicas=status.get("updatedReplicas", 0),
        ready_replicas=status.get("readyReplicas", 0),
        available_replicas=status.get("availableReplicas", 0),
        mode=_mode(annotations.get(ANNOTATION_MODE)),
        spec_hash=annotations.get(ANNOTATION_SPEC_HASH, ""),
        intent_hash=annotations.get(ANNOTATION_INTENT_HASH, ""),
        rolled_back_for=annotations.get(ANNOTATION_ROLLED_BACK_FOR, ""),
        rolled_back_from=_mode(annotations.get(ANNOTATION_ROLLED_BACK_FROM)),
        reason=_reason(annotations.get(ANNOTATION_REASON, "")),
        progress_deadline_exceeded=progressing.get("reason") == "ProgressDeadlineExceeded",
    )


def _last_words(terminated: Body) -> str:
    """`Error, exit code 1: …`, with what the container said last (terminationMessagePolicy FallbackToLogsOnError)."""
    if not terminated:
        return ""
    how = f"{terminated.get('reason', 'Error')}, exit code {terminated.get('exitCode', 'unknown')}"
    said = (terminated.get("message") or "").strip()
    return f"{how}: {said}" if said else how


def _words_of_the_engine(engine: Body) -> tuple[str, str]:
    """Why the container waits, and what is known. A crash speaks for itself; the back-off after it does not."""
    state, last = engine.get("state") or {}, engine.get("lastState") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    reason = "" if reason in _STARTING else reason
    crash = _last_words(state.get("terminated") or last.get("terminated") or {})
    is_crash = reason in ("", "CrashLoopBackOff")
    return reason, crash if is_crash and crash else waiting.get("message", "")


def _why_not_serving(status: Body, engine: Body, scheduled: Body) -> tuple[str, str]:
    if scheduled.get("status") == "False":
        return scheduled.get("reason", ""), scheduled.get("message", "")
    reason, message = _words_of_the_engine(engine)
    # An evicted pod has no container left to ask.
    return reason or status.get("reason", ""), message or status.get("message", "")


def _not_ready_since(ready: Body) -> datetime | None:
    moment = ready.get("lastTransitionTime")
    return datetime.fromisoformat(moment) if moment and ready["status"] == "False" else None


def pod_fact(pod: Body) -> PodFact:
    """A pod of the engine as the judgement sees it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = status.get("conditions")
    ready = _condition(conditions, "Ready")
    engine: Body = next(
        (container for container in status.get("containerStatuses") or () if container.get("name") == CONTAINER), {}
    )
    reason, message = _why_not_serving(status, engine, _condition(conditions, "PodScheduled"))
    return PodFact(
        name=metadata["name"],
        mode=_mode((metadata.get("labels") or {}).get(LABEL_MODE)),
        is_ready=ready.get("status") == "True",
        is_terminating="deletionTimestamp" in metadata,
        is_pending=not (pod.get("spec") or {}).get("nodeName"),
        restarts=engine.get("restartCount", 0),
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        waiting_reason=reason,
        message=message,
        not_ready_since=_not_ready_since(ready),
    )
