"""What is to be measured of one deployment. Pure."""

from dataclasses import dataclass

from specdecode.api.resource import SpecDecodeDeployment
from specdecode.api.vocabulary import Mode
from specdecode.decide.settled import settled_since
from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import EngineVersion
from specdecode.plan.ladder import speculation_of

Key = tuple[str, str]
"""Namespace and name of a deployment."""


@dataclass(frozen=True)
class Subject:
    """One deployment to measure."""

    key: Key
    mode: Mode
    """The mode that runs."""
    metric_names: MetricNames
    window_seconds: float
    """`guard.window`."""
    num_speculative_tokens: int = 0
    """Tokens of the longest draft; 0: the mode does not speculate."""
    spec_hash: str = ""
    """Another spec is another deployment: what its detectors saw is forgotten."""
    days_per_false_step: int = 30
    settled_since: float | None = None
    """Unix seconds since when the mode has been rolled out and measured without a break; None: it is not settled, and
    the detectors learn nothing."""
    control_names: MetricNames | None = None
    """What the control arm exposes; None: none is wanted."""

    @property
    def names(self) -> tuple[MetricNames, ...]:
        """Everything that is asked for."""
        return (self.metric_names,) if self.control_names is None else (self.metric_names, self.control_names)

    @property
    def identity(self) -> tuple[object, ...]:
        """What must stay the same for history to go on."""
        return (
            self.key,
            self.mode,
            self.metric_names,
            self.window_seconds,
            self.num_speculative_tokens,
            self.spec_hash,
        )


def subject_of(resource: SpecDecodeDeployment, mode: Mode, version: EngineVersion) -> Subject:
    """A deployment whose pods run `mode` on an engine of `version`. `resource.status` is the newest one."""
    active = speculation_of(resource.spec, mode)
    method, tokens = (None, 0) if active is None else (active.method, active.num_speculative_tokens)
    since = settled_since(resource.status)
    has_control = resource.spec.guard.baseline.control_replicas > 0 and mode is not Mode.OFF
    return Subject(
        key=resource.key,
        mode=mode,
        metric_names=metric_names(version, method),
        window_seconds=resource.window_seconds,
        num_speculative_tokens=tokens,
        spec_hash=resource.spec_hash,
        days_per_false_step=resource.spec.guard.days_per_false_step,
        settled_since=None if since is None else since.timestamp(),
        control_names=metric_names(version) if has_control else None,
    )
