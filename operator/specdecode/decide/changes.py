"""What the change detectors say, as advice: that something changed is no reason to act. Whether speculation still pays
is; the rules on benefit and on the floor look only at what came since a certain change, and need not wait for a window.
"""

from datetime import UTC, datetime

from specdecode.api.status import rfc3339
from specdecode.api.vocabulary import Mode
from specdecode.decide.decision import Finding, Reason
from specdecode.decide.facts import Change, TemperatureBucket
from specdecode.decide.quantiles import quantile_bounds
from specdecode.decide.situation import View
from specdecode.decide.wording import percent

MIN_REQUESTS_PER_TEMPERATURE = 30


def _moment(change: Change) -> str:
    return rfc3339(datetime.fromtimestamp(change.since, UTC))


def _certain(change: Change | None) -> Change | None:
    return change if change is not None and change.is_certain else None


def _moved(change: Change) -> str:
    ratio = 100 * (change.recent / change.reference - 1)
    return f"{change.reference:.2f} -> {change.recent:.2f} ({ratio:+.0f} %) since {_moment(change)}"


def acceptance_fell(view: View) -> Finding | None:
    """The draft accepts less than it did: a fault, or other content."""
    change = _certain(view.situation.measurement.signals.acceptance_fall)
    if change is None:
        return None
    message = (
        f"acceptance length {_moved(change)}: the traffic or the draft changed; it is turned off only if it does not "
        "pay any more"
    )
    return Finding(Reason.ACCEPTANCE_FELL, message)


def acceptance_rose(view: View) -> Finding | None:
    """Far more is accepted than before: text that repeats itself is easy to guess."""
    change = _certain(view.situation.measurement.signals.acceptance_rise)
    if change is None:
        return None
    message = f"acceptance length {_moved(change)}: if answers grew longer too, look for text that repeats itself"
    return Finding(Reason.ACCEPTANCE_ROSE, message)


def acceptance_decays(view: View) -> Finding | None:
    """A slow loss over hours, as in vllm-project/vllm#41838 and sgl-project/sglang#37326."""
    change = _certain(view.situation.measurement.signals.decay)
    if change is None:
        return None
    message = (
        f"acceptance length decays slowly, {_moved(change)}: a restart of the pods or a reset of the prefix cache is "
        "the cheaper first remedy; report it to the engine"
    )
    return Finding(Reason.ACCEPTANCE_DECAYS, message)


def slower_at_same_load(view: View) -> Finding | None:
    """Tokens take longer than the same load used to cost."""
    change = _certain(view.situation.measurement.signals.tpot_rise)
    if change is None:
        return None
    message = (
        f"time per output token is {100 * (change.recent / change.reference - 1):.0f} % longer than this load used to "
        f"cost, since {_moment(change)}"
    )
    return Finding(Reason.SLOWER_AT_SAME_LOAD, message)


def _share_below(bucket: TemperatureBucket, floor: float) -> float:
    """Share of the requests whose acceptance is surely below `floor`: up to the last edge that does not exceed it."""
    known = [seen for bound, seen in bucket.acceptance.buckets if bound <= floor]
    return known[-1] / bucket.acceptance.count if known else 0.0


def _worst_temperature(view: View) -> tuple[TemperatureBucket, float] | None:
    floor = view.guard.acceptance.off_below_percent / 100
    counted = [
        bucket
        for bucket in view.situation.measurement.temperatures
        if bucket.acceptance.count >= MIN_REQUESTS_PER_TEMPERATURE
    ]
    below = [(bucket, _share_below(bucket, floor)) for bucket in counted]
    # Where half of the requests of a temperature lie under the floor, its median does.
    return max(((bucket, share) for bucket, share in below if share > 1 / 2), key=lambda pair: pair[1], default=None)


def temperature_below_floor(view: View) -> Finding | None:
    """An average hides a minority: requests at one temperature accept less than the floor."""
    worst = None if view.mode is Mode.OFF else _worst_temperature(view)
    if worst is None:
        return None
    bucket, share = worst
    total = sum(other.acceptance.count for other in view.situation.measurement.temperatures)
    tenth, median, ninth = (quantile_bounds(bucket.acceptance, quantile) for quantile in (0.1, 0.5, 0.9))
    message = (
        f"at temperature {bucket.temperature} {percent(share)} of the requests accept less than "
        f"{view.guard.acceptance.off_below_percent} % (P10 up to {percent(min(1.0, tenth[1]))}, median up to "
        f"{percent(min(1.0, median[1]))}, P90 up to {percent(min(1.0, ninth[1]))}); they are "
        f"{percent(bucket.acceptance.count / total)} of all: serve them from a deployment without speculation"
    )
    return Finding(Reason.TEMPERATURE_BELOW_FLOOR, message)
