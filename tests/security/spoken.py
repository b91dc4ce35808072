"""Everything that the operator says of a resource."""

from collections.abc import Iterator
from typing import Any

from builders import NOW

from specdecode.decide.facts import Availability, Measurement
from specdecode.judge import Prepared, Seen, judge
from specdecode.notes import event_body, transitions


def spoken(prepared: Prepared, body: dict[str, Any]) -> Iterator[str]:
    """Every sentence that the operator makes of a resource: conditions, findings, Events."""
    seen = Seen(
        body, None, (), has_children=False, measurement=Measurement(Availability.NO_DATA, "nothing"),
        measured_at=None, failure=None, fast_window_seconds=60.0,
    )  # fmt: skip
    outcome = judge(prepared, seen, NOW)
    for condition in outcome.status.conditions:
        yield condition.message
        yield condition.reason
    for advice in outcome.status.plan.advice if outcome.status.plan else ():
        yield advice.message
    for note in transitions(outcome.old, outcome.status, NOW):
        event = event_body(outcome.metadata, note)
        yield event["message"]
        yield event["reason"]
