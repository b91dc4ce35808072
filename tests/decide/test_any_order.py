"""Whatever happens, in whatever order: specs, faults, outages, restarts, clocks that step, and what people do.

A resource lives through random days. Each look is judged by the code that the operator runs, and after each look the
laws below must hold. What happened is in the counterexample that hypothesis prints.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from builders import histogram, measurement, window
from gitops.states import TOO_LARGE, Walk, collapsed, prepared
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from specdecode.api.resource import read_status
from specdecode.api.status import FINDING_LIMIT, HISTORY_LIMIT
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Decision, Reason, Step
from specdecode.decide.facts import Availability, Measurement
from specdecode.judge import Outcome
from specdecode.plan.types import Plan

LIMITED = {"spec.guard": {"latency": {"tpotP99": "50ms"}}}
STATUS_BYTES = 24 * 1024
"""Of one status, at most: an object may have 1.5 MiB, and the store keeps thousands."""


def slow() -> Measurement:
    """P99 of the time per token is over 50 ms, in every part of the window."""
    late = histogram(below_seconds={0.05: 1.0, 0.075: 600.0}, mean_seconds=0.06)
    return measurement(slow=window(tpot=late))


TRAFFIC: dict[str, Any] = {
    "healthy": measurement,
    "collapsed": collapsed,
    "slow": slow,
    "nobody asks": lambda: Measurement(Availability.NO_TRAFFIC, "nobody asks"),
    "no samples": lambda: Measurement(Availability.NO_DATA, "no samples"),
    "Prometheus is away": lambda: Measurement(Availability.UNREACHABLE, "Prometheus does not answer"),
}
SPECS: dict[str, dict[str, Any]] = {
    "three tokens": {"spec.speculation.numSpeculativeTokens": 3},
    "five tokens": {},
    "a limit": LIMITED,
    "no fallbacks": {"spec.speculation.fallbacks": []},
    "recommend only": {"spec.guard": {"action": "Recommend"}},
    "one replica": {"spec.replicas": 1},
    "too large": TOO_LARGE,
}


class Life(RuleBasedStateMachine):
    """One resource, and the world around it."""

    @initialize()
    def begin(self) -> None:
        self.walk = Walk()
        self.traffic = "healthy"
        self.switches = 0
        self.retries = 0

    # What happens.

    @rule(seconds=st.sampled_from([1, 15, 60, 300, 3_600, 100_000]))
    def time_passes(self, seconds: int) -> None:
        self.walk.later(seconds=seconds)
        self.look()

    @rule(seconds=st.integers(1, 120))
    def the_clock_steps_back(self, seconds: int) -> None:
        self.walk.later(seconds=-seconds)
        self.look()

    @rule(kind=st.sampled_from(sorted(TRAFFIC)))
    def traffic_becomes(self, kind: str) -> None:
        if kind != self.traffic:
            self.switches = 0
        self.traffic = kind
        self.look()

    @precondition(lambda self: self.walk.wanted is not None)
    @rule(ready=st.integers(0, 2))
    def the_rollout_comes_so_far(self, ready: int) -> None:
        if self.walk.wanted is not None:
            self.walk.applied(ready=ready)
        self.look()

    @precondition(lambda self: self.walk.wanted is not None)
    @rule()
    def it_serves_for_an_hour(self) -> None:
        self.the_rollout_comes_so_far(2)
        self.walk.later(hours=1)
        self.look()

    @rule(kind=st.sampled_from(sorted(TRAFFIC)), looks=st.integers(1, 4))
    def a_day_with(self, kind: str, looks: int) -> None:
        """It runs as it should, and then that happens: what random steps alone seldom come to."""
        self.walk.annotated(paused="false", force_mode="")
        self.traffic, self.switches = "healthy", 0
        self.look()
        self.it_serves_for_an_hour()
        self.traffic, self.switches = kind, 0
        for _ in range(looks):
            self.look()
            self.walk.later(minutes=5)
            self.the_rollout_comes_so_far(2)

    @rule(kind=st.sampled_from(sorted(SPECS)))
    def somebody_commits(self, kind: str) -> None:
        if "status" in self.walk.body:
            self.walk.changed(**SPECS[kind])
            self.switches = 0
        self.look()

    @rule()
    def somebody_asks_for_a_retry(self) -> None:
        self.retries += 1
        self.switches = 0
        self.walk.annotated(retry=str(self.retries))
        self.look()

    @rule(is_paused=st.booleans())
    def somebody_pauses(self, is_paused: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        self.switches = 0
        self.walk.annotated(paused=str(is_paused).lower())
        self.look()

    @rule(mode=st.sampled_from(["", *Mode]))
    def somebody_forces(self, mode: str) -> None:
        self.switches = 0
        self.walk.annotated(force_mode=mode)
        self.look()

    @rule()
    def status_is_lost(self) -> None:
        self.walk.body = {key: value for key, value in self.walk.body.items() if key != "status"}
        self.switches = 0
        self.look()

    @precondition(lambda self: self.walk.deployment is not None)
    @rule()
    def the_deployment_is_deleted(self) -> None:
        self.walk.deployment = None
        self.look()

    # What must hold.

    def look(self) -> None:
        walk = self.walk
        running = None if walk.deployment is None else walk.deployment["metadata"]["annotations"]["specdecode.io/mode"]
        walk.measurement = replace(TRAFFIC[self.traffic](), mode=None if running is None else Mode(running))
        spec = json.dumps(walk.body["spec"], sort_keys=True)
        before = read_status(walk.body)
        outcome = walk._judged()
        self._holds(outcome)
        walk.look()
        assert json.dumps(walk.body["spec"], sort_keys=True) == spec, "the spec is the user's"
        # What was decided is said at the first look, and how far it has come at the second.
        second = walk.look()._judged()
        assert second.status == read_status(walk.body), "another look at the same world changes nothing"
        if outcome.decision is not None:
            self._steps(before, outcome.decision)

    def _holds(self, outcome: Outcome) -> None:
        status = outcome.status
        assert len(status.history) <= HISTORY_LIMIT
        assert len(status.findings) <= FINDING_LIMIT
        assert len(json.dumps(status.to_wire())) <= STATUS_BYTES
        if outcome.decision is not None:
            plan = self._plan()
            rung = plan.mode(outcome.decision.mode)
            is_left_alone = outcome.decision.reason is Reason.PAUSED
            assert is_left_alone or (rung is not None and rung.fits), f"{outcome.decision.mode} does not fit"

    def _steps(self, before: Any, decision: Decision) -> None:
        if decision.step is not Step.KEEP:
            event(f"{decision.step}: {decision.reason}")
        measured = self.walk.measurement.availability is Availability.MEASURED
        if decision.step is Step.DOWN:
            assert measured or decision.reason is Reason.ENGINE_NOT_STARTING, "no data is not bad data"
            child = self.walk.deployment
            assert child is not None
            assert decision.reason is Reason.ENGINE_NOT_STARTING or child["status"]["readyReplicas"] == 2, (
                "nothing is judged while a rollout runs"
            )
        if decision.step is not Step.KEEP and decision.reason is not Reason.REARMED:
            self.switches += 1
            assert self.switches <= 2, "two switches for one change of regime"
        latch = before.rollback
        if latch is not None and decision.rollback is None:
            assert decision.reason in (
                *(Reason.REARMED, Reason.RETRIED, Reason.SPECULATION_NOT_THE_CAUSE, Reason.CONFIRMED),
                *(Reason.FORCED, Reason.FORCED_MODE_UNAVAILABLE, Reason.PAUSED),
            ), f"the latch was dropped by {decision.reason}"

    def _plan(self) -> Plan:
        plan = prepared(self.walk.body, ()).plan
        assert plan is not None
        return plan


Life.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_whatever_happens = pytest.mark.timeout(300)(Life.TestCase)
