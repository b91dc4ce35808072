"""Deployments as a cluster stores them, one per way of standing. The statuses are the operator's own: the judgement is
walked from visit to visit, with its Deployment rolled out in between.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from builders import ABSENT, NOW, batches_of, body, fifth, histogram, measurement, off_band, off_baseline, window

from specdecode.api.status import BaselineStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.breaker import ALONE, Fleet
from specdecode.decide.facts import Availability, CacheReading, Measurement, PodFact, Window
from specdecode.judge import Seen, judge, prepare
from specdecode.manifests.build import Options
from specdecode.plan.types import Plan

Body = dict[str, Any]
CREATED = NOW - timedelta(hours=3)
GUARD = {"window": "5m", "latency": {"tpotP99": "40ms", "ttftP99": "2s"}}
RETRY = GUARD | {"retry": {"after": "24h", "maxAttempts": 2}}


@dataclass
class Life:
    """One deployment and what the operator has written of it."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = CREATED
    status: Body = field(default_factory=dict)
    deployment: Body | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    generation: int = 1
    fleet: Fleet = ALONE
    pods: tuple[PodFact, ...] = ()

    @property
    def body(self) -> Body:
        """As the API server has it."""
        stored = body(**deepcopy({"spec.guard": GUARD} | dict(self.overrides)))
        stored["metadata"] |= {
            "name": "chat",
            "annotations": dict(self.annotations),
            "generation": self.generation,
            "creationTimestamp": CREATED.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resourceVersion": "7",
        }
        return stored | ({"status": self.status} if self.status else {})

    def visit(self, seen: Measurement | None = None, *, seconds: float = 15, is_rolled_out: bool = True) -> "Life":
        """One look of the operator, some seconds after the one before; what it applies is rolled out at once."""
        self.now += timedelta(seconds=seconds)
        prepared = prepare(self.body, Options())
        self._run(prepared.objects, is_rolled_out=is_rolled_out)
        newest = seen or (AWAITED if self.deployment is None else healthy(self.mode))
        moved = replace(newest, batches=batches_of(newest.slow, newest.fast, self.now) if newest.fast else ())
        look = Seen(
            body=self.body,
            deployment=self.deployment,
            pods=self.pods,
            has_children=True,
            measurement=moved,
            measured_at=self.now,
            failure=None,
            fast_window_seconds=60,
            fleet=self.fleet,
        )
        outcome = judge(prepared, look, self.now)
        self.status = outcome.status.to_wire()
        if outcome.apply is not None:
            self.deployment = outcome.apply.deployment
        return self

    def _run(self, objects: Mapping[Mode, Any], *, is_rolled_out: bool) -> None:
        if self.deployment is None or not objects:
            return
        ready = 2 if is_rolled_out else 1
        counts = {"replicas": 2, "updatedReplicas": ready, "readyReplicas": ready, "availableReplicas": ready}
        metadata = self.deployment["metadata"] | {"uid": "child", "generation": 1, "resourceVersion": "7"}
        self.deployment = self.deployment | {"metadata": metadata, "status": {"observedGeneration": 1} | counts}

    @property
    def plan(self) -> Plan:
        """Of the spec in force."""
        plan = prepare(self.body, Options()).plan
        assert plan is not None
        return plan

    @property
    def mode(self) -> Mode:
        """What runs."""
        return Mode(self.status.get("mode", Mode.QUANTIZED_DRAFT))

    def settle(self, seen: Measurement | None = None) -> "Life":
        """Long enough that everything may be judged."""
        self.visit(seen).visit(seen)
        return self.visit(seen, seconds=301)


def of(mode: Mode, slow: Window, **changes: Any) -> Measurement:
    """A window in which nothing changed."""
    return measurement(mode=mode, slow=slow, fast=fifth(slow), **changes)


def without_drafts(slow: Window) -> Window:
    """The same without speculation."""
    return replace(slow, drafts=0.0, draft_tokens=0.0, accepted_tokens=0.0)


def healthy(mode: Mode) -> Measurement:
    """75 % of the draft is accepted."""
    # A step takes what the tokens it yields take: 4.75 of them at 20 ms each.
    slow = window(step_seconds_sum=380.0, seconds=300.0)
    return of(mode, without_drafts(slow) if mode is Mode.OFF else slow)


AWAITED = measurement(availability=Availability.NO_DATA, cause="no series yet", fast=None, slow=None)
COLLAPSED = window(
    accepted_tokens=240.0,
    step_seconds_sum=112.0,
    tpot=histogram(below_seconds={0.025: 5, 0.05: 600}, mean_seconds=0.0283),
)
SLOW = window(tpot=histogram(below_seconds={0.05: 0, 0.075: 600}, mean_seconds=0.06))
AFTER = without_drafts(window(tpot=histogram(below_seconds={0.01: 10, 0.025: 600}, mean_seconds=0.0187)))
AS_SLOW = without_drafts(SLOW)


def grown(**overrides: Any) -> Life:
    """One that has run healthy for a while."""
    return Life(overrides).visit().settle()


def _healthy() -> Life:
    life = grown()
    recorded = BaselineStatus(off=off_baseline(off_band("31ms", step_mean="30ms"), key=life.plan.baseline_key))
    life.status["baseline"] = recorded.to_wire()
    cache = CacheReading(num_gpu_blocks=9_000, block_size_tokens=16)
    return life.visit(replace(healthy(life.mode), cache=cache), seconds=900)


def _rolled_back(seen: Window, after: Window, **overrides: Any) -> Life:
    life = grown(**overrides)
    life.visit(of(life.mode, seen))
    life.visit(of(life.mode, seen), is_rolled_out=False)
    life.settle(of(life.mode, after))
    return life.visit(of(life.mode, after), seconds=7200)


OFF_ONLY = {"spec.speculation.fallbacks": []}


def _starting() -> Life:
    return Life().visit().visit(AWAITED, is_rolled_out=False)


def _no_data() -> Life:
    gone = measurement(
        availability=Availability.UNREACHABLE,
        cause="Prometheus at http://prometheus:9090 did not answer: connection refused",
        fast=None,
        slow=None,
    )
    return grown().visit(gone)


def _annotated(**annotations: str) -> Life:
    life = grown()
    life.annotations = {f"specdecode.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    life.visit()
    return life.settle()


def _does_not_fit() -> Life:
    life = grown()
    life.overrides = {"spec.model.quantization": ABSENT, "spec.speculation.draft.quantization": ABSENT, **OFF_ONLY}
    life.generation = 2
    return life.visit()


def _recommend() -> Life:
    life = grown(**{"spec.guard": GUARD | {"action": "Recommend"}})
    return life.visit(of(life.mode, COLLAPSED))


def _held() -> Life:
    life = grown()
    life.fleet = Fleet(judged=9, stepping=4)
    return life.visit(of(life.mode, COLLAPSED))


def _retry_pending() -> Life:
    life = _rolled_back(COLLAPSED, AFTER, **OFF_ONLY)
    life.annotations = {"specdecode.io/retry": "1"}
    return life


def _stalled() -> Life:
    life = Life().visit()
    life.pods = (
        PodFact("chat-7d4b9c6f5d-x2x4z", Mode.QUANTIZED_DRAFT, False, False, False, 0, life.now, "ImagePullBackOff"),
    )
    return life.visit(AWAITED, is_rolled_out=False)


def _not_the_cause() -> Life:
    life = _rolled_back(SLOW, AS_SLOW, **OFF_ONLY)
    return life.settle(of(life.mode, SLOW))


def _rolling_back() -> Life:
    life = grown(**OFF_ONLY)
    life.visit(of(life.mode, COLLAPSED))
    return life.visit(of(Mode.OFF, AFTER), is_rolled_out=False)


def _just_rolled_back() -> Life:
    life = _rolling_back()
    return life.visit(of(Mode.OFF, AFTER)).visit(of(Mode.OFF, AFTER))


def _used_up() -> Life:
    """Rolled back again after the only retry."""
    once = {"after": "10m", "maxAttempts": 1}
    life = _rolled_back(COLLAPSED, AFTER, **OFF_ONLY, **{"spec.guard": GUARD | {"retry": once}})
    life.visit().settle()
    life.visit(of(life.mode, COLLAPSED))
    return life.visit(of(Mode.OFF, AFTER)).settle(of(Mode.OFF, AFTER))


def _idle() -> Life:
    return grown().visit(measurement(availability=Availability.NO_TRAFFIC, cause="no requests", fast=None))


def _forced_after_a_step() -> Life:
    life = _rolled_back(COLLAPSED, AFTER, **OFF_ONLY)
    life.annotations = {"specdecode.io/force-mode": "QuantizedDraft"}
    return life.visit().settle()


def _outdated() -> Life:
    life = grown()
    life.generation = 2
    return life


def _not_requested() -> Life:
    return grown(**{"spec.speculation": ABSENT})


def _qualifying() -> Life:
    life = Life({"spec.guard": GUARD | {"qualify": True}}).visit()
    for _ in range(3):
        life.visit(AWAITED)
    few = window(drafts=40.0, draft_tokens=200.0, accepted_tokens=150.0)
    return life.settle(of(life.mode, few))


CASES: dict[str, Callable[[], Life]] = {
    "healthy": _healthy,
    "settling": lambda: Life().visit().visit().visit(),
    "rolled-back-helped": lambda: _rolled_back(COLLAPSED, AFTER, **OFF_ONLY, **{"spec.guard": RETRY}),
    "rolled-back-not-helped": lambda: _rolled_back(COLLAPSED, AS_SLOW, **OFF_ONLY),
    "rolled-back-to-ngram": lambda: _rolled_back(
        COLLAPSED, window(drafts=400.0, draft_tokens=2000.0, accepted_tokens=900.0)
    ),
    "not-the-cause": _not_the_cause,
    "rolling-back": _rolling_back,
    "just-rolled-back": _just_rolled_back,
    "retries-used-up": _used_up,
    "does-not-fit": _does_not_fit,
    "no-data": _no_data,
    "idle": _idle,
    "paused": lambda: _annotated(paused="true"),
    "forced": lambda: _annotated(force_mode="Off"),
    "forced-after-a-step": _forced_after_a_step,
    "recommend": _recommend,
    "starting": _starting,
    "breaker-open": _held,
    "retry-pending": _retry_pending,
    "stalled": _stalled,
    "not-seen": Life,
    "outdated": _outdated,
    "not-requested": _not_requested,
    "qualifying": _qualifying,
}
