"""A pod's status as a kubelet writes it, from what its containers do. Pure: no process, no clock, no API."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LAST_WORDS_LINES = 80
LAST_WORDS_BYTES = 2048
"""What the kubelet keeps of a log under terminationMessagePolicy FallbackToLogsOnError."""

_SIGNAL_BASE = 128
_OOM_EXIT_CODE = 137

Body = dict[str, Any]


@dataclass(frozen=True)
class Waiting:
    """Not running, with the kubelet's reason."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    """The process lives."""

    started_at: datetime


@dataclass(frozen=True)
class Terminated:
    """The process ended."""

    exit_code: int
    reason: str
    message: str
    started_at: datetime
    finished_at: datetime


State = Waiting | Running | Terminated


@dataclass(frozen=True)
class Snapshot:
    """One container now."""

    name: str
    image: str
    state: State
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False


def termination(
    returncode: int, log: str, *, keeps_log: bool, started_at: datetime, finished_at: datetime
) -> Terminated:
    """How a process ended: `returncode` is negative for a signal, `log` the last lines it wrote.

    A program that itself exits with 137 stands for one that the kernel killed for its memory; a process that was
    killed from outside did not run out of memory.
    """
    exit_code = returncode if returncode >= 0 else _SIGNAL_BASE - returncode
    reason = "OOMKilled" if returncode == _OOM_EXIT_CODE else "Error" if exit_code else "Completed"
    message = last_words(log) if exit_code and keeps_log else ""
    return Terminated(exit_code, reason, message, started_at, finished_at)


def last_words(log: str) -> str:
    """The end of a log, cut as the kubelet cuts it."""
    lines = "\n".join(log.splitlines()[-LAST_WORDS_LINES:])
    return lines.encode()[-LAST_WORDS_BYTES:].decode(errors="ignore")


def pod_status(
    containers: Sequence[Snapshot],
    *,
    address: str,
    host_address: str,
    started_at: datetime,
    restart_policy: str,
    previous: Iterable[Mapping[str, Any]],
    now: datetime,
) -> Body:
    """The whole status. `previous` are the conditions so far: an unchanged one keeps its time, a foreign one stays."""
    phase = _phase(containers, restart_policy)
    return {
        "phase": phase,
        "conditions": _conditions(containers, phase, previous, now),
        "containerStatuses": [_container_status(container) for container in containers],
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": rfc3339(started_at),
    }


def failed_status(reason: str, message: str, started_at: datetime) -> Body:
    """The status of a pod that this node cannot run at all."""
    return {"phase": "Failed", "reason": reason, "message": message, "startTime": rfc3339(started_at)}


def rfc3339(moment: datetime) -> str:
    """As Kubernetes writes times: UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _phase(containers: Sequence[Snapshot], restart_policy: str) -> str:
    if any(isinstance(container.state, Waiting) and container.last is None for container in containers):
        return "Pending"
    ends = [container.state for container in containers if isinstance(container.state, Terminated)]
    if restart_policy == "Always" or len(ends) < len(containers):
        return "Running"
    return "Failed" if any(end.exit_code for end in ends) else "Succeeded"


def _conditions(
    containers: Sequence[Snapshot], phase: str, previous: Iterable[Mapping[str, Any]], now: datetime
) -> list[Body]:
    unready = [container.name for container in containers if not container.ready]
    why = {
        "reason": "PodCompleted" if phase == "Succeeded" else "ContainersNotReady",
        "message": f"containers with unready status: [{' '.join(unready)}]",
    }
    readiness: Body = {"status": "False", **why} if unready else {"status": "True"}
    ours: dict[str, Body] = {
        "PodScheduled": {"status": "True"},
        "Initialized": {"status": "True"},
        "ContainersReady": readiness,
        "Ready": readiness,
    }
    before = {condition["type"]: condition for condition in previous}
    foreign = [dict(condition) for kind, condition in before.items() if kind not in ours]
    return [
        *(_condition(kind, fields, before.get(kind, {}), now) for kind, fields in ours.items()),
        *foreign,
    ]


def _condition(kind: str, fields: Body, before: Mapping[str, Any], now: datetime) -> Body:
    since = before.get("lastTransitionTime") if before.get("status") == fields["status"] else None
    return {"type": kind, **fields, "lastTransitionTime": since or rfc3339(now)}


def _container_status(container: Snapshot) -> Body:
    return {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
        "state": _state(container.state),
        "lastState": _state(container.last) if container.last else {},
    }


def _state(state: State) -> Body:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        case Running(started_at):
            return {"running": {"startedAt": rfc3339(started_at)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    "startedAt": rfc3339(state.started_at),
                    "finishedAt": rfc3339(state.finished_at),
                }
                | ({"message": state.message} if state.message else {})
            }
