"""What was measured, and what the cluster says: the frozen input of the judgement.

Four words for a measurement, and only `MEASURED` can lead to action: no data is not bad data.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from specdecode.api.vocabulary import Arm, Mode


class Availability(StrEnum):
    """How much a measurement is worth."""

    MEASURED = "Measured"
    NO_TRAFFIC = "NoTraffic"
    """The engine answers scrapes, and nobody asks it anything."""
    NO_DATA = "NoData"
    """Prometheus answers, and has no fresh series of these pods."""
    UNREACHABLE = "Unreachable"
    """Prometheus did not answer, or only in part."""


@dataclass(frozen=True)
class Histogram:
    """Increase of a Prometheus histogram over a window."""

    buckets: tuple[tuple[float, float], ...]
    """(upper bound in seconds, cumulative count), ascending, the last bound is infinite."""
    sum_seconds: float
    count: float

    @property
    def mean_seconds(self) -> float:
        """Exact mean; NaN without observations."""
        return self.sum_seconds / self.count if self.count > 0 else math.nan

    def without(self, part: "Histogram") -> "Histogram":
        """What is left when the observations of `part`, made on the same bounds, are taken out."""
        less = dict(part.buckets).get
        left = [(bound, count - less(bound, 0.0)) for bound, count in self.buckets]
        return Histogram(
            buckets=tuple([(bound, count if count > 0 else 0.0) for bound, count in left]),
            sum_seconds=max(0.0, self.sum_seconds - part.sum_seconds),
            count=max(0.0, self.count - part.count),
        )


def _left(whole: Histogram | None, part: Histogram | None) -> Histogram | None:
    return whole if whole is None or part is None else whole.without(part)


@dataclass(frozen=True)
class Window:
    """Increases over one window, summed over the pods of one deployment, mode and arm."""

    seconds: float
    drafts: float = 0.0
    draft_tokens: float = 0.0
    accepted_tokens: float = 0.0
    requests: float = 0.0
    """Finished requests."""
    step_seconds_sum: float = 0.0
    step_count: float = 0.0
    """Engine steps that emitted tokens, and the time between them."""
    preemptions: float = 0.0
    tpot: Histogram | None = None
    ttft: Histogram | None = None
    e2e: Histogram | None = None
    """None: the engine's version has no such histogram, or no series arrived."""
    generation_tokens: float = 0.0
    running_requests: float = 0.0
    """Running at once, mean over the window, per pod."""
    waiting_requests: float = 0.0
    kv_cache_usage: float = 0.0
    """0..1, highest of the pods."""

    @property
    def acceptance_rate(self) -> float:
        """Accepted / proposed draft tokens; NaN without drafts."""
        return self.accepted_tokens / self.draft_tokens if self.draft_tokens > 0 else math.nan

    @property
    def acceptance_length(self) -> float:
        """1 + accepted tokens / drafts: tokens per target step; NaN without drafts."""
        return 1 + self.accepted_tokens / self.drafts if self.drafts > 0 else math.nan

    @property
    def step_seconds(self) -> float:
        """Mean time of an engine step that emits; NaN without steps."""
        return self.step_seconds_sum / self.step_count if self.step_count > 0 else math.nan

    def before(self, recent: "Window") -> "Window":
        """The older part of this window, up to where `recent` begins; this window itself when it is no longer.

        A difference that a rounding takes below zero is zero. Gauges stay those of the whole window.
        """
        if recent.seconds >= self.seconds:
            return self
        return replace(
            self,
            seconds=self.seconds - recent.seconds,
            drafts=max(0.0, self.drafts - recent.drafts),
            draft_tokens=max(0.0, self.draft_tokens - recent.draft_tokens),
            accepted_tokens=max(0.0, self.accepted_tokens - recent.accepted_tokens),
            requests=max(0.0, self.requests - recent.requests),
            step_seconds_sum=max(0.0, self.step_seconds_sum - recent.step_seconds_sum),
            step_count=max(0.0, self.step_count - recent.step_count),
            generation_tokens=max(0.0, self.generation_tokens - recent.generation_tokens),
            tpot=_left(self.tpot, recent.tpot),
            ttft=_left(self.ttft, recent.ttft),
            e2e=_left(self.e2e, recent.e2e),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What happened between two scrapes, summed over the pods of one deployment, mode and arm.

    Batches, and not tokens or drafts, are what statistics counts: tokens of one request accept alike.
    """

    at: float
    """Unix seconds of the newest scrape in it."""
    seconds: float
    """Between the scrapes, mean of the pods; several scrape intervals when scrapes were lost."""
    drafts: float = 0.0
    draft_tokens: float = 0.0
    accepted_tokens: float = 0.0
    generation_tokens: float = 0.0
    requests: float = 0.0
    step_seconds_sum: float = 0.0
    step_count: float = 0.0
    tpot_seconds_sum: float = 0.0
    """Over the requests that finished in it."""
    tpot_count: float = 0.0
    running_requests: float = 0.0
    """At the scrapes, mean per pod."""

    @property
    def acceptance_rate(self) -> float:
        """Accepted / proposed draft tokens; NaN without drafts."""
        return self.accepted_tokens / self.draft_tokens if self.draft_tokens > 0 else math.nan

    @property
    def acceptance_length(self) -> float:
        """1 + accepted tokens / drafts; NaN without drafts."""
        return 1 + self.accepted_tokens / self.drafts if self.drafts > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured number with a 95 % interval."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True)
class Change:
    """What a sequential detector says of one signal."""

    reference: float
    """Mean of the signal before."""
    recent: float
    """Mean of the signal since."""
    since: float
    """Unix seconds: the most likely moment of the change."""
    evidence_nats: float
    threshold_nats: float
    """Logarithm of the batches between two false alarms: `guard.daysPerFalseStep` at this scrape interval."""

    @property
    def is_certain(self) -> bool:
        """Whether the evidence has reached the threshold."""
        return self.evidence_nats >= self.threshold_nats


@dataclass(frozen=True, slots=True)
class Signals:
    """What the detectors say. None: too little has been seen in this mode to say anything."""

    acceptance_fall: Change | None = None
    """Of the acceptance length."""
    acceptance_rise: Change | None = None
    tpot_rise: Change | None = None
    """Of the time per output token at the load it was measured at; both numbers are ratios to what that load costs."""
    decay: Change | None = None
    """Of the acceptance length over hours; `since` is where the slope begins."""
    acceptance_rate: Interval | None = None
    """Mean of the batches' acceptance rates since the mode began, as a confidence sequence: the interval holds at every
    moment at once, however often it is looked at.
    """
    design_effect: float = math.nan
    """Variance of the acceptance of batches / what independent drafts would have. NaN until it is known."""


NO_SIGNALS = Signals()


@dataclass(frozen=True)
class TemperatureBucket:
    """Acceptance per request at one range of sampling temperatures, where the meter runs."""

    temperature: str
    """The range as the meter labels it: `0`, `0-0.5` …"""
    acceptance: Histogram
    """Of acceptance rates per request: bounds, sum and count are ratios, not seconds."""


@dataclass(frozen=True)
class CacheReading:
    """What the running engine says of its KV cache (`vllm:cache_config_info`); the smallest of its pods."""

    num_gpu_blocks: int
    block_size_tokens: int


@dataclass(frozen=True)
class Measurement:
    """One deployment, mode and arm, over a fast window (four scrapes) and a slow one (`guard.window`)."""

    availability: Availability
    cause: str
    """One sentence when not MEASURED: what is missing and where to look."""
    mode: Mode | None = None
    arm: Arm = Arm.MAIN
    fast: Window | None = None
    slow: Window | None = None
    pods_up: int = 0
    newest_sample_age_seconds: float = math.inf
    cache: CacheReading | None = None
    """None: no pod of this mode and arm says, or not all of it."""
    batches: tuple[Batch, ...] = ()
    """Of the slow window, oldest first."""
    signals: Signals = NO_SIGNALS
    control: "Measurement | None" = None
    """Of the control arm at the same time; None: none is wanted or none was seen."""
    temperatures: tuple[TemperatureBucket, ...] = ()
    """Over the slow window; empty without the meter."""

    @cached_property
    def earlier(self) -> Window | None:
        """The slow window without the fast one. What holds for a whole window holds here and in `fast`; an average over
        it would already follow one bad end.
        """
        return None if self.slow is None or self.fast is None else self.slow.before(self.fast)


@dataclass(frozen=True, slots=True)
class PodFact:
    """One pod of the engine."""

    name: str
    mode: Mode | None
    is_ready: bool
    is_terminating: bool
    is_pending: bool
    """Not yet scheduled."""
    restarts: int
    created_at: datetime
    waiting_reason: str = ""
    """CrashLoopBackOff, ImagePullBackOff, CreateContainerConfigError … or empty."""
    message: str = ""
    """Last words of the container, or of the scheduler."""
    not_ready_since: datetime | None = None
    """Last transition of its condition Ready to False; None when it is ready, or no kubelet has spoken of it yet."""


@dataclass(frozen=True)
class Child:
    """The owned Deployment, as last seen."""

    uid: str
    is_ours: bool
    """Whether its controller reference is this resource; False blocks every write."""
    generation: int
    observed_generation: int
    desired_replicas: int
    replicas: int
    updated_replicas: int
    ready_replicas: int
    available_replicas: int
    mode: Mode | None
    """From our annotation."""
    spec_hash: str
    intent_hash: str
    """Hash of the objects that were last applied, from our annotation."""
    rolled_back_for: str = ""
    """Second record of the latch: the spec hash it is bound to."""
    rolled_back_from: Mode | None = None
    reason: str = ""
    progress_deadline_exceeded: bool = False

    @property
    def is_rolled_out(self) -> bool:
        """Whether the last applied template serves with all replicas and nothing of the old one is left."""
        return (
            self.observed_generation >= self.generation
            and self.updated_replicas == self.desired_replicas == self.replicas
            and self.ready_replicas >= self.desired_replicas
        )


@dataclass(frozen=True)
class Cluster:
    """What the cluster says of one resource."""

    child: Child | None
    pods: tuple[PodFact, ...] = ()
    """Of the main arm."""
    control: Child | None = None
    """The Deployment of the control arm."""
