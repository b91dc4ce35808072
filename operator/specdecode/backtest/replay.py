"""One deployment through time, without a cluster: the judgement of production over history or a simulation. Pure.

Status is the memory of decisions here too. It is computed again only when something in it moves: what `decide` reads of
it is the same at every step as if it were written at every step.
"""

from datetime import datetime, timedelta

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import SpecDecodeDeploymentStatus
from specdecode.api.vocabulary import Mode
from specdecode.decide.baseline import next_baseline
from specdecode.decide.decide import decide
from specdecode.decide.decision import Decision
from specdecode.decide.facts import Child, Cluster, Measurement
from specdecode.decide.settled import is_settled
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
    """`step` once per evaluation, in the order of time; `status` is what the resource would say afterwards.

    `rearm_after`: history may go on in a mode that was left. The decision to leave it holds for so long, then the mode
    is judged anew, as if somebody had tried it again; None: as `guard.retry` says, like in production.
    """

    def __init__(
        self,
        resource: SpecDecodeDeployment,
        plan: Plan,
        *,
        scrape_interval_seconds: float,
        rearm_after: timedelta | None = None,
    ) -> None:
        self.status: SpecDecodeDeploymentStatus = resource.status
        self._resource = resource
        self._plan = plan
        self._fast_window_seconds = FAST_WINDOW_SCRAPES * scrape_interval_seconds
        self._rearm_after = rearm_after
        self._replicas = resource.spec.replicas or 1
        self._seen: tuple[object, ...] = ()
        self._clusters: dict[tuple[Mode | None, bool], Cluster] = {}

    def _cluster(self, mode: Mode | None, *, is_rolled_out: bool) -> Cluster:
        place = mode, is_rolled_out
        if place not in self._clusters:
            spec_hash = self._resource.spec_hash
            child = None if mode is None else _child(mode, spec_hash, self._replicas, is_rolled_out=is_rolled_out)
            self._clusters[place] = Cluster(child)
        return self._clusters[place]

    def _rearm(self, now: datetime) -> None:
        latch = self.status.rollback
        if latch is not None and self._rearm_after is not None and now - latch.at >= self._rearm_after:
            self.status = self.status.model_copy(update={"rollback": None})

    def step(
        self, now: datetime, measurement: Measurement, child_mode: Mode | None, *, is_rolled_out: bool = True
    ) -> Decision:
        """Judge one moment. `child_mode` is the mode that the Deployment has then; None: there is none."""
        self._rearm(now)
        cluster = self._cluster(child_mode, is_rolled_out=is_rolled_out)
        resource = self._resource.model_copy(update={"status": self.status})
        situation = Situation(resource, self._plan, cluster, measurement, now, self._fast_window_seconds)
        decision = decide(situation)
        settled = is_settled(self.status, situation.slow_window_seconds, now)
        baseline = next_baseline(self.status.baseline, self._plan, measurement, is_settled=settled, now=now)
        # Numbers in messages may move at every step; none of them is read again.
        seen = (
            decision.mode,
            decision.step,
            decision.reason,
            decision.rollback,
            decision.exonerated_reason,
            decision.recommended,
            tuple(finding.reason for finding in decision.findings),
            measurement.availability,
            cluster,
            id(baseline),
            sum(now - finding.since >= STAYS for finding in self.status.findings),
        )
        if seen != self._seen:
            self._seen = seen
            visit = Visit(
                metadata=resource.metadata,
                old=self.status,
                now=now,
                spec_hash=resource.spec_hash,
                cluster=cluster,
                measurement=measurement,
                is_paused=False,
                fast_window_seconds=self._fast_window_seconds,
                plan=self._plan,
                decision=decision,
                is_applied=decision.mode is child_mode,
                baseline=baseline,
            )
            self.status = next_status(visit)
        return decision
