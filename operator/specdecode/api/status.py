"""The status of a `SpecDecodeDeployment`: the memory of decisions. Measurements live in Prometheus; what stands here is
coarse and rewritten only when it changes by a step that matters.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainSerializer

from specdecode.api.base import StatusModel
from specdecode.api.vocabulary import Mode

HISTORY_LIMIT = 10
"""Entries kept in `history`."""
CALIBRATION_LIMIT = 2 * len(Mode)
"""Entries kept in `calibration`: for every mode what the plan in force uses and what was measured under it."""


OFF_BAND_LIMIT = 12
"""Loads kept in `baseline.off.bands`."""
FINDING_LIMIT = 6
"""Entries kept in `findings`."""
RULE_LIMIT = 20
"""Rules kept with a decision."""
SAW_LIMIT = 160
"""Characters of what a rule saw."""


def rfc3339(moment: datetime) -> str:
    """A time as Kubernetes writes it: UTC, whole seconds. `moment` must be aware and in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
"""UTC, whole seconds."""

Mebibytes = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}Mi$")]
"""A Quantity that later plans read back."""


class ConditionType(StrEnum):
    """All present from the first visit. `Reconciling` and `Stalled` are abnormal when True (kstatus)."""

    READY = "Ready"
    PLANNED = "Planned"
    SPECULATION_ACTIVE = "SpeculationActive"
    METRICS_AVAILABLE = "MetricsAvailable"
    PAUSED = "Paused"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Unknown is not False."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Helped(StrEnum):
    """Whether a step down made things better, at the same load."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class Condition(StatusModel):
    """One condition, as in the Kubernetes API conventions."""

    type: ConditionType
    """Which question is answered."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=128)]
    """One CamelCase word for machines."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """One sentence for people, with the numbers."""
    observed_generation: int | None = None
    """The generation of the spec that was looked at."""
    last_transition_time: Timestamp
    """When `status` last changed."""


class LedgerLineStatus(StatusModel):
    """One line of the memory ledger of one GPU."""

    name: str
    """What takes, or gives, the memory."""
    size: str
    """Quantity; negative for what is taken."""


class ModePlanStatus(StatusModel):
    """The plan of one mode."""

    name: Mode
    """The mode."""
    fits: bool
    """Whether it fits. A mode that does not fit is no fallback."""
    short_by: str | None = None
    """Memory per GPU that is missing."""
    kv_cache: str | None = None
    """Memory per GPU that is left for the KV cache."""
    kv_cache_tokens: int | None = None
    """Tokens that the KV cache of one replica holds."""
    measured_kv_cache_tokens: int | None = None
    """The same as the running engine sized it. Absent until it was measured under this spec."""
    requests_at_max_model_len: str | None = None
    """Requests of maxModelLen tokens that fit at once."""
    ledger: tuple[LedgerLineStatus, ...] | None = None
    """The lines, for the requested mode."""


class AdviceStatus(StatusModel):
    """One piece of advice."""

    reason: str
    """Stable CamelCase name."""
    message: str
    """One sentence with the numbers and the way out."""


class PlanStatus(StatusModel):
    """What the plan found, mode by mode, best first."""

    engine_version: str | None = None
    """The vLLM version that the flags are for."""
    requested_mode: Mode
    """The mode that the spec asks for."""
    gpu_memory: str
    """Memory of one GPU."""
    modes: tuple[ModePlanStatus, ...] = ()
    """The ladder."""
    advice: tuple[AdviceStatus, ...] = ()
    """What a careful colleague would say."""


class CalibrationStatus(StatusModel):
    """What an engine really took. Later specs of the same shape are planned with it, the one it was measured under
    is not: what runs is never changed by being measured.
    """

    shape: str
    """Digest of what decides the memory beside the KV cache: image, models, limits, accelerator, speculation."""
    spec_hash: str
    """The spec it was measured under."""
    mode: Mode
    """The mode that ran."""
    planned_kv_cache: Mebibytes
    """Per GPU, as the plan has it without any measurement."""
    measured_kv_cache: Mebibytes
    """Per GPU, as the engine sized it; the smallest of its pods."""
    error_percent: str
    """100 x (planned - measured) / measured, one decimal. Positive: the plan promised more than there is."""
    non_kv_cache: Mebibytes
    """Per GPU: the budget less the measured KV cache. This is what later plans use."""
    at: Timestamp
    """When it was measured."""


class Bounds(StatusModel):
    """An interval. vLLM's histograms give a quantile only to the edges of a bucket."""

    low: str
    """Lower bound, a duration."""
    high: str
    """Upper bound, a duration, or `unbounded`."""


class ObservedStatus(StatusModel):
    """The last measurement that mattered. Coarse: Prometheus has the rest."""

    mode: Mode
    """The mode that was measured."""
    window: str
    """Length of the window."""
    acceptance_rate_percent: int | None = None
    """Accepted / proposed draft tokens."""
    acceptance_length: str | None = None
    """Tokens per target step: 1 + accepted tokens / drafts."""
    tpot_mean: str | None = None
    """Mean time per output token."""
    tpot_p50: Bounds | None = Field(default=None, alias="tpotP50")
    """Median time per output token."""
    tpot_p99: Bounds | None = Field(default=None, alias="tpotP99")
    """P99 of the time per output token."""
    ttft_p99: Bounds | None = Field(default=None, alias="ttftP99")
    """P99 of the time to the first token."""
    e2e_p99: Bounds | None = Field(default=None, alias="e2eP99")
    """P99 of the whole request."""
    running_requests: int | None = None
    """Requests running at once, per replica, mean of the window."""
    speedup: str | None = None
    """Net speed-up against the best baseline there is."""
    speedup_low: str | None = None
    """Lower end of its 95 % interval."""
    speedup_high: str | None = None
    """Upper end of its 95 % interval."""
    speedup_source: str | None = None
    """Where the baseline comes from."""


class OffBand(StatusModel):
    """What the deployment did without speculation at one load."""

    running_requests: int
    """Requests running at once, per replica: the middle of the band."""
    tpot_mean: str
    """Mean time per output token."""
    tpot_p50: Bounds | None = Field(default=None, alias="tpotP50")
    """Median time per output token."""
    tpot_p99: Bounds | None = Field(default=None, alias="tpotP99")
    """P99 of the time per output token."""
    step_mean: str | None = None
    """Mean time of an engine step."""
    at: Timestamp
    """When it was measured."""


class OffBaseline(StatusModel):
    """What the same deployment did without speculation, by load."""

    key: str
    """Hash of model, engine and accelerator it was measured for."""
    bands: Annotated[tuple[OffBand, ...], Field(max_length=OFF_BAND_LIMIT)] = ()
    """By load, ascending; each load stands for those within 30 % of it."""


class DraftBaseline(StatusModel):
    """What the unquantised draft of this deployment accepted."""

    key: str
    """Hash of target and draft, without the draft's quantisation."""
    acceptance_rate_percent: str
    """Accepted / proposed draft tokens, one decimal."""
    draft_tokens: int
    """Proposed tokens it was measured on."""
    at: Timestamp
    """When it was measured."""


class BaselineStatus(StatusModel):
    """What later judgements are compared with."""

    off: OffBaseline | None = None
    """Without speculation."""
    draft: DraftBaseline | None = None
    """With the unquantised draft."""


class EvidenceItem(StatusModel):
    """One number that led to a decision."""

    name: str
    """What was measured."""
    value: str
    """The number with its unit."""
    limit: str | None = None
    """What it was held against."""


class LoadPoint(StatusModel):
    """Latency at a load, before or after a step."""

    tpot_mean: str
    """Mean time per output token."""
    tpot_p99: Bounds | None = Field(default=None, alias="tpotP99")
    """P99 of the time per output token."""
    running_requests: int
    """Requests running at once, per replica."""


class RuleOutcome(StrEnum):
    """What came of one rule."""

    ACTS = "Acts"
    """It is why the mode was left."""
    ADVISES = "Advises"
    """It has something to say and changed nothing."""
    HOLDS = "Holds"
    """It looked and found nothing wrong."""
    NOT_ASKED = "NotAsked"
    """Too little was known for it."""


class RuleStatus(StatusModel):
    """What one rule of the guard saw when the decision was made."""

    rule: str
    """CamelCase name of the rule."""
    outcome: RuleOutcome
    """What came of it."""
    saw: Annotated[str, Field(max_length=SAW_LIMIT)]
    """The facts it looked at, with the numbers and the limit; or what it lacked."""


Rules = Annotated[tuple[RuleStatus, ...], Field(max_length=RULE_LIMIT)]


class DecisionStatus(StatusModel):
    """The last decision that was another than the one before it, rule by rule: what `kubectl specdecode explain` shows.
    Its numbers are those of that moment.
    """

    at: Timestamp
    """When it was made."""
    mode: Mode
    """What should run."""
    reason: str
    """CamelCase: the rule that acted, or what holds, or why nothing was judged."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """One sentence with the numbers."""
    spec_hash: str = ""
    """The spec it was made for."""
    rules: Rules = ()
    """In the order in which they are asked. Empty where nothing was to be judged."""


class RollbackStatus(StatusModel):
    """The latch: a decision bound to the spec it was made for."""

    from_mode: Mode = Field(alias="from")
    """What ran."""
    to: Mode
    """What runs instead."""
    reason: str
    """CamelCase name of the rule."""
    message: str
    """One sentence with the numbers and what to do."""
    evidence: tuple[EvidenceItem, ...] = ()
    """The numbers."""
    at: Timestamp
    """When it was decided."""
    spec_hash: str
    """The spec it holds for. A spec with another hash re-arms."""
    attempts: int = 1
    """How often the requested mode was tried under this spec."""
    helped: Helped = Helped.UNKNOWN
    """Whether it made things better, at the same load."""
    before: LoadPoint | None = None
    """Latency before the step."""
    after: LoadPoint | None = None
    """Latency after it."""
    rules: Rules = ()
    """What each rule saw when it was decided."""


class ExonerationStatus(StatusModel):
    """A step down that did not help: speculation was not the cause, and latency no longer turns it off."""

    spec_hash: str
    """The spec it holds for."""
    reason: str
    """The rule that had stepped down."""
    at: Timestamp
    """When it was found."""


class FindingStatus(StatusModel):
    """Something worth knowing that changes nothing by itself."""

    reason: str
    """CamelCase name of the rule."""
    message: Annotated[str, Field(max_length=1024)]
    """One sentence with the numbers, as they were when it was found."""
    since: Timestamp
    """When it was found."""


class HistoryEntry(StatusModel):
    """One past decision."""

    at: Timestamp
    """When."""
    action: str
    """RolledBack, Recommended, Retried, SteppedBackUp, Rearmed, Qualified, Confirmed."""
    spec_hash: str = ""
    """The spec it was decided under."""
    attempts: int | None = None
    """Of a step down: how often the requested mode had been tried under this spec."""
    from_mode: Mode = Field(alias="from")
    """What ran, or should have."""
    to: Mode
    """What runs instead."""
    reason: str
    """CamelCase name of the rule."""
    message: str
    """One sentence with the numbers."""


class SpecDecodeDeploymentStatus(StatusModel):
    """What runs, what was measured, what was decided and why."""

    observed_generation: int | None = None
    """The generation of the spec this status belongs to."""
    spec_hash: str | None = None
    """Hash of the fields that decide what runs: model, engine, accelerator, speculation."""
    mode: Mode | None = None
    """What runs, or is being rolled out."""
    replicas: int | None = None
    """Pods of the engine."""
    ready_replicas: int | None = None
    """Pods that answer."""
    selector: str | None = None
    """Label selector of the pods, for autoscalers."""
    plan: PlanStatus | None = None
    """The memory plan."""
    calibration: Annotated[
        tuple[CalibrationStatus, ...],
        Field(
            max_length=CALIBRATION_LIMIT,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["shape", "specHash"]},
        ),
    ] = ()
    """The plan against running engines, newest first."""
    observed: ObservedStatus | None = None
    """The last measurement that mattered."""
    baseline: BaselineStatus | None = None
    """What later judgements are compared with."""
    decision: DecisionStatus | None = None
    """The last decision, rule by rule."""
    rollback: RollbackStatus | None = None
    """The step down in force, if any."""
    findings: Annotated[tuple[FindingStatus, ...], Field(max_length=FINDING_LIMIT)] = ()
    """What the guard sees besides, worst first."""
    exoneration: ExonerationStatus | None = None
    """Set when a step down did not help."""
    acknowledged_retry: str | None = None
    """The last value of the annotation `specdecode.io/retry` that was acted on."""
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=HISTORY_LIMIT)] = ()
    """Past decisions, newest first."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = ()
    """Ready, Planned, SpeculationActive, MetricsAvailable, Paused, Reconciling, Stalled."""

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of that type, if it was ever written."""
        for condition in self.conditions:
            if condition.type is kind:
                return condition
        return None
