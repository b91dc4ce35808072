"""What the engine counted over a cell: from two pages of /metrics to drafts, accepted tokens, and other people's
requests. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from specdecode.engine.metrics import MetricNames, metric_names
from specdecode.engine.version import NEWEST_KNOWN, EngineVersion, nearest_known
from specdecode.sweep.types import Drafted

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_PREFIX = "vllm:"


def version_of(text: str) -> EngineVersion | None:
    """The release that `/version` names: `0.32.0`, `0.11.1rc2.dev3+g1a2b`; None for what names none."""
    found = _VERSION.match(text)
    return None if found is None else EngineVersion(*(int(part or 0) for part in found.groups()))


def names_of(version: EngineVersion | None) -> MetricNames:
    """The series to look for; the newest names where the version is unknown."""
    return metric_names(nearest_known(version or NEWEST_KNOWN))


@dataclass(frozen=True)
class Counters:
    """One page of /metrics, all engines and models of it together."""

    has_engine: bool = False
    """Whether there is any series of vLLM."""
    speculates: bool = False
    finished: float | None = None
    """Requests since the engine started; None: it does not say."""
    began_at: float | None = None
    """When the counters began, Unix seconds: another moment is another engine. None: it does not say."""
    running: float = 0.0
    """Requests in the engine now, waiting ones included."""
    drafts: float | None = None
    draft_tokens: float = 0.0
    accepted_tokens: float = 0.0
    accepted_at: tuple[float, ...] = ()
    tpot_seconds: float = 0.0
    """Of all requests, as the engine clocked them: the sum of their times per output token."""
    tpot_requests: float = 0.0
    """How many these are; 0: it does not say."""

    @property
    def num_speculative_tokens(self) -> int:
        """As far as the page tells; 0: it does not."""
        if self.accepted_at:
            return len(self.accepted_at)
        return round(self.draft_tokens / self.drafts) if self.drafts else 0


def _samples(text: str, wanted: frozenset[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Samples of the wanted names. Only their lines are parsed: a page has hundreds of buckets beside them."""
    lines = (line for line in text.splitlines() if re.split(r"[{ \t]", line, maxsplit=1)[0] in wanted)
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def read_counters(text: str, names: MetricNames) -> Counters | None:
    """The counters of a page; None when it is no text of Prometheus."""
    created = f"{names.finished_requests.removesuffix('_total')}_created"
    tpot_sum, tpot_count = f"{names.tpot}_sum", f"{names.tpot}_count"
    wanted = frozenset(filter(None, (*vars(names).values(), created, tpot_sum, tpot_count)))
    sums: dict[str, float] = {}
    began: list[float] = []
    positions: dict[int, float] = {}
    try:
        for name, labels, value in _samples(text, wanted):
            if name == created:
                began.append(value)
                continue
            sums[name] = sums.get(name, 0.0) + value
            if name == names.accepted_tokens_per_position:
                position = int(labels["position"])
                positions[position] = positions.get(position, 0.0) + value
    except (ValueError, KeyError):
        return None
    return Counters(
        has_engine=any(line.startswith(_PREFIX) for line in text.splitlines()),
        speculates=names.draft_tokens in sums,
        finished=sums.get(names.finished_requests),
        began_at=min(began, default=None),
        running=sums.get(names.running, 0.0) + sums.get(names.waiting, 0.0),
        drafts=sums.get(names.drafts or ""),
        draft_tokens=sums.get(names.draft_tokens, 0.0),
        accepted_tokens=sums.get(names.accepted_tokens, 0.0),
        accepted_at=tuple(positions.get(position, 0.0) for position in range(max(positions, default=-1) + 1)),
        tpot_seconds=sums.get(tpot_sum, 0.0),
        tpot_requests=sums.get(tpot_count, 0.0),
    )


def gained(before: Counters, after: Counters) -> Drafted | None:
    """What speculation did between two pages; None: nothing is known of it."""
    if not after.speculates or fell(before, after):
        return None
    earlier = before.accepted_at + (0.0,) * (len(after.accepted_at) - len(before.accepted_at))
    return Drafted(
        # Without a counter of drafts, as before 0.8.5, the length is unknown and stays so.
        drafts=(after.drafts or 0.0) - (before.drafts or 0.0),
        draft_tokens=after.draft_tokens - before.draft_tokens,
        accepted_tokens=after.accepted_tokens - before.accepted_tokens,
        accepted_at=tuple(late - early for late, early in zip(after.accepted_at, earlier, strict=True)),
    )


def fell(before: Counters, after: Counters) -> bool:
    """Whether it is another engine that counts: it restarted, or several take turns."""
    if before.began_at is not None and after.began_at is not None and before.began_at != after.began_at:
        return True
    pairs = (
        (before.finished or 0.0, after.finished or 0.0),
        (before.drafts or 0.0, after.drafts or 0.0),
        (before.draft_tokens, after.draft_tokens),
        (before.accepted_tokens, after.accepted_tokens),
        (len(before.accepted_at), len(after.accepted_at)),
    )
    return any(late < early for early, late in pairs)


def finished_between(before: Counters, after: Counters) -> float | None:
    """Requests that the engine finished between two pages; None: it does not say."""
    if before.finished is None or after.finished is None:
        return None
    return after.finished - before.finished


def remarks(before: Counters, after: Counters, *, sent: int, answered: int) -> tuple[str, ...]:
    """What makes the counters of a cell doubtful, each in one sentence."""
    if fell(before, after):
        return ("another engine counts than at the start: it restarted, or several take turns; acceptance unknown",)
    found = []
    finished = finished_between(before, after)
    if finished is not None and finished > sent:
        found.append(
            f"other traffic: the engine finished {finished:.0f} requests while {sent} were sent; acceptance is of all"
        )
    elif finished is not None and finished < answered:
        found.append(
            f"the engine behind /metrics finished {finished:.0f} of {answered} answered requests: several engines "
            "behind one address; acceptance is of a part"
        )
    if before.running > 0:
        found.append(f"other traffic: {before.running:.0f} requests were in the engine before the first was sent")
    return tuple(found)


_ANOTHER_TPOT = 1.25
"""Factor between two means beyond which the difference is no noise."""
_SHORTEST_SECONDS = 0.0005
"""Means that differ by less agree, whatever their ratio."""


def remark_on_bursts(before: Counters, after: Counters, tpot_seconds: float) -> tuple[str, ...]:
    """Whether answers came here as the engine gave them: their mean time per output token here, against the engine's.

    The engine clocks tokens where it makes them. A server or a client short of processor time, or a proxy that
    buffers, hands several on at once; the time per output token then means nothing.
    """
    requests = after.tpot_requests - before.tpot_requests
    if fell(before, after) or requests <= 0:
        return ()
    engine = (after.tpot_seconds - before.tpot_seconds) / requests
    low, high = sorted((engine, tpot_seconds))
    if high - low < _SHORTEST_SECONDS or high < _ANOTHER_TPOT * low:
        return ()
    seen = f"{1000 * tpot_seconds:.2f} ms per output token here, {1000 * engine:.2f} ms in the engine"
    why = "a busy machine or a proxy that buffers: do not trust the times of this cell"
    return (f"answers did not come as the engine gave them: {seen}; {why}",)
