"""One deployment as the cluster has it, at one moment. It can always be made: what cannot be read is absent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from specdecode.api.guard import GuardSpec
from specdecode.api.resource import Metadata, Rejection, SpecDecodeDeployment, parse, read_metadata, read_status
from specdecode.api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    RollbackStatus,
    SpecDecodeDeploymentStatus,
)
from specdecode.api.vocabulary import ANNOTATION_FORCE_MODE, Mode


@dataclass(frozen=True)
class Caller:
    """How the command was called, so that what it tells to do can be copied as it stands."""

    program: str = "kubectl specdecode"
    options: str = ""
    """`--context` and `--kubeconfig` as they were given, with a leading blank."""
    kubectl: str = "kubectl"


@dataclass(frozen=True)
class Subject:
    """What everything else is told from."""

    body: Mapping[str, Any]
    now: datetime
    caller: Caller = Caller()

    @cached_property
    def metadata(self) -> Metadata:
        """Name, namespace, annotations."""
        return read_metadata(self.body)

    @cached_property
    def status(self) -> SpecDecodeDeploymentStatus:
        """As the operator wrote it last; empty when it never did."""
        return read_status(self.body)

    @cached_property
    def resource(self) -> SpecDecodeDeployment | None:
        """None: a rule forbids the spec, or another version of the operator wrote it."""
        parsed = parse(self.body)
        return None if isinstance(parsed, Rejection) else parsed

    @property
    def guard(self) -> GuardSpec:
        """The thresholds; those of an empty guard where the spec cannot be read."""
        return GuardSpec() if self.resource is None else self.resource.spec.guard

    @property
    def model(self) -> str:
        """Name of the target."""
        model = (self.body.get("spec") or {}).get("model") or {}
        return str(model.get("name", "unknown")) if isinstance(model, Mapping) else "unknown"

    @property
    def created_at(self) -> datetime | None:
        """None in a body that was never stored."""
        text = (self.body.get("metadata") or {}).get("creationTimestamp")
        try:
            return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
        except ValueError:
            return None

    @property
    def latch(self) -> RollbackStatus | None:
        """The step down in force."""
        return self.status.rollback

    @property
    def requested_mode(self) -> Mode | None:
        """What the spec asks for."""
        if self.resource is not None:
            return self.resource.requested_mode
        return None if self.status.plan is None else self.status.plan.requested_mode

    @property
    def is_seen(self) -> bool:
        """Whether the operator has looked at this generation."""
        return self.status.observed_generation == self.metadata.generation

    @property
    def is_paused(self) -> bool:
        """Whether a person asked for it."""
        return self.metadata.is_paused

    @property
    def forced_mode(self) -> str:
        """What a person asked for; empty: nothing. It need not be a mode."""
        return self.metadata.annotations.get(ANNOTATION_FORCE_MODE, "")

    @property
    def pending_retry(self) -> str:
        """A retry that was asked for and not acted on yet; empty: none."""
        value = self.metadata.retry
        return value if self.latch is not None and value != self.status.acknowledged_retry else ""

    def condition(self, kind: ConditionType) -> Condition | None:
        """As the operator wrote it last."""
        return self.status.condition(kind)

    def has(self, kind: ConditionType, status: ConditionStatus = ConditionStatus.TRUE) -> bool:
        """Whether a condition has this status; one that was never written has none."""
        condition = self.condition(kind)
        return condition is not None and condition.status is status

    def reason(self, kind: ConditionType) -> str:
        """Reason of a condition; empty: never written."""
        condition = self.condition(kind)
        return "" if condition is None else condition.reason

    def message(self, kind: ConditionType) -> str:
        """Message of a condition; empty: never written."""
        condition = self.condition(kind)
        return "" if condition is None else condition.message

    def command(self, verb: str, *arguments: str) -> str:
        """A command of ours for this deployment."""
        words = (self.caller.program, verb, self.metadata.name, *arguments, "-n", self.metadata.namespace)
        return " ".join(words) + self.caller.options

    def everywhere(self, *words: str) -> str:
        """A command of kubectl without a namespace."""
        return " ".join((self.caller.kubectl, *words)) + self.caller.options

    def kubectl(self, *words: str) -> str:
        """A command of kubectl in this namespace."""
        return " ".join((self.caller.kubectl, *words, "-n", self.metadata.namespace)) + self.caller.options
