"""The outcome of the judgement: which mode should run, why, and what was found on the way."""

from dataclasses import dataclass
from enum import StrEnum

from specdecode.api.status import EvidenceItem, RollbackStatus
from specdecode.api.vocabulary import Mode


class Reason(StrEnum):
    """Names of rules and states; they appear as condition reasons, event reasons and metric labels."""

    # Findings that step down.
    ENGINE_NOT_STARTING = "EngineNotStarting"
    ACCEPTANCE_COLLAPSED = "AcceptanceCollapsed"
    QUANTIZATION_DROP = "QuantizationDrop"
    SLOWER_THAN_BASELINE = "SlowerThanBaseline"
    LATENCY_OVER_LIMIT = "LatencyOverLimit"
    ACCEPTANCE_BELOW_FLOOR = "AcceptanceBelowFloor"
    # Advice without action.
    ACCEPTANCE_UNDER_REVIEW = "AcceptanceUnderReview"
    LOW_ACCEPTANCE_PAYS = "LowAcceptancePays"
    GAIN_NOT_CONFIRMED = "GainNotConfirmed"
    COSTS_MORE_THAN_IT_BRINGS = "CostsMoreThanItBrings"
    MIXED_TRAFFIC = "MixedTraffic"
    ACCEPTANCE_FELL = "AcceptanceFell"
    ACCEPTANCE_ROSE = "AcceptanceRose"
    ACCEPTANCE_DECAYS = "AcceptanceDecays"
    SLOWER_AT_SAME_LOAD = "SlowerAtSameLoad"
    TEMPERATURE_BELOW_FLOOR = "TemperatureBelowFloor"
    WINDOW_LENGTHENED = "WindowLengthened"
    # Why nothing was judged.
    ROLLOUT_RUNNING = "RolloutRunning"
    SETTLING = "Settling"
    NOT_MEASURED = "NotMeasured"
    PAUSED = "Paused"
    # What holds.
    AS_REQUESTED = "AsRequested"
    NOT_REQUESTED = "NotRequested"
    ROLLED_BACK = "RolledBack"
    FORCED = "Forced"
    FORCED_MODE_UNAVAILABLE = "ForcedModeUnavailable"
    STEP_DOWN_RECOMMENDED = "StepDownRecommended"
    SPECULATION_NOT_THE_CAUSE = "SpeculationNotTheCause"
    RETRIED = "Retried"
    CONFIRMED = "Confirmed"
    REARMED = "Rearmed"
    NO_FALLBACK_FITS = "NoFallbackFits"
    QUALIFYING = "Qualifying"
    QUALIFIED = "Qualified"
    CIRCUIT_BREAKER_OPEN = "CircuitBreakerOpen"
    TOO_MANY_STEPS = "TooManySteps"


@dataclass(frozen=True)
class Finding:
    """What one rule says about the facts."""

    reason: Reason
    message: str
    """One sentence with the numbers."""
    evidence: tuple[EvidenceItem, ...] = ()
    target: Mode | None = None
    """Where to step; None is advice without action."""


class Step(StrEnum):
    """What happens to the mode."""

    KEEP = "Keep"
    DOWN = "Down"
    UP = "Up"
    """Back to what the spec asks for, or one step back after a step down that did not help."""


@dataclass(frozen=True)
class Decision:
    """What should run now. `decide` is a function: the same input gives the same decision."""

    mode: Mode
    step: Step
    reason: Reason
    message: str
    """One sentence for the condition `SpeculationActive`."""
    findings: tuple[Finding, ...] = ()
    """Advice, and the finding that led to the step, worst first."""
    rollback: RollbackStatus | None = None
    """The latch that holds from now on; None: nothing is latched."""
    exonerated_reason: Reason | None = None
    """Set when a step down did not help and latency was its reason: that rule stays silent for this spec."""
    acknowledged_retry: str | None = None
    """Value of the retry annotation that was acted on."""
    recommended: Mode | None = None
    """With `guard.action: Recommend`: where the guard would have stepped."""
