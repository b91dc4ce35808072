"""The specification of the guard: every rule, worst first, and how much must be known before it may speak."""

from collections.abc import Callable
from dataclasses import dataclass

from specdecode.decide import saw
from specdecode.decide.acceptance import (
    acceptance_below_floor,
    acceptance_collapsed,
    acceptance_under_review,
    quantization_drop,
)
from specdecode.decide.changes import (
    acceptance_decays,
    acceptance_fell,
    acceptance_rose,
    slower_at_same_load,
    temperature_below_floor,
)
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.latency import gain_not_confirmed, latency_over_limit, mixed_traffic, slower_than_baseline
from specdecode.decide.settle import window_lengthened
from specdecode.decide.situation import Stage, View
from specdecode.decide.starting import engine_not_starting


@dataclass(frozen=True)
class Rule:
    """One question about the view, and when it may be asked."""

    reason: Reason
    """Its name; a finding of it may carry another, where the same facts mean something else."""
    needs: Stage
    finding: Callable[[View], Finding | None]
    saw: Callable[[View], str]
    """The facts it looks at, in words; or which of them it lacks."""


RULES = (
    Rule(Reason.ENGINE_NOT_STARTING, Stage.STARTING, engine_not_starting, saw.pods),
    Rule(Reason.ACCEPTANCE_COLLAPSED, Stage.FAST, acceptance_collapsed, saw.newest_drafts),
    Rule(Reason.QUANTIZATION_DROP, Stage.SETTLED, quantization_drop, saw.quantization),
    Rule(Reason.SLOWER_THAN_BASELINE, Stage.SETTLED, slower_than_baseline, saw.benefit),
    Rule(Reason.LATENCY_OVER_LIMIT, Stage.SETTLED, latency_over_limit, saw.latency),
    Rule(Reason.ACCEPTANCE_BELOW_FLOOR, Stage.SETTLED, acceptance_below_floor, saw.floor),
    # Advice.
    Rule(Reason.ACCEPTANCE_DECAYS, Stage.SETTLED, acceptance_decays, saw.decay),
    Rule(Reason.ACCEPTANCE_FELL, Stage.SETTLED, acceptance_fell, saw.fall),
    Rule(Reason.SLOWER_AT_SAME_LOAD, Stage.SETTLED, slower_at_same_load, saw.tpot_rise),
    Rule(Reason.MIXED_TRAFFIC, Stage.SETTLED, mixed_traffic, saw.mixture),
    Rule(Reason.TEMPERATURE_BELOW_FLOOR, Stage.SETTLED, temperature_below_floor, saw.temperatures),
    Rule(Reason.ACCEPTANCE_ROSE, Stage.SETTLED, acceptance_rose, saw.rise),
    Rule(Reason.ACCEPTANCE_UNDER_REVIEW, Stage.SETTLED, acceptance_under_review, saw.review),
    Rule(Reason.GAIN_NOT_CONFIRMED, Stage.SETTLED, gain_not_confirmed, saw.benefit),
    Rule(Reason.WINDOW_LENGTHENED, Stage.SETTLED, window_lengthened, saw.window),
)


def findings(view: View) -> tuple[Finding, ...]:
    """What the rules say, worst first; the step that will be taken, if any, leads."""
    spoken = [rule.finding(view) for rule in RULES if view.stage >= rule.needs]
    found = [finding for finding in spoken if finding is not None]
    return tuple(sorted(found, key=lambda finding: finding.target is None))
