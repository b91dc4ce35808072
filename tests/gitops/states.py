"""Every state that a resource can be seen in, as the core writes it: a resource walks through the cluster, and each
look is judged by the code that the operator runs. Nothing here writes a condition by hand.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

from builders import ABSENT, NOW, batches_of, body, measurement, pod_fact, with_overrides

from specdecode.api.resource import Problem
from specdecode.api.vocabulary import Mode
from specdecode.decide.breaker import ALONE, Fleet
from specdecode.decide.facts import Availability, Measurement, PodFact
from specdecode.judge import Outcome, Prepared, Seen, judge, prepare
from specdecode.manifests.build import Objects, Options
from specdecode.status import AWAITING_DELETION, OWNERSHIP_CONFLICT, ApplyFailure

Body = dict[str, Any]
AWAITED = (Problem("spec.model.name", "acme/unheard-of", "is being looked up"),)
TOO_LARGE = {"spec.model.quantization": ABSENT, "spec.accelerator.count": 1}
COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


def collapsed(mode: Mode = Mode.QUANTIZED_DRAFT) -> Measurement:
    """Nothing is accepted any more, and has not been for a whole window."""
    good = measurement()
    assert good.fast is not None
    assert good.slow is not None
    fast, slow = replace(good.fast, accepted_tokens=10.0), replace(good.slow, accepted_tokens=50.0)
    return replace(good, mode=mode, fast=fast, slow=slow)


@cache
def _prepared(text: str, awaited: tuple[Problem, ...]) -> Prepared:
    return prepare(json.loads(text), Options(), awaited=awaited)


def prepared(resource: Body, awaited: tuple[Problem, ...]) -> Prepared:
    """What follows from the spec; worked out once for each, as in the operator."""
    named = {field: value for field, value in resource["metadata"].items() if field != "annotations"}
    calibration = resource.get("status", {}).get("calibration", [])
    return _prepared(json.dumps({**resource, "metadata": named, "status": {"calibration": calibration}}), awaited)


class Walk:
    """One resource on its way through a cluster."""

    def __init__(self, **overrides: Any) -> None:
        self.body = body(**overrides)
        self.now = NOW
        self.deployment: Body | None = None
        self.measurement = measurement()
        self.pods: tuple[PodFact, ...] = ()
        self.failure: ApplyFailure | None = None
        self.fleet = ALONE
        self.awaited: tuple[Problem, ...] = ()
        self.wanted: Objects | None = None

    def __repr__(self) -> str:
        """What a failing law is about."""
        status = self.body.get("status") or {}
        conditions = [f"{c['type']}={c['status']}/{c['reason']}" for c in status.get("conditions", ())]
        deployment = None if self.deployment is None else self.deployment["status"]
        annotations = self.body["metadata"].get("annotations")
        return f"Walk({conditions}, {deployment=}, {annotations=}, {self.failure=}, {self.pods=}, {self.awaited=})"

    @property
    def mode(self) -> Mode:
        return Mode(self.body["status"]["mode"])

    def look(self, **changes: Any) -> "Walk":
        """One visit: judged as the operator does, and the status written."""
        for name, value in changes.items():
            setattr(self, name, value)
        outcome = self._judged()
        self.body = {**self.body, "status": outcome.status.to_wire()}
        self.wanted = outcome.apply or self.wanted
        return self

    def _judged(self) -> Outcome:
        ready = prepared(self.body, self.awaited)
        measured = self.measurement
        if measured.fast is not None and measured.slow is not None:
            measured = replace(measured, batches=batches_of(measured.slow, measured.fast, self.now))
        seen = Seen(
            body=self.body,
            deployment=self.deployment,
            pods=self.pods,
            has_children=self.deployment is not None,
            measurement=measured,
            measured_at=self.now,
            failure=self.failure,
            fast_window_seconds=60,
            fleet=self.fleet,
        )
        return judge(ready, seen, self.now)

    def later(self, **span: float) -> "Walk":
        self.now += timedelta(**span)
        return self

    def applied(self, *, ready: int = 2, replicas: int = 2) -> "Walk":
        """The API server has what was wanted; so many pods of it are ready."""
        assert self.wanted is not None
        wanted = self.wanted.deployment
        counts = dict.fromkeys(COUNTS, replicas) | {"readyReplicas": ready, "availableReplicas": ready}
        self.deployment = wanted | {
            "metadata": wanted["metadata"] | {"uid": "child", "generation": 1, "resourceVersion": "7"},
            "spec": {"replicas": replicas} | wanted["spec"],
            "status": {"observedGeneration": 1} | counts,
        }
        self.measurement = replace(self.measurement, mode=Mode(wanted["metadata"]["annotations"]["specdecode.io/mode"]))
        return self

    def serving(self) -> "Walk":
        """An hour after the rollout, measured without a break."""
        return self.look().applied().look().later(hours=1).look()

    def rolled_back(self) -> "Walk":
        """The draft collapsed, and what runs instead serves."""
        return self.serving().look(measurement=collapsed()).applied().later(minutes=1).look()

    def changed(self, **overrides: Any) -> "Walk":
        """Somebody changed the spec."""
        generation = {"metadata.generation": self.body["metadata"]["generation"] + 1}
        self.body = with_overrides(body(**self._kept()), overrides | generation | {"status": self.body["status"]})
        return self

    def _kept(self) -> Mapping[str, Any]:
        annotations = self.body["metadata"].get("annotations")
        return {} if annotations is None else {"metadata.annotations": annotations}

    def annotated(self, **annotations: str) -> "Walk":
        """Somebody set annotations: `paused="true"`, `force_mode="Off"`."""
        named = {f"specdecode.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.body["metadata"]["annotations"] = self.body["metadata"].get("annotations", {}) | named
        return self

    def failed(self, reason: str, *, is_final: bool) -> "Walk":
        """The API server refused what is wanted."""
        assert self.wanted is not None
        failure = ApplyFailure(reason, "the server says no", is_final, intent_hash=self.wanted.intent_hash)
        return self.look(failure=failure)


def _unmeasured(availability: Availability, cause: str) -> Measurement:
    return Measurement(availability, cause)


def _behind() -> Walk:
    return Walk().serving().changed(**{"spec.speculation.numSpeculativeTokens": 3})


def _deleted() -> Walk:
    walk = Walk().serving()
    walk.body["metadata"]["deletionTimestamp"] = "2026-11-22T13:00:00Z"
    return walk


def _stuck() -> Walk:
    waiting = pod_fact(is_ready=False, waiting_reason="ImagePullBackOff", message="not found")
    return Walk().look().applied(ready=0).later(minutes=5).look(pods=(waiting,))


def _recommended() -> Walk:
    return Walk(**{"spec.guard": {"action": "Recommend"}}).serving().look(measurement=collapsed())


def _held() -> Walk:
    return Walk().serving().look(measurement=collapsed(), fleet=Fleet(judged=4, stepping=3))


def _rolled_back_to_off() -> Walk:
    return Walk(**{"spec.speculation.fallbacks": []}).rolled_back()


def _rolling_back() -> Walk:
    walk = Walk(**{"spec.speculation.fallbacks": []}).serving().look(measurement=collapsed())
    return walk.applied(ready=1).later(seconds=5).look()


STATES: Mapping[str, Callable[[], Walk]] = {
    "new": Walk,
    "creating": lambda: Walk().look(),
    "starting": lambda: Walk().look().applied(ready=0).look(),
    "half-ready": lambda: Walk().look().applied(ready=1).look(),
    "serving": lambda: Walk().serving(),
    "no-speculation-requested": lambda: Walk(**{"spec.speculation": ABSENT}).serving(),
    "no-traffic": lambda: Walk().serving().look(measurement=_unmeasured(Availability.NO_TRAFFIC, "")),
    "metrics-missing": lambda: (
        Walk().serving().look(measurement=_unmeasured(Availability.UNREACHABLE, "Prometheus does not answer"))
    ),
    "scaled-to-zero": lambda: Walk(**{"spec.replicas": 0}).look().applied(ready=0, replicas=0).look(),
    "behind": _behind,
    "deleted": _deleted,
    "rolling-back": _rolling_back,
    "rolled-back": _rolled_back_to_off,
    "rolled-back-to-ngram": lambda: Walk().rolled_back(),
    "retried": lambda: _rolled_back_to_off().annotated(retry="1").look(),
    "rearmed": lambda: _rolled_back_to_off().changed(**{"spec.speculation.numSpeculativeTokens": 3}).look(),
    "recommended": _recommended,
    "circuit-breaker-open": _held,
    "paused": lambda: Walk().serving().annotated(paused="true").look(),
    "paused-before-the-first-start": lambda: Walk().annotated(paused="true").look(),
    "paused-and-down": lambda: Walk().serving().annotated(paused="true").applied(ready=0).look(),
    "paused-rolled-back": lambda: _rolled_back_to_off().annotated(paused="true").look(),
    "forced-off": lambda: Walk().serving().annotated(force_mode="Off").look().applied().look(),
    "forced-and-paused": lambda: Walk().serving().annotated(force_mode="Off", paused="true").look(),
    "does-not-fit": lambda: Walk(**TOO_LARGE).look(),
    "does-not-fit-old-serves": lambda: Walk().serving().changed(**TOO_LARGE).look(),
    "looking-up": lambda: Walk(**{"spec.model.name": "acme/unheard-of"}).look(awaited=AWAITED),
    "looking-up-old-serves": lambda: (
        Walk().serving().changed(**{"spec.model.name": "acme/unheard-of"}).look(awaited=AWAITED)
    ),
    "apply-forbidden": lambda: Walk().look().failed("ApplyForbidden", is_final=False),
    "apply-refused": lambda: Walk().look().failed("ApplyRefused", is_final=True),
    "ownership-conflict": lambda: Walk().look().failed(OWNERSHIP_CONFLICT, is_final=True),
    "awaiting-deletion": lambda: Walk().look().failed(AWAITING_DELETION, is_final=False),
    "does-not-start": _stuck,
}


def state(name: str) -> Body:
    """A resource in that state, as stored."""
    return STATES[name]().body
