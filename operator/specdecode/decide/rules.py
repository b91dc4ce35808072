"""The specification of the guard: every rule, worst first, and how much must be known before it may speak."""

from collections.abc import Callable
from dataclasses import dataclass

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
from specdecode.decide.decision import Finding
from specdecode.decide.latency import gain_not_confirmed, latency_over_limit, mixed_traffic, slower_than_baseline
from specdecode.decide.settle import window_lengthened
from specdecode.decide.situation import Stage, View
from specdecode.decide.starting import engine_not_starting


@dataclass(frozen=True)
class Rule:
    """One question about the view, and when it may be asked."""

    needs: Stage
    finding: Callable[[View], Finding | None]


RULES = (
    Rule(Stage.STARTING, engine_not_starting),
    Rule(Stage.FAST, acceptance_collapsed),
    Rule(Stage.SETTLED, quantization_drop),
    Rule(Stage.SETTLED, slower_than_baseline),
    Rule(Stage.SETTLED, latency_over_limit),
    Rule(Stage.SETTLED, acceptance_below_floor),
    # Advice.
    Rule(Stage.SETTLED, acceptance_decays),
    Rule(Stage.SETTLED, acceptance_fell),
    Rule(Stage.SETTLED, slower_at_same_load),
    Rule(Stage.SETTLED, mixed_traffic),
    Rule(Stage.SETTLED, temperature_below_floor),
    Rule(Stage.SETTLED, acceptance_rose),
    Rule(Stage.SETTLED, acceptance_under_review),
    Rule(Stage.SETTLED, gain_not_confirmed),
    Rule(Stage.SETTLED, window_lengthened),
)


def findings(view: View) -> tuple[Finding, ...]:
    """What the rules say, worst first; the step that will be taken, if any, leads."""
    spoken = [rule.finding(view) for rule in RULES if view.stage >= rule.needs]
    found = [finding for finding in spoken if finding is not None]
    return tuple(sorted(found, key=lambda finding: finding.target is None))
