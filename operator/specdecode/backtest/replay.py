"""One deployment through time, without a cluster: the judgement of production over history or a simulation. Pure.

Status is the memory of decisions here too. It is computed again only when something in it moves: what `decide` reads of
it is the same at every step as if it were written at every step.
"""

from datetime import datetime

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import RollbackStatus, SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import next_baseline
from specdecode.decide.decide import decide
from specdecode.decide.decision import Decision, Reason
from specdecode.decide.facts import Child, Cluster, Measurement
from specdecode.decide.situation import Situation
from specdecode.findings import STAYS
from specdecode.observe.queries import FAST_WINDOW_SCRAPES
from specdecode.plan.types import Plan
from specdecode.status import Visit, next_status


def _child(mode: Mode, spec_hash: str, replicas: int, *, is_rolled_out: bool) -> Child:
    """The Deployment as history shows it; while it is not rolled out, one replica is missing."""
    ready = replicas if is_rolled_out else replicas - 1
    return Child(
        uid="replay",
        is_ours=True,
        generation=1,
        observed_generation=1,
        desired_replicas=replicas,
        replicas=replicas,
        updated_replicas=ready,
        ready_replicas=ready,
        available_replicas=ready,
        mode=mode,
        spec_hash=spec_hash,
        intent_hash="",
    )


class Replay:
    """`step` once per evaluation, in the order of time; `status` is what the resource would say afterwards."""

    def __init__(self, resource: SpecDecodeDeployment, plan: Plan, *, scrape_interval_seconds: float) -> None:
        self.resource = resource
        """With the status of now."""
        self._plan = plan
        self._fast_window_seconds = FAST_WINDOW_SCRAPES * scrape_interval_seconds
        self._window_seconds = resource.window_seconds
        self._replicas = resource.spec.replicas or 1
        self._seen: tuple[object, ...] = ()
        self._clusters: dict[tuple[Mode | None, bool], Cluster] = {}

    @property
    def status(self) -> SpecDecodeDeploymentStatus:
        """The memory of decisions."""
        return self.resource.status

    def _set_status(self, status: SpecDecodeDeploymentStatus) -> None:
        self.resource = self.resource.model_copy(update={"status": status})

    def _cluster(self, mode: Mode | None, *, is_rolled_out: bool) -> Cluster:
        place = mode, is_rolled_out
        if place not in self._clusters:
            spec_hash = self.resource.spec_hash
            child = None if mode is None else _child(mode, spec_hash, self._replicas, is_rolled_out=is_rolled_out)
            self._clusters[place] = Cluster(child)
        return self._clusters[place]

    def adopt(self, mode: Mode, now: datetime) -> None:
        """Let `mode` be what should run from now on, as if a person had wanted it."""
        latch = None
        if mode is not self._plan.requested_mode or self.resource.spec.guard.qualify:
            latch = RollbackStatus(
                from_mode=self._plan.requested_mode,
                to=mode,
                reason=Reason.ROLLED_BACK,
                message=f"{mode} runs in this history",
                at=now,
                spec_hash=self.resource.spec_hash,
            )
        self._set_status(self.status.model_copy(update={"rollback": latch}))

    def step(
        self, now: datetime, measurement: Measurement, child_mode: Mode | None, *, is_rolled_out: bool = True
    ) -> Decision:
        """Judge one moment. `child_mode` is the mode that the Deployment has then; None: there is none."""
        cluster = self._cluster(child_mode, is_rolled_out=is_rolled_out)
        status = self.status
        situation = Situation(self.resource, self._plan, cluster, measurement, now, self._fast_window_seconds)
        decision = decide(situation)
        since = situation.settled_since
        settled = since is not None and (now - since).total_seconds() >= self._window_seconds
        baseline = next_baseline(status.baseline, self._plan, measurement, is_settled=settled, now=now)
        # Numbers in messages may move at every step; none of them is read again.
        seen = (
            decision.mode,
            decision.step,
            decision.reason,
            decision.rollback,
            decision.exonerated_reason,
            decision.recommended,
            [finding.reason for finding in decision.findings],
            measurement.availability,
            child_mode,
            is_rolled_out,
            id(baseline),
            sum([now - finding.since >= STAYS for finding in status.findings]),
        )
        if seen != self._seen:
            self._seen = seen
            visit = Visit(
                metadata=self.resource.metadata,
                old=status,
                now=now,
                spec_hash=self.resource.spec_hash,
                cluster=cluster,
                measurement=measurement,
                is_paused=False,
                fast_window_seconds=self._fast_window_seconds,
                plan=self._plan,
                decision=decision,
                is_applied=decision.mode is child_mode,
                baseline=baseline,
            )
            self._set_status(next_status(visit))
        return decision
