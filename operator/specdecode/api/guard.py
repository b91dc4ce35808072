"""When the operator steps in: the thresholds of the guard."""

from typing import Annotated, ClassVar

from pydantic import Field

from specdecode.api.base import ApiModel, Rule
from specdecode.api.values import DURATION, Duration, Integer, Percent, seconds_of
from specdecode.api.vocabulary import Action


class AcceptanceSpec(ApiModel):
    """Floors for the acceptance rate, accepted / proposed draft tokens."""

    rules: ClassVar = (
        Rule(
            cel="self.offBelowPercent <= self.reviewBelowPercent",
            message="offBelowPercent must not exceed reviewBelowPercent: below the one speculation is turned off, "
            "between the two latency decides",
            holds=lambda acceptance: acceptance.off_below_percent <= acceptance.review_below_percent,
        ),
    )

    off_below_percent: Percent = 50
    """Below this speculation is turned off, unless a measured baseline shows that it still pays."""
    review_below_percent: Percent = 65
    """Between `offBelowPercent` and this, latency decides; above it, confirm the gain against a baseline and ship."""
    max_quantization_drop_points: Annotated[Integer, Field(ge=1, le=100)] = 5
    """A quantised draft that accepts this many points less than the unquantised one did is taken back."""


class LatencySpec(ApiModel):
    """Limits on latency. vLLM's histograms have edges at 10, 25, 50, 75, 100, 150, 200, 300 ms and so on: a limit is
    judged only when the whole interval around the P99 lies beyond it.
    """

    tpot_p99: Duration | None = Field(default=None, alias="tpotP99")
    """Limit for the P99 of the time per output token."""
    ttft_p99: Duration | None = Field(default=None, alias="ttftP99")
    """Limit for the P99 of the time to the first token. Speculation does not improve it."""
    e2e_p99: Duration | None = Field(default=None, alias="e2eP99")
    """Limit for the P99 of the whole request."""
    max_regression_percent: Annotated[Integer, Field(ge=1, le=1000)] = 10
    """Mean time per output token may exceed the baseline at the same load by this much."""


class BaselineSpec(ApiModel):
    """Where the comparison without speculation comes from."""

    control_replicas: Annotated[Integer, Field(ge=0, le=1)] = 0
    """1 keeps one replica without speculation beside the others for a live comparison. It is one of `replicas`, which
    must be at least 2; where those are left to an autoscaler it comes on top.
    """


class RetrySpec(ApiModel):
    """When the guard tries the requested mode again by itself after a rollback."""

    after: Duration = "24h"
    """Time since the rollback."""
    max_attempts: Annotated[Integer, Field(ge=1, le=10)] = 2
    """Attempts for one spec."""


class GuardSpec(ApiModel):
    """When the operator steps in, and how far."""

    rules: ClassVar = (
        Rule(
            # duration() fails on a malformed window, which the rule on the value itself refuses in better words.
            cel=f"!self.window.matches(r'{DURATION}') || "
            "(duration(self.window) >= duration('10s') && duration(self.window) <= duration('1h'))",
            message="window must lie between 10s and 1h; it should hold at least four scrapes",
            holds=lambda guard: 10 <= seconds_of(guard.window) <= 3600,
            field_path=".window",
        ),
        Rule(
            cel="!has(self.retry) || "
            f"!self.window.matches(r'{DURATION}') || !self.retry.after.matches(r'{DURATION}') || "
            "duration(self.retry.after) >= duration(self.window)",
            message="retry.after must not be shorter than window: a retry is judged only after one window",
            holds=lambda guard: guard.retry is None or seconds_of(guard.retry.after) >= seconds_of(guard.window),
            field_path=".retry.after",
        ),
    )

    action: Action = Action.ENFORCE
    """`Enforce` changes the mode; `Recommend` only says what it would do."""
    acceptance: AcceptanceSpec = AcceptanceSpec()
    """Floors for the acceptance rate."""
    latency: LatencySpec = LatencySpec()
    """Limits on latency."""
    baseline: BaselineSpec = BaselineSpec()
    """Where the comparison without speculation comes from."""
    days_per_false_step: Annotated[Integer, Field(ge=1, le=365)] = 30
    """Days between two false alarms of the change detectors that one deployment may expect. More days: slower."""
    qualify: bool = False
    """Run the unquantised draft first until its acceptance is known, then the quantised one, and keep the better."""
    meter: bool = False
    """Measure the acceptance of each request by its temperature, with a small middleware inside the engine, and show it
    in the engine's own metrics as `specdecode:request_acceptance_rate`. It needs vLLM 0.29 or newer, and changing it
    restarts the engines. Requests for several choices are not measured, and streamed ones only where they ask for
    usage (`stream_options.include_usage`) or the engine always reports it (`--enable-force-include-usage`).
    """
    window: Duration = "5m"
    """A finding must hold this long before the guard acts; also the wait after a change before it judges again."""
    retry: RetrySpec | None = None
    """Omitted: never by itself; a new spec or the annotation `specdecode.io/retry` re-arms."""
