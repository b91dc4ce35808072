"""What `decide` looks at: one resource, its plan, the cluster and the measurement at one moment; and the view of it
that the rules read. Nothing here judges.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import Any

from specdecode.api.guard import GuardSpec
from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.status import DraftBaseline, EvidenceItem, OffBand, SpecDecodeDeploymentStatus
from specdecode.api.values import seconds_of
from specdecode.api.vocabulary import Action, Mode
from specdecode.decide.baseline import band_at
from specdecode.decide.benefit import Benefit, expected_benefit
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Batch, Cluster, Measurement, Window
from specdecode.decide.settled import settled_since
from specdecode.decide.wording import consequence
from specdecode.plan.types import Plan


@dataclass(frozen=True)
class Situation:
    """Everything a decision follows from."""

    resource: SpecDecodeDeployment
    """`resource.status` is the status before this decision."""
    plan: Plan
    cluster: Cluster
    measurement: Measurement
    now: datetime
    """UTC, whole seconds."""
    fast_window_seconds: float
    """Four scrape intervals."""

    @property
    def status(self) -> SpecDecodeDeploymentStatus:
        """The memory of earlier decisions."""
        return self.resource.status

    @property
    def guard(self) -> GuardSpec:
        """The thresholds."""
        return self.resource.spec.guard

    @property
    def draft_baseline(self) -> DraftBaseline | None:
        """What the same draft accepted unquantised; None when it was never seen healthy."""
        baseline = self.status.baseline
        draft = baseline.draft if baseline else None
        return draft if draft is not None and draft.key == self.plan.draft_key else None

    @cached_property
    def settled_since(self) -> datetime | None:
        """Since when the rolled-out mode has been measured without a break."""
        return settled_since(self.status)

    @property
    def slow_window_seconds(self) -> float:
        """How long a finding must hold. The measured window may be longer than `guard.window`, never shorter."""
        asked = seconds_of(self.guard.window)
        return max(asked, self.measurement.slow.seconds) if self.measurement.slow else asked


MIN_BATCHES = 2
"""One batch may be one odd scrape."""


class Stage(IntEnum):
    """How much may be judged. Each stage includes the ones before it."""

    NOTHING = 0
    STARTING = 1
    """Whether the engine starts at all."""
    FAST = 2
    """What two scrapes show."""
    SETTLED = 3
    """Everything: the mode has been running and measured for one slow window."""


@dataclass(frozen=True)
class View:
    """The situation as the rules read it."""

    situation: Situation
    mode: Mode
    """The mode that runs and is judged."""
    stage: Stage

    @property
    def guard(self) -> GuardSpec:
        """The thresholds."""
        return self.situation.guard

    @property
    def plan(self) -> Plan:
        """The ladder."""
        return self.situation.plan

    @property
    def fast(self) -> Window:
        """Only from stage FAST on."""
        window = self.situation.measurement.fast
        assert window is not None
        return window

    @property
    def slow(self) -> Window:
        """Only from stage FAST on."""
        window = self.situation.measurement.slow
        assert window is not None
        return window

    @property
    def earlier(self) -> Window:
        """The slow window without the fast one; only from stage FAST on."""
        window = self.situation.measurement.earlier
        assert window is not None
        return window

    @property
    def below(self) -> tuple[Mode, ...]:
        """Modes that fit and come after this one, best first."""
        return self.plan.fitting_below(self.mode)

    @property
    def down(self) -> Mode | None:
        """The next mode that fits."""
        return next(iter(self.below), None)

    @property
    def lighter(self) -> Mode | None:
        """The next mode that fits and may be faster: a draft without its quantisation never is."""
        return next((mode for mode in self.below if mode is not Mode.DRAFT), None)

    @property
    def off_baseline(self) -> OffBand | None:
        """What this deployment did without speculation at this load, if that is known."""
        baseline = self.situation.status.baseline
        if self.mode is Mode.OFF or baseline is None:
            return None
        return band_at(baseline.off, self.plan.baseline_key, self.slow.running_requests)

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """Of the slow window, as far as they were made after the last rollout or outage, oldest first."""
        since = self.situation.settled_since
        start = math.inf if since is None else since.timestamp()
        batches = self.situation.measurement.batches
        return batches if batches and batches[0].at > start else tuple([batch for batch in batches if batch.at > start])

    @property
    def changed_at(self) -> float | None:
        """Unix seconds of the newest change for the worse that is certain. What was before it says nothing of now, so
        a verdict on what came since need not wait for a whole window.
        """
        signals = self.situation.measurement.signals
        changes = (signals.acceptance_fall, signals.tpot_rise)
        return max((change.since for change in changes if change is not None and change.is_certain), default=None)

    @property
    def since_change(self) -> tuple[Batch, ...]:
        """Batches since a certain change; empty while there is none, or fewer than two."""
        changed_at = self.changed_at
        since = () if changed_at is None else tuple(batch for batch in self.batches if batch.at > changed_at)
        return since if len(since) >= MIN_BATCHES else ()

    @cached_property
    def measured_benefit(self) -> Benefit | None:
        """What speculation brings here, over the slow window, where it was measured: a prediction is no evidence for a
        step.
        """
        return self.measured_benefit_of()

    def measured_benefit_of(self, *, since: float = -math.inf, until: float = math.inf) -> Benefit | None:
        """The same over a part of the slow window."""
        return self._benefit(since=since, until=until, predicts=False)

    @cached_property
    def expected_benefit(self) -> Benefit | None:
        """What speculation brings here, over the slow window, from the best source there is."""
        return self.measured_benefit or self._benefit()

    def _benefit(self, **asked: Any) -> Benefit | None:
        situation = self.situation
        baseline = situation.status.baseline
        off = baseline.off if baseline else None
        return expected_benefit(self.plan, self.mode, situation.measurement, off, **asked)

    def step(self, reason: Reason, what: str, target: Mode | None, evidence: tuple[EvidenceItem, ...]) -> Finding:
        """A finding that wants to leave the mode; `what` is the first half of the sentence, with the numbers."""
        is_enforced = self.guard.action is Action.ENFORCE
        message = f"{what}: {consequence(self.mode, target, is_enforced=is_enforced)}"
        return Finding(reason, message, evidence, target)
